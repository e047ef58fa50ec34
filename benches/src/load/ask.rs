//! What a session asks the server, in the protocol's frames, and how long each has waited.

use std::collections::HashMap;

use parlance_protocol::client::{
    ClientFrame, Cursors, History, Presence, Read, Send, Subscribe, Typing, Unsubscribe,
};
use parlance_protocol::{PresenceStatus, View};
use tokio::time::Instant;
use uuid::Uuid;

use super::clock::body_of;
use super::follow::Followed;
use crate::limits;

/// Something that the server answers. Rooms are places in the session's own list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A message.
    Send { room: usize, key: Uuid },
    /// Following rooms, each from its cursor.
    Subscribe { rooms: Vec<usize>, opens: bool },
    /// Following a room no more.
    Unsubscribe { room: usize },
    /// What a gap left out.
    Page { room: usize },
    /// The last page of a room that is being opened.
    Latest { room: usize },
    /// A read mark.
    Read { room: usize, seq: u64 },
    /// One's own presence.
    Presence { away: bool, watch: Option<Vec<Uuid>> },
}

/// One of them without an answer.
#[derive(Debug)]
pub(super) struct Ask {
    /// In microseconds of the run.
    pub(super) due_us: u64,
    pub(super) what: What,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Asks {
    next: u64,
    open: HashMap<u64, Ask>,
    again: Vec<(Instant, u64)>,
}

impl Asks {
    pub(super) fn add(&mut self, due_us: u64, what: What) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Ask { due_us, what });
        self.next
    }

    pub(super) fn get(&self, id: u64) -> Option<&Ask> {
        self.open.get(&id)
    }

    pub(super) fn take(&mut self, id: u64) -> Option<Ask> {
        self.open.remove(&id)
    }

    /// It is asked once more then.
    pub(super) fn repeat(&mut self, at: Instant, id: u64) {
        self.again.push((at, id));
    }

    /// The next repeat.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again.iter().map(|(at, _)| *at).min()
    }

    /// One whose repeat is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let place = self.again.iter().position(|(at, _)| *at <= now)?;
        Some(self.again.swap_remove(place).1)
    }

    /// Messages without an answer.
    pub(super) fn sends(&self) -> impl Iterator<Item = (&Ask, usize, Uuid)> {
        self.open.values().filter_map(|ask| match ask.what {
            What::Send { room, key } => Some((ask, room, key)),
            _ => None,
        })
    }

    /// The socket is gone: what was asked on it is forgotten, but for messages, which are repeated
    /// with their keys.
    pub(super) fn forget(&mut self, now: Instant) {
        self.open.retain(|_, ask| matches!(ask.what, What::Send { .. }));
        self.again = self.open.keys().map(|id| (now, *id)).collect();
    }
}

impl Ask {
    /// Appends the frame that asks it.
    pub(super) fn encode(
        &self,
        id: u64,
        rooms: &[Followed],
        body_bytes: usize,
        into: &mut Vec<u8>,
    ) {
        let body;
        let number = Some(id);
        let frame = match &self.what {
            What::Send { room, key } => {
                body = body_of(self.due_us, body_bytes);
                let body = std::str::from_utf8(&body).expect("digits and letters").into();
                let (room, key) = (rooms[*room].id, *key);
                let (reply_to, thread, enc) = (None, None, false);
                ClientFrame::Send(Send { id: number, room, key, body, reply_to, thread, enc })
            }
            What::Subscribe { rooms: places, .. } => {
                let cursor = |place: &usize| (rooms[*place].id, rooms[*place].cursor());
                let rooms = Cursors(places.iter().map(cursor).collect());
                ClientFrame::Subscribe(Subscribe { id: number, rooms })
            }
            What::Unsubscribe { room } => {
                ClientFrame::Unsubscribe(Unsubscribe { id: number, rooms: vec![rooms[*room].id] })
            }
            What::Page { room } => {
                let room = &rooms[*room];
                let (after, limit) = (Some(room.last().unwrap_or_default()), Some(limits::PAGE));
                let (room, before, view) = (room.id, None, View::Log);
                ClientFrame::History(History { id: number, room, before, after, limit, view })
            }
            What::Latest { room } => {
                let (room, limit) = (rooms[*room].id, Some(limits::LATEST));
                let (before, after, view) = (None, None, View::Folded);
                ClientFrame::History(History { id: number, room, before, after, limit, view })
            }
            What::Read { room, seq } => {
                ClientFrame::Read(Read { id: number, room: rooms[*room].id, seq: *seq })
            }
            What::Presence { away, watch } => {
                let status = if *away { PresenceStatus::Away } else { PresenceStatus::Online };
                let (status, watch) = (Some(status), watch.clone());
                ClientFrame::Presence(Presence { id: number, status, watch })
            }
        };
        frame.encode_into(into);
    }
}

/// Appends a typing notice, which has no answer.
pub(super) fn encode_typing(room: Uuid, into: &mut Vec<u8>) {
    ClientFrame::Typing(Typing { id: None, room }).encode_into(into);
}
