//! What all sockets of one process count together: counters, and one histogram for each kind of
//! latency. Histograms are shared by a few locks, not one a socket: at three digits over two minutes
//! each holds 200 KB, and is made only when it is needed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::report::Latency;

/// What a latency is of. Each counts from the instant at which the thing was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A message, to its receipt on another socket.
    Delivery,
    /// A message, to its ack.
    Ack,
    /// A visit, to its one-time ticket.
    Ticket,
    /// A visit, to the upgraded socket.
    Upgrade,
    /// A visit, to the server's welcome.
    Welcome,
    /// A visit, to the answer that it follows its room.
    Join,
    /// A page of history before a place.
    PageBefore,
    /// A page of history after a place.
    PageAfter,
    /// Opening a room: following it, and the last page of its history.
    Open,
    /// A read mark, to its answer.
    Read,
    /// Coming back: from the drop, to being followed and up to date in every room.
    Return,
}

impl Step {
    /// What it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Ack => "ack",
            Self::Ticket => "ticket",
            Self::Upgrade => "upgrade",
            Self::Welcome => "welcome",
            Self::Join => "join",
            Self::PageBefore => "page before",
            Self::PageAfter => "page after",
            Self::Open => "open a room",
            Self::Read => "read mark",
            Self::Return => "return",
        }
    }
}

/// Values and how often each was seen: a histogram as it goes from process to process.
pub type Sparse = Vec<(u64, u64)>;

/// One shard's histograms: of the whole measured time, and of the time since the last
/// [`Tallies::recent`].
#[derive(Default)]
struct Shard {
    whole: BTreeMap<Step, Histogram<u64>>,
    recent: BTreeMap<Step, Histogram<u64>>,
}

/// Counters and histograms of a process.
pub struct Tallies {
    shards: Vec<Mutex<Shard>>,
    delivered: AtomicU64,
    acked: AtomicU64,
    open: AtomicU64,
    refused_for_now: AtomicU64,
    refused_for_good: AtomicU64,
    done: AtomicU64,
}

/// What one socket adds at once.
#[derive(Debug, Default)]
pub struct Batch {
    /// Latencies in microseconds, of measured things only.
    pub samples: Vec<(Step, u64)>,
    /// Messages that were received.
    pub delivered: u64,
    /// Messages that were acknowledged.
    pub acked: u64,
    /// Refusals that pass; the message is repeated.
    pub refused_for_now: u64,
    /// Refusals that do not.
    pub refused_for_good: u64,
    /// Whatever else the scenario counts: visits, pages, returns.
    pub done: u64,
}

/// An empty histogram of microseconds up to the longest latency that is told apart.
///
/// # Errors
/// When that bound is not one of a histogram.
pub fn histogram(digits: u8) -> anyhow::Result<Histogram<u64>> {
    let max = u64::try_from(limits::LATENCY_MAX.as_micros()).context("a bound in microseconds")?;
    Histogram::new_with_bounds(1, max, digits).context("a histogram")
}

/// The values of a histogram and how often each was seen.
#[must_use]
pub fn sparse(histogram: &Histogram<u64>) -> Sparse {
    histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
}

fn record(histograms: &mut BTreeMap<Step, Histogram<u64>>, step: Step, us: u64, digits: u8) {
    let empty = || histogram(digits).expect("`Tallies::new` has made one with these bounds");
    histograms.entry(step).or_insert_with(empty).saturating_record(us.max(1));
}

impl Tallies {
    /// Empty ones.
    ///
    /// # Errors
    /// When the bound of latencies is not one of a histogram.
    pub fn new() -> anyhow::Result<Self> {
        histogram(limits::WHOLE_DIGITS)?;
        histogram(limits::RECENT_DIGITS)?;
        Ok(Self {
            shards: (0..limits::TALLY_SHARDS).map(|_| Mutex::default()).collect(),
            delivered: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            open: AtomicU64::new(0),
            refused_for_now: AtomicU64::new(0),
            refused_for_good: AtomicU64::new(0),
            done: AtomicU64::new(0),
        })
    }

    /// A message is on its way.
    pub fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a batch and empties it.
    pub fn add(&self, socket: usize, batch: &mut Batch) {
        if !batch.samples.is_empty() {
            let shard = &self.shards[socket % self.shards.len()];
            let mut shard = shard.lock().expect("nothing panics while it holds this lock");
            for (step, us) in batch.samples.drain(..) {
                record(&mut shard.whole, step, us, limits::WHOLE_DIGITS);
                record(&mut shard.recent, step, us, limits::RECENT_DIGITS);
            }
        }
        let add = |counter: &AtomicU64, count: &mut u64| {
            if *count > 0 {
                counter.fetch_add(std::mem::take(count), Ordering::Relaxed);
            }
        };
        let closed = batch.acked + batch.refused_for_good;
        self.open.fetch_sub(closed, Ordering::Relaxed);
        add(&self.delivered, &mut batch.delivered);
        add(&self.acked, &mut batch.acked);
        add(&self.refused_for_now, &mut batch.refused_for_now);
        add(&self.refused_for_good, &mut batch.refused_for_good);
        add(&self.done, &mut batch.done);
    }

    /// Messages that were received, by all sockets.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Messages that were acknowledged.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Messages without an answer.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Refusals that were repeated.
    #[must_use]
    pub fn refused_for_now(&self) -> u64 {
        self.refused_for_now.load(Ordering::Relaxed)
    }

    /// Refusals that were not.
    #[must_use]
    pub fn refused_for_good(&self) -> u64 {
        self.refused_for_good.load(Ordering::Relaxed)
    }

    /// Whatever else the scenario counts.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// From the instant a message was due to its receipt.
    #[must_use]
    pub fn delivery_latency(&self) -> Latency {
        self.latency(Step::Delivery)
    }

    /// From the instant a message was due to its ack.
    #[must_use]
    pub fn ack_latency(&self) -> Latency {
        self.latency(Step::Ack)
    }

    /// The latencies of a step up to now.
    #[must_use]
    pub fn latency(&self, step: Step) -> Latency {
        self.whole().get(&step).map(Latency::of).unwrap_or_default()
    }

    /// The histograms up to now.
    #[must_use]
    pub fn whole(&self) -> BTreeMap<Step, Histogram<u64>> {
        let mut merged: BTreeMap<Step, Histogram<u64>> = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().expect("nothing panics while it holds this lock");
            for (step, part) in &shard.whole {
                match merged.get_mut(step) {
                    Some(whole) => whole.add(part).expect("all have the same bounds"),
                    None => {
                        merged.insert(*step, part.clone());
                    }
                }
            }
        }
        merged
    }

    /// The latencies that came since this was asked the last time, with fewer digits.
    #[must_use]
    pub fn recent(&self) -> BTreeMap<Step, Sparse> {
        let mut merged: BTreeMap<Step, BTreeMap<u64, u64>> = BTreeMap::new();
        for shard in &self.shards {
            let mut shard = shard.lock().expect("nothing panics while it holds this lock");
            for (step, part) in &mut shard.recent {
                let into = merged.entry(*step).or_default();
                for (value, count) in sparse(part) {
                    *into.entry(value).or_default() += count;
                }
                part.reset();
            }
        }
        merged.into_iter().map(|(step, values)| (step, values.into_iter().collect())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recent_is_told_once_and_the_whole_keeps_it() {
        let tallies = Tallies::new().expect("good bounds");
        for socket in 0..20 {
            let samples = vec![(Step::Ack, 1_000 * (socket + 1)), (Step::Delivery, 5)];
            let mut batch = Batch { samples, acked: 1, ..Batch::default() };
            tallies.opened();
            tallies.add(usize::try_from(socket).expect("small"), &mut batch);
        }
        let counts = |recent: &BTreeMap<Step, Sparse>| {
            let count = |values: &Sparse| values.iter().map(|(_, count)| count).sum::<u64>();
            recent.values().map(count).collect::<Vec<u64>>()
        };
        assert_eq!(counts(&tallies.recent()), [20, 20]);
        assert_eq!(counts(&tallies.recent()), [0, 0]);
        assert_eq!(tallies.ack_latency().count, 20);
        assert!((tallies.ack_latency().max_ms - 20.0).abs() < 0.1);
        assert_eq!((tallies.acked(), tallies.open()), (20, 0));
    }
}
