//! The bytes that clients see. The domain says what; the gateway says how.

use bytes::Bytes;

use crate::session::Output;

/// Which language a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `parlance.v1`: JSON text frames.
    V1,
    /// Simple chat: messages of the lobby and system notes.
    Simple,
}

impl Dialect {
    /// How many there are, for tables with one place for each.
    pub const COUNT: usize = 2;

    /// The place of this one in such a table.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::V1 => 0,
            Self::Simple => 1,
        }
    }
}

/// Encodes what a session says to its client.
pub trait Frames: Send + Sync + 'static {
    /// One frame as the client's connection carries it; `None` when the dialect has no words for it.
    fn encode(&self, dialect: Dialect, output: &Output<'_>) -> Option<Bytes>;
}
