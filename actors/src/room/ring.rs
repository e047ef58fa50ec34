//! The recent past of a room: its last events for replays, and its last keys for repeats.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use crate::limits;
use crate::vocab::{Event, Key, Seq, Timestamp, UserId};

/// The last events of a room, without holes, bounded by number and size.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
}

/// What an event costs beside its content.
const EVENT_OVERHEAD_BYTES: usize = 160;

fn cost(event: &Event) -> usize {
    event.content.weight() + EVENT_OVERHEAD_BYTES
}

impl Ring {
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += cost(&event);
        self.events.push_back(event);
        while self.events.len() > limits::RING_EVENTS_MAX || self.bytes > limits::RING_BYTES_MAX {
            let oldest = self.events.pop_front().expect("over a bound, so not empty");
            self.bytes -= cost(&oldest);
        }
    }

    /// Every event after `seq`; `None` when the ring does not reach back that far.
    pub(super) fn after(&self, seq: Seq) -> Option<Vec<Arc<Event>>> {
        let oldest = self.events.front()?.seq;
        if oldest > seq.next() {
            return None;
        }
        Some(self.events.iter().filter(|event| event.seq > seq).cloned().collect())
    }

    pub(super) fn get(&self, seq: Seq) -> Option<&Arc<Event>> {
        let oldest = self.events.front()?.seq;
        let place = usize::try_from(seq.0.checked_sub(oldest.0)?).ok()?;
        self.events.get(place)
    }

    pub(super) fn blank(&mut self, target: Seq) {
        for event in self.events.iter_mut().filter(|e| e.is_blanked_by_delete_of(target)) {
            self.bytes -= event.content.weight();
            *event = Arc::new(event.blanked());
        }
    }
}

/// The keys of recent changes and where they are in the log.
#[derive(Debug)]
pub(super) struct Window(LruCache<(UserId, Key), (Seq, Timestamp)>);

impl Default for Window {
    fn default() -> Self {
        let capacity = NonZeroUsize::new(limits::WINDOW_KEYS_MAX).expect("a bound is not 0");
        // Unbounded at first, so that a quiet room does not pay for the whole table.
        let mut keys = LruCache::unbounded();
        keys.resize(capacity);
        Self(keys)
    }
}

impl Window {
    pub(super) fn get(&mut self, sender: UserId, key: Key) -> Option<(Seq, Timestamp)> {
        self.0.get(&(sender, key)).copied()
    }

    pub(super) fn put(&mut self, sender: UserId, key: Key, at: (Seq, Timestamp)) {
        self.0.put((sender, key), at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::{Content, Sender};

    fn event(seq: u64, body: &str) -> Arc<Event> {
        Arc::new(Event {
            seq: Seq(seq),
            sender: Sender { id: UserId::generate(), username: "ann".into() },
            device: None,
            key: Key::generate(),
            sent_at: Timestamp(0),
            content: Content::Message {
                body: body.into(),
                reply_to: None,
                thread: None,
                enc: false,
            },
        })
    }

    #[test]
    fn it_says_when_it_does_not_reach_back_far_enough() {
        let mut ring = Ring::default();
        assert_eq!(ring.after(Seq(0)), None);
        for seq in 5..=7 {
            ring.push(event(seq, "x"));
        }
        assert_eq!(ring.after(Seq(3)), None);
        assert_eq!(ring.after(Seq(4)).map(|events| events.len()), Some(3));
        assert_eq!(ring.after(Seq(7)).map(|events| events.len()), Some(0));
        assert_eq!(ring.get(Seq(6)).map(|e| e.seq), Some(Seq(6)));
        assert_eq!(ring.get(Seq(4)), None);
    }

    #[test]
    fn it_is_bounded_by_size_and_by_number() {
        let mut ring = Ring::default();
        let body = "x".repeat(limits::ENC_BODY_BYTES_MAX);
        for seq in 1..=10 {
            ring.push(event(seq, &body));
        }
        assert!(ring.bytes <= limits::RING_BYTES_MAX);
        let mut ring = Ring::default();
        for seq in 1..=1_000 {
            ring.push(event(seq, ""));
        }
        assert_eq!(ring.events.len(), limits::RING_EVENTS_MAX);
    }
}
