//! Frames of actors between nodes, presence among them.

use parlance_actors::fuzzing;
use parlance_actors::ports::peers::Malformed;

/// The longest reason why a frame is none, in bytes; it goes into a log line.
const REASON_BYTES_MAX: usize = 4 * 1024;

/// How much longer a frame may become when it is written again: the bodies of some events are JSON, which can
/// be written shorter. A part that is read twice would make it longer than that.
const GROWTH_MAX: usize = 2;

/// The bytes are a frame; and a frame of presence, alone and in an envelope. It makes no difference where
/// in memory they begin. What is read is written and read back the same.
pub fn envelope(bytes: &[u8]) {
    check(bytes, |bytes| fuzzing::frame(bytes).map(Vec::from));
    check(bytes, |bytes| fuzzing::presence(bytes).map(Vec::from));
    let inside = fuzzing::frame(&fuzzing::in_envelope(bytes));
    assert_eq!(inside.is_ok(), fuzzing::presence(bytes).is_ok());
}

fn check(bytes: &[u8], read: impl Fn(&[u8]) -> Result<Vec<u8>, Malformed>) {
    let read = |bytes: &[u8]| read(bytes).map_err(|Malformed(reason)| reason);
    let decoded = read(bytes);
    let elsewhere = [&[0], bytes].concat();
    assert_eq!(read(&elsewhere[1..]).is_ok(), decoded.is_ok());
    match decoded {
        Ok(written) => {
            assert!(written.len() <= GROWTH_MAX * bytes.len(), "{} bytes", written.len());
            assert_eq!(read(&written).as_ref(), Ok(&written));
        }
        Err(reason) => assert!(reason.len() <= REASON_BYTES_MAX, "{} bytes", reason.len()),
    }
}
