//! Counts the lanes' commits and the rows in them, through the metrics that the lanes record. It
//! keeps nothing else of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// The lanes' metric: one value a commit, the events in it.
const BATCHES: &str = "parlance_lane_batch_events";

/// Commits and rows until now.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    commits: AtomicU64,
}

impl Commits {
    /// Counts from now on in this process.
    ///
    /// # Errors
    /// When something else records metrics already.
    pub(crate) fn install() -> anyhow::Result<Arc<Self>> {
        let commits = Arc::<Self>::default();
        let installed = metrics::set_global_recorder(Listener(commits.clone()));
        installed.map_err(|_| anyhow::anyhow!("metrics are recorded elsewhere"))?;
        Ok(commits)
    }

    pub(crate) fn count(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl HistogramFn for Commits {
    fn record(&self, _rows: f64) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

struct Listener(Arc<Commits>);

impl Recorder for Listener {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        if key.name() == BATCHES { Histogram::from_arc(self.0.clone()) } else { Histogram::noop() }
    }
}
