//! A socket's bytes, through the server's own reading and writing with an echo behind it, beside a
//! reader of RFC 6455 that is written another way.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use parlance_gateway::limits::FRAME_BYTES_MAX;
use parlance_gateway::testkit::SocketLine;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::block_on;

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
/// Far above what it takes: only a server that hangs gets there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first byte says where the stream is cut in two; the others are what a client sends after its
/// upgrade. The texts in it come back, however it is cut and whether it came with the upgrade or after it,
/// and after the first fault nothing but the end.
pub fn socket(bytes: &[u8]) {
    let Some((cut, stream)) = bytes.split_first() else { return };
    let (head, tail) = stream.split_at(stream.len().min(usize::from(*cut)));
    let expected = texts(stream);
    for said in
        [block_on(talk(&[UPGRADE, stream].concat(), &[])), block_on(talk(UPGRADE, &[head, tail]))]
    {
        assert_eq!(said, expected, "of {stream:02x?}");
    }
}

/// What the server says to a client that sends this and then ends: the texts. Everything else that it
/// says is checked.
async fn talk(first: &[u8], more: &[&[u8]]) -> Vec<Vec<u8>> {
    let (here, there) = UnixStream::pair().expect("a pair of sockets");
    let [mut client, server] = [here, there].map(stream_of);
    let serving = async { SocketLine::accept(server).await.expect("an upgrade").echo().await };
    let talking = async {
        client.write_all(first).await.expect("there is room");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(client.read_u8().await.expect("an answer"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        let (mut read, mut write) = client.split();
        let mut said = Vec::new();
        let sending = async {
            for piece in more {
                // It may have ended already.
                let _ = write.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = write.shutdown().await;
        };
        let (_, heard) = tokio::join!(sending, read.read_to_end(&mut said));
        // A reset after its last words.
        let _ = heard;
        said
    };
    let both = async { tokio::join!(serving, talking).1 };
    let said = tokio::time::timeout(PATIENCE, both).await.expect("it ends");
    frames_of_server(&said)
}

/// A pair of sockets in place of a connection over TCP, which would leave its port behind for a minute.
fn stream_of(socket: UnixStream) -> TcpStream {
    socket.set_nonblocking(true).expect("an open socket");
    let socket = std::net::TcpStream::from(OwnedFd::from(socket));
    TcpStream::from_std(socket).expect("a runtime is there")
}

/// A frame (RFC 6455, section 5.2).
struct Frame<'a> {
    fin: bool,
    reserved: u8,
    opcode: u8,
    mask: Option<[u8; 4]>,
    /// As announced.
    length: u64,
    /// As far as it is there.
    payload: &'a [u8],
}

/// The first frame, and what follows it; `None` while its head is not whole.
fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, rest) = match second & 0x7f {
        126 => {
            rest.split_first_chunk().map(|(two, rest)| (u16::from_be_bytes(*two).into(), rest))?
        }
        127 => rest.split_first_chunk().map(|(eight, rest)| (u64::from_be_bytes(*eight), rest))?,
        short => (u64::from(short), rest),
    };
    let (mask, rest) = match second & 0x80 {
        0 => (None, rest),
        _ => rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?,
    };
    let there = usize::try_from(length).unwrap_or(usize::MAX).min(rest.len());
    let (payload, rest) = rest.split_at(there);
    let (reserved, opcode) = (first & 0x70, first & 0x0f);
    Some((Frame { fin: first & 0x80 != 0, reserved, opcode, mask, length, payload }, rest))
}

/// The texts that a client sends before its first fault.
fn texts(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    // The message that is not whole: whether it is a text, and what there is of it.
    let mut begun: Option<(bool, Vec<u8>)> = None;
    while let Some((frame, rest)) = split(stream) {
        stream = rest;
        let Some(mask) = frame.mask else { break };
        let is_control = frame.opcode >= 8;
        let whole = frame.payload.len() as u64 == frame.length;
        if !whole || frame.reserved != 0 || frame.length > FRAME_BYTES_MAX as u64 {
            break;
        }
        if is_control && (!frame.fin || frame.length > 125) {
            break;
        }
        let masked = frame.payload.iter().zip(mask.iter().cycle());
        let payload: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
        let (is_text, mut message) = match (frame.opcode, begun.take()) {
            (0, Some(begun)) => begun,
            (1 | 2, None) => (frame.opcode == 1, Vec::new()),
            (9 | 10, unfinished) => {
                begun = unfinished;
                continue;
            }
            _ => break,
        };
        message.extend_from_slice(&payload);
        if message.len() > FRAME_BYTES_MAX {
            break;
        }
        if !frame.fin {
            begun = Some((is_text, message));
            continue;
        }
        if !is_text || std::str::from_utf8(&message).is_err() {
            break;
        }
        texts.push(message);
    }
    texts
}

/// The texts of what a server says: whole frames without a mask, a close frame as the last one.
fn frames_of_server(mut said: &[u8]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let mut closed = false;
    while let Some((frame, rest)) = split(said) {
        said = rest;
        assert!(!closed, "nothing comes after a close frame");
        assert!(frame.fin && frame.reserved == 0 && frame.mask.is_none(), "not a server's frame");
        assert_eq!(frame.payload.len() as u64, frame.length, "a frame that is cut short");
        match frame.opcode {
            1 => texts.push(frame.payload.to_vec()),
            8 => {
                closed = true;
                let code = frame.payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                assert!(code.is_none_or(|code| (1000..5000).contains(&code)), "{code:?}");
            }
            10 => assert!(frame.length <= 125),
            other => panic!("a server does not send opcode {other}"),
        }
    }
    assert!(said.is_empty(), "a frame that is cut short: {said:02x?}");
    texts
}
