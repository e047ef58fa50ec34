//! The way of Raft's messages to other nodes, over [`Transport`]. Where a node is comes from the
//! applied state, which hears of changed addresses, and before that from the group's own
//! configuration. A node that is alone has no transport, and every attempt says so.

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
}

/// The way to one node.
pub(super) struct Way {
    target: NodeId,
    /// Where the group's configuration says it is.
    configured: Arc<str>,
    network: Network,
}

impl Network {
    /// Where a node is, as the applied state says.
    pub(super) fn place(&self, node: NodeId) -> Option<Place> {
        let state = self.view.state.read();
        let record = state.node(node).filter(|record| !record.control.is_empty())?;
        let name = PeerName(record.name.clone());
        Some(Place { address: record.control.clone(), name: Some(name) })
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
        match self.ask(Ask::Append(rpc), self.network.append_wait).await? {
            Answer::Append(response) => Ok(response),
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
        let mut network = Network { identity, view, transport: None, append_wait };
        let mut way = network.new_client(9, &peer).await;
        let rpc = VoteRequest::new(Vote::new(1, 1), None);
        let option = RPCOption::new(Duration::from_secs(1));
        let error = way.vote(rpc, option).await.expect_err("no way");
        let text = error.to_string();
        assert!(matches!(error, RPCError::Unreachable(_)));
        assert!(text.contains("node 9") && text.contains("10.0.0.9:7"), "{text}");
    }
}
