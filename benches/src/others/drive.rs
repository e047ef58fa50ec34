//! A run against another server, with the pacing, the tallies and the report of the load generator.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlance_client::Server;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::member::Member;
use super::{Pipe, Seat, Wire};
use crate::limits;
use crate::load::{Plan, Tallies, Times, own, progress, settle, used, uses};
use crate::report::{Counts, IdleReport, Report};
use crate::setup::{from_source, in_order};

pub(super) async fn run<W: Wire>(server: &Server, plan: &Plan) -> anyhow::Result<Report> {
    if plan.scenario == "idle" {
        idle::<W>(server, plan).await
    } else {
        load::<W>(server, plan).await
    }
}

async fn load<W: Wire>(server: &Server, plan: &Plan) -> anyhow::Result<Report> {
    let joined = join_all::<W>(server, plan).await?;
    let tallies = Arc::new(Tallies::new()?);
    // A moment for the tasks to start, so that the first messages are not late at birth.
    let times = Times::new(Instant::now() + Duration::from_millis(200), plan);
    let (stop, mut members) = start(joined, plan, times, &tallies);

    sleep_until(times.measure).await;
    let (before, delivered_before) = (used(&plan.servers)?, tallies.delivered());
    let own_before = own()?;
    progress(plan, times, &tallies).await;
    let (after, delivered_after) = (used(&plan.servers)?, tallies.delivered());
    let own_after = own()?;
    let settled = settle(plan, &tallies).await;
    stop.send_replace(true);
    let lost = losses(&mut members).await;

    let deliveries = delivered_after - delivered_before;
    Ok(Report {
        deliveries,
        servers: uses(&plan.servers, &before, &after, deliveries)?,
        generator_cpu_seconds: own_after.cpu.saturating_sub(own_before.cpu).as_secs_f64(),
        ..report(plan, &tallies, &lost, settled)
    })
}

async fn idle<W: Wire>(server: &Server, plan: &Plan) -> anyhow::Result<Report> {
    sleep(plan.warm_up).await;
    let before = used(&plan.servers)?;
    let began = Instant::now();
    let joined = join_all::<W>(server, plan).await?;
    let connecting = began.elapsed();
    let connected = used(&plan.servers)?;

    let tallies = Arc::new(Tallies::new()?);
    // Nothing is due before the end.
    let start_at = Instant::now();
    let times = Times { start: start_at, measure: start_at, end: start_at };
    let (stop, mut members) = start(joined, plan, times, &tallies);
    sleep(plan.duration).await;
    let after = used(&plan.servers)?;
    stop.send_replace(true);
    let lost = losses(&mut members).await;

    let (first, last) = (before.first().context("a process")?, after.first().context("one")?);
    let cpu = connected.first().context("a process")?.cpu.saturating_sub(first.cpu);
    let total = (plan.rooms * plan.members) as f64;
    Ok(Report {
        servers: uses(&plan.servers, &connected, &after, 0)?,
        idle: Some(IdleReport {
            bytes_per_session: last.rss_bytes.saturating_sub(first.rss_bytes) as f64 / total,
            connect_cpu_ms_per_session: cpu.as_secs_f64() * 1e3 / total,
            connect_seconds: connecting.as_secs_f64(),
        }),
        ..report(plan, &tallies, &lost, true)
    })
}

/// Connects all members, a bounded number at once, in the order of rooms and places.
async fn join_all<W: Wire>(server: &Server, plan: &Plan) -> anyhow::Result<Vec<(Seat, (W, Pipe))>> {
    let total = plan.rooms * plan.members;
    eprintln!("opening {total} connections");
    let join = |index: usize| {
        let server = from_source(server, plan.sources, index);
        let seat = Seat { index, room: index / plan.members, place: index % plan.members };
        let joined = async move {
            let mut pipe = Pipe::connect(&server).await.context("connecting")?;
            let wire = W::join(&server, &mut pipe, seat).await.context("joining")?;
            anyhow::Ok((seat, (wire, pipe)))
        };
        async move {
            let joined = timeout(limits::READY_WAIT, Box::pin(joined)).await;
            let joined = joined.map_err(anyhow::Error::from).flatten();
            (index, joined.with_context(|| format!("opening connection {index}")))
        }
    };
    in_order(total, limits::CONNECTS_AT_ONCE, join).await
}

fn start<W: Wire>(
    joined: Vec<(Seat, (W, Pipe))>,
    plan: &Plan,
    times: Times,
    tallies: &Arc<Tallies>,
) -> (watch::Sender<bool>, JoinSet<Option<String>>) {
    let (stop, stopped) = watch::channel(false);
    let mut members = JoinSet::new();
    for (seat, connection) in joined {
        let member = Member::new(connection, seat, plan, times, tallies.clone());
        members.spawn(member.run(stopped.clone()));
    }
    (stop, members)
}

/// Why members ended before they were told to.
async fn losses(members: &mut JoinSet<Option<String>>) -> Vec<String> {
    let mut lost = Vec::new();
    while let Some(ended) = members.join_next().await {
        // A member whose task failed is as lost as one whose connection did.
        lost.extend(ended.unwrap_or_else(|error| Some(error.to_string())));
    }
    lost
}

/// What a run of any kind says; nothing about processes yet.
fn report(plan: &Plan, tallies: &Tallies, lost: &[String], settled: bool) -> Report {
    let is_idle = plan.scenario == "idle";
    Report {
        scenario: plan.scenario.into(),
        nodes: 1,
        rooms: plan.rooms,
        sockets: plan.rooms * plan.members,
        accounts: plan.accounts,
        rate: if is_idle { 0.0 } else { plan.rate },
        body_bytes: plan.body_bytes,
        seconds: plan.duration.as_secs_f64(),
        deliveries: 0,
        delivery: tallies.delivery_latency(),
        ack: tallies.ack_latency(),
        servers: Vec::new(),
        generator_cpu_seconds: 0.0,
        counts: Counts {
            acked: tallies.acked(),
            refused_for_good: tallies.refused_for_good(),
            lost_sockets: lost.len() as u64,
            first_loss: lost.first().cloned(),
            settled,
            ..Counts::default()
        },
        counted: BTreeMap::new(),
        idle: None,
        check: None,
    }
}
