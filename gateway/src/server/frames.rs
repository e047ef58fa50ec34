//! A stream of HTTP/2 that is read along with hyper, for what it does not bound: how long a block of
//! headers may take to arrive, and how many frames that carry little may come, which is more for a
//! client that reads much. It looks at the frames' heads (RFC 9113, section 4.1) and changes nothing.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::limits::{
    LIGHT_DATA_BYTES, LIGHT_FRAMES_BURST, LIGHT_FRAMES_PER_SECOND, WRITTEN_BYTES_PER_LIGHT_FRAME,
};

/// What a client says first (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The frames as far as they were read.
struct Along {
    /// Bytes before the next frame's head.
    skip: usize,
    /// The next frame's head, as far as it is there.
    head: [u8; 9],
    have: usize,
    /// Within a block of headers: the client may send nothing else.
    in_headers: bool,
    light: Option<Light>,
}

/// A bucket of light frames.
struct Light {
    tokens: f64,
    at: Instant,
}

/// More light frames than a client has use for.
#[derive(Debug, PartialEq, Eq)]
struct Flood;

impl Light {
    fn take(&mut self, now: Instant) -> Result<(), Flood> {
        if self.tokens < 1.0 {
            let passed = now.saturating_duration_since(self.at).as_secs_f64();
            let filled = self.tokens + passed * f64::from(LIGHT_FRAMES_PER_SECOND);
            self.tokens = filled.min(f64::from(LIGHT_FRAMES_BURST));
            self.at = now;
        }
        if self.tokens < 1.0 {
            return Err(Flood);
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// The client was written to, and will say that it has read.
    fn earn(&mut self, written: usize) {
        let earned = written as f64 / f64::from(WRITTEN_BYTES_PER_LIGHT_FRAME);
        self.tokens = (self.tokens + earned).min(f64::from(LIGHT_FRAMES_BURST));
    }
}

impl Along {
    /// A proxy brings many clients over one connection; its frames are not counted.
    fn new(is_proxy: bool, now: Instant) -> Self {
        let tokens = f64::from(LIGHT_FRAMES_BURST);
        Self {
            skip: PREFACE_BYTES,
            head: [0; 9],
            have: 0,
            in_headers: false,
            light: (!is_proxy).then_some(Light { tokens, at: now }),
        }
    }

    /// Whether a block of headers has begun and is not whole.
    const fn waits_for_headers(&self) -> bool {
        self.in_headers || (self.have > 3 && self.head[3] == HEADERS)
    }

    fn read(&mut self, mut bytes: &[u8], now: Instant) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len());
                self.skip -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let taken = (self.head.len() - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == self.head.len() {
                self.have = 0;
                self.frame(now)?;
            }
        }
        Ok(())
    }

    fn written(&mut self, bytes: usize) {
        if let Some(light) = &mut self.light {
            light.earn(bytes);
        }
    }

    fn frame(&mut self, now: Instant) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_headers = flags & END_HEADERS == 0;
        }
        let is_light = kind != DATA || self.skip < LIGHT_DATA_BYTES;
        match &mut self.light {
            Some(light) if is_light => light.take(now),
            _ => Ok(()),
        }
    }
}

/// The stream.
pub(super) struct Frames<I> {
    io: I,
    along: Along,
    /// How long a block of headers may take.
    limit: Duration,
    /// There while one is not whole.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<I> Frames<I> {
    pub(super) fn new(io: I, is_proxy: bool, limit: Duration) -> Self {
        Self { io, along: Along::new(is_proxy, Instant::now()), limit, waiting: None }
    }

    fn wrote(&mut self, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = done {
            self.along.written(bytes);
        }
        done
    }

    /// What is wrong with what came so far.
    fn judge(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        if self.along.read(bytes, Instant::now()).is_err() {
            metrics::counter!("parlance_http2_floods_total").increment(1);
            return Err(io::Error::other("too many frames that carry nothing"));
        }
        if !self.along.waits_for_headers() {
            self.waiting = None;
            return Ok(());
        }
        let limit = self.limit;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Frames<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let done = Pin::new(&mut self.io).poll_read(cx, into);
        match self.judge(cx, &into.filled()[before..]) {
            Ok(()) => done,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Frames<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        self.wrote(done)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("short").to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        bytes.resize(9 + payload, 0);
        bytes
    }

    fn along(is_proxy: bool) -> (Along, Instant) {
        let now = Instant::now();
        let mut along = Along::new(is_proxy, now);
        along.read(PREFACE, now).expect("no frame yet");
        (along, now)
    }

    #[tokio::test]
    async fn frames_are_told_apart_however_they_are_cut() {
        let frames = [frame(HEADERS, 0, 300), frame(CONTINUATION, 0, 5), frame(CONTINUATION, 4, 0)];
        let bytes = [PREFACE, &frames.concat(), &frame(DATA, 1, 70_000)].concat();
        for size in [1, 2, 7, 9, 10, 100, bytes.len()] {
            let now = Instant::now();
            let mut along = Along::new(false, now);
            let mut passed = 0;
            for piece in bytes.chunks(size) {
                along.read(piece, now).expect("four frames");
                passed += piece.len();
                let (begun, whole) = (PREFACE.len() + 9, PREFACE.len() + 9 + 300 + 14 + 9);
                if (begun..whole).contains(&passed) {
                    assert!(along.waits_for_headers(), "{size}: {passed}");
                }
                if passed >= whole || passed < begun - 5 {
                    assert!(!along.waits_for_headers(), "{size}: {passed}");
                }
            }
            assert_eq!((along.skip, along.have), (0, 0), "{size}");
        }
    }

    #[tokio::test]
    async fn light_frames_are_bounded_and_others_are_not() {
        let (mut along, now) = along(false);
        let heavy = frame(DATA, 0, LIGHT_DATA_BYTES);
        for _ in 0..2 * LIGHT_FRAMES_BURST {
            along.read(&heavy, now).expect("it carries something");
        }
        let ping = frame(PING, 0, 8);
        for _ in 0..LIGHT_FRAMES_BURST {
            along.read(&ping, now).expect("within the burst");
        }
        assert_eq!(along.read(&ping[..9], now), Err(Flood));
        along.read(&ping[9..], now).expect("no frame");
        let later = now + Duration::from_secs(1);
        for _ in 0..LIGHT_FRAMES_PER_SECOND {
            along.read(&ping, later).expect("a second's");
        }
        assert_eq!(along.read(&frame(DATA, 0, 1), later), Err(Flood));
    }

    #[tokio::test]
    async fn who_is_written_to_may_send_more_light_frames_and_never_more_than_the_burst() {
        let (mut along, now) = along(false);
        let update = frame(WINDOW_UPDATE, 0, 4);
        for _ in 0..3 * LIGHT_FRAMES_BURST {
            along.written(4096);
            along.read(&update, now).expect("for the connection");
            along.read(&update, now).expect("for the stream");
        }
        along.written(usize::MAX / 2);
        for _ in 0..LIGHT_FRAMES_BURST {
            along.read(&update, now).expect("within the burst");
        }
        assert_eq!(along.read(&update, now), Err(Flood));
    }

    #[tokio::test]
    async fn what_is_written_is_counted() {
        let (server, _client) = tokio::io::duplex(8 * 1024);
        let mut frames = Frames::new(server, false, Duration::from_secs(5));
        frames.along.light.as_mut().expect("counted").tokens = 0.0;
        frames.write_all(&[0; 4096]).await.expect("room");
        assert!(frames.along.light.as_ref().expect("counted").tokens >= 2.0);
    }

    #[tokio::test]
    async fn a_proxys_frames_are_not_counted() {
        let (mut along, now) = along(true);
        for _ in 0..2 * LIGHT_FRAMES_BURST {
            along.read(&frame(PING, 0, 8), now).expect("it brings many clients");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_drip_end_the_stream_and_silence_between_frames_does_not() {
        let (server, mut client) = tokio::io::duplex(1024);
        let mut frames = Frames::new(server, false, Duration::from_secs(5));
        let dripping = async {
            client.write_all(PREFACE).await.expect("room");
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.write_all(&frame(HEADERS, 0, 1)).await.expect("room");
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                client.write_all(&frame(CONTINUATION, 0, 1)).await.expect("room");
            }
        };
        let began = Instant::now();
        let mut bytes = [0; 64];
        let error = tokio::select! {
            () = dripping => unreachable!("it never ends"),
            error = async {
                loop {
                    if let Err(error) = frames.read(&mut bytes).await {
                        break error;
                    }
                }
            } => error,
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 65);
    }
}
