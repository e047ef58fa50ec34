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
    /// It waits.
    Waits,
    /// It is the first that waits there, and not for longer than a moment.
    WaitsFirst,
}

/// What is held of one session, by room.
#[derive(Default)]
pub(crate) struct Holds {
    rooms: Mutex<Rooms>,
    /// How many rooms these are.
    count: AtomicU32,
}

#[derive(Default)]
struct Rooms {
    held: HashMap<RoomId, Hold>,
    /// The session is over; whatever comes now is answered by its end.
    over: bool,
}

struct Hold {
    /// What is to be done first.
    count: u32,
    patience: Patience,
    waiting: VecDeque<Post<Waiter>>,
    /// Those that wait are on their way.
    lifted: bool,
}

impl Holds {
    /// Holds the room's changes until this is lifted.
    pub(crate) fn hold(&self, room: RoomId, patience: Patience) {
        let mut rooms = self.rooms.lock();
        if rooms.over {
            return;
        }
        let hold = rooms.held.entry(room).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::AcqRel);
            Hold { count: 0, patience, waiting: VecDeque::new(), lifted: false }
        });
        hold.count += 1;
    }

    /// Gives a change back that may go, and keeps one that has to wait.
    pub(crate) fn pass(&self, room: RoomId, post: Post<Waiter>) -> Passed {
        if self.count.load(Ordering::Acquire) == 0 {
            return Passed::Goes(post);
        }
        let mut rooms = self.rooms.lock();
        let Some(hold) = rooms.held.get_mut(&room) else { return Passed::Goes(post) };
        hold.waiting.push_back(post);
        if hold.waiting.len() == 1 && hold.patience == Patience::Short && !hold.lifted {
            Passed::WaitsFirst
        } else {
            Passed::Waits
        }
    }

    /// What held the room is done, or, `late`, is waited for no more. Whether the caller sends on what waits.
    fn lift(&self, room: RoomId, late: bool) -> bool {
        let mut rooms = self.rooms.lock();
        let Some(hold) = rooms.held.get_mut(&room) else { return false };
        hold.count = if late { 0 } else { hold.count.saturating_sub(1) };
        let is_mine = hold.count == 0 && !hold.lifted;
        hold.lifted |= is_mine;
        is_mine
    }

    /// The next that waits in a lifted room. What comes meanwhile waits behind it; after the last one nothing is held.
    fn next(&self, room: RoomId) -> Option<Post<Waiter>> {
        let mut rooms = self.rooms.lock();
        let hold = rooms.held.get_mut(&room)?;
        let next = hold.waiting.pop_front();
        if next.is_none() {
            hold.lifted = false;
            if hold.count == 0 {
                rooms.held.remove(&room);
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
        }
        next
    }

    #[cfg(test)]
    pub(crate) fn holds(&self, room: RoomId) -> bool {
        self.rooms.lock().held.contains_key(&room)
    }

    /// The session is over: whatever waits is answered by being dropped.
    pub(crate) fn end(&self) {
        let mut rooms = self.rooms.lock();
        rooms.over = true;
        self.count.store(0, Ordering::Release);
        let held = std::mem::take(&mut rooms.held);
        drop(rooms);
        drop(held);
    }
}

/// What held the room's changes is done, or, `late`, is waited for no more: those that wait go on, in order.
pub(crate) async fn release(world: &Arc<World>, link: &SessionLink, room: RoomId, late: bool) {
    if !link.holds.lift(room, late) {
        return;
    }
    let at = RoomRef { tenant: link.caller.tenant, room };
    while let Some(post) = link.holds.next(room) {
        match world.meta(&link.caller, at).await {
            Ok(meta) => world.post(&meta, post),
            Err(refusal) => post.waiter.answer(Err(refusal)),
        }
    }
}
