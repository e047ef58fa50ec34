//! The room's actor: receives, lets the state decide, performs the effects. It decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::JoinSet;

use super::opening::{Opening, open, read_fact};
use super::state::{Effect, Effects, Fact, Known, Look, Post, RoomState, Seen};
use crate::limits;
use crate::ports::history::{
    Append, AppendSink, HistoryError, NotTakenWhy, Outcome, RoomHead, Settled,
};
use crate::remote::moved;
use crate::session::waiter::{Reply, Waiter};
use crate::supervisor::Load;
use crate::traces::Under;
use crate::vocab::{Epoch, Gen, Refusal, RoomMeta, RoomRef, Sender, Seq, Timestamp, UserId};
use crate::world::{Notice, World};

/// What a room is told.
pub(crate) enum RoomMsg {
    /// A change. Counted by [`Load`].
    Post(Box<Post<Waiter>>),
    /// A look. Counted by [`Load`].
    Look(Box<Look<Reply<Seen>>>),
    /// The room's metadata changed. Counted by [`Load`].
    Refresh { meta: Arc<RoomMeta>, by: Sender, waiter: Option<Waiter> },
    /// The room was read from the database.
    Opened(Box<Result<Opening, HistoryError>>),
    /// A fact was read.
    Learned { asker: UserId, fact: Fact, known: Result<Known, Refusal> },
    /// Appends were settled.
    Settled(Vec<Settled>),
    /// Time to look for those who wait too long.
    Expire,
    /// Nobody seems to need the room.
    Sleep,
    /// Where does the room stand? Counted by [`Load`].
    Stand(Reply<Standing>),
    /// The room is given to another node: settle what is in flight and end.
    Settle,
    /// The room is another node's: end.
    Depart,
    /// A pause after a failed opening is over.
    GiveUp,
    /// Panics, for tests of supervision.
    #[cfg(any(test, feature = "testkit"))]
    Crash,
}

/// Where an open room stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: Epoch,
    pub(crate) r#gen: Gen,
    pub(crate) head: Seq,
}

/// A room to start.
pub(crate) struct RoomArgs {
    pub(crate) world: Arc<World>,
    pub(crate) meta: Arc<RoomMeta>,
    pub(crate) epoch: Epoch,
    pub(crate) r#gen: Gen,
    pub(crate) load: Arc<Load>,
}

enum Phase {
    /// Requests wait for the database.
    Opening(VecDeque<RoomMsg>),
    Open(Box<RoomState<Waiter, Reply<Seen>>>),
    /// The opening failed, or the room stops; requests are refused until it ended.
    Failed(Refusal),
}

pub(crate) struct Room {
    args: RoomArgs,
    at: RoomRef,
    phase: Phase,
    head: Arc<RoomHead>,
    sink: Arc<dyn AppendSink>,
    tasks: JoinSet<()>,
    expiring: bool,
    /// It ends as soon as nothing is in flight.
    leaving: bool,
    /// What is traced of what is on the lane, in the order of tickets.
    traced: VecDeque<(u64, Under)>,
}

/// The shell without state of its own.
pub(crate) struct RoomActor;

struct Sink(ActorRef<RoomMsg>);

impl AppendSink for Sink {
    fn settled(&self, outcomes: Vec<Settled>) {
        // A room that is gone opens again from the database and finds what was committed there.
        let _ = self.0.cast(RoomMsg::Settled(outcomes));
    }
}

impl Actor for RoomActor {
    type Msg = RoomMsg;
    type State = Room;
    type Arguments = RoomArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<RoomMsg>,
        args: RoomArgs,
    ) -> Result<Room, ActorProcessingErr> {
        let mut room = Room {
            at: args.meta.at(),
            args,
            phase: Phase::Opening(VecDeque::new()),
            head: Arc::default(),
            sink: Arc::new(Sink(myself.clone())),
            tasks: JoinSet::new(),
            expiring: false,
            leaving: false,
            traced: VecDeque::new(),
        };
        room.begin_opening(&myself);
        Ok(room)
    }

    async fn handle(
        &self,
        myself: ActorRef<RoomMsg>,
        message: RoomMsg,
        room: &mut Room,
    ) -> Result<(), ActorProcessingErr> {
        if matches!(
            message,
            RoomMsg::Post(_) | RoomMsg::Look(_) | RoomMsg::Refresh { .. } | RoomMsg::Stand(_)
        ) {
            room.args.load.leave();
        }
        room.receive(&myself, message);
        Ok(())
    }
}

impl Room {
    fn receive(&mut self, myself: &ActorRef<RoomMsg>, message: RoomMsg) {
        match message {
            RoomMsg::Opened(opening) => self.opened(myself, *opening),
            RoomMsg::Sleep => self.sleep(myself),
            RoomMsg::Settle => self.settle(myself),
            RoomMsg::Depart => self.depart(myself),
            RoomMsg::GiveUp => myself.stop(Some("the room could not be opened".into())),
            RoomMsg::Expire => self.expire(myself),
            #[cfg(any(test, feature = "testkit"))]
            RoomMsg::Crash => panic!("a test asked for it"),
            request => match &mut self.phase {
                Phase::Opening(waiting) if waiting.len() < limits::ROOM_IN_FLIGHT_MAX => {
                    waiting.push_back(request);
                    self.expire_later(myself);
                }
                Phase::Opening(_) => refuse(request, &Refusal::busy("the room is being opened")),
                Phase::Failed(refusal) => refuse(request, refusal),
                Phase::Open(_) if self.leaving && is_new(&request) => refuse(request, &moved()),
                Phase::Open(state) => {
                    if let RoomMsg::Stand(reply) = request {
                        let (epoch, r#gen) = (self.args.epoch, self.args.r#gen);
                        return reply.send(Ok(Standing { epoch, r#gen, head: state.head() }));
                    }
                    if let RoomMsg::Settled(outcomes) = &request
                        && outcomes.iter().any(|settled| settled.outcome == Outcome::Fenced)
                    {
                        self.args.world.fence(self.at.shard(), self.args.epoch);
                    }
                    if let RoomMsg::Settled(outcomes) = &request {
                        trace_settled(&self.args.world, &mut self.traced, outcomes);
                    }
                    let changed = match &request {
                        RoomMsg::Refresh { meta, .. } => Some(meta.clone()),
                        _ => None,
                    };
                    let effects = decide(state, request);
                    self.perform(myself, effects);
                    if let Some(meta) = changed {
                        self.project(meta, 0);
                    }
                    self.end_if_settled(myself);
                }
            },
        }
    }

    /// Stores what the directory knows of the room, beside the log, for the day when the directory
    /// is lost. What fails is done when the room opens next.
    fn project(&mut self, meta: Arc<RoomMeta>, stored: u64) {
        if meta.version <= stored {
            return;
        }
        while self.tasks.try_join_next().is_some() {}
        let history = self.args.world.history.clone();
        self.tasks.spawn(async move {
            if let Err(error) = history.project_room(&meta).await {
                tracing::warn!(room = %meta.at(), %error, "the room's projection was not stored");
            }
        });
    }

    fn settle(&mut self, myself: &ActorRef<RoomMsg>) {
        self.leaving = true;
        match &self.phase {
            Phase::Open(_) => self.end_if_settled(myself),
            Phase::Opening(_) | Phase::Failed(_) => self.depart(myself),
        }
    }

    fn end_if_settled(&mut self, myself: &ActorRef<RoomMsg>) {
        let is_quiet = matches!(&self.phase, Phase::Open(state) if state.is_quiet());
        if self.leaving && is_quiet {
            self.depart(myself);
        }
    }

    /// Ends without a failure. What waits is told that the room moved; what is in flight answers
    /// itself.
    fn depart(&mut self, myself: &ActorRef<RoomMsg>) {
        if let Phase::Opening(waiting) = &mut self.phase {
            waiting.drain(..).for_each(|request| refuse(request, &moved()));
        }
        self.phase = Phase::Failed(moved());
        let world = &self.args.world;
        world.rooms.forget(self.at, myself.get_id());
        // Wherever it is served next, it is followed there from where it stands.
        world.remote.want_later(self.at);
        myself.stop(None);
    }

    fn begin_opening(&mut self, myself: &ActorRef<RoomMsg>) {
        let world = self.args.world.clone();
        let (meta, epoch) = (self.args.meta.clone(), self.args.epoch);
        let myself = myself.clone();
        self.tasks.spawn(async move {
            let opening = open(&world, &meta, epoch).await;
            let _ = myself.cast(RoomMsg::Opened(Box::new(opening)));
        });
    }

    fn opened(&mut self, myself: &ActorRef<RoomMsg>, opening: Result<Opening, HistoryError>) {
        let Phase::Opening(waiting) = &mut self.phase else { return };
        let waiting = std::mem::take(waiting);
        let Opening { opened, r#gen, missed, creator, changer } = match opening {
            Ok(opening) => opening,
            Err(error) => {
                if matches!(error, HistoryError::Fenced) {
                    self.args.world.fence(self.at.shard(), self.args.epoch);
                } else {
                    tracing::warn!(room = %self.at, %error, "the room could not be opened");
                }
                let refusal = unavailable(&error);
                waiting.into_iter().for_each(|request| refuse(request, &refusal));
                self.phase = Phase::Failed(refusal);
                myself.send_after(limits::ROOM_REOPEN, || RoomMsg::GiveUp);
                return;
            }
        };
        self.args.r#gen = r#gen;
        self.head.opened(&opened);
        let world = &self.args.world;
        for event in missed {
            world.hub.publish(self.at, self.args.r#gen, &Arc::new(event));
        }
        if world.hub.opened(self.at, self.args.r#gen, opened.head) {
            world.recheck(self.at);
        }
        world.remote.opened(self.at, self.args.epoch, self.args.r#gen, opened.head);
        self.project(self.args.meta.clone(), opened.projected);
        let mut state = RoomState::new(self.args.meta.clone(), self.args.r#gen, &opened);
        let mut effects = Vec::new();
        let now = Timestamp::now();
        if let Some(creator) = creator {
            effects.extend(state.found(now, creator));
        }
        if let Some(changer) = changer {
            effects.extend(state.refresh(now, self.args.meta.clone(), changer, None));
        }
        self.phase = Phase::Open(Box::new(state));
        self.perform(myself, effects);
        for request in waiting {
            self.receive(myself, request);
        }
    }

    fn sleep(&mut self, myself: &ActorRef<RoomMsg>) {
        let is_quiet = matches!(&self.phase, Phase::Open(state) if state.is_quiet());
        let world = &self.args.world;
        if is_quiet
            && !world.hub.is_followed(self.at)
            && !world.remote.ask_followers(self.at)
            && self.args.load.close()
        {
            world.rooms.forget(self.at, myself.get_id());
            myself.stop(None);
        }
    }

    fn expire(&mut self, myself: &ActorRef<RoomMsg>) {
        self.expiring = false;
        match &mut self.phase {
            Phase::Opening(waiting) => {
                // The second time that this comes the first in the queue waits long enough.
                let refusal = Refusal::unavailable("the room takes too long to open");
                waiting.drain(..).for_each(|request| refuse(request, &refusal));
            }
            Phase::Open(state) => {
                let wait = i64::try_from(limits::COMMIT_WAIT.as_millis()).unwrap_or(i64::MAX);
                let effects = state.expire(Timestamp(Timestamp::now().0 - wait));
                let more = state.has_waiters();
                self.perform(myself, effects);
                if more {
                    self.expire_later(myself);
                }
            }
            Phase::Failed(_) => {}
        }
    }

    fn expire_later(&mut self, myself: &ActorRef<RoomMsg>) {
        if !self.expiring {
            self.expiring = true;
            let after = match self.phase {
                Phase::Open(_) => Duration::from_secs(1),
                Phase::Opening(_) | Phase::Failed(_) => limits::COMMIT_WAIT,
            };
            myself.send_after(after, || RoomMsg::Expire);
        }
    }

    fn perform(&mut self, myself: &ActorRef<RoomMsg>, effects: Effects<Waiter, Reply<Seen>>) {
        let mut effects = VecDeque::from(effects);
        // Once one append is not taken, those behind it are not tried: order before progress.
        let mut not_taken: Option<Refusal> = None;
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Append { ticket, draft } => {
                    let left = match &not_taken {
                        Some(_) => Some(draft),
                        None => self.append(ticket, draft, &mut not_taken),
                    };
                    match (left, &not_taken, &mut self.phase) {
                        (Some(draft), Some(why), Phase::Open(state)) => {
                            effects.extend(state.not_taken(ticket, &draft, why));
                        }
                        _ => self.expire_later(myself),
                    }
                }
                Effect::Answer(waiter, result) => waiter.answer(result),
                Effect::Show(reply, seen) => reply.send(seen),
                Effect::Load { asker, fact } => self.load(myself, asker, fact),
                Effect::Publish(event) => {
                    self.args.load.committed.add(1);
                    self.args.world.publish(self.at, self.args.r#gen, &event);
                }
                Effect::Membership { user, role } => {
                    self.args.world.notice(Notice::Membership { room: self.at, user, role });
                }
                Effect::Stop(why) => {
                    tracing::warn!(room = %self.at, why, "the room stops");
                    // Nothing more is decided on what it believes.
                    self.phase = Phase::Failed(Refusal::unavailable("the room stopped"));
                    myself.stop(Some(why.into()));
                }
            }
        }
    }

    /// Puts a draft on the lane; gives it back with the reason when the lane does not take it.
    fn append(
        &mut self,
        ticket: u64,
        draft: crate::vocab::Draft,
        not_taken: &mut Option<Refusal>,
    ) -> Option<crate::vocab::Draft> {
        let traces = self.args.world.traces.as_deref();
        let traced = traces.and_then(|traces| traces.begin(self.at, draft.sender.id, draft.key));
        let append = Append {
            room: self.at,
            epoch: self.args.epoch,
            head: self.head.clone(),
            ticket,
            draft,
            sink: self.sink.clone(),
        };
        let refused = self.args.world.history.append(append).err();
        if let (None, Some(traced)) = (&refused, traced) {
            self.traced.push_back((ticket, traced));
        }
        let refused = refused?;
        *not_taken = Some(match refused.why {
            NotTakenWhy::Full => Refusal::busy("the database has more to write than it can"),
            NotTakenWhy::Away => Refusal::unavailable("the database is away"),
            NotTakenWhy::Closing => Refusal::unavailable("the node is going away"),
        });
        Some(refused.append.draft)
    }

    fn load(&mut self, myself: &ActorRef<RoomMsg>, asker: UserId, fact: Fact) {
        while self.tasks.try_join_next().is_some() {}
        let (world, at, myself) = (self.args.world.clone(), self.at, myself.clone());
        self.tasks.spawn(async move {
            // Those that wait for it are not in flight yet, so nothing else ends their wait.
            let known = read_fact(&world, at, asker, fact);
            let known = match tokio::time::timeout(limits::COMMIT_WAIT, known).await {
                Ok(known) => known.map_err(|error| unavailable(&error)),
                Err(_) => Err(Refusal::unavailable("the database takes too long")),
            };
            let _ = myself.cast(RoomMsg::Learned { asker, fact, known });
        });
    }
}

fn decide(
    state: &mut RoomState<Waiter, Reply<Seen>>,
    request: RoomMsg,
) -> Effects<Waiter, Reply<Seen>> {
    let now = Timestamp::now();
    match request {
        RoomMsg::Post(post) => match post.waiter.stalled(post.key, &post.change) {
            Some(refusal) => vec![Effect::Answer(post.waiter, Err(refusal))],
            None => state.post(now, *post),
        },
        RoomMsg::Look(look) => state.look(now, *look),
        RoomMsg::Refresh { meta, by, waiter } => state.refresh(now, meta, by, waiter),
        RoomMsg::Learned { asker, fact, known } => state.learn(now, asker, fact, known),
        RoomMsg::Settled(outcomes) => state.settled(outcomes),
        _ => Vec::new(),
    }
}

/// Whether it asks for something, and is not about what was decided.
fn is_new(request: &RoomMsg) -> bool {
    matches!(
        request,
        RoomMsg::Post(_) | RoomMsg::Look(_) | RoomMsg::Refresh { .. } | RoomMsg::Stand(_)
    )
}

/// Answers a request that is not served.
pub(crate) fn refuse(request: RoomMsg, refusal: &Refusal) {
    match request {
        RoomMsg::Post(post) => post.waiter.answer(Err(refusal.clone())),
        RoomMsg::Look(look) => look.waiter.send(Err(refusal.clone())),
        RoomMsg::Stand(reply) => reply.send(Err(refusal.clone())),
        RoomMsg::Refresh { waiter: Some(waiter), .. } => waiter.answer(Err(refusal.clone())),
        _ => {}
    }
}

pub(crate) fn unavailable(error: &HistoryError) -> Refusal {
    match error {
        HistoryError::Fenced => Refusal::unavailable("the room moved to another node"),
        HistoryError::Unavailable(_) => Refusal::unavailable("the database is away"),
        HistoryError::Busy => {
            Refusal::busy("too many lists are being read").retry_after(limits::LISTS_RETRY)
        }
        HistoryError::Unreadable(why) => {
            tracing::error!(why, "history cannot be read");
            Refusal::internal()
        }
    }
}

/// Ends the spans of what the lane settled. Tickets grow, and are settled in their order.
fn trace_settled(world: &World, traced: &mut VecDeque<(u64, Under)>, outcomes: &[Settled]) {
    let Some(traces) = &world.traces else { return };
    for settled in outcomes {
        // One before it was never settled, and never will be.
        while traced.front().is_some_and(|(ticket, _)| *ticket < settled.ticket) {
            traced.pop_front();
        }
        if traced.front().is_some_and(|(ticket, _)| *ticket == settled.ticket)
            && let Some((_, under)) = traced.pop_front()
        {
            match settled.outcome {
                // It was committed before, and its span is of then.
                Outcome::Repeated { .. } => {}
                Outcome::Committed { seq } => traces.settled(under, settled.batch, Some(seq)),
                _ => traces.settled(under, settled.batch, None),
            }
        }
    }
}
