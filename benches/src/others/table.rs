//! The table of a run: medians of each server under each load, and how Parlance compares. It reads the
//! reports that benches/others.sh kept as `SERVER.LOAD.ROUND.json`, and `SERVER.LOAD.ROUND.failed` where a
//! run gave none. It measures nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::across::median;
use crate::limits::DELIVERED_SHARE_MIN;

/// The server that the others are compared with.
const PARLANCE: &str = "parlance";
/// What is told of a reason that a program gave; the rest is in the folder.
const REASON_CHARS_MAX: usize = 120;
/// The order of servers in each table; others follow.
const SERVERS: [&str; 10] = [
    "floor",
    "nats",
    "jetstream",
    "jetstream-consumers",
    "ejabberd",
    "ejabberd-archive",
    "socketio-redis",
    "socketio-postgres",
    PARLANCE,
    "parlance-tls",
];

/// What is read of a report.
#[derive(Debug, Clone, Deserialize)]
struct Run {
    rooms: usize,
    sockets: usize,
    rate: f64,
    seconds: f64,
    deliveries: u64,
    delivery: Delivery,
    servers: Vec<Process>,
    generator_cpu_seconds: f64,
    counts: Counts,
    facts: Vec<Fact>,
    scenario: String,
    check: Option<Check>,
}

#[derive(Debug, Clone, Deserialize)]
struct Delivery {
    p50_ms: f64,
    p99_ms: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Process {
    cpu_us_per_delivery: Option<f64>,
}

#[derive(Debug, Clone, Deserialize)]
struct Counts {
    refused_for_good: u64,
    lost_sockets: u64,
    first_loss: Option<String>,
    settled: bool,
}

#[derive(Debug, Clone, Deserialize)]
struct Fact {
    name: String,
    value: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Check {
    violations: Vec<String>,
}

impl Run {
    /// Why this run gives no figure.
    fn fault(&self) -> Option<String> {
        let violations = self.check.as_ref().map_or(0, |check| check.violations.len());
        if violations > 0 {
            return Some(format!("{violations} promises broken"));
        }
        let counts = &self.counts;
        if counts.lost_sockets > 0 {
            let why = counts.first_loss.as_deref().unwrap_or("no reason");
            let why = shortened(why);
            return Some(format!("lost {} connections ({why})", counts.lost_sockets));
        }
        if counts.refused_for_good > 0 {
            return Some(format!("refused {} messages", counts.refused_for_good));
        }
        if self.is_idle() {
            return None;
        }
        let (due, took) = (self.deliveries_due(), self.deliveries as f64);
        let a_second = |count: f64| thousands(count / self.seconds);
        if took < due * DELIVERED_SHARE_MIN {
            let (took, due, us) = (a_second(took), a_second(due), self.own_us());
            return Some(format!("falls behind: {took} of {due} a second, at {us:.1} µs"));
        }
        (!counts.settled).then(|| "messages are missing at the end".to_owned())
    }

    fn is_idle(&self) -> bool {
        self.scenario == "idle"
    }

    fn fact(&self, name: &str) -> f64 {
        self.facts.iter().find(|fact| fact.name == name).map_or(f64::NAN, |fact| fact.value)
    }

    fn deliveries_due(&self) -> f64 {
        self.rate * self.seconds * (self.sockets / self.rooms.max(1)) as f64
    }

    /// Processor time for a delivery of the server alone.
    fn own_us(&self) -> f64 {
        self.servers.first().and_then(|first| first.cpu_us_per_delivery).unwrap_or(f64::NAN)
    }

    /// With the database or the like that it uses.
    fn all_us(&self) -> f64 {
        self.servers.iter().filter_map(|server| server.cpu_us_per_delivery).sum()
    }
}

/// What each server did under one load: the runs that count, and why others do not.
#[derive(Debug, Default)]
struct Outcome {
    good: Vec<Run>,
    faults: Vec<String>,
}

impl Outcome {
    fn median(&self, of: impl Fn(&Run) -> f64) -> Option<f64> {
        // With half of the runs gone, a median of the rest says nothing.
        (self.good.len() > self.faults.len()).then(|| median(self.good.iter().map(of).collect()))
    }

    /// What stands in the place of figures, or beside them.
    fn remark(&self) -> String {
        match (self.faults.first(), self.faults.len() + self.good.len()) {
            (None, _) => String::new(),
            (Some(fault), all) if all == self.faults.len() => fault.clone(),
            (Some(fault), all) => format!("{} of {all} runs: {fault}", self.faults.len()),
        }
    }
}

type Loads = BTreeMap<String, BTreeMap<String, Outcome>>;

/// Reads a folder and puts it into tables: what is in `about.md` first, then each load.
///
/// # Errors
/// When the folder cannot be read, or holds a file that is no report.
pub fn of(folder: &Path) -> anyhow::Result<String> {
    let mut loads = Loads::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let [server, load, _round, kind] = name.split('.').collect::<Vec<_>>()[..] else {
            continue;
        };
        if !["json", "failed"].contains(&kind) {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {name}"))?;
        let outcomes = loads.entry(load.to_owned()).or_default();
        let outcome = outcomes.entry(server.to_owned()).or_default();
        if kind == "failed" {
            outcome.faults.push(shortened(text.lines().next_back().unwrap_or("no report")));
            continue;
        }
        let run: Run =
            serde_json::from_str(&text).with_context(|| format!("{name} is no report"))?;
        match run.fault() {
            Some(fault) => outcome.faults.push(fault),
            None => outcome.good.push(run),
        }
    }
    ensure!(!loads.is_empty(), "there are no reports in {}", folder.display());
    let about = std::fs::read_to_string(folder.join("about.md")).unwrap_or_default();
    Ok(about + &tables(&loads))
}

fn tables(loads: &Loads) -> String {
    let mut text = String::new();
    for (load, outcomes) in loads {
        let parlance = outcomes.get(PARLANCE);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}\n", title(load, outcomes));
        let is_idle = outcomes.values().any(|outcome| outcome.good.iter().any(Run::is_idle));
        let columns = if is_idle { IDLE.as_slice() } else { LOADED.as_slice() };
        let heads: Vec<_> = columns.iter().map(|column| column.head).collect();
        let compared: Vec<_> = columns.iter().filter_map(|column| column.ratio).collect();
        let all: Vec<_> = heads.iter().chain(&compared).copied().collect();
        let _ = writeln!(text, "| server | {} |", all.join(" | "));
        let _ = writeln!(text, "| --- |{}", " ---: |".repeat(all.len()));
        for server in order(outcomes) {
            let outcome = &outcomes[server];
            let mut cells: Vec<String> = columns
                .iter()
                .map(|column| cell(outcome.median(column.of), column.digits))
                .collect();
            for column in columns.iter().filter(|column| column.ratio.is_some()) {
                let ratio = (server != PARLANCE)
                    .then(|| Some(parlance?.median(column.of)? / outcome.median(column.of)?))
                    .flatten();
                cells.push(cell(ratio, 2));
            }
            let remark = outcome.remark();
            if outcome.median(|_| 0.0).is_none() {
                cells = vec![String::new(); cells.len()];
                cells[0].clone_from(&remark);
            } else if !remark.is_empty() {
                let _ = write!(cells[0], " ({remark})");
            }
            let _ = writeln!(text, "| {server} | {} |", cells.join(" | "));
        }
    }
    text
}

struct Column {
    head: &'static str,
    /// The head of the column with Parlance's value divided by this one.
    ratio: Option<&'static str>,
    digits: usize,
    of: fn(&Run) -> f64,
}

const LOADED: [Column; 5] = [
    Column {
        head: "µs a delivery", ratio: Some("Parlance / it, µs"), digits: 1, of: Run::own_us
    },
    Column {
        head: "with what it uses",
        ratio: Some("the same with all"),
        digits: 1,
        of: Run::all_us,
    },
    Column { head: "p50 ms", ratio: None, digits: 1, of: |run| run.delivery.p50_ms },
    Column { head: "p99 ms", ratio: Some("p99"), digits: 1, of: |run| run.delivery.p99_ms },
    Column {
        head: "generator, % of a core",
        ratio: None,
        digits: 0,
        of: |run| 100.0 * run.generator_cpu_seconds / run.seconds,
    },
];

const IDLE: [Column; 2] = [
    Column {
        head: "KiB a connection",
        ratio: Some("Parlance / it, KiB"),
        digits: 1,
        of: |run| run.fact("memory of a session"),
    },
    Column {
        head: "ms of CPU to connect and join",
        ratio: Some("the same, ms"),
        digits: 2,
        of: |run| run.fact("CPU to connect and join"),
    },
];

/// The load in words, from any run of it.
fn title(load: &str, outcomes: &BTreeMap<String, Outcome>) -> String {
    let Some(run) = outcomes.values().flat_map(|outcome| &outcome.good).next() else {
        return format!("**{load}**");
    };
    let runs = outcomes.values().map(|outcome| outcome.good.len() + outcome.faults.len());
    let runs = runs.max().unwrap_or_default();
    let (rooms, members) = (run.rooms, run.sockets / run.rooms.max(1));
    if run.is_idle() {
        return format!("**{load}**: {rooms} rooms × {members}, medians of {runs}");
    }
    let (rate, all) = (run.rate / rooms as f64, thousands(run.deliveries_due() / run.seconds));
    format!(
        "**{load}**: {rooms} rooms × {members}, {rate:.0} messages a second in each, {all} deliveries \
         a second, medians of {runs}"
    )
}

fn order(outcomes: &BTreeMap<String, Outcome>) -> Vec<&str> {
    let known = SERVERS.into_iter().filter(|server| outcomes.contains_key(*server));
    let others = outcomes.keys().map(String::as_str).filter(|server| !SERVERS.contains(server));
    known.chain(others).collect()
}

fn cell(value: Option<f64>, digits: usize) -> String {
    value
        .filter(|value| value.is_finite())
        .map_or_else(|| "–".into(), |value| format!("{value:.digits$}"))
}

/// What a program said, so that it fits into a cell.
fn shortened(said: &str) -> String {
    let cut: String = said.chars().take(REASON_CHARS_MAX).collect();
    let more = if cut.len() < said.len() { "…" } else { "" };
    format!("`{}{more}`", cut.replace(['|', '`'], " "))
}

/// A count with a comma between thousands.
fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(us: f64, deliveries: u64) -> Run {
        Run {
            rooms: 100,
            sockets: 1_000,
            rate: 1_000.0,
            seconds: 10.0,
            deliveries,
            delivery: Delivery { p50_ms: 1.0, p99_ms: us },
            servers: vec![
                Process { cpu_us_per_delivery: Some(us) },
                Process { cpu_us_per_delivery: Some(2.0) },
            ],
            generator_cpu_seconds: 5.0,
            counts: Counts {
                refused_for_good: 0,
                lost_sockets: 0,
                first_loss: None,
                settled: true,
            },
            facts: Vec::new(),
            scenario: "fanout".into(),
            check: None,
        }
    }

    fn outcome(runs: Vec<Run>) -> Outcome {
        let (bad, good): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.fault().is_some());
        Outcome { good, faults: bad.iter().filter_map(Run::fault).collect() }
    }

    #[test]
    fn a_server_that_is_behind_has_words_in_the_place_of_figures() {
        let loads = [(
            "rooms-10".to_owned(),
            [
                ("nats".to_owned(), outcome(vec![run(20.0, 100_000), run(10.0, 99_000)])),
                ("slow".to_owned(), outcome(vec![run(20.0, 45_000), run(20.0, 45_000)])),
                (PARLANCE.to_owned(), outcome(vec![run(6.0, 100_000)])),
            ]
            .into(),
        )];
        let text = tables(&loads.into());
        let row = |name: &str| {
            let start = format!("| {name} |");
            text.lines().find(|line| line.starts_with(&start)).expect("a row").to_owned()
        };
        assert_eq!(row("nats"), "| nats | 15.0 | 17.0 | 1.0 | 15.0 | 50 | 0.40 | 0.47 | 0.40 |");
        assert!(
            row("slow")
                .starts_with("| slow | falls behind: 4,500 of 10,000 a second, at 20.0 µs |  |")
        );
        assert!(row(PARLANCE).ends_with("| – | – | – |"), "{}", row(PARLANCE));
        let columns = |line: &str| line.matches('|').count();
        assert!(text.lines().filter(|line| columns(line) > 0).all(|line| columns(line) == 10));
        assert!(text.contains("10,000 deliveries"), "{text}");
    }

    #[test]
    fn lost_connections_refusals_and_broken_promises_are_faults() {
        let mut lost = run(1.0, 100_000);
        lost.counts.lost_sockets = 3;
        lost.counts.first_loss = Some("reset".into());
        assert_eq!(lost.fault().as_deref(), Some("lost 3 connections (`reset`)"));
        let mut refused = run(1.0, 100_000);
        refused.counts.refused_for_good = 1;
        assert!(refused.fault().is_some());
        let mut broken = run(1.0, 100_000);
        broken.check = Some(Check { violations: vec!["order".into()] });
        assert!(broken.fault().is_some());
        let half = outcome(vec![run(1.0, 100_000), lost]);
        assert_eq!(half.median(Run::own_us), None);
        assert!(half.remark().starts_with("1 of 2 runs: lost 3"), "{}", half.remark());
    }
}
