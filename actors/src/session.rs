//! A session: one client connection's state, an actor on the node that holds the socket.

pub(crate) mod actor;
mod admission;
pub(crate) mod handle;
pub(crate) mod holds;
pub(crate) mod link;
pub(crate) mod mailbox;
mod stalls;
pub(crate) mod subscribe;
pub(crate) mod waiter;
pub mod words;

pub use handle::SessionHandle;
pub(crate) use stalls::{STALL, Stalls};
pub use words::{
    Answer, Caller, Change, Command, Cursor, Output, Posted, PresenceStatus, Request, Subscribed,
    View,
};
