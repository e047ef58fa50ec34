//! NATS, as its text protocol has it (docs.nats.io, "Client Protocol"): core; with a stream of JetStream
//! that keeps what is posted; and with each member as an ordered push consumer of that stream, as its
//! client libraries make them: no acks, flow control, a heartbeat, state in memory.

use std::io::{self, Write as _};
use std::marker::PhantomData;

use anyhow::{Context, ensure};
use parlance_client::Server;
use serde::Deserialize;
use serde_json::json;

use super::{Heard, Pipe, Plan, Seat, Wire, broken};

/// Subscription of a member to its room, or to what its consumer delivers.
const ROOM: &str = "1";
/// Subscription of a member to answers.
const ANSWERS: &str = "2";
const STREAM: &str = "ROOMS";
/// The account in the server's configuration.
const USER: &str = "load";
const PASSWORD: &str = "load-generator";

/// How posts are kept and members hear them.
pub(super) trait Kind: Send + Sync + 'static {
    /// A stream keeps what is posted, and says so to who posted.
    const KEPT: bool;
    /// Members hear from the stream.
    const CONSUMES: bool;
}

/// Nothing is kept.
pub(super) struct Core;
/// A stream keeps what is posted.
pub(super) struct Stored;
/// A stream keeps what is posted, and members hear from it.
pub(super) struct Streamed;

impl Kind for Core {
    const KEPT: bool = false;
    const CONSUMES: bool = false;
}

impl Kind for Stored {
    const KEPT: bool = true;
    const CONSUMES: bool = false;
}

impl Kind for Streamed {
    const KEPT: bool = true;
    const CONSUMES: bool = true;
}

pub(super) struct Nats<K> {
    room: String,
    /// Where answers to this member go: this and an id.
    answers: String,
    kind: PhantomData<K>,
}

/// What the server says.
#[derive(Debug, PartialEq, Eq)]
enum Said<'a> {
    Message {
        subject: &'a str,
        sid: &'a str,
        reply: Option<&'a str>,
        header: &'a [u8],
        payload: &'a [u8],
    },
    Ping,
    Pong,
    Error(&'a str),
    Other,
}

/// What JetStream answers to a request, or to a post.
#[derive(Debug, Deserialize)]
struct Answer {
    error: Option<serde_json::Value>,
}

/// Splits the first thing off that the server says, with how many bytes it took.
fn split(held: &[u8]) -> io::Result<Option<(Said<'_>, usize)>> {
    let Some(end) = held.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let line = held[..end].strip_suffix(b"\r").ok_or_else(|| broken("a line without its end"))?;
    let line = std::str::from_utf8(line).map_err(|_| broken("a line that is no text"))?;
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let said = match verb {
        "MSG" | "HMSG" => return message(held, end + 1, verb == "HMSG", rest),
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "-ERR" => Said::Error(rest),
        "INFO" | "+OK" => Said::Other,
        _ => return Err(broken(format!("NATS does not say {line:?}"))),
    };
    Ok(Some((said, end + 1)))
}

/// A message: `SUBJECT SID [REPLY] [HEADER-BYTES] BYTES`, and then as many bytes from `start` on.
fn message<'a>(
    held: &'a [u8],
    start: usize,
    has_header: bool,
    words: &'a str,
) -> io::Result<Option<(Said<'a>, usize)>> {
    let bad = || broken(format!("no message: {words:?}"));
    let number = |word: &str| word.parse::<usize>().map_err(|_| bad());
    let (words, bytes) = words.rsplit_once(' ').ok_or_else(bad)?;
    let bytes = number(bytes)?;
    let (words, header_bytes) = if has_header {
        let (words, count) = words.rsplit_once(' ').ok_or_else(bad)?;
        (words, number(count)?)
    } else {
        (words, 0)
    };
    let mut words = words.split(' ');
    let (subject, sid) = (words.next().ok_or_else(bad)?, words.next().ok_or_else(bad)?);
    let reply = words.next();
    let Some(whole) = held.get(start..start + bytes + 2) else { return Ok(None) };
    let (header, payload) = whole[..bytes].split_at_checked(header_bytes).ok_or_else(bad)?;
    Ok(Some((Said::Message { subject, sid, reply, header, payload }, start + bytes + 2)))
}

fn put(subject: &str, reply: &str, payload: &[u8], out: &mut Vec<u8>) {
    let gap = if reply.is_empty() { "" } else { " " };
    // Writing to a vector cannot fail.
    let _ = write!(out, "PUB {subject} {reply}{gap}{}\r\n", payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

impl<K: Kind> Nats<K> {
    fn new(seat: Seat) -> Self {
        let (room, answers) = (format!("room.{}", seat.room), format!("_INBOX.{}.", seat.index));
        Self { room, answers, kind: PhantomData }
    }

    /// Signs in and subscribes, and waits until that was done.
    async fn begin(&self, pipe: &mut Pipe, subject: &str) -> anyhow::Result<()> {
        let out = pipe.out();
        let connect = json!({
            "verbose": false, "pedantic": false, "echo": true, "headers": true,
            "no_responders": true, "lang": "rust", "version": env!("CARGO_PKG_VERSION"),
            "user": USER, "pass": PASSWORD,
        });
        write!(out, "CONNECT {connect}\r\nSUB {subject} {ROOM}\r\n")?;
        if K::KEPT {
            write!(out, "SUB {}* {ANSWERS}\r\n", self.answers)?;
        }
        out.extend_from_slice(b"PING\r\n");
        let begun = pipe.expect(|held| match split(held)? {
            Some((Said::Error(why), _)) => Err(broken(why)),
            Some((said, took)) => Ok(Some(((said == Said::Pong).then_some(()), took))),
            None => Ok(None),
        });
        begun.await.context("signing in")
    }

    /// Asks JetStream for something.
    async fn ask(
        &self,
        pipe: &mut Pipe,
        what: &str,
        asked: &serde_json::Value,
    ) -> anyhow::Result<()> {
        let reply = format!("{}ask", self.answers);
        put(&format!("$JS.API.{what}"), &reply, asked.to_string().as_bytes(), pipe.out());
        let answer = pipe
            .expect(|held| match split(held)? {
                Some((Said::Message { sid: ANSWERS, payload, .. }, took)) => {
                    Ok(Some((Some(payload.to_vec()), took)))
                }
                other => Ok(other.map(|(_, took)| (None, took))),
            })
            .await?;
        let parsed: Answer = serde_json::from_slice(&answer)
            .with_context(|| format!("{what}: {:?}", String::from_utf8_lossy(&answer)))?;
        ensure!(parsed.error.is_none(), "{what}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }
}

impl<K: Kind> Wire for Nats<K> {
    const ACKNOWLEDGES: bool = K::KEPT;

    async fn prepare(server: &Server, _plan: &Plan) -> anyhow::Result<()> {
        if !K::KEPT {
            return Ok(());
        }
        let mut pipe = Pipe::connect(server).await?;
        let nats = Self::new(Seat { index: 0, room: 0, place: 0 });
        nats.begin(&mut pipe, "nothing").await?;
        let stream = json!({
            "name": STREAM, "subjects": ["room.*"], "storage": "file", "retention": "limits",
            "discard": "old", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
            "max_msg_size": -1, "num_replicas": 1,
        });
        nats.ask(&mut pipe, &format!("STREAM.CREATE.{STREAM}"), &stream).await
    }

    async fn join(_server: &Server, pipe: &mut Pipe, seat: Seat) -> anyhow::Result<Self> {
        let nats = Self::new(seat);
        if !K::CONSUMES {
            nats.begin(pipe, &nats.room).await?;
            return Ok(nats);
        }
        let deliver = format!("_DELIVER.{}", seat.index);
        nats.begin(pipe, &deliver).await?;
        let consumer = json!({ "stream_name": STREAM, "config": {
            "deliver_subject": deliver, "deliver_policy": "new", "ack_policy": "none",
            "max_deliver": 1, "filter_subject": nats.room, "flow_control": true,
            "idle_heartbeat": 5_000_000_000_u64, "ack_wait": 79_200_000_000_000_u64,
            "replay_policy": "instant", "mem_storage": true, "num_replicas": 1,
        }});
        nats.ask(pipe, &format!("CONSUMER.CREATE.{STREAM}"), &consumer).await?;
        Ok(nats)
    }

    fn post(&mut self, id: u64, body: &[u8], out: &mut Vec<u8>) {
        if K::KEPT {
            put(&self.room, &format!("{}{id}", self.answers), body, out);
        } else {
            put(&self.room, "", body, out);
        }
    }

    fn hear<'a>(
        &mut self,
        held: &'a [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard<'a>, usize)>> {
        let Some((said, took)) = split(held)? else { return Ok(None) };
        let heard = match said {
            Said::Message { sid: ROOM, header: [], payload, .. } => Heard::Message(payload),
            // A heartbeat, or a question whether the consumer still follows.
            Said::Message { sid: ROOM, reply, header, .. } => {
                let stalled = stalled(header);
                if let Some(reply) = reply.or(stalled) {
                    put(reply, "", b"", out);
                }
                Heard::Other
            }
            Said::Message { subject, payload, .. } => {
                let id = subject.strip_prefix(&self.answers).and_then(|id| id.parse().ok());
                let id = id.ok_or_else(|| broken("an answer to nothing"))?;
                // The error is looked for without a parser: this comes for every post.
                let is_error = payload.windows(8).any(|eight| eight == b"\"error\":");
                if payload.is_empty() || is_error { Heard::Refused(id) } else { Heard::Posted(id) }
            }
            Said::Ping => {
                out.extend_from_slice(b"PONG\r\n");
                Heard::Other
            }
            Said::Error(why) => return Err(broken(why)),
            Said::Pong | Said::Other => Heard::Other,
        };
        Ok(Some((heard, took)))
    }
}

/// Where a heartbeat of a consumer that waits for flow control wants its answer.
fn stalled(header: &[u8]) -> Option<&str> {
    let lines = std::str::from_utf8(header).ok()?.split("\r\n");
    lines.filter_map(|line| line.strip_prefix("Nats-Consumer-Stalled:")).map(str::trim).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear<K: Kind>(nats: &mut Nats<K>, bytes: &[u8]) -> (Vec<String>, String) {
        let (mut heard, mut out, mut rest) = (Vec::new(), Vec::new(), bytes);
        while let Some((one, took)) = nats.hear(rest, &mut out).expect("what NATS says") {
            heard.push(format!("{one:?}"));
            rest = &rest[took..];
        }
        assert!(rest.is_empty(), "{rest:?}");
        (heard, String::from_utf8(out).expect("text"))
    }

    const SEAT: Seat = Seat { index: 3, room: 5, place: 1 };

    #[test]
    fn a_message_is_split_off_only_when_it_is_whole() {
        let bytes = b"MSG room.5 1 5\r\nhello\r\nPING\r\n";
        for cut in 0..23 {
            assert_eq!(split(&bytes[..cut]).expect("no error"), None, "cut at {cut}");
        }
        let (said, took) = split(bytes).expect("no error").expect("a message");
        let (subject, sid, reply) = ("room.5", "1", None);
        let expected = Said::Message { subject, sid, reply, header: b"", payload: b"hello" };
        assert_eq!((said, took), (expected, 23));
        assert!(split(b"MSG room.5 1 x\r\n").is_err());
        assert!(split(b"HMSG a 1 9 3\r\nabc\r\n").is_err(), "a header longer than all of it");
        assert!(split(b"HELLO\r\n").is_err());
    }

    #[test]
    fn a_post_and_its_answer_find_each_other() {
        let (mut nats, mut out) = (Nats::<Stored>::new(SEAT), Vec::new());
        nats.post(42, b"body", &mut out);
        assert_eq!(out, b"PUB room.5 _INBOX.3.42 4\r\nbody\r\n");
        let bytes = b"MSG _INBOX.3.42 2 4\r\n{ok}\r\nMSG _INBOX.3.43 2 11\r\n{\"error\":{}\r\n";
        let (heard, out) = hear(&mut nats, bytes);
        assert_eq!(
            (heard.as_slice(), out.as_str()),
            (&["Posted(42)", "Refused(43)"].map(String::from)[..], "")
        );
        let mut out = Vec::new();
        Nats::<Core>::new(SEAT).post(42, b"body", &mut out);
        assert_eq!(out, b"PUB room.5 4\r\nbody\r\n");
    }

    #[test]
    fn pings_and_flow_control_are_answered() {
        let flow = "NATS/1.0 100 FlowControl Request\r\n\r\n";
        let stall = "NATS/1.0 100 Idle Heartbeat\r\nNats-Consumer-Stalled: fc.2\r\n\r\n";
        let bytes = format!(
            "PING\r\nHMSG _DELIVER.3 1 fc.1 {0} {0}\r\n{flow}\r\nHMSG _DELIVER.3 1 {1} {1}\r\n{stall}\r\n\
             MSG room.5 1 $JS.ACK.x 2\r\nhi\r\n",
            flow.len(),
            stall.len(),
        );
        let (heard, out) = hear(&mut Nats::<Streamed>::new(SEAT), bytes.as_bytes());
        assert_eq!(heard[..3], ["Other", "Other", "Other"].map(String::from));
        assert_eq!(heard[3], "Message([104, 105])");
        assert_eq!(out, "PONG\r\nPUB fc.1 0\r\n\r\nPUB fc.2 0\r\n\r\n");
    }
}
