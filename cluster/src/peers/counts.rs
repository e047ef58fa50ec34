//! What data links count for each frame and write. The counters are looked up once: that costs more
//! than to write a frame does.

use metrics::Counter;

pub(super) struct Counts {
    received: Direction,
    sent: Direction,
    writes: Counter,
}

struct Direction {
    frames: Counter,
    bytes: Counter,
}

impl Direction {
    fn new(direction: &'static str) -> Self {
        Self {
            frames: metrics::counter!("parlance_link_frames_total", "direction" => direction),
            bytes: metrics::counter!("parlance_link_bytes_total", "direction" => direction),
        }
    }

    fn count(&self, frames: u64, bytes: u64) {
        self.frames.increment(frames);
        self.bytes.increment(bytes);
    }
}

impl Counts {
    /// Counts for the recorder that is there now.
    pub(super) fn new() -> Self {
        Self {
            received: Direction::new("in"),
            sent: Direction::new("out"),
            writes: metrics::counter!("parlance_link_writes_total"),
        }
    }

    pub(super) fn received(&self, frames: u64, bytes: u64) {
        self.received.count(frames, bytes);
    }

    /// Frames that one write took.
    pub(super) fn sent(&self, frames: u64, bytes: u64) {
        self.sent.count(frames, bytes);
        self.writes.increment(1);
    }
}
