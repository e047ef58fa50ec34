//! What is said over the control socket: a length of four bytes, big-endian, and as many bytes of
//! JSON, once each way. And the caller's side of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parlance_actors::vocab::{NodeId, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SOCKET;
use crate::data_dir::failed;
use crate::failure::{Cause, Failure};

/// A question is a few numbers.
pub(super) const ASK_BYTES_MAX: usize = 4 * 1024;
/// The report of a cluster of a thousand nodes, each with two links, takes about half a MiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the caller waits: longer than the node takes at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// The address of a unix socket has room for about a hundred bytes.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// What an operator asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    /// How things stand.
    Report,
    /// The busiest rooms.
    Rooms,
    /// A planned move.
    Move { shard: ShardId, to: NodeId },
    /// Pins a shard, or lets it go.
    Pin { shard: ShardId, to: Option<NodeId> },
    /// A node gives its shards away, or takes some again.
    Drain { node: NodeId, on: bool },
    /// Takes a node out for good.
    Remove { node: NodeId },
}

/// What the node says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// It is done; for a report the report.
    Ok(Value),
    /// Why it is not.
    Error(String),
}

/// Asks the node that runs on a data directory.
pub(crate) fn call(data_dir: &Path, ask: &Ask) -> Result<Answer, Failure> {
    let path = data_dir.join(SOCKET);
    let stream = near(data_dir).and_then(|near| UnixStream::connect(near.socket()));
    let mut stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            let what = format!(
                "no node runs on {}; start it with `parlance serve`, or name its data directory \
                 with --data-dir",
                data_dir.display()
            );
            Failure::new(Cause::DataDirectory, what)
        }
        _ => failed(&path, "cannot be used", &error),
    })?;
    exchange(&mut stream, ask).map_err(|error| failed(&path, "gives no answer", &error))
}

fn exchange(stream: &mut UnixStream, ask: &Ask) -> io::Result<Answer> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&framed(ask))?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut text = vec![0; checked(u32::from_be_bytes(length), ANSWER_BYTES_MAX)?];
    stream.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// A value with its length before it.
pub(super) fn framed(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_vec(value).expect("these words are JSON");
    let length = u32::try_from(text.len()).expect("far below 4 GiB");
    [&length.to_be_bytes()[..], &text].concat()
}

/// A length that somebody said, if it is within the bound.
pub(super) fn checked(length: u32, max: usize) -> io::Result<usize> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > max {
        let what = format!("a frame of {length} bytes; at most {max} are read");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(length)
}

/// A way to name the socket that fits into a socket's address.
pub(super) struct Near {
    folder: PathBuf,
    /// Held while the name is used: the short name leads through it.
    _open: Option<File>,
}

impl Near {
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }
}

/// The folder by its name; one whose name is too long by its open file.
pub(super) fn near(data_dir: &Path) -> io::Result<Near> {
    if data_dir.join(SOCKET).as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return Ok(Near { folder: data_dir.to_owned(), _open: None });
    }
    let open = File::open(data_dir)?;
    let folder = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()));
    Ok(Near { folder, _open: Some(open) })
}
