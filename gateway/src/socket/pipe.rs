//! An upgraded connection's bytes, plain or through TLS: the [`Ear`] that its task reads, and the
//! [`Mouth`] that is written, without waiting, by whoever has the turn. It knows no frames.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::net::Shutdown;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

use crate::server::Stall;

/// Frames that one call to the system takes.
const SLICES_MAX: usize = 64;
/// Frames that are made into TLS records together.
const RECORD_SLICES_MAX: usize = 256;

/// The client takes nothing, or went while it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// It took nothing for the whole deadline.
    Slow,
    /// It went.
    Gone,
}

/// The side that is written.
pub(super) struct Mouth {
    write: OwnedWriteHalf,
    tls: Option<Mutex<ServerConnection>>,
}

/// The side that is read. What the WebSocket library answers by itself (pongs, the other half of a
/// close) is kept for the one who has the turn to write.
pub(super) struct Ear {
    read: OwnedReadHalf,
    mouth: Arc<Mouth>,
    said: Vec<u8>,
}

/// Takes a connection out of hyper's hands, with what was read of it already. `None` for one that
/// did not come through the front door.
pub(super) fn split(upgraded: Upgraded) -> Option<(Ear, Arc<Mouth>, Bytes)> {
    let (stream, tls, rest) = match upgraded.downcast::<TokioIo<Stall<TcpStream>>>() {
        Ok(parts) => (parts.io.into_inner().into_inner(), None, parts.read_buf),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TlsStream<Stall<TcpStream>>>>().ok()?;
            let (stream, tls) = parts.io.into_inner().into_inner();
            (stream.into_inner(), Some(Mutex::new(tls)), parts.read_buf)
        }
    };
    let (read, write) = stream.into_split();
    let mouth = Arc::new(Mouth { write, tls });
    let ear = Ear { read, mouth: Arc::clone(&mouth), said: Vec::new() };
    Some((ear, mouth, rest))
}

impl Mouth {
    /// Writes as much as goes without waiting, and takes that from `frames`. `false` when the rest
    /// has to wait.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn write(&self, frames: &mut Vec<Bytes>) -> io::Result<bool> {
        let Some(tls) = &self.tls else { return self.write_plain(frames) };
        let mut tls = tls.lock();
        loop {
            if !self.flush(&mut tls)? {
                return Ok(false);
            }
            if frames.is_empty() {
                return Ok(true);
            }
            // Many in as few records as hold them.
            let slices: Vec<IoSlice<'_>> =
                frames.iter().take(RECORD_SLICES_MAX).map(|frame| IoSlice::new(frame)).collect();
            match tls.writer().write_vectored(&slices)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => advance(frames, taken),
            }
        }
    }

    fn write_plain(&self, frames: &mut Vec<Bytes>) -> io::Result<bool> {
        loop {
            let written = match &frames[..] {
                [] => return Ok(true),
                [frame] => self.write.try_write(frame),
                several => {
                    let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                    let count = several.len().min(SLICES_MAX);
                    for (slice, frame) in slices.iter_mut().zip(several) {
                        *slice = IoSlice::new(frame);
                    }
                    self.write.try_write_vectored(&slices[..count])
                }
            };
            match written {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => advance(frames, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the records that are ready.
    fn flush(&self, tls: &mut ServerConnection) -> io::Result<bool> {
        while tls.wants_write() {
            match tls.write_tls(&mut Trying(&self.write)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Writes everything, waiting at most `limit` each time until the client takes more. What was
    /// not written stays in `frames`.
    pub(super) async fn write_all(
        &self,
        frames: &mut Vec<Bytes>,
        limit: Duration,
    ) -> Result<(), NotWritten> {
        loop {
            match self.write(frames) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(_) => return Err(NotWritten::Gone),
            }
            match tokio::time::timeout(limit, self.write.writable()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(NotWritten::Gone),
                Err(_) => return Err(NotWritten::Slow),
            }
        }
    }

    /// Tells the client that nothing more comes, after everything that was written.
    pub(super) async fn finish(&self, limit: Duration) -> Result<(), NotWritten> {
        if let Some(tls) = &self.tls {
            tls.lock().send_close_notify();
            self.write_all(&mut Vec::new(), limit).await?;
        }
        rustix::net::shutdown(self.write.as_ref(), Shutdown::Write).map_err(|_| NotWritten::Gone)
    }

    /// The same for a client that went, which may have ended its own side only: over TLS an end that is not announced
    /// looks like one that somebody else made (RFC 8446, section 6.1). One try without waiting.
    pub(super) fn leave(&self) {
        if let Some(tls) = &self.tls {
            let mut tls = tls.lock();
            tls.send_close_notify();
            let _ = self.flush(&mut tls);
        }
    }
}

/// Takes what was written from the front.
fn advance(frames: &mut Vec<Bytes>, written: usize) {
    let (mut whole, mut left) = (0, written);
    for frame in &*frames {
        if frame.len() > left {
            break;
        }
        left -= frame.len();
        whole += 1;
    }
    frames.drain(..whole);
    if left > 0 {
        frames[0].advance(left);
    }
}

/// Writes without waiting, for rustls.
struct Trying<'a>(&'a OwnedWriteHalf);

impl Write for Trying<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what is there, for rustls, and registers for more.
struct Polling<'a, 'b> {
    read: &'a mut OwnedReadHalf,
    cx: &'a mut Context<'b>,
}

impl Read for Polling<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        match Pin::new(&mut *self.read).poll_read(self.cx, &mut into) {
            Poll::Ready(done) => done.map(|()| into.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Ear {
    /// What the WebSocket library wants to have written, if anything.
    pub(super) fn said(&mut self) -> Option<Bytes> {
        (!self.said.is_empty()).then(|| std::mem::take(&mut self.said).into())
    }

    fn poll_tls(
        &mut self,
        tls: &Mutex<ServerConnection>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut tls = tls.lock();
        loop {
            match tls.reader().read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut polling = Polling { read: &mut self.read, cx };
            match tls.read_tls(&mut polling) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let read = tls.process_new_packets();
            // An alert or a new key; what does not go now goes with the next frames.
            let _ = self.mouth.flush(&mut tls);
            if let Err(error) = read {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }
}

impl AsyncRead for Ear {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mouth = Arc::clone(&self.mouth);
        match &mouth.tls {
            None => Pin::new(&mut self.read).poll_read(cx, into),
            Some(tls) => Poll::Ready(ready!(self.poll_tls(tls, cx, into))),
        }
    }
}

impl AsyncWrite for Ear {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.said.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_from_the_front() {
        let frames = || vec![Bytes::from_static(b"one"), "".into(), "three".into(), "four".into()];
        let after = |written| {
            let mut frames = frames();
            advance(&mut frames, written);
            frames
        };
        assert_eq!(after(0), frames());
        assert_eq!(after(2), ["e", "", "three", "four"]);
        assert_eq!(after(3), ["three", "four"]);
        assert_eq!(after(7), ["e", "four"]);
        assert!(after(12).is_empty());
    }
}
