//! Calls of Raft and of the directory, and the answers to them.

use parlance_cluster::fuzzing;

/// The bytes are a call, and an answer. What is read is written and read back the same, and
/// takes no more room.
pub fn call(bytes: &[u8]) {
    for read in [fuzzing::call, fuzzing::answer] {
        if let Some(written) = read(bytes) {
            assert!(written.len() <= bytes.len(), "{} bytes of {}", written.len(), bytes.len());
            assert_eq!(read(&written).as_ref(), Some(&written));
        }
    }
}
