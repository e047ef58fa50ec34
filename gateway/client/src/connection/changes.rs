//! Changes without an answer: what goes on the wire when, over any number of sockets. Pure but for
//! the callers' channels. A change keeps its key for ever. After a refusal that passes, a room's
//! changes wait until none of them is on the wire, and then go again in their first order.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use parlance_protocol::client::{self, ClientFrame};
use parlance_protocol::server::Posted;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{ClientError, limits};

/// A change of a room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Say something.
    Send {
        /// The text.
        body: String,
        /// The message that this one answers.
        reply_to: Option<u64>,
    },
    /// Replace the body of one's own message.
    Edit {
        /// The message.
        target: u64,
        /// Its body from now on.
        body: String,
    },
    /// Take a message away.
    Delete {
        /// The message.
        target: u64,
    },
    /// Put an emoji on a message, or take it off.
    React {
        /// The message.
        target: u64,
        /// The emoji.
        emoji: String,
        /// On, or off.
        on: bool,
    },
    /// Pin a message, or unpin it.
    Pin {
        /// The message.
        target: u64,
        /// Pinned, or not.
        on: bool,
    },
    /// Become a member of a public room.
    Join,
    /// Stop being a member.
    Leave,
}

impl Change {
    pub(crate) fn frame(&self, id: u64, room: Uuid, key: Uuid) -> ClientFrame<'_> {
        let id = Some(id);
        match self {
            Self::Send { body, reply_to } => {
                let (body, reply_to) = (body.as_str().into(), *reply_to);
                let send = client::Send { id, room, key, body, reply_to, thread: None, enc: false };
                ClientFrame::Send(send)
            }
            Self::Edit { target, body } => {
                let (target, body) = (*target, body.as_str().into());
                ClientFrame::Edit(client::Edit { id, room, key, target, body, enc: false })
            }
            Self::Delete { target } => {
                ClientFrame::Delete(client::Delete { id, room, key, target: *target })
            }
            Self::React { target, emoji, on } => {
                let emoji = emoji.as_str().into();
                let react = client::React { id, room, key, target: *target, emoji };
                if *on { ClientFrame::React(react) } else { ClientFrame::Unreact(react) }
            }
            Self::Pin { target, on } => {
                ClientFrame::Pin(client::Pin { id, room, key, target: *target, on: *on })
            }
            Self::Join => ClientFrame::Join(client::Membership { id, room, key }),
            Self::Leave => ClientFrame::Leave(client::Membership { id, room, key }),
        }
    }
}

/// Where a change's one answer goes.
pub(crate) type PostedSender = oneshot::Sender<Result<Posted, ClientError>>;

/// A change without an answer.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) room: Uuid,
    pub(crate) key: Uuid,
    pub(crate) change: Change,
    pub(crate) answer: PostedSender,
    /// When it went on the present socket.
    sent: Option<Instant>,
}

/// All of them, in the order in which the application gave them.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    waiting: BTreeMap<u64, Waiting>,
    in_flight: usize,
    /// Rooms that had a refusal, and until when they rest at least.
    resting: HashMap<Uuid, Instant>,
}

impl Changes {
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < limits::CHANGES_MAX
    }

    pub(crate) fn add(
        &mut self,
        id: u64,
        room: Uuid,
        key: Uuid,
        change: Change,
        answer: PostedSender,
    ) {
        self.waiting.insert(id, Waiting { room, key, change, answer, sent: None });
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Waiting> {
        self.waiting.get(&id)
    }

    /// The changes to send now, in order; they count as sent.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<u64> {
        let Self { waiting, in_flight, resting } = self;
        if *in_flight == waiting.len() {
            return Vec::new();
        }
        resting.retain(|room, until| {
            let on_the_wire = || waiting.values().any(|w| w.room == *room && w.sent.is_some());
            now < *until || on_the_wire()
        });
        let mut due = Vec::new();
        for (id, change) in waiting {
            if *in_flight == limits::IN_FLIGHT_MAX {
                break;
            }
            if change.sent.is_none() && !resting.contains_key(&change.room) {
                change.sent = Some(now);
                *in_flight += 1;
                due.push(*id);
            }
        }
        due
    }

    /// When something has to be done next, if nothing happens before. A rest that is over waits
    /// for an answer, which wakes by itself.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let rest = self.resting.values().filter(|until| **until > now).min().copied();
        let answer = self.oldest_sent();
        rest.into_iter().chain(answer.map(|sent| sent + limits::ANSWER_WAIT)).min()
    }

    /// When the oldest change on the wire was sent.
    pub(crate) fn oldest_sent(&self) -> Option<Instant> {
        self.waiting.values().filter_map(|w| w.sent).min()
    }

    /// A change on the wire has waited too long: the socket is dead.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        let oldest = self.oldest_sent();
        oldest.is_some_and(|sent| now.saturating_duration_since(sent) >= limits::ANSWER_WAIT)
    }

    /// The answer came, a success or a refusal that stays.
    pub(crate) fn answered(&mut self, id: u64) -> Option<Waiting> {
        let change = self.waiting.remove(&id)?;
        if change.sent.is_some() {
            self.in_flight -= 1;
        }
        Some(change)
    }

    /// A refusal that passes. False when there is no such change.
    pub(crate) fn refused_for_now(&mut self, id: u64, until: Instant) -> bool {
        let Some(change) = self.waiting.get_mut(&id) else { return false };
        if change.sent.take().is_some() {
            self.in_flight -= 1;
        }
        let rest = self.resting.entry(change.room).or_insert(until);
        *rest = until.max(*rest);
        true
    }

    /// The socket is gone: everything goes again on the next one.
    pub(crate) fn disconnected(&mut self) {
        for change in self.waiting.values_mut() {
            change.sent = None;
        }
        self.in_flight = 0;
        self.resting.clear();
    }

    /// The end: everybody who waits is told.
    pub(crate) fn fail(&mut self, why: &ClientError) {
        for (_, change) in std::mem::take(&mut self.waiting) {
            // A caller that went away does not want to know.
            let _ = change.answer.send(Err(why.clone()));
        }
        self.in_flight = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ROOM: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn with(rooms: &[Uuid]) -> Changes {
        let mut changes = Changes::default();
        for (id, room) in (1..).zip(rooms) {
            let (answer, _) = oneshot::channel();
            changes.add(id, *room, Uuid::from_u128(id.into()), Change::Join, answer);
        }
        changes
    }

    #[test]
    fn a_refused_room_rests_until_its_wire_is_empty_and_repeats_in_order() {
        let start = Instant::now();
        let mut changes = with(&[ROOM, ROOM, OTHER, ROOM]);
        assert_eq!(changes.due(start), [1, 2, 3, 4]);
        let until = start + Duration::from_millis(200);
        assert!(changes.refused_for_now(1, until));
        assert!(changes.due(until).is_empty(), "2 and 4 are still on the wire");
        assert!(changes.refused_for_now(4, start));
        assert!(changes.refused_for_now(2, start));
        assert!(changes.due(start).is_empty(), "the rest has not passed");
        assert_eq!(changes.deadline(start), Some(until));
        assert_eq!(changes.due(until), [1, 2, 4]);
    }

    #[test]
    fn a_new_socket_gets_everything_without_an_answer_with_the_same_key() {
        let start = Instant::now();
        let mut changes = with(&[ROOM, ROOM, ROOM]);
        assert_eq!(changes.due(start).len(), 3);
        assert_eq!(changes.answered(2).map(|w| w.key), Some(Uuid::from_u128(2)));
        assert!(changes.due(start).is_empty());
        changes.disconnected();
        assert_eq!(changes.due(start), [1, 3]);
        assert!(changes.is_overdue(start + limits::ANSWER_WAIT));
    }

    #[test]
    fn the_wire_never_carries_more_than_its_bound() {
        let mut changes = with(&[ROOM; limits::CHANGES_MAX]);
        assert!(!changes.has_room());
        let now = Instant::now();
        assert_eq!(changes.due(now).len(), limits::IN_FLIGHT_MAX);
        assert!(changes.answered(1).is_some());
        assert_eq!(changes.due(now).len(), 1);
    }
}
