//! The frame of a call's request and answer: its length (u32, big-endian), then its bytes, alone in
//! one direction of a stream.

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};

use crate::limits::{CALL_BYTES_MAX, READ_BYTES_MAX};

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("a frame of {0} bytes is announced, and {CALL_BYTES_MAX} is the most")]
    TooLarge(usize),
    #[error("the frame ends before its length")]
    Short,
    #[error(transparent)]
    Lost(#[from] ReadError),
}

/// Writes one frame and ends the stream.
pub(super) async fn write(stream: &mut SendStream, frame: Bytes) -> Result<(), WriteError> {
    let length = u32::try_from(frame.len()).expect("callers checked the bound of a call");
    let header = Bytes::copy_from_slice(&length.to_be_bytes());
    stream.write_all_chunks(&mut [header, frame]).await?;
    // A stream that is stopped already is as good as ended.
    let _ = stream.finish();
    Ok(())
}

/// Reads one frame. What it announces is checked before anything is kept, and memory is taken as
/// bytes come in, not as they are announced.
pub(super) async fn read(stream: &mut RecvStream) -> Result<Bytes, FrameError> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.map_err(|error| match error {
        ReadExactError::FinishedEarly(_) => FrameError::Short,
        ReadExactError::ReadError(error) => FrameError::Lost(error),
    })?;
    let length = u32::from_be_bytes(header) as usize;
    if length > CALL_BYTES_MAX {
        return Err(FrameError::TooLarge(length));
    }
    let mut frame = BytesMut::new();
    while frame.len() < length {
        let wanted = (length - frame.len()).min(READ_BYTES_MAX);
        let chunk = stream.read_chunk(wanted, true).await?.ok_or(FrameError::Short)?;
        if chunk.bytes.len() == length {
            return Ok(chunk.bytes);
        }
        frame.extend_from_slice(&chunk.bytes);
    }
    Ok(frame.freeze())
}
