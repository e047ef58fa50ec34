//! A line: the one connection to a place for a purpose, dialled when it is wanted, kept while it
//! lives, and dialled again after a pause when that failed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quinn::ConnectionError;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::endpoint::{Close, DialError, LinkEndpoint, Linked};
use super::hello::Purpose;
use crate::limits::{DIAL_PAUSE_MAX, DIAL_PAUSE_MIN, LINK_IDLE};
use crate::transport::PeerName;

/// A connection or stream that lasted longer than this did not fail at once.
pub(crate) const LASTING: Duration = Duration::from_secs(1);

/// How a line stands.
#[derive(Debug, Clone)]
enum Status {
    /// Nobody wanted it yet, or the last connection ended.
    Idle,
    Up(Linked),
    /// The last dial failed, and the next one waits.
    Failed(DialError),
}

/// A line. Its task runs until it is dropped by its owner with [`Line::end`].
#[derive(Debug)]
pub(super) struct Line {
    pub(super) address: Arc<str>,
    pub(super) expected: Option<PeerName>,
    pub(super) purpose: Purpose,
    wanted: Notify,
    status: watch::Sender<Status>,
    used: Mutex<Instant>,
    interruptions: AtomicU64,
    ended: CancellationToken,
}

impl Line {
    /// A line and the task that serves it.
    pub(super) fn start(
        endpoint: &Arc<LinkEndpoint>,
        address: Arc<str>,
        expected: Option<PeerName>,
        purpose: Purpose,
    ) -> Arc<Self> {
        let line = Arc::new(Self {
            address,
            expected,
            purpose,
            wanted: Notify::new(),
            status: watch::Sender::new(Status::Idle),
            used: Mutex::new(Instant::now()),
            interruptions: AtomicU64::new(0),
            ended: endpoint.closing.child_token(),
        });
        let (task, here) = (Arc::clone(&line), Arc::clone(endpoint));
        endpoint.spawn(async move {
            task.ended.run_until_cancelled(task.serve(&here)).await;
            if let Some(up) = task.up() {
                up.connection.close(Close::Done.code(), b"no longer needed");
            }
            task.status.send_replace(Status::Failed(DialError::Unreachable(
                "this node closes its links".to_owned(),
            )));
        });
        line
    }

    /// The connection, dialled if there is none. Fails at once while the pause after a failed dial
    /// lasts, with what failed.
    pub(super) async fn linked(&self) -> Result<Linked, DialError> {
        *self.used.lock() = Instant::now();
        let mut status = self.status.subscribe();
        loop {
            match &*status.borrow_and_update() {
                Status::Up(linked) if linked.connection.close_reason().is_none() => {
                    return Ok(linked.clone());
                }
                Status::Failed(error) => return Err(error.clone()),
                _ => {}
            }
            self.wanted.notify_one();
            if status.changed().await.is_err() {
                return Err(DialError::Unreachable("this node closes its links".to_owned()));
            }
        }
    }

    /// The connection if there is one now. Otherwise a dial begins.
    pub(super) fn linked_now(&self) -> Option<Linked> {
        *self.used.lock() = Instant::now();
        let up = self.up();
        if up.is_none() {
            self.wanted.notify_one();
        }
        up
    }

    /// The connection if there is one now.
    pub(super) fn up(&self) -> Option<Linked> {
        match &*self.status.borrow() {
            Status::Up(linked) if linked.connection.close_reason().is_none() => {
                Some(linked.clone())
            }
            _ => None,
        }
    }

    pub(super) fn interruptions(&self) -> u64 {
        self.interruptions.load(Ordering::Relaxed)
    }

    /// When it was last wanted.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock()
    }

    /// Ends its task.
    pub(super) fn end(&self) {
        self.ended.cancel();
    }

    async fn serve(&self, endpoint: &Arc<LinkEndpoint>) {
        let kind = if self.purpose == Purpose::Relay { "relay" } else { "control" };
        let mut failures = 0;
        let mut silent = false;
        loop {
            self.wanted.notified().await;
            match self.dial(endpoint, std::mem::take(&mut silent)).await {
                Ok(linked) => {
                    let linked_at = Instant::now();
                    silent = self.keep(endpoint, linked).await == ConnectionError::TimedOut;
                    self.interruptions.fetch_add(1, Ordering::Relaxed);
                    metrics::counter!("parlance_link_interruptions_total", "kind" => kind)
                        .increment(1);
                    self.status.send_replace(Status::Idle);
                    if linked_at.elapsed() > LASTING {
                        failures = 0;
                    } else {
                        // One that sends this node away at once is not to be asked again at once.
                        tokio::time::sleep(pause(failures)).await;
                        failures = failures.saturating_add(1);
                    }
                    // Whoever used it will again, and a lease does not wait long.
                    if self.used().elapsed() < LINK_IDLE {
                        self.wanted.notify_one();
                    }
                }
                Err(error) => {
                    metrics::counter!("parlance_link_dial_failures_total", "kind" => kind)
                        .increment(1);
                    self.status.send_replace(Status::Failed(error));
                    tokio::time::sleep(pause(failures)).await;
                    failures = failures.saturating_add(1);
                    self.status.send_replace(Status::Idle);
                }
            }
        }
    }

    async fn dial(&self, endpoint: &Arc<LinkEndpoint>, silent: bool) -> Result<Linked, DialError> {
        match &self.expected {
            Some(expected) if self.may_be_relayed() => {
                endpoint.find_way(&self.address, expected, self.purpose, silent).await
            }
            expected => endpoint.dial(&self.address, expected.as_ref(), self.purpose).await,
        }
    }

    /// Gossip finds its own way around, and relays are reached directly.
    const fn may_be_relayed(&self) -> bool {
        matches!(self.purpose, Purpose::Raft | Purpose::Snapshot)
    }

    /// Keeps a connection until it is lost, and says by what. A direct one takes the place of a
    /// relayed one; calls that are under way end on the one on which they began.
    async fn keep(&self, endpoint: &LinkEndpoint, mut linked: Linked) -> ConnectionError {
        loop {
            let connection = linked.connection.clone();
            let over = linked.over.take();
            self.status.send_replace(Status::Up(Linked { over: over.clone(), ..linked }));
            let (Some(over), Some(expected)) = (over, &self.expected) else {
                return connection.closed().await;
            };
            tracing::info!(name = %expected, purpose = self.purpose.name(), %over, "a relayed line");
            let address = || Arc::clone(&self.address);
            tokio::select! {
                lost = connection.closed() => return lost,
                direct = endpoint.direct_again(address, expected, self.purpose) => {
                    endpoint.retire(connection);
                    linked = direct;
                }
            }
        }
    }
}

/// The line that was not used for longest, of those without a connection.
pub(super) fn oldest_down<K: Clone>(lines: &HashMap<K, Arc<Line>>) -> Option<K> {
    let down = lines.iter().filter(|(_, line)| line.up().is_none());
    down.min_by_key(|(_, line)| line.used()).map(|(key, _)| key.clone())
}

/// The pause after so many failed dials in a row: drawn from all of zero to its bound, so that
/// nodes that lost a peer together do not come back together.
pub(crate) fn pause(failures: u32) -> Duration {
    let bound = DIAL_PAUSE_MIN.saturating_mul(1 << failures.min(16)).min(DIAL_PAUSE_MAX);
    bound.mul_f64(rand::random::<f64>())
}
