//! A session's bounded queue of frames to its socket.
//!
//! Many push, one drains at a time: whoever was attached, or the one who awaits [`Outbox::recv`]. Each class of frame has its own answer to a full queue:
//! events are refused (their feed is cut and later marked with a gap), ephemeral frames are shed,
//! and answers close a session that does not even take those. It writes to no socket.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::limits;
use crate::traces::Mark;
use crate::vocab::{Code, Refusal, RoomRef};

/// Why a socket is closed, as a WebSocket close code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// No valid credential in time.
    Unauthenticated,
    /// Frames that the protocol does not know.
    BadFrame,
    /// The client does not read.
    SlowConsumer,
    /// Too many refused requests in a row.
    RateLimited,
    /// The node goes away; come back after the delay in `bye`.
    GoingAway,
    /// The same client opened another session.
    Replaced,
}

impl CloseCode {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Unauthenticated => 4001,
            Self::BadFrame => 4002,
            Self::SlowConsumer => 4003,
            Self::RateLimited => 4004,
            Self::GoingAway => 4005,
            Self::Replaced => 4006,
        }
    }
}

/// The orderly end of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// The close code.
    pub code: CloseCode,
    /// What the client is told.
    pub refusal: Refusal,
}

impl Closing {
    /// The client does not read its frames.
    #[must_use]
    pub fn slow_consumer() -> Self {
        let refusal = Refusal::new(Code::RateLimited, "your frames are not being read")
            .retry_after(limits::UNAVAILABLE_RETRY);
        Self { code: CloseCode::SlowConsumer, refusal }
    }
}

/// What became of a pushed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It will reach the socket.
    Queued,
    /// The queue is full; the room is on the list of cuts.
    Cut,
    /// The session is closing; nothing reaches the socket any more.
    Closed,
}

/// Who is told that an outbox has something to take. It is called often, from everywhere, and must
/// not block.
pub trait Ready: Send + Sync {
    /// There are frames, or the session is to be closed.
    fn ready(self: Arc<Self>);
}

/// A session's bounded queue.
pub struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    /// Called, outside the lock, when the queue was drained and rooms were cut before.
    mend: Box<dyn Fn(Vec<RoomRef>) + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    /// The client has not been welcomed yet: what is queued waits for that.
    silent: bool,
    frames: Vec<Bytes>,
    bytes: usize,
    cuts: Vec<RoomRef>,
    closing: Option<Closing>,
    /// The closing was handed to the socket task.
    closed: bool,
    drain: Option<Arc<dyn Ready>>,
    /// Traced frames on their way; `None` while there are none.
    traced: Option<Box<TracedFrames>>,
}

/// Traced frames between their push and their socket, a few at a time.
#[derive(Default)]
struct TracedFrames {
    queued: Vec<Mark>,
    /// Whoever writes has them.
    taken: Vec<Mark>,
}

impl Queue {
    fn push(&mut self, frame: Bytes) {
        self.bytes += cost(&frame);
        self.frames.push(frame);
    }

    fn mark(&mut self, mark: &mut Option<Mark>, bytes: usize) {
        let traced = self.traced.get_or_insert_default();
        if traced.queued.len() + traced.taken.len() < limits::OUTBOX_TRACED_MAX {
            traced.queued.extend(mark.take().map(|mark| mark.pushed(bytes)));
        }
    }

    /// Ends the spans of what was taken.
    fn written(&mut self) {
        if let Some(traced) = &mut self.traced {
            traced.taken.drain(..).for_each(|mark| mark.written());
            if traced.queued.is_empty() {
                self.traced = None;
            }
        }
    }

    /// Nothing may be said before the welcome, unless the session ends without one.
    const fn is_held(&self) -> bool {
        self.silent && self.closing.is_none()
    }

    fn waits(&self) -> bool {
        let has = !self.frames.is_empty() || (self.closing.is_some() && !self.closed);
        has && !self.is_held()
    }

    /// An empty queue takes any frame. JSON may make a body six times as long, and a frame that
    /// never fitted would cut its feed, or close its session, for ever.
    fn fits(&self, frame: &Bytes, bound: usize) -> bool {
        self.frames.is_empty() || self.bytes + cost(frame) <= bound
    }
}

const fn cost(frame: &Bytes) -> usize {
    frame.len() + limits::OUTBOX_FRAME_OVERHEAD_BYTES
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let queue = self.queue.lock();
        f.debug_struct("Outbox")
            .field("frames", &queue.frames.len())
            .field("bytes", &queue.bytes)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// An empty outbox. `mend` is told which rooms were cut as soon as there is room again.
    pub fn new(mend: impl Fn(Vec<RoomRef>) + Send + Sync + 'static) -> Self {
        Self { queue: Mutex::default(), wake: Notify::new(), mend: Box::new(mend) }
    }

    /// Queues a durable event of `room`. Full means that the room's feed is cut here: the caller
    /// stops pushing its events until `mend` was told.
    pub fn push_event(&self, room: RoomRef, frame: Bytes) -> Pushed {
        self.push_marked(room, frame, &mut None)
    }

    /// As [`push_event`](Self::push_event), and takes the mark of a traced event, unless it has too
    /// many.
    pub(crate) fn push_marked(
        &self,
        room: RoomRef,
        frame: Bytes,
        mark: &mut Option<Mark>,
    ) -> Pushed {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() {
            return Pushed::Closed;
        }
        if !queue.fits(&frame, limits::OUTBOX_BYTES_MAX) {
            queue.cuts.push(room);
            return Pushed::Cut;
        }
        if mark.is_some() {
            queue.mark(mark, frame.len());
        }
        self.queue_and_wake(queue, frame);
        Pushed::Queued
    }

    /// Queues typing or presence, or sheds it when the queue is a quarter full.
    pub fn push_ephemeral(&self, frame: Bytes) {
        let queue = self.queue.lock();
        if queue.closing.is_none() && queue.fits(&frame, limits::OUTBOX_EPHEMERAL_BYTES_MAX) {
            self.queue_and_wake(queue, frame);
        }
    }

    /// Queues an answer, a gap or a frame of the user's own feed. A client that does not read
    /// even those is closed as a slow consumer.
    pub fn push_answer(&self, frame: Bytes) {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() {
            return;
        }
        if !queue.fits(&frame, limits::OUTBOX_ANSWERS_BYTES_MAX) {
            queue.closing = Some(Closing::slow_consumer());
            return self.tell(queue);
        }
        self.queue_and_wake(queue, frame);
    }

    fn queue_and_wake(&self, mut queue: MutexGuard<'_, Queue>, frame: Bytes) {
        let was_empty = queue.frames.is_empty();
        queue.push(frame);
        if was_empty {
            self.tell(queue);
        }
    }

    fn tell(&self, queue: MutexGuard<'_, Queue>) {
        let drain = queue.drain.clone();
        drop(queue);
        match drain {
            Some(drain) => drain.ready(),
            None => self.wake.notify_one(),
        }
    }

    /// From now on `drain` is told when there is something to take, instead of who awaits
    /// [`Outbox::recv`].
    pub fn attach(&self, drain: Arc<dyn Ready>) {
        let mut queue = self.queue.lock();
        queue.drain = Some(drain);
        if queue.waits() {
            self.tell(queue);
        }
    }

    /// Nobody is told any more.
    pub fn detach(&self) {
        self.queue.lock().drain = None;
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.queue.lock().waits()
    }

    /// Everything that was taken is in the socket's buffer. Whether there is more to take.
    #[must_use]
    pub fn wrote_all(&self) -> bool {
        let mut queue = self.queue.lock();
        queue.written();
        queue.waits()
    }

    /// Ends the session in order: what is queued still goes out, then `bye` (if the dialect has
    /// one), then the close code. The first call wins.
    pub fn close(&self, closing: Closing, bye: Option<Bytes>) {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() {
            return;
        }
        if let Some(bye) = bye {
            queue.push(bye);
        }
        queue.closing = Some(closing);
        self.tell(queue);
    }

    /// What waits, each frame with its overhead.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.queue.lock().bytes
    }

    /// Whether the session is closing.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.queue.lock().closing.is_some()
    }

    /// Holds everything back until [`Outbox::welcome`], so that nothing overtakes the welcome.
    #[must_use]
    pub fn silent(self) -> Self {
        self.queue.lock().silent = true;
        self
    }

    /// Puts the first frame before everything that is queued, and lets all of it go.
    pub fn welcome(&self, frame: Option<Bytes>) {
        let mut queue = self.queue.lock();
        if let Some(frame) = frame {
            queue.bytes += cost(&frame);
            queue.frames.insert(0, frame);
        }
        queue.silent = false;
        self.tell(queue);
    }

    /// Moves every frame into `into`, as far as anything may be said yet. `Some` comes with the last
    /// ones: write them, then close the socket with its code.
    pub fn take(&self, into: &mut Vec<Bytes>) -> Option<Closing> {
        let cuts = {
            let mut queue = self.queue.lock();
            if queue.is_held() {
                return None;
            }
            // Who takes again has written what was taken before.
            queue.written();
            if let Some(traced) = &mut queue.traced {
                std::mem::swap(&mut traced.queued, &mut traced.taken);
            }
            into.append(&mut queue.frames);
            queue.bytes = 0;
            if !queue.closed && queue.closing.is_some() {
                queue.closed = true;
                return queue.closing.clone();
            }
            std::mem::take(&mut queue.cuts)
        };
        if !cuts.is_empty() {
            (self.mend)(cuts);
        }
        None
    }

    /// [`Outbox::take`], as soon as there is something. Cancel-safe.
    pub async fn recv(&self, into: &mut Vec<Bytes>) -> Option<Closing> {
        loop {
            let closing = self.take(into);
            if closing.is_some() || !into.is_empty() {
                return closing;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::vocab::{RoomId, TenantId};

    fn room() -> RoomRef {
        RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() }
    }

    fn big() -> Bytes {
        Bytes::from(vec![b'x'; 100 * 1024])
    }

    fn fill(outbox: &Outbox, room: RoomRef) {
        while outbox.push_event(room, big()) == Pushed::Queued {}
    }

    #[tokio::test]
    async fn a_full_outbox_cuts_the_room_and_mends_it_once_drained() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = told.clone();
        let outbox = Outbox::new(move |rooms| seen.lock().extend(rooms));
        let room = room();
        fill(&outbox, room);
        assert!(told.lock().is_empty());
        let mut frames = Vec::new();
        assert_eq!(outbox.recv(&mut frames).await, None);
        assert_eq!(frames.len(), 2);
        assert_eq!(*told.lock(), [room]);
    }

    #[tokio::test]
    async fn answers_pass_when_events_are_cut_and_ephemeral_frames_are_shed() {
        let outbox = Outbox::new(|_| ());
        fill(&outbox, room());
        outbox.push_ephemeral(Bytes::from_static(b"typing"));
        outbox.push_answer(Bytes::from_static(b"ok"));
        let mut frames = Vec::new();
        outbox.recv(&mut frames).await;
        assert_eq!(frames.last().map(|f| &f[..]), Some(&b"ok"[..]));
        assert!(!frames.iter().any(|f| &f[..] == b"typing"));
    }

    #[tokio::test]
    async fn a_frame_larger_than_the_bound_goes_alone() {
        let outbox = Outbox::new(|_| ());
        // 64 KiB of what JSON writes with six bytes each.
        let event = Bytes::from(vec![b'x'; 6 * limits::ENC_BODY_BYTES_MAX]);
        assert_eq!(outbox.push_event(room(), event.clone()), Pushed::Queued);
        assert_eq!(outbox.push_event(room(), event), Pushed::Cut);
        let mut frames = Vec::new();
        assert_eq!(outbox.recv(&mut frames).await, None);
        outbox.push_answer(Bytes::from(vec![b'x'; 2 * limits::HISTORY_FRAME_BYTES_MAX]));
        assert_eq!(outbox.recv(&mut frames).await, None);
        assert_eq!(frames.len(), 2);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answers_is_closed() {
        let outbox = Outbox::new(|_| ());
        let page = Bytes::from(vec![b'x'; limits::HISTORY_FRAME_BYTES_MAX]);
        outbox.push_answer(page.clone());
        outbox.push_answer(page);
        let closing = outbox.recv(&mut Vec::new()).await;
        assert_eq!(closing.map(|c| c.code), Some(CloseCode::SlowConsumer));
    }

    #[tokio::test]
    async fn nothing_overtakes_the_welcome() {
        let outbox = Outbox::new(|_| ()).silent();
        outbox.push_answer(Bytes::from_static(b"me"));
        let mut frames = Vec::new();
        tokio::select! {
            biased;
            _ = outbox.recv(&mut frames) => panic!("nothing before the welcome"),
            () = tokio::task::yield_now() => {}
        }
        outbox.welcome(Some(Bytes::from_static(b"welcome")));
        assert!(outbox.recv(&mut frames).await.is_none());
        assert_eq!(frames, ["welcome", "me"]);
    }

    #[tokio::test]
    async fn the_last_frames_come_with_the_closing() {
        let outbox = Outbox::new(|_| ());
        outbox.push_answer(Bytes::from_static(b"ok"));
        outbox.close(Closing::slow_consumer(), Some(Bytes::from_static(b"bye")));
        assert_eq!(outbox.push_event(room(), Bytes::from_static(b"late")), Pushed::Closed);
        let mut frames = Vec::new();
        assert!(outbox.recv(&mut frames).await.is_some());
        assert_eq!(frames, ["ok", "bye"]);
    }
}
