//! Attacks beside each other: reads the reports of runs (`--json`), and shows what those who send beside
//! each attack noticed of it. It measures nothing itself.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use super::Told;

/// What is shown of a report.
#[derive(Debug, Deserialize)]
struct Run {
    facts: Vec<Figure>,
    attack: Told,
    counts: Counts,
}

#[derive(Debug, Deserialize)]
struct Figure {
    name: String,
    value: f64,
}

#[derive(Debug, Deserialize)]
struct Counts {
    acked: u64,
    refused_for_good: u64,
    lost_sockets: u64,
    settled: bool,
}

impl Run {
    fn read(file: &Path) -> anyhow::Result<Self> {
        let json = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        serde_json::from_slice(&json)
            .with_context(|| format!("{} is no report of an attack", file.display()))
    }

    /// The figure whose name begins so.
    fn figure(&self, name: &str) -> Option<f64> {
        self.facts.iter().find(|fact| fact.name.starts_with(name)).map(|fact| fact.value)
    }

    fn row(&self) -> String {
        let ms = |when: &str| self.figure(&format!("the others' ack p99 {when}"));
        let text = |figure: Option<f64>, digits: usize| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
        };
        let ratio = ms("during").zip(ms("before")).map(|(during, before)| during / before);
        let Told { kind, opened, not_opened, ended, written, answers } = &self.attack;
        let mut row = format!("{kind:<14}");
        for (figure, digits, width) in [
            (ms("before"), 1, 8),
            (ms("during"), 1, 8),
            (ms("after"), 1, 8),
            (ratio, 2, 7),
            (self.figure("CPU before"), 1, 8),
            (self.figure("CPU during"), 1, 8),
        ] {
            let text = text(figure, digits);
            let _ = write!(row, " {text:>width$}");
        }
        let answers: Vec<String> =
            answers.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let all_acked = self.counts.settled
            && self.counts.lost_sockets == 0
            && self.counts.refused_for_good == 0;
        let acked = if all_acked { format!("all {}", self.counts.acked) } else { "NOT ALL".into() };
        let _ = write!(row, " {acked:>9}  {opened} opened, {ended} ended, {written} written");
        if *not_opened > 0 {
            let _ = write!(row, ", {not_opened} not opened");
        }
        if !answers.is_empty() {
            let _ = write!(row, "; {}", answers.join(", "));
        }
        row
    }
}

/// A row for each report.
///
/// # Errors
/// When a file is no report of an attack.
pub fn table(files: &[PathBuf]) -> anyhow::Result<String> {
    let mut table = format!(
        "{:<14} {:>8} {:>8} {:>8} {:>7} {:>8} {:>8} {:>9}  {}\n{:<14} {:>26} {:>7} {:>17} {:>9}\n",
        "attack",
        "before",
        "during",
        "after",
        "ratio",
        "before",
        "during",
        "acked",
        "the attacker",
        "",
        "others' ack p99, ms",
        "",
        "node, % of a core",
        "",
    );
    for file in files {
        table.push_str(Run::read(file)?.row().trim_end());
        table.push('\n');
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Fact, Report};

    #[test]
    fn a_report_becomes_a_row() {
        let told = Told { kind: "pings".into(), opened: 16, ..Told::default() };
        let mut report = Report { attack: Some(told), ..Report::default() };
        report.counts.settled = true;
        report.counts.acked = 1_234;
        for (name, value) in [("before", 4.0), ("during", 6.0), ("after", 5.0)] {
            report.facts.push(Fact::new(&format!("the others' ack p99 {name}"), value, "ms"));
        }
        report.facts.push(Fact::new("CPU during, parlance", 33.3, "% of a core"));
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pings.json");
        std::fs::write(&file, serde_json::to_vec(&report).expect("JSON")).expect("written");
        let table = table(&[file]).expect("a table");
        let row = table.lines().nth(2).expect("a row");
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(&words[..9], ["pings", "4.0", "6.0", "5.0", "1.50", "-", "33.3", "all", "1234"]);
        assert!(super::table(&[PathBuf::from("/no/such/file")]).is_err());
    }
}
