//! At-rest encryption of event bodies: AES-256-GCM with an extended nonce (XAES-256-GCM).
//!
//! **Why extended.** With plain AES-256-GCM and random 96-bit nonces one key is good for 2^32
//! messages (NIST SP 800-38D, 8.3), which one busy tenant writes within a year. Here every
//! message gets a random 192-bit nonce: the first half derives a key for this message (NIST
//! SP 800-108r1 in counter mode with CMAC), the second half is its GCM nonce. That is
//! XAES-256-GCM of C2SP, `<https://c2sp.org/XAES-256-GCM>`. One ring key is good for 2^80
//! messages at a collision risk of 2^-32, so no counter has to be kept and no rotation is ever
//! forced by volume. The price is 40 bytes a body and two more AES blocks with a key schedule.
//!
//! **Stored form.** 24 bytes of nonce, the ciphertext, 16 bytes of tag. The id of the ring key
//! stands in the row's own column.
//!
//! **What it protects.** Whoever reads the disk, a dump or a backup reads no body, and cannot move
//! a sealed body to another row: its place is authenticated ([`EventAad`]). It does not hide
//! who wrote when and where, nor does it stop somebody who can write to the database from
//! replacing a sealed body by an unsealed one: rows written before encryption was switched on
//! must stay readable.
//!
//! Files of keys are the business of [`crate::keyring`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{cmac, rand};
use parking_lot::{Mutex, RwLock};
use parlance_actors::vocab::{Key, RoomId, TenantId, UserId};
use zeroize::Zeroizing;

use crate::keyring::{KeyRing, KeyRingError, RING_CHECK, RingStamp};

/// Bytes of the random nonce in front of a sealed body.
const XNONCE_BYTES: usize = 24;
/// Bytes of nonce that go into the derivation of the message's key.
const DERIVE_BYTES: usize = XNONCE_BYTES - NONCE_LEN;
/// Bytes of the tag behind a sealed body.
const TAG_BYTES: usize = 16;
/// How many bytes longer a sealed body is.
const SEAL_OVERHEAD_BYTES: usize = XNONCE_BYTES + TAG_BYTES;

/// Why a stored body does not open. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptError {
    /// The row names a key that the key ring does not hold. Retrying helps once the ring has it.
    #[error("a body is sealed with key {key}, but the key ring holds {held}")]
    UnknownKey {
        /// The key's id.
        key: i32,
        /// Which ids there are, in words.
        held: String,
    },
    /// The body is not what was sealed for this row under this key: it was changed, cut or moved.
    /// Retrying does not help.
    #[error("a body sealed with key {key} was changed, cut or moved from another row")]
    Tampered {
        /// The key's id.
        key: i32,
    },
}

/// The place that a sealed body belongs to: tenant, room, sender and the sender's key, which
/// together name one row for ever. All parts have a fixed width, so no two places read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventAad([u8; EventAad::BYTES]);

impl EventAad {
    const BYTES: usize = 4 + 3 * 16;

    /// The place of one event's body.
    #[must_use]
    pub fn new(tenant: TenantId, room: RoomId, sender: UserId, key: Key) -> Self {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&tenant.0.to_be_bytes());
        bytes[4..20].copy_from_slice(room.0.as_bytes());
        bytes[20..36].copy_from_slice(sender.0.as_bytes());
        bytes[36..].copy_from_slice(key.0.as_bytes());
        Self(bytes)
    }
}

impl AsRef<[u8]> for EventAad {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Seals and opens bodies. Off until a key ring is configured.
///
/// A ring that comes from a file is read again when the file has changed: at most every
/// [`RING_CHECK`] while sealing, and at once when a row names an unknown key. So a rotation
/// needs no restart, and a row that another process sealed with a newer key can be read.
#[derive(Clone, Default)]
pub struct Crypt {
    live: Option<Arc<Live>>,
}

struct Live {
    keys: RwLock<Arc<RingKeys>>,
    file: Option<Mutex<RingFile>>,
}

/// The file behind a ring and what was last seen of it.
struct RingFile {
    path: PathBuf,
    seen: RingStamp,
    checked_at: Instant,
    /// The file changed and could not be read; said once, the earlier ring stays in use.
    broken: bool,
}

struct RingKeys {
    newest: i32,
    by_id: BTreeMap<i32, RootKey>,
}

/// A ring key, ready to derive the keys of messages. AWS-LC wipes its copy when it is freed.
struct RootKey(cmac::Key);

impl fmt::Debug for Crypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.newest() {
            Some(newest) => write!(f, "Crypt(seals with key {newest})"),
            None => f.write_str("Crypt(off)"),
        }
    }
}

impl Crypt {
    /// Seals nothing; rows that are sealed do not open.
    #[must_use]
    pub const fn off() -> Self {
        Self { live: None }
    }

    /// Seals with the newest key of `ring` and opens with all of them.
    #[must_use]
    pub fn with_ring(ring: &KeyRing) -> Self {
        let keys = RwLock::new(Arc::new(RingKeys::of(ring)));
        Self { live: Some(Arc::new(Live { keys, file: None })) }
    }

    /// Reads the ring in `path` and follows the file from then on.
    ///
    /// # Errors
    /// What [`KeyRing::load`] says.
    pub fn from_file(path: &Path) -> Result<Self, KeyRingError> {
        let (ring, seen) = KeyRing::load_with_stamp(path)?;
        let file =
            RingFile { path: path.to_path_buf(), seen, checked_at: Instant::now(), broken: false };
        let keys = RwLock::new(Arc::new(RingKeys::of(&ring)));
        Ok(Self { live: Some(Arc::new(Live { keys, file: Some(Mutex::new(file)) })) })
    }

    /// The key that seals, or `None` when encryption is off.
    #[must_use]
    pub fn newest(&self) -> Option<i32> {
        self.live.as_ref().map(|live| live.keys.read().newest)
    }

    /// Whether a body that was sealed with this key can be opened.
    #[must_use]
    pub fn holds(&self, key: i32) -> bool {
        self.live.as_ref().is_some_and(|live| live.keys.read().by_id.contains_key(&key))
    }

    /// Seals a body for the place `aad`; gives the key's id and what to store. When encryption
    /// is off that is `None` and the body itself.
    #[must_use]
    pub fn seal(&self, aad: &[u8], plain: &[u8]) -> (Option<i32>, Vec<u8>) {
        let Some(live) = &self.live else { return (None, plain.to_vec()) };
        live.follow_file(Follow::WhenDue);
        let keys = live.keys.read().clone();
        let root = keys.by_id.get(&keys.newest).expect("a ring holds its newest key");
        let mut xnonce = [0; XNONCE_BYTES];
        rand::fill(&mut xnonce).expect("the system's random source works");
        (Some(keys.newest), root.seal(&xnonce, aad, plain))
    }

    /// Opens what [`Crypt::seal`] gave; a body without a key is returned as it is.
    ///
    /// # Errors
    /// [`CryptError`]; nothing of an unauthentic body is ever returned.
    pub fn open(
        &self,
        key: Option<i32>,
        aad: &[u8],
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, CryptError> {
        let Some(key) = key else { return Ok(stored) };
        let Some(live) = &self.live else {
            return Err(CryptError::UnknownKey { key, held: "none: encryption is off".into() });
        };
        let mut keys = live.keys.read().clone();
        if !keys.by_id.contains_key(&key) && live.follow_file(Follow::Now) {
            keys = live.keys.read().clone();
        }
        let root = keys
            .by_id
            .get(&key)
            .ok_or_else(|| CryptError::UnknownKey { key, held: keys.names() })?;
        root.open(aad, stored).ok_or(CryptError::Tampered { key })
    }
}

/// When the file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// If the last look was [`RING_CHECK`] ago.
    WhenDue,
    /// Now: a key is missing.
    Now,
}

impl Live {
    /// Reads the ring again if its file changed; whether it did. Looking costs one `stat`.
    fn follow_file(&self, when: Follow) -> bool {
        let Some(file) = &self.file else { return false };
        let mut file = match when {
            // Somebody else is looking already: the ring at hand will do.
            Follow::WhenDue => match file.try_lock() {
                Some(file) => file,
                None => return false,
            },
            Follow::Now => file.lock(),
        };
        if when == Follow::WhenDue && file.checked_at.elapsed() < RING_CHECK {
            return false;
        }
        file.checked_at = Instant::now();
        if RingStamp::of(&file.path).is_ok_and(|stamp| stamp == file.seen) {
            // Another caller may have read it while this one waited for the lock.
            return true;
        }
        match KeyRing::load_with_stamp(&file.path) {
            Ok((ring, seen)) => {
                file.seen = seen;
                file.broken = false;
                *self.keys.write() = Arc::new(RingKeys::of(&ring));
                true
            }
            Err(error) => {
                if !file.broken {
                    tracing::warn!(%error, "the key ring changed and cannot be read; the earlier one stays in use");
                }
                file.broken = true;
                false
            }
        }
    }
}

impl RingKeys {
    fn of(ring: &KeyRing) -> Self {
        let by_id = ring.keys().map(|(id, key)| (id, RootKey::new(key))).collect();
        Self { newest: ring.newest(), by_id }
    }

    fn names(&self) -> String {
        let ids: Vec<String> = self.by_id.keys().map(i32::to_string).collect();
        ids.join(", ")
    }
}

impl RootKey {
    fn new(key: &[u8; 32]) -> Self {
        Self(cmac::Key::new(cmac::AES_256, key).expect("32 bytes are an AES-256 key"))
    }

    fn seal(&self, xnonce: &[u8; XNONCE_BYTES], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let (key, nonce) = self.derive(xnonce);
        let mut stored = Vec::with_capacity(plain.len() + SEAL_OVERHEAD_BYTES);
        stored.extend_from_slice(xnonce);
        stored.extend_from_slice(plain);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut stored[XNONCE_BYTES..])
            .expect("a body is far below the 64 GiB that GCM seals");
        stored.extend_from_slice(tag.as_ref());
        stored
    }

    fn open(&self, aad: &[u8], mut stored: Vec<u8>) -> Option<Vec<u8>> {
        let (xnonce, sealed) = stored.split_first_chunk_mut::<XNONCE_BYTES>()?;
        let (key, nonce) = self.derive(xnonce);
        let length = key.open_in_place(nonce, Aad::from(aad), sealed).ok()?.len();
        stored.copy_within(XNONCE_BYTES..XNONCE_BYTES + length, 0);
        stored.truncate(length);
        Some(stored)
    }

    /// The key and the nonce of the message with this extended nonce.
    fn derive(&self, xnonce: &[u8; XNONCE_BYTES]) -> (LessSafeKey, Nonce) {
        let mut derived = Zeroizing::new([0; 32]);
        for (counter, half) in (1_u8..).zip(derived.chunks_exact_mut(16)) {
            let mut block = [0; 16];
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(&xnonce[..DERIVE_BYTES]);
            cmac::sign_to_buffer(&self.0, &block, half).expect("a CMAC tag has 16 bytes");
        }
        let key = UnboundKey::new(&AES_256_GCM, derived.as_slice())
            .expect("32 bytes are an AES-256-GCM key");
        let nonce = Nonce::try_assume_unique_for_key(&xnonce[DERIVE_BYTES..])
            .expect("the rest of an extended nonce has 12 bytes");
        (LessSafeKey::new(key), nonce)
    }
}

#[cfg(test)]
mod tests;
