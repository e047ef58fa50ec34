//! Cores and their timers in virtual time, and a network between them that loses, delays,
//! reorders and cuts. Everything follows from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use parlance_actors::vocab::NodeId;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::super::core::{Command, Core, Effects, Expected, Refused};
use super::super::identity::Identity;
use super::super::said::Said;
use super::super::timers::Timers;
use super::super::view::View;
use crate::limits::{PACKET_BYTES_MAX, PACKETS_QUEUE_MAX};
use crate::transport::PeerName;

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Far more than the longest schedule of the largest cluster has, unless packets breed packets.
const EVENTS_MAX: u64 = 1_000_000;

/// What the network does to a packet.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    /// Of a thousand packets.
    pub(crate) lost: u32,
    /// The same.
    pub(crate) duplicated: u32,
    /// Between these, at random: a wide range reorders.
    pub(crate) delay_ms: (u64, u64),
    /// Nothing gets from the first to the second.
    pub(crate) cut: BTreeSet<(usize, usize)>,
}

impl Network {
    pub(crate) fn lan() -> Self {
        Self { lost: 0, duplicated: 0, delay_ms: (0, 3), cut: BTreeSet::new() }
    }
}

enum Event {
    Arrive { to: usize, from: usize, packet: Bytes },
    Wake(usize),
}

/// A process of a node.
struct Life {
    core: Core,
    timers: Timers,
    view: View,
    /// When it is woken next; other wakes are stale.
    wakes_at: Option<Duration>,
    /// Stopped by a signal: what arrives waits.
    stopped: Option<Vec<(usize, Bytes)>>,
}

/// A node, running or not.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) incarnation: u64,
    pub(crate) address: SocketAddr,
    pub(crate) said: Said,
    life: Option<Life>,
    pub(crate) bytes_out: u64,
    pub(crate) packets_out: u64,
}

impl Node {
    fn name(&self) -> PeerName {
        PeerName(format!("node-{}", self.id).into())
    }
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) rng: SmallRng,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// How often a node came to believe that another one died that was running and not stopped.
    pub(crate) wrongly_dead: u64,
    by_address: BTreeMap<SocketAddr, usize>,
    events: BTreeMap<(Duration, u64), Event>,
    numbered: u64,
    handled: u64,
}

impl World {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let nodes = (0..nodes).map(|index| {
            let port = 10_000 + u16::try_from(index).expect("few nodes");
            Node {
                id: NodeId(index as u64 * 7 + 1),
                incarnation: 0,
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                said: Said {
                    draining: false,
                    rooms: 0,
                    sessions: 0,
                    events_per_second: 0.0,
                    data: SocketAddr::from(([127, 0, 0, 1], port + 10_000)),
                    version: "0.1.0".into(),
                },
                life: None,
                bytes_out: 0,
                packets_out: 0,
            }
        });
        Self {
            now: Duration::ZERO,
            rng: SmallRng::seed_from_u64(seed),
            network: Network::lan(),
            nodes: nodes.collect(),
            wrongly_dead: 0,
            by_address: BTreeMap::new(),
            events: BTreeMap::new(),
            numbered: 0,
            handled: 0,
        }
    }

    pub(crate) fn is_running(&self, index: usize) -> bool {
        self.nodes[index].life.is_some()
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.is_running(*index)).collect()
    }

    pub(crate) fn view(&self, index: usize) -> &View {
        &self.nodes[index].life.as_ref().expect("it runs").view
    }

    /// Starts a process with a higher incarnation.
    pub(crate) fn start(&mut self, index: usize, seeds: &[usize]) {
        let seeds = seeds.iter().map(|seed| self.nodes[*seed].address).collect();
        let rng = SmallRng::seed_from_u64(self.rng.random());
        let node = &mut self.nodes[index];
        node.incarnation += 1;
        let identity = Identity::new(node.id, node.incarnation, node.address);
        let (core, effects) = Core::new(identity, seeds, node.said.clone(), rng);
        let (timers, view) = (Timers::default(), core.view());
        node.life = Some(Life { core, timers, view, wakes_at: None, stopped: None });
        self.by_address.insert(node.address, index);
        self.perform(index, effects);
    }

    /// A process ends without a word.
    pub(crate) fn kill(&mut self, index: usize) {
        self.nodes[index].life = None;
        let address = self.nodes[index].address;
        self.by_address.remove(&address);
    }

    pub(crate) fn leave(&mut self, index: usize) {
        self.command(index, Command::Leave);
        self.kill(index);
    }

    /// Like SIGSTOP.
    pub(crate) fn stop(&mut self, index: usize) {
        if let Some(life) = &mut self.nodes[index].life {
            life.stopped.get_or_insert_default();
        }
    }

    /// Like SIGCONT: what arrived is read before late timers, as the driver does.
    pub(crate) fn resume(&mut self, index: usize) {
        let Some(life) = &mut self.nodes[index].life else { return };
        for (from, packet) in life.stopped.take().unwrap_or_default() {
            self.arrive(index, from, packet);
        }
        self.wake(index);
    }

    /// Tells a node what the directory knows.
    pub(crate) fn expect_all(&mut self, index: usize) {
        let nodes = self.nodes.iter().map(|node| Expected {
            node: node.id,
            name: node.name(),
            address: node.address,
        });
        let nodes = nodes.collect();
        self.command(index, Command::Expect(nodes));
    }

    pub(crate) fn say(&mut self, index: usize, said: Said) {
        self.nodes[index].said = said.clone();
        self.command(index, Command::Say(said));
    }

    pub(crate) fn run_until(&mut self, until: Duration) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            self.handled += 1;
            assert!(self.handled < EVENTS_MAX, "a storm of packets at {at:?}");
            match event {
                Event::Arrive { to, from, packet } => self.arrive(to, from, packet),
                Event::Wake(index) => {
                    let life = self.nodes[index].life.as_mut();
                    if life.is_some_and(|life| life.wakes_at.take_if(|due| *due == at).is_some()) {
                        self.wake(index);
                    }
                }
            }
        }
        self.now = until;
    }

    /// When the next thing happens.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.events.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    fn command(&mut self, index: usize, command: Command) {
        let Some(life) = &mut self.nodes[index].life else { return };
        let mut effects = Effects::default();
        life.core.command(command, &mut effects);
        self.perform(index, effects);
    }

    fn arrive(&mut self, to: usize, from: usize, packet: Bytes) {
        let name = self.nodes[from].name();
        let Some(life) = &mut self.nodes[to].life else { return };
        if let Some(waiting) = &mut life.stopped {
            if waiting.len() < PACKETS_QUEUE_MAX {
                waiting.push((from, packet));
            }
            return;
        }
        let mut effects = Effects::default();
        let taken = life.core.packet(&name, &packet, &mut effects);
        if let Err(refused @ (Refused::Wire(_) | Refused::NoNode | Refused::NotTheirs { .. })) =
            taken
        {
            panic!("a packet of this simulation is refused: {refused}");
        }
        self.perform(to, effects);
    }

    fn wake(&mut self, index: usize) {
        loop {
            let Some(life) = &mut self.nodes[index].life else { return };
            if life.stopped.is_some() {
                return;
            }
            let Some(timer) = life.timers.pop(self.now) else { break };
            let mut effects = Effects::default();
            life.core.timer(timer, &mut effects).expect("no timer fails");
            self.perform(index, effects);
        }
        self.wake_when_due(index);
    }

    fn wake_when_due(&mut self, index: usize) {
        let Some(life) = &mut self.nodes[index].life else { return };
        let Some(due) = life.timers.next_due().map(|due| due.max(self.now)) else { return };
        if life.wakes_at.is_none_or(|at| due < at) {
            life.wakes_at = Some(due);
            self.later(due, Event::Wake(index));
        }
    }

    fn perform(&mut self, from: usize, effects: Effects) {
        for (address, packet) in effects.packets {
            assert!(packet.len() <= PACKET_BYTES_MAX);
            self.nodes[from].bytes_out += packet.len() as u64;
            self.nodes[from].packets_out += 1;
            self.send(from, address, packet);
        }
        let now = self.now;
        let Some(life) = &mut self.nodes[from].life else { return };
        for (after, timer) in effects.timers {
            life.timers.set(now + after, timer);
        }
        if effects.changed {
            let view = life.core.view();
            let before = std::mem::replace(&mut life.view, view);
            self.judge(from, &before);
        }
        self.wake_when_due(from);
    }

    fn send(&mut self, from: usize, address: SocketAddr, packet: Bytes) {
        let Some(&to) = self.by_address.get(&address) else { return };
        let lost = self.rng.random_range(0..1_000) < self.network.lost;
        if lost || self.network.cut.contains(&(from, to)) {
            return;
        }
        if self.rng.random_range(0..1_000) < self.network.duplicated {
            self.travel(to, from, packet.clone());
        }
        self.travel(to, from, packet);
    }

    fn travel(&mut self, to: usize, from: usize, packet: Bytes) {
        let (least, most) = self.network.delay_ms;
        let delay = Duration::from_micros(self.rng.random_range(least * 1_000..=most * 1_000));
        self.later(self.now + delay, Event::Arrive { to, from, packet });
    }

    /// What must hold at every moment.
    fn judge(&mut self, index: usize, before: &View) {
        let after = self.view(index).clone();
        for (node, then) in before.nodes() {
            let now = after.node(node);
            let goes_back = now.is_some_and(|now| now.incarnation < then.incarnation);
            assert!(!goes_back, "an old life of node {node} won at {index}: {then:?}, {now:?}");
            let dies = then.alive && !now.is_some_and(|now| now.alive);
            let runs = self.nodes.iter().any(|other| {
                other.id == node && other.life.as_ref().is_some_and(|life| life.stopped.is_none())
            });
            self.wrongly_dead += u64::from(dies && runs);
        }
    }

    /// Why the nodes do not agree on exactly those that run and on what they say.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let running = self.running();
        let ids: BTreeSet<NodeId> = running.iter().map(|index| self.nodes[*index].id).collect();
        for &at in &running {
            let (view, own) = (self.view(at), self.nodes[at].id);
            if *view.alive() != ids {
                return Some(format!("node {own} sees {:?}, not {ids:?}", view.alive()));
            }
            for &of in &running {
                let node = &self.nodes[of];
                let seen = view.node(node.id).expect("it is alive in the view");
                if (seen.incarnation, seen.address) != (node.incarnation, node.address) {
                    return Some(format!("node {own} sees another life of {}: {seen:?}", node.id));
                }
                let heard = seen.said.as_ref();
                if heard.is_none_or(|heard| node.said.is_news_after(heard)) {
                    return Some(format!("node {own} has not heard what {} said", node.id));
                }
            }
        }
        None
    }

    /// Runs until all agree, at most so long.
    pub(crate) fn agree_within(&mut self, time: Duration) -> Result<Duration, String> {
        let start = self.now;
        loop {
            let Some(why) = self.disagreement() else { return Ok(self.now - start) };
            if self.now - start >= time {
                return Err(why);
            }
            self.run_for(ms(100));
        }
    }

    fn later(&mut self, at: Duration, event: Event) {
        self.numbered += 1;
        self.events.insert((at, self.numbered), event);
    }
}
