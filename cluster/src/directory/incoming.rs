//! A snapshot on its way in: pieces are put one after another into an unfinished file, which Raft
//! installs once it is whole and sound. A sender that comes again goes on where it stopped.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use openraft::type_config::alias::SnapshotOf;
use parlance_actors::vocab::NodeId;

use super::core::Core;
use super::files;
use super::snapshot::SnapshotFile;
use super::types::{SnapshotMeta, Types, Vote};
use super::wire::{Answer, Piece};
use crate::limits;

/// The unfinished file. Its ending has a start remove it.
const INCOMING: &str = "incoming-snapshot";

/// What is there of a snapshot.
pub(super) struct Incoming {
    what: What,
    path: PathBuf,
    file: File,
    taken: u64,
}

/// Which snapshot, and whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct What {
    from: NodeId,
    last_index: u64,
    last_term: u64,
    length: u64,
}

impl Incoming {
    fn begin(folder: &Path, what: What) -> io::Result<Self> {
        let path = folder.join(INCOMING).with_added_extension(files::UNFINISHED);
        Ok(Self { what, file: File::create(&path)?, path, taken: 0 })
    }

    fn put(mut self, bytes: &[u8]) -> io::Result<Self> {
        self.file.write_all(bytes)?;
        self.taken += bytes.len() as u64;
        if self.taken == self.what.length {
            self.file.sync_all()?;
        }
        Ok(self)
    }

    /// The whole snapshot, read and checked; the file stays until it is installed.
    fn finish(self) -> io::Result<(SnapshotMeta, SnapshotFile, PathBuf)> {
        let checked = SnapshotFile::open(&self.path)?.read().map_err(io::Error::other)?;
        Ok((checked.meta, SnapshotFile::open(&self.path)?, self.path))
    }
}

impl Core {
    /// Takes a piece. The receiver says how much it has, and the sender follows.
    pub(super) async fn take_piece(&self, from: NodeId, piece: Piece) -> Answer {
        let Piece { vote, last_index, last_term, length, offset, bytes } = piece;
        if length > limits::SNAPSHOT_BYTES_MAX {
            return Answer::Refused(format!("a snapshot of {length} bytes is too large"));
        }
        let what = What { from, last_index, last_term, length };
        // Taken out while it is written: a second sender would find none, and begin anew.
        let former = self.incoming.lock().take().filter(|former| former.what == what);
        let folder = self.folder.clone();
        let work = move || {
            let incoming = former.map_or_else(|| Incoming::begin(&folder, what), Ok)?;
            let follows = offset == incoming.taken
                && bytes.len() as u64 <= incoming.what.length - incoming.taken;
            if follows { incoming.put(&bytes) } else { Ok(incoming) }
        };
        let incoming = match blocking(work).await {
            Ok(incoming) => incoming,
            Err(error) => return Answer::Failed(format!("the snapshot: {error}")),
        };
        if incoming.taken < length {
            let taken = incoming.taken;
            *self.incoming.lock() = Some(incoming);
            return Answer::PieceTaken(taken);
        }
        match self.install(vote, incoming).await {
            Ok(vote) => Answer::Installed(vote),
            Err(why) => Answer::Failed(format!("the snapshot: {why}")),
        }
    }

    async fn install(&self, vote: Vote, incoming: Incoming) -> Result<Vote, String> {
        let (meta, snapshot, path) =
            blocking(move || incoming.finish()).await.map_err(|error| error.to_string())?;
        let snapshot = SnapshotOf::<Types, _> { meta, snapshot };
        let installed = self.raft.install_full_snapshot(vote, snapshot).await;
        let removed = blocking(move || fs::remove_file(path)).await;
        let installed = installed.map_err(|error| error.to_string())?;
        removed.map_err(|error| error.to_string())?;
        Ok(installed.vote)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use parlance_actors::ports::directory::Directory as _;

    use crate::directory::{DirectoryOptions, RaftDirectory};

    fn piece(length: u64, offset: u64, bytes: &'static [u8]) -> Piece {
        let (vote, bytes) = (Vote::new_committed(1, 1), Bytes::from_static(bytes));
        Piece { vote, last_index: 9, last_term: 1, length, offset, bytes }
    }

    async fn taken(core: &Core, from: u64, piece: Piece) -> u64 {
        match core.take_piece(NodeId(from), piece).await {
            Answer::PieceTaken(taken) => taken,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_transfer_goes_on_where_it_stopped_and_takes_nothing_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = RaftDirectory::open(DirectoryOptions::new(folder.path())).await;
        let directory = directory.expect("opens");
        let core = &directory.core;
        assert_eq!(taken(core, 2, piece(10, 0, b"")).await, 0);
        assert_eq!(taken(core, 2, piece(10, 0, b"abcd")).await, 4);
        assert_eq!(taken(core, 2, piece(10, 0, b"abcd")).await, 4, "the answer was lost");
        assert_eq!(taken(core, 2, piece(10, 6, b"gh")).await, 4, "one is missing in between");
        assert_eq!(taken(core, 2, piece(10, 0, b"")).await, 4, "it asks how much is there");
        assert_eq!(taken(core, 2, piece(10, 4, b"efghijklm")).await, 4, "more than there is");
        assert_eq!(taken(core, 3, piece(10, 4, b"ef")).await, 0, "another sender begins anew");
        directory.close().await;
    }

    #[tokio::test]
    async fn a_snapshot_that_is_not_sound_is_not_installed() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = RaftDirectory::open(DirectoryOptions::new(folder.path())).await;
        let directory = directory.expect("opens");
        let core = &directory.core;
        let whole = core.take_piece(NodeId(2), piece(4, 0, b"abcd")).await;
        assert!(matches!(&whole, Answer::Failed(why) if why.contains("snapshot")), "{whole:?}");
        assert_eq!(taken(core, 2, piece(4, 0, b"")).await, 0, "it begins anew");
        let large = piece(limits::SNAPSHOT_BYTES_MAX + 1, 0, b"");
        let refused = core.take_piece(NodeId(2), large).await;
        assert!(matches!(refused, Answer::Refused(_)), "{refused:?}");
        directory.healthy().await.expect("nothing happened to it");
        directory.close().await;
    }
}
