//! What this node does, measured from one look to the next: for placement, gossip and operators.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use parlance_actors::chat::Chat;
use parlance_cluster::directory::{BusiestHere, LoadReport};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

/// Rates are taken over at least this long; a shorter time says more of chance than of load.
const RATE_OVER: Duration = Duration::from_millis(900);

/// Measures the domain.
pub(super) struct Meter {
    chat: Arc<Chat>,
    last: Mutex<Last>,
}

/// The last look that was long enough after the one before.
struct Last {
    at: Instant,
    committed: Vec<u64>,
    /// Events a second, by shard.
    rates: Vec<f64>,
}

impl Meter {
    pub(super) fn new(chat: Arc<Chat>) -> Self {
        let last = Last { at: Instant::now(), committed: Vec::new(), rates: Vec::new() };
        Self { chat, last: Mutex::new(last) }
    }

    /// What it does now, with rates since the last look.
    pub(super) fn measure(&self) -> LoadReport {
        let activity = self.chat.activity();
        let mut last = self.last.lock();
        let passed = last.at.elapsed();
        if passed >= RATE_OVER {
            let rates = rates(&last.committed, &activity.committed, passed);
            *last = Last { at: Instant::now(), committed: activity.committed, rates };
        }
        LoadReport {
            rooms: activity.rooms,
            sessions: activity.sessions,
            events_per_second: last.rates.iter().fold(0.0, |sum, rate| sum + rate),
            shards: last.rates.iter().map(|rate| whole(*rate)).collect(),
        }
    }
}

/// Names the busiest rooms: on the runtime that serves them, whoever asks.
pub(super) fn busiest(chat: &Arc<Chat>) -> BusiestHere {
    // The domain holds the directory, which holds this.
    let (chat, on) = (Arc::downgrade(chat), Handle::current());
    Arc::new(move || {
        let chat = chat.clone();
        let asking = async move {
            match chat.upgrade() {
                Some(chat) => chat.busiest().await,
                None => Vec::new(),
            }
        };
        // Given up with the question.
        let asked = AbortOnDropHandle::new(on.spawn(asking));
        Box::pin(async move { asked.await.unwrap_or_default() })
    })
}

fn rates(before: &[u64], now: &[u64], passed: Duration) -> Vec<f64> {
    let before = before.iter().copied().chain(std::iter::repeat(0));
    let new = now.iter().zip(before).map(|(now, before)| now.saturating_sub(before));
    new.map(|events| events as f64 / passed.as_secs_f64()).collect()
}

/// Rounded, and cut at what a report has room for.
fn whole(rate: f64) -> u16 {
    rate.round().clamp(0.0, f64::from(u16::MAX)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_what_is_new() {
        let second = Duration::from_secs(2);
        assert_eq!(rates(&[], &[4, 0], second), [2.0, 0.0]);
        assert_eq!(rates(&[4, 1], &[4, 3], second), [0.0, 1.0]);
        assert_eq!((whole(0.4), whole(1.5), whole(1e9)), (0, 2, u16::MAX));
    }
}
