//! See [`crate::fuzzing`].

use bytes::Bytes;
use quinn::VarInt;

use super::wire::{Cutter, Layout, frame_header as header_of, round_of_stop, stop_code};
use crate::link::Version;

/// What cuts a data stream into frames.
#[derive(Default)]
pub struct FrameCutter(Cutter);

impl FrameCutter {
    /// The frames that are whole after these bytes.
    pub fn cut(&mut self, came: &[u8]) -> (Vec<Vec<u8>>, Result<u64, String>) {
        let mut frames = Vec::new();
        let cut = self.0.cut(came, |frame| {
            frames.push(frame.to_vec());
            Ok(())
        });
        (frames, cut.map_err(|bad| bad.to_string()))
    }

    /// Bytes of memory that it has taken for a frame that is not whole.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.0.reserved()
    }
}

/// What stands before a frame.
#[must_use]
pub fn frame_header(frame: &[u8]) -> Vec<u8> {
    header_of(&Bytes::copy_from_slice(frame)).to_vec()
}

/// The beginning of a data stream, read and written again.
#[must_use]
pub fn stream_header(bytes: &[u8]) -> Option<Vec<u8>> {
    let layout = Layout::of(Version(1));
    let bytes = bytes.get(..layout.header_bytes())?;
    layout.decode(bytes).map(|header| layout.encode(header))
}

/// The round that the error code of a stopped stream says, and the code that says this round.
#[must_use]
pub fn stop_round(code: u64) -> Option<(u64, u64)> {
    let round = round_of_stop(VarInt::from_u64(code).ok()?);
    Some((round, stop_code(round).into_inner()))
}
