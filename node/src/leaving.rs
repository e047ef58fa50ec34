//! A planned end gives this node's shards to others first, so that their rooms are held up for a
//! moment and not for a lease; and the next start takes shards again.
//!
//! It drains by the same call as an operator. A file in the data directory says that it was this
//! node itself: what an operator drained stays drained over a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::cluster::{Cluster, NodeState};
use parlance_actors::ports::directory::Directory;
use parlance_actors::vocab::ShardId;
use tracing::{info, warn};

/// Says that the node drained itself when it was stopped.
const FILE: &str = "leaving";
/// Between two tries to take shards again.
const RETRY: Duration = Duration::from_secs(1);

/// Going and coming back.
pub(crate) struct Leaving {
    cluster: Arc<dyn Cluster>,
    directory: Arc<dyn Directory>,
    file: PathBuf,
}

impl Leaving {
    pub(crate) fn new(
        cluster: Arc<dyn Cluster>,
        directory: Arc<dyn Directory>,
        data_dir: &Path,
    ) -> Self {
        Self { cluster, directory, file: data_dir.join(FILE) }
    }

    /// Returns when every shard has another owner. A node that is alone, or the last one that is
    /// up, keeps what it has. The caller bounds the time; what is left then is taken over.
    pub(crate) async fn give_shards_away(&self) {
        let own = self.directory.node();
        let report = self.cluster.report();
        let up = report.nodes.iter().filter(|node| node.state == NodeState::Up);
        let up = up.map(|node| node.id).collect::<Vec<_>>();
        if !report.lease || !up.iter().any(|node| *node != own) {
            return;
        }
        if up.contains(&own) {
            if let Err(error) = std::fs::write(&self.file, "") {
                warn!(%error, file = %self.file.display(), "not giving the shards away first");
                return;
            }
            if let Err(error) = self.cluster.drain_node(own, true).await {
                warn!(%error, "the shards were not given away first; others take them over");
                return;
            }
        }
        let mut changed = self.directory.shards_changed();
        while self.owned() > 0 {
            if changed.changed().await.is_err() {
                return;
            }
        }
        info!("other nodes have the shards");
    }

    fn owned(&self) -> usize {
        let own = self.directory.node();
        let is_own = |shard| self.directory.ownership(shard).is_some_and(|one| one.owner == own);
        ShardId::all().filter(|shard| is_own(*shard)).count()
    }

    /// After a start: takes shards again, if the node itself gave them away.
    pub(crate) async fn come_back(&self) {
        if !self.file.exists() {
            return;
        }
        let own = self.directory.node();
        while let Err(error) = self.cluster.drain_node(own, false).await {
            warn!(%error, "not taking shards yet; trying on");
            tokio::time::sleep(RETRY).await;
        }
        if let Err(error) = std::fs::remove_file(&self.file) {
            warn!(%error, file = %self.file.display(), "cannot be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use parlance_actors::testkit::cluster::MemoryCluster;
    use parlance_actors::testkit::directory::MemoryDirectory;
    use parlance_actors::vocab::NodeId;

    use super::*;

    const OWN: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    struct Town {
        dir: tempfile::TempDir,
        directory: Arc<MemoryDirectory>,
        cluster: Arc<MemoryCluster>,
        leaving: Leaving,
    }

    fn town() -> Town {
        let dir = tempfile::tempdir().expect("a folder");
        let directory = Arc::new(MemoryDirectory::new(OWN));
        let cluster = Arc::new(MemoryCluster::new(directory.clone()));
        let leaving = Leaving::new(cluster.clone(), directory.clone(), dir.path());
        Town { dir, directory, cluster, leaving }
    }

    fn state(town: &Town) -> NodeState {
        town.cluster.report().nodes[0].state
    }

    #[tokio::test]
    async fn a_node_that_ends_waits_for_its_shards_to_go_and_takes_some_again_when_it_is_back() {
        let town = town();
        town.cluster.add_node(OTHER, "two");
        let directory = town.directory.clone();
        tokio::join!(town.leaving.give_shards_away(), async {
            tokio::task::yield_now().await;
            assert_eq!(state(&town), NodeState::Draining);
            directory.take_over(OWN, OTHER);
        });
        assert_eq!(town.leaving.owned(), 0);
        assert!(town.dir.path().join(FILE).exists());
        town.leaving.come_back().await;
        assert_eq!(state(&town), NodeState::Up);
        assert!(!town.dir.path().join(FILE).exists());
    }

    #[tokio::test]
    async fn what_an_operator_drained_stays_drained_over_a_restart() {
        let town = town();
        town.cluster.add_node(OTHER, "two");
        town.cluster.drain_node(OWN, true).await.expect("drained");
        town.directory.take_over(OWN, OTHER);
        town.leaving.give_shards_away().await;
        town.leaving.come_back().await;
        assert_eq!(state(&town), NodeState::Draining);
    }

    #[tokio::test]
    async fn a_node_that_is_alone_or_cut_off_does_not_wait() {
        let alone = town();
        alone.leaving.give_shards_away().await;
        assert_eq!((state(&alone), alone.leaving.owned()), (NodeState::Up, 256));
        let cut_off = town();
        cut_off.cluster.add_node(OTHER, "two");
        cut_off.directory.cut();
        cut_off.leaving.give_shards_away().await;
        assert_eq!((state(&cut_off), cut_off.leaving.owned()), (NodeState::Up, 256));
    }
}
