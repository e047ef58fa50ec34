//! Whole nodes over loopback, each on runtimes of its own, with real certificates and data
//! directories. They run in real time; every wait is for a condition.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use parlance_actors::ports::cluster::{ClusterReport, NodeState, RoomLoad};
use parlance_actors::ports::peers::{Channel, Inbox, Malformed};
use parlance_actors::vocab::{Epoch, RoomId, RoomRef, TenantId};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::directory::{LeaseTiming, RaftTiming};
use crate::link::tests::Town;

/// Far longer than anything here takes: only a failure waits so long.
const PATIENCE: Duration = Duration::from_secs(90);

/// Remembers what it hears.
#[derive(Default)]
struct Ear(Mutex<Vec<(NodeId, Bytes)>>);

impl Inbox for Ear {
    fn frame(&self, from: NodeId, _: Channel, frame: &[u8]) -> Result<(), Malformed> {
        self.0.lock().push((from, Bytes::copy_from_slice(frame)));
        Ok(())
    }

    fn interrupted(&self, _: NodeId, _: Channel) {}
}

/// A process: its runtimes, and the node on them.
struct Process {
    control: Runtime,
    data: Runtime,
    node: ClusterNode,
    ear: Arc<Ear>,
}

fn runtime(name: &str) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name(name).enable_all().build().expect("a runtime")
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn options(folder: &Path, membership: Option<Membership>) -> ClusterOptions {
    ClusterOptions {
        data_dir: folder.to_owned(),
        known_cluster: None,
        epoch_floor: Epoch(0),
        timing: RaftTiming::default(),
        membership,
    }
}

/// The lobby as a node has it: as many sessions as its number.
fn load_on(node: NodeId) -> RoomLoad {
    RoomLoad {
        room: RoomRef { tenant: TenantId::MAIN, room: RoomId::lobby(TenantId::MAIN) },
        events_per_second: 1.5,
        deliveries_per_second: 10.0,
        sessions: node.0,
    }
}

impl Process {
    async fn start(town: &Town, folder: &TempDir, name: &str, start: Start) -> Self {
        let membership = Membership {
            identity: town.issue(name, &town.authority, town.authority.certificate()),
            control_listen: anywhere(),
            data_listen: anywhere(),
            advertise: None,
            start,
            voters: 3,
            leases: LeaseTiming::default(),
            version: "1.2.3".into(),
        };
        let (control, data) = (runtime("control"), runtime("data"));
        let on = Runtimes { control: control.handle().clone(), data: data.handle().clone() };
        let started = ClusterNode::start(options(folder.path(), Some(membership)), on);
        let node = data.spawn(started).await.expect("no panic").expect("started");
        let own = node.node();
        node.measure_with(
            Arc::new(|| LoadReport { rooms: 7_000, ..LoadReport::default() }),
            Arc::new(move || Box::pin(async move { vec![load_on(own)] })),
        );
        let ear = Arc::new(Ear::default());
        node.peers().attach(Arc::clone(&ear) as Arc<dyn Inbox>);
        data.spawn(release(node.directory()));
        Self { control, data, node, ear }
    }

    /// As a kill would end it: nothing runs on, nothing is said.
    fn kill(self) {
        self.control.shutdown_background();
        self.data.shutdown_background();
        drop(self.node);
    }

    /// In order.
    async fn stop(self) {
        self.data.spawn(self.node.leave()).await.expect("it left");
        self.control.shutdown_background();
        self.data.shutdown_background();
    }

    fn id(&self) -> NodeId {
        self.node.node()
    }

    fn report(&self) -> ClusterReport {
        self.node.operations().report()
    }

    fn owners(&self) -> Vec<Option<NodeId>> {
        self.report().shards.iter().map(|shard| shard.owner).collect()
    }

    fn seeds(&self) -> Start {
        let addresses = self.node.addresses().expect("it has peers");
        Start::Join { seeds: vec![Arc::clone(&addresses.control)] }
    }
}

/// Releases what moves away from a node, as its rooms would.
async fn release(directory: Arc<RaftDirectory>) {
    let mut changed = directory.shards_changed();
    loop {
        for shard in ShardId::all() {
            let moving = directory
                .ownership(shard)
                .filter(|owned| owned.owner == directory.node() && owned.moving_to.is_some());
            if let Some(owned) = moving {
                // One that failed is tried again with the next change, or forced by the leader.
                let _ = directory.release(shard, owned.epoch).await;
            }
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never: {what}");
}

/// All of them see the same owners, and these are exactly they, with about equal shares.
fn agree(nodes: &[&Process]) -> bool {
    let owners = nodes[0].owners();
    let mut shares: BTreeMap<NodeId, usize> = BTreeMap::new();
    for owner in owners.iter().flatten() {
        *shares.entry(*owner).or_default() += 1;
    }
    nodes.iter().all(|node| node.owners() == owners)
        && shares.keys().copied().collect::<Vec<_>>() == ids(nodes)
        && shares.values().all(|share| *share >= 200 / nodes.len())
}

fn ids(nodes: &[&Process]) -> Vec<NodeId> {
    let mut ids: Vec<NodeId> = nodes.iter().map(|node| node.id()).collect();
    ids.sort_unstable();
    ids
}

fn live(node: &Process) -> Vec<NodeId> {
    node.node.peers().live().borrow().nodes.iter().copied().collect()
}

fn state(at: &Process, of: NodeId) -> Option<NodeState> {
    at.report().nodes.iter().find(|node| node.id == of).map(|node| node.state)
}

/// A frame from each to each other arrives.
async fn all_can_talk(nodes: &[&Process]) {
    for from in nodes {
        for to in nodes.iter().filter(|to| to.id() != from.id()) {
            // One that was lost with its channel is sent again, as the domain would.
            until("a frame is heard", || {
                let _ = from.node.peers().send(to.id(), Channel(1), "hello".into());
                to.ear.0.lock().iter().any(|(node, _)| *node == from.id())
            })
            .await;
        }
    }
}

fn runs(test: impl Future<Output = ()>) {
    runtime("test").block_on(test);
}

#[test]
fn three_nodes_form_a_cluster_and_take_over_from_one_that_is_killed() {
    runs(async {
        let town = Town::new();
        let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
        let begin = Start::Bootstrap { cluster: None };
        let a = Process::start(&town, &folders[0], "a", begin).await;
        let b = Process::start(&town, &folders[1], "b", a.seeds()).await;
        let c = Process::start(&town, &folders[2], "c", a.seeds()).await;
        let all = [&a, &b, &c];
        until("shards are spread", || agree(&all)).await;
        for node in all {
            until("all are alive", || live(node) == ids(&all)).await;
            until("loads are told", || {
                node.report().nodes.iter().all(|of| of.rooms == 7_000 && of.version == "1.2.3")
            })
            .await;
        }
        let everybody: u64 = ids(&all).iter().map(|id| id.0).sum();
        for node in all {
            let busiest = node.node.operations().busiest(TenantId::MAIN).await;
            assert!(busiest.silent.is_empty(), "{busiest:?}");
            let lobby = busiest.rooms.first().expect("each names one");
            assert_eq!((busiest.rooms.len(), lobby.sessions), (1, everybody));
            assert_eq!((lobby.events_per_second, lobby.deliveries_per_second), (4.5, 30.0));
            assert_eq!(lobby.owner, node.owners()[usize::from(lobby.shard.0)]);
        }
        all_can_talk(&all).await;
        until("links are reported", || {
            let links = a.report().links;
            let up = |kind| links.iter().filter(|link| link.kind == kind && link.connected).count();
            up("control") == 2 && up("data") == 2
        })
        .await;

        // The one that leads, so that another has to be elected first.
        let (dead, name_of_dead) = (a.id(), a.node.directory().name_of(a.id()));
        a.kill();
        let left = [&b, &c];
        for node in left {
            until("it is known to be dead", || state(node, dead) == Some(NodeState::Down)).await;
            until("nobody counts on it", || live(node) == ids(&left)).await;
            assert_eq!(node.node.directory().name_of(dead), name_of_dead);
            let busiest = node.node.operations().busiest(TenantId::MAIN).await;
            assert_eq!(busiest.silent, [dead]);
            assert_eq!(busiest.rooms.first().map(|lobby| lobby.sessions), Some(everybody - dead.0));
        }
        until("its shards are taken over", || agree(&left)).await;
        all_can_talk(&left).await;
        c.stop().await;
        b.kill();
    });
}

#[test]
fn a_node_that_drains_gives_everything_away_and_comes_back_with_its_id() {
    runs(async {
        let town = Town::new();
        let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
        let begin = Start::Bootstrap { cluster: None };
        let a = Process::start(&town, &folders[0], "a", begin).await;
        assert_eq!(a.node.drain_shards(PATIENCE).await, 256, "nobody takes them");
        assert_eq!(state(&a, a.id()), Some(NodeState::Up));

        let b = Process::start(&town, &folders[1], "b", a.seeds()).await;
        let c = Process::start(&town, &folders[2], "c", a.seeds()).await;
        until("shards are spread", || agree(&[&a, &b, &c])).await;
        let (id, seeds) = (c.id(), a.seeds());
        assert_eq!(c.node.drain_shards(PATIENCE).await, 0);
        until("it is known to drain", || {
            let view = a.node.view().expect("it has peers");
            let seen = view.borrow().node(id).cloned();
            let said = seen.and_then(|seen| seen.said);
            said.is_some_and(|said| said.draining) && state(&a, id) == Some(NodeState::Draining)
        })
        .await;
        c.stop().await;
        until("it is known to have left", || live(&b) == ids(&[&a, &b])).await;
        until("all are served", || agree(&[&a, &b])).await;

        // Its ports are others now, and the cluster is told.
        let c = Process::start(&town, &folders[2], "c", seeds).await;
        assert_eq!(c.id(), id);
        until("it serves again", || agree(&[&a, &b, &c])).await;
        until("it is alive again", || live(&a) == ids(&[&a, &b, &c])).await;
        all_can_talk(&[&a, &b, &c]).await;
        for node in [c, b, a] {
            node.stop().await;
        }
    });
}

#[test]
fn a_node_that_is_alone_has_everything_and_no_endpoints() {
    runs(async {
        let folder = tempfile::tempdir().expect("a folder");
        let here = Handle::current();
        let on = || Runtimes { control: here.clone(), data: here.clone() };
        let node = ClusterNode::start(options(folder.path(), None), on()).await.expect("started");
        assert_eq!((node.node(), node.addresses()), (NodeId(1), None));
        assert!(*node.directory().lease().borrow());
        assert_eq!(node.peers().live().borrow().nodes.len(), 1);
        assert_eq!(node.drain_shards(PATIENCE).await, 256);
        let report = node.operations().report();
        assert!(report.lease && report.links.is_empty() && report.nodes.len() == 1);
        node.leave().await;

        let again = ClusterNode::start(options(folder.path(), None), on()).await.expect("again");
        assert_eq!(again.node(), NodeId(1));
        again.leave().await;
    });
}
