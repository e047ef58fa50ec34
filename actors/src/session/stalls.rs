//! Sends that wait for an earlier one: when one is refused, those behind it are too until it is
//! repeated, so that repeating them keeps their order. Pure: time is given. A session keeps these
//! for itself, and the owner of a room for sessions of other nodes.

use std::time::Duration;

use crate::vocab::{Key, Refusal, RoomId};

/// How long a refused send holds back the later ones of its room, if the client neither repeats
/// it nor waits. Twice the longest time to retry after.
pub(crate) const STALL: Duration = Duration::from_millis(2_000);
/// Rooms in which a session is stalled at once; of more the oldest is forgotten.
const STALLS_MAX: usize = 64;

/// A refused send that the client is about to repeat: those behind it wait for it.
#[derive(Debug)]
struct Stall {
    room: RoomId,
    key: Key,
    /// Where it was among the session's changes. Those before it do not wait for it.
    place: u64,
    until: Duration,
    refusal: Refusal,
}

/// One session's refused sends, at most one a room.
#[derive(Debug, Default)]
pub(crate) struct Stalls(Vec<Stall>);

impl Stalls {
    /// Why the send at `place` may not go yet: an earlier one of this room was refused and not
    /// repeated.
    pub(crate) fn stalled(
        &mut self,
        now: Duration,
        room: RoomId,
        key: Key,
        place: u64,
    ) -> Option<Refusal> {
        self.0.retain(|stall| stall.until > now);
        let stall = self.0.iter().find(|stall| stall.room == room)?;
        (stall.key != key && stall.place < place).then(|| stall.refusal.clone())
    }

    /// A send was refused for now.
    pub(crate) fn stall(
        &mut self,
        now: Duration,
        room: RoomId,
        (key, place): (Key, u64),
        refusal: &Refusal,
    ) {
        let until = now + STALL;
        if let Some(stall) = self.0.iter_mut().find(|stall| stall.room == room) {
            // The earliest refused one leads, in whichever order they are refused (a room that
            // ends lets go of its mailbox before its queues); its own repeat that is refused
            // again keeps the lead.
            if stall.key == key {
                stall.until = until;
            } else if place < stall.place {
                *stall = Stall { room, key, place, until, refusal: refusal.clone() };
            }
            return;
        }
        if self.0.len() == STALLS_MAX {
            self.0.remove(0);
        }
        self.0.push(Stall { room, key, place, until, refusal: refusal.clone() });
    }

    /// The send was answered for good.
    pub(crate) fn clear(&mut self, room: RoomId, key: Key) {
        self.0.retain(|stall| stall.room != room || stall.key != key);
    }

    /// Whether nothing holds anything back any more.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.0.iter().all(|stall| stall.until <= now)
    }
}
