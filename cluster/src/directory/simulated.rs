//! The directory of several nodes in virtual time: its real state machine, leases, placement and
//! steering over a small Raft of messages, without clock, disk or runtime. What openraft does is
//! only modelled here (elections with a pre-vote, one log, a quorum for each commit); openraft
//! itself is tested beside it. Membership never changes.

mod desk;
mod raft;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::directory::Ownership;
use parlance_actors::vocab::{Epoch, NodeId, ShardId, Timestamp};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub(crate) use self::desk::Desk;

use self::raft::Role;
use super::command::{AdmitNode, Assign, BeginMove, Bootstrap, Cause, Duty, SetNodeState};
pub(crate) use super::command::{Command, Response};
use super::machine::View;

/// How often each node's directory is to be [ticked](Group::tick).
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// An entry of the log; a leader's first one says nothing.
#[derive(Debug)]
struct Entry {
    term: u64,
    command: Option<Command>,
}

/// What nodes say to each other.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    term: u64,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Vote { pre: bool, last: (u64, usize) },
    Voted { pre: bool, granted: bool },
    Append { prev: (u64, usize), entries: Vec<Arc<Entry>>, commit: usize, sent: Duration },
    Appended { matched: Option<usize>, sent: Duration },
    Renew { incarnation: u64, sent: Duration },
    Renewed { sent: Duration },
    Ask { id: u64, command: Option<Command> },
    Answer { id: u64, asked: Asked },
}

/// What came of a change that a node asked for.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// It is in the log.
    Changed { index: u64, response: Response },
    /// Another attempt may do.
    Again,
}

/// A message on its way.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) message: Message,
}

/// Who waits for an entry.
enum Waiter {
    Here(oneshot::Sender<Asked>),
    Peer { node: usize, id: u64 },
}

/// A node's directory: what is on its disk, and its process.
struct Seat {
    term: u64,
    voted: Option<usize>,
    log: Vec<Arc<Entry>>,
    incarnation: u64,
    life: Option<Life>,
}

struct Life {
    view: Arc<View>,
    lease: watch::Sender<bool>,
    commit: usize,
    applied: usize,
    role: Role,
    leader: Option<usize>,
    heard: Duration,
    patience: Duration,
    renew_at: Duration,
    renewed: Option<Duration>,
    alive: Option<BTreeSet<NodeId>>,
    waiters: HashMap<(usize, u64), Waiter>,
    asks: HashMap<u64, oneshot::Sender<Asked>>,
    asked: u64,
    /// The answer of a leader that applied a shard's change: it looks again at once.
    stirred: bool,
}

/// All directories.
pub(crate) struct Group {
    seats: Vec<Seat>,
    random: SmallRng,
    pub(crate) sent: Vec<Sent>,
    /// Who had each shard at each epoch, on whichever node.
    owners: BTreeMap<(ShardId, Epoch), NodeId>,
    /// A broken build: each node takes what is taken over for its own.
    pub(crate) everybody_takes_over: bool,
}

/// The id of the node at a place.
pub(crate) fn id(place: usize) -> NodeId {
    NodeId(place as u64 + 1)
}

pub(crate) fn place(node: NodeId) -> usize {
    usize::try_from(node.0 - 1).expect("few nodes")
}

impl Group {
    /// A cluster of so many nodes, each of which has a part of the shards and does not run yet.
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let log: Vec<Arc<Entry>> = beginning(nodes)
            .into_iter()
            .map(|command| Arc::new(Entry { term: 1, command: Some(command) }))
            .collect();
        let seats = (0..nodes).map(|_| Seat {
            term: 1,
            voted: None,
            log: log.clone(),
            incarnation: 0,
            life: None,
        });
        Self {
            seats: seats.collect(),
            random: SmallRng::seed_from_u64(seed),
            sent: Vec::new(),
            owners: BTreeMap::new(),
            everybody_takes_over: false,
        }
    }

    /// A node's process starts.
    pub(crate) fn start(&mut self, at: usize, now: Duration) {
        let patience = self.patience();
        let seat = &mut self.seats[at];
        seat.incarnation += 1;
        seat.life = Some(Life {
            view: Arc::new(View::new()),
            lease: watch::Sender::new(false),
            commit: 0,
            applied: 0,
            role: Role::Follower,
            leader: None,
            heard: now,
            patience,
            renew_at: now,
            renewed: None,
            alive: None,
            waiters: HashMap::new(),
            asks: HashMap::new(),
            asked: 0,
            stirred: false,
        });
    }

    /// A node's process ends; what is on its disk stays.
    pub(crate) fn kill(&mut self, at: usize) {
        self.seats[at].life = None;
    }

    /// What a node's gossip believes.
    pub(crate) fn believe(&mut self, at: usize, alive: BTreeSet<NodeId>) {
        if let Some(life) = &mut self.seats[at].life {
            life.alive = Some(alive);
        }
    }

    /// The leader of the highest term, if it runs.
    pub(crate) fn leader(&self) -> Option<usize> {
        let leads = |seat: &Seat| matches!(&seat.life, Some(Life { role: Role::Leader(_), .. }));
        let leaders = (0..self.seats.len()).filter(|at| leads(&self.seats[*at]));
        leaders.max_by_key(|at| self.seats[*at].term)
    }

    pub(crate) fn has_lease(&self, at: usize) -> bool {
        self.seats[at].life.as_ref().is_some_and(|life| *life.lease.borrow())
    }

    /// The shard table as a node that runs sees it.
    pub(crate) fn shards(&self, at: usize) -> Vec<Option<Ownership>> {
        let Some(life) = &self.seats[at].life else { return Vec::new() };
        let state = life.view.state.read();
        ShardId::all().map(|shard| state.ownership(shard)).collect()
    }

    /// How many entries each node has applied.
    pub(crate) fn applied(&self, at: usize) -> usize {
        self.seats[at].life.as_ref().map_or(0, |life| life.applied)
    }

    /// What an operator proposes to the leader: to begin a move, or to have a node drain.
    pub(crate) fn begin_move(&mut self, shard: ShardId, to: usize, now: Duration) {
        let Some(leader) = self.leader() else { return };
        let Some(owned) = self.shards(leader)[usize::from(shard.0)] else { return };
        let (epoch, to, cause) = (owned.epoch, id(to), Cause::Operator);
        self.propose(leader, Some(Command::BeginMove(BeginMove { shard, epoch, to, cause })), now);
    }

    pub(crate) fn drain(&mut self, at: usize, drains: bool, now: Duration) {
        let Some(leader) = self.leader() else { return };
        let state = if drains { Duty::Draining } else { Duty::Up };
        let set = Command::SetNodeState(SetNodeState { node: id(at), state });
        self.propose(leader, Some(set), now);
    }

    /// A node takes another one's word that there is no leader any more.
    pub(crate) fn depose(&mut self, at: usize, now: Duration) {
        for seat in &mut self.seats {
            if let Some(life) = &mut seat.life {
                life.heard = now.saturating_sub(Duration::from_secs(2));
            }
        }
        self.seek_votes(at, now);
    }

    /// Why the nodes that run do not agree, if they do not.
    pub(crate) fn disagreement(&self) -> Option<String> {
        let running = (0..self.seats.len()).filter(|at| self.seats[*at].life.is_some());
        let running: Vec<usize> = running.collect();
        let Some(leader) = self.leader() else { return Some("there is no leader".into()) };
        let shards = self.shards(leader);
        for at in running.iter().copied() {
            if !self.has_lease(at) {
                return Some(format!("node {} has no lease", id(at)));
            }
            if self.shards(at) != shards {
                return Some(format!("node {} sees other owners than the leader", id(at)));
            }
        }
        for (shard, owned) in ShardId::all().zip(shards) {
            let Some(owned) = owned else { return Some(format!("nobody serves {shard}")) };
            if !running.contains(&place(owned.owner)) {
                return Some(format!("{shard} is a dead node's"));
            }
        }
        None
    }

    /// Applies what is committed on a node, and checks that nothing is given twice.
    fn apply(&mut self, at: usize) {
        loop {
            let seat = &mut self.seats[at];
            let Some(life) = &mut seat.life else { return };
            if life.applied >= life.commit {
                return;
            }
            life.applied += 1;
            let index = life.applied;
            let entry = Arc::clone(&seat.log[index - 1]);
            let response = match &entry.command {
                Some(Command::Assign(assign))
                    if self.everybody_takes_over && assign.cause == Cause::Takeover =>
                {
                    let mut mine = assign.clone();
                    mine.moves.iter_mut().for_each(|(_, _, to)| *to = id(at));
                    life.view.apply(index as u64, &Command::Assign(mine))
                }
                Some(command) => life.view.apply(index as u64, command),
                None => Response::Done,
            };
            life.view.reached(index as u64);
            life.stirred = true;
            let waiter = life.waiters.remove(&(index, entry.term));
            let touched: Vec<ShardId> = match &entry.command {
                Some(Command::Assign(assign)) => assign.moves.iter().map(|(id, ..)| *id).collect(),
                Some(Command::Release(release)) => vec![release.shard],
                _ => Vec::new(),
            };
            let state = life.view.state.read();
            let owned = touched.iter().filter_map(|shard| Some((*shard, state.ownership(*shard)?)));
            for (shard, owned) in owned {
                let owner = *self.owners.entry((shard, owned.epoch)).or_insert(owned.owner);
                assert_eq!(owner, owned.owner, "{shard} has two owners at {:?}", owned.epoch);
            }
            drop(state);
            if let Some(waiter) = waiter {
                self.answer(at, waiter, Asked::Changed { index: index as u64, response });
            }
        }
    }

    fn answer(&mut self, at: usize, waiter: Waiter, asked: Asked) {
        match waiter {
            // Who does not wait any longer asks again.
            Waiter::Here(reply) => drop(reply.send(asked)),
            Waiter::Peer { node, id } => self.tell(at, node, What::Answer { id, asked }),
        }
    }

    fn tell(&mut self, from: usize, to: usize, what: What) {
        let message = Message { term: self.seats[from].term, what };
        self.sent.push(Sent { from, to, message });
    }

    fn patience(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(1_000..2_000))
    }
}

/// The log that every node begins with: the cluster formed, and its shards are spread.
fn beginning(nodes: usize) -> Vec<Command> {
    let cluster = Uuid::from_u128(1);
    let mut log =
        vec![Command::Bootstrap(Bootstrap { cluster, node: id(0), epoch_base: Epoch(0) })];
    let admit = |at: usize, claims: Option<NodeId>| {
        Command::AdmitNode(AdmitNode {
            claims,
            token: Uuid::from_u128(at as u128 + 10),
            name: format!("node-{}", id(at)).into(),
            control: "".into(),
            data: "".into(),
            version: "".into(),
            incarnation: 0,
        })
    };
    log.push(admit(0, Some(id(0))));
    // The id is the larger of the highest plus one and the index of the entry.
    log.splice(1..1, (1..nodes).map(|at| admit(at, None)));
    let moves = ShardId::all().map(|shard| {
        let to = id(usize::from(shard.0) % nodes);
        (shard, Epoch(1), to)
    });
    let moves = moves.filter(|(_, _, to)| *to != id(0)).collect();
    log.push(Command::Assign(Assign { moves, cause: Cause::Rebalance, at: Timestamp(0) }));
    log
}
