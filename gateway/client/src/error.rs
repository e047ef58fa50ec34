//! Why the client could not do something.

use std::time::Duration;

/// A failure, and whether repeating helps.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The address is not one that this client can use. Nothing was done.
    #[error("{0}")]
    BadAddress(String),
    /// The server was not reached, or the answer did not arrive. It may have been done: repeat it
    /// with the same key.
    #[error("no answer from the server: {0}")]
    Unreachable(String),
    /// The server refused it. Nothing was changed; `retry_after` says whether and when repeating
    /// it can help.
    #[error("{code}: {detail}")]
    Refused {
        /// The machine-readable reason.
        code: String,
        /// What is wrong and what is allowed.
        detail: String,
        /// When repeating it can help.
        retry_after: Option<Duration>,
    },
    /// The server said something that is not this protocol. Repeating does not help.
    #[error("the server's answer is not readable: {0}")]
    Unreadable(String),
    /// The connection has ended for good. Changes without an answer may have been done.
    #[error("the connection has ended: {0}")]
    Ended(String),
}

impl ClientError {
    /// Whether repeating the same thing (with the same key) can succeed.
    #[must_use]
    pub fn can_repeat(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Refused { code, .. } => is_passing(code),
            Self::BadAddress(_) | Self::Unreadable(_) | Self::Ended(_) => false,
        }
    }
}

/// Whether a refusal with this code passes by itself.
pub(crate) fn is_passing(code: &str) -> bool {
    matches!(code, "busy" | "rate_limited" | "unavailable" | "timeout" | "locked_out")
}
