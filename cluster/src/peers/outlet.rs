//! What waits to be sent on one channel to one peer, bounded by bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use parlance_actors::ports::peers::{NotSent, Round};
use tokio::sync::Notify;

use super::wire;
use crate::limits::{
    CHANNEL_BYTES_MAX, CHANNEL_WHISPER_BYTES_MAX, FRAME_OVERHEAD_BYTES, WRITE_BYTES_MAX,
    WRITE_COPY_BYTES_MAX, WRITE_FRAMES_MAX,
};

/// The sending side of one channel.
#[derive(Default)]
pub(super) struct Outlet {
    queue: Mutex<Queue>,
    /// Something waits to be sent, or the queue overflowed, or the round ended: for a writer that
    /// has nothing to do.
    stirred: Notify,
    /// The queue overflowed, or the round ended: for a writer that waits for the peer.
    burst: Notify,
}

#[derive(Default)]
struct Queue {
    phase: Phase,
    /// How often it was opened.
    openings: u64,
    frames: VecDeque<Bytes>,
    /// Of the frames, and of those that are being written, each with its overhead.
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// There is no connection.
    #[default]
    NoWay,
    /// A stream takes frames.
    Open,
    /// Frames were lost, and that is being told.
    Interrupted,
}

/// What to write next.
pub(super) enum Next {
    Nothing,
    /// The queue overflowed, or the round ended.
    Burst,
    Pieces {
        /// To be written in this order.
        pieces: Vec<Bytes>,
        frames: usize,
        /// What [`Outlet::written`] takes.
        cost: usize,
    },
}

impl Queue {
    fn empty(&mut self, phase: Phase) {
        *self = Self { phase, openings: self.openings, ..Self::default() };
    }
}

impl Outlet {
    pub(super) fn send(&self, frame: Bytes) -> Result<(), NotSent> {
        self.put(&mut self.queue.lock(), frame)
    }

    /// The same if nothing was interrupted since the round was asked for.
    pub(super) fn send_in(&self, round: Round, frame: Bytes) -> Result<(), NotSent> {
        let mut queue = self.queue.lock();
        if queue.phase == Phase::Open && queue.openings != round.0 {
            return Err(NotSent::Interrupted);
        }
        self.put(&mut queue, frame)
    }

    /// An interruption is told before it opens again, so the number of openings tells whether there
    /// was one.
    pub(super) fn round(&self) -> Round {
        Round(self.queue.lock().openings)
    }

    fn put(&self, queue: &mut Queue, frame: Bytes) -> Result<(), NotSent> {
        match queue.phase {
            Phase::NoWay => return Err(NotSent::NoWay),
            Phase::Interrupted => return Err(NotSent::Interrupted),
            Phase::Open => {}
        }
        if queue.bytes + cost(&frame) > CHANNEL_BYTES_MAX {
            queue.phase = Phase::Interrupted;
            queue.frames.clear();
            self.tell_burst();
            return Err(NotSent::Interrupted);
        }
        self.push(queue, frame);
        Ok(())
    }

    pub(super) fn whisper(&self, frame: Bytes) {
        let mut queue = self.queue.lock();
        if queue.phase == Phase::Open && queue.bytes + cost(&frame) <= CHANNEL_WHISPER_BYTES_MAX {
            self.push(&mut queue, frame);
        }
    }

    fn push(&self, queue: &mut Queue, frame: Bytes) {
        queue.bytes += cost(&frame);
        queue.frames.push_back(frame);
        if queue.frames.len() == 1 {
            self.stirred.notify_one();
        }
    }

    /// Frames are taken from now on.
    pub(super) fn open(&self) {
        let mut queue = self.queue.lock();
        queue.openings += 1;
        queue.empty(Phase::Open);
    }

    /// The round ended: what waits is lost, and nothing is taken until the next stream.
    pub(super) fn interrupt(&self) {
        let mut queue = self.queue.lock();
        if queue.phase == Phase::Open {
            queue.empty(Phase::Interrupted);
            self.tell_burst();
        }
    }

    fn tell_burst(&self) {
        self.burst.notify_one();
        self.stirred.notify_one();
    }

    /// There is no connection, and all that was lost was told.
    pub(super) fn no_way(&self) {
        self.queue.lock().empty(Phase::NoWay);
    }

    /// Whether it took frames, or may have, whose loss was not told yet.
    pub(super) fn has_way(&self) -> bool {
        self.queue.lock().phase != Phase::NoWay
    }

    /// Whether it takes frames.
    pub(super) fn is_open(&self) -> bool {
        self.queue.lock().phase == Phase::Open
    }

    /// Takes what has gathered, up to what one write should have. Small frames are copied together,
    /// because a piece of its own costs more than its bytes.
    pub(super) fn next(&self) -> Next {
        let frames: Vec<Bytes> = {
            let mut queue = self.queue.lock();
            if queue.phase == Phase::Interrupted {
                return Next::Burst;
            }
            let mut bytes = 0;
            let mut count = 0;
            for frame in queue.frames.iter().take(WRITE_FRAMES_MAX) {
                bytes += frame.len();
                if count > 0 && bytes > WRITE_BYTES_MAX {
                    break;
                }
                count += 1;
            }
            queue.frames.drain(..count).collect()
        };
        if frames.is_empty() {
            return Next::Nothing;
        }
        let cost = frames.iter().map(cost).sum();
        let count = frames.len();
        Next::Pieces { pieces: gather(frames), frames: count, cost }
    }

    /// What [`next`](Self::next) gave was written.
    pub(super) fn written(&self, cost: usize) {
        let mut queue = self.queue.lock();
        queue.bytes = queue.bytes.saturating_sub(cost);
    }

    /// Waits until [`next`](Self::next) may have something.
    pub(super) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    /// Waits for an overflow or the end of the round.
    pub(super) async fn burst(&self) {
        loop {
            self.burst.notified().await;
            // The notice may be of a stream before this one.
            if self.queue.lock().phase == Phase::Interrupted {
                return;
            }
        }
    }

    pub(super) fn queued_bytes(&self) -> usize {
        self.queue.lock().bytes
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

fn gather(frames: Vec<Bytes>) -> Vec<Bytes> {
    let copied = frames.iter().map(Bytes::len).filter(|length| *length <= WRITE_COPY_BYTES_MAX);
    let copied: usize = copied.sum();
    let mut small = BytesMut::with_capacity(copied + frames.len() * wire::FRAME_HEADER_BYTES);
    let mut pieces = Vec::with_capacity(1);
    for frame in frames {
        small.extend_from_slice(&wire::frame_header(&frame));
        if frame.len() <= WRITE_COPY_BYTES_MAX {
            small.extend_from_slice(&frame);
        } else {
            pieces.push(small.split().freeze());
            pieces.push(frame);
        }
    }
    if !small.is_empty() {
        pieces.push(small.freeze());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_was_decided_on_before_an_interruption_is_not_sent_after_it() {
        let outlet = Outlet::default();
        let frame = || Bytes::from_static(b"frame");
        assert_eq!(outlet.send_in(outlet.round(), frame()), Err(NotSent::NoWay));
        outlet.open();
        let before = outlet.round();
        assert_eq!(outlet.send_in(before, frame()), Ok(()));
        outlet.interrupt();
        assert_eq!(outlet.send_in(before, frame()), Err(NotSent::Interrupted));
        // Asked for while the interruption is not told yet.
        let between = outlet.round();
        outlet.open();
        assert_eq!(outlet.send_in(between, frame()), Err(NotSent::Interrupted));
        assert_eq!(outlet.send_in(outlet.round(), frame()), Ok(()));
        // Nor after the way was lost and found again.
        let before = outlet.round();
        outlet.no_way();
        outlet.open();
        assert_eq!(outlet.send_in(before, frame()), Err(NotSent::Interrupted));
    }
}
