//! What the stream of a passage begins with, and how the other end answers: it is open, or why not.

use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt};

use crate::cert::NAME_CHARS_MAX;
use crate::link::endpoint::{DialError, Linked};
use crate::transport::PeerName;

/// What a relay, and then the far end, answers when a passage is open.
pub(super) const OPENED: u8 = 1;

/// What a stream of a passage begins with: a kind (u8), then a name with its length (u8) before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opening {
    /// To a relay: lead on to this node.
    Onward(PeerName),
    /// From a relay: this node is at the other end, as the relay says. The connections on the passage
    /// show who it is.
    From(PeerName),
}

/// Why a passage is refused, as the code of the stream that is reset. The codes below are those of
/// connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("it has no direct way there")]
    NoWay,
    #[error("it carries as much as it may")]
    Full,
    #[error("it does not understand")]
    Malformed,
    #[error("it does not know who asks")]
    NotKnown,
}

impl Opening {
    fn encode(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Onward(target) => (0, target),
            Self::From(origin) => (1, origin),
        };
        let length = u8::try_from(name.0.len()).expect("names in certificates are short");
        [&[kind, length], name.0.as_bytes()].concat()
    }

    /// `None` for what is no opening, and for a stream that ends.
    pub(super) async fn read(stream: &mut RecvStream) -> Option<Self> {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        let [kind, length] = head;
        let mut name = [0; NAME_CHARS_MAX];
        let name = name.get_mut(..usize::from(length))?;
        stream.read_exact(name).await.ok()?;
        Self::decode(kind, name)
    }

    fn decode(kind: u8, name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        let name = PeerName(name.into());
        match kind {
            0 => Some(Self::Onward(name)),
            1 => Some(Self::From(name)),
            _ => None,
        }
    }
}

/// An opening, read and written again, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(in crate::link) fn recode_opening(bytes: &[u8]) -> Option<Vec<u8>> {
    let [kind, length, rest @ ..] = bytes else { return None };
    let name = rest.get(..usize::from(*length)).filter(|name| name.len() <= NAME_CHARS_MAX)?;
    Opening::decode(*kind, name).map(|opening| opening.encode())
}

impl Refusal {
    pub(super) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::NoWay => 16,
            Self::Full => 17,
            Self::Malformed => 18,
            Self::NotKnown => 19,
        })
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::NoWay => "no way",
            Self::Full => "full",
            Self::Malformed => "malformed",
            Self::NotKnown => "not known",
        }
    }

    fn of_code(code: VarInt) -> Option<Self> {
        [Self::NoWay, Self::Full, Self::Malformed, Self::NotKnown]
            .into_iter()
            .find(|one| one.code() == code)
    }
}

/// Opens a stream of a passage, and waits until the rest of the way is open too.
pub(super) async fn open(
    linked: &Linked,
    opening: &Opening,
) -> Result<(SendStream, RecvStream), DialError> {
    let lost = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
    let (mut send, mut recv) = linked.connection.open_bi().await.map_err(|error| lost(&error))?;
    send.write_all(&opening.encode()).await.map_err(|error| lost(&error))?;
    let mut answer = [0];
    match recv.read_exact(&mut answer).await {
        Ok(()) if answer == [OPENED] => Ok((send, recv)),
        Ok(()) => Err(lost(&Refusal::Malformed)),
        Err(ReadExactError::ReadError(ReadError::Reset(code))) => {
            Err(Refusal::of_code(code).map_or_else(|| lost(&code), |refusal| lost(&refusal)))
        }
        Err(error) => Err(lost(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PeerName {
        PeerName(name.into())
    }

    #[test]
    fn the_bytes_of_a_passage_do_not_change() {
        for (opening, golden) in [
            (Opening::Onward(name("n2")), b"\x00\x02n2"),
            (Opening::From(name("n1")), b"\x01\x02n1"),
        ] {
            assert_eq!(opening.encode(), golden);
            assert_eq!(Opening::decode(golden[0], &golden[2..]), Some(opening));
        }
        assert_eq!(Opening::decode(2, b"n1"), None);
        assert_eq!(Opening::decode(0, b""), None);
        let codes = [Refusal::NoWay, Refusal::Full, Refusal::Malformed, Refusal::NotKnown];
        for (refusal, code) in codes.into_iter().zip(16..) {
            assert_eq!(refusal.code().into_inner(), code);
            assert_eq!(Refusal::of_code(refusal.code()), Some(refusal));
        }
    }
}
