//! HTTP/2, over TLS only. hyper speaks it; its bounds are set here, and what it does not bound is
//! watched: a connection without a request, answers that nobody reads, headers that drip, and floods
//! of frames ([`Frames`]).
//!
//! Sockets are not opened over it (extended CONNECT, RFC 8441, is not offered, and browsers then take
//! HTTP/1.1 for them): writers of sockets write to the connection itself, without waiting, and a stream
//! of HTTP/2 has no such end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, Version, header};
use hyper::body::{Body as _, Bytes, Frame, Incoming, SizeHint};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Answers;
use super::frames::Frames;
use super::handlers::Handlers;
use crate::limits::{
    ANSWER_PIECE_BYTES, ANSWERS_HELD_MAX, CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, LINGER,
    RESETS_FOR_ERRORS_MAX, RESETS_PENDING_MAX, SLOWEST_READER_BYTES, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};

/// How a connection is served.
pub(super) struct Serving {
    /// How long headers may take, and a connection may have nothing to do.
    pub(super) header: Duration,
    /// How long a client may take nothing.
    pub(super) write: Duration,
    /// It brings many clients, which are counted one by one.
    pub(super) is_proxy: bool,
    pub(super) stop: CancellationToken,
    pub(super) kill: CancellationToken,
    /// Owns the streams' tasks.
    pub(super) tasks: TaskTracker,
}

impl Serving {
    /// Serves until the client goes, does what it must not, or the server stops.
    pub(super) async fn serve<I>(self, io: I, answers: Answers)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { header, write, is_proxy, stop, kill, tasks } = self;
        let flights = Arc::new(Flights::new(write, is_proxy));
        let service = {
            let flights = flights.clone();
            let handlers = Handlers::new(tasks.clone(), kill.clone());
            service_fn(move |request: Request<Incoming>| {
                let flight = Flights::begin(&flights);
                let answering = answers.clone().answer(with_host(request));
                let handlers = handlers.clone();
                async move {
                    let flight = flight.placed().await;
                    handlers.run(async move { flight.carry(answering.await) }).await
                }
            })
        };
        let io = TokioIo::new(Frames::new(io, is_proxy, header));
        let streams = Streams { tasks, kill: kill.clone() };
        let connection = http2::Builder::new(streams)
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_BYTES_MAX as u32)
            .max_concurrent_streams(STREAMS_MAX)
            .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
            .max_local_error_reset_streams(RESETS_FOR_ERRORS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .adaptive_window(false)
            .serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => Some(ended),
                    overdue = flights.overdue(Duration::MAX) => told(overdue),
                    () = kill.cancelled() => None,
                }
            }
            overdue = flights.overdue(header) => match overdue {
                Overdue::Unread => told(overdue),
                Overdue::Idle => {
                    // A request may just come in; it is still answered.
                    connection.as_mut().graceful_shutdown();
                    let over = async {
                        tokio::time::sleep(LINGER).await;
                        flights.overdue(Duration::ZERO).await
                    };
                    tokio::select! {
                        ended = connection.as_mut() => Some(ended),
                        overdue = over => told(overdue),
                        () = kill.cancelled() => None,
                    }
                }
            },
        };
        if let Some(Err(error)) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

fn told(overdue: Overdue) -> Option<hyper::Result<()>> {
    tracing::debug!(?overdue, "a connection was ended");
    None
}

/// Runs the tasks of streams. They end with the server at the latest.
#[derive(Clone)]
struct Streams {
    tasks: TaskTracker,
    kill: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let kill = self.kill.clone();
        self.tasks.spawn(async move {
            kill.run_until_cancelled(stream).await;
        });
    }
}

/// The rest of the server knows the host by its header. The authority is what counts (RFC 9113,
/// section 8.3.1), and a header that says otherwise is replaced.
fn with_host<B>(mut request: Request<B>) -> Request<B> {
    debug_assert_eq!(request.version(), Version::HTTP_2);
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if let Some(host) = authority.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    request
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overdue {
    /// No request was under way for too long.
    Idle,
    /// Answers are read too slowly, or not at all.
    Unread,
}

/// The requests of one connection that are under way.
struct Flights {
    write: Duration,
    /// Places for answers. A proxy's connection has none and is not ended for an answer that is not
    /// read: one slow reader behind it must not end, or hold up, what the others ask for.
    places: Option<Arc<Semaphore>>,
    open: Mutex<Open>,
}

struct Open {
    /// By number; without an answer while it is being made.
    answers: BTreeMap<u64, Option<Unread>>,
    next: u64,
    /// When bytes of an answer left, or the first of those that are there came.
    moved: Instant,
    /// Since when no request is under way.
    idle: Instant,
}

/// An answer that has not left.
struct Unread {
    bytes: u64,
    until: Instant,
}

impl Flights {
    fn new(write: Duration, is_proxy: bool) -> Self {
        let now = Instant::now();
        let open = Open { answers: BTreeMap::new(), next: 0, moved: now, idle: now };
        let places = (!is_proxy).then(|| Arc::new(Semaphore::new(ANSWERS_HELD_MAX)));
        Self { write, places, open: Mutex::new(open) }
    }

    fn begin(this: &Arc<Self>) -> Flight {
        let mut open = this.open.lock();
        let number = open.next;
        open.next += 1;
        open.answers.insert(number, None);
        Flight { flights: this.clone(), number, _place: None }
    }

    /// When something is overdue, if nothing changes, and what.
    fn next(&self, idle: Duration) -> Option<(Instant, Overdue)> {
        let open = self.open.lock();
        if open.answers.is_empty() {
            return Some((open.idle.checked_add(idle)?, Overdue::Idle));
        }
        self.places.as_ref()?;
        let first = open.answers.values().flatten().map(|answer| answer.until).min()?;
        Some((first.min(open.moved + self.write), Overdue::Unread))
    }

    /// Waits until nothing was under way for `idle`, or answers have not left in their time.
    async fn overdue(&self, idle: Duration) -> Overdue {
        loop {
            let look = match self.next(idle) {
                Some((at, overdue)) if at <= Instant::now() => return overdue,
                Some((at, _)) => at.min(Instant::now() + self.write),
                None => Instant::now() + idle.clamp(LINGER, self.write.max(LINGER)),
            };
            tokio::time::sleep_until(look).await;
        }
    }

    /// An answer is there. It shares the line with all that is unread, and has time for all of it.
    fn made(&self, number: u64, bytes: u64) {
        let now = Instant::now();
        let mut open = self.open.lock();
        let unread = open.answers.values().flatten();
        let (count, before) =
            unread.fold((0, 0), |(count, sum): (u32, u64), one| (count + 1, sum + one.bytes));
        if count == 0 {
            open.moved = now;
        }
        let parts = 1 + (before + bytes) / SLOWEST_READER_BYTES;
        let time = self.write.saturating_mul(u32::try_from(parts).unwrap_or(u32::MAX));
        let until = now.checked_add(time).unwrap_or(now + self.write);
        open.answers.insert(number, Some(Unread { bytes, until }));
    }

    fn left(&self, number: u64, bytes: usize) {
        let mut open = self.open.lock();
        open.moved = Instant::now();
        if let Some(Some(answer)) = open.answers.get_mut(&number) {
            answer.bytes = answer.bytes.saturating_sub(bytes as u64);
        }
    }
}

/// One request, until the last byte of its answer has left.
struct Flight {
    flights: Arc<Flights>,
    number: u64,
    _place: Option<OwnedSemaphorePermit>,
}

impl Flight {
    /// Waits until its answer may be held.
    async fn placed(mut self) -> Self {
        if let Some(places) = self.flights.places.clone() {
            self._place = places.acquire_owned().await.ok();
        }
        self
    }

    /// The answer, in pieces that are seen to leave.
    fn carry(self, response: Response) -> Response {
        let hint = response.body().size_hint();
        self.flights.made(self.number, hint.upper().unwrap_or_else(|| hint.lower()));
        let flight = Arc::new(self);
        response.map(|body| Body::new(Pieces { body, rest: Bytes::new(), flight }))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut open = self.flights.open.lock();
        open.answers.remove(&self.number);
        if open.answers.is_empty() {
            open.idle = Instant::now();
        }
    }
}

/// The body of an answer.
struct Pieces {
    body: Body,
    /// Of its last frame, what was not handed out yet.
    rest: Bytes,
    flight: Arc<Flight>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.rest = bytes,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let size = self.rest.len().min(ANSWER_PIECE_BYTES);
        let bytes = self.rest.split_to(size);
        // The connection holds it until it is written.
        let piece = Bytes::from_owner(Carried { bytes, flight: self.flight.clone() });
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest + body.lower());
        if let Some(upper) = body.upper() {
            hint.set_upper(rest + upper);
        }
        hint
    }
}

/// Bytes of an answer.
struct Carried {
    bytes: Bytes,
    flight: Arc<Flight>,
}

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.flight.flights.left(self.flight.number, self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;

    const IDLE: Duration = Duration::from_secs(15);
    const WRITE: Duration = Duration::from_secs(30);
    const LONG: usize = 1024 * 1024;

    fn answer(flights: &Arc<Flights>, bytes: usize) -> Response {
        Flights::begin(flights).carry(Response::new(Body::from(vec![0; bytes])))
    }

    /// Takes a piece at a time, each after a pause.
    async fn read(mut response: Response, pause: Duration) {
        loop {
            tokio::time::sleep(pause).await;
            match response.body_mut().frame().await {
                None => return,
                Some(frame) => {
                    let frame = frame.expect("a piece").into_data().expect("data");
                    assert!(frame.len() <= ANSWER_PIECE_BYTES);
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_request_was_under_way_for_long() {
        let flights = Arc::new(Flights::new(WRITE, false));
        let began = Instant::now();
        let making = Flights::begin(&flights);
        let working = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            let response = making.carry(Response::new(Body::empty()));
            drop(response);
        };
        let (overdue, ()) = tokio::join!(flights.overdue(IDLE), working);
        assert_eq!(overdue, Overdue::Idle);
        assert_eq!(began.elapsed(), Duration::from_secs(115));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_which_nothing_is_read_is_overdue_however_long_it_is() {
        for bytes in [10, LONG] {
            let flights = Arc::new(Flights::new(WRITE, false));
            let began = Instant::now();
            let mut response = answer(&flights, bytes);
            // The connection took a piece and could not write it yet.
            let held = response.body_mut().frame().await;
            assert_eq!(flights.overdue(IDLE).await, Overdue::Unread);
            assert_eq!(began.elapsed(), WRITE);
            drop((held, response));
            assert_eq!(flights.overdue(IDLE).await, Overdue::Idle);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_answer_has_a_long_time_as_long_as_it_moves() {
        let flights = Arc::new(Flights::new(WRITE, false));
        let began = Instant::now();
        let reading = read(answer(&flights, LONG), Duration::from_secs(7));
        let (overdue, ()) = tokio::join!(flights.overdue(IDLE), reading);
        assert_eq!(overdue, Overdue::Idle);
        // Too slow in all, although it moves.
        let reading = read(answer(&flights, LONG), Duration::from_secs(29));
        let began = began + began.elapsed();
        tokio::select! {
            overdue = flights.overdue(IDLE) => assert_eq!(overdue, Overdue::Unread),
            () = reading => panic!("it takes half an hour"),
        }
        assert_eq!(began.elapsed(), WRITE * 17);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_behind_a_long_one_has_the_time_of_both() {
        let flights = Arc::new(Flights::new(WRITE, false));
        let long = answer(&flights, LONG);
        let short = answer(&flights, 10);
        let reading = async {
            read(long, Duration::from_secs(7)).await;
            read(short, Duration::ZERO).await;
        };
        let (overdue, ()) = tokio::join!(flights.overdue(IDLE), reading);
        assert_eq!(overdue, Overdue::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_answers_are_held_and_the_next_one_waits_for_one_to_leave() {
        let flights = Arc::new(Flights::new(WRITE, false));
        let mut held = Vec::new();
        for _ in 0..ANSWERS_HELD_MAX {
            let flight = Flights::begin(&flights).placed().await;
            held.push(flight.carry(Response::new(Body::from("an answer"))));
        }
        let next = Flights::begin(&flights).placed();
        tokio::pin!(next);
        assert!(next.as_mut().now_or_never().is_none());
        let piece = held.pop().expect("some").into_body().frame().await;
        assert!(next.as_mut().now_or_never().is_none(), "it has not left");
        drop(piece);
        next.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_proxys_connection_is_not_ended_or_held_up_by_one_that_does_not_read() {
        let flights = Arc::new(Flights::new(WRITE, true));
        let mut held = Vec::new();
        for _ in 0..2 * ANSWERS_HELD_MAX {
            let flight = Flights::begin(&flights).placed().await;
            held.push(flight.carry(Response::new(Body::from("an answer"))));
        }
        let hour = Duration::from_secs(3600);
        tokio::time::timeout(hour, flights.overdue(IDLE)).await.expect_err("it goes on");
        drop(held);
        assert_eq!(flights.overdue(IDLE).await, Overdue::Idle);
    }

    #[test]
    fn the_authority_is_the_host() {
        let request = Request::builder()
            .version(Version::HTTP_2)
            .uri("https://chat.example.org/ws")
            .header("host", "evil.example")
            .body(())
            .expect("a request");
        assert_eq!(with_host(request).headers()["host"], "chat.example.org");
    }
}
