//! Several directories in one process, over ways that can be cut. Raft's log is on disk and its
//! thread knows no paused time, so these run in real time, with short leases and elections; every
//! wait is for a condition.

mod data_dirs;
mod disks;
mod losses;
mod moves;
mod returns;
mod ways;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use parlance_actors::ports::cluster::Cluster as _;

use super::memory::{Ways, address};
use super::*;
use crate::transport::PeerName;

/// Far longer than anything here takes: only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(60);
const SEED: u64 = 0x5eed_0001;

fn timing() -> RaftTiming {
    RaftTiming {
        heartbeat: Duration::from_millis(100),
        election_min: Duration::from_millis(500),
        election_max: Duration::from_millis(900),
        pre_vote: true,
    }
}

fn leases() -> LeaseTiming {
    LeaseTiming {
        renew: Duration::from_millis(150),
        lease: Duration::from_millis(1_500),
        lease_if_doubted: Duration::from_millis(600),
        voter_replaced_after: Duration::from_secs(3),
    }
}

/// A cluster under test: its ways, and a data directory a name.
struct Town {
    ways: Ways,
    leases: LeaseTiming,
    folders: BTreeMap<String, TempDir>,
}

impl Town {
    fn new() -> Self {
        Self { ways: Ways::new(SEED), leases: leases(), folders: BTreeMap::new() }
    }

    fn options(&mut self, name: &str, start: Start) -> DirectoryOptions {
        let folder = self.folders.entry(name.to_owned()).or_insert_with(folder);
        let answers = DirectoryAnswers::new();
        let member = Member {
            name: PeerName(name.into()),
            control: address(name),
            data: format!("{name}:7702").into(),
            incarnation: next_incarnation(folder.path()).expect("counted"),
            version: "1".into(),
            transport: self.ways.add(name, answers.clone()),
            answers,
            voters: 3,
            leases: self.leases,
        };
        let (timing, member) = (timing(), Some(member));
        DirectoryOptions { timing, start, member, ..DirectoryOptions::new(folder.path()) }
    }

    async fn bootstrap(&mut self, name: &str) -> RaftDirectory {
        let options = self.options(name, Start::Bootstrap { cluster: None });
        RaftDirectory::open(options).await.expect("begins")
    }

    async fn try_join(&mut self, name: &str, seed: &str) -> Result<RaftDirectory, OpenError> {
        let options = self.options(name, Start::Join { seeds: vec![address(seed)] });
        RaftDirectory::open(options).await
    }

    async fn join(&mut self, name: &str, seed: &str) -> RaftDirectory {
        self.try_join(name, seed).await.expect("joins")
    }

    /// Ends a node as a crash does: it is cut off first, so that it tells nobody.
    async fn kill(&self, name: &str, node: &RaftDirectory) {
        self.ways.remove(name);
        let others: Vec<&str> =
            self.folders.keys().map(String::as_str).filter(|other| *other != name).collect();
        self.ways.part(name, &others, true);
        node.close().await;
        self.ways.part(name, &others, false);
    }

    /// Three voters: `a` leads, and every node has its part of the shards.
    async fn three() -> (Self, [RaftDirectory; 3]) {
        let mut town = Self::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        let c = town.join("c", "b").await;
        // Everybody must know of all three, and none of the steps on the way there.
        until("three voters", async || [&a, &b, &c].into_iter().all(settled_on_three)).await;
        (town, [a, b, c])
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

fn settled_on_three(node: &RaftDirectory) -> bool {
    let membership = node.core.metrics().committed_membership_config;
    membership.get_joint_config().len() == 1 && membership.voter_ids().count() == 3
}

fn voters(node: &RaftDirectory) -> Vec<NodeId> {
    node.report().raft.voters
}

fn leased(node: &RaftDirectory) -> bool {
    *node.lease().borrow()
}

fn owned_by(node: &RaftDirectory, owner: NodeId) -> Vec<ShardId> {
    let owned = |shard: &ShardId| node.ownership(*shard).is_some_and(|owned| owned.owner == owner);
    ShardId::all().filter(owned).collect()
}

/// Releases what moves away from a node, as its rooms would.
async fn release_all(node: &RaftDirectory) {
    for shard in ShardId::all() {
        let owned = node.ownership(shard).expect("served");
        if owned.owner == node.node() && owned.moving_to.is_some() {
            node.release(shard, owned.epoch).await.expect("released");
        }
    }
}

async fn close_all<'a>(nodes: impl IntoIterator<Item = &'a RaftDirectory>) {
    for node in nodes {
        node.close().await;
    }
}

fn runs<T>(test: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime").block_on(test)
}

#[test]
fn three_nodes_begin_and_join_and_agree() {
    runs(async {
        let (_town, [a, b, c]) = Town::three().await;
        assert_eq!((a.node(), a.cluster_id()), (NodeId(1), c.cluster_id()));
        assert!(a.node() < b.node() && b.node() < c.node());
        // A follower forwards a change and reads it at once; so does everybody after a barrier.
        let room = c.create_room(new_room("from c")).await.expect("made");
        assert_eq!(c.room(room.at()), Some(room.clone()));
        for node in [&a, &b] {
            node.barrier().await.expect("a leader");
            assert_eq!(node.room(room.at()), Some(room.clone()));
        }
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        for node in [&a, &b, &c] {
            node.healthy().await.expect("healthy");
            assert_eq!(node.name_of(b.node()), Some(PeerName("b".into())));
            assert_eq!(node.leader(), Some(a.node()));
            assert_eq!(node.nodes().borrow().len(), 3);
        }
        close_all([&c, &b, &a]).await;
    });
}

#[test]
fn a_node_that_is_far_behind_gets_a_snapshot() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        // Enough for several pieces.
        const ROOMS: usize = 3_000;
        let rooms = (0..ROOMS).map(|n| a.create_room(new_room(&format!("room {n}"))));
        for made in futures_util::future::join_all(rooms).await {
            made.expect("made");
        }
        a.raft.trigger().snapshot().await.expect("running");
        let wait = || a.raft.wait(Some(PATIENCE));
        let made = wait().metrics(|metrics| metrics.snapshot.is_some(), "a snapshot").await;
        let index = made.expect("made").snapshot.expect("there").index;
        a.raft.trigger().purge_log(index).await.expect("running");
        wait().metrics(|metrics| metrics.purged.is_some(), "purged").await.expect("purged");
        let b = town.join("b", "a").await;
        assert!(town.ways.snapshot_pieces() > 2, "it came by a snapshot, in pieces");
        assert_eq!(b.room_count(), ROOMS);
        assert_eq!(b.cluster_id(), a.cluster_id());
        b.create_room(new_room("after")).await.expect("made");
        // What was installed is also what a restart reads.
        town.kill("b", &b).await;
        let b = town.join("b", "a").await;
        assert_eq!(b.room_count(), ROOMS + 1);
        close_all([&b, &a]).await;
    });
}

#[test]
fn all_nodes_end_and_come_back() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let room = b.create_room(new_room("kept")).await.expect("made");
        close_all([&a, &b, &c]).await;
        let seeds = || Start::Join { seeds: Vec::new() };
        let options = ["a", "b", "c"].map(|name| town.options(name, seeds()));
        // None of them is a cluster by itself.
        let alone = DirectoryOptions::new(options[0].data_dir.clone());
        let refused = RaftDirectory::open(alone).await.err().expect("refused");
        assert!(matches!(refused, OpenError::Unusable(_)), "{refused}");
        let [one, two, three] = options.map(RaftDirectory::open);
        let (one, two, three) = tokio::join!(one, two, three);
        let nodes = [one, two, three].map(|node| node.expect("opens"));
        for (node, before) in nodes.iter().zip([&a, &b, &c]) {
            assert_eq!(node.node(), before.node());
            assert_eq!(node.room(room.at()), Some(room.clone()));
        }
        close_all(&nodes).await;
    });
}
