//! See [`crate::fuzzing`].

use std::path::Path;

use super::seal::SEAL_BYTES;
use super::snapshot;
use super::wire::{self, Answer, Call};

/// A call of Raft or of the directory, read and written again.
#[must_use]
pub fn call(bytes: &[u8]) -> Option<Vec<u8>> {
    wire::decode::<Call>(bytes).map(|call| wire::encode(&call).to_vec())
}

/// An answer to one, read and written again.
#[must_use]
pub fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    wire::decode::<Answer>(bytes).map(|answer| wire::encode(&answer).to_vec())
}

/// A snapshot with this body, as it came from another node: the body as this one would write it, or why
/// it is refused.
pub fn snapshot_body(body: &[u8]) -> Result<Vec<u8>, String> {
    let file = snapshot::sealed(snapshot::FORMAT, body);
    let restored =
        snapshot::decode(Path::new("snapshot"), &file).map_err(|error| error.to_string())?;
    let file = snapshot::encode(&restored.meta, restored.state.record());
    let file = file.map_err(|error| error.to_string())?;
    Ok(file[snapshot::HEAD_BYTES + SEAL_BYTES..].to_vec())
}
