//! The frames of one WebSocket as its task reads and a writer writes them, over a connection on
//! loopback. What the system does, TLS and waking tasks are not in it.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use parlance_actors::ports::Frames as _;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::session::Output;
use parlance_actors::vocab::Gen;
use parlance_gateway::JsonFrames;
use parlance_gateway::testkit::SocketLine;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::part::Part;
use crate::{frames, sample};

/// Frames that wait when a socket is read.
pub(crate) const FRAMES: usize = 16;
const UPGRADE: &str =
    "GET /ws HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// Both ends, upgraded.
struct Pair {
    runtime: Runtime,
    line: SocketLine,
    client: TcpStream,
}

impl Pair {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let runtime = runtime.expect("a runtime");
        let (line, client) = runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let mut client = TcpStream::connect(address).expect("connected");
            client.write_all(UPGRADE.as_bytes()).expect("room for it");
            let (server, _) = listener.accept().await.expect("accepted");
            let line = SocketLine::accept(server).await.expect("an upgrade");
            let mut answer = vec![0; 1024];
            let length = client.read(&mut answer).expect("an answer");
            assert!(answer[..length].ends_with(b"\r\n\r\n"), "the head of an answer");
            (line, client)
        });
        Self { runtime, line, client }
    }

    /// Lets the runtime see what the connection is ready for. A busy system delivers a moment later.
    fn look(&self) {
        std::thread::sleep(Duration::from_millis(2));
        self.runtime.block_on(tokio::task::yield_now());
    }
}

/// Writes some events at once.
pub(crate) struct Say {
    pair: Pair,
    frame: Bytes,
    count: usize,
    frames: Vec<Bytes>,
    taken: Vec<u8>,
}

impl Say {
    pub(crate) fn frames(count: usize) -> Self {
        let pair = Pair::new();
        let event = sample::event(58);
        let output = Output::Event { room: sample::room(1).room, r#gen: Gen(1), event: &event };
        let frame = JsonFrames.encode(Dialect::V1, &output).expect("every event has a frame");
        let taken = vec![0; count * frame.len()];
        Self { pair, frame, count, frames: Vec::new(), taken }
    }
}

impl Part for Say {
    fn prepare(&mut self) {
        if self.frames.capacity() > 0 {
            self.pair.client.read_exact(&mut self.taken).expect("every frame");
            assert!(self.taken.ends_with(&self.frame));
        }
        self.pair.look();
        self.frames.extend(std::iter::repeat_n(self.frame.clone(), self.count));
    }

    fn run(&mut self) {
        assert!(sample::at_once(self.pair.line.say(&mut self.frames)));
    }
}

/// Reads sends, up to what they ask of the session.
pub(crate) struct Hear {
    pair: Pair,
    sent: Vec<u8>,
}

impl Hear {
    pub(crate) fn new() -> Self {
        let pair = Pair::new();
        let mut sent = Vec::new();
        for number in 0..FRAMES as u64 {
            masked(frames::send_frame(number, &sample::body()).encode().as_bytes(), &mut sent);
        }
        Self { pair, sent }
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
        self.pair.client.write_all(&self.sent).expect("room for them");
        self.pair.look();
    }

    fn run(&mut self) {
        for _ in 0..FRAMES {
            let request = sample::at_once(self.pair.line.hear());
            drop(black_box(request.expect("a send")));
        }
    }
}
