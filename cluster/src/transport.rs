//! The seam between what nodes say to each other on the control side and how it travels: a call
//! with an answer, and a packet without one. `link` carries them over QUIC; tests carry them in
//! memory. Neither knows what they mean.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// The name of a node as its certificate proves it. Unique in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerName(pub Arc<str>);

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a node is, and who must answer there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// `host:port` of its control endpoint; names are resolved at each dial.
    pub address: Arc<str>,
    /// Who must be there; `None` for a seed, of which only the cluster is known.
    pub name: Option<PeerName>,
}

/// What a call is for. Each has connections of its own, so that a snapshot does not hold up votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Service {
    /// Raft's messages, forwarded changes, joins and leases: small and urgent.
    Raft,
    /// Pieces of a snapshot, each up to [`crate::limits::CALL_BYTES_MAX`].
    Snapshot,
}

/// Why there is no answer. Whether the other side did what was asked is unknown, except where
/// said.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The node cannot be reached; nothing was done.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: Arc<str>,
        /// Why.
        why: String,
    },
    /// There was no answer within the deadline, or the connection broke.
    #[error("{address} did not answer: {why}")]
    NoAnswer {
        /// Where.
        address: Arc<str>,
        /// Why.
        why: String,
    },
    /// Somebody else is there; nothing was done. Retrying does not help.
    #[error("{address} is not who it should be: {why}")]
    WrongPeer {
        /// Where.
        address: Arc<str>,
        /// What is wrong: the name, the cluster, or the protocol's version.
        why: String,
    },
}

/// Calls to other nodes.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Asks a node and waits for its answer, both up to [`crate::limits::CALL_BYTES_MAX`].
    ///
    /// # Errors
    /// [`CallError`].
    async fn call(
        &self,
        to: &Place,
        service: Service,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError>;
}

/// Answers to other nodes' calls.
#[async_trait]
pub trait Answers: Send + Sync + 'static {
    /// Answers a call of a node that has proven its name and cluster. `None` for a request that
    /// does not decode: the connection is closed.
    async fn answer(&self, from: PeerName, service: Service, request: Bytes) -> Option<Bytes>;
}

/// Packets to other nodes, at most [`crate::limits::PACKET_BYTES_MAX`] each. They may be lost, doubled or
/// reordered.
pub trait Packets: Send + Sync + 'static {
    /// Sends a packet to a control endpoint and returns at once. Without a connection it is
    /// dropped, and a dial begins.
    fn packet(&self, to: SocketAddr, packet: Bytes);
}
