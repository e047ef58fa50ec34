//! The Raft log and vote. Everything is in memory, bounded by compaction, and read from there;
//! what changes goes to a thread of its own that makes it durable in redb, in the order in which
//! Raft asked for it, before it says so.

mod disk;
mod mark;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::{OneshotReceiverOf, OneshotSenderOf};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use self::disk::Disk;
use super::command::Command;
use super::error::OpenError;
use super::identity::Identity;
use super::types::{Entry, LogId, Types, Vote};
use crate::limits;
use crate::transport::PeerName;

/// The names of the log's files in the directory's folder.
pub(super) const LOG_FILE: &str = "log.redb";
pub(super) const MARK_FILE: &str = "log.mark";

/// The log as Raft sees it. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    tail: Arc<Mutex<Tail>>,
    writes: mpsc::Sender<Write>,
    broken: Arc<OnceLock<String>>,
}

/// What the log holds: everything after what was purged.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tail {
    pub(super) entries: BTreeMap<u64, Entry>,
    pub(super) purged: Option<LogId>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

/// Something to make durable, with who hears of it.
enum Write {
    Append(Vec<Entry>, IOFlushed<Types>),
    Vote(Vote, IOFlushed<Types>),
    /// Entries at this index and after it go.
    Truncate(u64, IOFlushed<Types>),
    /// Entries up to this one go.
    Purge(LogId, IOFlushed<Types>),
    /// Nobody waits for this one: it becomes durable with the next write.
    Committed(Option<LogId>),
    /// The last one.
    Close(IOFlushed<Types>),
}

/// The log's thread, for whoever closes the directory.
pub(super) struct LogThread {
    handle: JoinHandle<()>,
}

impl LogThread {
    /// Waits until the file is closed. Call it after [`Log::close`], off the async threads.
    pub(super) fn join(self) -> Result<(), String> {
        self.handle.join().map_err(|_| "the thread of the directory's log panicked".into())
    }
}

impl Log {
    /// Makes the files of a log that has never been there.
    pub(super) fn create(folder: &Path, identity: Identity) -> Result<(), OpenError> {
        Disk::create(folder, identity)
    }

    /// Opens a log and starts its thread. Blocks while it reads.
    pub(super) fn open(folder: &Path, identity: Identity) -> Result<(Self, LogThread), OpenError> {
        let (writes, queue) = mpsc::channel(limits::LOG_QUEUE_MAX);
        let (opened, result) = std::sync::mpsc::channel();
        let folder = folder.to_owned();
        let path = folder.join(LOG_FILE);
        let name = "directory-log".to_owned();
        let handle = std::thread::Builder::new().name(name).spawn(move || {
            match open_on_this_thread(&folder, identity) {
                Ok((disk, tail)) => {
                    // The opener waits for exactly this.
                    let _ = opened.send(Ok((tail, disk.broken.clone())));
                    disk.run(queue);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
        });
        let handle = handle.map_err(OpenError::io("start the thread of", &path))?;
        let tail = result.recv();
        let (tail, broken) = tail.map_err(|_| OpenError::damaged(&path, "reading it failed"))??;
        let term = tail.vote.map_or(0, |vote| vote.leader_id.term);
        metrics::gauge!("parlance_raft_term").set(term as f64);
        metrics::gauge!("parlance_raft_log_entries").set(tail.entries.len() as f64);
        let log = Self { tail: Arc::new(Mutex::new(tail)), writes, broken };
        Ok((log, LogThread { handle }))
    }

    /// Makes everything durable and ends the thread. Later writes fail.
    pub(super) async fn close(&self) -> io::Result<()> {
        self.write(Write::Close).await
    }

    /// Why nothing can be written any more, where that is so.
    pub(super) fn broken(&self) -> Option<&str> {
        self.broken.get().map(String::as_str)
    }

    /// The index of the last entry, purged ones included.
    pub(super) fn last_index(&self) -> Option<u64> {
        self.tail.lock().last().map(|last| last.index)
    }

    pub(super) fn purged_index(&self) -> Option<u64> {
        self.tail.lock().purged.map(|purged| purged.index)
    }

    /// Name and control endpoint of every node that the log says was admitted, the latest last.
    pub(super) fn admitted(&self) -> Vec<(PeerName, Arc<str>)> {
        let tail = self.tail.lock();
        let admitted = tail.entries.values().filter_map(|entry| match &entry.payload {
            EntryPayload::Normal(Command::AdmitNode(node)) => {
                Some((PeerName(node.name.clone()), node.control.clone()))
            }
            _ => None,
        });
        admitted.collect()
    }

    /// What the log holds now, for tests to compare.
    #[cfg(test)]
    pub(super) fn tail(&self) -> Tail {
        self.tail.lock().clone()
    }

    /// Queues a write and waits until it is durable.
    async fn write(&self, write: impl FnOnce(IOFlushed<Types>) -> Write) -> io::Result<()> {
        let (done, durable): (OneshotSenderOf<Types, _>, OneshotReceiverOf<Types, _>) =
            Types::oneshot();
        self.queue(write(IOFlushed::signal(done))).await?;
        durable.await.map_err(|_| thread_is_gone())?
    }

    async fn queue(&self, write: Write) -> io::Result<()> {
        self.writes.send(write).await.map_err(|_| thread_is_gone())
    }

    fn entries(&self, range: impl RangeBounds<u64>) -> Vec<Entry> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        if is_empty(&bounds) {
            return Vec::new();
        }
        let tail = self.tail.lock();
        tail.entries.range(bounds).map(|(_, entry)| entry.clone()).collect()
    }
}

/// Opens the files. A panic of the database over damaged bytes is an answer like any other.
fn open_on_this_thread(folder: &Path, identity: Identity) -> Result<(Disk, Tail), OpenError> {
    let path: PathBuf = folder.join(LOG_FILE);
    let opened = std::panic::catch_unwind(|| Disk::open(folder, identity));
    opened.unwrap_or_else(|_| Err(OpenError::damaged(&path, "the database cannot read it")))
}

/// `BTreeMap::range` panics on these.
fn is_empty(bounds: &(Bound<u64>, Bound<u64>)) -> bool {
    match *bounds {
        (Bound::Included(from), Bound::Excluded(to)) => from >= to,
        (Bound::Included(from), Bound::Included(to)) => from > to,
        (Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        _ => false,
    }
}

fn thread_is_gone() -> io::Error {
    io::Error::other("the directory's log is closed")
}

impl Tail {
    fn last(&self) -> Option<LogId> {
        self.entries.values().next_back().map(|entry| entry.log_id).or(self.purged)
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.entries(range))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.tail.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let tail = self.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.write(|done| Write::Vote(*vote, done)).await?;
        // After it is durable: a reader must not see a vote that a crash takes back.
        self.tail.lock().vote = Some(*vote);
        metrics::gauge!("parlance_raft_term").set(vote.leader_id.term as f64);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.tail.lock().committed = committed;
        self.queue(Write::Committed(committed)).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.tail.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut tail = self.tail.lock();
            let indexed = entries.iter().map(|entry| (entry.index(), entry.clone()));
            tail.entries.extend(indexed);
            metrics::gauge!("parlance_raft_log_entries").set(tail.entries.len() as f64);
        }
        self.queue(Write::Append(entries, callback)).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |last| last.index + 1);
        self.tail.lock().entries.split_off(&from);
        self.write(|done| Write::Truncate(from, done)).await
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        {
            let mut tail = self.tail.lock();
            tail.entries = tail.entries.split_off(&(log_id.index + 1));
            tail.purged = tail.purged.max(Some(log_id));
            metrics::gauge!("parlance_raft_log_entries").set(tail.entries.len() as f64);
        }
        self.write(|done| Write::Purge(log_id, done)).await
    }
}

#[cfg(test)]
mod tests;
