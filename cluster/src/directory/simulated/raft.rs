//! The messages of the modelled Raft, and what its leader does: elections with a pre-vote, one log, a
//! quorum for each commit; and on top of it the real leases and the real steering.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::vocab::{NodeId, Timestamp};
use tokio::sync::oneshot;

use super::{Asked, Entry, Group, Life, Message, Seat, Waiter, What, id};
use crate::directory::command::{AdmitNode, Command};
use crate::directory::leases::Leases;
use crate::directory::members::LeaseTiming;
use crate::directory::steering::Steering;
use crate::directory::wire::LoadReport;
use crate::limits;

const HEARTBEAT: Duration = Duration::from_millis(250);
/// Nobody votes against a leader that it heard within this.
const ELECTION_MIN: Duration = Duration::from_secs(1);
/// A leader that has nothing to do looks for something this often.
const IDLE_LOOK: Duration = Duration::from_secs(1);

pub(super) enum Role {
    Follower,
    Candidate { pre: bool, votes: BTreeSet<usize> },
    Leader(Box<Lead>),
}

/// What a leader remembers.
pub(super) struct Lead {
    matched: Vec<usize>,
    /// From where each one is sent entries.
    next: Vec<usize>,
    /// When the last append that each one answered was sent.
    acked: Vec<Duration>,
    beat: Duration,
    looked: Duration,
    /// The last entry of its own last look, and until when it waits for it.
    proposed: (usize, Duration),
    /// After a look that had nothing to do: what it saw, and when.
    idle: Option<(usize, BTreeSet<NodeId>, Duration)>,
    leases: Leases,
    /// Once it has its quorum.
    steering: Option<Steering>,
}

impl Lead {
    fn quorum_acked(&self, own: usize, now: Duration) -> Duration {
        let acked = self.acked.iter().enumerate();
        let mut acked: Vec<Duration> =
            acked.map(|(at, acked)| if at == own { now } else { *acked }).collect();
        acked.sort_unstable_by_key(|acked| std::cmp::Reverse(*acked));
        acked[self.acked.len() / 2]
    }
}

impl Seat {
    fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, |entry| entry.term), self.log.len())
    }

    /// A later term is known.
    fn move_to(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            self.voted = None;
            self.step_down();
        }
    }

    fn step_down(&mut self) {
        let Some(life) = &mut self.life else { return };
        life.role = Role::Follower;
        life.leader = None;
        for (_, waiter) in life.waiters.drain() {
            if let Waiter::Here(reply) = waiter {
                drop(reply.send(Asked::Again));
            }
        }
    }
}

impl Group {
    /// What is due on a node.
    pub(crate) fn tick(&mut self, at: usize, now: Duration) {
        let patience = self.patience();
        let Some(life) = &mut self.seats[at].life else { return };
        match &mut life.role {
            Role::Leader(lead) => {
                if now >= lead.beat + HEARTBEAT {
                    lead.beat = now;
                    self.append_all(at, now);
                }
                self.look(at, now);
            }
            _ if now >= life.heard + life.patience => {
                (life.heard, life.patience) = (now, patience);
                self.seek_votes(at, now);
            }
            _ => {}
        }
        self.renew(at, now);
    }

    /// Begins an election by asking whether it would be won.
    pub(super) fn seek_votes(&mut self, at: usize, now: Duration) {
        let last = self.seats[at].last();
        let Some(life) = &mut self.seats[at].life else { return };
        life.role = Role::Candidate { pre: true, votes: BTreeSet::from([at]) };
        life.leader = None;
        self.ask_votes(at, true, last);
        self.count_votes(at, now);
    }

    fn ask_votes(&mut self, at: usize, pre: bool, last: (u64, usize)) {
        for other in (0..self.seats.len()).filter(|other| *other != at) {
            self.tell(at, other, What::Vote { pre, last });
        }
    }

    fn count_votes(&mut self, at: usize, now: Duration) {
        let quorum = self.seats.len() / 2 + 1;
        let seat = &mut self.seats[at];
        let last = seat.last();
        let Some(Life { role: Role::Candidate { pre, votes }, .. }) = &mut seat.life else {
            return;
        };
        if votes.len() < quorum {
            return;
        }
        if *pre {
            (*pre, *votes) = (false, BTreeSet::from([at]));
            seat.term += 1;
            seat.voted = Some(at);
            self.ask_votes(at, false, last);
            return;
        }
        self.lead(at, now);
    }

    fn lead(&mut self, at: usize, now: Duration) {
        let nodes = self.seats.len();
        let length = self.seats[at].log.len();
        let Some(life) = &mut self.seats[at].life else { return };
        life.leader = Some(at);
        life.role = Role::Leader(Box::new(Lead {
            matched: vec![0; nodes],
            next: vec![length; nodes],
            acked: vec![Duration::ZERO; nodes],
            beat: now,
            looked: now,
            proposed: (0, now),
            idle: None,
            leases: Leases::default(),
            steering: None,
        }));
        self.propose(at, None, now);
    }

    /// Puts an entry into the log of a leader; its index and term, if it leads.
    pub(super) fn propose(
        &mut self,
        at: usize,
        command: Option<Command>,
        now: Duration,
    ) -> Option<(usize, u64)> {
        let proposed = self.put(at, command)?;
        self.append_all(at, now);
        Some(proposed)
    }

    fn put(&mut self, at: usize, command: Option<Command>) -> Option<(usize, u64)> {
        let seat = &mut self.seats[at];
        let Some(Life { role: Role::Leader(_), .. }) = &seat.life else { return None };
        seat.log.push(Arc::new(Entry { term: seat.term, command }));
        Some((seat.log.len(), seat.term))
    }

    fn append_all(&mut self, at: usize, now: Duration) {
        for other in (0..self.seats.len()).filter(|other| *other != at) {
            self.append(at, other, now);
        }
    }

    fn append(&mut self, at: usize, other: usize, now: Duration) {
        let seat = &self.seats[at];
        let Some(Life { role: Role::Leader(lead), commit, .. }) = &seat.life else { return };
        let before = lead.next[other];
        let term = before.checked_sub(1).map_or(0, |last| seat.log[last].term);
        let most = usize::try_from(limits::APPEND_ENTRIES_MAX).expect("small");
        let entries = seat.log[before..].iter().take(most).cloned().collect();
        let append = What::Append { prev: (term, before), entries, commit: *commit, sent: now };
        self.tell(at, other, append);
    }

    /// A message arrived.
    pub(crate) fn receive(&mut self, at: usize, from: usize, message: Message, now: Duration) {
        if self.seats[at].life.is_none() {
            return;
        }
        let Message { term, what } = message;
        let pre_vote = matches!(what, What::Vote { pre: true, .. } | What::Voted { pre: true, .. });
        let vote = matches!(what, What::Vote { pre: false, .. });
        // A vote that would be refused for a leader's sake does not end its term either.
        let is_passed_over = pre_vote || (vote && self.hears_leader(at, now));
        if !is_passed_over {
            self.seats[at].move_to(term);
        }
        match what {
            What::Vote { pre, last } => self.vote(at, from, term, pre, last, now),
            What::Voted { pre, granted } => {
                let wanted = self.seats[at].term == term || pre;
                if let Some(Life { role: Role::Candidate { pre: asked, votes }, .. }) =
                    &mut self.seats[at].life
                    && wanted
                    && granted
                    && *asked == pre
                {
                    votes.insert(from);
                    self.count_votes(at, now);
                }
            }
            What::Append { prev, entries, commit, sent } => {
                let matched = self.take(at, from, term, prev, &entries, commit, now);
                self.tell(at, from, What::Appended { matched, sent });
                self.apply(at);
            }
            What::Appended { matched, sent } if self.seats[at].term == term => {
                self.appended(at, from, matched, sent, now);
            }
            What::Appended { .. } => {}
            What::Renew { incarnation, sent } => {
                if let Some(Life { role: Role::Leader(lead), .. }) = &mut self.seats[at].life
                    && lead.leases.hear(id(from), incarnation, LoadReport::default(), now)
                {
                    self.tell(at, from, What::Renewed { sent });
                }
            }
            What::Renewed { sent } => {
                let life = self.seats[at].life.as_mut().expect("looked at above");
                life.renewed = life.renewed.max(Some(sent));
                self.hold_lease(at, now);
            }
            What::Ask { id, command } => {
                let waiter = Waiter::Peer { node: from, id };
                self.propose_for(at, waiter, command, now);
            }
            What::Answer { id, asked } => {
                let life = self.seats[at].life.as_mut().expect("looked at above");
                if let Some(reply) = life.asks.remove(&id) {
                    drop(reply.send(asked));
                }
            }
        }
    }

    fn hears_leader(&self, at: usize, now: Duration) -> bool {
        let life = self.seats[at].life.as_ref();
        life.is_some_and(|life| match &life.role {
            Role::Leader(lead) => now < lead.quorum_acked(at, now) + ELECTION_MIN,
            _ => life.leader.is_some() && now < life.heard + ELECTION_MIN,
        })
    }

    fn vote(
        &mut self,
        at: usize,
        from: usize,
        term: u64,
        pre: bool,
        last: (u64, usize),
        now: Duration,
    ) {
        let hears = self.hears_leader(at, now);
        let seat = &mut self.seats[at];
        let free = pre || (term == seat.term && seat.voted.is_none_or(|voted| voted == from));
        let granted = !hears && free && last >= seat.last() && term >= seat.term;
        if granted && !pre {
            seat.voted = Some(from);
            seat.life.as_mut().expect("it received").heard = now;
        }
        self.tell(at, from, What::Voted { pre, granted });
    }

    /// What a leader sent; how far the two logs are the same, if they can be compared.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn take(
        &mut self,
        at: usize,
        from: usize,
        term: u64,
        prev: (u64, usize),
        entries: &[Arc<Entry>],
        commit: usize,
        now: Duration,
    ) -> Option<usize> {
        let seat = &mut self.seats[at];
        if term < seat.term {
            return None;
        }
        let life = seat.life.as_mut().expect("it received");
        (life.leader, life.heard, life.role) = (Some(from), now, Role::Follower);
        let (prev_term, mut index) = prev;
        let known = index.checked_sub(1).map_or(Some(0), |i| Some(seat.log.get(i)?.term));
        if known != Some(prev_term) {
            // Matched so far at most: what is committed is the same everywhere.
            return Some(life.commit);
        }
        for entry in entries {
            if seat.log.get(index).is_some_and(|mine| mine.term != entry.term) {
                assert!(index >= life.commit, "a committed entry would be cut off");
                seat.log.truncate(index);
            }
            if seat.log.len() == index {
                seat.log.push(Arc::clone(entry));
            }
            index += 1;
        }
        life.commit = life.commit.max(commit.min(index));
        Some(index)
    }

    fn appended(
        &mut self,
        at: usize,
        from: usize,
        matched: Option<usize>,
        sent: Duration,
        now: Duration,
    ) {
        let quorum = self.seats.len() / 2 + 1;
        let seat = &mut self.seats[at];
        let (length, own_term) = (seat.log.len(), seat.term);
        let Some(life) = &mut seat.life else { return };
        let Role::Leader(lead) = &mut life.role else { return };
        let Some(matched) = matched else { return };
        lead.acked[from] = lead.acked[from].max(sent);
        lead.matched[from] = lead.matched[from].max(matched);
        lead.next[from] = lead.matched[from];
        let behind = lead.next[from] < length;
        let mut matched: Vec<usize> = lead.matched.clone();
        matched[at] = length;
        matched.sort_unstable_by_key(|matched| std::cmp::Reverse(*matched));
        let commit = matched[quorum - 1];
        // Only entries of its own term are counted (Raft, section 5.4.2).
        if commit > life.commit && seat.log[commit - 1].term == own_term {
            life.commit = commit;
            self.apply(at);
        }
        if behind {
            self.append(at, from, now);
        }
    }

    fn propose_for(&mut self, at: usize, waiter: Waiter, command: Option<Command>, now: Duration) {
        match self.propose(at, command, now) {
            Some(proposed) => {
                let life = self.seats[at].life.as_mut().expect("it leads");
                life.waiters.insert(proposed, waiter);
                // Alone it is committed by itself; this model has others.
            }
            None => self.answer(at, waiter, Asked::Again),
        }
    }

    /// A node wants a change, or with `None` to have applied what was committed before.
    pub(crate) fn ask(
        &mut self,
        at: usize,
        command: Option<Command>,
        now: Duration,
    ) -> oneshot::Receiver<Asked> {
        let (reply, answer) = oneshot::channel();
        let Some(life) = &mut self.seats[at].life else { return answer };
        match life.leader {
            Some(leader) if leader == at => {
                self.propose_for(at, Waiter::Here(reply), command, now);
            }
            Some(leader) => {
                life.asked += 1;
                let id = life.asked;
                life.asks.retain(|_, reply| !reply.is_closed());
                life.asks.insert(id, reply);
                self.tell(at, leader, What::Ask { id, command });
            }
            None => drop(reply.send(Asked::Again)),
        }
        answer
    }

    /// What a node that starts says of itself.
    pub(crate) fn admission(&self, at: usize) -> Command {
        Command::AdmitNode(AdmitNode {
            claims: Some(id(at)),
            token: uuid::Uuid::nil(),
            name: format!("node-{}", id(at)).into(),
            control: "".into(),
            data: "".into(),
            version: "".into(),
            incarnation: self.seats[at].incarnation,
        })
    }

    fn renew(&mut self, at: usize, now: Duration) {
        let timing = LeaseTiming::default();
        let incarnation = self.seats[at].incarnation;
        let Some(life) = &mut self.seats[at].life else { return };
        if now >= life.renew_at {
            life.renew_at = now + timing.renew;
            match &mut life.role {
                Role::Leader(lead) => {
                    if now < lead.quorum_acked(at, now) + timing.lease {
                        lead.leases.hear(id(at), incarnation, LoadReport::default(), now);
                        life.renewed = Some(now);
                    }
                }
                _ => {
                    if let Some(leader) = life.leader {
                        self.tell(at, leader, What::Renew { incarnation, sent: now });
                    }
                }
            }
        }
        self.hold_lease(at, now);
    }

    fn hold_lease(&mut self, at: usize, now: Duration) {
        let Some(life) = &mut self.seats[at].life else { return };
        let timing = LeaseTiming::default();
        let held = life.renewed.is_some_and(|renewed| now < renewed + timing.lease);
        life.lease.send_if_modified(|lease| std::mem::replace(lease, held) != held);
    }

    /// The leader's driver: it looks at nodes and shards, and proposes what it decides.
    fn look(&mut self, at: usize, now: Duration) {
        let timing = LeaseTiming::default();
        let Some(life) = &mut self.seats[at].life else { return };
        let Role::Leader(lead) = &mut life.role else { return };
        if now >= lead.quorum_acked(at, now) + timing.lease / 2 {
            lead.steering = None;
            return;
        }
        let waits = life.applied < lead.proposed.0 && now < lead.proposed.1;
        if waits || (now < lead.looked + limits::DRIVER_TICK && !life.stirred) {
            return;
        }
        (lead.looked, life.stirred) = (now, false);
        let leases = &mut lead.leases;
        let steering = lead.steering.get_or_insert_with(|| {
            leases.begin(now);
            Steering::begin(now)
        });
        let state = life.view.state.read();
        let nodes: BTreeSet<NodeId> = state.nodes().map(|(id, _)| id).collect();
        let (live, _) = leases.judge(&nodes, id(at), life.alive.as_ref(), &nodes, &timing, now);
        // Most looks of the real driver find what the one before found. They cost time, and here a
        // second less often is enough.
        let same = |(applied, seen, then): &(usize, BTreeSet<NodeId>, Duration)| {
            *applied == life.applied && *seen == live && now < *then + IDLE_LOOK
        };
        if lead.idle.as_ref().is_some_and(same) {
            return;
        }
        let plan = Steering::plan(&state, leases, id(at), &live);
        drop(state);
        let steered = steering.decide(&plan, now, Timestamp(0));
        lead.idle = None;
        if steered.commands.is_empty() {
            if plan.moving().next().is_none() {
                lead.idle = Some((life.applied, live, now));
            }
            return;
        }
        let mut last = 0;
        for command in steered.commands {
            last = self.put(at, Some(command)).map_or(last, |(index, _)| index);
        }
        if let Some(Life { role: Role::Leader(lead), .. }) = &mut self.seats[at].life {
            lead.proposed = (last, now + limits::FORWARD_WAIT);
        }
        self.append_all(at, now);
    }
}
