//! See [`crate::fuzzing`].

use super::{hello, relay};

/// A hello without its length, read and written again, with its length.
#[must_use]
pub fn hello(bytes: &[u8]) -> Option<Vec<u8>> {
    let (purpose, said) = hello::decode(bytes)?;
    Some(hello::encode(purpose, &said).to_vec())
}

/// What a passage begins with, read and written again.
#[must_use]
pub fn opening(bytes: &[u8]) -> Option<Vec<u8>> {
    relay::recode_opening(bytes)
}
