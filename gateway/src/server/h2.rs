//! HTTP/2, over TLS only. hyper speaks it; its bounds are set here, and what it does not bound is
//! watched: a connection without a request, answers that nobody reads, headers that drip, and floods
//! of frames ([`Frames`]).
//!
//! Sockets are not opened over it (extended CONNECT, RFC 8441, is not offered, and browsers then take
//! HTTP/1.1 for them): writers of sockets write to the connection itself, without waiting, and a stream
//! of HTTP/2 has no such end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, Request, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Answers;
use super::frames::Frames;
use crate::limits::{
    CONNECTION_WINDOW_BYTES, HEADER_BYTES_MAX, LINGER, RESETS_FOR_ERRORS_MAX, RESETS_PENDING_MAX,
    SLOWEST_READER_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
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
        let flights = Arc::new(Flights::new(write));
        let service = {
            let flights = flights.clone();
            service_fn(move |request: Request<Incoming>| {
                let flight = Flights::begin(&flights);
                let answering = answers.clone().answer(with_host(request));
                async move { Ok::<_, Infallible>(flight.carry(answering.await)) }
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
    /// An answer is read too slowly, or not at all.
    Unread,
}

/// The requests of one connection that are under way.
struct Flights {
    write: Duration,
    open: Mutex<Open>,
}

struct Open {
    /// When each answer must have left, by number; without a time while it is being made.
    until: BTreeMap<u64, Option<Instant>>,
    next: u64,
    /// Since when there is none.
    idle: Instant,
}

impl Flights {
    fn new(write: Duration) -> Self {
        let open = Open { until: BTreeMap::new(), next: 0, idle: Instant::now() };
        Self { write, open: Mutex::new(open) }
    }

    fn begin(this: &Arc<Self>) -> Flight {
        let mut open = this.open.lock();
        let number = open.next;
        open.next += 1;
        open.until.insert(number, None);
        Flight { flights: this.clone(), number }
    }

    /// When something is overdue, if nothing changes, and what.
    fn next(&self, idle: Duration) -> Option<(Instant, Overdue)> {
        let open = self.open.lock();
        if open.until.is_empty() {
            return Some((open.idle.checked_add(idle)?, Overdue::Idle));
        }
        let first = open.until.values().flatten().min();
        first.map(|first| (*first, Overdue::Unread))
    }

    /// Waits until nothing was under way for `idle`, or an answer has not left in its time.
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
}

/// One request, until the last byte of its answer has left.
struct Flight {
    flights: Arc<Flights>,
    number: u64,
}

impl Flight {
    /// The answer, with the time in which it must be read.
    fn carry(self, response: Response) -> Response {
        let hint = response.body().size_hint();
        let bytes = hint.upper().unwrap_or_else(|| hint.lower());
        let parts = u32::try_from(1 + bytes / SLOWEST_READER_BYTES).unwrap_or(u32::MAX);
        let until = Instant::now().checked_add(self.flights.write.saturating_mul(parts));
        self.flights.open.lock().until.insert(self.number, until);
        let flight = Arc::new(self);
        response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                // The connection holds them until they are written.
                frame
                    .map_data(|bytes| Bytes::from_owner(Carried { bytes, _flight: flight.clone() }))
            }))
        })
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut open = self.flights.open.lock();
        open.until.remove(&self.number);
        if open.until.is_empty() {
            open.idle = Instant::now();
        }
    }
}

/// Bytes of an answer.
struct Carried {
    bytes: Bytes,
    _flight: Arc<Flight>,
}

impl AsRef<[u8]> for Carried {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(15);
    const WRITE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_request_was_under_way_for_long() {
        let flights = Arc::new(Flights::new(WRITE));
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
    async fn an_answer_that_nobody_reads_is_overdue_and_a_long_one_later() {
        for (bytes, seconds) in [(10, 30), (1024 * 1024, 30 * 17)] {
            let flights = Arc::new(Flights::new(WRITE));
            let began = Instant::now();
            let flight = Flights::begin(&flights);
            let mut response = flight.carry(Response::new(Body::from(vec![0; bytes])));
            // The connection took its bytes and could not write them yet.
            let held = response.body_mut().frame().await;
            drop(response);
            assert_eq!(flights.overdue(IDLE).await, Overdue::Unread);
            assert_eq!(began.elapsed(), Duration::from_secs(seconds));
            drop(held);
            assert_eq!(flights.overdue(IDLE).await, Overdue::Idle);
        }
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
