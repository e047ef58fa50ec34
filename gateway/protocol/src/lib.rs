//! Parlance's wire: the frames of the socket, the bodies of HTTP and the words of simple chat, for
//! servers and clients alike. It holds shapes and their text, and deliberately no rules: what is
//! allowed (lengths, rights, rates) is decided by the domain, and nothing here knows of it.
//!
//! Strings are borrowed from the text that is read where it has no escapes, and from the caller
//! when it is written, so that a frame costs no allocation for each field.

pub mod client;
pub mod event;
pub mod http;
#[cfg(feature = "schema")]
pub mod schema;
pub mod server;
pub mod simple;
mod text;
mod timestamp;
mod words;

pub use client::{BadFrame, ClientFrame};
pub use event::{Entry, Event, MemberChange, Reactions, Tombstone, User};
pub use server::ServerFrame;
pub use text::Text;
pub use timestamp::{NotATimestamp, Timestamp};
pub use words::{Kind, PresenceStatus, Role, RoomKind, View};

/// The WebSocket subprotocol of `GET /ws`.
pub const SUBPROTOCOL: &str = "parlance.v1";

/// Why the server closes a socket: the numbers of WebSocket close frames.
pub mod close {
    /// No credential in time, or one that is wrong or has run out.
    pub const UNAUTHENTICATED: u16 = 4001;
    /// A frame that the protocol cannot carry: binary, not UTF-8, or over the size bound.
    pub const BAD_FRAME: u16 = 4002;
    /// The client took nothing for too long.
    pub const SLOW_CONSUMER: u16 = 4003;
    /// Too many refused frames in a row.
    pub const RATE_LIMITED: u16 = 4004;
    /// The node goes away; reconnect after the delay that `bye` gave.
    pub const GOING_AWAY: u16 = 4005;
    /// Another connection took this session's place.
    pub const REPLACED: u16 = 4006;

    /// Every one of them with its word, and what a client does on it.
    pub const ALL: [(u16, &str, &str); 6] = [
        (
            UNAUTHENTICATED,
            "unauthenticated",
            "No credential in time, or one that is wrong or has run out. Refresh the tokens or sign in, then connect.",
        ),
        (
            BAD_FRAME,
            "bad_frame",
            "A frame that the protocol cannot carry: binary, not UTF-8, over the size bound, or ten in a row that are no frames. Mend the client.",
        ),
        (
            SLOW_CONSUMER,
            "slow_consumer",
            "The client took nothing for too long. Connect again and go on from the cursors.",
        ),
        (RATE_LIMITED, "rate_limited", "Too many refused frames in a row. Connect again, slower."),
        (
            GOING_AWAY,
            "going_away",
            "The node goes away, or asks its sessions to move. Connect again after the delay that `bye` gave.",
        ),
        (
            REPLACED,
            "replaced",
            "Another connection took this session's place. Do not connect again by itself.",
        ),
    ];
}
