//! The bytes of streams between nodes: hellos, openings of passages, and data streams cut into frames.

use parlance_cluster::fuzzing::{self, FrameCutter};

/// The most memory that is taken for what came: as much again, and a little.
const RESERVED_BESIDE: usize = 64;

/// The first byte says how long the pieces are in which the others come.
pub fn link(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    frames(stream, usize::from(*size).max(1));
    if let Some(header) = fuzzing::stream_header(stream) {
        assert_eq!(header, stream[..header.len()]);
    }
    if let Some(opening) = fuzzing::opening(stream) {
        assert_eq!(opening, stream[..opening.len()]);
    }
    if let Some(hello) = fuzzing::hello(stream) {
        let (length, rest) = hello.split_first_chunk().expect("it begins with a length");
        assert_eq!(usize::from(u16::from_be_bytes(*length)), rest.len());
        assert_eq!(rest, &stream[..rest.len()]);
    }
    if let Some(code) = stream.first_chunk()
        && let Some((round, again)) = fuzzing::stop_round(u64::from_be_bytes(*code))
        && round > 0
    {
        assert_eq!(again, u64::from_be_bytes(*code), "of round {round}");
    }
}

/// However a stream is cut, the same frames come out of it, which are what it holds, up to the same
/// fault; and what a frame announces takes no memory.
fn frames(stream: &[u8], size: usize) {
    let (frames, cut) = FrameCutter::default().cut(stream);
    let mut cutter = FrameCutter::default();
    let (mut in_pieces, mut count, mut fault) = (Vec::new(), 0, None);
    let mut came = 0;
    for piece in stream.chunks(size) {
        let (frames, cut) = cutter.cut(piece);
        in_pieces.extend(frames);
        came += piece.len();
        assert!(cutter.reserved() <= 2 * came + RESERVED_BESIDE, "{} bytes", cutter.reserved());
        match cut {
            Ok(frames) => count += frames,
            Err(why) => {
                fault = Some(why);
                break;
            }
        }
    }
    assert_eq!(in_pieces, frames);
    match cut {
        Ok(whole) => assert_eq!((count, fault), (whole, None)),
        Err(why) => assert_eq!(fault, Some(why)),
    }
    let held: Vec<u8> =
        frames.iter().flat_map(|frame| [&*fuzzing::frame_header(frame), frame].concat()).collect();
    assert!(stream.starts_with(&held));
}
