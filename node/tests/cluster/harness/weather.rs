//! Bad weather on the way between two hosts, because not every kernel has netem: a proxy for UDP
//! that loses, delays and reorders packets, and one for TCP that swallows answers and cuts.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::town::Chance;

/// Larger than any packet.
const PACKET_BYTES_MAX: usize = 65_536;
/// Packets under way at once in one proxy. More are lost, as on a full line.
const UNDER_WAY_MAX: usize = 10_000;

/// How bad it is. Delays that differ from packet to packet change their order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost_percent: u64,
    pub(crate) delay_ms: u64,
    /// Up to this much more, for each packet anew.
    pub(crate) jitter_ms: u64,
}

/// What all ways of a test share: the weather can change at any time.
#[derive(Debug, Clone)]
pub(crate) struct Sky {
    weather: Arc<Mutex<Weather>>,
    chance: Arc<Mutex<Chance>>,
}

impl Sky {
    pub(crate) fn clear(chance: &Chance) -> Self {
        Self { weather: Arc::default(), chance: Arc::new(Mutex::new(chance.clone())) }
    }

    pub(crate) fn turn(&self, weather: Weather) {
        *self.weather.lock().expect("nothing panics with this lock") = weather;
    }

    /// How long the next packet takes, or `None` when it is lost.
    fn fate(&self) -> Option<Duration> {
        let weather = *self.weather.lock().expect("nothing panics with this lock");
        let mut chance = self.chance.lock().expect("nothing panics with this lock");
        if chance.below(100) < weather.lost_percent {
            return None;
        }
        let delay = weather.delay_ms + chance.below(weather.jitter_ms + 1);
        Some(Duration::from_millis(delay))
    }
}

/// A way for packets to one address. It ends when dropped.
#[derive(Debug)]
pub(crate) struct PacketProxy {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl PacketProxy {
    pub(crate) async fn open(at: IpAddr, to: SocketAddr, sky: Sky) -> Self {
        let socket = UdpSocket::bind((at, 0)).await.expect("a free port");
        let address = socket.local_addr().expect("a bound socket");
        let task = tokio::spawn(carry_packets(Arc::new(socket), to, sky));
        Self { address, task }
    }
}

impl Drop for PacketProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Each client gets a socket of its own towards the target, so that answers find their way.
async fn carry_packets(socket: Arc<UdpSocket>, to: SocketAddr, sky: Sky) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut backwards = JoinSet::new();
    let mut under_way = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        while under_way.try_join_next().is_some() {}
        let Ok((length, client)) = socket.recv_from(&mut packet).await else { continue };
        let out = match clients.get(&client) {
            Some(out) => Arc::clone(out),
            None => {
                let at = socket.local_addr().expect("a bound socket").ip();
                let out = UdpSocket::bind((at, 0)).await.expect("a free port");
                out.connect(to).await.expect("an address of the network");
                let out = Arc::new(out);
                clients.insert(client, Arc::clone(&out));
                let (out, socket, sky) = (Arc::clone(&out), Arc::clone(&socket), sky.clone());
                backwards.spawn(carry_back(out, socket, client, sky));
                Arc::clone(&clients[&client])
            }
        };
        if let Some(delay) = sky.fate()
            && under_way.len() < UNDER_WAY_MAX
        {
            let packet = packet[..length].to_vec();
            under_way.spawn(async move {
                tokio::time::sleep(delay).await;
                // A packet that cannot be sent is a lost one.
                let _ = out.send(&packet).await;
            });
        }
    }
}

async fn carry_back(from: Arc<UdpSocket>, to: Arc<UdpSocket>, client: SocketAddr, sky: Sky) {
    let mut under_way = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        while under_way.try_join_next().is_some() {}
        // Nobody listens there for now: the next packet may find somebody.
        let Ok(length) = from.recv(&mut packet).await else { continue };
        if let Some(delay) = sky.fate()
            && under_way.len() < UNDER_WAY_MAX
        {
            let (to, packet) = (Arc::clone(&to), packet[..length].to_vec());
            under_way.spawn(async move {
                tokio::time::sleep(delay).await;
                let _ = to.send_to(&packet, client).await;
            });
        }
    }
}

/// A way for connections to one address. It ends with them when dropped.
#[derive(Debug)]
pub(crate) struct StreamProxy {
    pub(crate) address: SocketAddr,
    mute: Arc<AtomicBool>,
    cuts: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl StreamProxy {
    pub(crate) async fn open(at: IpAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let mute = Arc::<AtomicBool>::default();
        let (cuts, cut) = watch::channel(0);
        let task = tokio::spawn(carry_streams(listener, to, mute.clone(), cut));
        Self { address, mute, cuts, task }
    }

    /// Swallows what the target says from now on. A connection that missed something is worth
    /// nothing afterwards: cut it.
    pub(crate) fn mute(&self, mute: bool) {
        self.mute.store(mute, Ordering::SeqCst);
    }

    /// Cuts every connection at once.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for StreamProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry_streams(
    listener: TcpListener,
    to: SocketAddr,
    mute: Arc<AtomicBool>,
    cut: watch::Receiver<u32>,
) {
    let mut pairs = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { continue };
                let (mute, mut cut) = (Arc::clone(&mute), cut.clone());
                cut.mark_unchanged();
                pairs.spawn(async move {
                    tokio::select! {
                        _ = carry_stream(client, to, &mute) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
            Some(_) = pairs.join_next() => {}
        }
    }
}

async fn carry_stream(client: TcpStream, to: SocketAddr, mute: &AtomicBool) -> std::io::Result<()> {
    let target = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    target.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_target, mut to_target) = target.into_split();
    let there = tokio::io::copy(&mut from_client, &mut to_target);
    let back = async {
        let mut some = vec![0; 16 * 1024];
        loop {
            let length = from_target.read(&mut some).await?;
            if length == 0 {
                return std::io::Result::Ok(());
            }
            if !mute.load(Ordering::SeqCst) {
                to_client.write_all(&some[..length]).await?;
            }
        }
    };
    tokio::select! {
        ended = there => ended.map(drop),
        ended = back => ended,
    }
}
