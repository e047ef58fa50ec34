//! Which rooms do the most on this node: counters that only grow, and a look at them when somebody
//! asks. While nobody asks, a room costs its counters and nothing else.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::limits::{BUSIEST_ANEW, BUSIEST_MARK, BUSIEST_OVER_MIN, BUSIEST_ROOMS_MAX};
use crate::ports::cluster::RoomLoad;
use crate::vocab::RoomRef;
use crate::world::World;

/// What something has done since it began, and where that stood at the last two marks.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    marks: [AtomicU64; 2],
}

impl Tally {
    pub(crate) fn add(&self, more: u64) {
        self.count.fetch_add(more, Relaxed);
    }

    /// What came since the older mark. What began later has done all of it since.
    pub(crate) fn since_mark(&self) -> u64 {
        self.count.load(Relaxed).saturating_sub(self.marks[0].load(Relaxed))
    }

    /// The newer mark becomes the older one, and the present count the newer.
    pub(crate) fn mark(&self) {
        self.marks[0].store(self.marks[1].load(Relaxed), Relaxed);
        self.marks[1].store(self.count.load(Relaxed), Relaxed);
    }
}

/// When the last two marks were made; `None` before the first look. Whoever looks holds it.
#[derive(Debug, Default)]
pub(crate) struct Marks(tokio::sync::Mutex<Option<[Instant; 2]>>);

/// The rooms that did the most here, the busiest first: at most [`BUSIEST_ROOMS_MAX`], with rates over the
/// last seconds. Who asks first after a while waits for one second.
pub(crate) async fn busiest(world: &Arc<World>) -> Vec<RoomLoad> {
    let mut marks = world.marks.0.lock().await;
    let kept = marks.filter(|[_, newer]| newer.elapsed() < BUSIEST_ANEW);
    let [older, newer] = match kept {
        Some(kept) => kept,
        None => {
            let now = Instant::now();
            // Both marks anew.
            look(world, mark).await;
            look(world, mark).await;
            *marks = Some([now; 2]);
            [now; 2]
        }
    };
    // Also for one who finds the marks of somebody who did not wait.
    sleep_until(older + BUSIEST_OVER_MIN).await;
    let turns = newer.elapsed() >= BUSIEST_MARK;
    let (over, now) = (older.elapsed(), Instant::now());
    let found = look(world, move |world| {
        let found = found(world, over);
        if turns {
            mark(world);
        }
        found
    });
    let found = found.await;
    if turns {
        *marks = Some([newer, now]);
    }
    found
}

/// Goes through all rooms beside the threads that serve them: there may be a million.
async fn look<T: Send + Default + 'static>(
    world: &Arc<World>,
    look: impl FnOnce(&World) -> T + Send + 'static,
) -> T {
    let world = world.clone();
    // It fails only where the runtime ends.
    tokio::task::spawn_blocking(move || look(&world)).await.unwrap_or_default()
}

fn mark(world: &World) {
    world.rooms.mark();
    world.hub.mark();
}

fn found(world: &World, over: Duration) -> Vec<RoomLoad> {
    let mut counts: HashMap<_, [u64; 2]> = HashMap::new();
    world.rooms.each_tally(|at, events| counts.entry(at).or_default()[0] += events);
    world.hub.each_tally(|at, deliveries| counts.entry(at).or_default()[1] += deliveries);
    let rate = |count: u64| count as f64 / over.as_secs_f64();
    let load = |(room, [events, deliveries]): (RoomRef, [u64; 2])| RoomLoad {
        room,
        events_per_second: rate(events),
        deliveries_per_second: rate(deliveries),
        sessions: 0,
    };
    let mut loads: Vec<RoomLoad> = counts.into_iter().map(load).collect();
    busiest_first(&mut loads, BUSIEST_ROOMS_MAX);
    for load in &mut loads {
        load.sessions = world.hub.follower_count(load.room) as u64;
    }
    loads
}

/// Keeps the busiest, by what they commit and deliver; of equals the one with the lower id.
fn busiest_first(loads: &mut Vec<RoomLoad>, keep: usize) {
    let order = |a: &RoomLoad, b: &RoomLoad| -> Ordering {
        b.work().total_cmp(&a.work()).then_with(|| a.room.cmp(&b.room))
    };
    if loads.len() > keep {
        loads.select_nth_unstable_by(keep, order);
        loads.truncate(keep);
    }
    loads.sort_by(order);
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::vocab::{RoomId, TenantId};

    #[test]
    fn a_tally_tells_what_came_since_the_older_mark() {
        let tally = Tally::default();
        tally.add(5);
        assert_eq!(tally.since_mark(), 5, "it began after the marks were made");
        tally.mark();
        tally.add(2);
        assert_eq!(tally.since_mark(), 7);
        tally.mark();
        assert_eq!(tally.since_mark(), 2);
        tally.mark();
        assert_eq!(tally.since_mark(), 0);
    }

    #[test]
    fn the_busiest_are_kept_in_order() {
        let load = |n: u8, events: f64, deliveries: f64| RoomLoad {
            room: RoomRef { tenant: TenantId(1), room: RoomId(Uuid::from_bytes([n; 16])) },
            events_per_second: events,
            deliveries_per_second: deliveries,
            sessions: 0,
        };
        let mut loads = vec![
            load(1, 1.0, 0.0),
            load(2, 0.0, 50.0),
            load(4, 3.0, 4.0),
            load(3, 5.0, 2.0),
            load(5, 0.5, 0.0),
        ];
        busiest_first(&mut loads, 3);
        let kept: Vec<u8> = loads.iter().map(|load| load.room.room.0.as_bytes()[0]).collect();
        assert_eq!(kept, [2, 3, 4]);
    }
}
