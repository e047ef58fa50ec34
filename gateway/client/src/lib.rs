//! The Rust client: accounts and rooms over HTTP, and a [`Connection`] that keeps one conversation
//! with the server over any number of sockets. Events come in order and exactly once for each room,
//! and a change is repeated with its key until it has an answer. It speaks TLS where the address says
//! `https:`, and never falls back to plain TCP.
//!
//! ```no_run
//! use parlance_client::{ClientError, Connection, Http, Options, Server, Update};
//!
//! # async fn run(room: uuid::Uuid) -> Result<(), ClientError> {
//! let server = Server::parse("http://127.0.0.1:8080")?;
//! let tokens = Http::new(server.clone()).login("ada", "Correct-Horse-1").await?;
//! let token = tokens.access_token.to_string();
//! let refresh_token = Some(tokens.refresh_token.to_string());
//! let mut connection = Connection::open(Options { server, token, refresh_token }).await?;
//! connection.subscribe(room, None).await?;
//! let posted = connection.send(room, "hello").await?; // after the commit
//! while let Some(update) = connection.next().await {
//!     if let Update::Event { event, .. } = update {
//!         println!("{}: {}", event.seq, event.body.as_deref().unwrap_or_default());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Whole programs are in `examples/`, and a test runs each: `sign_in`, `stream` (a room as a stream of
//! events), `retry` (a send with its key until it is answered) and `resume` (from a cursor).

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
