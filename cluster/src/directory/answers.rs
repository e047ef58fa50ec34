//! What this node's directory answers to others. The links have the handle before the directory
//! is open, so until then every answer is "not now". Raft's messages go to Raft as they are; a
//! caller must have the name that the directory knows for its id.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use openraft::ReadPolicy;
use parking_lot::RwLock;
use parlance_actors::vocab::NodeId;

use super::command::{AdmitNode, Command, Response};
use super::core::Core;
use super::wire::{self, Answer, Ask, Call, Renewal};
use crate::limits;
use crate::transport::{Answers, PeerName, Service};

/// The directory as other nodes' calls reach it. Clones are the same one.
#[derive(Clone, Default)]
pub struct DirectoryAnswers {
    core: Arc<RwLock<Option<Arc<Core>>>>,
}

impl DirectoryAnswers {
    /// A handle for a directory that is yet to open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn open(&self, core: Arc<Core>) {
        *self.core.write() = Some(core);
    }

    pub(super) fn close(&self) {
        *self.core.write() = None;
    }
}

#[async_trait]
impl Answers for DirectoryAnswers {
    async fn answer(&self, from: PeerName, _service: Service, request: Bytes) -> Option<Bytes> {
        let call: Call = wire::decode(&request)?;
        let core = self.core.read().clone();
        let answer = match core {
            Some(core) => core.answer(&from, call).await,
            None => Answer::Failed("this node's directory is not open".into()),
        };
        Some(wire::encode(&answer))
    }
}

impl Core {
    async fn answer(self: Arc<Self>, name: &PeerName, call: Call) -> Answer {
        let Call { cluster, from, to, ask } = call;
        if let Err(why) = self.check(name, &ask, cluster, from, to) {
            return Answer::Refused(why);
        }
        match ask {
            Ask::Append(rpc) => {
                let answered = self.raft.append_entries(rpc).await;
                answered.map_or_else(failed, Answer::Append)
            }
            Ask::Vote(rpc) => self.raft.vote(rpc).await.map_or_else(failed, Answer::Vote),
            Ask::PreVote(rpc) => self.raft.pre_vote(rpc).await.map_or_else(failed, Answer::Vote),
            Ask::TransferLeader(rpc) => match self.raft.handle_transfer_leader(rpc).await {
                Ok(answered) => Answer::TransferLeader(answered.map_err(|error| error.to_string())),
                Err(error) => failed(error),
            },
            Ask::Snapshot(piece) => self.take_piece(from, piece).await,
            Ask::Change(command) => self.change_here(command, limits::FORWARD_WAIT).await,
            Ask::ReadIndex => self.read_index().await,
            Ask::Renew(renewal) => self.renew(from, renewal),
            Ask::Admit(node) => {
                if let Some(claimed) = node.claims {
                    self.network.hear(claimed, &node.name, node.incarnation, &node.control);
                }
                self.admit(node).await
            }
            Ask::Return(returning) => self.may_return(from, returning),
            Ask::Busiest => self.busiest_here().await,
        }
    }

    /// Whether the caller may ask this, and means this node.
    fn check(
        &self,
        name: &PeerName,
        ask: &Ask,
        cluster: Option<super::identity::ClusterId>,
        from: NodeId,
        to: NodeId,
    ) -> Result<(), String> {
        let own = self.identity;
        if let Some(other) = cluster.filter(|cluster| *cluster != own.cluster) {
            return Err(format!("this is cluster {}, not {other}", own.cluster));
        }
        if let Ask::Admit(node) = ask {
            return (node.name == name.0).then_some(()).ok_or_else(|| {
                format!("the certificate of {name} is not that of a node named {}", node.name)
            });
        }
        // One that comes back asks whom it knows by an address only.
        let meant = to == own.node || matches!(ask, Ask::Return(_));
        if cluster.is_none() || !meant {
            return Err(format!("this is node {} of cluster {}, not {to}", own.node, own.cluster));
        }
        let state = self.view.state.read();
        match state.node(from) {
            // A node that begins knows nobody yet, and one that has always been alone has no name.
            Some(record) if !record.name.is_empty() && record.name != name.0 => {
                Err(format!("node {from} is {}, not {name}", record.name))
            }
            Some(_) => Ok(()),
            None if matches!(ask, Ask::Change(_) | Ask::Renew(_)) => {
                Err(format!("node {from} is not in the cluster"))
            }
            None => Ok(()),
        }
    }

    async fn read_index(&self) -> Answer {
        if self.leader() != Some(self.identity.node) {
            return Answer::NotLeader(self.known_leader());
        }
        let read = self.raft.get_read_log_id(ReadPolicy::ReadIndex);
        match tokio::time::timeout(limits::FORWARD_WAIT, read).await {
            Ok(Ok((read, _))) => Answer::ReadAt(read.index()),
            Ok(Err(error)) => failed(error),
            Err(_) => Answer::Failed("no quorum answered".into()),
        }
    }

    /// Renews a node's lease: only a leader that itself has a quorum can.
    fn renew(&self, from: NodeId, renewal: Renewal) -> Answer {
        let Some(member) = &self.member else {
            return Answer::Failed("this node is alone".into());
        };
        let metrics = self.metrics();
        if metrics.current_leader != Some(self.identity.node.0) {
            return Answer::NotLeader(self.known_leader());
        }
        // Heard in any case: a new leader's quorum may be a moment away, and then it judges.
        let Renewal { incarnation, load } = renewal;
        let mut leases = self.leases.lock();
        if !leases.hear(from, incarnation, load, self.now()) {
            return Answer::Refused(format!("node {from} has begun a later life"));
        }
        if self.leads_within(&metrics, member.leases.lease) {
            Answer::Renewed(leases.sums())
        } else {
            Answer::Failed("this leader has no quorum".into())
        }
    }

    async fn admit(&self, node: AdmitNode) -> Answer {
        if self.leader() != Some(self.identity.node) {
            return Answer::NotLeader(self.known_leader());
        }
        // The leader of a cluster that is about to begin, for a node that started beside it.
        if self.view.state.read().cluster().is_none() {
            return Answer::Failed("the cluster has not begun".into());
        }
        if let Some(why) = self.forgot(&node) {
            return Answer::Refused(why);
        }
        if let Some(living) = self.would_displace(&node) {
            return Answer::Failed(format!(
                "node {living} is there and has the name {}; a node that takes its place can join \
                 once its lease is over",
                node.name
            ));
        }
        let cluster = self.identity.cluster;
        match self.change_here(Command::AdmitNode(node), limits::FORWARD_WAIT).await {
            Answer::Changed { response: Response::Admitted(node), .. } => {
                Answer::Admitted { node, cluster }
            }
            Answer::Changed { response: Response::Refused(why), .. } => Answer::Refused(why),
            Answer::Changed { .. } => Answer::Failed("the directory did not admit it".into()),
            other => other,
        }
    }

    /// The living node whose name a new one claims.
    fn would_displace(&self, node: &AdmitNode) -> Option<NodeId> {
        if node.claims.is_some() {
            return None;
        }
        let state = self.view.state.read();
        let former = state.node_named(&node.name)?;
        if state.node(former).is_some_and(|record| record.token == node.token) {
            return None;
        }
        drop(state);
        let lease = self.member.as_ref()?.leases.lease;
        let own = former == self.identity.node;
        let lives = own || self.leases.lock().renewed_within(former, lease, self.now());
        lives.then_some(former)
    }
}

fn failed(error: impl std::fmt::Display) -> Answer {
    Answer::Failed(error.to_string())
}
