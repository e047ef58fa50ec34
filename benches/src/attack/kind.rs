//! What an attacker does, as bytes: how a connection begins, and what comes again and again.

use std::time::Duration;

use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;
use parlance_protocol::client::{ClientFrame, Hello};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::lean::join;
use crate::limits;

/// What an attacker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Kind {
    /// Heads of requests that come a line at a time and never end.
    SlowHeaders,
    /// Bodies that come a byte at a time.
    SlowBody,
    /// Frames that come a byte at a time, on sockets that have not signed in.
    SlowFrames,
    /// Connections that say nothing, ten times as many as the server takes from an address.
    Idle,
    /// Bodies over the bound.
    LargeJson,
    /// Bodies that are nothing but nesting.
    DeepJson,
    /// A message in fragments without an end.
    Fragments,
    /// Pings, and nothing else.
    Pings,
    /// Bodies of 100 KiB that would inflate to 100 MiB.
    Bomb,
    /// Tokens that nobody signed, each under a key of its own.
    BadTokens,
    /// Sign-ins with names that may exist, and rooms that may.
    Guesses,
}

/// What a connection does.
pub(super) struct Act {
    pub(super) is_socket: bool,
    /// What it begins with.
    pub(super) first: Vec<u8>,
    /// What follows again and again, by the connection and its own count; an empty one is the last.
    pub(super) piece: Box<dyn Fn(usize, u64) -> Vec<u8> + Send + Sync>,
    /// Requests or frames in such a piece.
    pub(super) pieces: u64,
    /// Between two of them.
    pub(super) every: Duration,
    /// Before a connection that the server ended is opened again.
    pub(super) again: Duration,
}

impl Kind {
    /// As it is asked for.
    #[must_use]
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("none is left out");
        value.get_name().to_owned()
    }

    /// Connections at the same time, unless something else is asked for.
    #[must_use]
    pub const fn connections(self) -> usize {
        match self {
            Self::Idle => limits::ATTACK_IDLE,
            Self::SlowHeaders | Self::SlowBody | Self::SlowFrames => limits::ATTACK_SLOW,
            _ => limits::ATTACK_BUSY,
        }
    }

    /// It needs an account.
    pub(super) const fn is_signed_in(self) -> bool {
        matches!(self, Self::Fragments | Self::Pings | Self::Guesses)
    }

    /// Somebody with this access token does it, or nobody in particular.
    pub(super) fn act(self, token: &str) -> Act {
        match self {
            Self::SlowHeaders => drip(b"GET / HTTP/1.1\r\nhost: x\r\n".to_vec(), b"x-a: b\r\n"),
            Self::SlowBody => drip(head("/api/auth/login", "", 90_000), b" "),
            Self::SlowFrames => {
                // A text of 60,000 bytes, masked with zeros, of which a byte comes now and then.
                let first = vec![0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0];
                Act { is_socket: true, ..drip(first, b" ") }
            }
            Self::Idle => Act { again: limits::ATTACK_IDLE_AGAIN, ..drip(Vec::new(), b"") },
            Self::LargeJson => {
                let body = format!("{{\"username\":\"{}\"}}", "x".repeat(500_000));
                asked(move |_, _| post("/api/auth/login", "", body.as_bytes()))
            }
            Self::DeepJson => {
                let body = [b"{\"a\":".repeat(10_000), b"[".repeat(50_000)].concat();
                asked(move |_, _| post("/api/auth/login", "", &body))
            }
            Self::Fragments => {
                let more = fragment(0x00, b"x").repeat(limits::ATTACK_FRAMES);
                flood(&fragment(0x01, b"{"), more)
            }
            Self::Pings => flood(b"", fragment(0x89, &[b'x'; 125]).repeat(limits::ATTACK_FRAMES)),
            Self::Bomb => {
                let body = bomb();
                asked(move |_, _| post("/api/auth/login", "content-encoding: gzip\r\n", &body))
            }
            Self::BadTokens => asked(|_, _| {
                let token = forged();
                format!("GET /api/me HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n")
                    .into_bytes()
            }),
            Self::Guesses => {
                let bearer = format!("authorization: Bearer {token}\r\n");
                asked(move |number, place| {
                    if place.is_multiple_of(2) {
                        let body = format!(
                            "{{\"username\":\"user-{number}-{place}\",\"password\":\"Guess-{place}-x\"}}"
                        );
                        return post("/api/auth/login", "", body.as_bytes());
                    }
                    let room = Uuid::new_v4();
                    format!("GET /api/rooms/{room} HTTP/1.1\r\nhost: x\r\n{bearer}\r\n")
                        .into_bytes()
                })
            }
        }
    }
}

/// A piece now and then.
fn drip(first: Vec<u8>, more: &'static [u8]) -> Act {
    let piece = Box::new(|_, _| more.to_vec());
    Act {
        is_socket: false,
        first,
        piece,
        pieces: 1,
        every: limits::ATTACK_DRIP,
        again: limits::ATTACK_AGAIN,
    }
}

/// Requests, one after the other on each connection.
fn asked(piece: impl Fn(usize, u64) -> Vec<u8> + Send + Sync + 'static) -> Act {
    let piece = Box::new(piece);
    Act {
        is_socket: false,
        first: Vec::new(),
        piece,
        pieces: 1,
        every: limits::ATTACK_EVERY,
        again: limits::ATTACK_AGAIN,
    }
}

/// Many frames at once on a socket that has signed in.
fn flood(first: &[u8], frames: Vec<u8>) -> Act {
    let mut begin = Vec::new();
    let hello = ClientFrame::Hello(Hello { id: Some(0), token: None, session: None });
    join(&mut begin, 1, hello.encode().as_bytes());
    begin.extend_from_slice(first);
    Act {
        is_socket: true,
        first: begin,
        piece: Box::new(move |_, _| frames.clone()),
        pieces: limits::ATTACK_FRAMES as u64,
        every: limits::ATTACK_EVERY,
        again: limits::ATTACK_AGAIN,
    }
}

fn head(path: &str, more: &str, length: usize) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}\
         content-length: {length}\r\n\r\n"
    )
    .into_bytes()
}

fn post(path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    [&head(path, more, body.len()), body].concat()
}

/// A short frame, masked with zeros (RFC 6455, section 5.2).
fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// 100 MiB of nothing.
fn bomb() -> Vec<u8> {
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b' '; 1024 * 1024];
    for _ in 0..100 {
        encoder.write_all(&block).expect("memory takes what is written");
    }
    encoder.finish().expect("memory takes what is written")
}

/// A token that looks like one of the server's.
fn forged() -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let (key, user) = (Uuid::new_v4(), Uuid::new_v4());
    let header = format!(r#"{{"typ":"JWT","alg":"HS256","kid":"{key}"}}"#);
    let claims = format!(
        r#"{{"iss":"parlance","sub":"{user}","tid":1,"sid":"{user}","iat":0,"exp":32503680000}}"#
    );
    let parts = [header.as_bytes(), claims.as_bytes(), &[7; 32]];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_and_bounded_pieces() {
        for kind in Kind::value_variants() {
            let act = kind.act("");
            let piece = (act.piece)(3, 2);
            assert!(act.every >= Duration::from_millis(10), "{}", kind.name());
            assert!(piece.len() <= 600_000 && (1..=10_000).contains(&kind.connections()));
        }
        assert_eq!(Kind::SlowHeaders.name(), "slow-headers");
    }

    #[test]
    fn a_bomb_is_within_the_bound_of_bodies() {
        let length = bomb().len();
        assert!((50_000..128 * 1024).contains(&length), "{length}");
    }
}
