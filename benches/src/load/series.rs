//! The run second by second, put together from what the processes say, and histograms merged from
//! theirs.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use uuid::Uuid;

use super::crew::{Counts, News, Tick};
use super::plan::Plan;
use super::tally::{Sparse, Step, histogram};
use crate::limits;
use crate::report::{Latency, Point, Second, StepReport, StepSecond, progress};
use crate::sampler::Sample;

/// What the processes said up to now.
pub(super) struct Board {
    scenario: String,
    parts: usize,
    seconds: BTreeMap<i64, Row>,
    /// The last counts of each process.
    last: Vec<Counts>,
    /// Processes in which nothing is without an answer.
    pub(super) quiet: usize,
    pub(super) heads: Vec<(Uuid, u64)>,
    /// Processes whose measured time is over.
    over: usize,
    duration: f64,
    ends_sooner: bool,
}

/// One second of all processes.
#[derive(Debug, Default)]
struct Row {
    parts: usize,
    counts: Counts,
    recent: BTreeMap<Step, BTreeMap<u64, u64>>,
}

impl Board {
    pub(super) fn new(plan: &Plan, parts: usize) -> Self {
        Self {
            scenario: plan.load.name().to_owned(),
            parts,
            seconds: BTreeMap::new(),
            last: vec![Counts::default(); parts],
            quiet: 0,
            heads: Vec::new(),
            over: 0,
            duration: plan.duration.as_secs_f64(),
            ends_sooner: matches!(plan.load, super::plan::Load::CatchUp(_)),
        }
    }

    /// The measured time is over for all of them.
    pub(super) fn is_over(&self) -> bool {
        self.over == self.parts || self.quiet == self.parts
    }

    pub(super) fn hear(&mut self, (part, news): (usize, News)) -> anyhow::Result<()> {
        match news {
            News::Tick(tick) => self.tick(part, tick),
            News::Quiet(heads) => {
                self.quiet += 1;
                self.heads.extend(heads);
            }
            News::Ready | News::Done(_) | News::Failed(_) => {
                anyhow::bail!("process {part} spoke out of turn")
            }
        }
        Ok(())
    }

    fn tick(&mut self, part: usize, tick: Tick) {
        self.last[part] = tick.counts;
        if tick.second as f64 >= self.duration && !self.ends_sooner {
            self.over += 1;
        }
        let row = self.seconds.entry(tick.second).or_default();
        row.parts += 1;
        row.counts.add(&tick.counts);
        for (step, values) in tick.recent {
            let into = row.recent.entry(step).or_default();
            for (value, count) in values {
                *into.entry(value).or_default() += count;
            }
        }
        if row.parts == self.parts {
            self.say(tick.second);
        }
    }

    fn say(&self, second: i64) {
        let (Some(row), before) = (self.seconds.get(&second), self.seconds.get(&(second - 1)))
        else {
            return;
        };
        let grown = |of: fn(&Counts) -> u64| {
            of(&row.counts).saturating_sub(before.map_or(0, |before| of(&before.counts)))
        };
        let mut line = format!(
            "{}: {} s: {} deliveries/s, {} acks/s",
            self.scenario,
            second,
            grown(|counts| counts.delivered),
            grown(|counts| counts.acked)
        );
        if row.counts.done > 0 {
            line += &format!(", {} done", row.counts.done);
        }
        if let Some((step, values)) = row.recent.iter().max_by_key(|(_, values)| values.len()) {
            line += &format!(", {} p99 {:.1} ms", step.name(), quantile(values, 0.99));
        }
        progress(&line);
    }

    /// The seconds, with what the server used in each.
    pub(super) fn series(&self, samples: &[Sample]) -> Vec<Second> {
        let mut before: Option<&Row> = None;
        let mut series = Vec::new();
        for (second, row) in &self.seconds {
            let grown = |of: fn(&Counts) -> u64| {
                of(&row.counts).saturating_sub(before.map_or(0, |before| of(&before.counts)))
            };
            let used = samples.iter().find(|sample| sample.second == *second);
            if before.is_some() {
                series.push(Second {
                    second: *second,
                    deliveries: grown(|counts| counts.delivered),
                    acked: grown(|counts| counts.acked),
                    done: grown(|counts| counts.done),
                    refused_for_now: grown(|counts| counts.refused_for_now),
                    steps: row.recent.iter().filter_map(step_second).collect(),
                    cpu_percent: used.map(|used| used.cpu_percent.clone()).unwrap_or_default(),
                    rss_bytes: used.map(|used| used.rss_bytes.clone()).unwrap_or_default(),
                    generator_cpu_percent: used.map_or(0.0, |used| used.own_percent),
                });
            }
            before = Some(row);
        }
        series
    }
}

fn step_second((step, values): (&Step, &BTreeMap<u64, u64>)) -> Option<StepSecond> {
    let count: u64 = values.values().sum();
    (count > 0).then(|| StepSecond {
        step: *step,
        count,
        p50_ms: quantile(values, 0.5),
        p99_ms: quantile(values, 0.99),
        max_ms: values.keys().next_back().map_or(0.0, |us| *us as f64 / 1e3),
    })
}

/// A quantile of counted microseconds, in milliseconds.
fn quantile(values: &BTreeMap<u64, u64>, quantile: f64) -> f64 {
    let count: u64 = values.values().sum();
    let wanted = ((count as f64 * quantile).ceil() as u64).max(1);
    let mut seen = 0;
    for (us, count) in values {
        seen += count;
        if seen >= wanted {
            return *us as f64 / 1e3;
        }
    }
    0.0
}

/// The histograms of all processes as one.
pub(super) fn merge<'a>(
    parts: impl Iterator<Item = &'a BTreeMap<Step, Sparse>>,
) -> anyhow::Result<BTreeMap<Step, Histogram<u64>>> {
    let mut merged: BTreeMap<Step, Histogram<u64>> = BTreeMap::new();
    for part in parts {
        for (step, values) in part {
            let whole = match merged.entry(*step) {
                std::collections::btree_map::Entry::Occupied(whole) => whole.into_mut(),
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(histogram(limits::WHOLE_DIGITS)?)
                }
            };
            for (value, count) in values {
                whole.saturating_record_n(*value, *count);
            }
        }
    }
    Ok(merged)
}

/// A step with its percentiles, and the points of its percentile plot.
pub(crate) fn step(step: Step, histogram: &Histogram<u64>) -> StepReport {
    let points = histogram.iter_quantiles(limits::QUANTILE_TICKS).map(|value| Point {
        quantile: value.quantile_iterated_to(),
        ms: value.value_iterated_to() as f64 / 1e3,
    });
    StepReport {
        step,
        name: step.name().to_owned(),
        latency: Latency::of(histogram),
        points: points.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_processes_become_one() {
        let part = |values: &[(u64, u64)]| BTreeMap::from([(Step::Ack, values.to_vec())]);
        let parts = [part(&[(1_000, 90)]), part(&[(5_000, 10)])];
        let merged = merge(parts.iter()).expect("good bounds");
        let report = step(Step::Ack, &merged[&Step::Ack]);
        assert_eq!(report.latency.count, 100);
        assert!((report.latency.p50_ms - 1.0).abs() < 0.01);
        assert!((report.latency.p99_ms - 5.0).abs() < 0.01);
        assert!(report.points.windows(2).all(|pair| pair[0].ms <= pair[1].ms));
    }

    #[test]
    fn a_quantile_is_where_enough_have_been_seen() {
        let values = BTreeMap::from([(1_000, 98), (2_000, 1), (3_000, 1)]);
        assert!((quantile(&values, 0.5) - 1.0).abs() < 1e-9);
        assert!((quantile(&values, 0.99) - 2.0).abs() < 1e-9);
        assert!((quantile(&values, 1.0) - 3.0).abs() < 1e-9);
    }
}
