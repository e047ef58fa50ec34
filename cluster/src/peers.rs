//! The data endpoint: the port [`Peers`] over QUIC. One connection to each peer that this node
//! dials and sends on, with one ordered stream for each channel; one from each peer that it
//! accepts and receives on.
//!
//! What keeps the port's promise are the rounds of each channel (`peers/channel.rs`): whatever breaks one
//! direction ends the round of both, each end tells its [`Inbox`] once before it takes anything of
//! the next round, and whatever is said to an inbox about one peer and channel is said under one
//! lock.
//!
//! It does not find peers (it is told of them with [`DataLinks::set_peers`]), and it does not look
//! into frames. Where there is no direct way to a peer, the connection goes over another one, which
//! changes nothing here but the report: the ends are the same.

mod channel;
mod counts;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod outlet;
mod receive;
mod send;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use parlance_actors::ports::cluster::LinkReport;
use parlance_actors::ports::peers::{CHANNELS, Channel, Inbox, Live, NotSent, Peers, Round};
use parlance_actors::vocab::NodeId;
use quinn::AckFrequencyConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::limits::{
    CHANNEL_STREAMS_MAX, CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, PACKETS_UNACKNOWLEDGED_MAX,
    PASSAGES_PER_CONNECTION_MAX, STREAM_WINDOW_BYTES,
};
use crate::link::{
    BindError, LinkEndpoint, LinkOptions, Linked, Names, Neighbours, Protocols, Purpose, socket,
    transport,
};
use crate::transport::PeerName;
use channel::{Link, Told};
use counts::Counts;

/// A peer and where it is, as the directory and gossip have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAddress {
    /// Its id.
    pub node: NodeId,
    /// The name that is bound to its id; who else is there is refused.
    pub name: PeerName,
    /// `host:port` of its data endpoint; names are resolved at each dial.
    pub data: Arc<str>,
    /// Whether gossip believes it to be alive. One that is not is dialled all the same.
    pub alive: bool,
}

/// The data endpoint. Everything of it runs on the runtime in which it was bound. Dropping it ends
/// it without waiting; [`close`](Self::close) ends it in order.
pub struct DataLinks {
    shared: Arc<Shared>,
}

struct Shared {
    node: NodeId,
    endpoint: Arc<LinkEndpoint>,
    peers: RwLock<HashMap<NodeId, Arc<Peer>>>,
    live: watch::Sender<Arc<Live>>,
    inbox: OnceLock<Arc<dyn Inbox>>,
    /// Cancelled when `inbox` is there.
    attached: CancellationToken,
    /// Made with the first frame: when the endpoint is bound, nobody listens to counters yet.
    counts: LazyLock<Counts>,
}

/// A peer, in both directions.
struct Peer {
    node: NodeId,
    name: PeerName,
    data: Mutex<Arc<str>>,
    channels: [Link; CHANNELS as usize],
    /// The connection that this node sends on.
    linked: Mutex<Option<Linked>>,
    /// The newest start of the peer that was heard of.
    incarnation: watch::Sender<u64>,
    interruptions: AtomicU64,
    /// Cancelled when it is no peer any more.
    ended: CancellationToken,
}

impl DataLinks {
    /// Binds the endpoint of a node. Nothing is sent or received before an inbox is attached and
    /// peers are set. `options.hello.incarnation` must be larger than in every earlier process of
    /// this node.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(node: NodeId, options: LinkOptions) -> Result<Self, BindError> {
        Self::bind_on(socket(options.listen)?, node, options)
    }

    /// The same on a socket that is bound already: a node's data endpoint has its address before
    /// the node has its id.
    pub(crate) fn bind_on(
        bound: UdpSocket,
        node: NodeId,
        mut options: LinkOptions,
    ) -> Result<Self, BindError> {
        options.hello.node = Some(node);
        let mut acks = AckFrequencyConfig::default();
        acks.ack_eliciting_threshold(PACKETS_UNACKNOWLEDGED_MAX.into());
        let mut transport = transport();
        transport
            .max_concurrent_bidi_streams(PASSAGES_PER_CONNECTION_MAX.into())
            .max_concurrent_uni_streams(CHANNEL_STREAMS_MAX.into())
            .stream_receive_window(STREAM_WINDOW_BYTES.into())
            .receive_window(CONNECTION_WINDOW_BYTES.into())
            .send_window(CONNECTION_WINDOW_BYTES.into())
            .ack_frequency_config(Some(acks))
            .datagram_receive_buffer_size(None);
        let endpoint =
            LinkEndpoint::bind_on(bound, options, &[Purpose::Actor], Protocols::NOW, transport)?;
        let live = Arc::new(Live { nodes: BTreeSet::from([node]) });
        let shared = Arc::new(Shared {
            node,
            endpoint,
            peers: RwLock::default(),
            live: watch::Sender::new(live),
            inbox: OnceLock::new(),
            attached: CancellationToken::new(),
            counts: LazyLock::new(Counts::new),
        });
        shared.endpoint.set_neighbours(Arc::downgrade(&shared) as Weak<dyn Neighbours>);
        shared.endpoint.set_names(Arc::new(PeerNames(Arc::downgrade(&shared))));
        let here = Arc::clone(&shared);
        shared.endpoint.accept_with(move |linked| receive::serve(Arc::clone(&here), linked));
        Ok(Self { shared })
    }

    /// Says who the peers are and where. Those that are not named any more are let go: frames to
    /// and from them are lost, and the inbox hears of it. This node may be among them and is
    /// passed over.
    pub fn set_peers(&self, peers: Vec<PeerAddress>) {
        self.shared.set_peers(peers);
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.endpoint.local_addr()
    }

    /// The links to all peers, ascending by id.
    #[must_use]
    pub fn links(&self) -> Vec<LinkReport> {
        let peers = self.shared.peers.read();
        let called =
            |name: &PeerName| peers.values().find(|peer| peer.name == *name).map(|peer| peer.node);
        let mut links: Vec<_> = peers.values().map(|peer| peer.report(called)).collect();
        links.sort_by_key(|link| link.peer);
        links
    }

    /// Cuts the connection that this node sends on to a peer.
    #[cfg(test)]
    fn cut(&self, node: NodeId) {
        let peer = self.shared.peers.read().get(&node).cloned();
        if let Some(linked) = peer.and_then(|peer| peer.up()) {
            linked.connection.close(0_u8.into(), b"cut");
        }
    }

    /// Ends every connection and task. What waits to be sent is lost.
    pub async fn close(&self) {
        self.shared.endpoint.close().await;
    }
}

impl Peers for DataLinks {
    fn live(&self) -> watch::Receiver<Arc<Live>> {
        self.shared.live.subscribe()
    }

    fn send(&self, to: NodeId, channel: Channel, frame: Bytes) -> Result<(), NotSent> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(NotSent::TooLarge);
        }
        let peers = self.shared.peers.read();
        peers.get(&to).ok_or(NotSent::NoWay)?.link(channel).outlet.send(frame)
    }

    fn reaches(&self, to: NodeId, channel: Channel) -> bool {
        let peers = self.shared.peers.read();
        peers.get(&to).is_some_and(|peer| peer.link(channel).outlet.is_open())
    }

    fn round(&self, to: NodeId, channel: Channel) -> Round {
        let peers = self.shared.peers.read();
        peers.get(&to).map_or(Round(0), |peer| peer.link(channel).outlet.round())
    }

    fn send_in(
        &self,
        round: Round,
        to: NodeId,
        channel: Channel,
        frame: Bytes,
    ) -> Result<(), NotSent> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(NotSent::TooLarge);
        }
        let peers = self.shared.peers.read();
        peers.get(&to).ok_or(NotSent::NoWay)?.link(channel).outlet.send_in(round, frame)
    }

    fn whisper(&self, to: NodeId, channel: Channel, frame: Bytes) {
        if frame.len() <= FRAME_BYTES_MAX
            && let Some(peer) = self.shared.peers.read().get(&to)
        {
            peer.link(channel).outlet.whisper(frame);
        }
    }

    fn attach(&self, inbox: Arc<dyn Inbox>) {
        if self.shared.inbox.set(inbox).is_ok() {
            self.shared.attached.cancel();
        }
    }
}

impl Drop for DataLinks {
    fn drop(&mut self) {
        self.shared.endpoint.end();
    }
}

impl fmt::Debug for DataLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLinks").field("node", &self.shared.node).finish_non_exhaustive()
    }
}

/// Names as this node was told of its peers.
struct PeerNames(Weak<Shared>);

impl Names for PeerNames {
    fn name_of(&self, node: NodeId) -> Option<PeerName> {
        self.0.upgrade()?.peers.read().get(&node).map(|peer| peer.name.clone())
    }
}

impl Neighbours for Shared {
    fn direct(&self) -> Vec<(PeerName, Arc<str>)> {
        let peers: Vec<_> = self.peers.read().values().cloned().collect();
        let is_direct = |peer: &&Arc<Peer>| peer.up().is_some_and(|up| up.over.is_none());
        let direct = peers.iter().filter(is_direct);
        direct.map(|peer| (peer.name.clone(), Arc::clone(&peer.data.lock()))).collect()
    }
}

impl Shared {
    fn set_peers(self: &Arc<Self>, given: Vec<PeerAddress>) {
        let mut live = BTreeSet::from([self.node]);
        live.extend(given.iter().filter(|peer| peer.alive).map(|peer| peer.node));
        let mut peers = self.peers.write();
        let mut before = std::mem::take(&mut *peers);
        for PeerAddress { node, name, data, .. } in given {
            if node == self.node {
                continue;
            }
            let known = before.remove(&node).filter(|known| known.name == name);
            let peer = known.unwrap_or_else(|| self.start(node, name, &data));
            *peer.data.lock() = data;
            // A node that is named twice counts once; the first one's task must not go on.
            if let Some(twice) = peers.insert(node, peer) {
                twice.ended.cancel();
            }
        }
        for gone in before.into_values() {
            gone.ended.cancel();
        }
        // Under the lock, so that of two calls at once the later one's view stays.
        self.live.send_if_modified(|known| {
            let changed = known.nodes != live;
            if changed {
                *known = Arc::new(Live { nodes: live });
            }
            changed
        });
    }

    fn start(self: &Arc<Self>, node: NodeId, name: PeerName, data: &Arc<str>) -> Arc<Peer> {
        let peer = Arc::new(Peer {
            node,
            name,
            data: Mutex::new(Arc::clone(data)),
            channels: Default::default(),
            linked: Mutex::default(),
            incarnation: watch::Sender::new(0),
            interruptions: AtomicU64::new(0),
            ended: self.endpoint.closing.child_token(),
        });
        self.endpoint.spawn(send::keep(Arc::clone(self), Arc::clone(&peer)));
        peer
    }

    /// Who takes what arrives. Callers waited for `attached`.
    fn inbox(&self) -> &dyn Inbox {
        self.inbox.get().expect("an inbox is set before `attached` is cancelled").as_ref()
    }

    /// A round of a channel is over; the peer says that it is in another (0: it says none).
    fn end_round(&self, peer: &Peer, channel: Channel, round: u64, theirs: u64) {
        let mut rounds = peer.link(channel).rounds();
        let told = rounds.end(round, theirs);
        self.tell(peer, channel, told);
    }

    /// Tells the inbox that frames may have been lost, if that is due. The caller holds the rounds
    /// of the peer and channel: nothing is taken in either direction before this is said.
    fn tell(&self, peer: &Peer, channel: Channel, told: Told) {
        if told == Told::Already {
            return;
        }
        peer.link(channel).interrupt();
        peer.interruptions.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("parlance_link_interruptions_total", "kind" => "data").increment(1);
        self.inbox().interrupted(peer.node, channel);
    }
}

impl Peer {
    /// A channel that does not exist is the last one: a caller's slip must not end the process.
    fn link(&self, channel: Channel) -> &Link {
        &self.channels[usize::from(channel.0.min(CHANNELS - 1))]
    }

    fn queued_bytes(&self) -> u64 {
        self.channels.iter().map(|link| link.outlet.queued_bytes() as u64).sum()
    }

    /// The connection that this node sends on, while it lives.
    fn up(&self) -> Option<Linked> {
        self.linked.lock().clone().filter(|up| up.connection.close_reason().is_none())
    }

    fn report(&self, called: impl FnOnce(&PeerName) -> Option<NodeId>) -> LinkReport {
        let up = self.up();
        LinkReport {
            peer: self.node,
            kind: "data",
            connected: up.is_some(),
            relayed_by: up.as_ref().and_then(|up| called(up.over.as_ref()?)),
            version: up.as_ref().map(|up| up.version.0),
            rtt_ms: up.map(|up| up.connection.rtt().as_secs_f64() * 1_000.0),
            queued_bytes: self.queued_bytes(),
            interruptions: self.interruptions.load(Ordering::Relaxed),
        }
    }

    /// Notes a start of the peer. Returns whether it is the newest that was heard of.
    fn heard(&self, incarnation: u64) -> bool {
        self.incarnation.send_if_modified(|newest| {
            let newer = incarnation > *newest;
            *newest = incarnation.max(*newest);
            newer
        });
        *self.incarnation.borrow() == incarnation
    }
}
