//! The cluster secret: what seals everything that the database must not be able to read.
//! It is generated, or configured and then checked for being a secret at all. It stores nothing.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const BYTES_MIN: usize = 32;
const NONCE_BYTES: usize = 12;
/// Of 32 random bytes fewer than this many differ once in far more than 10^12 secrets.
const DISTINCT_MIN: usize = 16;

/// At least 32 bytes that only this cluster's nodes know.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ClusterSecret(Vec<u8>);

/// Why a text is not taken as a cluster secret. Nothing was changed; another text is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakSecret {
    /// Not an encoding of bytes.
    #[error(
        "the cluster secret is neither hexadecimal nor base64; `openssl rand -base64 32` makes one"
    )]
    NotEncoded,
    /// Under 32 bytes.
    #[error("the cluster secret has {0} bytes; at least 32 are needed")]
    Short(usize),
    /// A word from an example.
    #[error(
        "the cluster secret holds {0:?}, which is a placeholder; `openssl rand -base64 32` makes a real one"
    )]
    Placeholder(&'static str),
    /// Repeats or counts.
    #[error(
        "the cluster secret is not random: it repeats or counts; `openssl rand -base64 32` makes a real one"
    )]
    NotRandom,
}

const PLACEHOLDERS: [&str; 10] = [
    "changeme",
    "change_me",
    "change-me",
    "secret",
    "password",
    "placeholder",
    "example",
    "default",
    "replace",
    "parlance",
];

impl ClusterSecret {
    /// A new one from the system's random numbers, which [`ClusterSecret::parse`] accepts.
    #[must_use]
    pub fn generate() -> Self {
        loop {
            let mut bytes = Zeroizing::new([0; BYTES_MIN]);
            rand::fill(&mut bytes[..]).expect("the system has random numbers");
            // Once in some ten million the text happens to hold one of the placeholders.
            let text = Zeroizing::new(STANDARD.encode(&bytes[..]));
            if let Ok(secret) = Self::parse(&text) {
                return secret;
            }
        }
    }

    /// Reads a configured secret: hexadecimal or base64 of at least 32 random bytes.
    ///
    /// # Errors
    /// [`WeakSecret`] with what is wrong, never with the text itself.
    pub fn parse(text: &str) -> Result<Self, WeakSecret> {
        let text = text.trim();
        let lower = Zeroizing::new(text.to_lowercase());
        if let Some(word) = PLACEHOLDERS.into_iter().find(|word| lower.contains(word)) {
            return Err(WeakSecret::Placeholder(word));
        }
        let bytes = decode(text).ok_or(WeakSecret::NotEncoded)?;
        if bytes.len() < BYTES_MIN {
            return Err(WeakSecret::Short(bytes.len()));
        }
        if !looks_random(&bytes) || !looks_random(text.as_bytes()) {
            return Err(WeakSecret::NotRandom);
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The text that [`ClusterSecret::parse`] reads, for the file that keeps it.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&self.0))
    }

    /// A key for one purpose (HKDF-SHA-256, RFC 5869).
    pub(crate) fn derive(&self, purpose: &str) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        hkdf::Salt::new(hkdf::HKDF_SHA256, b"parlance/1")
            .extract(&self.0)
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(&mut key[..]))
            .expect("32 bytes are one block of SHA-256");
        key
    }

    /// Seals bytes for one purpose and one row (AES-256-GCM, the nonce in front).
    pub(crate) fn seal(&self, purpose: &str, row: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .cipher(purpose)
            .seal_in_place_append_tag(Aad::from(row), &mut sealed)
            .expect("AES-GCM takes a few bytes");
        [&nonce.as_ref()[..], &sealed].concat()
    }

    /// Opens what [`ClusterSecret::seal`] made; `None` when the secret, purpose or row is another.
    pub(crate) fn open(
        &self,
        purpose: &str,
        row: &[u8],
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length =
            self.cipher(purpose).open_in_place(nonce, Aad::from(row), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }

    fn cipher(&self, purpose: &str) -> RandomizedNonceKey {
        RandomizedNonceKey::new(&AES_256_GCM, &self.derive(purpose)[..])
            .expect("AES-256 takes 32 bytes")
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).ok();
        return (0..text.len())
            .step_by(2)
            .map(pair)
            .collect::<Option<Vec<_>>>()
            .map(Zeroizing::new);
    }
    [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD]
        .iter()
        .find_map(|engine| engine.decode(text).ok())
        .map(Zeroizing::new)
}

/// Sane, not a proof: enough different bytes, no period, no constant step.
fn looks_random(bytes: &[u8]) -> bool {
    let mut seen = [false; 256];
    bytes.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let distinct = seen.iter().filter(|seen| **seen).count();
    // A text in hexadecimal has only 16 characters to choose from.
    let enough =
        if bytes.iter().all(u8::is_ascii_hexdigit) { DISTINCT_MIN / 2 } else { DISTINCT_MIN };
    let periodic = (1..=bytes.len() / 2)
        .any(|period| bytes.iter().zip(&bytes[period..]).all(|(one, other)| one == other));
    let counts = bytes.windows(3).all(|w| w[1].wrapping_sub(w[0]) == w[2].wrapping_sub(w[1]));
    distinct >= enough && !periodic && !counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_accepted_as_configured() {
        for _ in 0..200 {
            let secret = ClusterSecret::generate();
            let read = ClusterSecret::parse(&secret.to_text()).expect("random");
            assert_eq!(read.0, secret.0);
            let hex: String = secret.0.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(ClusterSecret::parse(&hex).expect("random").0, secret.0);
        }
    }

    #[test]
    fn weak_and_placeholder_secrets_are_refused() {
        let weak = [
            ("changeme", "placeholder"),
            ("ChangeMeChangeMeChangeMeChangeMeChangeMeChangeMe", "placeholder"),
            ("!!", "neither"),
            ("QUJD", "3 bytes"),
            (&"0".repeat(64), "not random"),
            (&"ab".repeat(32), "not random"),
            (&"0123456789abcdef".repeat(4), "not random"),
            ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "not random"),
        ];
        for (text, why) in weak {
            let error = ClusterSecret::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_sealed_key_opens_only_with_its_secret_purpose_and_row() {
        let secret = ClusterSecret::generate();
        let sealed = secret.seal("a", b"row", b"plain");
        assert_eq!(
            secret.open("a", b"row", &sealed).as_deref().map(|v| &v[..]),
            Some(&b"plain"[..])
        );
        assert!(secret.open("b", b"row", &sealed).is_none());
        assert!(secret.open("a", b"other", &sealed).is_none());
        assert!(ClusterSecret::generate().open("a", b"row", &sealed).is_none());
        assert!(secret.open("a", b"row", &sealed[..5]).is_none());
        assert!(!format!("{secret:?}").contains(&*secret.to_text()));
    }
}
