//! Messages through the lanes: as many as a lane may hold, always (each commit then carries exactly
//! those), or so many a second.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use parlance_actors::ports::History;
use parlance_actors::ports::history::{Append, AppendSink, Outcome, RoomHead, Settled};
use parlance_actors::vocab::{
    Content, DeviceId, Draft, Epoch, Key, RoomId, RoomRef, Sender, TenantId, Timestamp, UserId,
};
use uuid::Uuid;

use crate::Database;
use crate::commits::Commits;

/// How often a run at a rate sends what is due.
const TICK: Duration = Duration::from_millis(1);
/// How long the end waits for what is under way.
const SETTLE_WAIT: Duration = Duration::from_secs(15);

/// What to commit.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    database: Database,
    /// Events that each lane has under way at any time, and so in each commit.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Instead of that: messages a second, all rooms together.
    #[arg(long)]
    rate: Option<f64>,
    /// Rooms, spread over the shards.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Bytes of a body.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Ends after so many rows instead, without a warm-up: for counting instructions.
    #[arg(long)]
    rows: Option<u64>,
}

/// What all rooms share.
struct Load {
    history: Arc<dyn History>,
    body: Arc<str>,
    /// Each settled event is followed by another one.
    again: AtomicBool,
    posted: AtomicU64,
    committed: AtomicU64,
    failed: AtomicU64,
}

/// The rooms of one lane, which take turns.
struct Group {
    load: Arc<Load>,
    rooms: Vec<Weak<Room>>,
    turn: AtomicUsize,
}

struct Room {
    at: RoomRef,
    head: Arc<RoomHead>,
    sender: UserId,
    device: DeviceId,
    group: Arc<std::sync::OnceLock<Group>>,
}

impl Group {
    fn post(&self) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.rooms.len();
        let Some(room) = self.rooms[turn].upgrade() else { return };
        let content = Content::Message {
            body: self.load.body.clone(),
            reply_to: None,
            thread: None,
            enc: false,
        };
        let draft = Draft {
            sender: Sender { id: room.sender, username: "not read".into() },
            device: Some(room.device),
            key: Key::generate(),
            sent_at: Timestamp::now(),
            content,
        };
        let (at, head) = (room.at, room.head.clone());
        let append = Append { room: at, epoch: Epoch(1), head, ticket: 0, draft, sink: room };
        self.load.posted.fetch_add(1, Ordering::Relaxed);
        if self.load.history.append(append).is_err() {
            self.load.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AppendSink for Room {
    fn settled(&self, outcomes: Vec<Settled>) {
        let group = self.group.get().expect("set before the first post");
        for Settled { outcome, .. } in outcomes {
            let counter = match outcome {
                Outcome::Committed { .. } => &group.load.committed,
                _ => &group.load.failed,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            if group.load.again.load(Ordering::Relaxed) {
                group.post();
            }
        }
    }
}

/// Runs it and prints one line.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let commits = Commits::install()?;
    let lanes = plan.database.lanes()?;
    ensure!(plan.rooms >= lanes, "each lane needs a room");
    let storage = plan.database.open().await?;
    let load = Arc::new(Load {
        history: storage.history(),
        body: "x".repeat(plan.body).into(),
        again: AtomicBool::new(plan.rate.is_none()),
        posted: AtomicU64::new(0),
        committed: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let (groups, _rooms) = open(&plan, lanes, &load).await?;
    if plan.rate.is_none() {
        for group in &groups {
            (0..plan.batch).for_each(|_| posting(group).post());
        }
    }
    let counts = || (load.committed.load(Ordering::Relaxed), commits.count());
    let (before, cpu, begun);
    if let Some(rows) = plan.rows {
        (before, cpu, begun) = ((0, 0), plan.database.cpu()?, Instant::now());
        while load.committed.load(Ordering::Relaxed) < rows {
            tokio::time::sleep(TICK).await;
        }
    } else {
        feed(&plan, &groups, plan.warm_up).await;
        (before, cpu, begun) = (counts(), plan.database.cpu()?, Instant::now());
        feed(&plan, &groups, plan.seconds).await;
    }
    let (after, spent, took) = (counts(), plan.database.cpu()?, begun.elapsed());
    load.again.store(false, Ordering::Relaxed);
    let waited = Instant::now();
    let open = || load.posted.load(Ordering::Relaxed) > load.committed.load(Ordering::Relaxed);
    while open() && load.failed.load(Ordering::Relaxed) == 0 && waited.elapsed() < SETTLE_WAIT {
        tokio::time::sleep(TICK).await;
    }
    storage.close().await;
    let failed = load.failed.load(Ordering::Relaxed);
    ensure!(failed == 0 && !open(), "{failed} events failed, or some were not settled");
    let (rows, commits) = (after.0 - before.0, after.1 - before.1);
    let per = |spent: Duration, before: Duration, of: u64| {
        spent.saturating_sub(before).as_secs_f64() * 1e6 / (of.max(1) as f64)
    };
    println!(
        "rows_per_second={:.0} rows={rows} commits={commits} rows_per_commit={:.1} \
         own_us_per_row={:.2} own_us_per_commit={:.1} database_us_per_row={:.2} \
         database_us_per_commit={:.1}",
        rows as f64 / took.as_secs_f64(),
        rows as f64 / commits.max(1) as f64,
        per(spent.0, cpu.0, rows),
        per(spent.0, cpu.0, commits),
        per(spent.1, cpu.1, rows),
        per(spent.1, cpu.1, commits),
    );
    Ok(())
}

type Groups = Vec<Arc<std::sync::OnceLock<Group>>>;

fn posting(group: &std::sync::OnceLock<Group>) -> &Group {
    group.get().expect("set when it was made")
}

/// Opens the rooms: as many in each lane, their shards spread.
async fn open(
    plan: &Plan,
    lanes: usize,
    load: &Arc<Load>,
) -> anyhow::Result<(Groups, Vec<Arc<Room>>)> {
    let groups: Groups = (0..lanes).map(|_| Arc::default()).collect();
    let mut rooms: Vec<Arc<Room>> = Vec::with_capacity(plan.rooms);
    for number in 0..plan.rooms {
        let mut bytes = *Uuid::new_v4().as_bytes();
        // The last byte is the shard, and the shard's remainder the lane.
        bytes[15] = u8::try_from(number % 256)?;
        let at = RoomRef { tenant: TenantId::MAIN, room: RoomId(Uuid::from_bytes(bytes)) };
        let opened = load.history.open(at, Epoch(1), None).await.context("opening a room")?;
        let group = groups[usize::from(at.shard().0) % lanes].clone();
        let (sender, device) = (UserId::generate(), DeviceId(Uuid::new_v4()));
        rooms.push(Arc::new(Room { at, head: RoomHead::of(&opened), sender, device, group }));
    }
    for group in &groups {
        let own = rooms.iter().filter(|room| Arc::ptr_eq(&room.group, group));
        let rooms = own.map(Arc::downgrade).collect();
        let made = Group { load: load.clone(), rooms, turn: AtomicUsize::new(0) };
        ensure!(group.set(made).is_ok(), "a group is made once");
    }
    Ok((groups, rooms))
}

/// Lets time pass, and at a rate sends what is due in it.
async fn feed(plan: &Plan, groups: &Groups, seconds: f64) {
    let begun = Instant::now();
    let end = Duration::from_secs_f64(seconds);
    let Some(rate) = plan.rate else { return tokio::time::sleep(end).await };
    let mut ticks = tokio::time::interval(TICK);
    let mut sent = 0_u64;
    while begun.elapsed() < end {
        ticks.tick().await;
        let due = begun.elapsed().as_secs_f64() * rate;
        while (sent as f64) < due {
            let lane = usize::try_from(sent).unwrap_or_default() % groups.len();
            posting(&groups[lane]).post();
            sent += 1;
        }
    }
}
