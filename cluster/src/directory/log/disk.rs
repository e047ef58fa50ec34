//! The log's file, and the thread that owns it: one redb commit with one fsync for everything that
//! waits, in order; then the mark; then the acknowledgements, in order.
//!
//! Beside the entries there is one head record: vote, what was purged, and where the log ends.
//! It is written by every commit, so a sound head vouches for the whole log: an entry between its
//! ends that is missing or does not match its checksum is damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use openraft::entry::RaftEntry;
use openraft::storage::IOFlushed;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableDefinition};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::mark::Mark;
use super::{LOG_FILE, MARK_FILE, Tail, Write};
use crate::directory::error::OpenError;
use crate::directory::files;
use crate::directory::identity::{ClusterId, Identity};
use crate::directory::seal::{seal, unseal};
use crate::directory::types::{Entry, LogId, Types, Vote};
use crate::limits;

const FORMAT: u32 = 1;
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const HEAD: TableDefinition<'_, (), &[u8]> = TableDefinition::new("head");
const HEAD_LABEL: &[u8] = b"directory log head";

/// The head record. On disk: fields never change; another layout is another format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    format: u32,
    cluster: ClusterId,
    node: u64,
    /// How many commits there were, this one included.
    commits: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// The index of the last entry; `None` when there is none after the purged ones.
    last: Option<u64>,
}

/// The open files, and what the last commit said.
pub(super) struct Disk {
    folder: PathBuf,
    db: Database,
    mark: Mark,
    head: Head,
    /// Why a commit failed. From then on every write fails: a later one must not become durable
    /// without an earlier one.
    pub(super) broken: Arc<OnceLock<String>>,
}

impl Disk {
    pub(super) fn create(folder: &Path, identity: Identity) -> Result<(), OpenError> {
        let path = folder.join(LOG_FILE);
        let failed = |error: redb::Error| OpenError::Io {
            what: "make",
            path: path.clone(),
            source: io::Error::other(error),
        };
        let db = Database::create(&path).map_err(|error| failed(error.into()))?;
        let mut head = Head {
            format: FORMAT,
            cluster: identity.cluster,
            node: identity.node.0,
            commits: 0,
            vote: None,
            committed: None,
            purged: None,
            last: None,
        };
        commit(&db, &mut head, &[]).map_err(failed)?;
        drop(db);
        let mark = folder.join(MARK_FILE);
        Mark::create(&mark, head.commits).map_err(OpenError::io("make", &mark))?;
        files::sync_folder(folder).map_err(OpenError::io("sync", folder))
    }

    /// Opens the files and reads the log, or says which file is damaged.
    pub(super) fn open(folder: &Path, identity: Identity) -> Result<(Self, Tail), OpenError> {
        let path = folder.join(LOG_FILE);
        let (mark, acknowledged) = Mark::open(&folder.join(MARK_FILE))?;
        let mut db = open_database(&path)?;
        let sound = db.check_integrity().map_err(|error| refused(&path, error))?;
        if !sound {
            // What was repaired is redb's own bookkeeping, or the way back to the former commit;
            // the checks below decide whether the log is whole.
            tracing::warn!(file = %path.display(), "the database repaired its file");
        }
        let (head, tail) = read(&path, &db)?;
        if head.commits < acknowledged {
            let why = format!(
                "it went back to commit {}, and commit {acknowledged} was acknowledged",
                head.commits
            );
            return Err(OpenError::damaged(&path, why));
        }
        if (head.cluster, head.node) != (identity.cluster, identity.node.0) {
            let why = format!("it is the log of node {} of cluster {}", head.node, head.cluster);
            return Err(OpenError::damaged(&path, why));
        }
        mark.set(head.commits).map_err(OpenError::io("write", &folder.join(MARK_FILE)))?;
        Ok((Self { folder: folder.to_owned(), db, mark, head, broken: Arc::default() }, tail))
    }

    /// Takes writes until the last one.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Write>) {
        let mut batch = Vec::with_capacity(limits::LOG_BATCH_MAX);
        let mut closing = false;
        while !closing && queue.blocking_recv_many(&mut batch, limits::LOG_BATCH_MAX) > 0 {
            closing = batch.iter().any(|write| matches!(write, Write::Close(_)));
            self.take(&batch);
            for write in batch.drain(..) {
                if let Some(done) = write.done() {
                    let result = self.broken.get().map_or(Ok(()), |why| Err(why.clone()));
                    done.io_completed(result.map_err(io::Error::other));
                }
            }
        }
    }

    fn take(&mut self, batch: &[Write]) {
        if self.broken.get().is_some() {
            return;
        }
        if let Err(error) = self.commit(batch) {
            tracing::error!(%error, "the directory's log goes on no more");
            // It was empty just now, and nobody else fills it.
            let _ = self.broken.set(error.to_string());
        }
    }

    fn commit(&mut self, batch: &[Write]) -> io::Result<()> {
        if batch.iter().all(|write| matches!(write, Write::Committed(_))) {
            // Nobody waits: it is kept in the head and goes with the next commit.
            for write in batch {
                note(&mut self.head, write);
            }
            return Ok(());
        }
        let started = std::time::Instant::now();
        let mut next = self.head.clone();
        let failed = |file: &str, error: &dyn std::fmt::Display| {
            io::Error::other(format!("cannot write {}: {error}", self.folder.join(file).display()))
        };
        commit(&self.db, &mut next, batch).map_err(|error| failed(LOG_FILE, &error))?;
        self.mark.set(next.commits).map_err(|error| failed(MARK_FILE, &error))?;
        self.head = next;
        metrics::histogram!("parlance_raft_log_commit_seconds").record(started.elapsed());
        Ok(())
    }
}

impl Write {
    fn done(self) -> Option<IOFlushed<Types>> {
        match self {
            Self::Append(_, done)
            | Self::Vote(_, done)
            | Self::Truncate(_, done)
            | Self::Purge(_, done)
            | Self::Close(done) => Some(done),
            Self::Committed(_) => None,
        }
    }
}

/// One durable commit of everything in the batch, in order, and of the head after it.
fn commit(db: &Database, head: &mut Head, batch: &[Write]) -> Result<(), redb::Error> {
    // The durability of a transaction is `Immediate` unless it says otherwise: commit() returns
    // after the fsync.
    let transaction = db.begin_write()?;
    {
        let mut entries = transaction.open_table(ENTRIES)?;
        for write in batch {
            note(head, write);
            match write {
                Write::Append(appended, _) => {
                    for entry in appended {
                        let bytes = encode(entry)?;
                        entries.insert(entry.index(), bytes.as_slice())?;
                    }
                }
                Write::Truncate(from, _) => entries.retain_in(*from.., |_, _| false)?,
                Write::Purge(upto, _) => entries.retain_in(..=upto.index, |_, _| false)?,
                Write::Vote(..) | Write::Committed(_) | Write::Close(_) => {}
            }
        }
        head.commits += 1;
        let bytes = postcard::to_stdvec(head).map_err(|error| unencodable(&error))?;
        transaction.open_table(HEAD)?.insert((), seal(HEAD_LABEL, &bytes).as_slice())?;
    }
    transaction.commit()?;
    Ok(())
}

/// What a write means for the head.
fn note(head: &mut Head, write: &Write) {
    match write {
        Write::Append(entries, _) => {
            head.last = head.last.max(entries.iter().map(RaftEntry::index).max());
        }
        Write::Vote(vote, _) => head.vote = Some(*vote),
        Write::Truncate(from, _) => {
            let purged = head.purged.map(|purged| purged.index);
            let before = from.checked_sub(1).filter(|last| Some(*last) > purged);
            head.last = head.last.min(before);
        }
        Write::Purge(upto, _) => {
            head.purged = head.purged.max(Some(*upto));
            head.last = head.last.filter(|last| *last > upto.index);
        }
        Write::Committed(committed) => head.committed = *committed,
        Write::Close(_) => {}
    }
}

fn open_database(path: &Path) -> Result<Database, OpenError> {
    let length = std::fs::metadata(path).map(|file| file.len());
    match length {
        // redb would make a new database in an empty file.
        Ok(0) => return Err(OpenError::damaged(path, "it is empty")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::damaged(path, "it is missing"));
        }
        Err(error) => return Err(OpenError::io("look at", path)(error)),
        Ok(_) => {}
    }
    let mut builder = Builder::new();
    builder.set_cache_size(limits::LOG_CACHE_BYTES);
    builder.open(path).map_err(|error| refused(path, error))
}

fn refused(path: &Path, error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path: path.to_owned() },
        DatabaseError::UpgradeRequired(found) => OpenError::damaged(
            path,
            format!("its database format is {found}, which this server never wrote"),
        ),
        DatabaseError::Storage(StorageError::Io(error)) if is_of_the_disk(&error) => {
            OpenError::io("read", path)(error)
        }
        error => OpenError::damaged(path, error.to_string()),
    }
}

/// Whether the operating system refused, as opposed to the bytes making no sense.
fn is_of_the_disk(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|_| error.kind() != io::ErrorKind::InvalidInput)
}

/// Reads the head and every entry that it promises.
fn read(path: &Path, db: &Database) -> Result<(Head, Tail), OpenError> {
    let failed = |error: redb::Error| OpenError::damaged(path, error.to_string());
    let transaction = db.begin_read().map_err(|error| failed(error.into()))?;
    let heads = transaction.open_table(HEAD).map_err(|error| failed(error.into()))?;
    let head = heads.get(()).map_err(|error| failed(error.into()))?;
    let head = head.ok_or_else(|| OpenError::damaged(path, "its head is missing"))?;
    let head = decode_head(path, head.value())?;

    let entries = transaction.open_table(ENTRIES).map_err(|error| failed(error.into()))?;
    let mut tail = Tail { vote: head.vote, committed: head.committed, ..Tail::default() };
    tail.purged = head.purged;
    let first = head.purged.map_or(0, |purged| purged.index + 1);
    let mut expected = first;
    for row in entries.range::<u64>(..).map_err(|error| failed(error.into()))? {
        let (index, bytes) = row.map_err(|error| failed(error.into()))?;
        let index = index.value();
        if index != expected {
            let why = format!("entry {expected} is missing, and entry {index} is there");
            return Err(OpenError::damaged(path, why));
        }
        tail.entries.insert(index, decode(path, index, bytes.value())?);
        expected += 1;
    }
    let last = (expected > first).then(|| expected - 1);
    if last != head.last {
        let why = format!("its last entry is {last:?}, and its head says {:?}", head.last);
        return Err(OpenError::damaged(path, why));
    }
    Ok((head, tail))
}

fn decode_head(path: &Path, sealed: &[u8]) -> Result<Head, OpenError> {
    let bytes = unseal(HEAD_LABEL, sealed)
        .ok_or_else(|| OpenError::damaged(path, "the checksum of its head does not match"))?;
    let unreadable = |error: postcard::Error| {
        OpenError::damaged(path, format!("its head does not parse ({error})"))
    };
    // The format is read alone first: what comes after it is for this format only.
    let (format, _) = postcard::take_from_bytes::<u32>(bytes).map_err(unreadable)?;
    if format != FORMAT {
        let path = PathBuf::from(path);
        return Err(OpenError::Version { path, found: format, known: FORMAT });
    }
    postcard::from_bytes(bytes).map_err(unreadable)
}

fn entry_label(index: u64) -> [u8; 16] {
    let mut label = *b"entry 1 ________";
    label[8..].copy_from_slice(&index.to_be_bytes());
    label
}

fn encode(entry: &Entry) -> Result<Vec<u8>, redb::Error> {
    let bytes = postcard::to_stdvec(entry).map_err(|error| unencodable(&error))?;
    Ok(seal(&entry_label(entry.index()), &bytes))
}

fn decode(path: &Path, index: u64, sealed: &[u8]) -> Result<Entry, OpenError> {
    let bytes = unseal(&entry_label(index), sealed).ok_or_else(|| {
        OpenError::damaged(path, format!("the checksum of entry {index} does not match"))
    })?;
    // The checksum vouches for the bytes: what does not parse was never damaged.
    let entry: Entry = postcard::from_bytes(bytes).map_err(|error| OpenError::Newer {
        path: path.to_owned(),
        what: format!("entry {index}, {error}"),
    })?;
    if entry.index() != index {
        return Err(OpenError::damaged(path, format!("entry {index} says it is another one")));
    }
    Ok(entry)
}

fn unencodable(error: &postcard::Error) -> redb::Error {
    redb::Error::Io(io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::log::tests::IDENTITY;

    #[test]
    fn a_log_of_another_format_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        Disk::create(folder.path(), IDENTITY).expect("made");
        let (disk, _) = Disk::open(folder.path(), IDENTITY).expect("opens");
        let mut head = Head { format: FORMAT + 1, ..disk.head.clone() };
        commit(&disk.db, &mut head, &[]).expect("committed");
        drop(disk);
        let error = Disk::open(folder.path(), IDENTITY).err().expect("refused");
        assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }), "{error}");
    }

    /// openraft's own types are on disk: an upgrade that changes their layout must show here.
    #[test]
    fn the_bytes_of_the_log_never_change() {
        use openraft::{EntryPayload, Membership};
        use std::collections::{BTreeMap, BTreeSet};

        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let vote = Vote::new_committed(300, 1);
        let id = |index| LogId { leader_id: vote.leader_id, index };
        let entry = |payload| {
            let bytes = encode(&Entry { log_id: id(5), payload }).expect("encodes");
            let body = unseal(&entry_label(5), &bytes).expect("sealed").to_vec();
            assert!(decode(Path::new("log"), 5, &bytes).is_ok());
            hex(&body)
        };
        // Term 300, node 1, index 5; then the payload.
        assert_eq!(entry(EntryPayload::Blank), ["ac0201", "05", "00"].concat());
        let peers = BTreeMap::from([(1, crate::directory::types::Peer { address: "a".into() })]);
        let membership = Membership::new(vec![BTreeSet::from([1])], peers).expect("consistent");
        assert_eq!(
            entry(EntryPayload::Membership(membership)),
            ["ac0201", "05", "02", "010101", "01010161"].concat()
        );
        let head = Head {
            format: 1,
            cluster: ClusterId(uuid::Uuid::from_bytes([9; 16])),
            node: 1,
            commits: 7,
            vote: Some(vote),
            committed: Some(id(5)),
            purged: None,
            last: Some(5),
        };
        let parts =
            ["01", "10", &"09".repeat(16), "01", "07", "01ac020101", "01ac020105", "00", "0105"];
        assert_eq!(hex(&postcard::to_stdvec(&head).expect("encodes")), parts.concat());
    }

    #[test]
    fn what_waits_together_shares_one_commit_and_keeps_its_order() {
        let folder = tempfile::tempdir().expect("a folder");
        Disk::create(folder.path(), IDENTITY).expect("made");
        let (mut disk, _) = Disk::open(folder.path(), IDENTITY).expect("opens");
        let vote = |term| Vote::new_committed(term, 1);
        let entry = |term, index| Entry {
            log_id: LogId { leader_id: vote(term).leader_id, index },
            payload: openraft::EntryPayload::Blank,
        };
        let before = disk.head.commits;
        disk.take(&[
            Write::Vote(vote(1), IOFlushed::noop()),
            Write::Append((0..5).map(|index| entry(1, index)).collect(), IOFlushed::noop()),
            Write::Truncate(3, IOFlushed::noop()),
            Write::Vote(vote(2), IOFlushed::noop()),
            Write::Append(vec![entry(2, 3)], IOFlushed::noop()),
            Write::Purge(entry(1, 0).log_id, IOFlushed::noop()),
        ]);
        assert_eq!((disk.broken.get(), disk.head.commits), (None, before + 1));
        drop(disk);
        let (_, tail) = Disk::open(folder.path(), IDENTITY).expect("opens");
        assert_eq!(tail.vote, Some(vote(2)));
        assert_eq!(tail.purged, Some(entry(1, 0).log_id));
        let entries: Vec<Entry> = tail.entries.into_values().collect();
        assert_eq!(entries, [entry(1, 1), entry(1, 2), entry(2, 3)]);
    }

    #[test]
    fn a_command_of_a_later_version_is_refused_and_not_called_damage() {
        let folder = tempfile::tempdir().expect("a folder");
        Disk::create(folder.path(), IDENTITY).expect("made");
        let (disk, _) = Disk::open(folder.path(), IDENTITY).expect("opens");
        // Term 1, node 1, index 0, a command, with a number that no command has.
        let entry = seal(&entry_label(0), &[1, 1, 0, 1, 99, 5]);
        let transaction = disk.db.begin_write().expect("begins");
        transaction
            .open_table(ENTRIES)
            .expect("opens")
            .insert(0, entry.as_slice())
            .expect("inserted");
        transaction.commit().expect("committed");
        let mut head = Head { last: Some(0), ..disk.head.clone() };
        commit(&disk.db, &mut head, &[]).expect("committed");
        drop(disk);
        let error = Disk::open(folder.path(), IDENTITY).err().expect("refused");
        assert!(matches!(error, OpenError::Newer { .. }), "{error}");
        assert!(error.to_string().contains(LOG_FILE), "{error}");
    }

    #[test]
    fn after_a_failed_commit_nothing_more_becomes_durable() {
        let folder = tempfile::tempdir().expect("a folder");
        Disk::create(folder.path(), IDENTITY).expect("made");
        let (mut disk, _) = Disk::open(folder.path(), IDENTITY).expect("opens");
        disk.broken.set("the disk is full".into()).expect("it was well");
        disk.take(&[Write::Vote(Vote::new(9, 1), IOFlushed::noop())]);
        drop(disk);
        let (_, tail) = Disk::open(folder.path(), IDENTITY).expect("opens");
        assert_eq!(tail.vote, None);
    }
}
