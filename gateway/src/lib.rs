//! The gateway: HTTP, WebSocket, signing in and admission in front of the domain.
//!
//! It translates and protects; what a room or a session may do is decided in `parlance_actors`.
//! [`Gateway::bind`] and [`Gateway::run`] are all that a node needs.

pub mod auth;
pub mod config;
pub mod error;
pub mod frames;
pub mod limits;
pub mod origin;

mod admission;
mod app;
mod cookies;
mod extract;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod lease;
mod proxies;
mod server;
mod socket;
mod web;

pub use app::Parts;
pub use auth::{ClusterSecret, WeakSecret, hash_password};
pub use config::GatewayConfig;
pub use frames::JsonFrames;
pub use http::reference::{asyncapi_document, errors_markdown, frames_markdown, openapi_document};
pub use server::{Gateway, GatewayError};
#[cfg(any(test, feature = "testkit"))]
pub use socket::testkit;
pub use web::{Web, WebFile};
