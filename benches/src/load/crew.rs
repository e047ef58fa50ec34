//! One process's share of a run: it opens its sockets, lets them loose at the common start, says once
//! a second how it goes, and gives back everything that they counted and kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, bail};
use parlance_client::Server;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use uuid::Uuid;

use super::away::retry_after;
use super::churn::{Visitor, Visits};
use super::clock::{Shared, Times};
use super::history::Reader;
use super::plan::{Load, Plan};
use super::session::{Common, Heads, Outcome, Phase, Session};
use super::site::Site;
use super::tally::{Sparse, Step, Tallies, sparse};
use crate::limits;
use crate::setup::Prepared;

/// What a process has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) site: Site,
    pub(super) plan: Plan,
    pub(super) prepared: Prepared,
    /// Which of the processes this is.
    pub(super) part: usize,
    /// How many there are.
    pub(super) parts: usize,
}

/// What the conductor tells a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    /// Open the sockets.
    Open,
    /// The run begins then.
    Go(Shared),
    /// Everything was sent: wait until this is received everywhere.
    Settle(Vec<(Uuid, u64)>),
}

/// What a process tells the conductor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// All sockets are open.
    Ready,
    /// How it goes.
    Tick(Tick),
    /// Everything was sent and answered, or will never be.
    Quiet(Vec<(Uuid, u64)>),
    /// It is over.
    Done(Box<Partial>),
    /// It cannot go on.
    Failed(String),
}

/// The counts of a process up to an instant.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) delivered: u64,
    pub(super) acked: u64,
    pub(super) done: u64,
    pub(super) refused_for_now: u64,
    pub(super) refused_for_good: u64,
}

/// One second of a process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tick {
    /// It ended so many seconds after the first measured instant.
    pub(super) second: i64,
    /// Up to its end.
    pub(super) counts: Counts,
    /// The latencies that came in it.
    pub(super) recent: BTreeMap<Step, Sparse>,
}

/// Everything that a process counted and kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Partial {
    pub(super) outcomes: Vec<Outcome>,
    pub(super) whole: BTreeMap<Step, Sparse>,
    /// At the first measured instant.
    pub(super) before: Counts,
    /// When the measured time was over.
    pub(super) after: Counts,
    /// At the end.
    pub(super) last: Counts,
}

/// Those who do the work of a scenario.
enum Crew {
    Sessions(Vec<Session>),
    Visitors(Vec<Visitor>),
    Readers(Vec<Reader>),
}

impl Counts {
    fn of(tallies: &Tallies) -> Self {
        Self {
            delivered: tallies.delivered(),
            acked: tallies.acked(),
            done: tallies.done(),
            refused_for_now: tallies.refused_for_now(),
            refused_for_good: tallies.refused_for_good(),
        }
    }

    /// Both together.
    pub(super) fn add(&mut self, other: &Self) {
        self.delivered += other.delivered;
        self.acked += other.acked;
        self.done += other.done;
        self.refused_for_now += other.refused_for_now;
        self.refused_for_good += other.refused_for_good;
    }
}

/// Does a job, and says so whatever becomes of it.
pub(super) async fn work(job: Job, orders: mpsc::Receiver<Order>, news: mpsc::Sender<News>) {
    if let Err(error) = Box::pin(do_work(job, orders, &news)).await {
        // A conductor that is gone needs no news.
        let _ = news.send(News::Failed(format!("{error:#}"))).await;
    }
}

async fn do_work(
    job: Job,
    mut orders: mpsc::Receiver<Order>,
    news: &mpsc::Sender<News>,
) -> anyhow::Result<()> {
    let Job { site, plan, prepared, part, parts } = job;
    let doors = site.doors()?;
    let tallies = Tallies::new()?;
    let heads = Mutex::new(Heads::new());
    let common = Arc::new(Common { plan, prepared, tallies, heads });
    let Some(Order::Open) = orders.recv().await else { bail!("told something else than to open") };
    let mut crew = Crew::open(&common, &site, &doors, (part, parts)).await?;
    tell(news, News::Ready).await?;
    let Some(Order::Go(start)) = orders.recv().await else {
        bail!("told something else than to go")
    };

    let times = Times::new(start.instant(), common.plan.warm_up, common.plan.duration);
    let (phase, phases) = watch::channel(Phase::Run);
    let mut running = JoinSet::new();
    let away = crew.returning();
    crew.begin(&common, times, (part, parts), &phases, &mut running);
    drop(crew);
    let (before, after) = tick(&common.tallies, times, away, news).await?;
    let mut outcomes = calm(&common, &mut running, away.is_some()).await?;
    let heads = common.heads.lock().expect("nothing panics while it is held").clone();
    tell(news, News::Quiet(heads.into_iter().collect())).await?;
    let Some(Order::Settle(heads)) = orders.recv().await else { bail!("told no heads") };
    phase.send_replace(Phase::Settle(Arc::new(heads.into_iter().collect())));
    outcomes.extend(settle(running, &phase).await?);
    let last = Counts::of(&common.tallies);
    let whole = common.tallies.whole();
    let whole = whole.iter().map(|(step, histogram)| (*step, sparse(histogram))).collect();
    tell(news, News::Done(Box::new(Partial { outcomes, whole, before, after, last }))).await
}

async fn tell(news: &mpsc::Sender<News>, what: News) -> anyhow::Result<()> {
    news.send(what).await.ok().context("nobody conducts this run any more")
}

impl Crew {
    /// Opens this process's share of the seats, a bounded number at once.
    async fn open(
        common: &Arc<Common>,
        site: &Site,
        doors: &[Server],
        (part, parts): (usize, usize),
    ) -> anyhow::Result<Self> {
        let seats = common.plan.seats();
        let of = |index: usize| common.plan.part_of(index, parts);
        let own = seats.iter().enumerate().filter(|(index, _)| of(*index) == part);
        let door = |index: usize| site.from_source(&doors[index % doors.len()], index);
        match &common.plan.load {
            Load::Churn(_) => Ok(Self::Visitors(
                own.map(|(index, seat)| Visitor::new(index, seat, door(index), common.clone()))
                    .collect(),
            )),
            Load::History(_) => {
                let mut readers: Vec<Reader> = own
                    .map(|(index, seat)| Reader::new(index, seat, door(index), common.clone()))
                    .collect();
                for reader in &mut readers {
                    reader.ready().await.context("opening a connection")?;
                }
                Ok(Self::Readers(readers))
            }
            _ => {
                let sessions =
                    own.map(|(index, seat)| Session::new(index, seat, door(index), common.clone()));
                Ok(Self::Sessions(open(sessions).await?))
            }
        }
    }

    /// How many come back in the course of the run, if the run ends when they are back.
    fn returning(&mut self) -> Option<u64> {
        let Self::Sessions(sessions) = self else { return None };
        let load = &sessions.first()?.common.plan.load;
        if !matches!(load, Load::CatchUp(_)) {
            return None;
        }
        sessions.iter_mut().for_each(Session::leave);
        Some(sessions.len() as u64)
    }

    fn begin(
        &mut self,
        common: &Arc<Common>,
        times: Times,
        (part, parts): (usize, usize),
        phases: &watch::Receiver<Phase>,
        running: &mut JoinSet<Outcome>,
    ) {
        match self {
            Self::Sessions(sessions) => {
                for mut session in sessions.drain(..) {
                    session.begin(times);
                    running.spawn(session.run(phases.clone()));
                }
            }
            Self::Visitors(visitors) => {
                let Load::Churn(churn) = &common.plan.load else { return };
                let visits = Arc::new(Visits::new(churn.rate, part, parts));
                for visitor in visitors.drain(..) {
                    let (churn, visits) = (churn.clone(), visits.clone());
                    running.spawn(visitor.run(churn, times, visits, phases.clone()));
                }
            }
            Self::Readers(readers) => {
                let Load::History(history) = &common.plan.load else { return };
                let pages = Arc::new(Visits::new(history.rate, part, parts));
                for reader in readers.drain(..) {
                    let (history, pages) = (history.clone(), pages.clone());
                    running.spawn(reader.run(history, times, pages, phases.clone()));
                }
            }
        }
    }
}

/// Opens sessions, a bounded number at once; what the server refuses for now is tried again.
async fn open(sessions: impl Iterator<Item = Session>) -> anyhow::Result<Vec<Session>> {
    let mut waiting = sessions;
    let mut opening: JoinSet<anyhow::Result<Session>> = JoinSet::new();
    let mut open = Vec::new();
    loop {
        while opening.len() < limits::CONNECTS_AT_ONCE {
            let Some(mut session) = waiting.next() else { break };
            opening.spawn(async move {
                let deadline = Instant::now() + limits::OPEN_WAIT;
                loop {
                    match session.ready().await {
                        Ok(()) => return Ok(session),
                        Err(error) => match retry_after(&error) {
                            Some(pause) if Instant::now() + pause < deadline => {
                                session.leave();
                                sleep(pause).await;
                            }
                            _ => {
                                let why = format!("opening session {}", session.index);
                                return Err(anyhow::Error::from(error).context(why));
                            }
                        },
                    }
                }
            });
        }
        let Some(opened) = opening.join_next().await else { break };
        open.push(opened.context("a socket's task ended by itself")??);
    }
    open.sort_by_key(|session| session.index);
    Ok(open)
}

/// Says once a second how it goes, until the measured time is over or everybody who was away is back;
/// answers the counts at the beginning and at the end of it.
async fn tick(
    tallies: &Tallies,
    times: Times,
    away: Option<u64>,
    news: &mpsc::Sender<News>,
) -> anyhow::Result<(Counts, Counts)> {
    let warm = i64::try_from(times.measure.duration_since(times.start).as_secs()).unwrap_or(0);
    let mut before = Counts::default();
    for second in -warm.. {
        let at = if second < 0 {
            times.measure - Duration::from_secs(second.unsigned_abs())
        } else {
            (times.measure + Duration::from_secs(second.unsigned_abs())).min(times.end)
        };
        let is_back = || away.is_some_and(|all| second >= 0 && tallies.done() >= all);
        while Instant::now() < at && !is_back() {
            let pause = if away.is_some() { limits::LOOK_EVERY } else { Duration::MAX };
            sleep_until(at.min(Instant::now().checked_add(pause).unwrap_or(at))).await;
        }
        let counts = Counts::of(tallies);
        if second == 0 {
            before = counts;
        }
        tell(news, News::Tick(Tick { second, counts, recent: tallies.recent() })).await?;
        if at >= times.end || is_back() {
            return Ok((before, counts));
        }
    }
    bail!("time does not end")
}

/// Waits until nothing that was sent is without an answer, for a bounded time. Visitors and readers
/// end by themselves when everything that was due is done, and are waited for.
async fn calm(
    common: &Common,
    running: &mut JoinSet<Outcome>,
    is_returning: bool,
) -> anyhow::Result<Vec<Outcome>> {
    let deadline = Instant::now() + limits::SETTLE_WAIT;
    let mut ended = Vec::new();
    if is_returning {
        return Ok(ended);
    }
    if matches!(common.plan.load, Load::Churn(_) | Load::History(_)) {
        while let Ok(Some(outcome)) = timeout_at(deadline, running.join_next()).await {
            ended.push(outcome.context("a visitor's or reader's task ended by itself")?);
        }
    }
    while common.tallies.open() > 0 && Instant::now() < deadline {
        sleep(limits::LOOK_EVERY).await;
    }
    Ok(ended)
}

/// Waits for everybody's end, and after a bounded time ends them.
async fn settle(
    mut running: JoinSet<Outcome>,
    phase: &watch::Sender<Phase>,
) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    let deadline = Instant::now() + limits::SETTLE_WAIT;
    while let Ok(Some(outcome)) = timeout_at(deadline, running.join_next()).await {
        outcomes.push(outcome.context("a session's task ended by itself")?);
    }
    phase.send_replace(Phase::Stop);
    while let Some(outcome) = running.join_next().await {
        outcomes.push(outcome.context("a session's task ended by itself")?);
    }
    Ok(outcomes)
}
