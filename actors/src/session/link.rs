//! What rooms, hub and handle share of a session: its bounds and the way to its client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::admission::Admission;
use super::holds::Holds;
use super::words::{Answer, Caller, Change, Output, Posted};
use crate::hub::Follower;
use crate::limits;
use crate::outbox::{CloseCode, Closing, Outbox};
use crate::ports::Frames;
use crate::ports::frames::Dialect;
use crate::vocab::{Code, Epoch, Key, Refusal, RoomId, SessionId};

/// A session as everybody but its actor sees it.
pub(crate) struct SessionLink {
    pub(crate) id: SessionId,
    pub(crate) caller: Arc<Caller>,
    pub(crate) dialect: Dialect,
    pub(crate) outbox: Arc<Outbox>,
    frames: Arc<dyn Frames>,
    admission: Mutex<Admission>,
    pub(crate) holds: Holds,
    /// What the user's own feed stood at when the session was welcomed.
    welcomed_at: AtomicU64,
    started: Instant,
}

impl SessionLink {
    pub(crate) fn new(
        id: SessionId,
        caller: Arc<Caller>,
        dialect: Dialect,
        outbox: Arc<Outbox>,
        frames: Arc<dyn Frames>,
    ) -> Arc<Self> {
        let admission = Mutex::new(Admission::new());
        let (holds, started) = (Holds::default(), Instant::now());
        let welcomed_at = AtomicU64::new(0);
        Arc::new(Self {
            id,
            caller,
            dialect,
            outbox,
            frames,
            admission,
            holds,
            welcomed_at,
            started,
        })
    }

    pub(crate) fn follower(&self) -> Follower {
        Follower {
            session: self.id,
            user: self.caller.user,
            dialect: self.dialect,
            outbox: self.outbox.clone(),
        }
    }

    /// Tells the client something that is not an event and not ephemeral.
    pub(crate) fn say(&self, output: &Output<'_>) {
        if let Some(frame) = self.frames.encode(self.dialect, output) {
            self.outbox.push_answer(frame);
        }
    }

    /// Whether the client knew of this revision of the user's own feed when it was welcomed.
    pub(crate) fn was_welcomed_with(&self, rev: u64) -> bool {
        rev <= self.welcomed_at.load(Ordering::Acquire)
    }

    /// The first thing that the client hears; what was said before it follows.
    pub(crate) fn welcome(&self, output: &Output<'_>) {
        if let Output::Welcome { rev, .. } = output {
            self.welcomed_at.store(*rev, Ordering::Release);
        }
        self.outbox.welcome(self.frames.encode(self.dialect, output));
    }

    /// Tells the client something that the next one of its kind replaces.
    pub(crate) fn whisper(&self, output: &Output<'_>) {
        if let Some(frame) = self.frames.encode(self.dialect, output) {
            self.outbox.push_ephemeral(frame);
        }
    }

    /// The one answer to a request. A success without an id needs none.
    pub(crate) fn answer(&self, id: Option<u64>, result: Result<&Answer, &Refusal>) {
        // What the server cannot do now is not the client's fault.
        let is_fault = |refusal: &&Refusal| !matches!(refusal.code, Code::Busy | Code::Unavailable);
        let at_fault = result.err().filter(is_fault).is_some();
        let too_many = self.admission.lock().answered(result.is_err(), at_fault);
        match (id, result) {
            (Some(id), Ok(answer)) => self.say(&Output::Ok { id, answer }),
            (None, Ok(_)) => {}
            (id, Err(refusal)) => self.say(&Output::Error { id, refusal }),
        }
        if too_many {
            let detail = "too many refused requests in a row";
            let refusal =
                Refusal::new(Code::RateLimited, detail).retry_after(limits::UNAVAILABLE_RETRY);
            self.close(CloseCode::RateLimited, refusal);
        }
    }

    /// Ends the session in order, with a last word.
    pub(crate) fn close(&self, code: CloseCode, refusal: Refusal) {
        let bye = self.frames.encode(self.dialect, &Output::Bye { refusal: &refusal });
        self.outbox.close(Closing { code, refusal }, bye);
    }

    /// Admits a change and gives its place among the session's changes.
    pub(crate) fn admit_change(
        &self,
        room: RoomId,
        key: Key,
        change: &Change,
    ) -> Result<u64, Refusal> {
        self.admission.lock().admit_change(self.now(), room, key, is_send(change))
    }

    pub(crate) fn settle_change(
        &self,
        id: Option<u64>,
        (room, key, place, is_send): (RoomId, Key, u64, bool),
        result: Result<Posted, Refusal>,
    ) {
        let refusal = result.as_ref().err();
        self.admission.lock().settle_change(self.now(), room, (key, place), is_send, refusal);
        self.answer(id, result.map(Answer::Posted).as_ref());
    }

    /// Whether a send may go to its room's owner of this epoch.
    pub(crate) fn goes(&self, room: RoomId, epoch: Epoch) -> bool {
        self.admission.lock().goes(room, epoch)
    }

    /// A send that went was answered.
    pub(crate) fn came_back(&self, room: RoomId) {
        self.admission.lock().came_back(room);
    }

    /// Why a send may not go yet, although it was admitted.
    pub(crate) fn stalled(&self, room: RoomId, key: Key, place: u64) -> Option<Refusal> {
        self.admission.lock().stalled(self.now(), room, key, place)
    }

    pub(crate) fn admit_request(&self) -> Result<(), Refusal> {
        self.admission.lock().admit_request()
    }

    pub(crate) fn settle_request(&self, id: Option<u64>, result: Result<&Answer, &Refusal>) {
        self.admission.lock().settle_request();
        self.answer(id, result);
    }

    pub(crate) fn admit_ephemeral(&self) -> bool {
        self.admission.lock().admit_ephemeral(self.now())
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.admission.lock().in_flight()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whether order matters to the change: sends of a session in a room keep theirs.
pub(crate) const fn is_send(change: &Change) -> bool {
    matches!(change, Change::Send { .. })
}
