//! Socket.IO 4 (Engine.IO 4) over WebSocket from the start, as its documents advise for such servers. A
//! member joins with an event that is acknowledged, posts with another, and hears a third. The
//! parameter says whether the server acknowledges posts, which it does when it keeps them.

use std::io::{self, Write as _};

use anyhow::Context;
use parlance_client::Server;

use super::{Heard, Pipe, Plan, Seat, Wire, broken};
use crate::lean::{Frame, join as put_frame, split as split_frame, upgrade_request, upgraded};

/// The opcode of a text.
const TEXT: u8 = 1;
/// The opcode of a pong.
const PONG: u8 = 10;

pub(super) struct SocketIo<const ACKNOWLEDGED: bool>;

/// What a packet is: the digit of Engine.IO, then that of Socket.IO.
#[derive(Debug, PartialEq, Eq)]
enum Packet<'a> {
    /// Engine.IO is open.
    Open,
    Ping,
    /// The namespace is joined.
    Connected,
    Event(&'a [u8]),
    Ack(u64),
    Refused(&'a [u8]),
    Other,
}

fn read(text: &[u8]) -> Packet<'_> {
    match text {
        [b'0', ..] => Packet::Open,
        [b'2'] => Packet::Ping,
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'2', event @ ..] => Packet::Event(event),
        [b'4', b'3', ack @ ..] => {
            let digits = ack.iter().take_while(|byte| byte.is_ascii_digit());
            Packet::Ack(digits.fold(0, |id, byte| id * 10 + u64::from(byte - b'0')))
        }
        [b'4', b'4', why @ ..] => Packet::Refused(why),
        _ => Packet::Other,
    }
}

/// The body in a message's event. It holds nothing that JSON would escape.
fn body_of(event: &[u8]) -> Option<&[u8]> {
    const BEFORE: &[u8] = b"\"body\":\"";
    let start = event.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    let body = &event[start..];
    body.iter().position(|byte| *byte == b'"').map(|end| &body[..end])
}

/// Waits for one of the packets that begin a connection.
async fn packet(pipe: &mut Pipe, awaited: Packet<'static>) -> io::Result<()> {
    let found = pipe.expect(|held| match split_frame(held)? {
        Some((Frame::Text(text), took)) => match read(text) {
            Packet::Refused(why) => Err(broken(String::from_utf8_lossy(why))),
            packet => Ok(Some(((packet == awaited).then_some(()), took))),
        },
        Some((Frame::Close(code), _)) => Err(broken(format!("closed with {code:?}"))),
        other => Ok(other.map(|(_, took)| (None, took))),
    });
    found.await
}

impl<const ACKNOWLEDGED: bool> Wire for SocketIo<ACKNOWLEDGED> {
    const ACKNOWLEDGES: bool = ACKNOWLEDGED;

    async fn prepare(_server: &Server, _plan: &Plan) -> anyhow::Result<()> {
        Ok(())
    }

    async fn join(server: &Server, pipe: &mut Pipe, seat: Seat) -> anyhow::Result<Self> {
        let request = upgrade_request(server, "/socket.io/?EIO=4&transport=websocket", "");
        pipe.out().extend_from_slice(request.as_bytes());
        pipe.expect(|held| Ok(upgraded(held)?.map(|(done, took)| (Some(done), took))))
            .await
            .context("upgrading")?;
        packet(pipe, Packet::Open).await.context("opening")?;
        let hello = format!("40{{\"name\":\"member{}\"}}", seat.index);
        put_frame(pipe.out(), TEXT, hello.as_bytes());
        packet(pipe, Packet::Connected).await.context("connecting")?;
        let join = format!("421[\"join\",\"room{}\"]", seat.room);
        put_frame(pipe.out(), TEXT, join.as_bytes());
        packet(pipe, Packet::Ack(1)).await.context("joining")?;
        Ok(Self)
    }

    fn post(&mut self, id: u64, body: &[u8], out: &mut Vec<u8>) {
        let mut text = Vec::with_capacity(body.len() + 32);
        text.extend_from_slice(b"42");
        if ACKNOWLEDGED {
            // Writing to a vector cannot fail.
            let _ = write!(text, "{id}");
        }
        text.extend_from_slice(b"[\"post\",\"");
        text.extend_from_slice(body);
        text.extend_from_slice(b"\"]");
        put_frame(out, TEXT, &text);
    }

    fn hear<'a>(
        &mut self,
        held: &'a [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard<'a>, usize)>> {
        let Some((frame, took)) = split_frame(held)? else { return Ok(None) };
        let heard = match frame {
            Frame::Text(text) => match read(text) {
                Packet::Event(event) => body_of(event).map_or(Heard::Other, Heard::Message),
                Packet::Ack(id) => {
                    if text.ends_with(b"[null]") {
                        Heard::Refused(id)
                    } else {
                        Heard::Posted(id)
                    }
                }
                Packet::Ping => {
                    put_frame(out, TEXT, b"3");
                    Heard::Other
                }
                Packet::Refused(why) => return Err(broken(String::from_utf8_lossy(why))),
                Packet::Open | Packet::Connected | Packet::Other => Heard::Other,
            },
            Frame::Ping(payload) => {
                put_frame(out, PONG, payload);
                Heard::Other
            }
            Frame::Pong => Heard::Other,
            Frame::Close(code) => return Err(broken(format!("closed with {code:?}"))),
        };
        Ok(Some((heard, took)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server writes it: short and without a mask.
    fn frame(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).expect("short");
        [&[0x81, length], text.as_bytes()].concat()
    }

    #[test]
    fn packets_are_told_apart_by_their_digits() {
        assert_eq!(read(b"0{\"sid\":\"x\"}"), Packet::Open);
        assert_eq!(read(b"2"), Packet::Ping);
        assert_eq!(read(b"40{\"sid\":\"y\"}"), Packet::Connected);
        assert_eq!(read(b"42[\"message\",1]"), Packet::Event(b"[\"message\",1]"));
        assert_eq!(read(b"4315[9]"), Packet::Ack(15));
        assert_eq!(read(b"44{\"message\":\"no\"}"), Packet::Refused(b"{\"message\":\"no\"}"));
        assert_eq!(read(b"6"), Packet::Other);
    }

    #[test]
    fn messages_acks_and_pings_are_heard_and_pings_answered() {
        let mut socket = SocketIo::<true>;
        let mut out = Vec::new();
        let message = frame("42[\"message\",{\"room\":\"r\",\"body\":\"000hi\",\"id\":\"3\"}]");
        for cut in 0..message.len() {
            assert_eq!(socket.hear(&message[..cut], &mut out).expect("no error"), None);
        }
        let heard = socket.hear(&message, &mut out).expect("a message");
        assert_eq!(heard, Some((Heard::Message(b"000hi"), message.len())));
        let ack = frame("4312[\"3\"]");
        assert_eq!(socket.hear(&ack, &mut out).expect("an ack"), Some((Heard::Posted(12), 11)));
        let refused = frame("4312[null]");
        assert!(matches!(socket.hear(&refused, &mut out), Ok(Some((Heard::Refused(12), _)))));
        assert!(out.is_empty());
        socket.hear(&frame("2"), &mut out).expect("a ping");
        assert_eq!(out, [0x81, 0x81, 0, 0, 0, 0, b'3']);
    }

    #[test]
    fn a_post_has_a_number_only_where_it_is_acknowledged() {
        let (mut numbered, mut plain) = (Vec::new(), Vec::new());
        SocketIo::<true>.post(7, b"hi", &mut numbered);
        SocketIo::<false>.post(7, b"hi", &mut plain);
        assert!(numbered.ends_with(b"427[\"post\",\"hi\"]"));
        assert!(plain.ends_with(b"42[\"post\",\"hi\"]"));
    }
}
