//! The promises, checked over the logs and over everything that clients were told.

use std::collections::{BTreeMap, BTreeSet};

use parlance_actors::testkit::history::MemoryHistory;
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{Event, Key, RoomId, RoomRef, TenantId};

use super::client::Known;

/// The rooms' logs.
pub(super) type Logs = BTreeMap<RoomId, Vec<Event>>;

pub(super) fn read(database: &MemoryHistory, rooms: &[RoomId]) -> Logs {
    rooms.iter().map(|room| (*room, database.committed(at(*room)))).collect()
}

fn at(room: RoomId) -> RoomRef {
    RoomRef { tenant: TenantId::MAIN, room }
}

/// Which promise does not hold.
pub(super) fn check(database: &MemoryHistory, logs: &Logs, all: &[Known]) -> Result<(), String> {
    for (room, log) in logs {
        log_is_whole(*room, log)?;
        let epochs = database.epochs(at(*room));
        if !epochs.is_sorted() {
            return Err(format!("an epoch of {room} goes back: {epochs:?}"));
        }
    }
    for (client, known) in all.iter().enumerate() {
        acks_are_true(logs, known).map_err(|why| format!("client {client}: {why}"))?;
        saw_everything(logs, known).map_err(|why| format!("client {client}: {why}"))?;
    }
    let acked: BTreeSet<Key> = all.iter().flat_map(|known| &known.acked).map(|a| a.1).collect();
    let sent = logs.values().flatten().filter(|event| event.content.kind() == Kind::Message);
    match sent.into_iter().find(|event| !acked.contains(&event.key)) {
        Some(event) => Err(format!("{} is in a log, and nobody was told", event.key)),
        None => Ok(()),
    }
}

fn log_is_whole(room: RoomId, log: &[Event]) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    for (place, event) in (1..).zip(log) {
        if event.seq.0 != place {
            return Err(format!("the log of {room} has a hole at {place}"));
        }
        if !keys.insert((event.sender.id, event.key)) {
            return Err(format!("{} is twice in {room}", event.key));
        }
    }
    Ok(())
}

fn acks_are_true(logs: &Logs, known: &Known) -> Result<(), String> {
    let mut acked: BTreeMap<RoomId, BTreeMap<Key, u64>> = BTreeMap::new();
    for (room, key, seq) in &known.acked {
        let place = usize::try_from(*seq).expect("small").checked_sub(1);
        let event = place.and_then(|place| logs[room].get(place));
        if event.is_none_or(|event| event.key != *key) {
            return Err(format!("{key} was acked at {seq} of {room}, where it is not"));
        }
        acked.entry(*room).or_default().insert(*key, *seq);
    }
    // Keys grow in the order of sending.
    for (room, acked) in acked {
        if !acked.values().is_sorted() {
            return Err(format!("sends to {room} changed places: {acked:?}"));
        }
    }
    Ok(())
}

fn saw_everything(logs: &Logs, known: &Known) -> Result<(), String> {
    for (room, log) in logs {
        let seen = known.seen.get(room);
        for event in log {
            let seen = seen.and_then(|seen| seen.get(&event.seq.0));
            if seen != Some(&event.key) {
                return Err(format!("at {} of {room} it saw {seen:?}", event.seq.0));
            }
        }
    }
    Ok(())
}
