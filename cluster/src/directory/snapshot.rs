//! Snapshots of the state as files: `snapshot-INDEX.parlance` in the directory's folder, written
//! under another name, checksummed, made durable and only then named. The newest one counts; older
//! ones go when a newer one is durable.
//!
//! A file is a head of 32 bytes (magic, format, length of the body), a checksum, and the body.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::error::OpenError;
use super::files;
use super::seal::{SEAL_BYTES, seal, unseal};
use super::state::{FirstStateRecord, State, StateRecord};
use super::types::{LogId, SnapshotMeta, StoredMembership};

const MAGIC: &[u8; 8] = b"PARLSNAP";
/// What is written. Format 1, of nodes that were alone, is read too.
pub(super) const FORMAT: u32 = 2;
const FIRST_FORMAT: u32 = 1;
pub(super) const HEAD_BYTES: usize = MAGIC.len() + size_of::<u32>() + size_of::<u64>();
const PREFIX: &str = "snapshot-";
const ENDING: &str = "parlance";

/// What is in a snapshot's body.
#[derive(Serialize, Deserialize)]
struct Body<S> {
    last_log_id: Option<LogId>,
    membership: StoredMembership,
    state: S,
}

/// A snapshot that was read and checked.
pub(super) struct Restored {
    pub(super) meta: SnapshotMeta,
    pub(super) state: State,
}

/// A snapshot on its way to a peer or from one: the open file, which stays readable when a newer
/// snapshot takes its place.
pub(crate) struct SnapshotFile {
    path: PathBuf,
    file: File,
}

impl SnapshotFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: File::open(path)? })
    }

    /// How long the file is.
    pub(super) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// A piece of the file, shorter at its end. Blocks.
    pub(super) fn piece(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            let read = self.file.read_at(&mut bytes[filled..], offset + filled as u64)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Reads and checks the whole file.
    pub(super) fn read(mut self) -> Result<Restored, OpenError> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).map_err(OpenError::io("read", &self.path))?;
        decode(&self.path, &bytes)
    }
}

/// The snapshots of one directory.
#[derive(Clone)]
pub(super) struct Snapshots {
    folder: PathBuf,
    newest: Arc<Mutex<Option<(SnapshotMeta, PathBuf)>>>,
    /// Held while a snapshot is written, so that two never write at once. Not the lock above: that
    /// one is also taken on the runtime, and must not wait for a disk.
    writing: Arc<Mutex<()>>,
}

impl Snapshots {
    /// Finds and reads the newest snapshot, and removes unfinished and older ones.
    pub(super) fn open(folder: &Path) -> Result<(Self, Option<Restored>), OpenError> {
        let mut found = list(folder).map_err(OpenError::io("list", folder))?;
        let newest = found.pop();
        let restored = match &newest {
            Some((_, path)) => {
                let file = SnapshotFile::open(path).map_err(OpenError::io("open", path))?;
                Some(file.read()?)
            }
            None => None,
        };
        for (_, older) in found {
            fs::remove_file(&older).map_err(OpenError::io("remove the older", &older))?;
        }
        let newest = newest.zip(restored.as_ref());
        let newest = newest.map(|((_, path), restored)| (restored.meta.clone(), path));
        let newest = Arc::new(Mutex::new(newest));
        let snapshots = Self { folder: folder.to_owned(), newest, writing: Arc::default() };
        Ok((snapshots, restored))
    }

    /// The newest snapshot, opened.
    pub(super) fn newest(&self) -> io::Result<Option<(SnapshotMeta, SnapshotFile)>> {
        let newest = self.newest.lock();
        let Some((meta, path)) = &*newest else { return Ok(None) };
        Ok(Some((meta.clone(), SnapshotFile::open(path)?)))
    }

    /// Makes a snapshot durable, and the newest one unless a newer one is there already.
    pub(super) fn write(
        &self,
        meta: &SnapshotMeta,
        state: StateRecord,
    ) -> io::Result<SnapshotFile> {
        let _writing = self.writing.lock();
        let index = meta.last_log_id.as_ref().map_or(0, |last| last.index);
        let path = self.folder.join(format!("{PREFIX}{index:020}.{ENDING}"));
        let failed = |error: io::Error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        };
        files::replace(&path, &encode(meta, state)?).map_err(failed)?;
        let file = SnapshotFile::open(&path)?;
        if let Some(older) = self.supersede(meta, &path) {
            fs::remove_file(older)?;
        }
        Ok(file)
    }

    /// Makes a written snapshot the newest one, unless it is older; gives the file that may go.
    fn supersede(&self, meta: &SnapshotMeta, path: &Path) -> Option<PathBuf> {
        let mut newest = self.newest.lock();
        if newest.as_ref().is_some_and(|(newest, _)| newest.last_log_id > meta.last_log_id) {
            return Some(path.to_owned());
        }
        let former = newest.replace((meta.clone(), path.to_owned()))?;
        (former.1 != path).then_some(former.1)
    }
}

/// Every finished snapshot, ascending by index. Unfinished ones are removed.
fn list(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == files::UNFINISHED) {
            fs::remove_file(path)?;
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let index = name
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(ENDING)?.strip_suffix('.'))
            .and_then(|index| index.parse().ok());
        found.extend(index.map(|index| (index, path)));
    }
    found.sort();
    Ok(found)
}

pub(super) fn encode(meta: &SnapshotMeta, state: StateRecord) -> io::Result<Vec<u8>> {
    encode_as(FORMAT, meta, state)
}

fn encode_as(format: u32, meta: &SnapshotMeta, state: impl Serialize) -> io::Result<Vec<u8>> {
    let body =
        Body { last_log_id: meta.last_log_id, membership: meta.last_membership.clone(), state };
    Ok(sealed(format, &postcard::to_stdvec(&body).map_err(io::Error::other)?))
}

/// A whole file with this body.
pub(super) fn sealed(format: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + SEAL_BYTES + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&format.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let head = bytes.clone();
    bytes.extend_from_slice(&seal(&head, body));
    bytes
}

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Restored, OpenError> {
    let damaged = |why: String| OpenError::damaged(path, why);
    let (head, sealed) = bytes
        .split_at_checked(HEAD_BYTES)
        .ok_or_else(|| damaged(format!("it is cut: it has only {} bytes", bytes.len())))?;
    if &head[..MAGIC.len()] != MAGIC {
        return Err(damaged("it is no snapshot: it begins with other bytes".into()));
    }
    let (format, length) = head[MAGIC.len()..].split_at(size_of::<u32>());
    let format = u32::from_le_bytes(format.try_into().expect("split at its size"));
    let length = u64::from_le_bytes(length.try_into().expect("split at its size"));
    if length != sealed.len().saturating_sub(SEAL_BYTES) as u64 {
        return Err(damaged(format!("its body has not the {length} bytes that its head says")));
    }
    let body = unseal(head, sealed)
        .ok_or_else(|| damaged("its checksum does not match its content".into()))?;
    if format != FORMAT && format != FIRST_FORMAT {
        return Err(OpenError::Version { path: path.to_owned(), found: format, known: FORMAT });
    }
    // The checksum vouches for the body: what does not parse was never damaged.
    let unknown = |error: postcard::Error| OpenError::Newer {
        path: path.to_owned(),
        what: format!("its state, {error}"),
    };
    let Body { last_log_id, membership, state } = if format == FIRST_FORMAT {
        let first: Body<FirstStateRecord> = postcard::from_bytes(body).map_err(unknown)?;
        let Body { last_log_id, membership, state } = first;
        Body { last_log_id, membership, state: StateRecord::from(state) }
    } else {
        postcard::from_bytes(body).map_err(unknown)?
    };
    let state = State::from_record(state).map_err(|why| damaged(why.into()))?;
    Ok(Restored { meta: SnapshotMeta { last_log_id, last_membership: membership }, state })
}

#[cfg(test)]
mod tests {
    use openraft::type_config::alias::CommittedLeaderIdOf;

    use super::*;
    use crate::directory::types::Types;

    fn meta(index: u64) -> SnapshotMeta {
        let leader_id = CommittedLeaderIdOf::<Types> { term: 1, node_id: 1 };
        SnapshotMeta { last_log_id: Some(LogId { leader_id, index }), ..SnapshotMeta::default() }
    }

    fn names(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).expect("readable");
        let names = files.map(|file| file.expect("readable").file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn only_the_newest_snapshot_stays_however_late_an_older_one_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let (snapshots, none) = Snapshots::open(folder.path()).expect("opens");
        assert!(none.is_none());
        for index in [5, 9, 7, 9] {
            snapshots.write(&meta(index), State::default().record()).expect("written");
        }
        assert_eq!(names(folder.path()), ["snapshot-00000000000000000009.parlance"]);
        let (newest, file) = snapshots.newest().expect("opens").expect("there");
        assert_eq!(newest, meta(9));
        assert_eq!(file.read().expect("sound").meta, meta(9));
    }

    #[test]
    fn an_unfinished_snapshot_means_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("snapshot-00000000000000000009.parlance.tmp"), b"half")
            .expect("written");
        let (_, restored) = Snapshots::open(folder.path()).expect("opens");
        assert!(restored.is_none());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_snapshot_stays_readable_when_a_newer_one_takes_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let (snapshots, _) = Snapshots::open(folder.path()).expect("opens");
        let older = snapshots.write(&meta(5), State::default().record()).expect("written");
        snapshots.write(&meta(9), State::default().record()).expect("written");
        assert_eq!(older.read().expect("sound").meta, meta(5));
    }

    #[test]
    fn a_snapshot_of_another_format_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot-00000000000000000009.parlance");
        let bytes = encode_as(FORMAT + 1, &meta(9), State::default().record()).expect("encodes");
        fs::write(&path, bytes).expect("written");
        let error = Snapshots::open(folder.path()).err().expect("refused");
        let known = FORMAT;
        assert!(
            matches!(&error, OpenError::Version { found, known: 2, .. } if *found == known + 1),
            "{error}"
        );
    }

    #[test]
    fn a_snapshot_of_the_first_format_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("snapshot-00000000000000000009.parlance");
        // Nothing in it: what is in it is the business of the record's own test.
        let empty: FirstStateRecord = postcard::from_bytes(&[0; 6]).expect("decodes");
        let bytes = encode_as(FIRST_FORMAT, &meta(9), empty).expect("encodes");
        fs::write(&path, bytes).expect("written");
        let (_, restored) = Snapshots::open(folder.path()).expect("opens");
        let restored = restored.expect("there");
        assert_eq!((restored.meta, restored.state), (meta(9), State::default()));
    }
}
