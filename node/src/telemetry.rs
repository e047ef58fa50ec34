//! What the node says about itself: log lines on standard error, and the recorder behind
//! `/metrics`. Standard output belongs to the one line that says where the node listens.
//!
//! No secret reaches a log line: secrets are of types that do not print themselves.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat, LogLevel};
use crate::failure::{Cause, Failure};

/// How often the recorder tidies its histograms.
const UPKEEP: Duration = Duration::from_secs(5);
/// Bounds of histograms of durations, in seconds: from one local commit to a client's patience.
const SECONDS_BUCKETS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Our own crates. Libraries are only heard when they warn.
const OURS: [&str; 5] =
    ["parlance", "parlance_actors", "parlance_cluster", "parlance_gateway", "parlance_storage"];

/// Begins to write log lines.
pub(crate) fn log(log: &Log) -> Result<(), Failure> {
    let level = match log.level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    let others = match log.level {
        LogLevel::Error => "error",
        LogLevel::Trace => "info",
        _ => "warn",
    };
    let ours = OURS.map(|name| format!("{name}={level}")).join(",");
    let filter = EnvFilter::new(format!("{others},{ours}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let begun = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    begun.map_err(|error| Failure::new(Cause::Other, format!("cannot begin to log: {error}")))
}

/// Begins to count. The gateway answers `/metrics` with the handle; nothing listens here.
pub(crate) fn metrics() -> Result<PrometheusHandle, Failure> {
    let cannot = |error| Failure::new(Cause::Other, format!("cannot begin to count: {error}"));
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS_BUCKETS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(cannot)
}

/// Keeps the recorder small for as long as the node runs.
pub(crate) async fn upkeep(handle: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}
