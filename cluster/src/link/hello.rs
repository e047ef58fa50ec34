//! The hello: the first thing on each connection, from both sides. It claims what certificates do
//! not prove: the cluster's id, the node's id, and which start of the node this is.
//!
//! Layout, all numbers big-endian: length (u16) of what follows, what the connection is for (u8),
//! cluster id (16 bytes, zeros for none), node id (u64, 0 for none), incarnation (u64). What is
//! longer is from a later version, and the rest is passed over.

use parlance_actors::vocab::NodeId;
use quinn::{RecvStream, SendStream};
use uuid::Uuid;

use crate::limits::HELLO_BYTES_MAX;

/// Bytes after the length.
const HELLO_BYTES: usize = 33;

/// What a node says of itself when a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hello {
    /// The cluster's id; `None` before this node knows it.
    pub cluster: Option<Uuid>,
    /// The node's id; `None` before it was admitted.
    pub node: Option<NodeId>,
    /// Grows with each start of the node.
    pub incarnation: u64,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    Gossip,
    Raft,
    Snapshot,
    Actor,
    /// Passages over this node to others.
    Relay,
}

impl Purpose {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gossip => "gossip",
            Self::Raft => "raft",
            Self::Snapshot => "snapshot",
            Self::Actor => "actor",
            Self::Relay => "relay",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Gossip => 0,
            Self::Raft => 1,
            Self::Snapshot => 2,
            Self::Actor => 3,
            Self::Relay => 4,
        }
    }

    fn of_code(code: u8) -> Option<Self> {
        [Self::Gossip, Self::Raft, Self::Snapshot, Self::Actor, Self::Relay]
            .into_iter()
            .find(|purpose| purpose.code() == code)
    }
}

/// The bytes of a hello.
pub(super) fn encode(purpose: Purpose, hello: &Hello) -> [u8; 2 + HELLO_BYTES] {
    let mut bytes = [0; 2 + HELLO_BYTES];
    bytes[1] = HELLO_BYTES as u8;
    bytes[2] = purpose.code();
    bytes[3..19].copy_from_slice(hello.cluster.unwrap_or_default().as_bytes());
    bytes[19..27].copy_from_slice(&hello.node.map_or(0, |node| node.0).to_be_bytes());
    bytes[27..35].copy_from_slice(&hello.incarnation.to_be_bytes());
    bytes
}

/// What the bytes after the length say; `None` for what is no hello.
pub(super) fn decode(bytes: &[u8]) -> Option<(Purpose, Hello)> {
    let bytes: &[u8; HELLO_BYTES] = bytes.first_chunk()?;
    let cluster = Uuid::from_slice(&bytes[1..17]).ok()?;
    let node = u64::from_be_bytes(*bytes[17..25].first_chunk()?);
    let incarnation = u64::from_be_bytes(*bytes[25..33].first_chunk()?);
    let hello = Hello {
        cluster: (!cluster.is_nil()).then_some(cluster),
        node: (node != 0).then_some(NodeId(node)),
        incarnation,
    };
    Some((Purpose::of_code(bytes[0])?, hello))
}

pub(super) async fn write(
    stream: &mut SendStream,
    purpose: Purpose,
    hello: &Hello,
) -> Result<(), quinn::WriteError> {
    stream.write_all(&encode(purpose, hello)).await
}

/// Reads a hello. The inner `None` stands for bytes that are none.
pub(super) async fn read(
    stream: &mut RecvStream,
) -> Result<Option<(Purpose, Hello)>, quinn::ReadExactError> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if !(HELLO_BYTES..=HELLO_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let mut bytes = [0; HELLO_BYTES_MAX];
    stream.read_exact(&mut bytes[..length]).await?;
    Ok(decode(&bytes[..length]))
}
