//! When things happen in a run. All processes of a run are on one machine and read one clock, so an
//! instant that one of them wrote into a body means the same to another.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// An instant that every process of this machine understands: nanoseconds of its monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared(u64);

impl Shared {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).expect("the monotonic clock counts from the start");
        let nanos = u64::try_from(now.tv_nsec).expect("nanoseconds are not negative");
        Self(seconds * 1_000_000_000 + nanos)
    }

    /// This much later.
    #[must_use]
    pub fn after(self, pause: Duration) -> Self {
        Self(self.0 + u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX / 4))
    }

    /// The same instant for this process's timers.
    #[must_use]
    pub fn instant(self) -> Instant {
        let (here, now) = (Instant::now(), Self::now());
        if self.0 >= now.0 {
            here + Duration::from_nanos(self.0 - now.0)
        } else {
            here.checked_sub(Duration::from_nanos(now.0 - self.0)).unwrap_or(here)
        }
    }
}

/// When a run begins, is measured, and ends.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// Zero for the instants in bodies.
    pub start: Instant,
    /// The first measured instant.
    pub measure: Instant,
    /// The first instant that is not measured any more; nothing is sent from here on.
    pub end: Instant,
}

impl Times {
    /// From the start on.
    #[must_use]
    pub fn new(start: Instant, warm_up: Duration, duration: Duration) -> Self {
        let measure = start + warm_up;
        Self { start, measure, end: measure + duration }
    }

    /// Microseconds since the start.
    #[must_use]
    pub fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether something that is due then counts.
    #[must_use]
    pub fn is_measured(&self, micros: u64) -> bool {
        (self.micros(self.measure)..self.micros(self.end)).contains(&micros)
    }
}

/// A body: the instant at which it is due, and filling.
#[must_use]
pub fn body_of(due_us: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{due_us:016x}").into_bytes();
    body.resize(bytes.max(body.len()), b'x');
    body
}

/// The instant in a body, in microseconds of the run.
#[must_use]
pub fn due_of(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body.get(..16)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_in_a_body_is_read_back() {
        assert_eq!(due_of(&body_of(1_000_000, 128)), Some(1_000_000));
        assert_eq!(body_of(7, 128).len(), 128);
        assert_eq!(due_of(b"short"), None);
        assert_eq!(due_of(b"not a number at all"), None);
    }

    #[test]
    fn a_shared_instant_is_the_same_for_timers() {
        let soon = Shared::now().after(Duration::from_secs(5));
        let left = soon.instant().saturating_duration_since(Instant::now());
        assert!(left > Duration::from_secs(4) && left <= Duration::from_secs(5), "{left:?}");
    }
}
