//! What a room is asked, what it answers, and what it has its shell do. Words only: nothing here
//! decides.

use std::sync::Arc;

use crate::session::{Caller, Change, Cursor, Posted};
use crate::vocab::{Draft, Event, Gen, Key, Refusal, Role, Seq, Timestamp, UserId};

/// A change that somebody asks for.
#[derive(Debug)]
pub struct Post<W> {
    /// Who.
    pub caller: Arc<Caller>,
    /// The idempotency key.
    pub key: Key,
    /// What.
    pub change: Change,
    /// Who waits for the answer.
    pub waiter: W,
}

/// A look at the room: may the caller read it, where does it stand, what happened since a cursor.
#[derive(Debug)]
pub struct Look<F> {
    /// Who.
    pub caller: Arc<Caller>,
    /// Where they stand.
    pub cursor: Option<Cursor>,
    /// Who waits for the answer.
    pub waiter: F,
}

/// What a look shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The caller's role.
    pub role: Role,
    /// The generation of the history.
    pub r#gen: Gen,
    /// The lowest seq that still has its content.
    pub first: Seq,
    /// The last committed and published seq.
    pub head: Seq,
    /// What to replay.
    pub replay: Replay,
}

/// What lies between a cursor and the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// Nothing.
    Nothing,
    /// These events.
    Events(Vec<Arc<Event>>),
    /// The events after this seq up to the head; the room no longer holds them, history does.
    Read {
        /// The cursor.
        after: Seq,
    },
    /// Too much to replay, or the cursor is not of this history: the client pages from here.
    Gap {
        /// The first event of the gap.
        from: Seq,
    },
}

/// Something that a decision needs and the room does not have in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// A user's role.
    Role(UserId),
    /// The event that a change is about.
    Target(Seq),
    /// Where the asker's event with this key is.
    Key(Key),
    /// When the asker last sent a message.
    LastMessage,
}

/// The answer to a [`Fact`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// A user's role.
    Role(Option<Role>),
    /// The event.
    Target(Option<Event>),
    /// Where it is, and when it was sent.
    Key(Option<(Seq, Timestamp)>),
    /// When.
    LastMessage(Option<Timestamp>),
}

/// What the shell does, in this order.
#[derive(Debug)]
pub enum Effect<W, F> {
    /// Put it on the lane; tell [`super::state::RoomState::not_taken`] when the lane does not take it.
    Append {
        /// The room's number for it.
        ticket: u64,
        /// What.
        draft: Draft,
    },
    /// Answer a change.
    Answer(W, Result<Posted, Refusal>),
    /// Answer a look.
    Show(F, Result<Seen, Refusal>),
    /// Read a fact and bring it with [`super::state::RoomState::learn`].
    Load {
        /// Whose requests wait for it.
        asker: UserId,
        /// What.
        fact: Fact,
    },
    /// Show a committed event to the followers.
    Publish(Arc<Event>),
    /// Tell a user's devices about their membership.
    Membership {
        /// Whose.
        user: UserId,
        /// Their role now.
        role: Option<Role>,
    },
    /// Stop: what the room believes is no longer what the database will hold.
    Stop(&'static str),
}

/// Effects in order.
pub type Effects<W, F> = Vec<Effect<W, F>>;
