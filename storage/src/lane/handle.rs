//! The way to a lane: what is asked of it, and what it shares with those who ask.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use parlance_actors::limits as domain;
use parlance_actors::ports::history::{Append, HistoryError, NotTaken, NotTakenWhy};
use parlance_actors::vocab::{Epoch, RoomRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::raise::Opening;
use super::writer::Writer;
use super::{Hold, Lane, Request};
use crate::crypt::Crypt;
use crate::limits;

/// What a lane and its handle share.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The database has been away for longer than [`limits::AWAY_GRACE`].
    pub(super) away: AtomicBool,
    /// Another connection reached another database than the lane's.
    pub(super) doubted: AtomicBool,
    pub(super) closing: CancellationToken,
    /// When closing gives up on a database that is away.
    deadline: OnceLock<Instant>,
}

impl State {
    /// Returns when closing has waited long enough.
    pub(super) async fn given_up(&self) {
        self.closing.cancelled().await;
        let deadline = self.deadline.get().copied().unwrap_or_else(Instant::now);
        tokio::time::sleep_until(deadline.into()).await;
    }

    pub(super) fn has_given_up(&self) -> bool {
        self.deadline.get().is_some_and(|deadline| *deadline <= Instant::now())
    }
}

/// The way to a lane.
#[derive(Debug)]
pub(crate) struct LaneHandle {
    queue: mpsc::Sender<Request>,
    state: Arc<State>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl LaneHandle {
    /// Starts a lane. It connects by itself, and again whenever it must.
    /// `lock_wait` is how long an insert may hold a fence that is to be raised; then the lane that
    /// holds it is ended.
    pub(crate) fn start<W: Writer>(
        number: usize,
        writer: W,
        crypt: Crypt,
        lock_wait: Duration,
    ) -> Self {
        let (queue, requests) = mpsc::channel(domain::LANE_QUEUE_MAX);
        let state = Arc::<State>::default();
        let lane = Lane::new(number, writer, requests, state.clone(), crypt, lock_wait);
        let task = Mutex::new(Some(tokio::spawn(lane.run())));
        Self { queue, state, task }
    }

    pub(crate) fn append(&self, append: Append) -> Result<(), NotTaken> {
        let not_taken = |append, why| NotTaken { append, why };
        let append = Box::new(append);
        if self.state.closing.is_cancelled() {
            return Err(not_taken(append, NotTakenWhy::Closing));
        }
        if self.is_away() {
            return Err(not_taken(append, NotTakenWhy::Away));
        }
        self.queue.try_send(Request::Append(append)).map_err(|refused| {
            let (request, why) = match refused {
                mpsc::error::TrySendError::Full(request) => (request, NotTakenWhy::Full),
                mpsc::error::TrySendError::Closed(request) => (request, NotTakenWhy::Closing),
            };
            match request {
                Request::Append(append) => not_taken(append, why),
                Request::Open(_) => unreachable!("an append was sent"),
            }
        })
    }

    /// Waits until everything queued before is settled, and the shard's fence is at `epoch`;
    /// tells what the lane holds.
    pub(crate) async fn open(&self, room: RoomRef, epoch: Epoch) -> Result<Hold, HistoryError> {
        let unavailable = |why: &str| HistoryError::Unavailable(why.to_owned());
        if self.state.closing.is_cancelled() {
            return Err(unavailable("the lane is closing"));
        }
        if self.is_away() {
            return Err(unavailable("the database is away; the lane is connecting again"));
        }
        let asked = async {
            let (reply, answer) = oneshot::channel();
            let request = Request::Open(Opening { room, epoch, reply });
            self.queue.send(request).await.map_err(|_| unavailable("the lane is closing"))?;
            answer.await.map_err(|_| unavailable("the lane is closing"))?
        };
        match tokio::time::timeout(limits::OPEN_WAIT, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(unavailable("the lane did not come round to it in time")),
        }
    }

    pub(crate) fn is_away(&self) -> bool {
        self.state.away.load(Ordering::Acquire)
    }

    /// Makes the lane connect again before its next request.
    pub(crate) fn doubt(&self) {
        self.state.doubted.store(true, Ordering::Release);
    }

    pub(crate) fn begin_close(&self) {
        self.state.deadline.get_or_init(|| Instant::now() + limits::CLOSE_WAIT);
        self.state.closing.cancel();
    }

    /// Returns when the lane has settled everything and ended.
    pub(crate) async fn ended(&self) {
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
            && error.is_panic()
        {
            tracing::error!(%error, "a lane panicked");
        }
    }

    /// Ends the lane as `kill -9` would: nobody hears of what was queued.
    pub(crate) fn kill(&self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Drop for LaneHandle {
    fn drop(&mut self) {
        self.kill();
    }
}
