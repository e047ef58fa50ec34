//! The Rust client: accounts and rooms over HTTP, and a [`Connection`] that keeps one conversation
//! with the server over any number of sockets. Events come in order and exactly once for each room,
//! and a change is repeated with its key until it has an answer. It speaks TLS where the address says
//! `https:`, and never falls back to plain TCP.

pub mod connection;
mod error;
mod http;
pub mod limits;
mod server;
mod stream;

pub use connection::{Change, Connection, Options, Update};
pub use error::ClientError;
pub use http::{Http, Tokens};
pub use parlance_protocol as protocol;
pub use server::Server;
pub use stream::Stream;
