//! Changes of a session that wait for something that it does in their room first: they do not overtake it, and keep
//! their order among themselves. Most sessions hold nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use super::link::SessionLink;
use super::waiter::Waiter;
use crate::room::state::Post;
use crate::vocab::{RoomId, RoomRef};
use crate::world::World;

/// How long a change may have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For a moment. Its client takes the connection for dead when an answer takes long.
    Short,
    /// As long as it takes.
    Long,
}

/// What became of a change.
pub(crate) enum Passed {
    /// Nothing is before it.
    Goes(Post<Waiter>),
    /// It waits, or is answered by the end of its session.
    Waits,
    /// It is the first behind this one, which is not waited for longer than a moment.
    WaitsFirst(HoldId),
}

/// One hold among all of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HoldId(u64);

/// What is held of one session, by room.
#[derive(Default)]
pub(crate) struct Holds {
    rooms: Mutex<Rooms>,
    /// How many rooms these are.
    count: AtomicU32,
}

#[derive(Default)]
struct Rooms {
    held: HashMap<RoomId, Queue>,
    last: u64,
    /// The session is over; whatever comes now is answered by being dropped.
    over: bool,
}

/// Holds and changes of a room, in the order in which they came: a change waits for the holds before it.
#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Somebody sends on what need not wait.
    drained: bool,
}

enum Entry {
    /// It stays until it is lifted, which happens in the order in which they came.
    Hold {
        id: HoldId,
        patience: Patience,
        /// Nothing waits for it any more.
        late: bool,
    },
    Change(Post<Waiter>),
}

impl Entry {
    const fn holds(&self) -> bool {
        matches!(self, Self::Hold { late: false, .. })
    }

    /// What comes after it stays behind it.
    const fn counts(&self) -> bool {
        self.holds() || matches!(self, Self::Change(_))
    }
}

impl Queue {
    /// The first change, if no hold is before it.
    fn next(&mut self) -> Option<Post<Waiter>> {
        let place = self.entries.iter().position(Entry::counts)?;
        if self.entries[place].holds() {
            return None;
        }
        match self.entries.remove(place)? {
            Entry::Change(post) => Some(post),
            Entry::Hold { .. } => None,
        }
    }

    fn is_free(&self) -> bool {
        !self.drained && !self.entries.iter().any(Entry::counts)
    }
}

impl Holds {
    /// Holds the changes of the room that come from now on until this is lifted.
    pub(crate) fn hold(&self, room: RoomId, patience: Patience) {
        let mut rooms = self.rooms.lock();
        if rooms.over {
            return;
        }
        rooms.last += 1;
        let id = HoldId(rooms.last);
        let queue = rooms.held.entry(room).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::AcqRel);
            Queue::default()
        });
        queue.entries.push_back(Entry::Hold { id, patience, late: false });
    }

    /// Gives a change back that may go, and keeps one that has to wait.
    pub(crate) fn pass(&self, room: RoomId, post: Post<Waiter>) -> Passed {
        if self.count.load(Ordering::Acquire) == 0 {
            return Passed::Goes(post);
        }
        let mut rooms = self.rooms.lock();
        if rooms.over {
            drop(rooms);
            drop(post);
            return Passed::Waits;
        }
        let Some(queue) = rooms.held.get_mut(&room).filter(|queue| !queue.is_free()) else {
            return Passed::Goes(post);
        };
        let before = match queue.entries.back() {
            Some(Entry::Hold { id, patience: Patience::Short, late: false }) => Some(*id),
            _ => None,
        };
        queue.entries.push_back(Entry::Change(post));
        before.map_or(Passed::Waits, Passed::WaitsFirst)
    }

    /// What was held for longest in the room is done. Whether the caller sends on what need not wait now.
    fn lift(&self, room: RoomId) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(queue) = rooms.held.get_mut(&room) else { return false };
        let first = queue.entries.iter().position(|entry| matches!(entry, Entry::Hold { .. }));
        if let Some(place) = first {
            queue.entries.remove(place);
        }
        !std::mem::replace(&mut queue.drained, true)
    }

    /// Nothing waits any more for this hold and those before it. Whether the caller sends on what waited.
    fn give_up(&self, room: RoomId, last: HoldId) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(queue) = rooms.held.get_mut(&room) else { return false };
        for entry in &mut queue.entries {
            if let Entry::Hold { id, patience: Patience::Short, late } = entry {
                *late |= *id <= last;
            }
        }
        !std::mem::replace(&mut queue.drained, true)
    }

    /// The next change that need not wait; `None` ends the sending on.
    fn next(&self, room: RoomId) -> Option<Post<Waiter>> {
        let mut rooms = self.rooms.lock();
        let queue = rooms.held.get_mut(&room)?;
        let next = queue.next();
        if next.is_none() {
            queue.drained = false;
            if queue.entries.is_empty() {
                rooms.held.remove(&room);
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
        }
        next
    }

    #[cfg(test)]
    pub(crate) fn holds(&self, room: RoomId) -> bool {
        self.rooms.lock().held.get(&room).is_some_and(|queue| !queue.is_free())
    }

    /// Nobody sends on what waits in the room: it is answered by being dropped.
    fn abandon(&self, room: RoomId) {
        let mut rooms = self.rooms.lock();
        let queue = rooms.held.remove(&room);
        if queue.is_some() {
            self.count.fetch_sub(1, Ordering::AcqRel);
        }
        drop(rooms);
        drop(queue);
    }

    /// The session is over: whatever waits, and whatever comes, is answered by being dropped.
    pub(crate) fn end(&self) {
        let mut rooms = self.rooms.lock();
        rooms.over = true;
        // Everything looks at that from now on.
        self.count.store(u32::MAX, Ordering::Release);
        let held = std::mem::take(&mut rooms.held);
        drop(rooms);
        drop(held);
    }
}

/// What held the room's changes for longest is done: those that waited for it go on, in order.
pub(crate) async fn release(world: &Arc<World>, link: &SessionLink, room: RoomId) {
    if link.holds.lift(room) {
        send_on(world, link, room).await;
    }
}

/// The changes behind this hold have waited long enough.
pub(crate) async fn release_late(
    world: &Arc<World>,
    link: &SessionLink,
    room: RoomId,
    last: HoldId,
) {
    if link.holds.give_up(room, last) {
        send_on(world, link, room).await;
    }
}

async fn send_on(world: &Arc<World>, link: &SessionLink, room: RoomId) {
    let sending = Sending { link, room };
    let at = RoomRef { tenant: link.caller.tenant, room };
    while let Some(post) = link.holds.next(room) {
        if let Some(refusal) = post.waiter.stalled(post.key, &post.change) {
            post.waiter.answer(Err(refusal));
            continue;
        }
        match world.meta(&link.caller, at).await {
            Ok(meta) => world.post(&meta, post),
            Err(refusal) => post.waiter.answer(Err(refusal)),
        }
    }
    std::mem::forget(sending);
}

/// Somebody who sends on. Where they end before they are done, nobody else would.
struct Sending<'a> {
    link: &'a SessionLink,
    room: RoomId,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.link.holds.abandon(self.room);
    }
}
