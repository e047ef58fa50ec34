//! What a run says: the figures, as JSON for machines, and a line while it goes. The table for people
//! is in `table`, the page with plots in `html`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::attack::Told;
use crate::checker::Looked;
use crate::load::tally::Step;

pub mod html;
pub mod machine;
mod plot;
mod table;

use machine::Machine;

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Which load it was.
    pub scenario: String,
    /// Nodes that the sockets were spread over.
    pub nodes: usize,
    /// Processes that made the load.
    pub processes: usize,
    /// Rooms.
    pub rooms: usize,
    /// Sockets, all rooms together.
    pub sockets: usize,
    /// Accounts that they shared.
    pub accounts: usize,
    /// Messages a second that were asked for, all rooms together.
    pub rate: f64,
    /// A body's size.
    pub body_bytes: usize,
    /// Measured time.
    pub seconds: f64,
    /// Time before it.
    pub warm_up_seconds: f64,
    /// Messages received in the measured time, by all sockets.
    pub deliveries: u64,
    /// From the instant a message was due to its receipt.
    pub delivery: Latency,
    /// From the instant a message was due to its ack.
    pub ack: Latency,
    /// Every kind of latency that was measured, with the points of its percentile plot.
    pub steps: Vec<StepReport>,
    /// What became of the attack beside which it was measured.
    pub attack: Option<Told>,
    /// What the scenario is about, beside latencies.
    pub facts: Vec<Fact>,
    /// What the server's processes used in the measured time.
    pub servers: Vec<ServerUse>,
    /// What the generator used in the measured time.
    pub generator_cpu_seconds: f64,
    /// What else happened.
    pub counts: Counts,
    /// What the nodes counted in the measured time, all of them together.
    pub counted: BTreeMap<String, f64>,
    /// What the checker found.
    pub check: Option<Check>,
    /// The run second by second, the warm-up (below 0) included.
    pub series: Vec<Second>,
    /// What happened when, in seconds from the first measured instant.
    pub marks: Vec<(f64, String)>,
    /// Where it took place.
    pub machine: Machine,
}

/// One kind of latency.
#[derive(Debug, Clone, Serialize)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// What it is called.
    pub name: String,
    /// Its percentiles.
    pub latency: Latency,
    /// Its percentiles as a curve.
    pub points: Vec<Point>,
}

/// A point of a percentile plot.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// From 0 to 1.
    pub quantile: f64,
    /// This share is at most so long.
    pub ms: f64,
}

/// A figure with its name and unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// One second of a run, all processes together.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Second {
    /// It ended so many seconds after the first measured instant.
    pub second: i64,
    /// Messages received in it.
    pub deliveries: u64,
    /// Messages acknowledged in it.
    pub acked: u64,
    /// Visits, pages or returns in it.
    pub done: u64,
    /// Refusals in it that pass.
    pub refused_for_now: u64,
    /// The latencies that came in it.
    pub steps: Vec<StepSecond>,
    /// Of each server process, in percent of a core.
    pub cpu_percent: Vec<f64>,
    /// Of each server process, at its end.
    pub rss_bytes: Vec<u64>,
    /// Of the generator, in percent of a core.
    pub generator_cpu_percent: f64,
}

/// One kind of latency in one second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct StepSecond {
    /// Which.
    pub step: Step,
    /// How many.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 99 of 100 are under it.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// Percentiles, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// The median.
    pub p50_ms: f64,
    /// 90 of 100 are under it.
    pub p90_ms: f64,
    /// 99 of 100 are under it.
    pub p99_ms: f64,
    /// 999 of 1,000 are under it.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// One server process with its children.
#[derive(Debug, Default, Serialize)]
pub struct ServerUse {
    /// The process.
    pub pid: u32,
    /// Its command.
    pub name: String,
    /// It and its children.
    pub processes: usize,
    /// User and system time.
    pub cpu_seconds: f64,
    /// That, for each received message.
    pub cpu_us_per_delivery: Option<f64>,
    /// Resident memory at the end.
    pub rss_bytes: u64,
    /// System calls in the measured time.
    pub syscalls: Option<u64>,
    /// That, for each received message.
    pub syscalls_per_delivery: Option<f64>,
    /// Why there is no count of them.
    pub syscalls_unmeasured: Option<String>,
}

/// What else happened in a run.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// Messages with an ack.
    pub acked: u64,
    /// Refusals that passed; the message was repeated with its key.
    pub refused_for_now: u64,
    /// Refusals that did not pass.
    pub refused_for_good: u64,
    /// Feeds that the server cut with a gap.
    pub gaps: u64,
    /// Sockets that ended before the run did.
    pub lost_sockets: u64,
    /// Frames whose layout was not the usual one.
    pub slow_parses: u64,
    /// Why the first of the lost sockets ended.
    pub first_loss: Option<String>,
    /// Every ack and delivery came before the end.
    pub settled: bool,
}

/// What the checker found.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Of how much.
    pub looked: Looked,
    /// The broken promises.
    pub violations: Vec<String>,
}

impl Latency {
    /// The percentiles of a histogram of microseconds.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1e3;
        let at = |quantile| ms(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(histogram.max()),
        }
    }
}

impl Fact {
    /// A figure.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned() }
    }
}

impl Report {
    /// A kind of latency, if it was measured.
    #[must_use]
    pub fn step(&self, step: Step) -> Option<&StepReport> {
        self.steps.iter().find(|report| report.step == step)
    }

    /// A figure of the scenario, by its name.
    #[must_use]
    pub fn fact(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value)
    }

    /// Events came in pages of history and not one by one.
    pub(crate) fn reads_pages(&self) -> bool {
        self.scenario == "history"
    }

    /// What figures are divided by, in words.
    pub(crate) fn of_each(&self) -> &'static str {
        if self.reads_pages() { "an event" } else { "a delivery" }
    }

    /// Whether the run counts: everything settled, nothing was lost, no promise was broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let kept = self.check.as_ref().is_none_or(|check| check.violations.is_empty());
        kept && self.counts.settled
            && self.counts.lost_sockets == 0
            && self.counts.refused_for_good == 0
    }
}

/// Shows how it goes: one line that is written over on a terminal, and lines elsewhere.
pub fn progress(line: &str) {
    let mut stderr = std::io::stderr().lock();
    // A progress line that cannot be written is no reason to stop.
    let _ = if stderr.is_terminal() {
        write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{line}")
    };
}

/// Ends the progress line.
pub fn progress_ends() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::new_with_bounds(1, 10_000_000, 3).expect("bounds");
        for us in 1..=1_000 {
            histogram.record(us * 1_000).expect("within the bounds");
        }
        let latency = Latency::of(&histogram);
        assert!((latency.p50_ms - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99_ms - 990.0).abs() < 1.0, "{latency:?}");
        assert_eq!(latency.count, 1_000);
    }
}
