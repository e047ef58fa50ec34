//! Reads just what the generator needs from a server frame. The two frames that come in masses are
//! read by their fixed layout, which the protocol's golden texts guard; every other layout goes
//! through the real parser, so that a wrong guess here costs time and never truth.

use parlance_protocol::server::{Answer, ServerFrame};
use uuid::Uuid;

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// A message.
    Message {
        /// The room.
        room: Uuid,
        /// Its place.
        seq: u64,
        /// Its sender.
        sender: Uuid,
        /// Its key.
        key: Uuid,
        /// Its text.
        body: &'a [u8],
    },
    /// The ack of a send.
    Posted {
        /// The sender's number.
        id: u64,
        /// Its place.
        seq: u64,
    },
    /// A refusal.
    Refused {
        /// The sender's number.
        id: Option<u64>,
        /// It passes by itself after this long.
        again_ms: Option<u64>,
    },
    /// Anything else: the real parser's frame.
    Other(Box<ServerFrame<'a>>),
}

/// Reads a frame; `None` when it is none of this protocol. `slow` counts frames that the fixed
/// layout did not fit although they are of the two kinds it is for.
#[must_use]
pub fn glance<'a>(text: &'a [u8], slow: &mut u64) -> Option<Seen<'a>> {
    if let Some(seen) = message(text).or_else(|| posted(text)) {
        return Some(seen);
    }
    match ServerFrame::parse(text).ok()? {
        ServerFrame::Ok(ok) => match ok.answer {
            Answer::Posted(posted) => {
                *slow += 1;
                Some(Seen::Posted { id: ok.id, seq: posted.seq })
            }
            _ => Some(Seen::Other(Box::new(ServerFrame::Ok(ok)))),
        },
        ServerFrame::Error(error) => {
            let passing = matches!(&*error.code, "busy" | "rate_limited" | "unavailable");
            let again_ms = passing.then(|| error.retry_after_ms.unwrap_or(200));
            Some(Seen::Refused { id: error.id, again_ms })
        }
        other => {
            if let ServerFrame::Event(event) = &other {
                *slow += u64::from(event.event.kind == parlance_protocol::Kind::Message);
            }
            Some(Seen::Other(Box::new(other)))
        }
    }
}

/// A text that is read from the left.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn skip(&mut self, exactly: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(exactly)?;
        Some(())
    }

    fn number(&mut self) -> Option<u64> {
        let end = self.0.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        })
    }

    fn uuid(&mut self) -> Option<Uuid> {
        let (text, rest) = self.0.split_at_checked(36)?;
        self.0 = rest;
        Uuid::try_parse_ascii(text).ok()
    }

    /// Up to the next quote; a text with escapes is not for this reader.
    fn plain(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest;
        (rest[0] == b'"').then_some(text)
    }
}

fn message(text: &[u8]) -> Option<Seen<'_>> {
    let mut left = Left(text);
    left.skip(br#"{"type":"event","room":""#)?;
    let room = left.uuid()?;
    left.skip(br#"","gen":"#)?;
    left.number()?;
    left.skip(br#","seq":"#)?;
    let seq = left.number()?;
    left.skip(br#","kind":"message","sender":{"id":""#)?;
    let sender = left.uuid()?;
    left.skip(br#"","username":""#)?;
    left.plain()?;
    left.skip(br#""},"sent_at":""#)?;
    left.plain()?;
    left.skip(br#"","key":""#)?;
    let key = left.uuid()?;
    left.skip(br#"","body":""#)?;
    let body = left.plain()?;
    Some(Seen::Message { room, seq, sender, key, body })
}

fn posted(text: &[u8]) -> Option<Seen<'_>> {
    let mut left = Left(text);
    left.skip(br#"{"type":"ok","id":"#)?;
    let id = left.number()?;
    left.skip(br#","seq":"#)?;
    let seq = left.number()?;
    left.skip(br#","sent_at":""#)?;
    Some(Seen::Posted { id, seq })
}

#[cfg(test)]
mod tests {
    use super::*;
    use parlance_protocol::server::{Error, Ok as OkFrame, Posted, RoomEvent};
    use parlance_protocol::{Event, Kind, Timestamp, User};

    fn event(body: &'static str) -> ServerFrame<'static> {
        let sender = User { id: Uuid::from_u128(2), username: "ann".into() };
        let event = Event {
            body: Some(body.into()),
            ..Event::new(58, Kind::Message, sender, Timestamp(5), Uuid::from_u128(3))
        };
        ServerFrame::Event(RoomEvent { room: Uuid::from_u128(1), r#gen: 1, event })
    }

    #[test]
    fn what_the_server_writes_in_masses_is_read_by_its_layout() {
        let mut slow = 0;
        let text = event("hello there").encode();
        let expected = Seen::Message {
            room: Uuid::from_u128(1),
            seq: 58,
            sender: Uuid::from_u128(2),
            key: Uuid::from_u128(3),
            body: b"hello there",
        };
        assert_eq!(glance(text.as_bytes(), &mut slow), Some(expected));
        let posted = Posted { seq: 58, sent_at: Timestamp(5), repeated: false };
        let ok = ServerFrame::Ok(OkFrame { id: 7, answer: Answer::Posted(posted) }).encode();
        assert_eq!(glance(ok.as_bytes(), &mut slow), Some(Seen::Posted { id: 7, seq: 58 }));
        assert_eq!(slow, 0);
    }

    #[test]
    fn another_layout_is_read_by_the_real_parser_and_counted() {
        let mut slow = 0;
        let text = event("a \"quoted\" body").encode();
        assert!(matches!(glance(text.as_bytes(), &mut slow), Some(Seen::Other(_))));
        let ok = br#"{"id":7,"type":"ok","sent_at":"1970-01-01T00:00:00.005Z","seq":58}"#;
        assert_eq!(glance(ok, &mut slow), Some(Seen::Posted { id: 7, seq: 58 }));
        assert_eq!(slow, 2);
        assert_eq!(glance(b"nonsense", &mut slow), None);
    }

    #[test]
    fn a_refusal_that_passes_says_when() {
        let error = |code: &'static str, retry_after_ms| {
            ServerFrame::Error(Error {
                id: Some(7),
                code: code.into(),
                detail: "".into(),
                retry_after_ms,
            })
            .encode()
        };
        let mut slow = 0;
        let busy = error("busy", Some(150));
        let refused = |again_ms| Some(Seen::Refused { id: Some(7), again_ms });
        assert_eq!(glance(busy.as_bytes(), &mut slow), refused(Some(150)));
        let forbidden = error("forbidden", None);
        assert_eq!(glance(forbidden.as_bytes(), &mut slow), refused(None));
    }
}
