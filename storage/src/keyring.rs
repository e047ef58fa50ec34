//! The key ring file: the keys for `crypt`, and what `parlance keys` does with them.
//!
//! One key a line: `id created base64`, with `#` for comments. Only its owner may read the file
//! (mode 600), it is always replaced as a whole, and a key's bytes are wiped from memory after
//! use and appear in no error and no `Debug`. Rewriting rows is the business of
//! `reseal`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parlance_actors::vocab::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

/// Keys in one ring: a rotation every month for five years. Old ones go with `keys remove`.
pub const KEYS_MAX: usize = 60;
/// A ring file's size: every key and a comment for each.
pub const RING_BYTES_MAX: u64 = 64 * 1024;
/// How often a sealing server looks whether the file changed.
pub const RING_CHECK: Duration = Duration::from_secs(5);
/// A key stays in the ring for this long after the next one was made, so that every server seals
/// with the newer one before the older one goes: many times [`RING_CHECK`], and time to copy
/// the file to the other nodes.
pub const REMOVAL_REST: Duration = Duration::from_secs(10 * 60);

const KEY_BYTES: usize = 32;
/// Length of a key in base64.
const KEY_TEXT_BYTES: usize = KEY_BYTES.div_ceil(3) * 4;
const HEADER: &str = "# Parlance key ring: id, date, AES-256 key in base64. The highest id seals, all open.\n\
                      # Without these keys sealed messages are lost: keep a copy, apart from the database's.\n";

const _: () = assert!(RING_CHECK.as_secs() * 10 < REMOVAL_REST.as_secs());
const _: () = assert!(KEYS_MAX as u64 * 256 < RING_BYTES_MAX);

/// Why a key ring was not read or changed. Unless said otherwise nothing was changed, and a
/// retry helps once the named thing is mended.
#[derive(Debug, thiserror::Error)]
pub enum KeyRingError {
    /// The file cannot be read or written.
    #[error("key ring {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others than the owner may read the file.
    #[error("key ring {path} has mode {mode:o}; only its owner may read it: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key ring. The text of the line is not shown, it may be a key.
    #[error("key ring {path}, line {line}: {why}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 0 for the whole file.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// `generate` makes the first key only.
    #[error("key ring {path} exists already; add a key with `parlance keys rotate`")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another command is changing the ring at this moment.
    #[error("key ring {path} is being changed by another command")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The ring is full.
    #[error("the key ring holds {KEYS_MAX} keys already; remove unused ones first")]
    Full,
    /// There is no such key.
    #[error("the key ring holds no key {id}")]
    NoSuchKey {
        /// The id.
        id: i32,
    },
    /// The newest key seals and cannot go.
    #[error("key {id} is the one that seals; rotate before removing it")]
    Seals {
        /// The id.
        id: i32,
    },
    /// Rows are sealed with the key.
    #[error("key {id} is still used by stored messages; run `parlance keys reseal` first")]
    InUse {
        /// The id.
        id: i32,
    },
    /// Servers may still seal with the key.
    #[error("key {id} was replaced only just now and a server may still use it; wait {wait_s} s")]
    TooSoon {
        /// The id.
        id: i32,
        /// How long to wait, in seconds.
        wait_s: u64,
    },
}

/// What may be known about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: i32,
    /// When it was made, to the second.
    pub created_at: Timestamp,
    /// It is the newest: it seals.
    pub seals: bool,
}

struct RingKey {
    created_at: Timestamp,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// The keys of a ring, never empty.
pub struct KeyRing {
    by_id: BTreeMap<i32, RingKey>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_id.keys()).finish()
    }
}

/// What tells one version of the file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RingStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl RingStamp {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|meta| Self::from_metadata(&meta))
    }

    fn from_metadata(meta: &std::fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            changed: (meta.mtime(), meta.mtime_nsec()),
        }
    }
}

impl KeyRing {
    /// Reads a ring.
    ///
    /// # Errors
    /// When the file is missing, open to others, or not a key ring.
    pub fn load(path: &Path) -> Result<Self, KeyRingError> {
        Self::load_with_stamp(path).map(|(ring, _)| ring)
    }

    /// Reads a ring, and what its file looked like.
    pub(crate) fn load_with_stamp(path: &Path) -> Result<(Self, RingStamp), KeyRingError> {
        let at = |error| KeyRingError::Io { path: path.to_path_buf(), error };
        let file = File::open(path).map_err(at)?;
        // Of the opened file, not of the path: the file may be replaced at any time.
        let meta = file.metadata().map_err(at)?;
        let mode = meta.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyRingError::Exposed { path: path.to_path_buf(), mode });
        }
        let whole = |why| KeyRingError::Unreadable { path: path.to_path_buf(), line: 0, why };
        if !meta.is_file() {
            return Err(whole("it is not a regular file"));
        }
        if meta.len() > RING_BYTES_MAX {
            return Err(whole("it is too large for a key ring"));
        }
        // The room is taken at once: a string that grows would leave copies of keys behind.
        let room = usize::try_from(RING_BYTES_MAX).expect("64 KiB fit in memory") + 1;
        let mut text = Zeroizing::new(String::with_capacity(room));
        file.take(RING_BYTES_MAX).read_to_string(&mut text).map_err(at)?;
        Ok((Self::parse(path, &text)?, RingStamp::from_metadata(&meta)))
    }

    /// Makes a ring of one key in a new file.
    ///
    /// # Errors
    /// [`KeyRingError::Exists`] when there is a file already.
    pub fn generate(path: &Path, now: Timestamp) -> Result<KeyInfo, KeyRingError> {
        let _lock = lock(path)?;
        if path.try_exists().map_err(|error| KeyRingError::Io { path: path.into(), error })? {
            return Err(KeyRingError::Exists { path: path.to_path_buf() });
        }
        let mut ring = Self { by_id: BTreeMap::new() };
        ring.add(now)?;
        ring.replace(path)?;
        Ok(ring.info(1))
    }

    /// Adds a key, which seals from now on. The earlier ones keep opening.
    ///
    /// # Errors
    /// What [`KeyRing::load`] says, and [`KeyRingError::Full`].
    pub fn rotate(path: &Path, now: Timestamp) -> Result<KeyInfo, KeyRingError> {
        let _lock = lock(path)?;
        let mut ring = Self::load(path)?;
        let id = ring.add(now)?;
        ring.replace(path)?;
        Ok(ring.info(id))
    }

    /// Removes a key that no row uses any more: whoever calls has counted (`in_use`).
    ///
    /// # Errors
    /// When the key seals, is in use, is unknown, or was replaced less than [`REMOVAL_REST`] ago.
    pub fn remove(
        path: &Path,
        id: i32,
        in_use: bool,
        now: Timestamp,
    ) -> Result<KeyInfo, KeyRingError> {
        let _lock = lock(path)?;
        let mut ring = Self::load(path)?;
        ring.removable(id, now)?;
        if in_use {
            return Err(KeyRingError::InUse { id });
        }
        let info = ring.info(id);
        ring.by_id.remove(&id);
        ring.replace(path)?;
        Ok(info)
    }

    /// Whether a key may go if no row uses it. Asked before rows are looked through.
    ///
    /// # Errors
    /// When the key seals, is unknown, or was replaced less than [`REMOVAL_REST`] ago.
    pub fn removable(&self, id: i32, now: Timestamp) -> Result<(), KeyRingError> {
        if !self.by_id.contains_key(&id) {
            return Err(KeyRingError::NoSuchKey { id });
        }
        let Some((_, next)) = self.by_id.range(id + 1..).next() else {
            return Err(KeyRingError::Seals { id });
        };
        let rested = Duration::from_millis(
            u64::try_from(now.0.saturating_sub(next.created_at.0)).unwrap_or(0),
        );
        match REMOVAL_REST.checked_sub(rested) {
            Some(wait) if !wait.is_zero() => {
                Err(KeyRingError::TooSoon { id, wait_s: wait.as_millis().div_ceil(1000) as u64 })
            }
            _ => Ok(()),
        }
    }

    /// What may be known about every key, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<KeyInfo> {
        self.by_id.keys().map(|id| self.info(*id)).collect()
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn newest(&self) -> i32 {
        *self.by_id.last_key_value().expect("a ring is never empty").0
    }

    /// The keys themselves, for `crypt` alone.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (i32, &[u8; KEY_BYTES])> {
        self.by_id.iter().map(|(id, key)| (*id, &*key.bytes))
    }

    fn info(&self, id: i32) -> KeyInfo {
        let key = self.by_id.get(&id).expect("the caller took the id from the ring");
        KeyInfo { id, created_at: key.created_at, seals: id == self.newest() }
    }

    /// Adds a random key with the next id. The newest key never goes, so no id comes twice.
    fn add(&mut self, now: Timestamp) -> Result<i32, KeyRingError> {
        if self.by_id.len() >= KEYS_MAX {
            return Err(KeyRingError::Full);
        }
        let id = self.by_id.last_key_value().map_or(1, |(newest, _)| newest + 1);
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).expect("the system's random source works");
        let created_at = Timestamp(now.0 - now.0.rem_euclid(1000));
        self.by_id.insert(id, RingKey { created_at, bytes });
        Ok(id)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, KeyRingError> {
        let mut by_id = BTreeMap::new();
        for (line, content) in (1..).zip(text.lines()) {
            let wrong = |why| KeyRingError::Unreadable { path: path.to_path_buf(), line, why };
            let content = content.split('#').next().unwrap_or_default().trim();
            if content.is_empty() {
                continue;
            }
            let (id, key) = parse_line(content).map_err(wrong)?;
            if by_id.insert(id, key).is_some() {
                return Err(wrong("this id stands in the file twice"));
            }
        }
        let whole = |why| KeyRingError::Unreadable { path: path.to_path_buf(), line: 0, why };
        if by_id.is_empty() {
            return Err(whole("it holds no key"));
        }
        if by_id.len() > KEYS_MAX {
            return Err(whole("it holds too many keys"));
        }
        Ok(Self { by_id })
    }

    fn text(&self) -> Zeroizing<String> {
        let line = 11 + 1 + 32 + 1 + KEY_TEXT_BYTES + 1;
        let mut text =
            Zeroizing::new(String::with_capacity(HEADER.len() + line * self.by_id.len()));
        text.push_str(HEADER);
        let mut base64 = Zeroizing::new([0; KEY_TEXT_BYTES]);
        for (id, key) in &self.by_id {
            let created = OffsetDateTime::from_unix_timestamp(key.created_at.0 / 1000)
                .ok()
                .and_then(|at| at.format(&Rfc3339).ok())
                .expect("the clock is within the years that RFC 3339 writes");
            STANDARD
                .encode_slice(key.bytes.as_slice(), base64.as_mut_slice())
                .expect("44 bytes hold 32 in base64");
            let base64 = std::str::from_utf8(base64.as_slice()).expect("base64 is ASCII");
            for part in [id.to_string().as_str(), " ", &created, " ", base64, "\n"] {
                text.push_str(part);
            }
        }
        text
    }

    /// Replaces the file as a whole: after a crash there is the old one or the new one.
    fn replace(&self, path: &Path) -> Result<(), KeyRingError> {
        let write = || {
            let fresh = beside(path, ".new");
            match std::fs::remove_file(&fresh) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(self.text().as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&fresh, path)?;
            File::open(folder(path))?.sync_all()
        };
        write().map_err(|error| KeyRingError::Io { path: path.to_path_buf(), error })
    }
}

fn parse_line(content: &str) -> Result<(i32, RingKey), &'static str> {
    let mut fields = content.split_whitespace();
    let (Some(id), Some(created), Some(base64), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err("a line has three fields: id, date, key");
    };
    let id = id.parse().ok().filter(|id| (1..i32::MAX).contains(id));
    let id = id.ok_or("the id is not a whole number from 1")?;
    let created = OffsetDateTime::parse(created, &Rfc3339)
        .map_err(|_| "the date is not written as 2026-01-31T00:00:00Z")?;
    // base64's decoder may write a little past the end of what it decodes.
    let mut decoded = Zeroizing::new([0; KEY_BYTES + 4]);
    match STANDARD.decode_slice(base64, decoded.as_mut_slice()) {
        Ok(KEY_BYTES) => {}
        _ => return Err("the key is not 32 bytes in base64"),
    }
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes.copy_from_slice(&decoded[..KEY_BYTES]);
    if bytes.iter().all(|byte| *byte == bytes[0]) {
        return Err("the key is a placeholder: all its bytes are the same");
    }
    Ok((id, RingKey { created_at: Timestamp(created.unix_timestamp() * 1000), bytes }))
}

/// Keeps other commands from changing the ring until the file is dropped. The lock is on a file
/// beside the ring, because the ring itself is replaced.
fn lock(path: &Path) -> Result<File, KeyRingError> {
    let at = |error| KeyRingError::Io { path: path.to_path_buf(), error };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(beside(path, ".lock"))
        .map_err(at)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(KeyRingError::Locked { path: path.to_path_buf() })
        }
        Err(std::fs::TryLockError::Error(error)) => Err(at(error)),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(suffix);
    PathBuf::from(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
