//! A TCP connection that reads and writes without waiting for either alone: a server that is behind
//! with both keeps neither from going on.

use std::io;

use parlance_client::{Server, Stream};
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::buffer::Buffer;

#[derive(Debug)]
pub(super) struct Pipe {
    stream: TcpStream,
    buffer: Buffer,
    /// What is to be written, and how much of it was.
    out: Vec<u8>,
    written: usize,
}

impl Pipe {
    pub(super) async fn connect(server: &Server) -> anyhow::Result<Self> {
        let Stream::Plain(stream) = server.connect().await? else {
            anyhow::bail!("other servers are measured in plaintext")
        };
        Ok(Self { stream, buffer: Buffer::default(), out: Vec::new(), written: 0 })
    }

    /// Where to put what shall be written.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Writes as much as the connection takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.try_write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Waits until something can be read, or written when something is left to be, and does it.
    /// Cancel-safe.
    pub(super) async fn progress(&mut self) -> io::Result<()> {
        let writes = self.written < self.out.len();
        let interest =
            if writes { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let ready = self.stream.ready(interest).await?;
        if ready.is_writable() {
            self.flush()?;
        }
        if ready.is_readable() {
            match self.stream.try_read(self.buffer.space()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.buffer.add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes what `split` finds at the front of what was received; it may write.
    pub(super) fn take<'a, T>(
        &'a mut self,
        split: impl FnOnce(&'a [u8], &mut Vec<u8>) -> io::Result<Option<(T, usize)>>,
    ) -> io::Result<Option<T>> {
        let Self { buffer, out, .. } = self;
        buffer.take(|held| split(held, out))
    }

    /// Writes everything, takes piece after piece off with `split`, and answers the first that it
    /// makes something of.
    pub(super) async fn expect<T>(
        &mut self,
        mut split: impl FnMut(&[u8]) -> io::Result<Option<(Option<T>, usize)>>,
    ) -> io::Result<T> {
        self.flush()?;
        loop {
            match self.buffer.take(&mut split)? {
                Some(Some(found)) => return Ok(found),
                Some(None) => {}
                None => self.progress().await?,
            }
        }
    }
}
