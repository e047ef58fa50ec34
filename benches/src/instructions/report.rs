//! Counts beside their baseline: what got worse, and by how much.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use super::{Baseline, Cost, Origin};

/// A part may need this many percent more instructions than its baseline. Runs of the same
/// program differ by less than a tenth of that.
pub const INSTRUCTIONS_MORE_PERCENT: f64 = 5.0;
/// And this many instructions more in any case: a small part is no worse for one branch.
const INSTRUCTIONS_MORE: f64 = 10.0;
/// A part may allocate this much more often. One more allocation in four operations is no chance.
pub const ALLOCATIONS_MORE: f64 = 0.25;

/// How a part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Over a threshold.
    Worse,
    /// Within the thresholds.
    Same,
    /// As far below as would be worse above: renew the baseline, so that it stays so.
    Better,
    /// The baseline does not know it.
    New,
    /// Only the baseline knows it.
    Gone,
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    part: String,
    before: Option<Cost>,
    now: Option<Cost>,
    verdict: Verdict,
}

/// All parts, worst first.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Compares counts with a baseline.
    #[must_use]
    pub fn compare(baseline: &Baseline, here: &Origin, now: &BTreeMap<String, Cost>) -> Self {
        let mut rows: Vec<Row> = now
            .iter()
            .map(|(part, now)| Row::new(part, baseline.parts.get(part).copied(), Some(*now)))
            .collect();
        let gone = baseline.parts.iter().filter(|(part, _)| !now.contains_key(*part));
        rows.extend(gone.map(|(part, before)| Row::new(part, Some(*before), None)));
        rows.sort_by(|a, b| b.percent().partial_cmp(&a.percent()).unwrap_or(Ordering::Equal));
        let mut report = Self { rows, notes: Vec::new() };
        report.notes.push(format!("against the baseline of {}", baseline.origin.date));
        for difference in here.differences(&baseline.origin) {
            report.notes.push(format!("{difference}: counts may differ for that alone"));
        }
        for row in report.rows.iter().filter(|row| row.verdict == Verdict::Worse) {
            report.notes.push(format!("{} got worse: {}", row.part, row.change()));
        }
        let renew = "make bench-check BASELINE=write makes these counts the baseline";
        if report.rows.iter().any(|row| row.verdict != Verdict::Same) {
            report.notes.push(renew.to_owned());
        } else {
            report.notes.push("nothing got worse".to_owned());
        }
        report
    }

    /// A baseline that was just written.
    #[must_use]
    pub fn written(baseline: &Baseline) -> Self {
        let rows = baseline.parts.iter().map(|(part, now)| Row::new(part, Some(*now), Some(*now)));
        Self { rows: rows.collect(), notes: vec!["this is the baseline from now on".to_owned()] }
    }

    /// Whether any part got worse.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        self.rows.iter().any(|row| row.verdict == Verdict::Worse)
    }
}

impl Row {
    fn new(part: &str, before: Option<Cost>, now: Option<Cost>) -> Self {
        let verdict = match (before, now) {
            (Some(before), Some(now)) if is_over(now, before) => Verdict::Worse,
            (Some(before), Some(now)) if is_over(before, now) => Verdict::Better,
            (None, _) => Verdict::New,
            (_, None) => Verdict::Gone,
            _ => Verdict::Same,
        };
        Self { part: part.to_owned(), before, now, verdict }
    }

    /// By how much the instructions grew; what cannot be compared comes last.
    fn percent(&self) -> f64 {
        match (self.before, self.now) {
            (Some(before), Some(now)) => {
                (now.instructions - before.instructions) / before.instructions.max(1.0) * 100.0
            }
            _ => f64::NEG_INFINITY,
        }
    }

    fn change(&self) -> String {
        let (Some(before), Some(now)) = (self.before, self.now) else {
            return String::new();
        };
        format!(
            "{:+.1} % instructions ({:.0} to {:.0}), {:+.2} allocations",
            self.percent(),
            before.instructions,
            now.instructions,
            now.allocations - before.allocations
        )
    }
}

/// Whether `this` is over `that` by more than is allowed.
fn is_over(this: Cost, that: Cost) -> bool {
    let allowed = (that.instructions * INSTRUCTIONS_MORE_PERCENT / 100.0).max(INSTRUCTIONS_MORE);
    this.instructions > that.instructions + allowed
        || this.allocations > that.allocations + ALLOCATIONS_MORE
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Worse => "WORSE",
            Self::Same => "",
            Self::Better => "better",
            Self::New => "new",
            Self::Gone => "gone",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads =
            ["of one operation", "instructions", "before", "change", "allocations", "before"];
        let [part, now, before, change, allocations, earlier] = heads;
        writeln!(f, "{part:<24}{now:>13}{before:>11}{change:>9}{allocations:>13}{earlier:>9}")?;
        for row in &self.rows {
            let whole = |cost: Option<Cost>| cost.map(|cost| format!("{:.0}", cost.instructions));
            let fine = |cost: Option<Cost>| cost.map(|cost| format!("{:.2}", cost.allocations));
            let percent = row.percent();
            let change =
                if percent.is_finite() { format!("{percent:+.1} %") } else { String::new() };
            writeln!(
                f,
                "{:<24}{:>13}{:>11}{change:>9}{:>13}{:>9}  {}",
                row.part,
                whole(row.now).unwrap_or_default(),
                whole(row.before).unwrap_or_default(),
                fine(row.now).unwrap_or_default(),
                fine(row.before).unwrap_or_default(),
                row.verdict,
            )?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn cost(instructions: f64, allocations: f64) -> Cost {
        Cost { instructions, allocations }
    }

    fn origin(rustc: &str) -> Origin {
        let (date, valgrind, processor) = ("2026-01-01".into(), "v".into(), "p".into());
        Origin { date, rustc: rustc.to_owned(), valgrind, processor }
    }

    fn compared(before: &[(&str, Cost)], now: &[(&str, Cost)]) -> Report {
        let parts = |list: &[(&str, Cost)]| {
            list.iter().map(|(part, cost)| ((*part).to_owned(), *cost)).collect::<BTreeMap<_, _>>()
        };
        let baseline = Baseline { origin: origin("1"), parts: parts(before) };
        Report::compare(&baseline, &origin("1"), &parts(now))
    }

    fn verdict(before: Cost, now: Cost) -> Verdict {
        compared(&[("a", before)], &[("a", now)]).rows[0].verdict
    }

    #[test]
    fn a_part_is_worse_over_a_threshold_only() {
        assert_eq!(verdict(cost(1000.0, 2.0), cost(1049.0, 2.2)), Verdict::Same);
        assert_eq!(verdict(cost(1000.0, 2.0), cost(1051.0, 2.0)), Verdict::Worse);
        assert_eq!(verdict(cost(1000.0, 2.0), cost(900.0, 3.0)), Verdict::Worse);
        assert_eq!(verdict(cost(1000.0, 2.0), cost(900.0, 2.0)), Verdict::Better);
        assert_eq!(verdict(cost(50.0, 0.0), cost(59.0, 0.0)), Verdict::Same);
        assert_eq!(verdict(cost(50.0, 0.0), cost(61.0, 0.0)), Verdict::Worse);
    }

    #[test]
    fn the_worst_comes_first_and_is_named() {
        let before = [("a", cost(100.0, 0.0)), ("b", cost(100.0, 0.0)), ("gone", cost(100.0, 0.0))];
        let now = [("a", cost(101.0, 0.0)), ("b", cost(130.0, 1.0)), ("new", cost(100.0, 0.0))];
        let report = compared(&before, &now);
        assert!(report.is_worse());
        assert_eq!(report.rows[0].part, "b");
        let text = report.to_string();
        let named = "b got worse: +30.0 % instructions (100 to 130), +1.00 allocations";
        assert!(text.contains(named), "{text}");
        assert!(text.contains("BASELINE=write"), "{text}");
        assert_eq!(report.rows.len(), 4);
    }

    #[test]
    fn new_and_gone_parts_fail_nothing() {
        let report = compared(&[("a", cost(1.0, 0.0))], &[("b", cost(1.0, 0.0))]);
        assert!(!report.is_worse());
    }

    #[test]
    fn another_compiler_is_said() {
        let baseline = Baseline { origin: origin("1"), parts: BTreeMap::new() };
        let report = Report::compare(&baseline, &origin("2"), &BTreeMap::new());
        assert!(report.to_string().contains("2 instead of 1"));
    }
}
