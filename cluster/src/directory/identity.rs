//! Who this node is: the lock on the data directory, and the identity file in it. The file also
//! says whether the first start was finished, which is what tells an empty data directory from a
//! damaged one.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use parlance_actors::vocab::NodeId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::OpenError;
use super::files;
use super::seal::{SEAL_BYTES, seal};

const LOCK_FILE: &str = "lock";
const IDENTITY_FILE: &str = "node.json";
/// How often the data directory was started, as a decimal number.
const INCARNATION_FILE: &str = "incarnation";
const FORMAT: u32 = 1;

/// A cluster: its nodes, its database and its data directories have the same one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

impl ClusterId {
    pub(super) fn generate() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({})", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = parlance_actors::vocab::NotAUuid;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self).map_err(|_| parlance_actors::vocab::NotAUuid)
    }
}

/// The lock on a data directory. The operating system gives it back when the process ends,
/// however it ends.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Makes the data directory if it is not there, and locks it.
    pub(super) fn take(data_dir: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(data_dir).map_err(OpenError::io("make the folder", data_dir))?;
        let path = data_dir.join(LOCK_FILE);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(OpenError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: data_dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path)(error)),
        }
    }
}

/// How often this data directory was started, this time included: a member's incarnation.
///
/// # Errors
/// [`OpenError`]: the count cannot be read or written.
pub fn next_incarnation(data_dir: &Path) -> Result<u64, OpenError> {
    let path = data_dir.join(INCARNATION_FILE);
    fs::create_dir_all(data_dir).map_err(OpenError::io("make the folder", data_dir))?;
    let former = match fs::read_to_string(&path) {
        Ok(text) => text
            .trim()
            .parse::<u64>()
            .map_err(|_| OpenError::damaged(&path, "it is not a number"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => 0,
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    let next = former.saturating_add(1);
    let written = files::replace(&path, format!("{next}\n").as_bytes());
    written.map_err(OpenError::io("write", &path))?;
    Ok(next)
}

/// What the identity file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
    /// The first start was finished. Before that nothing was promised to anybody.
    pub(super) finished: bool,
}

/// The file, readable by people; `check` is over the rest.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    format: u32,
    node: u64,
    cluster: ClusterId,
    finished: bool,
    check: String,
}

impl Identity {
    pub(super) fn path(data_dir: &Path) -> PathBuf {
        data_dir.join(IDENTITY_FILE)
    }

    /// The identity of a data directory; `None` when it never had one.
    pub(super) fn read(data_dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = Self::path(data_dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(OpenError::io("read", &path)(error)),
        };
        let file: IdentityFile = serde_json::from_slice(&text)
            .map_err(|error| OpenError::damaged(&path, format!("it does not parse ({error})")))?;
        let identity =
            Self { node: NodeId(file.node), cluster: file.cluster, finished: file.finished };
        if file.check != identity.check(file.format) {
            return Err(OpenError::damaged(&path, "its checksum does not match its content"));
        }
        if file.format != FORMAT {
            return Err(OpenError::Version { path, found: file.format, known: FORMAT });
        }
        Ok(Some(identity))
    }

    pub(super) fn write(self, data_dir: &Path) -> io::Result<()> {
        self.write_as(FORMAT, data_dir)
    }

    fn write_as(self, format: u32, data_dir: &Path) -> io::Result<()> {
        let file = IdentityFile {
            format,
            node: self.node.0,
            cluster: self.cluster,
            finished: self.finished,
            check: self.check(format),
        };
        let mut text = serde_json::to_vec_pretty(&file).expect("plain fields encode");
        text.push(b'\n');
        files::replace(&Self::path(data_dir), &text)
    }

    fn check(self, format: u32) -> String {
        let content = format!("{format} {} {} {}", self.node, self.cluster, self.finished);
        let sealed = seal(b"identity", content.as_bytes());
        sealed[..SEAL_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Identity::read(folder.path()).expect("readable"), None);
        for finished in [false, true] {
            let identity = Identity { node: NodeId(3), cluster: ClusterId::generate(), finished };
            identity.write(folder.path()).expect("written");
            assert_eq!(Identity::read(folder.path()).expect("readable"), Some(identity));
        }
    }

    #[test]
    fn an_identity_of_another_format_is_refused_with_both_numbers() {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = ClusterId::generate();
        let identity = Identity { node: NodeId(1), cluster, finished: true };
        identity.write_as(FORMAT + 1, folder.path()).expect("written");
        let error = Identity::read(folder.path()).expect_err("refused");
        assert!(matches!(error, OpenError::Version { found: 2, known: 1, .. }), "{error}");
    }

    #[test]
    fn an_identity_that_somebody_edited_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let cluster = ClusterId::generate();
        let identity = Identity { node: NodeId(1), cluster, finished: true };
        identity.write(folder.path()).expect("written");
        let path = Identity::path(folder.path());
        let text = fs::read_to_string(&path).expect("readable");
        let edited = text.replace("\"finished\": true", "\"finished\": false");
        assert_ne!(edited, text);
        fs::write(&path, edited).expect("written");
        let error = Identity::read(folder.path()).expect_err("refused");
        assert!(error.to_string().contains("node.json"), "{error}");
    }
}
