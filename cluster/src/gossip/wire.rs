//! The layout of a packet: a version, then foca's header and updates in postcard, then what nodes
//! say of themselves. Golden bytes guard it. It does not judge who may say what.

use std::fmt;

use bytes::{Buf, BufMut};
use foca::{Codec, Header, Member, PostcardCodec};
use parlance_actors::vocab::NodeId;

use super::identity::{ANYBODY, Identity};

/// The version of the layout; the first byte of each packet.
pub(super) const VERSION: u8 = 1;

/// Why a packet is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WireError {
    Empty,
    Version(u8),
    Layout(postcard::Error),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::Version(found) => {
                write!(f, "its version is {found}; this node speaks version {VERSION}")
            }
            Self::Layout(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WireError {}

impl From<postcard::Error> for WireError {
    fn from(error: postcard::Error) -> Self {
        Self::Layout(error)
    }
}

/// Packets of this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketCodec {
    own: NodeId,
}

impl PacketCodec {
    pub(super) const fn new(own: NodeId) -> Self {
        Self { own }
    }
}

impl Codec<Identity> for PacketCodec {
    type Error = WireError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        mut buf: impl BufMut,
    ) -> Result<(), WireError> {
        buf.put_u8(VERSION);
        Ok(PostcardCodec.encode_header(header, buf)?)
    }

    /// A packet for anybody is for this node.
    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, WireError> {
        if !buf.has_remaining() {
            return Err(WireError::Empty);
        }
        let version = buf.get_u8();
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let mut header: Header<Identity> = PostcardCodec.decode_header(buf)?;
        if header.dst.node == ANYBODY {
            header.dst.node = self.own;
        }
        Ok(header)
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        buf: impl BufMut,
    ) -> Result<(), WireError> {
        Ok(PostcardCodec.encode_member(member, buf)?)
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, WireError> {
        Ok(PostcardCodec.decode_member(buf)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr, SocketAddr};

    use foca::{Message, State};

    use super::*;

    fn source() -> Identity {
        Identity {
            node: NodeId(5),
            incarnation: 1_700_000_000_000,
            renewal: 2,
            address: SocketAddr::from(([10, 0, 0, 5], 7701)),
        }
    }

    fn target() -> Identity {
        Identity::new(NodeId(300), 7, SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 7701))
    }

    fn header(message: Message<Identity>) -> Header<Identity> {
        Header { src: source(), src_incarnation: 4, dst: target(), message }
    }

    fn encoded(header: &Header<Identity>) -> Vec<u8> {
        let mut bytes = Vec::new();
        PacketCodec::new(NodeId(1)).encode_header(header, &mut bytes).expect("it encodes");
        bytes
    }

    #[test]
    fn a_header_has_these_bytes() {
        let bytes = encoded(&header(Message::Ping(9)));
        let golden = [
            &[1][..],                                                      // version
            &[5, 128, 208, 149, 255, 188, 49, 2], // source: node, incarnation, renewal
            &[0, 10, 0, 0, 5, 149, 60],           // its address: IPv4, port
            &[4],                                 // its incarnation in foca
            &[172, 2, 7, 0],                      // target: node, incarnation, renewal
            &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 149, 60], // IPv6, port
            &[0, 9],                              // ping, its number
        ]
        .concat();
        assert_eq!(bytes, golden);
        let decoded = PacketCodec::new(NodeId(300)).decode_header(&golden[..]);
        assert_eq!(decoded, Ok(header(Message::Ping(9))));
    }

    #[test]
    fn every_message_keeps_its_number() {
        let target = source();
        let (origin, probe_number) = (target, 1);
        let messages = [
            Message::Ping(1),
            Message::Ack(1),
            Message::PingReq { target, probe_number },
            Message::IndirectPing { origin, probe_number },
            Message::IndirectAck { target, probe_number },
            Message::ForwardedAck { origin, probe_number },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        let before = encoded(&header(Message::Ping(1))).len() - 2;
        for (number, message) in messages.into_iter().enumerate() {
            assert_eq!(usize::from(encoded(&header(message))[before]), number);
        }
    }

    #[test]
    fn an_update_has_these_bytes() {
        let mut bytes = Vec::new();
        let member = Member::new(source(), 300, State::Suspect);
        PacketCodec::new(NodeId(1)).encode_member(&member, &mut bytes).expect("it encodes");
        let golden = [
            &[5, 128, 208, 149, 255, 188, 49, 2][..], // node, incarnation, renewal
            &[0, 10, 0, 0, 5, 149, 60],               // address
            &[172, 2, 1],                             // incarnation in foca, suspect
        ]
        .concat();
        assert_eq!(bytes, golden);
        assert_eq!(PacketCodec::new(NodeId(1)).decode_member(&golden[..]), Ok(member));
    }

    #[test]
    fn a_packet_for_anybody_is_for_this_node() {
        let place = Identity::of_place(ANYBODY, target().address);
        let bytes = encoded(&Header { dst: place, ..header(Message::Announce) });
        let decoded = PacketCodec::new(NodeId(8)).decode_header(&bytes[..]).expect("it decodes");
        assert_eq!(decoded.dst.node, NodeId(8));
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let mut bytes = encoded(&header(Message::Announce));
        bytes[0] = 2;
        let error = PacketCodec::new(NodeId(1)).decode_header(&bytes[..]).expect_err("refused");
        assert_eq!(error, WireError::Version(2));
        assert_eq!(error.to_string(), "its version is 2; this node speaks version 1");
        assert_eq!(PacketCodec::new(NodeId(1)).decode_header(&[][..]), Err(WireError::Empty));
    }
}
