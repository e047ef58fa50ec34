//! A node's local fan-out: room to the sessions here that follow it.
//!
//! A room publishes each committed event once; the hub encodes it once a dialect and pushes the
//! shared bytes to each follower's outbox. One lock a room: nobody else's room waits for it.
//! The hub keeps the last seq of each room, drops repeats, and never leaves a hole unmarked.

mod followers;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use metrics::Counter;
use parking_lot::Mutex;

use self::followers::{Followers, Following};
use crate::busiest::Tally;
use crate::limits;
use crate::outbox::Outbox;
use crate::ports::Frames;
use crate::ports::frames::Dialect;
use crate::session::Output;
use crate::traces::{Mark, Traces};
use crate::vocab::{Content, Event, Gen, MemberChange, RoomRef, Seq, SessionId, UserId};

/// A session as a follower of rooms.
#[derive(Debug, Clone)]
pub struct Follower {
    /// The session.
    pub session: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// What it speaks.
    pub dialect: Dialect,
    /// Where its frames go.
    pub outbox: Arc<Outbox>,
}

/// The node's fan-out.
pub struct Hub {
    feeds: DashMap<RoomRef, Arc<Feed>>,
    frames: Arc<dyn Frames>,
    deliveries: Counter,
    traces: Option<Arc<Traces>>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("feeds", &self.feeds.len()).finish_non_exhaustive()
    }
}

/// One room's followers on this node.
struct Feed {
    state: Mutex<FeedState>,
    /// Sessions between asking the room and joining; the feed stays while there are any.
    joining: AtomicUsize,
    deliveries: Tally,
}

struct FeedState {
    r#gen: Gen,
    last: Option<Seq>,
    ring: VecDeque<Recent>,
    /// The weight of what the ring holds.
    ring_bytes: usize,
    followers: Followers,
}

/// A recent event with the frames that were made of it.
struct Recent {
    event: Arc<Event>,
    frames: EncodedFrames,
}

type EncodedFrames = [Option<Option<Bytes>>; Dialect::COUNT];

/// A session that is about to follow a room. While it lives, every event that the room publishes
/// is kept for it (as far as the ring goes).
pub struct Joining {
    hub: Arc<Hub>,
    room: RoomRef,
    feed: Arc<Feed>,
}

impl Drop for Joining {
    fn drop(&mut self) {
        self.feed.joining.fetch_sub(1, Ordering::AcqRel);
        self.hub.forget_if_unused(self.room);
    }
}

/// What became of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// Events come live from here on.
    Live,
    /// More was published meanwhile than the feed keeps; ask the room again.
    TooLate,
}

impl Hub {
    /// A hub without rooms.
    #[must_use]
    pub fn new(frames: Arc<dyn Frames>) -> Arc<Self> {
        Self::traced(frames, None)
    }

    /// A hub without rooms, which traces what it shows.
    #[must_use]
    pub fn traced(frames: Arc<dyn Frames>, traces: Option<Arc<Traces>>) -> Arc<Self> {
        let deliveries = metrics::counter!("parlance_deliveries_total");
        Arc::new(Self { feeds: DashMap::new(), frames, deliveries, traces })
    }

    /// Begins to follow a room: call this before asking the room for its head, so that nothing
    /// which it publishes after its answer is missed.
    #[must_use]
    pub fn prepare(self: &Arc<Self>, room: RoomRef) -> Joining {
        let entry = self.feeds.entry(room).or_insert_with(|| Arc::new(Feed::new()));
        entry.joining.fetch_add(1, Ordering::AcqRel);
        let feed = entry.clone();
        drop(entry);
        Joining { hub: self.clone(), room, feed }
    }

    /// Publishes a committed event to the followers here. Repeats are dropped.
    pub fn publish(&self, room: RoomRef, r#gen: Gen, event: &Arc<Event>) {
        let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) else { return };
        let mut mark = None;
        let under = self.traces.as_ref().and_then(|traces| {
            let under = traces.begin(room, event.sender.id, event.key)?;
            mark = Some(Mark::new(traces.clone(), under, event.seq));
            Some((traces, under))
        });
        let shown = feed.state.lock().publish(&*self.frames, room, r#gen, event, &mut mark);
        let Some((shown, emptied)) = shown else { return };
        if let Some((traces, under)) = under {
            traces.shown(under, event.seq, shown);
        }
        feed.deliveries.add(shown as u64);
        self.deliveries.increment(shown as u64);
        if emptied {
            self.forget_if_unused(room);
        }
    }

    /// A room opened with this head, after it published what it could read of the events that
    /// its followers here missed. Those that it could not become a gap, and who asked its
    /// predecessor for the head and joins only now is told to ask again. `true` when followers were
    /// not shown something.
    pub fn opened(&self, room: RoomRef, r#gen: Gen, head: Seq) -> bool {
        let feed = self.feeds.get(&room).map(|feed| feed.clone());
        feed.is_some_and(|feed| feed.state.lock().opened(&*self.frames, room, r#gen, head))
    }

    /// The last event that the followers here were told of, if anybody follows or is about to.
    #[must_use]
    pub fn last(&self, room: RoomRef) -> Option<Seq> {
        let feed = self.feeds.get(&room).map(|feed| feed.clone())?;
        feed.state.lock().last
    }

    /// Whether any session here follows the room or is about to.
    #[must_use]
    pub fn is_followed(&self, room: RoomRef) -> bool {
        self.feeds.contains_key(&room)
    }

    /// How many sessions here follow the room.
    #[must_use]
    pub fn follower_count(&self, room: RoomRef) -> usize {
        let feed = self.feeds.get(&room).map(|feed| feed.clone());
        feed.map_or(0, |feed| feed.state.lock().followers.list.len())
    }

    /// Ends a session's feed of a room.
    pub fn leave(&self, room: RoomRef, session: SessionId) {
        if let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) {
            feed.state.lock().followers.remove(session);
        }
        self.forget_if_unused(room);
    }

    /// Goes on with a session's feed that was cut: marks what was missed with a gap.
    pub fn mend(&self, room: RoomRef, session: SessionId) {
        if let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) {
            feed.state.lock().mend(&*self.frames, room, session);
        }
    }

    /// Shows the room's other followers that `user` is typing. `false` when the session does not
    /// follow the room.
    pub fn typing(&self, room: RoomRef, session: SessionId, user: UserId, username: &str) -> bool {
        let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) else { return false };
        let mut state = feed.state.lock();
        if state.followers.get_mut(session).is_none() {
            return false;
        }
        let output = Output::Typing { room: room.room, user, username };
        let mut frames: EncodedFrames = [const { None }; Dialect::COUNT];
        for following in &state.followers.list {
            if following.follower.session != session
                && let Some(frame) = encoded(&mut frames, &*self.frames, following, &output)
            {
                following.follower.outbox.push_ephemeral(frame);
            }
        }
        true
    }

    /// Shows the room's followers here that somebody on another node is typing.
    pub fn typing_elsewhere(&self, room: RoomRef, user: UserId, username: &str) {
        let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) else { return };
        let output = Output::Typing { room: room.room, user, username };
        let mut frames: EncodedFrames = [const { None }; Dialect::COUNT];
        for following in &feed.state.lock().followers.list {
            if let Some(frame) = encoded(&mut frames, &*self.frames, following, &output) {
                following.follower.outbox.push_ephemeral(frame);
            }
        }
    }

    /// Every room that is followed here or is about to be.
    #[must_use]
    pub fn rooms(&self) -> Vec<RoomRef> {
        self.feeds.iter().map(|feed| *feed.key()).collect()
    }

    /// The generation and the last event that the room's followers here were told of; `None`
    /// when nobody follows and nobody is about to.
    #[must_use]
    pub fn position(&self, room: RoomRef) -> Option<(Gen, Option<Seq>)> {
        let feed = self.feeds.get(&room).map(|feed| feed.clone())?;
        let state = feed.state.lock();
        Some((state.r#gen, state.last))
    }

    /// The sessions here that follow the room.
    #[must_use]
    pub fn followers(&self, room: RoomRef) -> Vec<SessionId> {
        let feed = self.feeds.get(&room).map(|feed| feed.clone());
        feed.map_or_else(Vec::new, |feed| {
            feed.state.lock().followers.list.iter().map(|f| f.follower.session).collect()
        })
    }

    /// Marks what every feed has delivered.
    pub(crate) fn mark(&self) {
        self.feeds.iter().for_each(|feed| feed.deliveries.mark());
    }

    /// The rooms of which something was delivered since the older mark, and how often.
    pub(crate) fn each_tally(&self, mut each: impl FnMut(RoomRef, u64)) {
        for feed in &self.feeds {
            let deliveries = feed.deliveries.since_mark();
            if deliveries > 0 {
                each(*feed.key(), deliveries);
            }
        }
    }

    fn forget_if_unused(&self, room: RoomRef) {
        // The feed is asked first without holding its part of the table: a fan-out to very many
        // may be going on, and rooms beside it must not wait for that.
        let Some(feed) = self.feeds.get(&room).map(|feed| feed.clone()) else { return };
        if !feed.state.lock().followers.list.is_empty() {
            return;
        }
        self.feeds.remove_if(&room, |_, feed| {
            if feed.joining.load(Ordering::Acquire) > 0 {
                return false;
            }
            feed.state.lock().followers.list.is_empty()
        });
    }
}

impl Joining {
    /// Joins at `head`, the head that the room answered after [`Hub::prepare`]: pushes what was
    /// published since, and from then on every event as it comes. The caller has pushed
    /// everything up to `head` already, or has marked it with a gap; `cut_from` says that its
    /// outbox overflowed on the way and which event was the first missed.
    pub fn join(&self, follower: Follower, r#gen: Gen, head: Seq, cut_from: Option<Seq>) -> Joined {
        let mut state = self.feed.state.lock();
        state.join(&*self.hub.frames, self.room, follower, (r#gen, head), cut_from)
    }

    /// Joins at the last published event and marks everything from `from` on with a gap.
    pub fn join_after_gap(&self, follower: Follower, r#gen: Gen, from: Seq) {
        let mut state = self.feed.state.lock();
        let last = state.last.unwrap_or(Seq(from.0.saturating_sub(1)));
        let session = follower.session;
        state.join(&*self.hub.frames, self.room, follower, (r#gen, last), None);
        if let Some(following) = state.followers.get_mut(session) {
            following.shown = Seq(from.0.saturating_sub(1));
            following.push_gap(&*self.hub.frames, self.room, from, last);
        }
    }
}

impl Feed {
    fn new() -> Self {
        let state = FeedState {
            r#gen: Gen(0),
            last: None,
            ring: VecDeque::new(),
            ring_bytes: 0,
            followers: Followers::default(),
        };
        Self {
            state: Mutex::new(state),
            joining: AtomicUsize::new(0),
            deliveries: Tally::default(),
        }
    }
}

/// The frame of an output in a follower's dialect, encoded at most once.
fn encoded(
    frames: &mut EncodedFrames,
    encoder: &dyn Frames,
    following: &Following,
    output: &Output<'_>,
) -> Option<Bytes> {
    let dialect = following.follower.dialect;
    frames[dialect.index()].get_or_insert_with(|| encoder.encode(dialect, output)).clone()
}

impl FeedState {
    /// To how many it was shown, and whether it ended the last one's feed; `None` for a repeat.
    fn publish(
        &mut self,
        encoder: &dyn Frames,
        room: RoomRef,
        r#gen: Gen,
        event: &Arc<Event>,
        mark: &mut Option<Mark>,
    ) -> Option<(usize, bool)> {
        if r#gen < self.r#gen {
            return None;
        }
        if r#gen > self.r#gen {
            self.begin(r#gen);
        } else if let Some(last) = self.last {
            if event.seq <= last {
                return None;
            }
            if event.seq > last.next() {
                self.mark_hole(encoder, room, last.next(), Seq(event.seq.0 - 1));
            }
        }
        self.last = Some(event.seq);
        if let Content::Delete { target } = event.content {
            self.blank(target);
        }
        let mut frames: EncodedFrames = [const { None }; Dialect::COUNT];
        let output = Output::Event { room: room.room, r#gen, event };
        for following in &mut self.followers.list {
            following.push(&mut frames, encoder, room, event.seq, &output, mark);
        }
        let shown = self.followers.list.len();
        self.keep(Recent { event: event.clone(), frames });
        Some((shown, self.end_feeds_of_the_gone(event)))
    }

    fn opened(&mut self, encoder: &dyn Frames, room: RoomRef, r#gen: Gen, head: Seq) -> bool {
        let mut is_hole = false;
        if r#gen < self.r#gen {
            return false;
        }
        if r#gen > self.r#gen {
            let was_shown = self.last.is_some_and(|last| last > Seq(0));
            self.begin(r#gen);
            if was_shown && head > Seq(0) {
                // Nothing that was shown counts any more.
                self.mark_hole(encoder, room, Seq(1), head);
                is_hole = true;
            }
        } else if let Some(last) = self.last {
            if last >= head {
                return false;
            }
            self.mark_hole(encoder, room, last.next(), head);
            is_hole = true;
        }
        self.last = Some(head);
        is_hole
    }

    /// Another generation: seqs begin to mean something else.
    fn begin(&mut self, r#gen: Gen) {
        self.r#gen = r#gen;
        self.clear_ring();
        for following in &mut self.followers.list {
            following.shown = Seq(0);
            // What was cut is missing from the beginning of this one.
            following.cut_from = following.cut_from.map(|_| Seq(1));
        }
    }

    fn keep(&mut self, recent: Recent) {
        self.ring_bytes += recent.event.content.weight();
        self.ring.push_back(recent);
        while self.ring.len() > limits::FEED_RING_EVENTS_MAX
            || self.ring_bytes > limits::FEED_RING_BYTES_MAX
        {
            let oldest = self.ring.pop_front().expect("over a bound, so not empty");
            self.ring_bytes -= oldest.event.content.weight();
        }
    }

    fn clear_ring(&mut self) {
        self.ring.clear();
        self.ring_bytes = 0;
    }

    fn blank(&mut self, target: Seq) {
        let blanked = self.ring.iter_mut().filter(|r| r.event.is_blanked_by_delete_of(target));
        for recent in blanked {
            self.ring_bytes -= recent.event.content.weight();
            recent.event = Arc::new(recent.event.blanked());
            recent.frames = [const { None }; Dialect::COUNT];
        }
    }

    /// Events that were never published here. It takes a crash between commit and publish, and a
    /// room that could not read them again.
    fn mark_hole(&mut self, encoder: &dyn Frames, room: RoomRef, from: Seq, to: Seq) {
        self.clear_ring();
        for following in &self.followers.list {
            if following.cut_from.is_none() {
                following.push_gap(encoder, room, from, to);
            }
        }
    }

    fn end_feeds_of_the_gone(&mut self, event: &Event) -> bool {
        let Content::Member { user, change: MemberChange::Left | MemberChange::Kicked, .. } =
            event.content
        else {
            return false;
        };
        for session in self.followers.sessions_of(user) {
            self.followers.remove(session);
        }
        self.followers.list.is_empty()
    }

    fn join(
        &mut self,
        encoder: &dyn Frames,
        room: RoomRef,
        follower: Follower,
        (r#gen, head): (Gen, Seq),
        cut_from: Option<Seq>,
    ) -> Joined {
        if r#gen < self.r#gen {
            return Joined::TooLate;
        }
        let last = self.last.filter(|_| self.r#gen == r#gen).unwrap_or(head);
        let oldest = self.ring.front().map_or(last.next(), |recent| recent.event.seq);
        if last > head && oldest > head.next() {
            return Joined::TooLate;
        }
        if self.last.is_none() || self.r#gen != r#gen {
            self.begin(r#gen);
            self.last = Some(head);
        }
        let user = follower.user;
        let session = follower.session;
        self.followers.insert(Following { follower, shown: head, cut_from });
        let Self { ring, followers, .. } = self;
        for recent in ring.iter_mut().filter(|recent| recent.event.seq > head) {
            let following = followers.get_mut(session).expect("inserted above");
            let output = Output::Event { room: room.room, r#gen, event: &recent.event };
            following.push(&mut recent.frames, encoder, room, recent.event.seq, &output, &mut None);
            let is_gone = matches!(recent.event.content,
                Content::Member { user: who, change: MemberChange::Left | MemberChange::Kicked, .. }
                    if who == user);
            if is_gone {
                // As live: their own end is the last thing that they hear.
                followers.remove(session);
                break;
            }
        }
        Joined::Live
    }

    fn mend(&mut self, encoder: &dyn Frames, room: RoomRef, session: SessionId) {
        let last = self.last;
        let Some(following) = self.followers.get_mut(session) else { return };
        if let (Some(from), Some(to)) = (following.cut_from.take(), last) {
            following.push_gap(encoder, room, from, to);
        }
    }
}

#[cfg(test)]
mod tests;
