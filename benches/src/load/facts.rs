//! What each scenario is about, beside latencies: the figures that its table begins with.

use super::Measured;
use super::away::{Away, droppers};
use super::crew::Partial;
use super::plan::{Attack, CatchUp, Load, Plan, Storm};
use super::session::Outcome;
use crate::report::{Fact, Report};
use crate::sampler::Sample;

/// Adds the scenario's figures to the report.
pub(super) fn add(
    report: &mut Report,
    plan: &Plan,
    measured: &Measured,
    partials: &[Partial],
    samples: &[Sample],
) {
    let outcomes: Vec<&Outcome> = partials.iter().flat_map(|part| &part.outcomes).collect();
    let done: u64 = partials.iter().map(|part| part.after.done - part.before.done).sum();
    let mut facts = Vec::new();
    match &plan.load {
        Load::Rooms(_) | Load::Mixed(_) => {}
        Load::Idle { sessions, .. } => idle(&mut facts, measured, *sessions),
        Load::Churn(churn) => {
            facts.push(Fact::new("visits asked for", churn.rate, "/s"));
            facts.push(Fact::new("visits", done as f64 / measured.seconds.max(1e-3), "/s"));
            cpu_per(&mut facts, report, done, "CPU of a visit");
        }
        Load::History(history) => {
            facts.push(Fact::new("pages asked for", history.rate, "/s"));
            facts.push(Fact::new("pages", done as f64 / measured.seconds.max(1e-3), "/s"));
            let events = report.deliveries;
            facts.push(Fact::new("events in a page", ratio(events as f64, done as f64), ""));
            cpu_per(&mut facts, report, done, "CPU of a page");
            cpu_per(&mut facts, report, events, "CPU of an event in a page");
        }
        Load::Storm(load) => {
            storm(&mut facts, plan, load, &outcomes, report, samples);
            report.marks.push((load.drop_after.as_secs_f64(), "the drop".into()));
        }
        Load::CatchUp(load) => catch_up(&mut facts, load, &outcomes, measured, report),
        Load::Attack(load) => attack(&mut facts, plan, load, &outcomes, report, samples),
    }
    if !matches!(plan.load, Load::Churn(_) | Load::History(_)) {
        opening(&mut facts, measured, plan.load.sockets());
    }
    report.facts = facts;
}

fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}

/// The processor time of each measured process for each of something.
fn cpu_per(facts: &mut Vec<Fact>, report: &Report, count: u64, what: &str) {
    for server in report.servers.iter().filter(|_| count > 0) {
        let us = server.cpu_seconds * 1e6 / count as f64;
        facts.push(Fact::new(&format!("{what}, {}", server.name), us, "µs"));
    }
}

/// Opening the run's sockets: they connect, sign in by token and follow their rooms.
fn opening(facts: &mut Vec<Fact>, measured: &Measured, sockets: usize) {
    facts.push(Fact::new("time to connect all", measured.opening.as_secs_f64(), "s"));
    if let (Some(before), Some(after)) = (measured.at_first.first(), measured.at_open.first()) {
        let ms = after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e3;
        facts.push(Fact::new("CPU to connect and join", ratio(ms, sockets as f64), "ms"));
    }
}

/// Growth of memory since before the sockets were opened.
fn idle(facts: &mut Vec<Fact>, measured: &Measured, sessions: usize) {
    if let (Some(before), Some(after)) = (measured.at_first.first(), measured.after.first()) {
        let grown = after.rss_bytes.saturating_sub(before.rss_bytes) as f64 / 1024.0;
        facts.push(Fact::new("memory of a session", ratio(grown, sessions as f64), "KiB"));
    }
}

/// How long after the first one went each was back, in milliseconds, ascending.
fn returns(outcomes: &[&Outcome]) -> Vec<f64> {
    let away: Vec<Away> = outcomes.iter().filter_map(|outcome| outcome.away).collect();
    let first = away.iter().map(|away| away.from_us).min().unwrap_or(0);
    let took = |away: &Away| away.live_us.map(|live| live.saturating_sub(first) as f64 / 1e3);
    let mut took: Vec<f64> = away.iter().filter_map(took).collect();
    took.sort_by(f64::total_cmp);
    took
}

fn shares(facts: &mut Vec<Fact>, took: &[f64], of: usize) {
    for percent in [50, 90, 99, 100] {
        let wanted = (of * percent).div_ceil(100).max(1);
        // What did not come back has no time, and the fact is not there.
        if let Some(ms) = took.get(wanted - 1) {
            facts.push(Fact::new(&format!("{percent} % live after"), ms / 1e3, "s"));
        }
    }
}

fn comings(facts: &mut Vec<Fact>, outcomes: &[&Outcome]) {
    let away = || outcomes.iter().filter_map(|outcome| outcome.away);
    let attempts: u32 = away().map(|away| away.attempts).sum();
    let refusals: u32 = away().map(|away| away.refusals).sum();
    facts.push(Fact::new("attempts to come back", f64::from(attempts), ""));
    facts.push(Fact::new("refused attempts", f64::from(refusals), ""));
}

fn storm(
    facts: &mut Vec<Fact>,
    plan: &Plan,
    load: &Storm,
    outcomes: &[&Outcome],
    report: &Report,
    samples: &[Sample],
) {
    let dropped = droppers(load);
    let took = returns(outcomes);
    facts.push(Fact::new("sessions dropped", dropped as f64, ""));
    facts.push(Fact::new("sessions back", took.len() as f64, ""));
    shares(facts, &took, dropped);
    comings(facts, outcomes);
    let replayed: u64 = outcomes.iter().map(|outcome| outcome.replayed).sum();
    facts.push(Fact::new("messages replayed", replayed as f64, ""));

    let measure = plan.warm_up.as_micros() as u64;
    let drop = measure + load.drop_after.as_micros() as u64;
    let back = drop + (took.last().copied().unwrap_or(0.0) * 1e3) as u64;
    acks(facts, outcomes, (measure, drop, back));
    let (drop_s, back_s) = (load.drop_after.as_secs_f64(), (back - measure) as f64 / 1e6);
    cpu(facts, report, samples, drop_s.floor(), back_s.ceil());
}

/// The attack begins and ends at instants that were planned.
fn attack(
    facts: &mut Vec<Fact>,
    plan: &Plan,
    load: &Attack,
    outcomes: &[&Outcome],
    report: &mut Report,
    samples: &[Sample],
) {
    let measure = plan.warm_up.as_micros() as u64;
    let ends_after = load.begins_after + load.lasts;
    let at = |after: std::time::Duration| measure + after.as_micros() as u64;
    acks(facts, outcomes, (measure, at(load.begins_after), at(ends_after)));
    let (begin, end) = (load.begins_after.as_secs_f64(), ends_after.as_secs_f64());
    cpu(facts, report, samples, begin, end);
    report.marks.push((begin, load.kind.name()));
    report.marks.push((end, "its end".into()));
}

/// The acks of those who sent all the time, of the messages that were due before something, during it and
/// after it: instants in microseconds of the run.
fn acks(facts: &mut Vec<Fact>, outcomes: &[&Outcome], (measure, begin, end): (u64, u64, u64)) {
    let acks = || outcomes.iter().flat_map(|outcome| outcome.acks.iter().copied());
    for (name, from, to) in [
        ("before", measure, begin),
        ("during", begin, end.max(begin + 1)),
        ("after", end, u64::MAX),
    ] {
        let mut us: Vec<u64> =
            acks().filter(|(due, _)| (from..to).contains(due)).map(|(_, us)| us).collect();
        us.sort_unstable();
        if let Some(p99) = us.get((us.len() * 99).div_ceil(100).saturating_sub(1)) {
            let name = format!("the others' ack p99 {name}");
            facts.push(Fact::new(&name, *p99 as f64 / 1e3, "ms"));
        }
    }
}

/// What the server used before something, during it and after it: seconds of the measured time.
fn cpu(facts: &mut Vec<Fact>, report: &Report, samples: &[Sample], begin: f64, end: f64) {
    for (place, server) in report.servers.iter().enumerate() {
        for (name, from, to) in
            [("before", 0.0, begin), ("during", begin, end), ("after", end, f64::MAX)]
        {
            let inside = samples
                .iter()
                .filter(|sample| sample.second as f64 > from && sample.second as f64 <= to);
            let percents: Vec<f64> =
                inside.filter_map(|sample| sample.cpu_percent.get(place).copied()).collect();
            let mean = ratio(percents.iter().sum(), percents.len() as f64);
            facts.push(Fact::new(&format!("CPU {name}, {}", server.name), mean, "% of a core"));
        }
    }
}

fn catch_up(
    facts: &mut Vec<Fact>,
    load: &CatchUp,
    outcomes: &[&Outcome],
    measured: &Measured,
    report: &Report,
) {
    let took = returns(outcomes);
    let replayed: u64 = outcomes.iter().map(|outcome| outcome.replayed).sum();
    facts.push(Fact::new("sessions away", load.sessions as f64, ""));
    facts.push(Fact::new("sessions back", took.len() as f64, ""));
    shares(facts, &took, load.sessions);
    comings(facts, outcomes);
    facts.push(Fact::new("messages replayed", replayed as f64, ""));
    let seconds = took.last().map_or(measured.seconds, |ms| ms / 1e3);
    facts.push(Fact::new("replay", ratio(replayed as f64, seconds), "messages/s"));
    cpu_per(facts, report, replayed, "CPU of a replayed message");
}
