//! Everything below the rooms of a simulated cluster: the real gossip cores, the directory's group,
//! the links, and the one network and clock that they share. One task moves it; rooms, which are
//! real actors, meet it through their ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use parlance_actors::ports::peers::{Channel, Inbox, Live, NotSent, Peers, Round};
use parlance_actors::vocab::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::links::{self, Given, Links, Weather};
use crate::directory::simulated::{self, Command, Desk, Group, Sent, id, place};
use crate::gossip::simulation::world as swim;

/// Nobody wakes later than this.
const FAR: Duration = Duration::from_secs(3_600);

/// What the network does, to all that travels on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Network {
    /// Of gossip and calls, from the first to the second.
    pub(super) control_cut: BTreeSet<(usize, usize)>,
    /// Of rooms' frames.
    pub(super) data_cut: BTreeSet<(usize, usize)>,
    pub(super) delay_ms: (u64, u64),
    /// Of a thousand packets. What is sent on a stream is then late instead.
    pub(super) lost: u32,
    pub(super) duplicated: u32,
}

struct Life {
    runs: bool,
    stopped: watch::Sender<bool>,
    /// Grows with each start.
    number: u64,
    live: watch::Sender<Arc<Live>>,
    inbox: Option<Arc<dyn Inbox>>,
    ticks_at: Duration,
    /// Calls that arrived, or were made, while it was stopped.
    held: Vec<Sent>,
}

/// The state of it all.
pub(super) struct Sim {
    began: Instant,
    pub(super) gossip: swim::World,
    pub(super) group: Group,
    pub(super) links: Links,
    network: Network,
    lives: Vec<Life>,
    calls: BTreeMap<(Duration, u64), Sent>,
    numbered: u64,
    random: SmallRng,
    links_at: Duration,
    /// When the task looks next by itself.
    wakes_at: Duration,
    leader: Option<usize>,
    pub(super) trace: Vec<String>,
}

/// A simulated cluster, shared by its task and its ports.
pub(super) struct World {
    pub(super) sim: Mutex<Sim>,
    stirred: Notify,
}

/// A node's side of the links, in one life of it.
pub(super) struct Port {
    world: Weak<World>,
    at: usize,
    life: u64,
    live: watch::Receiver<Arc<Live>>,
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize) -> Arc<Self> {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut gossip = swim::World::new(random.random(), nodes);
        for (at, node) in gossip.nodes.iter_mut().enumerate() {
            node.id = id(at);
        }
        let lives = (0..nodes).map(|_| Life {
            runs: false,
            stopped: watch::Sender::new(false),
            number: 0,
            live: watch::Sender::default(),
            inbox: None,
            ticks_at: FAR,
            held: Vec::new(),
        });
        let lives = lives.collect();
        let sim = Sim {
            began: Instant::now(),
            gossip,
            group: Group::new(random.random(), nodes),
            links: Links::new(nodes, SmallRng::seed_from_u64(random.random())),
            network: Network { delay_ms: (0, 3), ..Network::default() },
            lives,
            calls: BTreeMap::new(),
            numbered: 0,
            random,
            links_at: Duration::ZERO,
            wakes_at: Duration::ZERO,
            leader: None,
            trace: Vec::new(),
        };
        Arc::new(Self { sim: Mutex::new(sim), stirred: Notify::new() })
    }

    /// Moves the world, for ever.
    pub(super) async fn run(self: Arc<Self>) {
        let mut given = Vec::new();
        loop {
            let wakes_at = {
                let mut sim = self.sim.lock();
                sim.advance(&mut given);
                sim.began + sim.wakes_at
            };
            let again = given.iter().any(|given| matches!(given, Given::Interrupted { .. }));
            for given in given.drain(..) {
                self.give(given);
                // Others' turns come between, as on a network.
                tokio::task::yield_now().await;
            }
            if again {
                continue;
            }
            tokio::select! {
                biased;
                () = self.stirred.notified() => {}
                () = tokio::time::sleep_until(wakes_at) => {}
            }
        }
    }

    fn give(&self, given: Given) {
        let inbox = |node: usize| self.sim.lock().lives[node].inbox.clone();
        match given {
            Given::Frame { from, to, channel, frame } => {
                let taken = inbox(to).map(|inbox| inbox.frame(id(from), channel, &frame));
                assert!(!matches!(taken, Some(Err(_))), "a frame does not decode: {taken:?}");
            }
            Given::Interrupted { node, peer, channel, round } => {
                if let Some(inbox) = inbox(node) {
                    inbox.interrupted(id(peer), channel);
                }
                self.sim.lock().links.told(node, peer, channel, round);
            }
        }
    }

    /// Starts a node's process: its links and its directory.
    pub(super) fn start(self: &Arc<Self>, at: usize) -> (Arc<Port>, Arc<Desk>, u64) {
        let mut sim = self.sim.lock();
        let now = sim.now();
        let number = sim.lives[at].number + 1;
        let (live, seen) = watch::channel(Arc::new(Live { nodes: BTreeSet::from([id(at)]) }));
        sim.lives[at] = Life {
            runs: true,
            stopped: watch::Sender::new(false),
            number,
            live,
            inbox: None,
            ticks_at: now,
            held: Vec::new(),
        };
        sim.gossip.run_until(now);
        sim.gossip.start(at, &[0]);
        sim.gossip.expect_all(at);
        sim.group.start(at, now);
        sim.links.start(at, now);
        sim.note(|| format!("node {} starts", id(at)));
        let world = Arc::downgrade(self);
        let asks = world.clone();
        let ask = move |command: Option<Command>| match asks.upgrade() {
            Some(world) => world.ask(at, number, command),
            None => tokio::sync::oneshot::channel().1,
        };
        let desk = Arc::new(sim.group.desk(at, Arc::new(ask)));
        drop(sim);
        self.stirred.notify_one();
        (Arc::new(Port { world, at, life: number, live: seen }), desk, number)
    }

    fn ask(
        &self,
        at: usize,
        life: u64,
        command: Option<Command>,
    ) -> tokio::sync::oneshot::Receiver<simulated::Asked> {
        let mut sim = self.sim.lock();
        if sim.lives[at].number != life {
            return tokio::sync::oneshot::channel().1;
        }
        let now = sim.now();
        let answer = sim.group.ask(at, command, now);
        sim.dispatch();
        sim.wakes_at = Duration::ZERO;
        drop(sim);
        self.stirred.notify_one();
        answer
    }

    /// Changes something, and looks at once what follows.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Sim) -> T) -> T {
        let changed = change(&mut self.sim.lock());
        self.stirred.notify_one();
        changed
    }
}

impl Sim {
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now();
        self.trace.push(format!("{:>7} ms: {}", now.as_millis(), what()));
    }

    pub(super) fn life(&self, at: usize) -> u64 {
        self.lives[at].number
    }

    pub(super) fn runs(&self, at: usize) -> bool {
        self.lives[at].runs
    }

    pub(super) fn stopped(&self, at: usize) -> watch::Receiver<bool> {
        self.lives[at].stopped.subscribe()
    }

    fn is_awake(&self, at: usize) -> bool {
        self.lives[at].runs && !*self.lives[at].stopped.borrow()
    }

    pub(super) fn kill(&mut self, at: usize) {
        let life = &mut self.lives[at];
        (life.runs, life.inbox, life.ticks_at) = (false, None, FAR);
        life.number += 1;
        life.held.clear();
        self.gossip.kill(at);
        self.group.kill(at);
    }

    /// Like SIGSTOP.
    pub(super) fn stop(&mut self, at: usize) {
        if self.lives[at].runs {
            self.lives[at].stopped.send_replace(true);
            self.gossip.stop(at);
        }
    }

    /// Like SIGCONT: what arrived is taken, late.
    pub(super) fn resume(&mut self, at: usize) {
        if !self.lives[at].stopped.send_replace(false) {
            return;
        }
        let now = self.now();
        self.gossip.run_until(now);
        self.gossip.resume(at);
        for call in std::mem::take(&mut self.lives[at].held) {
            self.numbered += 1;
            self.calls.insert((now, self.numbered), call);
        }
    }

    /// The network is like this from now on.
    pub(super) fn set_network(&mut self, change: impl FnOnce(&mut Network)) {
        change(&mut self.network);
        let Network { control_cut, delay_ms, lost, duplicated, .. } = self.network.clone();
        let cut = control_cut;
        self.gossip.network = swim::Network { lost, duplicated, delay_ms, cut };
    }

    /// Moves everything up to now.
    fn advance(&mut self, given: &mut Vec<Given>) {
        let now = self.now();
        self.gossip.run_until(now);
        self.tell_views();
        while let Some(first) = self.calls.first_entry()
            && first.key().0 <= now
        {
            let call = first.remove();
            self.arrive(call, now);
        }
        for at in 0..self.lives.len() {
            if now >= self.lives[at].ticks_at {
                self.lives[at].ticks_at = now + simulated::TICK;
                if self.is_awake(at) {
                    self.group.tick(at, now);
                }
            }
        }
        self.dispatch();
        self.note_leader();
        // As real links: nothing is taken for a node before its inbox is there.
        let takes = |at: usize| self.is_awake(at) && self.lives[at].inbox.is_some();
        let awake: Vec<bool> = (0..self.lives.len()).map(takes).collect();
        let cut = &self.network.data_cut;
        let passes = |from: usize, to: usize| !cut.contains(&(from, to));
        let weather = Weather { now, awake: &awake, passes: &passes };
        self.links.look(&weather, given);
        self.links_at = now + links::LOOK;
        let ticks = self.lives.iter().map(|life| life.ticks_at).min();
        let call = self.calls.first_key_value().map(|((at, _), _)| *at);
        let dues = [
            self.gossip.next_due(),
            call,
            ticks,
            self.links.next_due(&weather),
            Some(self.links_at),
        ];
        self.wakes_at = dues.into_iter().flatten().min().unwrap_or(FAR).max(now);
    }

    fn arrive(&mut self, call: Sent, now: Duration) {
        let life = &mut self.lives[call.to];
        if !life.runs {
            return;
        }
        if *life.stopped.borrow() {
            life.held.push(call);
            return;
        }
        self.group.receive(call.to, call.from, call.message, now);
        self.dispatch();
    }

    /// Sends what the group has to say.
    fn dispatch(&mut self) {
        let now = self.now();
        for call in std::mem::take(&mut self.group.sent) {
            if self.network.control_cut.contains(&(call.from, call.to)) {
                continue;
            }
            let due = now + self.delay();
            self.numbered += 1;
            self.calls.insert((due, self.numbered), call);
        }
    }

    /// How long something on a stream takes.
    fn delay(&mut self) -> Duration {
        let (least, most) = self.network.delay_ms;
        let travel = self.random.random_range(least * 1_000..=most * 1_000);
        let again = self.random.random_range(0..1_000) < self.network.lost;
        let again = if again { self.random.random_range(10_000..300_000) } else { 0 };
        Duration::from_micros(travel + again)
    }

    /// What gossip believes, to the directory and to the rooms.
    fn tell_views(&mut self) {
        for (at, life) in self.lives.iter().enumerate() {
            if !life.runs {
                continue;
            }
            let view = self.gossip.view(at);
            let changed = life.live.send_if_modified(|live| {
                let differs = live.nodes != *view.alive();
                if differs {
                    *live = Arc::new(Live { nodes: view.alive().clone() });
                }
                differs
            });
            if changed || self.group.applied(at) == 0 {
                let ids = (0..self.lives.len()).map(id);
                let doubted = |node: &NodeId| view.node(*node).is_some_and(|seen| !seen.alive);
                self.group.believe(at, ids.filter(|node| !doubted(node)).collect());
            }
        }
    }

    fn note_leader(&mut self) {
        let leader = self.group.leader();
        if leader != self.leader {
            self.leader = leader;
            self.note(|| format!("leader: {:?}", leader.map(id)));
        }
    }

    /// Why the parts do not agree, with each other and on what runs.
    pub(super) fn disagreement(&self) -> Option<String> {
        let runs: Vec<bool> = self.lives.iter().map(|life| life.runs).collect();
        let gossip = self.gossip.disagreement();
        gossip.or_else(|| self.group.disagreement()).or_else(|| self.links.disagreement(&runs))
    }
}

impl Port {
    /// Does something with the links, in this life.
    fn with<T>(
        &self,
        to: NodeId,
        act: impl FnOnce(&mut Sim, usize) -> Result<T, NotSent>,
    ) -> Result<T, NotSent> {
        let world = self.world.upgrade().ok_or(NotSent::NoWay)?;
        let mut sim = world.sim.lock();
        let to = place(to);
        if sim.lives[self.at].number != self.life || to >= sim.lives.len() || to == self.at {
            return Err(NotSent::NoWay);
        }
        let wakes_at = sim.wakes_at;
        let done = act(&mut sim, to)?;
        if sim.wakes_at < wakes_at {
            drop(sim);
            world.stirred.notify_one();
        }
        Ok(done)
    }
}

impl Port {
    fn present(&self, to: NodeId, channel: Channel) -> Result<Round, NotSent> {
        self.with(to, |sim, to| sim.links.round(self.at, to, channel))
    }
}

impl Peers for Port {
    fn live(&self) -> watch::Receiver<Arc<Live>> {
        self.live.clone()
    }

    fn send(&self, to: NodeId, channel: Channel, frame: Bytes) -> Result<(), NotSent> {
        let round = self.present(to, channel)?;
        self.send_in(round, to, channel, frame)
    }

    fn reaches(&self, to: NodeId, channel: Channel) -> bool {
        self.present(to, channel).is_ok()
    }

    fn round(&self, to: NodeId, channel: Channel) -> Round {
        // Without a way there is none, and whatever comes is another one.
        self.present(to, channel).unwrap_or(Round(u64::MAX))
    }

    fn send_in(
        &self,
        round: Round,
        to: NodeId,
        channel: Channel,
        frame: Bytes,
    ) -> Result<(), NotSent> {
        self.with(to, |sim, to| {
            let due = sim.now() + sim.delay();
            sim.links.send(round, (self.at, to), channel, frame, due)?;
            sim.wakes_at = sim.wakes_at.min(due);
            Ok(())
        })
    }

    fn whisper(&self, to: NodeId, channel: Channel, frame: Bytes) {
        // What may be lost is; nobody is told.
        let _ = self.send(to, channel, frame);
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        if let Some(world) = self.world.upgrade() {
            let life = &mut world.sim.lock().lives[self.at];
            if life.number == self.life {
                life.inbox = Some(inbox);
            }
        }
    }
}
