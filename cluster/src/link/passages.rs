//! The socket of connections that go over other nodes. To QUIC it is a UDP socket; its packets
//! travel on passages, which are streams to relays (`relay.rs`). Each passage has an address that
//! only this node knows. Like a network it may lose packets: one for a passage that is full or gone
//! is dropped, and QUIC sees to the rest.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, RecvStream, SendStream, UdpPoller};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::limits::{
    PASSAGE_PACKET_BYTES_MAX, PASSAGE_PACKETS_AT_ONCE, PASSAGE_PACKETS_MAX, PASSAGES_ARRIVED_MAX,
};
use crate::transport::PeerName;

/// The first address of passages, from the range of private networks.
const FIRST: u128 = 0xfd00_u128 << 112;
/// Where packets on a passage seem to come from; any but 0 will do.
const PORT: u16 = 1;
/// Bytes before each packet on a stream: its length, big-endian.
const LENGTH_BYTES: usize = 2;

/// The socket, and every passage of this endpoint that ends at this node.
pub(super) struct Passages {
    open: Mutex<Open>,
    arrived: mpsc::Sender<(SocketAddr, Bytes)>,
    arriving: Mutex<mpsc::Receiver<(SocketAddr, Bytes)>>,
}

#[derive(Default)]
struct Open {
    passages: HashMap<SocketAddr, Passage>,
    /// How many there have been.
    count: u64,
}

/// This node's end of a passage.
#[derive(Debug, Clone)]
pub(super) struct Passage {
    /// What connections over it have as their other side's address.
    pub(super) address: SocketAddr,
    /// The node that relays.
    pub(super) relay: PeerName,
    /// Where that one is.
    pub(super) relay_at: SocketAddr,
    /// Cancelled when it is over, and cancelling it ends it.
    pub(super) ended: CancellationToken,
    packets: mpsc::Sender<Bytes>,
}

impl Passages {
    pub(super) fn new() -> Arc<Self> {
        let (arrived, arriving) = mpsc::channel(PASSAGES_ARRIVED_MAX);
        Arc::new(Self { open: Mutex::default(), arrived, arriving: Mutex::new(arriving) })
    }

    /// Begins a passage. What is sent on it is to be taken from the receiver, and what comes goes to
    /// [`arrive`](Self::arrive), until it is [`ended`](Self::end).
    pub(super) fn begin(
        &self,
        relay: PeerName,
        relay_at: SocketAddr,
        ended: CancellationToken,
    ) -> (Passage, mpsc::Receiver<Bytes>) {
        let (packets, waiting) = mpsc::channel(PASSAGE_PACKETS_MAX);
        let mut open = self.open.lock();
        open.count += 1;
        let address = (Ipv6Addr::from(FIRST | u128::from(open.count)), PORT).into();
        let passage = Passage { address, relay, relay_at, ended, packets };
        open.passages.insert(address, passage.clone());
        (passage, waiting)
    }

    /// A packet came, as it stands on streams.
    pub(super) fn arrive(&self, passage: &Passage, packet: Bytes) {
        let _ = self.arrived.try_send((passage.address, packet.slice(LENGTH_BYTES..)));
    }

    /// A passage is over.
    pub(super) fn end(&self, passage: &Passage) {
        self.open.lock().passages.remove(&passage.address);
        passage.ended.cancel();
    }

    /// The passage with this address, while it is there.
    pub(super) fn at(&self, address: SocketAddr) -> Option<Passage> {
        self.open.lock().passages.get(&address).cloned()
    }
}

impl AsyncUdpSocket for Passages {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if let Some(passage) = self.open.lock().passages.get(&transmit.destination)
            && let Some(packet) = framed(transmit.contents)
        {
            offer(&passage.packets, packet);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arriving = self.arriving.lock();
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            // It is never closed: the other end of the queue is here too.
            let Poll::Ready(Some((addr, packet))) = arriving.poll_recv(context) else { break };
            let len = packet.len().min(buffer.len());
            buffer[..len].copy_from_slice(&packet[..len]);
            *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
            count += 1;
        }
        if count > 0 { Poll::Ready(Ok(count)) } else { Poll::Pending }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok((Ipv6Addr::from(FIRST), PORT).into())
    }
}

impl fmt::Debug for Passages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passages").field("open", &self.open.lock().passages).finish_non_exhaustive()
    }
}

/// What does not fit is dropped, so nobody ever waits.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A packet as it stands on streams. `None` for one that no relay takes.
fn framed(packet: &[u8]) -> Option<Bytes> {
    if packet.len() > PASSAGE_PACKET_BYTES_MAX {
        return None;
    }
    let mut framed = BytesMut::with_capacity(LENGTH_BYTES + packet.len());
    framed.put_u16(u16::try_from(packet.len()).ok()?);
    framed.put_slice(packet);
    Some(framed.freeze())
}

/// Queues a packet, or drops it when the queue is full. Says whether it was queued.
pub(super) fn offer(queue: &mpsc::Sender<Bytes>, packet: Bytes) -> bool {
    queue.try_send(packet).is_ok()
}

/// Takes packets from a stream, each with its length before it, until the stream ends or holds
/// something else.
pub(super) async fn read(stream: &mut RecvStream, mut take: impl FnMut(Bytes)) {
    let mut length = [0; LENGTH_BYTES];
    while stream.read_exact(&mut length).await.is_ok() {
        let bytes = usize::from(u16::from_be_bytes(length));
        if bytes > PASSAGE_PACKET_BYTES_MAX {
            return;
        }
        let mut packet = BytesMut::zeroed(LENGTH_BYTES + bytes);
        packet[..LENGTH_BYTES].copy_from_slice(&length);
        if stream.read_exact(&mut packet[LENGTH_BYTES..]).await.is_err() {
            return;
        }
        take(packet.freeze());
    }
}

/// Puts packets on a stream until either ends.
pub(super) async fn write(stream: &mut SendStream, mut waiting: mpsc::Receiver<Bytes>) {
    let mut packets = Vec::new();
    while waiting.recv_many(&mut packets, PASSAGE_PACKETS_AT_ONCE).await > 0 {
        if stream.write_all_chunks(&mut packets).await.is_err() {
            return;
        }
        packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_packets_on_a_stream_do_not_change() {
        assert_eq!(framed(b"abc").expect("small"), &b"\x00\x03abc"[..]);
        assert!(framed(&[0; PASSAGE_PACKET_BYTES_MAX + 1]).is_none());
    }
}
