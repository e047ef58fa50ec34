//! The operators' door to a running node: a unix socket in the data directory. Whoever may read
//! the data directory may ask; there is no other sign-in.
//!
//! It translates between the socket and the port `Cluster`, and decides nothing about the cluster.

mod words;

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::ports::cluster::Cluster;
use parlance_actors::ports::directory::DirectoryError;
use parlance_actors::vocab::TenantId;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

pub(crate) use words::{Answer, Ask, call};

use self::words::ASK_BYTES_MAX;
use crate::data_dir::failed;
use crate::failure::Failure;

/// The socket's name in the data directory.
pub(crate) const SOCKET: &str = "control.sock";
/// Callers at the same time: operators and their scripts. One more waits in the listener's queue.
const CALLERS_MAX: usize = 8;
/// How long a caller may take to ask and to read its answer.
const CALLER_PATIENCE: Duration = Duration::from_secs(5);
/// How long the directory may take. Longer than its own deadline, which names the cause.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(20);
/// Pause after an accept that failed for want of a resource, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The open door.
pub(crate) struct ControlSocket {
    path: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Opens the socket in a data directory that this process holds the lock of. A socket that a
    /// process left there when it was killed is nobody's any more, and gives way.
    pub(crate) fn open(data_dir: &Path, cluster: Arc<dyn Cluster>) -> Result<Self, Failure> {
        let path = data_dir.join(SOCKET);
        let at = |doing: &str, error: io::Error| failed(&path, doing, &error);
        match std::fs::symlink_metadata(&path) {
            Ok(about) if about.file_type().is_socket() => {
                std::fs::remove_file(&path).map_err(|error| at("cannot be replaced", error))?;
            }
            Ok(_) => {
                let error = io::Error::other("something else than a socket has its name");
                return Err(at("cannot be made", error));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("cannot be looked at", error)),
        }
        let near = words::near(data_dir).map_err(|error| at("cannot be made", error))?;
        let listener = UnixListener::bind(near.socket())
            .map_err(|error| at("cannot be listened on", error))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| at("cannot be made private", error))?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(listen(listener, cluster, stop.clone()));
        Ok(Self { path, stop, task })
    }

    /// Ends it; callers that wait for an answer do not get one.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the control socket ended badly");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the control socket stays behind");
        }
    }
}

async fn listen(listener: UnixListener, cluster: Arc<dyn Cluster>, stop: CancellationToken) {
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = callers.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a call over the control socket ended badly");
                }
            }
            accepted = listener.accept(), if callers.len() < CALLERS_MAX => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(serve(stream, cluster.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept; trying on");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// One question, one answer.
async fn serve(mut stream: UnixStream, cluster: Arc<dyn Cluster>) {
    let read = tokio::time::timeout(CALLER_PATIENCE, read(&mut stream)).await;
    let answer = match read {
        Ok(Ok(text)) => answer(&text, &*cluster).await,
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Answer::Error(error.to_string())
        }
        // It went away, or says nothing: there is nobody to answer.
        Ok(Err(_)) | Err(_) => return,
    };
    let frame = words::framed(&answer);
    let written = async {
        stream.write_all(&frame).await?;
        stream.shutdown().await
    };
    // A caller that does not read its answer does not need it.
    let _ = tokio::time::timeout(CALLER_PATIENCE, written).await;
}

async fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    let length = words::checked(length, ASK_BYTES_MAX)?;
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    Ok(text)
}

async fn answer(text: &[u8], cluster: &dyn Cluster) -> Answer {
    let ask = match serde_json::from_slice::<Ask>(text) {
        Ok(ask) => ask,
        Err(error) => return Answer::Error(format!("that is no question: {error}")),
    };
    if !matches!(ask, Ask::Report | Ask::Rooms) {
        tracing::info!(?ask, "an operator asks");
    }
    let doing = async {
        match ask {
            Ask::Report => return Ok(serde_json::to_value(cluster.report())),
            Ask::Rooms => return Ok(serde_json::to_value(cluster.busiest(TenantId::MAIN).await)),
            Ask::Move { shard, to } => cluster.move_shard(shard, to).await,
            Ask::Pin { shard, to } => cluster.pin_shard(shard, to).await,
            Ask::Drain { node, on } => cluster.drain_node(node, on).await,
            Ask::Remove { node } => cluster.remove_node(node).await,
        }
        .map(|()| Ok(Value::Null))
    };
    match tokio::time::timeout(CLUSTER_PATIENCE, doing).await {
        Ok(Ok(Ok(value))) => Answer::Ok(value),
        Ok(Ok(Err(error))) => Answer::Error(format!("the report has no words: {error}")),
        Ok(Err(error)) => Answer::Error(refused(&error)),
        Err(_) => {
            Answer::Error("no answer in time; look at the status before you ask again".into())
        }
    }
}

fn refused(error: &DirectoryError) -> String {
    match error {
        DirectoryError::Unavailable(_) => {
            format!("{error}; whether it was done is unknown: look at the status, then ask again")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use parlance_actors::ports::cluster::ClusterReport;
    use parlance_actors::testkit::cluster::MemoryCluster;
    use parlance_actors::testkit::directory::MemoryDirectory;
    use parlance_actors::vocab::{NodeId, ShardId};

    use super::*;

    struct Door {
        dir: tempfile::TempDir,
        cluster: Arc<MemoryCluster>,
        socket: ControlSocket,
    }

    fn open() -> Door {
        let dir = tempfile::tempdir().expect("a folder");
        open_in(dir)
    }

    fn open_in(dir: tempfile::TempDir) -> Door {
        let directory = Arc::new(MemoryDirectory::default());
        let cluster = Arc::new(MemoryCluster::new(directory));
        let socket = ControlSocket::open(dir.path(), cluster.clone()).expect("it opens");
        Door { dir, cluster, socket }
    }

    async fn ask(door: &Door, ask: Ask) -> Result<Value, String> {
        let dir = door.dir.path().to_owned();
        let asked = tokio::task::spawn_blocking(move || call(&dir, &ask)).await.expect("no panic");
        match asked.expect("it answers") {
            Answer::Ok(value) => Ok(value),
            Answer::Error(what) => Err(what),
        }
    }

    #[tokio::test]
    async fn a_report_is_the_same_over_the_socket() {
        let door = open();
        let report: ClusterReport = door.cluster.report();
        let heard = ask(&door, Ask::Report).await.expect("a report");
        assert_eq!(heard, serde_json::to_value(report).expect("JSON"));
        assert_eq!(heard["shards"].as_array().map(Vec::len), Some(256));
        let mode = std::fs::metadata(door.dir.path().join(SOCKET)).expect("it is there");
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
        door.socket.close().await;
        assert!(!door.dir.path().join(SOCKET).exists());
    }

    #[tokio::test]
    async fn what_an_operator_asks_for_is_done_or_refused_with_the_reason() {
        let door = open();
        let (shard, to) = (ShardId(7), NodeId(2));
        let refused = ask(&door, Ask::Move { shard, to }).await.expect_err("no such node");
        assert!(refused.contains("no node 2"), "{refused}");
        door.cluster.add_node(to, "two");
        ask(&door, Ask::Move { shard, to }).await.expect("moved");
        ask(&door, Ask::Pin { shard, to: Some(to) }).await.expect("pinned");
        ask(&door, Ask::Drain { node: to, on: true }).await.expect("draining");
        let report = ask(&door, Ask::Report).await.expect("a report");
        assert_eq!(report["shards"][7]["moving_to"], 2);
        assert_eq!(report["shards"][7]["pinned_to"], 2);
        assert_eq!(report["nodes"][1]["state"], "draining");
        door.socket.close().await;
    }

    #[tokio::test]
    async fn what_is_no_question_is_named_and_the_door_stays_open() {
        let door = open();
        let path = door.dir.path().join(SOCKET);
        let say = |bytes: Vec<u8>| {
            let path = path.clone();
            tokio::task::spawn_blocking(move || {
                let mut stream = UnixStream::connect(path).expect("it listens");
                stream.write_all(&bytes).expect("it reads");
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).expect("it answers");
                String::from_utf8_lossy(heard.get(4..).unwrap_or_default()).into_owned()
            })
        };
        let text = br#"{"do":"dance"}"#;
        let mut frame = u32::try_from(text.len()).expect("short").to_be_bytes().to_vec();
        frame.extend_from_slice(text);
        let heard = say(frame).await.expect("no panic");
        assert!(heard.contains("that is no question"), "{heard}");
        let heard = say(u32::MAX.to_be_bytes().to_vec()).await.expect("no panic");
        assert!(heard.contains("bytes; at most"), "{heard}");
        ask(&door, Ask::Report).await.expect("it goes on");
        door.socket.close().await;
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_gives_way_and_another_file_does_not() {
        let dir = tempfile::tempdir().expect("a folder");
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(SOCKET)).expect("bound"));
        let nobody = call(dir.path(), &Ask::Report).expect_err("nobody is there");
        assert!(nobody.to_string().contains("no node runs on"), "{nobody}");
        let door = open_in(dir);
        ask(&door, Ask::Report).await.expect("it opened");
        door.socket.close().await;

        let dir = tempfile::tempdir().expect("a folder");
        std::fs::write(dir.path().join(SOCKET), "mine").expect("a file");
        let cluster = door.cluster.clone();
        let refused = ControlSocket::open(dir.path(), cluster).err().expect("it is no socket");
        assert!(refused.to_string().contains("something else"), "{refused}");
    }

    #[tokio::test]
    async fn a_data_directory_with_a_long_name_has_a_socket_all_the_same() {
        let dir = tempfile::Builder::new().prefix(&"x".repeat(150)).tempdir().expect("a folder");
        let door = open_in(dir);
        ask(&door, Ask::Report).await.expect("it answers");
        door.socket.close().await;
    }
}
