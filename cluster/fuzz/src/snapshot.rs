//! A snapshot's body, as another node sends it: the checksum finds damage and proves nothing.

use parlance_cluster::fuzzing::snapshot_body;

/// The bytes are the body of a snapshot that is whole. It is refused, or restored, written and restored
/// again to the same.
pub fn snapshot(bytes: &[u8]) {
    if let Ok(written) = snapshot_body(bytes) {
        assert_eq!(snapshot_body(&written).as_ref(), Ok(&written));
    }
}
