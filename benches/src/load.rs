//! Load on a running server. Everything has an instant at which it is due, and its latency counts from
//! that instant, however late it was really done. So a server that stalls is charged for all the
//! messages that should have been sent meanwhile (no coordinated omission).
//!
//! This file conducts a run: it prepares accounts and rooms, starts the processes that open the
//! sockets, gives them one start, measures meanwhile, and puts the report together.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::Context;
use parlance_client::Server;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use crate::attack::{Attack, Running};
use crate::limits;
use crate::metrics::{self, Counted};
use crate::process::{self, Used};
use crate::report::machine::Machine;
use crate::report::{Counts, Report, ServerUse};
use crate::sampler::Sampler;
use crate::setup::{self, Prepared};
use crate::syscalls::Syscalls;

mod agenda;
mod ask;
mod away;
mod chance;
mod churn;
pub mod clock;
mod crew;
mod facts;
mod fill;
mod follow;
mod hear;
mod history;
mod pipe;
pub mod plan;
pub(crate) mod series;
mod session;
pub mod site;
pub mod tally;
mod verify;

pub use agenda::schedule;
pub use clock::{Times, body_of, due_of};
use crew::{Job, News, Order, Partial};
use pipe::Processes;
pub use pipe::{CHILD, child};
pub use plan::{Load, Plan};
use series::Board;
pub use site::Site;
pub use tally::{Batch, Step, Tallies};

/// What the conductor measured around the measured time.
struct Measured {
    /// Before the sockets were opened, after it, at the first measured instant, and at the last.
    at_first: Vec<Used>,
    at_open: Vec<Used>,
    before: Vec<Used>,
    after: Vec<Used>,
    own_before: Used,
    own_after: Used,
    counted: BTreeMap<String, f64>,
    syscalls: Vec<Result<u64, String>>,
    opening: Duration,
    /// How long the measured time really was.
    seconds: f64,
}

/// Runs a plan against a server.
///
/// # Errors
/// When the run cannot be prepared, a socket cannot be opened, or the server's processes cannot be
/// read.
pub async fn run(site: &Site, plan: &Plan) -> anyhow::Result<Report> {
    anyhow::ensure!(
        !(matches!(plan.load, Load::Idle { .. }) && site.servers.is_empty()),
        "idle needs --server-pid: it measures that process"
    );
    let doors = site.doors()?;
    let server = doors.first().context("a server needs a door")?;
    let prepared = setup::prepare_or_take(site, server, plan).await?;
    if matches!(plan.load, Load::Idle { .. }) {
        // What setup left behind (hashes, HTTP connections) goes first.
        tokio::time::sleep(plan.warm_up).await;
    }
    let parts = site.processes.clamp(1, plan.load.sockets().max(1));
    let jobs = (0..parts).map(|part| {
        let (site, plan, prepared) = (site.clone(), plan.clone(), prepared.clone());
        Job { site, plan, prepared, part, parts }
    });
    let mut processes = Processes::start(jobs.collect(), site.program.as_deref())?;

    let at_first = used(&site.servers)?;
    let began = Instant::now();
    eprintln!("opening {} sockets", plan.load.sockets());
    processes.order(&Order::Open).await?;
    for _ in 0..parts {
        match processes.next().await? {
            (_, News::Ready) => {}
            (part, _) => anyhow::bail!("process {part} spoke out of turn"),
        }
    }
    let (at_open, opening) = (used(&site.servers)?, began.elapsed());
    let filled = fill::fill(site, &doors, plan, &prepared).await?;

    let attack = match attack_of(server, plan) {
        Some((attack, begins_after, lasts)) => Some((attack.prepare().await?, begins_after, lasts)),
        None => None,
    };
    // A moment for the tasks to start, so that the first messages are not late at birth.
    let start = clock::Shared::now().after(limits::START_AFTER);
    let times = Times::new(start.instant(), plan.warm_up, plan.duration);
    let sampler = Sampler::start(&site.servers, times.measure.into_std(), plan.warm_up);
    let mut board = Board::new(plan, parts);
    processes.order(&Order::Go(start)).await?;
    let attack = attack.map(|(attack, begins_after, lasts)| {
        let begin = times.measure + begins_after;
        attack.start(begin, begin + lasts)
    });
    let attack = attack.transpose()?;

    board.listen(&mut processes, Some(times.measure)).await?;
    let syscalls = Syscalls::count(&site.servers, site.syscalls);
    let counted_before = counters(&doors).await;
    let (before, own_before) = (used(&site.servers)?, own()?);
    board.listen(&mut processes, None).await?;
    let (after, own_after) = (used(&site.servers)?, own()?);
    let seconds = Instant::now().min(times.end).duration_since(times.measure).as_secs_f64();
    let syscalls = syscalls.end();
    let counted = counted(&counted_before, &counters(&doors).await);
    let samples = sampler.end();
    let attack = attack.map(Running::end).transpose()?;
    let measured = Measured {
        at_first,
        at_open,
        before,
        after,
        own_before,
        own_after,
        counted,
        syscalls,
        opening,
        seconds,
    };
    let mut heads: HashMap<Uuid, u64> = filled.heads;
    board.quiet(&mut processes, &mut heads).await?;
    processes.order(&Order::Settle(heads.into_iter().collect())).await?;
    let partials = board.finish(&mut processes).await?;

    let mut report = assemble(site, &doors, plan, &prepared, &measured, &partials)?;
    report.series = board.series(&samples);
    report.attack = attack;
    facts::add(&mut report, plan, &measured, &partials, &samples);
    if plan.check {
        let check = verify::check(server, plan, &prepared, filled.sent, partials).await?;
        report.check = Some(check);
    }
    Ok(report)
}

/// The attack of this plan, when it begins in the measured time, and how long it lasts.
fn attack_of(server: &Server, plan: &Plan) -> Option<(Attack, Duration, Duration)> {
    let Load::Attack(load) = &plan.load else { return None };
    let server = match load.from {
        Some(from) => server.clone().from_source(from),
        None => server.clone(),
    };
    let (kind, connections, over) = (load.kind, load.connections, load.over);
    let attack = Attack { server, kind, connections, over, gives_way: load.gives_way };
    Some((attack, load.begins_after, load.lasts))
}

fn assemble(
    site: &Site,
    doors: &[Server],
    plan: &Plan,
    prepared: &Prepared,
    measured: &Measured,
    partials: &[Partial],
) -> anyhow::Result<Report> {
    let whole = series::merge(partials.iter().map(|partial| &partial.whole))?;
    let deliveries = partials
        .iter()
        .map(|partial| partial.after.delivered.saturating_sub(partial.before.delivered))
        .sum();
    let latency = |step| whole.get(&step).map(crate::report::Latency::of).unwrap_or_default();
    let mut servers = uses(&site.servers, &measured.before, &measured.after, deliveries)?;
    for (server, calls) in servers.iter_mut().zip(&measured.syscalls) {
        server.syscalls = calls.as_ref().ok().copied();
        server.syscalls_per_delivery = server
            .syscalls
            .filter(|_| deliveries > 0)
            .map(|calls| calls as f64 / deliveries as f64);
        server.syscalls_unmeasured = calls.as_ref().err().cloned();
    }
    Ok(Report {
        scenario: plan.load.name().into(),
        nodes: doors.len(),
        processes: partials.len(),
        rooms: plan.load.rooms(),
        sockets: plan.load.sockets(),
        accounts: prepared.accounts.len(),
        rate: plan.load.rate(),
        body_bytes: plan.body_bytes,
        seconds: measured.seconds,
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        deliveries,
        delivery: latency(Step::Delivery),
        ack: latency(Step::Ack),
        steps: whole.iter().map(|(step, histogram)| series::step(*step, histogram)).collect(),
        servers,
        generator_cpu_seconds: measured
            .own_after
            .cpu
            .saturating_sub(measured.own_before.cpu)
            .as_secs_f64(),
        counts: counts(partials),
        counted: measured.counted.clone(),
        machine: Machine::look(&site.servers),
        ..Report::default()
    })
}

fn counts(partials: &[Partial]) -> Counts {
    let outcomes = || partials.iter().flat_map(|partial| &partial.outcomes);
    let mut last = crew::Counts::default();
    partials.iter().for_each(|partial| last.add(&partial.last));
    let refused: u64 = outcomes().map(|outcome| outcome.refused).sum();
    Counts {
        acked: last.acked,
        refused_for_now: last.refused_for_now,
        refused_for_good: last.refused_for_good + refused,
        gaps: outcomes().map(|outcome| outcome.gaps).sum(),
        lost_sockets: outcomes().filter(|outcome| outcome.ended.is_some()).count() as u64,
        slow_parses: outcomes().map(|outcome| outcome.slow).sum(),
        first_loss: outcomes().find_map(|outcome| outcome.ended.clone()),
        settled: outcomes().all(|outcome| outcome.settled || outcome.ended.is_some()),
    }
}

impl Board {
    /// Takes what the processes say until an instant, or until the measured time is over for all.
    async fn listen(
        &mut self,
        processes: &mut Processes,
        until: Option<Instant>,
    ) -> anyhow::Result<()> {
        while until.is_some() || !self.is_over() {
            let heard = match until {
                Some(until) => match timeout_at(until, processes.next()).await {
                    Ok(heard) => heard?,
                    Err(_) => return Ok(()),
                },
                None => processes.next().await?,
            };
            self.hear(heard)?;
        }
        Ok(())
    }

    /// Waits until nothing is without an answer anywhere; gathers the last places in each room.
    async fn quiet(
        &mut self,
        processes: &mut Processes,
        heads: &mut HashMap<Uuid, u64>,
    ) -> anyhow::Result<()> {
        crate::report::progress_ends();
        while self.quiet < processes.count() {
            let heard = processes.next().await?;
            self.hear(heard)?;
        }
        for (room, seq) in self.heads.drain(..) {
            let head = heads.entry(room).or_default();
            *head = seq.max(*head);
        }
        Ok(())
    }

    /// Everything that the processes counted and kept.
    async fn finish(&mut self, processes: &mut Processes) -> anyhow::Result<Vec<Partial>> {
        let mut partials = Vec::new();
        while partials.len() < processes.count() {
            match processes.next().await? {
                (_, News::Done(partial)) => partials.push(*partial),
                heard => self.hear(heard)?,
            }
        }
        Ok(partials)
    }
}

/// What this process and its children have used.
///
/// # Errors
/// When /proc cannot be read.
pub fn own() -> anyhow::Result<Used> {
    process::Tree { pid: std::process::id() }.used().context("measuring the generator")
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

/// What each of these has used up to now.
///
/// # Errors
/// When one of them is gone.
pub fn used(servers: &[process::Tree]) -> anyhow::Result<Vec<Used>> {
    servers
        .iter()
        .map(|tree| tree.used().with_context(|| format!("measuring process {}", tree.pid)))
        .collect()
}

/// What each has used between two looks.
///
/// # Errors
/// When one of them is gone.
pub fn uses(
    servers: &[process::Tree],
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
            ..ServerUse::default()
        });
    }
    Ok(uses)
}
