//! The way to other nodes: there is none yet. A node is alone until the cluster's links come, and
//! every attempt to reach a peer says so.

use std::future::Future;

use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};

use super::snapshot::SnapshotFile;
use super::types::{Peer, Types, Vote};

/// Makes ways that lead nowhere.
pub(super) struct NoPeers;

/// The way to one node, which cannot be reached.
pub(super) struct NoWay {
    target: u64,
    address: String,
}

impl NoWay {
    fn unreachable(&self) -> Unreachable<Types> {
        Unreachable::from_string(format!(
            "node {} (address {:?}) cannot be reached: this node has no links to others",
            self.target, self.address
        ))
    }
}

impl RaftNetworkFactory<Types> for NoPeers {
    type Network = NoWay;

    async fn new_client(&mut self, target: u64, node: &Peer) -> NoWay {
        NoWay { target, address: node.address.clone() }
    }
}

impl RaftNetworkV2<Types> for NoWay {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        _rpc: AppendEntriesRequest<Types>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn vote(
        &mut self,
        _rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn pre_vote(
        &mut self,
        _rpc: VoteRequest<Types>,
        _option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        Err(RPCError::Unreachable(self.unreachable()))
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: openraft::type_config::alias::SnapshotOf<Types, SnapshotFile>,
        _cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        Err(StreamingError::Unreachable(self.unreachable()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reaching_a_peer_says_clearly_that_there_is_no_way() {
        let peer = Peer { address: "10.0.0.9:7".into() };
        let mut way = NoPeers.new_client(9, &peer).await;
        let rpc = VoteRequest::new(Vote::new(1, 1), None);
        let option = RPCOption::new(std::time::Duration::from_secs(1));
        let error = way.vote(rpc, option).await.expect_err("no way");
        let text = error.to_string();
        assert!(matches!(error, RPCError::Unreachable(_)));
        assert!(text.contains("node 9") && text.contains("10.0.0.9:7"), "{text}");
    }
}
