//! A door with one address for nodes that come and go. It leads each connection to one of the
//! nodes that are there, hands bytes on and knows nothing of them; while there is no node it
//! closes what comes in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// A node that does not take a connection in this time is passed over.
const CONNECT: Duration = Duration::from_secs(1);

pub(crate) struct Front {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener");
        let targets = Arc::default();
        let task = tokio::spawn(accept(listener, Arc::clone(&targets)));
        Self { address, targets, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on new connections go to one of these, in turn.
    pub(crate) fn lead_to(&self, targets: impl IntoIterator<Item = SocketAddr>) {
        let targets = targets.into_iter().collect();
        *self.targets.lock().expect("nothing panics with this lock") = targets;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, targets: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut pairs = JoinSet::new();
    let mut turn = 0_usize;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let mut targets = targets.lock().expect("nothing panics with this lock").clone();
                if let (Ok((client, _)), false) = (accepted, targets.is_empty()) {
                    turn = turn.wrapping_add(1);
                    let first = turn % targets.len();
                    targets.rotate_left(first);
                    pairs.spawn(hand_on(client, targets));
                }
            }
            // Ended pairs are taken away; how they ended is for their two sides to know.
            Some(_) = pairs.join_next() => {}
        }
    }
}

async fn hand_on(mut client: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        let Ok(Ok(mut node)) = timeout(CONNECT, TcpStream::connect(target)).await else { continue };
        for side in [&client, &node] {
            // Without it a ping-pong of small frames waits for delayed acks.
            let _ = side.set_nodelay(true);
        }
        let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
        return;
    }
}
