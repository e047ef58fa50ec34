//! What a run says: a table for people, JSON for machines, a line while it goes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::checker::Looked;

/// A run.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Which load it was.
    pub scenario: String,
    /// Nodes that the sockets were spread over.
    pub nodes: usize,
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
    /// Messages received in the measured time, by all sockets.
    pub deliveries: u64,
    /// From the instant a message was due to its receipt.
    pub delivery: Latency,
    /// From the instant a message was due to its ack.
    pub ack: Latency,
    /// What the server's processes used in the measured time.
    pub servers: Vec<ServerUse>,
    /// What the generator used in the measured time.
    pub generator_cpu_seconds: f64,
    /// What else happened.
    pub counts: Counts,
    /// What the nodes counted in the measured time, all of them together.
    pub counted: BTreeMap<String, f64>,
    /// What idle sessions cost.
    pub idle: Option<IdleReport>,
    /// What the checker found.
    pub check: Option<Check>,
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
#[derive(Debug, Serialize)]
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

/// What idle sessions cost the first of the measured processes.
#[derive(Debug, Serialize)]
pub struct IdleReport {
    /// Growth of resident memory, for each session.
    pub bytes_per_session: f64,
    /// Processor time to connect and join, for each session.
    pub connect_cpu_ms_per_session: f64,
    /// How long opening all of them took.
    pub connect_seconds: f64,
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

impl Report {
    /// Whether the run counts: everything settled, nothing was lost, no promise was broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let kept = self.check.as_ref().is_none_or(|check| check.violations.is_empty());
        kept && self.counts.settled
            && self.counts.lost_sockets == 0
            && self.counts.refused_for_good == 0
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        let mut row = |name: &str, value: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(table, "{name:<34} {value}");
        };
        row("scenario", self.scenario.clone());
        row(
            "nodes, rooms, sockets, accounts",
            format!("{}, {}, {}, {}", self.nodes, self.rooms, self.sockets, self.accounts),
        );
        if let Some(idle) = &self.idle {
            row("memory of a session", format!("{:.1} KiB", idle.bytes_per_session / 1024.0));
            let cpu = format!("{:.3} ms", idle.connect_cpu_ms_per_session);
            row("CPU to connect and join", cpu);
            row("time to connect all", format!("{:.1} s", idle.connect_seconds));
        } else {
            row("messages/s asked for", format!("{:.0} of {} bytes", self.rate, self.body_bytes));
            let rate = self.deliveries as f64 / self.seconds;
            row("deliveries", format!("{} in {:.0} s, {rate:.0}/s", self.deliveries, self.seconds));
            row("delivery p50/p90/p99/p99.9/max ms", latency(&self.delivery));
            row("ack p50/p90/p99/p99.9/max ms", latency(&self.ack));
        }
        for server in &self.servers {
            let per = server
                .cpu_us_per_delivery
                .map_or_else(String::new, |us| format!(", {us:.2} µs a delivery"));
            row(
                &format!("{} ({}, {} processes)", server.name, server.pid, server.processes),
                format!(
                    "{:.2} s CPU{per}, {:.1} MiB resident",
                    server.cpu_seconds,
                    server.rss_bytes as f64 / (1024.0 * 1024.0)
                ),
            );
        }
        let messages = self.rate * self.seconds;
        for (name, count) in &self.counted {
            let name = name.trim_start_matches("parlance_");
            row(name, format!("{count:.0}, {:.2} for each message", count / messages.max(1.0)));
        }
        row("generator", format!("{:.2} s CPU", self.generator_cpu_seconds));
        let counts = &self.counts;
        row(
            "acked, repeated, refused",
            format!("{}, {}, {}", counts.acked, counts.refused_for_now, counts.refused_for_good),
        );
        row("gaps, lost sockets", format!("{}, {}", counts.gaps, counts.lost_sockets));
        if counts.slow_parses > 0 {
            row("frames of an unusual layout", counts.slow_parses.to_string());
        }
        if let Some(why) = &counts.first_loss {
            row("first lost socket", why.clone());
        }
        if !counts.settled {
            row("NOT SETTLED", "acks or deliveries are missing".into());
        }
        match &self.check {
            None => row("promises", "not checked".into()),
            Some(check) if check.violations.is_empty() => row(
                "promises",
                format!(
                    "kept ({} acked, {} received, {} logged)",
                    check.looked.acked, check.looked.received, check.looked.logged
                ),
            ),
            Some(check) => {
                row("PROMISES BROKEN", check.violations.len().to_string());
                for violation in check.violations.iter().take(10) {
                    row("", violation.clone());
                }
            }
        }
        table
    }
}

fn latency(latency: &Latency) -> String {
    format!(
        "{:.1} / {:.1} / {:.1} / {:.1} / {:.1}",
        latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms
    )
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
