//! WebSockets: the upgrade, the hello, and the one task of each socket that reads frames and
//! drains its session's outbox. What a frame does is the session's business.

mod commands;
mod line;
mod pipe;
#[cfg(test)]
mod rfc6455;
mod task;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod turnstile;
pub(crate) mod upgrade;
mod writers;

#[cfg(feature = "fuzzing")]
pub(crate) use commands::request;
pub(crate) use turnstile::Turnstile;
pub(crate) use writers::Writers;
