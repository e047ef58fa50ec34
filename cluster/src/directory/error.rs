//! Why a directory does not open. Each error names the file and says what to do. Nothing was
//! removed or begun anew; only redb may have gone on with a repair of its own file, and the next
//! start refuses that file as well.

use std::io;
use std::path::{Path, PathBuf};

use super::identity::ClusterId;

/// Why a directory does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data directory. Trying again helps once that process has ended.
    #[error(
        "{} is in use by another process; end it, or give this node a data directory of its own",
        path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A file is missing, cut or altered. Trying again does not help.
    #[error(
        "{} is damaged: {why}. The node does not start, because it would forget what it has \
         promised. Put the whole data directory back from a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The same on a node of a cluster of several, where a backup would be wrong: it would have this
    /// node forget votes that it gave and entries that it acknowledged. Trying again does not help.
    #[error(
        "{} is damaged: {why}. The node does not start, because it would forget what it has promised \
         to the others, who have everything that it had. Move the whole data directory {} away and \
         start the node with an empty one: it joins as a new node, and its former id is forgotten. \
         Do not put a backup in its place. (Where no majority of the voters is left: `parlance \
         cluster recover`)",
        path.display(), data_dir.display()
    )]
    DamagedMember {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The data directory.
        data_dir: PathBuf,
    },
    /// A file was written by another version of the server. That version, or a later one, opens it.
    #[error(
        "{} has format {found}, and this version knows {known}; start the version that wrote it",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The format that the file has.
        found: u32,
        /// The format that this version reads and writes.
        known: u32,
    },
    /// A file is sound and holds something that this version does not know. The version that wrote
    /// it, or a later one, opens it.
    #[error(
        "{} holds something that this version does not know ({what}); start the version that wrote it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
    },
    /// The data directory and the database belong to different clusters. Trying again does not help.
    #[error(
        "{} belongs to cluster {found}, and the database to cluster {expected}; \
         pair each data directory with the database it was started with",
        path.display()
    )]
    OtherCluster {
        /// The identity file.
        path: PathBuf,
        /// The cluster of the data directory.
        found: ClusterId,
        /// The cluster of the database.
        expected: ClusterId,
    },
    /// The data directory is empty, but the database has a cluster already: rooms and shards of that
    /// cluster were in another data directory. Trying again does not help.
    #[error(
        "{} is empty, but the database belongs to cluster {expected}; \
         start with the data directory of that cluster, or put it back from a backup; where other \
         nodes of the cluster run, join them as a new node instead of beginning anew",
        path.display()
    )]
    DirectoryLost {
        /// The data directory.
        path: PathBuf,
        /// The cluster of the database.
        expected: ClusterId,
    },
    /// The cluster does not admit this node: it was removed, its name is another node's, or it is a
    /// node of another cluster. Trying again does not help.
    #[error("the cluster does not admit this node: {0}")]
    NotAdmitted(String),
    /// A start needs what it was not given. Trying again does not help.
    #[error("the directory cannot start like this: {0}")]
    Unusable(String),
    /// The disk or the operating system refused. Trying again helps once the reason is gone.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Raft did not become ready. Trying again may help.
    #[error("the directory did not become ready: {0}")]
    NotReady(String),
}

impl OpenError {
    pub(super) fn damaged(path: &Path, why: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), why: why.into() }
    }

    /// The same error as it is told to a node of several.
    pub(crate) fn of_member(self, data_dir: &Path) -> Self {
        match self {
            Self::Damaged { path, why } => {
                Self::DamagedMember { path, why, data_dir: data_dir.to_owned() }
            }
            error => error,
        }
    }

    /// For `map_err`: the disk refused to do `what` with `path`.
    pub(super) fn io<'a>(
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { what, path: path.to_owned(), source }
    }
}
