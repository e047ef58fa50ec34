//! The frames of one WebSocket as the socket task reads and writes them, over a stream in memory.
//! The stream's own copying is in it; system calls, TLS and the task's waking are not.

use std::hint::black_box;

use bytes::Bytes;
use parlance_actors::ports::Frames as _;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::session::Output;
use parlance_actors::vocab::Gen;
use parlance_gateway::JsonFrames;
use parlance_gateway::testkit::SocketLine;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use crate::part::Part;
use crate::{frames, sample};

/// Frames that wait when a socket is read.
pub(crate) const FRAMES: usize = 16;
/// More than any round writes.
const STREAM_BYTES: usize = 64 * 1024;
const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Both ends, upgraded.
fn connected() -> (SocketLine, DuplexStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (server, mut client) = tokio::io::duplex(STREAM_BYTES);
        client.write_all(UPGRADE.as_bytes()).await.expect("room for it");
        let line = SocketLine::accept(server).await.expect("an upgrade");
        let mut answer = vec![0; 1024];
        let length = client.read(&mut answer).await.expect("an answer");
        assert!(answer[..length].ends_with(b"\r\n\r\n"), "the head of an answer");
        (line, client)
    })
}

/// Writes some events with one flush.
pub(crate) struct Say {
    line: SocketLine,
    client: DuplexStream,
    frame: Bytes,
    count: usize,
    frames: Vec<Bytes>,
    taken: Vec<u8>,
}

impl Say {
    pub(crate) fn frames(count: usize) -> Self {
        let (line, client) = connected();
        let event = sample::event(58);
        let output = Output::Event { room: sample::room(1).room, r#gen: Gen(1), event: &event };
        let frame = JsonFrames.encode(Dialect::V1, &output).expect("every event has a frame");
        let taken = vec![0; STREAM_BYTES];
        Self { line, client, frame, count, frames: Vec::new(), taken }
    }
}

impl Part for Say {
    fn prepare(&mut self) {
        if self.frames.capacity() > 0 {
            let taken = sample::at_once(self.client.read(&mut self.taken)).expect("frames");
            assert!(taken > self.count * self.frame.len(), "every frame with its header");
        }
        self.frames.extend(std::iter::repeat_n(self.frame.clone(), self.count));
    }

    fn run(&mut self) {
        assert!(sample::at_once(self.line.say(&mut self.frames)));
    }
}

/// Reads sends, up to what they ask of the session.
pub(crate) struct Hear {
    line: SocketLine,
    client: DuplexStream,
    sent: Vec<u8>,
}

impl Hear {
    pub(crate) fn new() -> Self {
        let (line, client) = connected();
        let mut sent = Vec::new();
        for number in 0..FRAMES as u64 {
            masked(frames::send_frame(number, &sample::body()).encode().as_bytes(), &mut sent);
        }
        Self { line, client, sent }
    }
}

/// A client's text frame (RFC 6455, section 5.2) of 126 bytes to 64 KiB.
fn masked(text: &[u8], into: &mut Vec<u8>) {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u16::try_from(text.len()).expect("a short frame");
    assert!(length > 125, "a shorter one has another header");
    into.extend_from_slice(&[0x81, 0x80 | 126]);
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(&MASK);
    into.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

impl Part for Hear {
    fn prepare(&mut self) {
        sample::at_once(self.client.write_all(&self.sent)).expect("room for them");
    }

    fn run(&mut self) {
        for _ in 0..FRAMES {
            let request = sample::at_once(self.line.hear());
            drop(black_box(request.expect("a send")));
        }
    }
}
