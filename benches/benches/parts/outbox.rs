//! A session's queue, pushed to and drained by a reader that was asleep, as a socket task is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use parlance_actors::outbox::Outbox;
use parlance_actors::vocab::RoomRef;

use crate::part::Part;
use crate::sample;

pub(crate) const WAKES: u64 = 10;

/// Drains an outbox like a socket task, and throws the frames away.
pub(crate) struct Reader {
    pub(crate) outbox: Arc<Outbox>,
    task: Pin<Box<dyn Future<Output = ()>>>,
}

impl Reader {
    pub(crate) fn new() -> Self {
        let outbox = Arc::new(Outbox::new(|_| ()));
        let drained = outbox.clone();
        let task = Box::pin(async move {
            let mut frames = Vec::new();
            while drained.recv(&mut frames).await.is_none() {
                frames.clear();
            }
        });
        let mut reader = Self { outbox, task };
        reader.drain();
        reader
    }

    /// Takes everything, and sleeps.
    pub(crate) fn drain(&mut self) {
        let ended = self.task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(ended.is_pending(), "nobody closes this outbox");
    }
}

/// Wakes a reader with some frames.
pub(crate) struct PushAndDrain {
    reader: Reader,
    room: RoomRef,
    frame: Bytes,
    frames: u64,
}

impl PushAndDrain {
    pub(crate) fn frames(frames: u64) -> Self {
        let (reader, room) = (Reader::new(), sample::room(1));
        Self { reader, room, frame: Bytes::from(vec![b'x'; 400]), frames }
    }
}

impl Part for PushAndDrain {
    fn run(&mut self) {
        for _ in 0..WAKES {
            for _ in 0..self.frames {
                self.reader.outbox.push_event(self.room, self.frame.clone());
            }
            self.reader.drain();
        }
    }
}
