//! Who writes to the sockets. A session's task would have to be woken for each of its frames; a
//! few tasks, one for each thread, go through the sockets that have something to write instead,
//! and write all of it without waiting. A socket that does not take it, or is to be closed, is
//! handed to its own task, which may wait.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use metrics::Counter;
use parking_lot::Mutex;
use parlance_actors::outbox::{Closing, Outbox, Ready};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::pipe::{Mouth, NotWritten};
use crate::limits::WRITES_IN_A_ROW_MAX;

/// Nobody has the turn to write: nothing waits.
const IDLE: u8 = 0;
/// On the list, or being written to by one of the tasks.
const LISTED: u8 = 1;
/// The socket's own task has the turn.
const HANDED: u8 = 2;

/// The sockets that have something to write.
pub(crate) struct Writers {
    list: Mutex<VecDeque<Arc<Writer>>>,
    woken: Notify,
    sent: Counter,
}

impl Writers {
    pub(crate) fn new() -> Arc<Self> {
        let sent = metrics::counter!("parlance_socket_frames_sent_total");
        Arc::new(Self { list: Mutex::default(), woken: Notify::new(), sent })
    }

    fn put(&self, writer: Arc<Writer>) {
        let mut list = self.list.lock();
        let was_empty = list.is_empty();
        list.push_back(writer);
        drop(list);
        if was_empty {
            self.woken.notify_one();
        }
    }

    /// Writes until `stop`. Several may run.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut turn, mut frames) = (Vec::with_capacity(WRITES_IN_A_ROW_MAX), Vec::new());
        loop {
            let more = {
                let mut list = self.list.lock();
                let count = list.len().min(WRITES_IN_A_ROW_MAX);
                turn.extend(list.drain(..count));
                !list.is_empty()
            };
            if more {
                // Another one helps.
                self.woken.notify_one();
            }
            let wrote = !turn.is_empty();
            for writer in turn.drain(..) {
                let written = catch_unwind(AssertUnwindSafe(|| writer.write(&mut frames)));
                if written.is_err() {
                    tracing::error!("writing to a socket panicked; it is closed");
                    frames.clear();
                    writer.hand(Rest { broken: true, ..Rest::default() });
                }
            }
            if wrote {
                // Whom this woke comes first, and what comes for the rest meanwhile goes with it.
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                () = self.woken.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Forgets the sockets that were ended while they were listed.
    pub(crate) fn clear(&self) {
        let left = std::mem::take(&mut *self.list.lock());
        drop(left);
    }
}

/// What is left to the socket's task.
#[derive(Default)]
struct Rest {
    frames: Vec<Bytes>,
    closing: Option<Closing>,
    broken: bool,
}

/// One socket's way from its outbox to its connection.
pub(super) struct Writer {
    outbox: Arc<Outbox>,
    mouth: Arc<Mouth>,
    writers: Arc<Writers>,
    turn: AtomicU8,
    rest: Mutex<Rest>,
    handed: Notify,
}

impl Ready for Writer {
    fn ready(self: Arc<Self>) {
        let mine = self.turn.compare_exchange(IDLE, LISTED, Ordering::SeqCst, Ordering::SeqCst);
        // Whoever has the turn looks again before giving it back.
        if mine.is_ok() {
            let writers = Arc::clone(&self.writers);
            writers.put(self);
        }
    }
}

impl Writer {
    /// Begins to write what comes out of the outbox, after what is `unsaid`.
    pub(super) fn attach(
        outbox: Arc<Outbox>,
        mouth: Arc<Mouth>,
        writers: Arc<Writers>,
        unsaid: Vec<Bytes>,
    ) -> Attached {
        let turn = if unsaid.is_empty() { IDLE } else { HANDED };
        let writer = Arc::new(Self {
            outbox,
            mouth,
            writers,
            turn: AtomicU8::new(turn),
            rest: Mutex::new(Rest { frames: unsaid, ..Rest::default() }),
            handed: Notify::new(),
        });
        writer.outbox.attach(writer.clone());
        Attached(writer)
    }

    /// Writes what waits, with the turn.
    fn write(self: &Arc<Self>, frames: &mut Vec<Bytes>) {
        let closing = self.outbox.take(frames);
        self.writers.sent.increment(frames.len() as u64);
        match (self.mouth.write(frames), closing) {
            (Ok(true), None) => self.release(),
            (written, closing) => {
                let frames = std::mem::take(frames);
                self.hand(Rest { frames, closing, broken: written.is_err() });
            }
        }
    }

    /// Gives the turn to the socket's task.
    fn hand(&self, rest: Rest) {
        *self.rest.lock() = rest;
        self.turn.store(HANDED, Ordering::SeqCst);
        self.handed.notify_one();
    }

    /// Gives the turn back, unless something came meanwhile.
    fn release(self: &Arc<Self>) {
        self.turn.store(IDLE, Ordering::SeqCst);
        if self.outbox.wrote_all() {
            Arc::clone(self).ready();
        }
    }
}

/// A writer in the hands of its socket's task. Dropped, it is told nothing any more.
pub(super) struct Attached(Arc<Writer>);

impl Drop for Attached {
    fn drop(&mut self) {
        self.0.outbox.detach();
    }
}

impl Attached {
    /// Returns when the task has the turn. Cancel-safe.
    pub(super) async fn handed(&self) {
        while self.0.turn.load(Ordering::SeqCst) != HANDED {
            self.0.handed.notified().await;
        }
    }

    /// Writes, with the turn, what is left and takes what came meanwhile. When nothing did, the turn
    /// is given back; otherwise it stays the task's, which looks at other things first. With a closing
    /// it is kept, as with an error: what is still to be said is the task's.
    pub(super) async fn drain(&self, limit: Duration) -> Result<Option<Closing>, NotWritten> {
        let Self(writer) = self;
        let Rest { mut frames, closing, broken } = std::mem::take(&mut *writer.rest.lock());
        if broken {
            writer.rest.lock().broken = true;
            return Err(NotWritten::Gone);
        }
        if let Err(error) = writer.mouth.write_all(&mut frames, limit).await {
            let broken = error == NotWritten::Gone;
            *writer.rest.lock() = Rest { frames, closing, broken };
            return Err(error);
        }
        if closing.is_some() {
            return Ok(closing);
        }
        let closing = writer.outbox.take(&mut frames);
        writer.writers.sent.increment(frames.len() as u64);
        if frames.is_empty() && closing.is_none() {
            writer.release();
        } else {
            *writer.rest.lock() = Rest { frames, closing, broken: false };
        }
        Ok(None)
    }

    /// Whether everything that was pushed is with the system.
    pub(super) fn has_nothing(&self) -> bool {
        self.0.turn.load(Ordering::SeqCst) == IDLE && !self.0.outbox.waits()
    }

    /// What is left of the frame that was being written when the client took no more.
    pub(super) fn left(&self) -> Vec<Bytes> {
        let mut left = std::mem::take(&mut self.0.rest.lock().frames);
        left.truncate(1);
        left
    }
}
