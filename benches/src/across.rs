//! What a message across nodes costs beside a local one: reads the reports of runs of one load on one
//! node and on several, and compares their medians. It measures nothing itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

/// What is compared of a report.
#[derive(Debug, Deserialize)]
struct Run {
    nodes: usize,
    servers: Vec<Process>,
    delivery: Delivery,
    counted: std::collections::BTreeMap<String, f64>,
    rate: f64,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Process {
    name: String,
    cpu_us_per_delivery: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Delivery {
    p50_ms: f64,
    p99_ms: f64,
}

impl Run {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let json = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&json).with_context(|| format!("{} is no report", file.display()))
    }

    /// Processor time for a delivery: of all nodes together, or of everything else that was measured.
    fn cost_us(&self, of_nodes: bool) -> f64 {
        let of = self.servers.iter().filter(|server| (server.name == "parlance") == of_nodes);
        of.filter_map(|server| server.cpu_us_per_delivery).sum()
    }

    /// How often something was counted, for each message.
    fn counted(&self, name: &str) -> f64 {
        let count = self.counted.get(name).copied().unwrap_or_default();
        count / (self.rate * self.seconds).max(1.0)
    }
}

/// The medians of both and their ratio, as a table.
///
/// # Errors
/// When a file is no report, or of the wrong number of nodes.
pub fn compare(one: &[PathBuf], several: &[PathBuf]) -> anyhow::Result<String> {
    let read = |files: &[PathBuf]| files.iter().map(|file| Run::read(file)).collect();
    let (one, several): (anyhow::Result<Vec<Run>>, anyhow::Result<Vec<Run>>) =
        (read(one), read(several));
    let (one, several) = (one?, several?);
    anyhow::ensure!(one.iter().all(|run| run.nodes == 1), "a run on one node had several");
    anyhow::ensure!(several.iter().all(|run| run.nodes > 1), "a run on several nodes had one");
    Ok(table(&one, &several))
}

fn table(one: &[Run], several: &[Run]) -> String {
    let mut table = String::new();
    let mut row = |name: &str, of: &dyn Fn(&Run) -> f64| {
        let medians = [one, several].map(|runs| median(runs.iter().map(of).collect()));
        let all = |runs: &[Run]| {
            runs.iter().map(|run| format!("{:.2}", of(run))).collect::<Vec<_>>().join(" ")
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{name:<30} {:>8.2} {:>8.2} {:>7.2}   ({} | {})",
            medians[0],
            medians[1],
            medians[1] / medians[0],
            all(one),
            all(several),
        );
    };
    row("nodes, µs a delivery", &|run| run.cost_us(true));
    row("all else, µs a delivery", &|run| run.cost_us(false));
    row("delivery p50 ms", &|run| run.delivery.p50_ms);
    row("delivery p99 ms", &|run| run.delivery.p99_ms);
    for name in crate::limits::COUNTERS {
        row(name.trim_start_matches("parlance_"), &|run| run.counted(name));
    }
    format!(
        "{:<30} {:>8} {:>8} {:>7}   (each run)\n{table}counters are for each message\n",
        "medians", "one", "several", "ratio"
    )
}

/// The middle one; of an even number the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(nodes: usize, costs: &[f64]) -> Run {
        let process = |name: &str, us| Process { name: name.into(), cpu_us_per_delivery: Some(us) };
        let mut servers: Vec<_> = costs.iter().map(|us| process("parlance", *us)).collect();
        servers.push(process("postgres", 50.0));
        Run {
            nodes,
            servers,
            delivery: Delivery { p50_ms: 1.0, p99_ms: 2.0 },
            counted: [("parlance_envelopes_total".to_owned(), 40.0)].into(),
            rate: 2.0,
            seconds: 10.0,
        }
    }

    #[test]
    fn the_cost_of_several_nodes_is_their_sum_and_the_database_is_apart() {
        let several = run(3, &[4.0, 5.0, 6.0]);
        assert!((several.cost_us(true) - 15.0).abs() < 1e-9, "{several:?}");
        assert!((several.cost_us(false) - 50.0).abs() < 1e-9, "{several:?}");
        assert!((several.counted("parlance_envelopes_total") - 2.0).abs() < 1e-9, "{several:?}");
        let table = table(&[run(1, &[10.0]), run(1, &[90.0]), run(1, &[12.0])], &[several]);
        let first = table.lines().nth(1).expect("a row");
        assert!(first.contains("12.00") && first.contains("15.00") && first.contains("1.25"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
