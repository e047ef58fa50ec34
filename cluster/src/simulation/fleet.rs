//! The nodes of a schedule, whole: the real rooms, hub and sessions of each over the simulated world
//! and a database in memory, with what a schedule does to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::chat::{Chat, Parts};
use parlance_actors::ports::peers::Channel;
use parlance_actors::testkit::MemoryAccounts;
use parlance_actors::testkit::history::MemoryHistory;
use parlance_actors::vocab::{RoomId, ShardId};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::{Door, Doors, Postcards};
use super::schedule::{Step, Ways};
use super::world::World;
use crate::directory::simulated::{Desk, id};

pub(super) struct Fleet {
    pub(super) world: Arc<World>,
    pub(super) doors: Doors,
    /// A process that never ends, for looking at the database.
    pub(super) database: Arc<MemoryHistory>,
    accounts: Arc<MemoryAccounts>,
    histories: BTreeMap<usize, Arc<MemoryHistory>>,
    /// The port of the last start of each node.
    desks: BTreeMap<usize, Arc<Desk>>,
    /// The world's task, and nodes that are starting.
    tasks: JoinSet<()>,
    nodes: usize,
}

impl Fleet {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let world = World::new(seed, nodes);
        let mut tasks = JoinSet::new();
        tasks.spawn(world.clone().run());
        Self {
            world,
            doors: Doors::default(),
            database: MemoryHistory::new(),
            accounts: Arc::default(),
            histories: BTreeMap::new(),
            desks: BTreeMap::new(),
            tasks,
            nodes,
        }
    }

    /// Why a task of the world ended, if one did that should not.
    pub(super) fn failed(&mut self) -> Option<String> {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended {
                return Some(error.to_string());
            }
        }
        None
    }

    pub(super) fn desk(&self, at: usize) -> Arc<Desk> {
        Arc::clone(&self.desks[&at])
    }

    /// Starts a node that does not run. It can be reached once its directory has everything.
    pub(super) fn start(&mut self, at: usize) {
        if self.world.sim.lock().runs(at) {
            return;
        }
        let (port, desk, life) = self.world.start(at);
        let history = self.database.another_process();
        self.histories.insert(at, history.clone());
        self.desks.insert(at, desk.clone());
        let parts = Parts {
            history: history.clone(),
            members: history,
            accounts: self.accounts.clone(),
            directory: desk.clone(),
            frames: Arc::new(Postcards),
            peers: port,
            traces: None,
        };
        let (world, doors) = (self.world.clone(), self.doors.clone());
        self.tasks.spawn(async move {
            let admission = world.sim.lock().group.admission(at);
            while desk.change(Some(admission.clone())).await.is_err() {
                if world.sim.lock().life(at) != life {
                    return;
                }
            }
            if world.sim.lock().life(at) != life {
                return;
            }
            let chat = Chat::start(parts).await.expect("started");
            let stopped = {
                let sim = world.sim.lock();
                (sim.life(at) == life).then(|| sim.stopped(at))
            };
            match stopped {
                Some(stopped) => {
                    doors.lock().insert(at, Door { node: id(at), chat, stopped });
                }
                None => chat.crash(),
            }
        });
    }

    fn kill(&mut self, at: usize) {
        if let Some(door) = self.doors.lock().remove(&at) {
            door.chat.crash();
        }
        if let Some(history) = self.histories.remove(&at) {
            // Nothing of it is heard of again.
            drop(history.restart());
        }
        self.world.change(|sim| sim.kill(at));
    }

    fn resume(&mut self, at: usize) {
        if let Some(history) = self.histories.get(&at) {
            history.release_commits();
        }
        self.world.change(|sim| sim.resume(at));
    }

    pub(super) fn perform(&mut self, step: &Step, rooms: &[RoomId]) {
        self.world.change(|sim| sim.note(|| format!("{step:?}")));
        let world = self.world.clone();
        match *step {
            Step::Kill(at) => self.kill(at),
            Step::Start(at) => self.start(at),
            Step::Stop(at) => {
                if let Some(history) = self.histories.get(&at) {
                    history.hold_commits();
                }
                world.change(|sim| sim.stop(at));
            }
            Step::Resume(at) => self.resume(at),
            Step::Cut { from, to, ways } => self.cut(&[(from, to)], ways),
            Step::Split { side, ways } => {
                let on = |at: usize| side & (1 << at) != 0;
                let pairs = (0..self.nodes).flat_map(|a| (0..self.nodes).map(move |b| (a, b)));
                let apart: Vec<(usize, usize)> = pairs.filter(|(a, b)| on(*a) != on(*b)).collect();
                self.cut(&apart, ways);
            }
            Step::Mend => self.mend(),
            Step::Loss { of_thousand } => {
                world.change(|sim| sim.set_network(|network| network.lost = of_thousand));
            }
            Step::Delay { least_ms, most_ms } => {
                let delay = (least_ms, most_ms);
                world.change(|sim| sim.set_network(|network| network.delay_ms = delay));
            }
            Step::Duplicates { of_thousand } => {
                world.change(|sim| sim.set_network(|network| network.duplicated = of_thousand));
            }
            Step::Reset { one, other, channel } => world.change(|sim| {
                let now = sim.now();
                sim.links.reset(one, other, Channel(channel), now);
            }),
            Step::Depose(at) => world.change(|sim| {
                let now = sim.now();
                sim.group.depose(at, now);
            }),
            Step::Move { to } => world.change(|sim| {
                let now = sim.now();
                for room in rooms {
                    sim.group.begin_move(room.shard(), to, now);
                }
            }),
            Step::Drain { node, drains } => world.change(|sim| {
                let now = sim.now();
                sim.group.drain(node, drains, now);
            }),
            Step::SlowDatabase { node, batch } => {
                if let Some(history) = self.histories.get(&node) {
                    history.slow_down(batch);
                }
            }
            Step::Database { node, away } => {
                if let Some(history) = self.histories.get(&node) {
                    history.set_away(away);
                }
            }
        }
    }

    fn cut(&self, pairs: &[(usize, usize)], ways: Ways) {
        self.world.change(|sim| {
            sim.set_network(|network| {
                if ways != Ways::Data {
                    network.control_cut.extend(pairs);
                }
                if ways != Ways::Control {
                    network.data_cut.extend(pairs);
                }
            });
        });
    }

    fn mend(&self) {
        self.world.change(|sim| {
            sim.set_network(|network| {
                network.control_cut.clear();
                network.data_cut.clear();
            });
        });
    }

    /// All faults go, and all nodes run.
    pub(super) fn heal(&mut self) {
        self.mend();
        self.world.change(|sim| {
            sim.set_network(|network| {
                (network.delay_ms, network.lost, network.duplicated) = ((0, 3), 0, 0);
            });
        });
        for at in 0..self.nodes {
            self.resume(at);
            self.start(at);
            let history = &self.histories[&at];
            history.set_away(false);
            history.slow_down(Duration::ZERO);
        }
        self.world.change(|sim| sim.note(|| "healed".to_owned()));
    }

    /// Waits until every node can be reached.
    pub(super) async fn all_up(&mut self) {
        while self.doors.lock().len() < self.nodes {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Who owns each shard under which epoch, as each node sees it.
    pub(super) fn owners(&self, shard: ShardId) -> Vec<String> {
        let sim = self.world.sim.lock();
        let see = |at: usize| {
            let owned = sim.group.shards(at).get(usize::from(shard.0)).copied().flatten();
            format!("{} sees {owned:?}", id(at))
        };
        (0..self.nodes).map(see).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.tasks.abort_all();
    }
}
