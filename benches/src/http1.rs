//! One HTTP/1.1 connection that is kept open, for load over HTTP: a request at a time, an answer with
//! a length. It refuses chunked answers instead of handling them; what is asked once goes through the
//! client's own HTTP.

use std::io;
use std::time::Duration;

use parlance_client::{Server, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::limits;

/// A connection; opened when it is first needed, and again after it ended.
#[derive(Debug)]
pub struct Keeping {
    server: Server,
    stream: Option<Stream>,
    buffer: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
    /// When it says that asking again can help.
    pub retry_after: Option<Duration>,
}

/// What of an answer's head matters here.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Option<usize>,
    retry_after: Option<Duration>,
    closes: bool,
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl Keeping {
    /// A connection to this server, from its source address.
    #[must_use]
    pub const fn to(server: Server) -> Self {
        Self { server, stream: None, buffer: Vec::new() }
    }

    /// Asks, and waits for the answer. A connection that the server closed since the last answer is
    /// opened again, once.
    ///
    /// # Errors
    /// When the server is not reached, says nothing for long, or not with HTTP.
    pub async fn ask(&mut self, method: &str, path: &str, token: &str) -> io::Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 0\r\n\r\n",
            self.server.authority(),
        );
        let was_open = self.stream.is_some();
        let waited = timeout(limits::HTTP_WAIT, self.exchange(&request)).await;
        match waited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Err(_) if was_open => {
                self.stream = None;
                let waited = timeout(limits::HTTP_WAIT, self.exchange(&request)).await;
                waited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            done => done,
        }
        .inspect_err(|_| self.stream = None)
    }

    async fn exchange(&mut self, request: &str) -> io::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let opened = self.server.connect().await;
                opened.map_err(|error| io::Error::other(error.to_string()))?
            }
        };
        self.buffer.clear();
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let (end, head) = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break (end + 4, Head::parse(&self.buffer[..end])?);
            }
            if self.buffer.len() > limits::BUFFER_KEEP_BYTES {
                return Err(broken("no end of the answer's head"));
            }
            self.fill(&mut stream).await?;
        };
        let length = head.length.ok_or_else(|| broken("an answer without a length"))?;
        if length > limits::FRAME_BYTES_MAX {
            return Err(broken("an answer over the bound"));
        }
        while self.buffer.len() < end + length {
            self.fill(&mut stream).await?;
        }
        let body = self.buffer[end..end + length].to_vec();
        if !head.closes {
            self.stream = Some(stream);
        }
        Ok(Answer { status: head.status, body, retry_after: head.retry_after })
    }

    async fn fill(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.buffer.reserve(limits::BUFFER_BYTES);
        match stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let head = std::str::from_utf8(head).map_err(|_| broken("a head that is no text"))?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| broken("no status in an answer"))?;
        let mut read = Self { status, ..Self::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => read.length = value.parse().ok(),
                "retry-after" => read.retry_after = value.parse().ok().map(Duration::from_secs),
                "connection" => read.closes = value.eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_says_what_matters() {
        let head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 12\r\nretry-after: 3\r\n\
                     Connection: close";
        let expected = Head {
            status: 429,
            length: Some(12),
            retry_after: Some(Duration::from_secs(3)),
            closes: true,
        };
        assert_eq!(Head::parse(head).expect("a head"), expected);
        assert!(Head::parse(b"nothing").is_err());
    }
}
