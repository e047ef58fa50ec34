//! The floor's frames: four bytes of length, big-endian, and that many bytes. A connection's first frame
//! is the number of its room, in four bytes, and is answered with an empty one; each later frame is
//! a message, which every connection of the room gets as it is.

use std::io;

use parlance_client::Server;

use super::{Heard, Pipe, Plan, Seat, Wire, broken};
use crate::limits;

/// Appends a frame.
pub fn put(payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("no frame of the load is this long");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Splits the first frame off: its payload and how many bytes it took; `None` when it is not whole.
///
/// # Errors
/// When it is longer than a frame may be.
pub fn split(held: &[u8]) -> io::Result<Option<(&[u8], usize)>> {
    let Some(length) = held.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > limits::FRAME_BYTES_MAX {
        return Err(broken("a frame over the bound"));
    }
    Ok(held.get(4..4 + length).map(|payload| (payload, 4 + length)))
}

/// A member's side of it.
pub(super) struct Framed;

impl Wire for Framed {
    const ACKNOWLEDGES: bool = false;

    async fn prepare(_server: &Server, _plan: &Plan) -> anyhow::Result<()> {
        Ok(())
    }

    async fn join(_server: &Server, pipe: &mut Pipe, seat: Seat) -> anyhow::Result<Self> {
        let room = u32::try_from(seat.room)?;
        put(&room.to_be_bytes(), pipe.out());
        pipe.expect(|held| Ok(split(held)?.map(|(_, took)| (Some(()), took)))).await?;
        Ok(Self)
    }

    fn post(&mut self, _id: u64, body: &[u8], out: &mut Vec<u8>) {
        put(body, out);
    }

    fn hear<'a>(
        &mut self,
        held: &'a [u8],
        _out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard<'a>, usize)>> {
        Ok(split(held)?.map(|(body, took)| (Heard::Message(body), took)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_split_off_only_when_it_is_whole() {
        let mut bytes = Vec::new();
        put(b"one", &mut bytes);
        put(b"", &mut bytes);
        for cut in 0..7 {
            assert_eq!(split(&bytes[..cut]).expect("no error"), None, "cut at {cut}");
        }
        assert_eq!(split(&bytes).expect("a frame"), Some((&b"one"[..], 7)));
        assert_eq!(split(&bytes[7..]).expect("a frame"), Some((&b""[..], 4)));
        assert!(split(&[0xFF; 4]).is_err());
    }
}
