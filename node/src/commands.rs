//! One file a command.

pub(crate) mod admin;
pub(crate) mod cert;
pub(crate) mod cluster;
pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod serve;

use std::io::Write as _;

use crate::failure::{Cause, Failure};

/// Writes to standard output and flushes it. A reader that went away is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Cause::Other, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// A runtime for commands that make a few calls and end.
pub(crate) fn small_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Cause::Other, format!("cannot start a runtime: {error}")))
}
