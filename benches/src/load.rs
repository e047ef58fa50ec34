//! Constant load: every message has an instant at which it is due, and its latency counts from
//! that instant, however late it was really sent. So a server that stalls is charged for all the
//! messages that should have been sent meanwhile (no coordinated omission).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parlance_client::{Http, Server};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use crate::checker::{Run, Stream};
use crate::lean::Socket;
use crate::metrics::{self, Counted};
use crate::process::{Tree, Used};
use crate::report::{Check, Counts, Report, ServerUse};
use crate::setup::{self, Prepared, from_source};
use crate::{limits, witness};

pub mod idle;
mod member;
mod ready;
mod tally;

use member::{Member, Outcome};
pub(crate) use member::{body_of, due_of, schedule};
pub(crate) use tally::Batch;
pub use tally::Tallies;

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// A name for the report.
    pub scenario: &'static str,
    /// Rooms.
    pub rooms: usize,
    /// Sockets in each room; each sends in turn and receives everything.
    pub members: usize,
    /// Messages a second, all rooms together.
    pub rate: f64,
    /// A body's size; at least 16, for the instant in it.
    pub body_bytes: usize,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Measured time.
    pub duration: Duration,
    /// Accounts that the sockets share.
    pub accounts: usize,
    /// Loopback addresses that the sockets come from.
    pub sources: u8,
    /// Keep what is sent and received, and check it.
    pub check: bool,
    /// Processes whose use is measured.
    pub servers: Vec<Tree>,
    /// Where accounts and rooms are kept from run to run.
    pub prepared: Option<PathBuf>,
}

/// When things happen in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Zero for the instants in bodies.
    pub(crate) start: Instant,
    /// The first measured instant.
    pub(crate) measure: Instant,
    /// The first instant that is not measured any more; nothing is sent from here on.
    pub(crate) end: Instant,
}

impl Times {
    pub(crate) fn new(start: Instant, plan: &Plan) -> Self {
        let measure = start + plan.warm_up;
        Self { start, measure, end: measure + plan.duration }
    }

    pub(crate) fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_measured(&self, micros: u64) -> bool {
        (self.micros(self.measure)..self.micros(self.end)).contains(&micros)
    }
}

/// Runs a plan against a server that has these doors: one node, or each node of a cluster. The
/// sockets come through them in turn, so that the members of a room are spread over the nodes.
///
/// # Errors
/// When the run cannot be prepared, or the server's processes cannot be read.
pub async fn run(doors: &[Server], plan: &Plan) -> anyhow::Result<Report> {
    let server = doors.first().context("a server needs a door")?;
    let prepared = setup::prepare_or_take(server, plan).await?;
    eprintln!("opening {} sockets", plan.rooms * plan.members);
    let sockets = connect(doors, plan, &prepared).await?;

    let tallies = Arc::new(Tallies::new()?);
    // A moment for the tasks to start, so that the first messages are not late at birth.
    let times = Times::new(Instant::now() + Duration::from_millis(200), plan);
    let (stop, stopped) = watch::channel(false);
    let mut members = JoinSet::new();
    for (index, (socket, head)) in sockets.into_iter().enumerate() {
        let member = Member::new(index, socket, head, plan, &prepared, times, tallies.clone());
        members.spawn(member.run(stopped.clone()));
    }

    sleep_until(times.measure).await;
    let counted_before = counters(doors).await;
    let (before, delivered_before) = (used(&plan.servers)?, tallies.delivered());
    let own_before = own()?;
    progress(plan, times, &tallies).await;
    let (after, delivered_after) = (used(&plan.servers)?, tallies.delivered());
    let own_after = own()?;
    let counted_after = counters(doors).await;

    let settled = settle(plan, &tallies).await;
    stop.send_replace(true);
    let outcomes = members.join_all().await;
    let deliveries = delivered_after - delivered_before;
    let mut report = Report {
        scenario: plan.scenario.into(),
        nodes: doors.len(),
        rooms: plan.rooms,
        sockets: plan.rooms * plan.members,
        accounts: plan.accounts,
        rate: plan.rate,
        body_bytes: plan.body_bytes,
        seconds: plan.duration.as_secs_f64(),
        deliveries,
        delivery: tallies.delivery_latency(),
        ack: tallies.ack_latency(),
        servers: uses(&plan.servers, &before, &after, deliveries)?,
        generator_cpu_seconds: (own_after.cpu.saturating_sub(own_before.cpu)).as_secs_f64(),
        counts: counts(&tallies, &outcomes, settled),
        counted: counted(&counted_before, &counted_after),
        idle: None,
        check: None,
    };
    if plan.check {
        report.check = Some(check(server, &prepared, outcomes, settled).await?);
    }
    Ok(report)
}

/// Opens the sockets, a bounded number at once, in the order of rooms and places.
async fn connect(
    doors: &[Server],
    plan: &Plan,
    prepared: &Prepared,
) -> anyhow::Result<Vec<(Socket, u64)>> {
    let total = plan.rooms * plan.members;
    let mut sockets: BTreeMap<usize, (Socket, u64)> = BTreeMap::new();
    let mut opening = JoinSet::new();
    let mut next = 0;
    while sockets.len() < total {
        while next < total && opening.len() < limits::CONNECTS_AT_ONCE {
            let (room, place) = (next / plan.members, next % plan.members);
            let account = &prepared.accounts[prepared.members[room][place]];
            let (token, room) = (account.token.clone(), prepared.rooms[room]);
            let door = &doors[next % doors.len()];
            let (server, index) = (from_source(door, plan.sources, next), next);
            opening.spawn(async move {
                let ready = timeout(limits::READY_WAIT, ready::open(&server, &token, room)).await;
                (index, ready.map_err(anyhow::Error::from).flatten())
            });
            next += 1;
        }
        let opened = opening.join_next().await.context("no socket is being opened")?;
        let (index, opened) = opened.context("a socket's task ended by itself")?;
        sockets.insert(index, opened.with_context(|| format!("opening socket {index}"))?);
    }
    Ok(sockets.into_values().collect())
}

pub(crate) fn own() -> anyhow::Result<Used> {
    Tree { pid: std::process::id() }.used().context("measuring the generator")
}

/// What the nodes count. A server whose metrics are off is measured without.
async fn counters(doors: &[Server]) -> Counted {
    metrics::read_all(doors).await.unwrap_or_else(|error| {
        eprintln!("without what the nodes count: {error:#}");
        Counted::default()
    })
}

/// What the nodes counted in the measured time of what explains the cost of a message.
fn counted(before: &Counted, after: &Counted) -> BTreeMap<String, f64> {
    let grown = |name: &&str| ((*name).to_owned(), after.sum(name) - before.sum(name));
    limits::COUNTERS.iter().map(grown).collect()
}

pub(crate) fn used(servers: &[Tree]) -> anyhow::Result<Vec<Used>> {
    servers
        .iter()
        .map(|tree| tree.used().with_context(|| format!("measuring process {}", tree.pid)))
        .collect()
}

pub(crate) fn uses(
    servers: &[Tree],
    before: &[Used],
    after: &[Used],
    deliveries: u64,
) -> anyhow::Result<Vec<ServerUse>> {
    let mut uses = Vec::new();
    for ((tree, before), after) in servers.iter().zip(before).zip(after) {
        let cpu = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        uses.push(ServerUse {
            pid: tree.pid,
            name: tree.name()?,
            processes: after.processes,
            cpu_seconds: cpu,
            cpu_us_per_delivery: (deliveries > 0).then(|| cpu * 1e6 / deliveries as f64),
            rss_bytes: after.rss_bytes,
        });
    }
    Ok(uses)
}

/// Waits for the end of the measured time and says every second how it goes.
pub(crate) async fn progress(plan: &Plan, times: Times, tallies: &Tallies) {
    let mut last = tallies.delivered();
    while Instant::now() < times.end {
        sleep_until((Instant::now() + Duration::from_secs(1)).min(times.end)).await;
        let delivered = tallies.delivered();
        let left = times.end.saturating_duration_since(Instant::now()).as_secs();
        let (rate, acked) = (delivered - last, tallies.acked());
        let p99 = tallies.delivery_latency().p99_ms;
        let line = format!(
            "{}: {rate} deliveries/s, {acked} acked, delivery p99 {p99:.1} ms, {left} s left",
            plan.scenario
        );
        crate::report::progress(&line);
        last = delivered;
    }
    crate::report::progress_ends();
}

/// Waits until every ack and delivery that is under way has come. False when some never did.
pub(crate) async fn settle(plan: &Plan, tallies: &Tallies) -> bool {
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

fn counts(tallies: &Tallies, outcomes: &[Outcome], settled: bool) -> Counts {
    Counts {
        acked: tallies.acked(),
        refused_for_now: tallies.refused_for_now(),
        refused_for_good: tallies.refused_for_good(),
        gaps: outcomes.iter().map(|outcome| outcome.gaps).sum(),
        lost_sockets: outcomes.iter().filter(|outcome| outcome.ended.is_some()).count() as u64,
        slow_parses: outcomes.iter().map(|outcome| outcome.slow).sum(),
        first_loss: outcomes.iter().find_map(|outcome| outcome.ended.clone()),
        settled,
    }
}

async fn check(
    server: &Server,
    prepared: &Prepared,
    outcomes: Vec<Outcome>,
    settled: bool,
) -> anyhow::Result<Check> {
    eprintln!("reading {} logs and checking", prepared.rooms.len());
    let http = Http::new(server.clone());
    let rooms = prepared.rooms.iter().zip(&prepared.members);
    let eyes = rooms.map(|(room, members)| (*room, prepared.accounts[members[0]].token.as_str()));
    let logs = witness::logs(&http, eyes).await?;
    let mut run = Run { logs, exclusive: true, ..Run::default() };
    for outcome in outcomes {
        run.sent.extend(outcome.sent);
        // What a socket missed in a gap was never asked for, so only a stream without one is
        // held to the end.
        let complete = settled && outcome.ended.is_none();
        let streams = outcome.streams.len();
        for (place, (after, received)) in outcome.streams.into_iter().enumerate() {
            run.streams.push(Stream {
                client: format!("socket {}", outcome.index),
                room: outcome.room,
                after: Some(after),
                complete: complete && place + 1 == streams,
                received,
            });
        }
    }
    let (looked, violations) = run.check();
    Ok(Check { looked, violations: violations.iter().map(ToString::to_string).collect() })
}

/// The room of the socket with this index.
fn room_of(prepared: &Prepared, plan: &Plan, index: usize) -> Uuid {
    prepared.rooms[index / plan.members]
}
