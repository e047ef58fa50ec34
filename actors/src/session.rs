//! A session: one client connection's state, an actor on the node that holds the socket.

pub mod words;

pub use words::{
    Answer, Caller, Change, Command, Cursor, Output, Posted, PresenceStatus, Request, Subscribed,
    View,
};
