//! Several directories in one process, over ways that can be cut. Raft's log is on disk and its
//! thread knows no paused time, so these run in real time, with short leases and elections; every
//! wait is for a condition.

mod disks;
mod returns;

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use parlance_actors::ports::cluster::{Cluster as _, NodeState};

use super::memory::{Way, Ways, address};
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
fn the_leader_dies_and_another_leads_and_takes_its_shards_over() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        let before: BTreeMap<ShardId, Ownership> =
            ShardId::all().map(|shard| (shard, b.ownership(shard).expect("served"))).collect();
        town.kill("a", &a).await;
        until("the dead node owns nothing", async || owned_by(&b, a.node()).is_empty()).await;
        for (shard, before) in before {
            let now = b.ownership(shard).expect("served");
            assert!(now.owner == before.owner || now.epoch > before.epoch, "{shard}");
        }
        assert_ne!(b.leader(), Some(a.node()));
        until("everything is served", async || {
            owned_by(&b, b.node()).len() + owned_by(&b, c.node()).len() == SHARD_COUNT
        })
        .await;
        b.create_room(new_room("after")).await.expect("made");
        let takeovers = b.report().moves.into_iter().filter(|moved| moved.cause == "takeover");
        assert!(takeovers.count() > 0);
        close_all([&b, &c]).await;
    });
}

#[test]
fn a_node_that_is_cut_off_loses_its_lease_and_the_others_go_on() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        // The leader itself.
        town.ways.part("a", &["b", "c"], true);
        until("no lease", async || !leased(&a)).await;
        a.healthy().await.expect_err("it has no lease");
        until("another leads", async || {
            b.leader().is_some_and(|leader| leader != a.node()) && leased(&b) && leased(&c)
        })
        .await;
        until("taken over", async || owned_by(&b, a.node()).is_empty()).await;
        let room = b.create_room(new_room("meanwhile")).await.expect("made");
        town.ways.part("a", &["b", "c"], false);
        until("it is back", async || leased(&a)).await;
        a.barrier().await.expect("a leader");
        assert_eq!(a.room(room.at()), Some(room));
        // One owner at one epoch, whoever is asked.
        b.barrier().await.expect("a leader");
        for shard in ShardId::all() {
            let (one, other) = (a.ownership(shard), b.ownership(shard));
            let (one, other) = (one.expect("served"), other.expect("served"));
            assert!(one.epoch != other.epoch || one.owner == other.owner, "{shard}");
        }
        close_all([&a, &b, &c]).await;
    });
}

#[test]
fn a_dead_voter_is_replaced_by_a_learner() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let d = town.join("d", "c").await;
        until("a learner", async || a.report().raft.learners == [d.node()]).await;
        town.kill("b", &b).await;
        let expected = vec![a.node(), c.node(), d.node()];
        until("replaced", async || voters(&a) == expected).await;
        a.create_room(new_room("a")).await.expect("made");
        close_all([&a, &c, &d]).await;
    });
}

#[test]
fn a_leader_that_leads_again_after_a_restart_replaces_a_dead_voter() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let d = town.join("d", "c").await;
        until("a learner", async || a.report().raft.learners == [d.node()]).await;
        town.kill("b", &b).await;
        // Alone the other voter elects nobody.
        town.kill("a", &a).await;
        let options = town.options("a", Start::Join { seeds: vec![address("c")] });
        let a = RaftDirectory::open(options).await.expect("comes back");
        // Nor did its gossip hear of the dead one: it neither doubts it nor sees it alive.
        let others = [a.node(), c.node(), d.node()];
        a.believe([&others[..], &[b.node()]].concat().into_iter().collect(), others.into());
        let expected = vec![a.node(), c.node(), d.node()];
        until("replaced", async || voters(&a) == expected).await;
        close_all([&a, &c, &d]).await;
    });
}

#[test]
fn a_new_node_gets_shards_and_each_move_ends_when_its_owner_releases() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        assert_eq!(owned_by(&a, a.node()).len(), SHARD_COUNT);
        // The leader gives up moves to a node that never said that it is there.
        until("leases", async || leased(&a) && leased(&b)).await;
        let first = a.ownership(ShardId(0)).expect("served");
        a.move_shard(ShardId(0), b.node()).await.expect("accepted");
        let moving = a.ownership(ShardId(0)).expect("served");
        assert_eq!((moving.owner, moving.epoch), (a.node(), first.epoch));
        assert_eq!(moving.moving_to, Some(b.node()));
        a.release(ShardId(0), moving.epoch).await.expect("released");
        let moved = a.ownership(ShardId(0)).expect("served");
        assert_eq!((moved.owner, moved.moving_to), (b.node(), None));
        assert!(moved.epoch > first.epoch);
        // Again does nothing.
        a.release(ShardId(0), moving.epoch).await.expect("nothing to do");
        assert_eq!(a.ownership(ShardId(0)), Some(moved));
        until("evened out", async || {
            release_all(&a).await;
            owned_by(&a, b.node()).len() == SHARD_COUNT / 2
        })
        .await;
        let moves = a.report().moves;
        assert_eq!((moves[0].to, moves[0].cause), (b.node(), "rebalance"));
        assert_eq!(moves.last().map(|moved| moved.cause), Some("operator"));
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_move_that_nobody_releases_is_forced() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        until("leases", async || leased(&a) && leased(&b)).await;
        a.move_shard(ShardId(9), b.node()).await.expect("accepted");
        until("forced", async || owned_by(&a, b.node()).contains(&ShardId(9))).await;
        close_all([&b, &a]).await;
    });
}

#[test]
fn pins_hold_and_a_draining_node_gives_everything_else_away() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        a.pin_shard(ShardId(7), Some(b.node())).await.expect("pinned");
        until("at its pin", async || {
            release_all(&a).await;
            owned_by(&a, b.node()).contains(&ShardId(7))
        })
        .await;
        a.move_shard(ShardId(7), a.node()).await.expect_err("it is pinned");
        b.drain_node(a.node(), true).await.expect("accepted");
        until("drained", async || {
            release_all(&a).await;
            owned_by(&a, a.node()).is_empty()
        })
        .await;
        b.barrier().await.expect("a leader");
        let report = b.report();
        assert_eq!(report.nodes[0].state, NodeState::Draining);
        assert_eq!((report.nodes[0].shards, report.nodes[1].shards), (0, 256));
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_node_keeps_its_id_with_its_data_directory_and_gets_another_without() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let (first, highest) = (b.node(), c.node());
        town.kill("b", &b).await;
        let b = town.join("b", "a").await;
        assert_eq!(b.node(), first);
        town.kill("b", &b).await;
        town.folders.remove("b");
        let b = town.join("b", "c").await;
        assert!(b.node() > highest, "an id is never used again");
        let expected = vec![a.node(), c.node(), b.node()];
        until("the former one is out", async || {
            let report = a.report();
            report.raft.voters == expected && report.raft.learners.is_empty()
        })
        .await;
        assert_eq!(a.name_of(first), None);
        close_all([&b, &c, &a]).await;
    });
}

#[test]
fn a_removed_node_is_refused_and_its_shards_are_taken_over() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        a.remove_node(c.node()).await.expect("removed");
        until("out", async || voters(&a).len() == 2).await;
        until("taken over", async || owned_by(&a, c.node()).is_empty()).await;
        town.kill("c", &c).await;
        let refused = town.try_join("c", "a").await.err().expect("refused");
        assert!(matches!(&refused, OpenError::NotAdmitted(why) if why.contains("removed")));
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_node_of_another_cluster_and_a_database_of_another_one_are_refused() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let other = ClusterId::generate();
        let seeds = vec![address("a")];
        let options = town.options("b", Start::Join { seeds });
        let options = DirectoryOptions { known_cluster: Some(other), ..options };
        let refused = RaftDirectory::open(options).await.err().expect("refused");
        assert!(
            matches!(refused, OpenError::OtherCluster { found, expected, .. }
                if found == a.cluster_id() && expected == other),
            "{refused}"
        );
        // Nothing of it is kept: it may join once the database is the right one.
        town.join("b", "a").await.close().await;
        a.close().await;
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
fn a_one_way_link_does_not_unseat_a_healthy_leader() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        let term = a.report().raft.term;
        // `c` hears nothing from the leader and would stand for election again and again.
        town.ways.set("a", "c", Way { cut: true, ..Way::default() });
        until("no lease", async || !leased(&c)).await;
        for n in 0..10 {
            a.create_room(new_room(&format!("room {n}"))).await.expect("made");
            tokio::time::sleep(timing().election_max / 4).await;
        }
        town.ways.set("a", "c", Way::default());
        until("leased", async || leased(&c)).await;
        assert_eq!((a.report().raft.term, a.leader()), (term, Some(a.node())));
        assert_eq!(b.report().raft.term, term);
        close_all([&a, &b, &c]).await;
    });
}

#[test]
fn slow_and_lossy_ways_delay_changes_and_lose_none() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        let way = Way { cut: false, delay: Duration::from_millis(10), lost_per_mille: 50 };
        for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")] {
            town.ways.set(from, to, way);
        }
        for n in 0..20 {
            let new = new_room(&format!("room {n}"));
            // Unavailable means unknown: repeated with the same key it is made once.
            while c.create_room(new.clone()).await.is_err() {}
        }
        assert_eq!(c.room_count(), 20);
        for node in [&a, &b, &c] {
            while node.barrier().await.is_err() {}
            assert_eq!(node.room_count(), 20);
        }
        close_all([&a, &b, &c]).await;
    });
}

#[test]
fn a_silent_node_that_gossip_doubts_is_taken_over_before_its_lease_ends() {
    runs(async {
        let mut town = Town::new();
        // A lease that ends long after this test.
        town.leases.lease = PATIENCE * 10;
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        let c = town.join("c", "a").await;
        until("three voters", async || [&a, &b, &c].into_iter().all(settled_on_three)).await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        a.move_shard(ShardId(9), c.node()).await.expect("accepted");
        until("at c", async || {
            release_all(&a).await;
            owned_by(&a, c.node()).contains(&ShardId(9))
        })
        .await;
        town.kill("c", &c).await;
        for node in [&a, &b] {
            node.believe([a.node(), b.node()].into(), [a.node(), b.node()].into());
        }
        until("taken over", async || owned_by(&a, c.node()).is_empty()).await;
        assert_eq!(a.report().nodes[2].state, NodeState::Down);
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_data_directory_without_its_log_still_has_an_id_and_is_refused() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        town.kill("b", &b).await;
        fs::remove_dir_all(town.folders["b"].path().join(FOLDER)).expect("removed");
        let refused = town.try_join("b", "a").await.err().expect("refused");
        assert!(matches!(refused, OpenError::DamagedMember { .. }), "{refused}");
        a.close().await;
    });
}

#[test]
fn ways_slower_than_a_heartbeat_take_no_lease_and_unseat_nobody() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        let term = a.report().raft.term;
        let delay = timing().heartbeat;
        for (from, to) in [("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")] {
            town.ways.set(from, to, Way { delay, ..Way::default() });
        }
        // Twice the time in which a lease ends that is not renewed.
        let since = Instant::now();
        while since.elapsed() < leases().lease * 2 {
            c.create_room(new_room(&format!("after {:?}", since.elapsed()))).await.expect("made");
        }
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        assert_eq!((c.leader(), c.report().raft.term), (Some(a.node()), term));
        close_all([&a, &b, &c]).await;
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

#[test]
fn the_database_may_say_which_cluster_a_node_begins() {
    runs(async {
        let mut town = Town::new();
        let given = ClusterId::generate();
        let start = Start::Bootstrap { cluster: Some(given) };
        let options = DirectoryOptions { known_cluster: Some(given), ..town.options("a", start) };
        let a = RaftDirectory::open(options).await.expect("begins");
        assert_eq!(a.cluster_id(), given);
        a.close().await;
        // Another data directory cannot begin what has begun, unless the database says so.
        let start = Start::Bootstrap { cluster: None };
        let options = DirectoryOptions { known_cluster: Some(given), ..town.options("b", start) };
        let refused = RaftDirectory::open(options).await.err().expect("refused");
        assert!(matches!(refused, OpenError::DirectoryLost { .. }), "{refused}");
    });
}

#[test]
fn a_recovered_directory_has_its_rooms_its_cluster_and_higher_epochs() {
    runs(async {
        let folder = folder();
        let first = open(folder.path()).await;
        let cluster = first.cluster_id();
        let mut rooms = Vec::new();
        for n in 0..40 {
            rooms.push(first.create_room(new_room(&format!("room {n}"))).await.expect("made"));
        }
        let rename = RoomName::parse("renamed").expect("valid");
        let change = RoomChange { name: Some(rename), ..RoomChange::default() };
        rooms[0] =
            first.change_room(rooms[0].at(), change, rooms[0].created_by).await.expect("changed");
        let recovery = Recovery {
            data_dir: folder.path().to_owned(),
            cluster,
            epoch_floor: Epoch(500),
            node: None,
            tenants: Vec::new(),
            rooms: rooms.iter().map(|room| (**room).clone()).collect(),
        };
        let refused = recover(recovery.clone()).await.expect_err("the node runs");
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
        first.close().await;
        std::fs::write(folder.path().join("directory/log.redb"), b"damaged").expect("written");
        let done = recover(recovery).await.expect("recovered");
        assert_eq!((done.node, done.rooms, done.aside.len()), (NodeId(2), 40, 2));
        assert!(done.aside.iter().all(|aside| aside.exists()));
        let options = DirectoryOptions {
            known_cluster: Some(cluster),
            ..DirectoryOptions::new(folder.path())
        };
        let again = RaftDirectory::open(options).await.expect("opens");
        assert_eq!((again.node(), again.cluster_id()), (NodeId(2), cluster));
        for room in &rooms {
            assert_eq!(again.room(room.at()).as_ref(), Some(room));
        }
        for shard in ShardId::all() {
            let owned = again.ownership(shard).expect("served");
            assert!(owned.owner == NodeId(2) && owned.epoch > Epoch(500));
        }
        again.close().await;
    });
}
