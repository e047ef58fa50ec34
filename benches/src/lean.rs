//! A WebSocket client that costs as little as it can, over TCP or TLS: one buffer a socket, frames
//! handed out as slices of it, nothing allocated for each. It takes what this server sends (whole text frames,
//! pings, a close) and refuses the rest of the protocol instead of handling it.

use std::io;
use std::time::Duration;

use parlance_client::{Server, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::buffer::Buffer;
use crate::limits;

/// A socket.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    buffer: Buffer,
    out: Vec<u8>,
}

/// What one frame is.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text.
    Text(&'a [u8]),
    /// A ping, to be answered with the same bytes.
    Ping(&'a [u8]),
    /// A pong.
    Pong,
    /// The end, with its code.
    Close(Option<u16>),
}

/// The server answered the upgrade, and not with a yes.
#[derive(Debug, thiserror::Error)]
#[error("no upgrade: {status}")]
pub struct Refused {
    /// The first line of the answer.
    pub status: String,
    /// When it says that coming again can help.
    pub retry_after: Option<Duration>,
}

impl Refused {
    /// What an error of [`Socket::connect`] says about a refusal; `None` when it is of another kind.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Reads the answer as far as it has come: the body, with milliseconds, may not be there.
    fn read(answer: &str) -> Self {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
        let exact = serde_json::from_str::<serde_json::Value>(body).ok();
        let exact = exact.and_then(|body| body.get("retry_after_ms")?.as_u64());
        let seconds = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok())?
        });
        let retry_after =
            exact.map(Duration::from_millis).or_else(|| seconds.map(Duration::from_secs));
        Self { status: head.lines().next().unwrap_or_default().to_owned(), retry_after }
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Splits the first frame off: the frame and how many bytes it took; `None` when it is not whole.
///
/// # Errors
/// When it is a frame that this client does not take.
pub fn split(bytes: &[u8]) -> io::Result<Option<(Frame<'_>, usize)>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if second & 0x80 != 0 {
        return Err(broken("a masked frame from a server"));
    }
    if first & 0xF0 != 0x80 {
        return Err(broken("a fragment or an extension, which this client does not take"));
    }
    let (length, head) = match second & 0x7F {
        126 => match rest {
            [a, b, ..] => (usize::from(u16::from_be_bytes([*a, *b])), 4),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if length > limits::FRAME_BYTES_MAX {
        return Err(broken("a frame over the bound"));
    }
    let Some(payload) = bytes.get(head..head + length) else { return Ok(None) };
    let frame = match first & 0x0F {
        1 => Frame::Text(payload),
        8 => Frame::Close(payload.first_chunk::<2>().map(|code| u16::from_be_bytes(*code))),
        9 => Frame::Ping(payload),
        10 => Frame::Pong,
        _ => return Err(broken("a binary frame or an unknown one")),
    };
    Ok(Some((frame, head + length)))
}

/// Appends a client's frame. The mask is zero: it protects proxies from scripts in browsers, and
/// there are neither here.
pub(crate) fn join(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => out.push(0x80 | u8::try_from(length).expect("under 126")),
        length => match u16::try_from(length) {
            Ok(length) => {
                out.push(0x80 | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            Err(_) => {
                out.push(0x80 | 127);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// The request for an upgrade to a WebSocket.
pub(crate) fn upgrade_request(server: &Server, path: &str, header: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         {header}\r\n",
        server.authority(),
    )
}

/// Splits the head of the answer to it off, once it is whole.
///
/// # Errors
/// When the answer is not a yes; see [`Refused::of`].
pub(crate) fn upgraded(held: &[u8]) -> io::Result<Option<((), usize)>> {
    let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") else {
        let is_endless = held.len() > limits::BUFFER_KEEP_BYTES;
        return if is_endless { Err(broken("no end of the answer's head")) } else { Ok(None) };
    };
    if !held.starts_with(b"HTTP/1.1 101") {
        return Err(io::Error::other(Refused::read(&String::from_utf8_lossy(held))));
    }
    Ok(Some(((), end + 4)))
}

impl Socket {
    /// Connects and upgrades, with the protocol's own path and subprotocol.
    ///
    /// # Errors
    /// When the server is not reached or answers anything but 101; see [`Refused::of`].
    pub async fn connect(server: &Server) -> io::Result<Self> {
        let subprotocol = format!("Sec-WebSocket-Protocol: {}\r\n", parlance_protocol::SUBPROTOCOL);
        Self::upgrade(server, "/ws", &subprotocol).await
    }

    /// The same with a one-time ticket, so that the hello needs no token.
    ///
    /// # Errors
    /// As [`Socket::connect`].
    pub async fn connect_by_ticket(server: &Server, ticket: &str) -> io::Result<Self> {
        let subprotocol = format!("Sec-WebSocket-Protocol: {}\r\n", parlance_protocol::SUBPROTOCOL);
        Self::upgrade(server, &format!("/ws?ticket={ticket}"), &subprotocol).await
    }

    /// Connects and upgrades to simple chat.
    ///
    /// # Errors
    /// When the server is not reached or answers anything but 101.
    pub async fn connect_simple(server: &Server, token: &str) -> io::Result<Self> {
        Self::upgrade(server, &format!("/ws/chat?token={token}"), "").await
    }

    async fn upgrade(server: &Server, path: &str, header: &str) -> io::Result<Self> {
        let stream = server.connect().await.map_err(|error| io::Error::other(error.to_string()))?;
        let mut socket = Self { stream, buffer: Buffer::default(), out: Vec::new() };
        socket.stream.write_all(upgrade_request(server, path, header).as_bytes()).await?;
        socket.stream.flush().await?;
        while socket.buffer.take(upgraded)?.is_none() {
            socket.fill().await?;
        }
        Ok(socket)
    }

    /// Waits for bytes. Cancel-safe.
    ///
    /// # Errors
    /// The socket's, and `UnexpectedEof` at its end.
    pub async fn fill(&mut self) -> io::Result<()> {
        let read = self.stream.read(self.buffer.space()).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.buffer.add(read);
        Ok(())
    }

    /// The next whole frame in the buffer.
    ///
    /// # Errors
    /// When it is a frame that this client does not take.
    pub fn frame(&mut self) -> io::Result<Option<Frame<'_>>> {
        self.buffer.take(split)
    }

    /// Waits for the next text and answers pings on the way.
    ///
    /// # Errors
    /// The socket's; a close counts as its end.
    pub async fn text(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let ping = match self.frame()? {
                Some(Frame::Text(text)) => return Ok(text.to_vec()),
                Some(Frame::Close(code)) => return Err(broken(&format!("closed with {code:?}"))),
                Some(Frame::Ping(payload)) => Some(payload.to_vec()),
                Some(Frame::Pong) => None,
                None => {
                    self.fill().await?;
                    None
                }
            };
            if let Some(payload) = ping {
                self.pong(&payload);
                self.flush().await?;
            }
        }
    }

    /// Puts a text frame into the out buffer.
    pub fn put(&mut self, text: &[u8]) {
        join(&mut self.out, 1, text);
    }

    /// Puts the answer to a ping into the out buffer.
    pub fn pong(&mut self, payload: &[u8]) {
        join(&mut self.out, 10, payload);
    }

    /// Writes the out buffer. Not cancel-safe.
    ///
    /// # Errors
    /// The socket's.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.out.is_empty() {
            self.stream.write_all(&self.out).await?;
            // TLS may hold the last record back until it is asked.
            self.stream.flush().await?;
            self.out.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        join(&mut frame, opcode, payload);
        let head = frame.len() - payload.len() - 4;
        frame[1] &= 0x7F;
        frame.drain(head..head + 4);
        frame
    }

    #[test]
    fn frames_of_every_length_are_split_off_only_when_whole() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; length];
            let frame = server_frame(1, &payload);
            for cut in [0, 1, 2, 3, frame.len() - 1] {
                let whole = split(&frame[..cut.min(frame.len() - 1)]).expect("a good frame");
                assert_eq!(whole, None, "{length} cut at {cut}");
            }
            let mut more = frame.clone();
            more.extend_from_slice(b"rest");
            assert_eq!(
                split(&more).expect("a good frame"),
                Some((Frame::Text(&payload), frame.len()))
            );
        }
    }

    #[test]
    fn a_refused_upgrade_says_when_to_come_again() {
        let head = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\n\r\n";
        let refused = Refused::read(head);
        assert_eq!(refused.status, "HTTP/1.1 503 Service Unavailable");
        assert_eq!(refused.retry_after, Some(Duration::from_secs(2)));
        let exact = Refused::read(&format!("{head}{{\"code\":\"busy\",\"retry_after_ms\":1234}}"));
        assert_eq!(exact.retry_after, Some(Duration::from_millis(1_234)));
        assert_eq!(Refused::read("HTTP/1.1 400 Bad Request\r\n\r\n").retry_after, None);
        let error = io::Error::other(exact);
        assert!(Refused::of(&error).is_some() && Refused::of(&broken("x")).is_none());
    }

    #[test]
    fn control_frames_are_known_and_others_refused() {
        let close = server_frame(8, &4005_u16.to_be_bytes());
        assert_eq!(split(&close).expect("a close"), Some((Frame::Close(Some(4005)), 4)));
        let ping = server_frame(9, b"p");
        assert_eq!(split(&ping).expect("a ping"), Some((Frame::Ping(b"p"), 3)));
        assert!(split(&[0x82, 0]).is_err(), "binary");
        assert!(split(&[0x01, 0]).is_err(), "a fragment");
        assert!(split(&[0xC1, 0]).is_err(), "compressed");
        assert!(split(&[0x81, 0x80]).is_err(), "masked");
        assert!(split(&[0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "too long");
    }
}
