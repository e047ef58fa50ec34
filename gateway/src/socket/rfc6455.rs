//! RFC 6455, case by case, against the socket's own code with an echo in place of the session. The
//! groups follow those of the Autobahn test suite, which needs a Python that is no longer there:
//! framing, pings, reserved bits, opcodes, fragments, UTF-8, closing, sizes.
//!
//! What this server decides by itself: binary messages are refused, and whatever breaks the
//! protocol ends the socket with 4002 instead of 1002 or 1007, so that a client has one code for it.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testkit::SocketLine;
use crate::limits::FRAME_BYTES_MAX;

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const BAD_FRAME: u16 = 4002;

/// Far above what a case takes: only a server that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client that writes whatever bytes it likes.
struct Client(TcpStream);

/// What the server said at last.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// The code in its close frame, if it sent one; 1005 for one without a code.
    code: Option<u16>,
    /// Frames before that.
    frames: Vec<(u8, Vec<u8>)>,
}

impl Client {
    async fn connect() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (accepted, stream) = tokio::join!(listener.accept(), TcpStream::connect(address));
        let (server, _) = accepted.expect("a connection");
        let stream = stream.expect("a connection");
        // Each octet of a case is a packet of its own where the case says so.
        stream.set_nodelay(true).expect("an open socket");
        let mut client = Self(stream);
        client.put(UPGRADE).await;
        let serve = async { SocketLine::accept(server).await.expect("an upgrade").echo().await };
        drop(tokio::spawn(serve));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.0.read_u8().await.expect("an answer"));
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        client
    }

    async fn put(&mut self, bytes: &[u8]) {
        // The server may have ended already: what it said is still there to be read.
        let _ = self.0.write_all(bytes).await;
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        self.put(&frame(first, payload)).await;
    }

    /// One frame of the server, or nothing at the end of the connection.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.0.read_u8().await.ok()?;
            let second = self.0.read_u8().await.ok()?;
            assert_eq!(second & 0x80, 0, "a server's frame is not masked");
            let length = match second {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).expect("a sane length"),
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("the server says or ends something")
    }

    /// Everything up to the end of the connection.
    async fn end(mut self) -> End {
        let mut frames = Vec::new();
        let mut code = None;
        while let Some((first, payload)) = self.next().await {
            assert_eq!(code, None, "nothing comes after a close frame");
            if first == FIN | CLOSE {
                let number = payload.first_chunk().map_or(1005, |two| u16::from_be_bytes(*two));
                code = Some(number);
            } else {
                frames.push((first, payload));
            }
        }
        End { code, frames }
    }

    async fn expect_echo(&mut self, text: &[u8]) {
        let (first, payload) = self.next().await.expect("an echo");
        assert_eq!((first, payload.len()), (FIN | TEXT, text.len()));
        assert_eq!(payload, text);
    }

    /// The socket is in order to its end.
    async fn expect_good_end(mut self) {
        self.send(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
        assert_eq!(self.end().await, End { code: Some(1000), frames: Vec::new() });
    }

    /// The socket ends because of what was sent, after these echoes.
    async fn expect_failure(self, echoes: &[&str]) {
        let end = self.end().await;
        assert_eq!(end.code, Some(BAD_FRAME));
        let texts: Vec<_> = end.frames.iter().map(|(first, text)| (*first, &text[..])).collect();
        let wanted: Vec<_> = echoes.iter().map(|text| (FIN | TEXT, text.as_bytes())).collect();
        assert_eq!(texts, wanted);
    }
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A client's frame: `first` is its first byte (FIN, reserved bits, opcode).
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut bytes = vec![first];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => bytes.push(0x80 | short),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[tokio::test]
async fn texts_of_every_form_of_length_are_echoed() {
    let mut client = Client::connect().await;
    for length in [0, 1, 125, 126, 127, 128, 1_000, 65_535, 65_536, FRAME_BYTES_MAX] {
        let text = vec![b'*'; length];
        client.send(FIN | TEXT, &text).await;
        client.expect_echo(&text).await;
    }
    client.expect_good_end().await;
}

#[tokio::test]
async fn a_text_that_comes_octet_by_octet_is_echoed() {
    let mut client = Client::connect().await;
    for length in [1, 126, 300] {
        let text = vec![b'x'; length];
        for byte in frame(FIN | TEXT, &text) {
            client.put(&[byte]).await;
        }
        client.expect_echo(&text).await;
    }
    client.expect_good_end().await;
}

#[tokio::test]
async fn a_text_over_the_bound_is_refused_whole_or_in_fragments() {
    let half = vec![b'*'; FRAME_BYTES_MAX / 2 + 1];
    let mut whole = Client::connect().await;
    whole.send(FIN | TEXT, &[&half[..], &half[..]].concat()).await;
    whole.expect_failure(&[]).await;
    let mut fragments = Client::connect().await;
    fragments.send(TEXT, &half).await;
    fragments.send(FIN, &half).await;
    fragments.expect_failure(&[]).await;
    // The length alone is enough: nobody waits for that much.
    let mut huge = Client::connect().await;
    huge.put(&[FIN | TEXT, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]).await;
    huge.expect_failure(&[]).await;
}

#[tokio::test]
async fn binary_messages_are_refused() {
    for payload in [&b""[..], b"\xFE\x00", &[0; 126]] {
        let mut client = Client::connect().await;
        client.send(FIN | BINARY, payload).await;
        client.expect_failure(&[]).await;
    }
}

#[tokio::test]
async fn a_frame_that_is_not_masked_ends_the_socket() {
    let mut client = Client::connect().await;
    client.put(&[FIN | TEXT, 2, b'h', b'i']).await;
    client.expect_failure(&[]).await;
}

#[tokio::test]
async fn pings_are_answered_with_what_they_carry() {
    let mut client = Client::connect().await;
    for payload in [&b""[..], b"Hello", b"\x00\xFF\xFE\xFD\xFC\xFB\x00\xFF", &[0xFE; 125]] {
        client.send(FIN | PING, payload).await;
        assert_eq!(client.next().await, Some((FIN | PONG, payload.to_vec())));
    }
    for byte in frame(FIN | PING, &[0xFE; 125]) {
        client.put(&[byte]).await;
    }
    assert_eq!(client.next().await, Some((FIN | PONG, vec![0xFE; 125])));
    client.expect_good_end().await;
}

#[tokio::test]
async fn ten_pings_are_answered_in_their_order() {
    let mut client = Client::connect().await;
    let pings: Vec<u8> = (0..10).flat_map(|number| frame(FIN | PING, &[number])).collect();
    client.put(&pings).await;
    // The library may answer only the latest of several pings (section 5.5.3).
    let mut last = None;
    while last != Some(9) {
        let (first, payload) = client.next().await.expect("a pong");
        assert_eq!((first, payload.len()), (FIN | PONG, 1));
        assert!(last.is_none_or(|last| last < payload[0]));
        last = Some(payload[0]);
    }
    client.expect_good_end().await;
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_changes_nothing() {
    let mut client = Client::connect().await;
    client.send(FIN | PONG, b"").await;
    client.send(FIN | PONG, b"unasked").await;
    client.send(FIN | PING, b"asked").await;
    assert_eq!(client.next().await, Some((FIN | PONG, b"asked".to_vec())));
    client.expect_good_end().await;
}

#[tokio::test]
async fn control_frames_are_short_and_whole() {
    for first in [FIN | PING, FIN | PONG, FIN | CLOSE] {
        let mut client = Client::connect().await;
        client.send(first, &[0xFE; 126]).await;
        client.expect_failure(&[]).await;
    }
    for first in [PING, PONG, CLOSE] {
        let mut client = Client::connect().await;
        client.send(first, b"").await;
        client.send(FIN, b"").await;
        client.expect_failure(&[]).await;
    }
}

#[tokio::test]
async fn reserved_bits_end_the_socket_because_no_extension_is_agreed() {
    for bits in 1..8_u8 {
        for opcode in [TEXT, BINARY, PING, CLOSE] {
            let mut client = Client::connect().await;
            client.send(FIN | TEXT, b"before").await;
            client.send(FIN | (bits << 4) | opcode, b"").await;
            client.send(FIN | PING, b"").await;
            client.expect_failure(&["before"]).await;
        }
    }
}

#[tokio::test]
async fn reserved_opcodes_end_the_socket() {
    for opcode in (3..8).chain(0xB..=0xF) {
        for payload in [&b""[..], b"something"] {
            let mut client = Client::connect().await;
            client.send(FIN | TEXT, b"before").await;
            client.send(FIN | opcode, payload).await;
            client.send(FIN | PING, b"").await;
            client.expect_failure(&["before"]).await;
        }
    }
}

#[tokio::test]
async fn fragments_become_one_message() {
    let mut client = Client::connect().await;
    client.send(TEXT, b"one ").await;
    client.send(FIN, b"two").await;
    client.expect_echo(b"one two").await;
    client.send(TEXT, b"").await;
    client.send(CONTINUATION, b"middle").await;
    client.send(FIN, b"").await;
    client.expect_echo(b"middle").await;
    for _ in 0..3 {
        client.send(TEXT, b"").await;
        client.send(CONTINUATION, b"").await;
        client.send(FIN, b"").await;
        client.expect_echo(b"").await;
    }
    client.expect_good_end().await;
}

#[tokio::test]
async fn a_ping_between_fragments_is_answered_before_the_message() {
    let mut client = Client::connect().await;
    client.send(TEXT, b"one ").await;
    client.send(FIN | PING, b"there?").await;
    assert_eq!(client.next().await, Some((FIN | PONG, b"there?".to_vec())));
    client.send(CONTINUATION, b"two ").await;
    client.send(FIN | PONG, b"unasked").await;
    client.send(FIN, b"three").await;
    client.expect_echo(b"one two three").await;
    client.expect_good_end().await;
}

#[tokio::test]
async fn fragments_out_of_order_end_the_socket() {
    // A continuation of nothing, final or not, and after a message that was whole.
    for (before, first) in [(None, FIN), (None, CONTINUATION), (Some("whole"), FIN)] {
        let mut client = Client::connect().await;
        if let Some(text) = before {
            client.send(FIN | TEXT, text.as_bytes()).await;
        }
        client.send(first, b"of nothing").await;
        client.send(FIN | TEXT, b"never seen").await;
        client.expect_failure(before.as_slice()).await;
    }
    // A message within a message.
    for first in [FIN | TEXT, TEXT, FIN | BINARY] {
        let mut client = Client::connect().await;
        client.send(TEXT, b"begun ").await;
        client.send(first, b"within").await;
        client.expect_failure(&[]).await;
    }
}

#[tokio::test]
async fn valid_utf_8_is_echoed_wherever_it_is_cut() {
    let texts = [
        "Hello-µ@ßöäüàá-UTF-8!!",
        "κόσμε",
        "\u{0}",
        "\u{80}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}",
        "\u{D7FF}\u{E000}\u{FFFD}\u{FFFE}",
        "𝄞👩‍👩‍👧‍👦",
    ];
    let mut client = Client::connect().await;
    for text in texts {
        let bytes = text.as_bytes();
        client.send(FIN | TEXT, bytes).await;
        client.expect_echo(bytes).await;
        for cut in 1..bytes.len() {
            client.send(TEXT, &bytes[..cut]).await;
            client.send(FIN, &bytes[cut..]).await;
            client.expect_echo(bytes).await;
        }
        let (last, others) = bytes.split_last().expect("not empty");
        for (index, byte) in others.iter().enumerate() {
            client.send(if index == 0 { TEXT } else { CONTINUATION }, &[*byte]).await;
        }
        client.send(if others.is_empty() { FIN | TEXT } else { FIN }, &[*last]).await;
        client.expect_echo(bytes).await;
    }
    client.expect_good_end().await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_ends_the_socket() {
    let bad: [&[u8]; 14] = [
        b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited", // a surrogate
        b"\xF4\x90\x80\x80",                                               // above U+10FFFF
        b"\xF8\x88\x80\x80\x80",                                           // five bytes
        b"\xFC\x84\x80\x80\x80\x80",                                       // six bytes
        b"\x80",                                                           // a continuation alone
        b"\xBF\x80",
        b"\xC2", // cut short
        b"\xE0\xA0",
        b"\xF0\x90\x80",
        b"\xFE",
        b"\xFF",
        b"\xC0\xAF", // overlong
        b"\xE0\x80\xAF",
        b"\xF0\x80\x80\xAF",
    ];
    for bytes in bad {
        let mut whole = Client::connect().await;
        whole.send(FIN | TEXT, bytes).await;
        whole.expect_failure(&[]).await;
        let mut fragments = Client::connect().await;
        fragments.send(TEXT, &bytes[..1]).await;
        fragments.send(FIN, &bytes[1..]).await;
        fragments.expect_failure(&[]).await;
    }
}

#[tokio::test]
async fn a_close_is_answered_with_its_code_and_ends_the_connection() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999_u16] {
        let mut client = Client::connect().await;
        client.send(FIN | TEXT, b"before").await;
        client.expect_echo(b"before").await;
        let payload = [&code.to_be_bytes()[..], "warum auch nicht: ä".as_bytes()].concat();
        client.send(FIN | CLOSE, &payload).await;
        assert_eq!(client.end().await, End { code: Some(code), frames: Vec::new() });
    }
    let mut bare = Client::connect().await;
    bare.send(FIN | CLOSE, b"").await;
    assert_eq!(bare.end().await, End { code: Some(1005), frames: Vec::new() });
    let mut long = Client::connect().await;
    long.send(FIN | CLOSE, &[&1000_u16.to_be_bytes()[..], &[b'x'; 123]].concat()).await;
    assert_eq!(long.end().await, End { code: Some(1000), frames: Vec::new() });
}

#[tokio::test]
async fn nothing_is_answered_after_a_close() {
    for after in [FIN | TEXT, FIN | PING, FIN | CLOSE] {
        let mut client = Client::connect().await;
        let both = [frame(FIN | CLOSE, &1000_u16.to_be_bytes()), frame(after, b"")].concat();
        client.put(&both).await;
        assert_eq!(client.end().await, End { code: Some(1000), frames: Vec::new() });
    }
}

#[tokio::test]
async fn codes_that_nobody_may_send_are_answered_as_an_error_of_the_protocol() {
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535_u16] {
        let mut client = Client::connect().await;
        client.send(FIN | CLOSE, &code.to_be_bytes()).await;
        let end = client.end().await;
        assert!(matches!(end.code, Some(1002 | BAD_FRAME)), "{code}: {end:?}");
        assert_eq!(end.frames, []);
    }
}

#[tokio::test]
async fn a_close_frame_without_a_whole_code_or_with_a_reason_that_is_no_text_is_an_error() {
    for payload in [&b"\x03"[..], b"\x03\xE8\xCE\xBA\xED\xA0\x80"] {
        let mut client = Client::connect().await;
        client.send(FIN | CLOSE, payload).await;
        let end = client.end().await;
        assert!(matches!(end.code, Some(1002 | 1007 | BAD_FRAME)), "{payload:?}: {end:?}");
        assert_eq!(end.frames, []);
    }
}

#[tokio::test]
async fn a_thousand_texts_at_once_are_echoed_in_their_order() {
    let mut client = Client::connect().await;
    let texts: Vec<String> = (0..1_000).map(|number| format!("text {number}")).collect();
    let frames: Vec<u8> =
        texts.iter().flat_map(|text| frame(FIN | TEXT, text.as_bytes())).collect();
    client.put(&frames).await;
    for text in &texts {
        client.expect_echo(text.as_bytes()).await;
    }
    client.expect_good_end().await;
}
