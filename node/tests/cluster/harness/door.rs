//! A door of its own for a crowd: a balancer without an eye for readiness, whose connections can all
//! be cut at once, or plugged, as if the clients behind it read nothing more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use parlance_client::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::aside::Aside;

/// A node that does not take a connection in this time is passed over.
const CONNECT: Duration = Duration::from_secs(1);
/// What a door takes from a node at once, and has the kernel keep for it: little, so that a plugged
/// one is felt at the node soon.
const TAKEN_BYTES: usize = 4 * 1024;
/// A crowd comes at once, and all of it is to find a place.
const BACKLOG: u32 = 8_192;

/// It ends with all its connections when dropped.
pub(crate) struct Door {
    address: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    cuts: watch::Sender<u32>,
    plugged: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Door {
    /// A door to these nodes, in turn. One that takes no connection is passed over. It works aside.
    pub(crate) fn open(aside: &Aside, targets: Vec<SocketAddr>) -> Self {
        let _here = aside.handle().enter();
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a free port on loopback");
        let listener = socket.listen(BACKLOG).expect("a bound socket");
        let address = listener.local_addr().expect("a bound listener");
        let targets = Arc::new(Mutex::new(targets));
        let (cuts, cut) = watch::channel(0);
        let (plugged, plug) = watch::channel(false);
        let task = tokio::spawn(accept(listener, Arc::clone(&targets), cut, plug));
        Self { address, targets, cuts, plugged, task }
    }

    /// The service as those outside reach it.
    pub(crate) fn server(&self) -> Server {
        Server::parse(&format!("http://{}", self.address)).expect("a good address")
    }

    /// From now on new connections go to one of these, in turn.
    pub(crate) fn lead_to(&self, targets: Vec<SocketAddr>) {
        *self.targets.lock().expect("nothing panics with this lock") = targets;
    }

    /// Cuts every connection at once.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// While it is plugged, nothing that a node says is taken; what clients say still passes.
    pub(crate) fn plug(&self, plugged: bool) {
        self.plugged.send_replace(plugged);
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    cut: watch::Receiver<u32>,
    plug: watch::Receiver<bool>,
) {
    let mut pairs = JoinSet::new();
    let mut turn = 0_usize;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let mut targets = targets.lock().expect("nothing panics with this lock").clone();
                turn = turn.wrapping_add(1);
                let first = turn % targets.len().max(1);
                targets.rotate_left(first);
                let (mut cut, plug) = (cut.clone(), plug.clone());
                cut.mark_unchanged();
                pairs.spawn(async move {
                    tokio::select! {
                        () = hand_on(client, targets, plug) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
            // Ended pairs are taken away; how they ended is for their two sides to know.
            Some(_) = pairs.join_next() => {}
        }
    }
}

async fn hand_on(client: TcpStream, targets: Vec<SocketAddr>, plug: watch::Receiver<bool>) {
    for target in targets {
        let Ok(Ok(node)) = timeout(CONNECT, connect(target)).await else { continue };
        for side in [&client, &node] {
            // Without it a ping-pong of small frames waits for delayed acks.
            let _ = side.set_nodelay(true);
        }
        // How it ended is for the two sides to know.
        let _ = carry(client, node, plug).await;
        return;
    }
}

async fn connect(target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(u32::try_from(TAKEN_BYTES).expect("a few bytes"))?;
    socket.connect(target).await
}

async fn carry(
    client: TcpStream,
    node: TcpStream,
    mut plug: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let there = async {
        let mut some = vec![0; TAKEN_BYTES];
        loop {
            let length = from_client.read(&mut some).await?;
            if length == 0 {
                return std::io::Result::Ok(());
            }
            to_node.write_all(&some[..length]).await?;
        }
    };
    let back = async {
        let mut some = vec![0; TAKEN_BYTES];
        loop {
            if plug.wait_for(|plugged| !plugged).await.is_err() {
                return Ok(());
            }
            let length = tokio::select! {
                read = from_node.read(&mut some) => read?,
                _ = plug.changed() => continue,
            };
            if length == 0 {
                return std::io::Result::Ok(());
            }
            to_client.write_all(&some[..length]).await?;
        }
    };
    tokio::select! {
        ended = there => ended,
        ended = back => ended,
    }
}
