//! A door with one address for a node that gets another port with every start. It hands bytes on
//! and knows nothing of them; while there is no node it closes what comes in.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub(crate) struct Front {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    task: JoinHandle<()>,
}

impl Front {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound listener");
        let target = Arc::new(Mutex::new(None));
        let task = tokio::spawn(accept(listener, target.clone()));
        Self { address, target, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lead_to(&self, target: Option<SocketAddr>) {
        *self.target.lock().expect("nothing panics with this lock") = target;
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: Arc<Mutex<Option<SocketAddr>>>) {
    let mut pairs = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let target = *target.lock().expect("nothing panics with this lock");
                if let (Ok((client, _)), Some(target)) = (accepted, target) {
                    pairs.spawn(hand_on(client, target));
                }
            }
            // Ended pairs are taken away; how they ended is for their two sides to know.
            Some(_) = pairs.join_next() => {}
        }
    }
}

async fn hand_on(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut node) = TcpStream::connect(target).await else { return };
    for side in [&client, &node] {
        // Without it a ping-pong of small frames waits for delayed acks.
        let _ = side.set_nodelay(true);
    }
    let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
}
