//! A run against another server, with the pacing, the tallies and the report of the load generator.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlance_client::Server;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::member::Member;
use super::{Pipe, Plan, Seat, Wire};
use crate::limits;
use crate::load::{Site, Step, Tallies, Times, own, series, used, uses};
use crate::report::machine::Machine;
use crate::report::{Counts, Fact, Report, progress, progress_ends};
use crate::setup::in_order;

pub(super) async fn run<W: Wire>(site: &Site, plan: &Plan) -> anyhow::Result<Report> {
    let doors = site.doors()?;
    let door = doors.first().context("a server needs a door")?;
    if plan.rate.is_none() {
        // What the server did at its start goes first.
        sleep(plan.warm_up).await;
    }
    let (at_first, began) = (used(&site.servers)?, Instant::now());
    let joined = join_all::<W>(site, door, plan).await?;
    let (at_open, opening) = (used(&site.servers)?, began.elapsed());

    let tallies = Arc::new(Tallies::new()?);
    let warm_up = if plan.rate.is_none() { Duration::ZERO } else { plan.warm_up };
    let times = Times::new(Instant::now() + limits::START_AFTER, warm_up, plan.duration);
    let (stop, stopped) = watch::channel(false);
    let mut members = JoinSet::new();
    for (seat, connection) in joined {
        let member = Member::new(connection, seat, plan, times, tallies.clone());
        members.spawn(member.run(stopped.clone()));
    }

    sleep_until(times.measure).await;
    let (before, own_before) = (used(&site.servers)?, own()?);
    let delivered_before = tallies.delivered();
    show(&times, &tallies).await;
    let (after, own_after) = (used(&site.servers)?, own()?);
    let deliveries = tallies.delivered() - delivered_before;
    let settled = settle(plan, &tallies).await;
    stop.send_replace(true);
    let lost = losses(&mut members).await;

    let mut facts = vec![Fact::new("time to connect all", opening.as_secs_f64(), "s")];
    let each = plan.connections() as f64;
    if let (Some(first), Some(open), Some(last)) =
        (at_first.first(), at_open.first(), after.first())
    {
        let ms = open.cpu.saturating_sub(first.cpu).as_secs_f64() * 1e3;
        facts.push(Fact::new("CPU to connect and join", ms / each, "ms"));
        if plan.rate.is_none() {
            let grown = last.rss_bytes.saturating_sub(first.rss_bytes) as f64 / 1024.0;
            facts.push(Fact::new("memory of a session", grown / each, "KiB"));
        }
    }
    let whole = tallies.whole();
    Ok(Report {
        scenario: if plan.rate.is_some() { "fanout" } else { "idle" }.into(),
        nodes: 1,
        processes: 1,
        rooms: plan.rooms,
        sockets: plan.connections(),
        accounts: plan.connections(),
        rate: plan.rate.unwrap_or_default(),
        body_bytes: plan.body_bytes,
        seconds: plan.duration.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        deliveries,
        delivery: tallies.delivery_latency(),
        ack: tallies.ack_latency(),
        steps: whole.iter().map(|(step, histogram)| series::step(*step, histogram)).collect(),
        facts,
        servers: uses(&site.servers, &before, &after, deliveries)?,
        generator_cpu_seconds: own_after.cpu.saturating_sub(own_before.cpu).as_secs_f64(),
        counts: Counts {
            acked: tallies.acked(),
            refused_for_good: tallies.refused_for_good(),
            lost_sockets: lost.len() as u64,
            first_loss: lost.first().cloned(),
            settled,
            ..Counts::default()
        },
        machine: Machine::look(&site.servers),
        ..Report::default()
    })
}

/// Connects all members, a bounded number at once, in the order of rooms and places.
async fn join_all<W: Wire>(
    site: &Site,
    door: &Server,
    plan: &Plan,
) -> anyhow::Result<Vec<(Seat, (W, Pipe))>> {
    eprintln!("opening {} connections", plan.connections());
    let first = plan.first;
    let join = |index: usize| {
        let server = site.from_source(door, index);
        let seat = Seat {
            index: first + index,
            room: (first + index) / plan.members,
            place: index % plan.members,
        };
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
    in_order(plan.connections(), limits::CONNECTS_AT_ONCE, join).await
}

/// Waits for the end of the measured time and says every second how it goes.
async fn show(times: &Times, tallies: &Tallies) {
    let mut last = tallies.delivered();
    while Instant::now() < times.end {
        sleep_until((Instant::now() + Duration::from_secs(1)).min(times.end)).await;
        let delivered = tallies.delivered();
        let left = times.end.saturating_duration_since(Instant::now()).as_secs();
        let (rate, p99) = (delivered - last, tallies.latency(Step::Delivery).p99_ms);
        progress(&format!("{rate} deliveries/s, delivery p99 {p99:.1} ms, {left} s left"));
        last = delivered;
    }
    progress_ends();
}

/// Waits until every answer and delivery that is under way has come. False when some never did.
async fn settle(plan: &Plan, tallies: &Tallies) -> bool {
    let deadline = Instant::now() + limits::SETTLE_WAIT;
    loop {
        let expected = tallies.acked() * plan.members as u64;
        if tallies.open() == 0 && tallies.delivered() >= expected {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
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
