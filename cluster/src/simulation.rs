//! A whole cluster under faults in virtual time, many seeded schedules of it: the real gossip cores,
//! the directory's real state machine, leases, placement and steering over a modelled Raft, and the
//! real rooms, hubs and sessions that follow them, with clients. Every schedule ends healed; then all
//! parts agree, each shard has one owner, and the promises hold for what every client was told.
//!
//! `PARLANCE_SEED=… cargo nextest run -p parlance-cluster every_schedule --no-capture` runs one
//! schedule again and prints what happens; `PARLANCE_SCHEDULES=…` runs so many, on all cores. The seed
//! decides faults, network, elections and clients. The order in which tokio and hash maps take what
//! is due in the same millisecond is theirs: a seed that fails rarely is to be run several times
//! (`PARLANCE_REPEATS`).
//!
//! Not here: QUIC, openraft, PostgreSQL, files. Each has its own tests.

mod client;
mod fleet;
mod links;
mod schedule;
mod verdict;
mod world;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parlance_actors::ports::directory::{Directory, NewRoom};
use parlance_actors::session::{Caller, Change};
use parlance_actors::testkit::history::Broken;
use parlance_actors::vocab::{RoomId, RoomKind, RoomName, TenantId, Timestamp, Topic, UserId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use uuid::{Builder, Variant, Version};

use self::client::{Client, Known, Trace, key};
use self::fleet::Fleet;
use self::schedule::Schedule;

/// All must be well so soon after the faults are gone: elections, takeovers, and commits that are
/// waited for.
const HEALED_WITHIN: Duration = Duration::from_secs(180);
/// Schedules that are always run.
const SCHEDULES: u64 = 150;
/// In `make soak`.
const MANY_SCHEDULES: u64 = 3_000;
/// A broken build is caught within so many.
const CAUGHT_WITHIN: u64 = 200;

/// What is broken on purpose, to show that it is noticed.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// In the database.
    Database(Broken),
    /// Every node takes what is taken over for its own.
    EverybodyTakesOver,
}

impl Schedule {
    /// Runs it; how long it took to heal.
    fn run(&self, fault: Option<Fault>, trace: bool) -> Result<Duration, String> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(Box::pin(self.play(fault, trace)))
    }

    async fn play(&self, fault: Option<Fault>, trace: bool) -> Result<Duration, String> {
        let began = tokio::time::Instant::now();
        let trace = trace.then(|| -> Trace {
            Arc::new(move |what| println!("{:>7} ms: {what}", began.elapsed().as_millis()))
        });
        let mut random = SmallRng::seed_from_u64(self.seed ^ 0x5eed);
        let mut fleet = Fleet::new(random.random(), self.nodes);
        let played = self.stage(&mut fleet, &mut random, fault, trace.clone()).await;
        // A task that panicked is the cause of whatever else went wrong.
        let played = fleet.failed().map_or(played, Err);
        let events = std::mem::take(&mut fleet.world.sim.lock().trace);
        if trace.is_some() {
            events.iter().for_each(|event| println!("{event}"));
        }
        played.map_err(|why| format!("{why}\n{}", events.join("\n")))
    }

    async fn stage(
        &self,
        fleet: &mut Fleet,
        random: &mut SmallRng,
        fault: Option<Fault>,
        trace: Option<Trace>,
    ) -> Result<Duration, String> {
        (0..self.nodes).for_each(|at| fleet.start(at));
        let up = timeout(Duration::from_secs(30), fleet.all_up()).await;
        up.map_err(|_| "the nodes did not start".to_owned())?;
        let rooms = self.rooms(fleet, random).await?;
        break_it(fleet, fault);
        let busy = Arc::new(AtomicUsize::new(self.clients));
        let (heads_known, heads) = watch::channel(None);
        let mut clients = JoinSet::new();
        for number in 0..self.clients {
            let client = self.client(number, fleet, &rooms, random, &busy, trace.clone()).await?;
            clients.spawn(Box::pin(client.live(heads.clone())));
        }
        for (before, step) in &self.steps {
            sleep(*before).await;
            fleet.perform(step, &rooms);
        }
        fleet.heal();
        let healed = tokio::time::Instant::now();
        let all = timeout(HEALED_WITHIN, async {
            while busy.load(Ordering::Acquire) > 0 && !clients.is_empty() {
                sleep(Duration::from_millis(50)).await;
                if let Some(ended) = clients.try_join_next() {
                    ended.map_err(|error| error.to_string())??;
                }
            }
            // Nothing more is sent, so the logs stand still.
            let logs = verdict::read(&fleet.database, &rooms);
            let ends = logs.iter().map(|(room, log)| (*room, log.len() as u64)).collect();
            heads_known.send_replace(Some(ends));
            let mut all = Vec::new();
            while let Some(known) = clients.join_next().await {
                all.push(known.map_err(|error| error.to_string())??);
            }
            Ok::<Vec<Known>, String>(all)
        });
        let all = match all.await {
            Ok(all) => all?,
            Err(_) => return Err(self.unhealed(fleet, &rooms)),
        };
        let logs = verdict::read(&fleet.database, &rooms);
        verdict::check(&fleet.database, &logs, &all)?;
        let agree = timeout(HEALED_WITHIN, async {
            while fleet.world.sim.lock().disagreement().is_some() {
                sleep(Duration::from_millis(100)).await;
            }
        });
        agree.await.map_err(|_| self.unhealed(fleet, &rooms))?;
        Ok(healed.elapsed())
    }

    fn unhealed(&self, fleet: &Fleet, rooms: &[RoomId]) -> String {
        let why = fleet.world.sim.lock().disagreement();
        let owners = rooms.iter().map(|room| format!("{room}: {:?}", fleet.owners(room.shard())));
        let owners: Vec<String> = owners.collect();
        format!("it did not heal; disagreement: {why:?}; owners: {owners:#?}")
    }

    async fn rooms(&self, fleet: &Fleet, random: &mut SmallRng) -> Result<Vec<RoomId>, String> {
        let mut rooms = Vec::new();
        for number in 0..self.rooms {
            let id = RoomId(uuid(random));
            let name = RoomName::parse(&format!("room{number}")).expect("a name");
            let new = NewRoom {
                tenant: TenantId::MAIN,
                id,
                key: key(99, number as u64 + 1),
                kind: RoomKind::Public,
                name,
                topic: Topic::default(),
                by: UserId(uuid(random)),
                at: Timestamp(0),
            };
            fleet.desk(0).create_room(new).await.map_err(|error| error.to_string())?;
            rooms.push(id);
        }
        Ok(rooms)
    }

    /// A client that is in every room.
    async fn client(
        &self,
        number: usize,
        fleet: &Fleet,
        rooms: &[RoomId],
        random: &mut SmallRng,
        busy: &Arc<AtomicUsize>,
        trace: Option<Trace>,
    ) -> Result<Client, String> {
        let username: Arc<str> = format!("user{number}").into();
        let user = UserId(uuid(random));
        fleet.database.add_user(user, &username);
        let caller = Caller { tenant: TenantId::MAIN, user, username, device: None, admin: false };
        let number = u16::try_from(number).expect("few clients");
        let door = fleet.doors.lock().values().next().cloned().expect("all are up");
        let began = tokio::time::Instant::now();
        let mut made = 0;
        for room in rooms {
            made += 1;
            let joining = key(number + 200, made);
            while let Err(refusal) = door.chat.post(&caller, *room, joining, Change::Join).await {
                if began.elapsed() > HEALED_WITHIN {
                    return Err(format!("nobody can join: {refusal:?}"));
                }
                sleep(Duration::from_millis(100)).await;
            }
        }
        let cursors: BTreeMap<RoomId, u64> = rooms.iter().map(|room| (*room, 0)).collect();
        Ok(Client {
            number,
            caller,
            doors: fleet.doors.clone(),
            random: SmallRng::seed_from_u64(random.random()),
            known: Known { cursors, ..Known::default() },
            open: rooms.iter().map(|room| (*room, Vec::new())).collect(),
            left: self.sends,
            made: 0,
            next: tokio::time::Instant::now(),
            busy: busy.clone(),
            is_idle: false,
            trace,
        })
    }
}

fn break_it(fleet: &Fleet, fault: Option<Fault>) {
    match fault {
        None => {}
        Some(Fault::Database(broken)) => fleet.database.break_promise(broken),
        Some(Fault::EverybodyTakesOver) => {
            fleet.world.change(|sim| sim.group.everybody_takes_over = true);
        }
    }
}

fn uuid(random: &mut SmallRng) -> uuid::Uuid {
    let bytes = Builder::from_u128(random.random());
    bytes.with_variant(Variant::RFC4122).with_version(Version::SortRand).into_uuid()
}

/// Runs a schedule; a panic anywhere in it is a failure of it.
fn outcome(schedule: &Schedule, fault: Option<Fault>, trace: bool) -> Result<Duration, String> {
    let run = AssertUnwindSafe(|| schedule.run(fault, trace));
    std::panic::catch_unwind(run).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Runs so many schedules on so many threads; how long each took to heal, or the first failure.
fn run_all(first: u64, count: u64, threads: usize) -> Result<Vec<Duration>, String> {
    let next = AtomicU64::new(first);
    let run = || -> Result<Vec<Duration>, String> {
        let mut took = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(took);
            }
            let schedule = Schedule::from_seed(seed);
            let healed = outcome(&schedule, None, false).map_err(|why| {
                next.store(u64::MAX / 2, Ordering::Relaxed);
                format!("PARLANCE_SEED={seed}: {why}\n{schedule:#?}")
            });
            took.push(healed?);
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a panic of a schedule is caught")?);
        }
        Ok(all)
    })
}

#[test]
fn the_promises_hold_in_every_schedule_of_a_whole_cluster() {
    if let Some(seed) = number_from("PARLANCE_SEED") {
        let schedule = Schedule::from_seed(seed);
        println!("{schedule:#?}");
        for _ in 0..number_from("PARLANCE_REPEATS").unwrap_or(1) {
            outcome(&schedule, None, true).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        }
        return;
    }
    match number_from("PARLANCE_SCHEDULES") {
        Some(count) => hold_in(number_from("PARLANCE_FIRST").unwrap_or(1), count, cores()),
        None => hold_in(number_from("PARLANCE_FIRST").unwrap_or(1), SCHEDULES, 1),
    }
}

#[test]
#[ignore = "takes minutes: make soak"]
fn the_promises_hold_in_thousands_of_schedules_that_were_never_run() {
    hold_in(rand::random_range(0..u64::MAX / 4), MANY_SCHEDULES, cores());
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn hold_in(first: u64, count: u64, threads: usize) {
    println!("seeds {first} to {}", first + count - 1);
    let began = Instant::now();
    let mut healing = run_all(first, count, threads).unwrap_or_else(|why| panic!("{why}"));
    healing.sort_unstable();
    println!(
        "{count} schedules in {:?} on {threads} threads; healed in {:?} (median), {:?} (worst)",
        began.elapsed(),
        healing[healing.len() / 2],
        healing[healing.len() - 1]
    );
}

/// Which schedule notices a broken build, and how.
fn caught(fault: Fault) -> (u64, String) {
    for seed in 1..=CAUGHT_WITHIN {
        if let Err(why) = outcome(&Schedule::from_seed(seed), Some(fault), false) {
            let why = why.lines().next().unwrap_or_default().to_owned();
            println!("{fault:?} is caught by seed {seed}: {why}");
            return (seed, why);
        }
    }
    panic!("{fault:?} is not caught in {CAUGHT_WITHIN} schedules");
}

#[test]
fn a_database_without_a_fence_is_caught() {
    caught(Fault::Database(Broken::NoFence));
}

#[test]
fn an_owner_that_goes_on_when_it_is_fenced_is_caught() {
    caught(Fault::Database(Broken::AcksWhenFenced));
}

#[test]
fn a_key_that_is_held_twice_is_caught() {
    caught(Fault::Database(Broken::NoDedupe));
}

#[test]
fn a_shard_that_is_given_to_two_nodes_is_caught() {
    caught(Fault::EverybodyTakesOver);
}
