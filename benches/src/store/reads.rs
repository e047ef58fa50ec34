//! One kind of read or opening, again and again, in rooms that are there: what it takes and costs.
//! Nothing is appended here; `rows` does that on the same database.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use parlance_actors::ports::History;
use parlance_actors::ports::history::Range;
use parlance_actors::vocab::{Epoch, Key, RoomId, RoomRef, Seq, TenantId, UserId};
use uuid::Uuid;

use crate::Database;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Operation {
    /// What a room learns when it opens: its head above all.
    Open,
    /// Where an event with a key is.
    Key,
    /// A page of the timeline before a seq, with the notes on it.
    Before,
    /// A page of the log after a seq.
    After,
}

/// Where in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Place {
    Head,
    Middle,
    Beginning,
}

/// What to read.
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    database: Database,
    /// What to do.
    #[arg(long)]
    operation: Operation,
    /// Where.
    #[arg(long, default_value = "head")]
    place: Place,
    /// The rooms, which take turns.
    #[arg(long = "room", required = true)]
    rooms: Vec<Uuid>,
    /// How often.
    #[arg(long, default_value_t = 500)]
    count: u64,
    /// Events of a page.
    #[arg(long, default_value_t = 100)]
    page: u16,
}

/// Reads before anything is measured: connections are made and statements planned.
const WARM_UP: u64 = 32;
/// The longest read that is told apart, in microseconds.
const LONGEST_MICROS: u64 = 60_000_000;

/// A room and what is known of it.
struct Known {
    at: RoomRef,
    head: Seq,
    keys: Vec<(UserId, Key)>,
}

/// Runs it and prints one line.
pub(crate) async fn run(plan: Plan) -> anyhow::Result<()> {
    let storage = plan.database.open().await?;
    let history = storage.history();
    let mut rooms = Vec::new();
    for room in &plan.rooms {
        let at = RoomRef { tenant: TenantId::MAIN, room: RoomId(*room) };
        let opened = history.open(at, Epoch(1), None).await.context("opening a room")?;
        ensure!(opened.head.0 > 0, "room {room} is empty");
        let range = range(&plan, opened.head, 0);
        let page = history.log(at, range, plan.page).await.context("a page")?;
        let keys = page.events.iter().map(|event| (event.sender.id, event.key)).collect();
        rooms.push(Known { at, head: opened.head, keys });
    }
    let mut took = Histogram::<u64>::new_with_max(LONGEST_MICROS, 3)?;
    for round in 0..WARM_UP {
        once(&plan, &*history, &rooms, round).await?;
    }
    let before = plan.database.cpu()?;
    for round in 0..plan.count {
        let begun = Instant::now();
        once(&plan, &*history, &rooms, round).await?;
        took.saturating_record(u64::try_from(begun.elapsed().as_micros())?);
    }
    let after = plan.database.cpu()?;
    storage.close().await;
    let per = |after: Duration, before: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / (plan.count as f64)
    };
    println!(
        "p50_us={} p99_us={} own_us={:.0} database_us={:.0}",
        took.value_at_quantile(0.5),
        took.value_at_quantile(0.99),
        per(after.0, before.0),
        per(after.1, before.1),
    );
    Ok(())
}

/// The page around a place, moved a little with each round so that not always the same rows come.
fn range(plan: &Plan, head: Seq, round: u64) -> Range {
    let span = (head.0 / 10).max(1);
    let moved = round.wrapping_mul(7_919) % span;
    let page = u64::from(plan.page);
    let seq = match plan.place {
        Place::Head => head.0.saturating_sub(moved.min(page)),
        Place::Middle => head.0 / 2 + moved / 2,
        Place::Beginning => page + 1 + moved.min(page),
    };
    match plan.operation {
        Operation::After => Range::After(Seq(seq.saturating_sub(page + 1))),
        _ => Range::Before(Seq(seq + 1)),
    }
}

async fn once(
    plan: &Plan,
    history: &dyn History,
    rooms: &[Known],
    round: u64,
) -> anyhow::Result<()> {
    let place = usize::try_from(round)?;
    let room = &rooms[place % rooms.len()];
    let range = range(plan, room.head, round);
    match plan.operation {
        Operation::Open => {
            let opened = history.open(room.at, Epoch(1), None).await?;
            ensure!(opened.head == room.head, "a head moved");
        }
        Operation::Key => {
            let (sender, key) = room.keys[place % room.keys.len()];
            ensure!(history.key(room.at, sender, key).await?.is_some(), "a key is missing");
        }
        Operation::Before => {
            let page = history.timeline(room.at, range, plan.page).await?;
            ensure!(!page.entries.is_empty(), "an empty page");
        }
        Operation::After => {
            let page = history.log(room.at, range, plan.page).await?;
            ensure!(!page.events.is_empty(), "an empty page");
        }
    }
    Ok(())
}
