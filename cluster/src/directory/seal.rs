//! Checksums of what the directory keeps on disk: a SHA-256 in front of the bytes, over the bytes
//! and what they are. It finds damage, not malice: there is no key.

use aws_lc_rs::digest::{Context, SHA256};

/// Length of a checksum. Half of a SHA-256 is far more than damage by chance can pass.
pub(super) const SEAL_BYTES: usize = 16;

/// The bytes with their checksum in front. `label` says what they are and where they belong, so
/// that sound bytes in the wrong place are found too.
pub(super) fn seal(label: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(SEAL_BYTES + bytes.len());
    sealed.extend_from_slice(&checksum(label, bytes));
    sealed.extend_from_slice(bytes);
    sealed
}

/// The bytes without their checksum; `None` when they are not what was sealed under this label.
pub(super) fn unseal<'a>(label: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (sum, bytes) = sealed.split_at_checked(SEAL_BYTES)?;
    (sum == checksum(label, bytes)).then_some(bytes)
}

fn checksum(label: &[u8], bytes: &[u8]) -> [u8; SEAL_BYTES] {
    let mut hash = Context::new(&SHA256);
    hash.update(&(label.len() as u64).to_be_bytes());
    hash.update(label);
    hash.update(bytes);
    let mut sum = [0; SEAL_BYTES];
    sum.copy_from_slice(&hash.finish().as_ref()[..SEAL_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let sealed = seal(b"label", b"some bytes");
        assert_eq!(unseal(b"label", &sealed), Some(&b"some bytes"[..]));
        assert_eq!(unseal(b"other", &sealed), None);
        for at in 0..sealed.len() {
            assert_eq!(unseal(b"label", &sealed[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut flipped = sealed.clone();
                flipped[at] ^= 1 << bit;
                assert_eq!(unseal(b"label", &flipped), None, "bit {bit} of byte {at}");
            }
        }
    }
}
