//! The way to the other nodes: ordered channels of frames, each side told when frames may have
//! been lost, and who is believed to be alive.
//!
//! What the frames hold is the domain's (`wire.rs`); links carry them as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::vocab::{NodeId, RoomRef, UserId};

/// Ordered channels between two nodes, in each direction. Rooms and users hash to one of them, so
/// that what concerns one room stays in order and one full channel does not hold up the others.
pub const CHANNELS: u8 = 4;

/// One of the ordered channels to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(pub u8);

impl Channel {
    /// Every channel.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..CHANNELS).map(Self)
    }

    /// The channel of a room: the same on every node.
    #[must_use]
    pub const fn of_room(room: RoomRef) -> Self {
        // Not the last byte: that is the shard, and an owner's shards should spread.
        Self(room.room.0.as_bytes()[14] % CHANNELS)
    }

    /// The channel of a user: the same on every node.
    #[must_use]
    pub const fn of_user(user: UserId) -> Self {
        Self(user.0.as_bytes()[14] % CHANNELS)
    }
}

/// The nodes that are believed to be alive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Live {
    /// Their ids; this node is always among them.
    pub nodes: BTreeSet<NodeId>,
}

/// Why a frame was not sent. It will not arrive; nothing else was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// There is no way to the peer now. Retry when it is alive again.
    #[error("there is no way to the node")]
    NoWay,
    /// The channel overflowed or broke, and the receiver was not told of it yet. Retry in a moment.
    #[error("the way to the node is interrupted")]
    Interrupted,
    /// The frame is larger than a link carries. Retrying does not help.
    #[error("the frame is larger than a link carries")]
    TooLarge,
}

/// What lies between two interruptions of a channel, as one end numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round(pub u64);

/// Links to the other nodes.
///
/// On one channel to one peer frames arrive in the order in which they were sent, each at most
/// once. When any may have been lost, both ends hear [`Inbox::interrupted`] for that peer and
/// channel before any later frame is taken by [`Peers::send`] or given to [`Inbox::frame`].
pub trait Peers: Send + Sync + 'static {
    /// Who is alive.
    fn live(&self) -> watch::Receiver<Arc<Live>>;

    /// Puts a frame on a channel and returns at once. A frame to a node that is no peer is
    /// [`NotSent::NoWay`]. A channel that holds more than its bound is interrupted, which loses
    /// what it holds.
    ///
    /// # Errors
    /// [`NotSent`].
    fn send(&self, to: NodeId, channel: Channel, frame: Bytes) -> Result<(), NotSent>;

    /// The present round of a channel.
    ///
    /// # Errors
    /// As a frame would not be taken now.
    fn round(&self, to: NodeId, channel: Channel) -> Result<Round, NotSent>;

    /// As [`send`](Self::send), if there was no interruption since [`round`](Self::round) gave this:
    /// then the frame comes after everything that was sent before, or is lost with it.
    ///
    /// # Errors
    /// [`NotSent`]; [`NotSent::Interrupted`] also in a later round.
    fn send_in(
        &self,
        round: Round,
        to: NodeId,
        channel: Channel,
        frame: Bytes,
    ) -> Result<(), NotSent>;

    /// As [`send`](Self::send) for what may be lost: it is dropped when the channel is a quarter full,
    /// and nobody is told.
    fn whisper(&self, to: NodeId, channel: Channel, frame: Bytes);

    /// Who takes what arrives. Called once, before which nothing is given.
    fn attach(&self, inbox: Arc<dyn Inbox>);
}

/// What takes frames from the other nodes. Its methods are called one at a time for a peer and
/// channel, and must not block.
pub trait Inbox: Send + Sync + 'static {
    /// A frame arrived. A frame that does not decode is logged and dropped by the receiver; the
    /// link then interrupts the channel.
    ///
    /// # Errors
    /// Why the frame is no frame.
    fn frame(&self, from: NodeId, channel: Channel, frame: &[u8]) -> Result<(), Malformed>;

    /// Frames to or from the peer on this channel may have been lost.
    fn interrupted(&self, peer: NodeId, channel: Channel);
}

/// A frame that does not decode.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a frame between nodes does not decode: {0}")]
pub struct Malformed(pub String);

/// A node that has no peers.
#[derive(Debug)]
pub struct Alone {
    live: watch::Sender<Arc<Live>>,
}

impl Alone {
    /// The only node.
    #[must_use]
    pub fn new(node: NodeId) -> Self {
        Self { live: watch::Sender::new(Arc::new(Live { nodes: BTreeSet::from([node]) })) }
    }
}

impl Peers for Alone {
    fn live(&self) -> watch::Receiver<Arc<Live>> {
        self.live.subscribe()
    }

    fn send(&self, _: NodeId, _: Channel, _: Bytes) -> Result<(), NotSent> {
        Err(NotSent::NoWay)
    }

    fn round(&self, _: NodeId, _: Channel) -> Result<Round, NotSent> {
        Err(NotSent::NoWay)
    }

    fn send_in(&self, _: Round, _: NodeId, _: Channel, _: Bytes) -> Result<(), NotSent> {
        Err(NotSent::NoWay)
    }

    fn whisper(&self, _: NodeId, _: Channel, _: Bytes) {}

    fn attach(&self, _: Arc<dyn Inbox>) {}
}
