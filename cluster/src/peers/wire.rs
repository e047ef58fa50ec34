//! The layout of a data stream in each version of its protocol. It begins with the channel (u8) and its round (u64). Then frames
//! follow, each its length (u32) and its bytes. All numbers are big-endian.
//!
//! A receiver that stops a stream says the round that it is in by the error code, so that a sender
//! that is behind joins it at once.

use bytes::{Bytes, BytesMut};
use parlance_actors::ports::peers::{CHANNELS, Channel};

use quinn::VarInt;

use crate::limits::FRAME_BYTES_MAX;
use crate::link::Version;

/// The first error code that says a round.
const STOP_CODES: u64 = 16;
/// The last round that a peer may say. None is ever reached by counting; what is over it would leave
/// no room for the next round, and none in an error code.
const ROUND_MAX: u64 = 1 << 60;
/// Bytes before each frame.
pub(super) const FRAME_HEADER_BYTES: usize = 4;

/// What a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamHeader {
    pub(super) channel: Channel,
    pub(super) round: u64,
}

/// How streams are laid out on a connection. What a later version has otherwise is decided here,
/// for both directions: the connection's own version says which, whatever either node would prefer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    First,
    /// A stream begins with the number of its layout: some difference that the upgrade is tested with.
    #[cfg(any(test, feature = "next-version"))]
    Next,
}

/// What a stream of [`Layout::Next`] begins with.
#[cfg(any(test, feature = "next-version"))]
const NEXT_MARK: u8 = 2;
/// Bytes before the first frame in the first layout.
const STREAM_HEADER_BYTES: usize = 9;

impl Layout {
    pub(super) const fn of(version: Version) -> Self {
        match version.0 {
            #[cfg(any(test, feature = "next-version"))]
            2 => Self::Next,
            _ => Self::First,
        }
    }

    /// Bytes before the first frame.
    pub(super) const fn header_bytes(self) -> usize {
        match self {
            Self::First => STREAM_HEADER_BYTES,
            #[cfg(any(test, feature = "next-version"))]
            Self::Next => 1 + STREAM_HEADER_BYTES,
        }
    }

    pub(super) fn encode(self, header: StreamHeader) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.header_bytes());
        #[cfg(any(test, feature = "next-version"))]
        if self == Self::Next {
            bytes.push(NEXT_MARK);
        }
        bytes.push(header.channel.0);
        bytes.extend_from_slice(&header.round.to_be_bytes());
        bytes
    }

    /// `None` for a channel or a round that does not exist.
    pub(super) fn decode(self, bytes: &[u8]) -> Option<StreamHeader> {
        #[cfg(any(test, feature = "next-version"))]
        let bytes = match self {
            Self::First => bytes,
            Self::Next => bytes.strip_prefix(&[NEXT_MARK])?,
        };
        let [channel, round @ ..] = *<&[u8; STREAM_HEADER_BYTES]>::try_from(bytes).ok()?;
        let round = u64::from_be_bytes(round);
        (channel < CHANNELS && round <= ROUND_MAX)
            .then_some(StreamHeader { channel: Channel(channel), round })
    }
}

/// The error code of a stream that is stopped by an end that is in this round. The codes below are
/// those of connections.
pub(super) fn stop_code(round: u64) -> VarInt {
    VarInt::from_u64(STOP_CODES + round).unwrap_or(VarInt::MAX)
}

/// The round that such a code says; 0 for another code, and for a round that does not exist.
pub(super) fn round_of_stop(code: VarInt) -> u64 {
    let round = code.into_inner().saturating_sub(STOP_CODES);
    if round <= ROUND_MAX { round } else { 0 }
}

/// What stands before a frame.
pub(super) fn frame_header(frame: &Bytes) -> [u8; FRAME_HEADER_BYTES] {
    u32::try_from(frame.len()).expect("senders checked the bound of a frame").to_be_bytes()
}

/// Why a stream is not read on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Bad {
    #[error("a frame of {0} bytes is announced, and {FRAME_BYTES_MAX} is the most")]
    TooLarge(usize),
    #[error("{0}")]
    Malformed(String),
}

/// Cuts what a stream brings into frames.
#[derive(Default)]
pub(super) struct Cutter {
    /// The beginning of a frame whose end is not here yet, header included.
    begun: BytesMut,
}

impl Cutter {
    /// Takes what came and gives every whole frame to `take`. Returns how many there were. A
    /// frame over the bound is refused by its header.
    pub(super) fn cut(
        &mut self,
        mut came: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), Bad>,
    ) -> Result<u64, Bad> {
        let mut frames = 0;
        while !self.begun.is_empty() && !came.is_empty() {
            let wanted = match length(&self.begun)? {
                None => FRAME_HEADER_BYTES - self.begun.len(),
                Some(length) => FRAME_HEADER_BYTES + length - self.begun.len(),
            };
            let (head, rest) = came.split_at(wanted.min(came.len()));
            self.begun.extend_from_slice(head);
            came = rest;
            if let Some(length) = length(&self.begun)?
                && self.begun.len() == FRAME_HEADER_BYTES + length
            {
                take(&self.begun[FRAME_HEADER_BYTES..])?;
                self.begun.clear();
                frames += 1;
            }
        }
        while let Some(length) = length(came)? {
            let Some(frame) = came.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + length) else {
                break;
            };
            take(frame)?;
            frames += 1;
            came = &came[FRAME_HEADER_BYTES + length..];
        }
        self.begun.extend_from_slice(came);
        Ok(frames)
    }

    /// Bytes of memory that it holds.
    #[cfg(feature = "fuzzing")]
    pub(super) fn reserved(&self) -> usize {
        self.begun.capacity()
    }
}

/// The length that a header announces; `None` while the header is not whole.
fn length(begun: &[u8]) -> Result<Option<usize>, Bad> {
    let Some(header) = begun.first_chunk() else { return Ok(None) };
    let length = u32::from_be_bytes(*header) as usize;
    if length > FRAME_BYTES_MAX { Err(Bad::TooLarge(length)) } else { Ok(Some(length)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(cutter: &mut Cutter, came: &[u8]) -> Result<Vec<Vec<u8>>, Bad> {
        let mut frames = Vec::new();
        cutter.cut(came, |frame| {
            frames.push(frame.to_vec());
            Ok(())
        })?;
        Ok(frames)
    }

    #[test]
    fn the_bytes_of_a_stream_do_not_change() {
        let header = StreamHeader { channel: Channel(3), round: 0x0102 };
        let golden = [3, 0, 0, 0, 0, 0, 0, 1, 2];
        assert_eq!(stop_code(7), VarInt::from_u32(23));
        assert_eq!(round_of_stop(stop_code(7)), 7);
        assert_eq!(round_of_stop(VarInt::from_u32(3)), 0);
        let first = Layout::of(Version(1));
        assert_eq!(first.encode(header), golden);
        assert_eq!(first.decode(&golden), Some(header));
        let mut unknown = golden;
        unknown[0] = CHANNELS;
        assert_eq!(first.decode(&unknown), None);
        assert_eq!(frame_header(&Bytes::from(vec![0; 0x0001_0203])), [0, 1, 2, 3]);
    }

    #[test]
    fn a_round_that_leaves_no_room_for_the_next_one_is_refused() {
        for layout in [Layout::First, Layout::Next] {
            let decoded =
                |round| layout.decode(&layout.encode(StreamHeader { channel: Channel(3), round }));
            assert!(decoded(ROUND_MAX).is_some());
            for round in [ROUND_MAX + 1, u64::MAX] {
                assert_eq!(decoded(round), None);
            }
        }
        // The round after the last one can be said.
        assert!(stop_code(ROUND_MAX + 1) < VarInt::MAX);
        assert_eq!(round_of_stop(stop_code(ROUND_MAX)), ROUND_MAX);
        assert_eq!(round_of_stop(VarInt::MAX), 0);
    }

    #[test]
    fn streams_of_another_version_are_not_mistaken_for_each_other() {
        let header = StreamHeader { channel: Channel(2), round: 7 };
        let (first, next) = (Layout::of(Version(1)), Layout::of(Version(2)));
        assert_ne!(first, next);
        assert_eq!(next.decode(&next.encode(header)), Some(header));
        assert_eq!(first.decode(&next.encode(header)), None);
        assert_eq!(next.decode(&first.encode(header)), None);
        assert_eq!(first.encode(header).len(), first.header_bytes());
        assert_eq!(next.encode(header).len(), next.header_bytes());
    }

    #[test]
    fn a_frame_over_the_bound_is_refused_by_its_header() {
        let announced = u32::try_from(FRAME_BYTES_MAX + 1).expect("fits").to_be_bytes();
        assert!(matches!(cut(&mut Cutter::default(), &announced), Err(Bad::TooLarge(_))));
        let mut cutter = Cutter::default();
        assert!(cut(&mut cutter, &announced[..3]).expect("not known yet").is_empty());
        assert!(matches!(cut(&mut cutter, &announced[3..]), Err(Bad::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            cuts in proptest::collection::vec(1_usize..60, 1..40),
        ) {
            let mut bytes = Vec::new();
            for frame in &frames {
                bytes.extend_from_slice(&frame_header(&Bytes::from(frame.clone())));
                bytes.extend_from_slice(frame);
            }
            let (mut cutter, mut out, mut rest) = (Cutter::default(), Vec::new(), &bytes[..]);
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let at = cuts.next().expect("endless").min(rest.len());
                out.extend(cut(&mut cutter, &rest[..at]).expect("sound"));
                rest = &rest[at..];
            }
            prop_assert_eq!(out, frames);
        }
    }
}
