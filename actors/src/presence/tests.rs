//! One user shard on several nodes, without a runtime: frames travel through queues that are cut,
//! lose what they hold and are told of it, as the port promises; nodes die, restart, and see one
//! another come and go at different times. At the end all is well again, and everybody must know
//! the truth.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;
use uuid::Uuid;

use super::rendezvous;
use super::shard::{Outlet, Shard, View};
use super::state::{Tell, Who};
use crate::limits;
use crate::ports::peers::{Channel, NotSent};
use crate::session::PresenceStatus;
use crate::vocab::{NodeId, RoomId, Seq, SessionId, TenantId, UserId};
use crate::wire::presence::{PresenceFrame, Saying, Word};

mod scenarios;

const SHARD: u8 = 9;
const NODES: u64 = 3;
const USERS: u8 = 5;
/// The promise: correct this long after any failure.
const CORRECT_WITHIN: Duration = Duration::from_secs(5);

type Way = (NodeId, NodeId, Channel);

enum Item {
    Frame(Vec<u8>),
    Interruption,
}

/// What carries frames between nodes.
#[derive(Default)]
struct Net {
    ways: BTreeMap<Way, VecDeque<Item>>,
    cut: BTreeSet<(NodeId, NodeId)>,
    dead: BTreeSet<NodeId>,
    sent: usize,
    tells_sent: usize,
}

impl Net {
    fn interrupt(&mut self, one: NodeId, other: NodeId, channel: Channel) {
        for (from, to) in [(one, other), (other, one)] {
            let way = self.ways.entry((from, to, channel)).or_default();
            way.clear();
            if !self.dead.contains(&to) {
                way.push_back(Item::Interruption);
            }
        }
    }

    fn is_interrupted(&self, way: Way) -> bool {
        let items = self.ways.get(&way).into_iter().flatten();
        items.into_iter().any(|item| matches!(item, Item::Interruption))
    }
}

/// What one node did, and the way out of it.
struct Port<'a> {
    me: NodeId,
    net: &'a mut Net,
    told: &'a mut Told,
    shed: &'a mut usize,
}

/// What each watcher was told last, and how often anybody was told anything.
#[derive(Default)]
struct Told {
    last: HashMap<(NodeId, SessionId, Who), PresenceStatus>,
    count: usize,
}

impl Outlet for Port<'_> {
    fn send(&mut self, to: NodeId, channel: Channel, frame: PresenceFrame) -> Result<(), NotSent> {
        assert_ne!(to, self.me, "what is for this node never leaves it");
        let pair = (self.me.min(to), self.me.max(to));
        if self.net.dead.contains(&to) || self.net.cut.contains(&pair) {
            return Err(NotSent::NoWay);
        }
        let (there, back) = ((self.me, to, channel), (to, self.me, channel));
        if self.net.is_interrupted(there) || self.net.is_interrupted(back) {
            return Err(NotSent::Interrupted);
        }
        self.net.sent += 1;
        self.net.tells_sent += usize::from(matches!(frame, PresenceFrame::Tells { .. }));
        let frame = Item::Frame(frame.encode().to_vec());
        self.net.ways.entry(there).or_default().push_back(frame);
        Ok(())
    }

    fn tell(&mut self, Tell { watcher, who, status }: Tell<SessionId>) {
        let before = self.told.last.insert((self.me, watcher, who), status);
        assert_ne!(before, Some(status), "nobody is told twice the same");
        self.told.count += 1;
    }

    fn shed(&mut self, words: usize) {
        *self.shed += words;
    }
}

struct Node {
    shard: Shard,
    live: BTreeSet<NodeId>,
    sessions: BTreeMap<(Who, SessionId), PresenceStatus>,
    watches: BTreeSet<(Who, SessionId)>,
    delivered: Vec<Word>,
    shed: usize,
}

struct Sim {
    now: Duration,
    net: Net,
    nodes: BTreeMap<NodeId, Node>,
    told: Told,
}

fn all_nodes() -> BTreeSet<NodeId> {
    (1..=NODES).map(NodeId).collect()
}

fn view(live: &BTreeSet<NodeId>) -> View {
    let home = rendezvous::home(SHARD, live.iter().copied()).expect("a live node");
    View { home, live: live.clone() }
}

fn who(user: u8) -> Who {
    let mut bytes = [user; 16];
    bytes[15] = SHARD;
    (TenantId(1), UserId(Uuid::from_bytes(bytes)))
}

fn session(number: u8) -> SessionId {
    SessionId(Uuid::from_u128(u128::from(number)))
}

impl Sim {
    fn new() -> Self {
        let mut sim = Self {
            now: Duration::from_secs(100),
            net: Net::default(),
            nodes: BTreeMap::new(),
            told: Told::default(),
        };
        all_nodes().into_iter().for_each(|node| sim.start(node));
        sim
    }

    fn start(&mut self, node: NodeId) {
        let live = all_nodes();
        let mut shard = Shard::new(node, SHARD, view(&live));
        shard.settle(self.now);
        let (sessions, watches) = (BTreeMap::new(), BTreeSet::new());
        let fresh = Node { shard, live, sessions, watches, delivered: Vec::new(), shed: 0 };
        self.net.dead.remove(&node);
        self.nodes.insert(node, fresh);
    }

    /// Something happens on a node, if it lives; then it does what is due.
    fn on(&mut self, id: NodeId, act: impl FnOnce(&mut Shard, Duration, &mut Port<'_>)) {
        let Self { now, net, nodes, told } = self;
        let Some(node) = nodes.get_mut(&id) else { return };
        let mut port = Port { me: id, net, told, shed: &mut node.shed };
        act(&mut node.shard, *now, &mut port);
        node.shard.tick(*now, &mut port);
    }

    fn set(&mut self, id: NodeId, user: u8, number: u8, status: PresenceStatus) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.sessions.insert((who(user), session(number)), status);
        self.on(id, |shard, _, _| shard.set(who(user), session(number), status));
    }

    fn end(&mut self, id: NodeId, user: u8, number: u8) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.sessions.remove(&(who(user), session(number)));
        self.on(id, |shard, _, _| shard.end(who(user), session(number)));
    }

    fn watch(&mut self, id: NodeId, user: u8, number: u8) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.watches.insert((who(user), session(number))) {
            self.on(id, |shard, _, port| shard.watch(who(user), session(number), port));
        }
    }

    fn unwatch(&mut self, id: NodeId, user: u8, number: u8) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.watches.remove(&(who(user), session(number)));
        self.told.last.remove(&(id, session(number), who(user)));
        self.on(id, |shard, _, _| shard.unwatch(who(user), session(number)));
    }

    fn see(&mut self, id: NodeId, live: BTreeSet<NodeId>) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if node.live != live {
            node.live.clone_from(&live);
            self.on(id, |shard, now, _| shard.changed(now, view(&live)));
        }
    }

    fn kill(&mut self, id: NodeId) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        self.net.dead.insert(id);
        self.told.last.retain(|(node, ..), _| *node != id);
        for other in all_nodes().into_iter().filter(|other| *other != id) {
            Channel::all().for_each(|channel| self.net.interrupt(id, other, channel));
        }
    }

    /// The shard's actor panics: what sessions know is said to its successor.
    fn crash(&mut self, id: NodeId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.shard = Shard::new(id, SHARD, view(&node.live));
        self.told.last.retain(|(node, ..), _| *node != id);
        let (sessions, watches) = (node.sessions.clone(), node.watches.clone());
        self.on(id, |shard, now, _| shard.succeed(now));
        for ((who, session), status) in sessions {
            self.on(id, |shard, _, _| shard.set(who, session, status));
        }
        for (who, session) in watches {
            self.on(id, |shard, _, port| shard.watch(who, session, port));
        }
    }

    /// Delivers one item of the way, if there is one.
    fn deliver(&mut self, way: Way) -> bool {
        let Some(item) = self.net.ways.get_mut(&way).and_then(VecDeque::pop_front) else {
            return false;
        };
        let (from, to, channel) = way;
        match item {
            Item::Interruption => {
                self.on(to, |shard, now, _| shard.interrupted(now, from, channel));
            }
            Item::Frame(bytes) => match PresenceFrame::decode(&bytes).expect("well formed") {
                PresenceFrame::Deliver { words } => {
                    let Some(node) = self.nodes.get_mut(&to) else { return true };
                    node.delivered.extend(words.into_iter().map(Word::from));
                }
                frame => {
                    if let PresenceFrame::Carry { words, .. } = &frame
                        && let Some(node) = self.nodes.get_mut(&to)
                    {
                        node.delivered.extend(words.iter().cloned().map(Word::from));
                    }
                    self.on(to, |shard, now, port| {
                        shard.receive(now, (from, channel), frame, port);
                    });
                }
            },
        }
        true
    }

    fn deliver_all(&mut self) {
        loop {
            let ways: Vec<Way> = self.net.ways.keys().copied().collect();
            let delivered = ways.into_iter().filter(|way| self.deliver(*way)).count();
            if delivered == 0 {
                return;
            }
        }
    }

    /// Lets time pass; what is sent meanwhile arrives at once if `delivering`.
    fn pass(&mut self, time: Duration, delivering: bool) {
        let until = self.now + time;
        loop {
            if delivering {
                self.deliver_all();
            }
            let due = self.nodes.values().filter_map(|node| node.shard.next_due()).min();
            match due {
                Some(due) if due <= until => self.now = self.now.max(due),
                _ => break,
            }
            let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
            ids.into_iter().for_each(|id| self.on(id, |_, _, _| {}));
        }
        self.now = until;
    }

    /// The network is whole again and everybody sees who lives.
    fn heal(&mut self) {
        self.net.cut.clear();
        let live: BTreeSet<NodeId> = self.nodes.keys().copied().collect();
        live.iter().for_each(|id| self.see(*id, live.clone()));
    }

    fn truth(&self, who: Who) -> PresenceStatus {
        let all = self.nodes.values().flat_map(|node| &node.sessions);
        let of_user = all.filter(|((of, _), _)| *of == who).map(|(_, status)| *status);
        of_user.max().unwrap_or(PresenceStatus::Offline)
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for (id, node) in &self.nodes {
            for (who, watcher) in &node.watches {
                let told = self.told.last.get(&(*id, *watcher, *who)).copied();
                prop_assert_eq!(told, Some(self.truth(*who)), "{} on {}", who.1, id);
            }
        }
        Ok(())
    }

    fn end_everything(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let (sessions, watches) = (&self.nodes[&id].sessions, &self.nodes[&id].watches);
            let (sessions, watches) = (sessions.clone(), watches.clone());
            for ((who, session), _) in sessions {
                self.on(id, |shard, _, _| shard.end(who, session));
            }
            for (who, session) in watches {
                self.on(id, |shard, _, _| shard.unwatch(who, session));
            }
        }
    }

    fn home(&self) -> NodeId {
        view(&self.nodes.keys().copied().collect()).home
    }

    /// The nodes that are not the home.
    fn others(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().filter(|node| *node != self.home()).collect()
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u64, u8, u8, bool),
    End(u64, u8, u8),
    Watch(u64, u8, u8),
    Unwatch(u64, u8, u8),
    Deliver(u64, u64, u8),
    DeliverAll,
    Pass(u64),
    Interrupt(u64, u64, u8),
    Cut(u64, u64),
    Join(u64, u64),
    Kill(u64),
    Start(u64),
    Crash(u64),
    See(u64, Vec<bool>),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1..=NODES;
    let (user, number, channel) = (|| 0..USERS, || 0..3u8, || 0..4u8);
    prop_oneof![
        6 => (node(), user(), number(), any::<bool>()).prop_map(|(n, u, s, on)| Step::Set(n, u, s, on)),
        4 => (node(), user(), number()).prop_map(|(n, u, s)| Step::End(n, u, s)),
        5 => (node(), user(), number()).prop_map(|(n, u, s)| Step::Watch(n, u, s)),
        2 => (node(), user(), number()).prop_map(|(n, u, s)| Step::Unwatch(n, u, s)),
        8 => (node(), node(), channel()).prop_map(|(a, b, c)| Step::Deliver(a, b, c)),
        3 => Just(Step::DeliverAll),
        5 => (1..4_000u64).prop_map(Step::Pass),
        2 => (node(), node(), channel()).prop_map(|(a, b, c)| Step::Interrupt(a, b, c)),
        1 => (node(), node()).prop_map(|(a, b)| Step::Cut(a, b)),
        2 => (node(), node()).prop_map(|(a, b)| Step::Join(a, b)),
        1 => node().prop_map(Step::Kill),
        2 => node().prop_map(Step::Start),
        1 => node().prop_map(Step::Crash),
        3 => (node(), proptest::collection::vec(any::<bool>(), NODES as usize))
            .prop_map(|(n, live)| Step::See(n, live)),
    ]
}

impl Sim {
    fn perform(&mut self, step: Step) {
        let pair = |a: u64, b: u64| (NodeId(a.min(b)), NodeId(a.max(b)));
        match step {
            Step::Set(node, user, number, online) => {
                let status = [PresenceStatus::Away, PresenceStatus::Online][usize::from(online)];
                self.set(NodeId(node), user, number, status);
            }
            Step::End(node, user, number) => self.end(NodeId(node), user, number),
            Step::Watch(node, user, number) => self.watch(NodeId(node), user, number),
            Step::Unwatch(node, user, number) => self.unwatch(NodeId(node), user, number),
            Step::Deliver(from, to, channel) => {
                self.deliver((NodeId(from), NodeId(to), Channel(channel)));
            }
            Step::DeliverAll => self.deliver_all(),
            Step::Pass(millis) => self.pass(Duration::from_millis(millis), false),
            Step::Interrupt(one, other, channel) if one != other => {
                self.net.interrupt(NodeId(one), NodeId(other), Channel(channel));
            }
            Step::Cut(one, other) if one != other => {
                self.net.cut.insert(pair(one, other));
                for channel in Channel::all() {
                    self.net.interrupt(NodeId(one), NodeId(other), channel);
                }
            }
            Step::Interrupt(..) | Step::Cut(..) => {}
            Step::Join(one, other) => drop(self.net.cut.remove(&pair(one, other))),
            Step::Kill(node) => self.kill(NodeId(node)),
            Step::Start(node) if !self.nodes.contains_key(&NodeId(node)) => {
                self.start(NodeId(node));
            }
            Step::Start(_) => {}
            Step::Crash(node) => self.crash(NodeId(node)),
            Step::See(node, live) => {
                let seen = all_nodes().into_iter().zip(live).filter(|(_, seen)| *seen);
                let mut seen: BTreeSet<NodeId> = seen.map(|(node, _)| node).collect();
                seen.insert(NodeId(node));
                self.see(NodeId(node), seen);
            }
        }
    }
}

proptest! {
    #[test]
    fn whatever_fails_everybody_knows_the_truth_in_time(
        steps in proptest::collection::vec(step(), 1..120)
    ) {
        let mut sim = Sim::new();
        steps.into_iter().for_each(|step| sim.perform(step));
        sim.heal();
        sim.pass(CORRECT_WITHIN, true);
        sim.check()?;
        let (sent, told) = (sim.net.sent, sim.told.count);
        sim.pass(Duration::from_secs(3_600), true);
        prop_assert_eq!((sent, told), (sim.net.sent, sim.told.count), "rest is silent");
        sim.end_everything();
        sim.pass(CORRECT_WITHIN, true);
        for (id, node) in &sim.nodes {
            prop_assert!(node.shard.is_empty(), "{} keeps {:?}", id, node.shard);
        }
    }
}
