//! Idle sessions: what the server's memory grows by for each, and what connecting and joining
//! one costs it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlance_client::Server;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::member::Member;
use super::{Plan, Tallies, Times, connect, used, uses};
use crate::report::{Counts, IdleReport, Latency, Report};
use crate::setup;

/// Opens the plan's sockets, leaves them alone for its duration, and says what they cost.
///
/// # Errors
/// When a socket cannot be opened, or the server's processes cannot be read.
pub async fn run(doors: &[Server], plan: &Plan) -> anyhow::Result<Report> {
    anyhow::ensure!(!plan.servers.is_empty(), "idle needs --server-pid: it measures that process");
    let server = doors.first().context("a server needs a door")?;
    let prepared = setup::prepare_or_take(server, plan).await?;
    // What setup left behind (hashes, HTTP connections) goes first.
    sleep(plan.warm_up).await;
    let total = plan.rooms * plan.members;
    let before = used(&plan.servers)?;
    eprintln!("opening {total} sockets");
    let began = Instant::now();
    let sockets = connect(doors, plan, &prepared).await?;
    let connecting = began.elapsed();
    let connected = used(&plan.servers)?;

    let tallies = Arc::new(Tallies::new()?);
    // Nothing is due before the end, so that the sockets only ping.
    let start = Instant::now();
    let times = Times { start, measure: start, end: start };
    let (stop, stopped) = watch::channel(false);
    let mut members = JoinSet::new();
    for (index, (socket, head)) in sockets.into_iter().enumerate() {
        let member = Member::new(index, socket, head, plan, &prepared, times, tallies.clone());
        members.spawn(member.run(stopped.clone()));
    }
    let end = start + plan.duration;
    while Instant::now() < end {
        sleep(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))).await;
        let left = end.saturating_duration_since(Instant::now()).as_secs();
        crate::report::progress(&format!("idle: {total} sessions, {left} s left"));
    }
    crate::report::progress_ends();
    let after = used(&plan.servers)?;
    stop.send_replace(true);
    let outcomes = members.join_all().await;

    let (first, last) = (before.first().context("a process")?, after.first().context("one")?);
    let joined = connected.first().context("a process")?.cpu.saturating_sub(first.cpu);
    let grown = last.rss_bytes.saturating_sub(first.rss_bytes);
    Ok(Report {
        scenario: plan.scenario.into(),
        nodes: doors.len(),
        rooms: plan.rooms,
        sockets: total,
        accounts: plan.accounts,
        rate: 0.0,
        body_bytes: 0,
        seconds: plan.duration.as_secs_f64(),
        deliveries: 0,
        delivery: Latency::default(),
        ack: Latency::default(),
        servers: uses(&plan.servers, &connected, &after, 0)?,
        generator_cpu_seconds: 0.0,
        counts: Counts {
            lost_sockets: outcomes.iter().filter(|o| o.ended.is_some()).count() as u64,
            first_loss: outcomes.iter().find_map(|o| o.ended.clone()),
            settled: true,
            ..Counts::default()
        },
        counted: std::collections::BTreeMap::new(),
        idle: Some(IdleReport {
            bytes_per_session: grown as f64 / total as f64,
            connect_cpu_ms_per_session: joined.as_secs_f64() * 1e3 / total as f64,
            connect_seconds: connecting.as_secs_f64(),
        }),
        check: None,
    })
}
