//! What all sockets count together. Histograms are shared by a few locks, not one a socket: at
//! three digits over two minutes each holds 200 KB.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::limits;
use crate::report::Latency;

struct Shard {
    delivery: Histogram<u64>,
    ack: Histogram<u64>,
}

/// Counters and histograms of a run.
pub struct Tallies {
    shards: Vec<Mutex<Shard>>,
    delivered: AtomicU64,
    acked: AtomicU64,
    open: AtomicU64,
    refused_for_now: AtomicU64,
    refused_for_good: AtomicU64,
}

/// What one socket adds at once.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) delivery_us: Vec<u64>,
    pub(crate) ack_us: Vec<u64>,
    pub(crate) delivered: u64,
    pub(crate) acked: u64,
    pub(crate) refused_for_now: u64,
    pub(crate) refused_for_good: u64,
}

fn histogram() -> anyhow::Result<Histogram<u64>> {
    let max = u64::try_from(limits::LATENCY_MAX.as_micros()).context("a bound in microseconds")?;
    Histogram::new_with_bounds(1, max, 3).context("a histogram")
}

impl Tallies {
    /// Empty ones.
    ///
    /// # Errors
    /// When the bound of latencies is not one of a histogram.
    pub fn new() -> anyhow::Result<Self> {
        let shard = || Ok(Mutex::new(Shard { delivery: histogram()?, ack: histogram()? }));
        Ok(Self {
            shards: (0..limits::TALLY_SHARDS).map(|_| shard()).collect::<anyhow::Result<_>>()?,
            delivered: AtomicU64::new(0),
            acked: AtomicU64::new(0),
            open: AtomicU64::new(0),
            refused_for_now: AtomicU64::new(0),
            refused_for_good: AtomicU64::new(0),
        })
    }

    /// A message is on its way.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds a batch and empties it.
    pub(crate) fn add(&self, socket: usize, batch: &mut Batch) {
        if !batch.delivery_us.is_empty() || !batch.ack_us.is_empty() {
            let shard = &self.shards[socket % self.shards.len()];
            let mut shard = shard.lock().expect("nothing panics while it holds this lock");
            for us in batch.delivery_us.drain(..) {
                shard.delivery.saturating_record(us.max(1));
            }
            for us in batch.ack_us.drain(..) {
                shard.ack.saturating_record(us.max(1));
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

    /// From the instant a message was due to its receipt.
    #[must_use]
    pub fn delivery_latency(&self) -> Latency {
        self.merged(|shard| &shard.delivery)
    }

    /// From the instant a message was due to its ack.
    #[must_use]
    pub fn ack_latency(&self) -> Latency {
        self.merged(|shard| &shard.ack)
    }

    fn merged(&self, which: impl Fn(&Shard) -> &Histogram<u64>) -> Latency {
        let mut whole: Option<Histogram<u64>> = None;
        for shard in &self.shards {
            let shard = shard.lock().expect("nothing panics while it holds this lock");
            match &mut whole {
                Some(whole) => whole.add(which(&shard)).expect("all have the same bounds"),
                None => whole = Some(which(&shard).clone()),
            }
        }
        whole.as_ref().map(Latency::of).unwrap_or_default()
    }
}
