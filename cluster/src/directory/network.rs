//! The way of Raft's messages to other nodes, over [`Transport`]. Where a node is comes from the
//! applied state, which hears of changed addresses, and before that from the group's own
//! configuration. A node that is alone has no transport, and every attempt says so.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;
use parlance_actors::vocab::NodeId;

use super::identity::Identity;
use super::machine::View;
use super::snapshot::SnapshotFile;
use super::types::{Peer, Types, Vote};
use super::wire::{self, Answer, Ask, Call, Piece};
use crate::limits;
use crate::transport::{CallError, PeerName, Place, Service, Transport};

/// Calls of this node to others.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) identity: Identity,
    pub(super) view: Arc<View>,
    /// `None` on a node that is alone.
    pub(super) transport: Option<Arc<dyn Transport>>,
    /// How long entries may take to be answered: below an election. Raft itself gives heartbeats
    /// only their own interval, which a slow way exceeds.
    pub(super) append_wait: Duration,
    heard: Arc<Mutex<BTreeMap<NodeId, Heard>>>,
}

/// What this node heard of another one since it started; one for each node of the state at most.
#[derive(Debug, Default)]
struct Heard {
    /// Where it said that it is now, and in which life. It counts until the state knows of that life.
    announced: Option<(u64, Arc<str>)>,
    /// Up to which entry it has acknowledged the log, and to which leader.
    acknowledged: Option<(Vote, u64)>,
}

/// The way to one node.
pub(super) struct Way {
    target: NodeId,
    /// Where the group's configuration says it is.
    configured: Arc<str>,
    network: Network,
}

impl Network {
    pub(super) fn new(
        identity: Identity,
        view: Arc<View>,
        transport: Option<Arc<dyn Transport>>,
        append_wait: Duration,
    ) -> Self {
        Self { identity, view, transport, append_wait, heard: Arc::default() }
    }

    /// Where a node is: as the applied state says, or as the node itself said later.
    pub(super) fn place(&self, node: NodeId) -> Option<Place> {
        let announced = self.heard.lock().get(&node).and_then(|heard| heard.announced.clone());
        let state = self.view.state.read();
        let record = state.node(node).filter(|record| !record.control.is_empty())?;
        let newer = announced.filter(|(incarnation, _)| *incarnation > record.incarnation);
        let address = newer.map_or_else(|| record.control.clone(), |(_, address)| address);
        Some(Place { address, name: Some(PeerName(record.name.clone())) })
    }

    /// Every node of the applied state that is somewhere.
    pub(super) fn known(&self) -> Vec<(PeerName, Arc<str>)> {
        let state = self.view.state.read();
        let somewhere = state.nodes().filter(|(_, record)| !record.control.is_empty());
        somewhere
            .map(|(_, record)| (PeerName(record.name.clone()), record.control.clone()))
            .collect()
    }

    /// A node that has proven its name says where it is now. Of exactly two voters neither may get
    /// further than this: to write it down takes a leader, and to elect one takes both.
    pub(super) fn hear(&self, node: NodeId, name: &str, incarnation: u64, control: &Arc<str>) {
        let known = self.view.state.read().node(node).is_some_and(|record| *record.name == *name);
        if known {
            let mut heard = self.heard.lock();
            let announced = &mut heard.entry(node).or_default().announced;
            if announced.as_ref().is_none_or(|(former, _)| *former <= incarnation) {
                *announced = Some((incarnation, control.clone()));
            }
        }
    }

    /// Notes what a node acknowledged to this leader.
    fn acknowledges(&self, node: NodeId, vote: Vote, index: u64) {
        let mut heard = self.heard.lock();
        let acknowledged = &mut heard.entry(node).or_default().acknowledged;
        let former = acknowledged.filter(|(leader, _)| *leader == vote);
        *acknowledged = Some((vote, former.map_or(index, |(_, former)| former.max(index))));
    }

    /// Whether a node has acknowledged an entry to this leader.
    fn has_acknowledged(&self, node: NodeId, vote: Vote, index: u64) -> bool {
        let heard = self.heard.lock();
        let acknowledged = heard.get(&node).and_then(|heard| heard.acknowledged);
        acknowledged.is_some_and(|(leader, upto)| leader == vote && index <= upto)
    }

    /// Asks one node.
    pub(super) async fn ask(
        &self,
        to: NodeId,
        place: &Place,
        ask: Ask,
        deadline: Duration,
    ) -> Result<Answer, CallError> {
        let service = match ask {
            Ask::Snapshot(_) => Service::Snapshot,
            _ => Service::Raft,
        };
        let address = place.address.clone();
        let Some(transport) = &self.transport else {
            let why = "this node has no links to others".to_owned();
            return Err(CallError::Unreachable { address, why });
        };
        let (cluster, from) = (Some(self.identity.cluster), self.identity.node);
        let call = wire::encode(&Call { cluster, from, to, ask });
        let answer = transport.call(place, service, call, deadline).await?;
        let why = "its answer does not decode".to_owned();
        wire::decode(&answer).ok_or(CallError::NoAnswer { address, why })
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Way;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Way {
        let configured = node.address.as_str().into();
        Way { target: NodeId(target), configured, network: self.clone() }
    }
}

impl Way {
    async fn ask(&self, ask: Ask, deadline: Duration) -> Result<Answer, RPCError<Types>> {
        let unnamed = || Place { address: self.configured.clone(), name: None };
        let place = self.network.place(self.target).unwrap_or_else(unnamed);
        let failed = |error: &dyn std::fmt::Display| {
            format!("node {} (address {:?}): {error}", self.target, place.address)
        };
        match self.network.ask(self.target, &place, ask, deadline).await {
            Ok(Answer::Failed(why) | Answer::Refused(why)) => {
                Err(RPCError::Unreachable(Unreachable::from_string(failed(&why))))
            }
            Ok(answer) => Ok(answer),
            Err(error @ CallError::NoAnswer { .. }) => {
                Err(RPCError::Network(NetworkError::from_string(failed(&error))))
            }
            Err(error) => Err(RPCError::Unreachable(Unreachable::from_string(failed(&error)))),
        }
    }

    fn acknowledged(&self, vote: Vote, upto: Option<u64>) {
        if let Some(index) = upto {
            self.network.acknowledges(self.target, vote, index);
        }
    }

    /// A log that lacks what it acknowledged is no log of Raft any more: openraft's leader would
    /// count on it, and stumble over it. It is told apart here, and gets nothing.
    fn check_conflict(&self, vote: Vote, before: Option<u64>) -> Result<(), RPCError<Types>> {
        let Some(index) = before else { return Ok(()) };
        if !self.network.has_acknowledged(self.target, vote, index) {
            return Ok(());
        }
        let why = format!(
            "node {} lacks entry {index}, which it has acknowledged: its data directory is from an \
             old backup. It gets nothing; move that directory away, and let it join as a new node",
            self.target
        );
        tracing::error!(why, "a node forgot a part of the log");
        Err(RPCError::Unreachable(Unreachable::from_string(why)))
    }

    fn other_answer(&self) -> RPCError<Types> {
        let why = format!("node {} answered something else", self.target);
        RPCError::Network(NetworkError::from_string(why))
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let last = snapshot.meta.last_log_id;
        let (last_index, last_term) = last.map_or((0, 0), |last| (last.index, last.leader_id.term));
        let file = Arc::new(snapshot.snapshot);
        let unreadable = |error: std::io::Error| {
            StreamingError::Network(NetworkError::from_string(format!("the snapshot: {error}")))
        };
        let length = file.length().map_err(unreadable)?;
        // The first one has no bytes: the other side may have a part from before.
        let (mut offset, mut bytes) = (0, Bytes::new());
        loop {
            let piece = Piece { vote, last_index, last_term, length, offset, bytes };
            let answer = self.ask(Ask::Snapshot(piece), limits::PIECE_WAIT).await?;
            offset = match answer {
                Answer::Installed(vote) => return Ok(SnapshotResponse::new(vote)),
                Answer::PieceTaken(taken) if taken < length => taken,
                _ => return Err(self.other_answer().into()),
            };
            let from = file.clone();
            let read = move || from.piece(offset, limits::SNAPSHOT_PIECE_BYTES);
            let read = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other);
            bytes = read.flatten().map_err(unreadable)?.into();
        }
    }
}

impl RaftNetworkV2<Types> for Way {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let (vote, before) = (rpc.vote, rpc.prev_log_id.map(|before| before.index));
        let last = rpc.entries.last().map(|entry| entry.log_id.index).or(before);
        match self.ask(Ask::Append(rpc), self.network.append_wait).await? {
            Answer::Append(response) => {
                match &response {
                    AppendEntriesResponse::Success => self.acknowledged(vote, last),
                    AppendEntriesResponse::PartialSuccess(upto) => {
                        self.acknowledged(vote, upto.map(|upto| upto.index));
                    }
                    AppendEntriesResponse::Conflict => self.check_conflict(vote, before)?,
                    AppendEntriesResponse::HigherVote(_) => {}
                }
                Ok(response)
            }
            _ => Err(self.other_answer()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Ask::Vote(rpc), option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.other_answer()),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(Ask::PreVote(rpc), option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => Err(self.other_answer()),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            sent = self.send_snapshot(vote, snapshot) => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self.ask(Ask::TransferLeader(req), option.soft_ttl()).await? {
            Answer::TransferLeader(Ok(())) => Ok(Ok(())),
            Answer::TransferLeader(Err(why)) => {
                Err(RPCError::Network(NetworkError::from_string(why)))
            }
            _ => Err(self.other_answer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::ClusterId;
    use super::*;

    #[tokio::test]
    async fn reaching_a_peer_says_clearly_that_there_is_no_way() {
        let peer = Peer { address: "10.0.0.9:7".into() };
        let identity = Identity { node: NodeId(1), cluster: ClusterId::generate(), finished: true };
        let (view, append_wait) = (Arc::new(View::new()), Duration::from_secs(1));
        let mut network = Network::new(identity, view, None, append_wait);
        let mut way = network.new_client(9, &peer).await;
        let rpc = VoteRequest::new(Vote::new(1, 1), None);
        let option = RPCOption::new(Duration::from_secs(1));
        let error = way.vote(rpc, option).await.expect_err("no way");
        let text = error.to_string();
        assert!(matches!(error, RPCError::Unreachable(_)));
        assert!(text.contains("node 9") && text.contains("10.0.0.9:7"), "{text}");
    }
}
