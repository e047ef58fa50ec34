//! What waits to be sent on one channel to one peer, bounded by bytes.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
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
    /// Something waits to be sent.
    filled: Notify,
    /// The queue overflowed, or the round ended.
    burst: Notify,
}

#[derive(Default)]
struct Queue {
    phase: Phase,
    /// How often it was opened: each time is another round for those who send.
    opened: u64,
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

impl Outlet {
    pub(super) fn send(&self, frame: Bytes) -> Result<(), NotSent> {
        let queue = self.queue.lock();
        let round = queue.round()?;
        self.send_now(queue, round, frame)
    }

    /// The round that frames are taken for.
    pub(super) fn round(&self) -> Result<Round, NotSent> {
        self.queue.lock().round()
    }

    /// Takes a frame for this round only.
    pub(super) fn send_in(&self, round: Round, frame: Bytes) -> Result<(), NotSent> {
        self.send_now(self.queue.lock(), round, frame)
    }

    fn send_now(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        round: Round,
        frame: Bytes,
    ) -> Result<(), NotSent> {
        if queue.round()? != round {
            return Err(NotSent::Interrupted);
        }
        if queue.bytes + cost(&frame) > CHANNEL_BYTES_MAX {
            queue.phase = Phase::Interrupted;
            queue.frames.clear();
            self.burst.notify_one();
            return Err(NotSent::Interrupted);
        }
        self.push(&mut queue, frame);
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
            self.filled.notify_one();
        }
    }

    /// Frames are taken from now on.
    pub(super) fn open(&self) {
        let mut queue = self.queue.lock();
        let opened = queue.opened + 1;
        *queue = Queue { phase: Phase::Open, opened, ..Queue::default() };
    }

    /// The round ended: what waits is lost, and nothing is taken until the next stream.
    pub(super) fn interrupt(&self) {
        let mut queue = self.queue.lock();
        if queue.phase == Phase::Open {
            let opened = queue.opened;
            *queue = Queue { phase: Phase::Interrupted, opened, ..Queue::default() };
            self.burst.notify_one();
        }
    }

    /// There is no connection, and all that was lost was told.
    pub(super) fn no_way(&self) {
        let mut queue = self.queue.lock();
        let opened = queue.opened;
        *queue = Queue { opened, ..Queue::default() };
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
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
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

impl Queue {
    fn round(&self) -> Result<Round, NotSent> {
        match self.phase {
            Phase::NoWay => Err(NotSent::NoWay),
            Phase::Interrupted => Err(NotSent::Interrupted),
            Phase::Open => Ok(Round(self.opened)),
        }
    }
}

fn cost(frame: &Bytes) -> usize {
    frame.len() + FRAME_OVERHEAD_BYTES
}

fn gather(frames: Vec<Bytes>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let mut small = BytesMut::new();
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
    fn a_frame_of_a_round_that_ended_is_not_taken_in_the_next() {
        let (outlet, frame) = (Outlet::default(), Bytes::from_static(b"frame"));
        assert_eq!(outlet.round(), Err(NotSent::NoWay));
        outlet.open();
        let first = outlet.round().expect("open");
        outlet.send_in(first, frame.clone()).expect("its round");
        outlet.interrupt();
        assert_eq!(outlet.send_in(first, frame.clone()), Err(NotSent::Interrupted));
        outlet.open();
        assert_eq!(outlet.send_in(first, frame.clone()), Err(NotSent::Interrupted));
        outlet.send_in(outlet.round().expect("open"), frame.clone()).expect("the next round");
        outlet.no_way();
        assert_eq!(outlet.send_in(first, frame.clone()), Err(NotSent::NoWay));
        outlet.open();
        assert_eq!(outlet.send_in(first, frame), Err(NotSent::Interrupted));
    }
}
