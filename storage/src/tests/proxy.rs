//! A proxy before a PostgreSQL server's unix socket, which can swallow the server's replies and
//! cut connections while the server knows nothing of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::testkit::PostgresServer;

/// PostgreSQL's name for the socket of its default port.
const SOCKET: &str = ".s.PGSQL.5432";

/// Ends with its connections when dropped.
pub(super) struct Proxy {
    folder: TempDir,
    mute: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub(super) fn before(server: &PostgresServer) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
        let mute = Arc::<AtomicBool>::default();
        let (cuts, _) = watch::channel(0);
        let (muted, cut) = (mute.clone(), cuts.clone());
        let socket = server.socket_folder().join(SOCKET);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (muted, socket) = (muted.clone(), socket.clone());
                let mut cut = cut.subscribe();
                connections.spawn(async move {
                    tokio::select! {
                        () = carry(client, &socket, &muted) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { folder, mute, cuts, accepting }
    }

    pub(super) fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Swallows what the server says from now on. A connection that missed something stays mute.
    pub(super) fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
    }

    /// Cuts every connection at once.
    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(client: UnixStream, socket: &Path, muted: &AtomicBool) {
    let Ok(server) = UnixStream::connect(socket).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let replies = async {
        let mut buffer = vec![0; 8_192];
        let mut missed = false;
        while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
            missed |= muted.load(Ordering::SeqCst);
            if !missed && to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = replies => {}
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
    }
}
