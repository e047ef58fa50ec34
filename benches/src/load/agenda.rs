//! What a session does by itself, and when each thing is due. What is late is not left out: it is
//! done at once, and counts from the instant at which it was due.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use super::chance::Chance;
use super::clock::Times;
use super::plan::{Load, Mixed, Plan};

/// Something to do. Rooms are places in the session's own list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// Say something.
    Send(usize),
    /// Tell that one is typing.
    Type(usize),
    /// Move the read mark to the last event.
    Read(usize),
    /// Change one's own presence.
    Presence,
    /// Open this room, or close it when it is open.
    Turn(usize),
}

/// When things are due.
#[derive(Debug)]
pub(super) enum Agenda {
    /// Nothing to do.
    Free,
    /// Messages at even distances in the only room.
    Beat { due: Instant, every: Duration },
    /// A user's day.
    Day(Day),
}

/// Each kind of deed is a Poisson process of its own.
#[derive(Debug)]
pub(super) struct Day {
    chance: Chance,
    kinds: Vec<(Kind, Duration)>,
    next: BinaryHeap<Reverse<(Instant, usize)>>,
    rooms: usize,
    everyone: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Send,
    Type,
    Read,
    Presence,
    Turn,
}

impl Agenda {
    /// What the socket with this index has to do.
    pub(super) fn of(plan: &Plan, times: &Times, index: usize, rooms: usize) -> Self {
        match &plan.load {
            Load::Rooms(load) => {
                let (room, place) = (index / load.members, index % load.members);
                if place >= load.senders {
                    return Self::Free;
                }
                let (offset, every) = schedule(load.rooms, load.senders, load.rate, room, place);
                Self::Beat { due: times.start + offset, every }
            }
            Load::Storm(storm) if index < storm.steady => {
                let (offset, every) = schedule(1, storm.steady, storm.rate, 0, index);
                Self::Beat { due: times.start + offset, every }
            }
            Load::Attack(attack) => {
                let (offset, every) = schedule(1, attack.sessions, attack.rate, 0, index);
                Self::Beat { due: times.start + offset, every }
            }
            Load::Mixed(mixed) => Self::Day(Day::new(mixed, plan.seed, times, index, rooms)),
            _ => Self::Free,
        }
    }

    /// When the next thing is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match self {
            Self::Free => None,
            Self::Beat { due, .. } => Some(*due),
            Self::Day(day) => day.next.peek().map(|Reverse((due, _))| *due),
        }
    }

    /// The next thing that is due by now, and when it was.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, Deed)> {
        let due = self.due().filter(|due| *due <= now)?;
        match self {
            Self::Free => None,
            Self::Beat { due: next, every } => {
                *next += *every;
                Some((due, Deed::Send(0)))
            }
            Self::Day(day) => Some((due, day.take()?)),
        }
    }
}

impl Day {
    fn new(mixed: &Mixed, seed: u64, times: &Times, index: usize, rooms: usize) -> Self {
        // Apart from the chance that gave the user their rooms.
        let mut chance = Chance::new(!seed, index as u64);
        let every = |per_minute: f64| {
            (per_minute > 0.0).then(|| Duration::from_secs_f64(60.0 / per_minute))
        };
        let kinds = [
            (Kind::Send, every(mixed.sends_per_minute)),
            (Kind::Type, every(mixed.typing_per_minute)),
            (Kind::Read, every(mixed.reads_per_minute)),
            (Kind::Presence, every(mixed.presence_per_minute)),
            (Kind::Turn, every(mixed.opens_per_minute)),
        ];
        let kinds: Vec<(Kind, Duration)> =
            kinds.into_iter().filter_map(|(kind, mean)| Some((kind, mean?))).collect();
        let next = kinds
            .iter()
            .enumerate()
            .map(|(place, (_, mean))| Reverse((times.start + chance.pause(*mean), place)));
        let next = next.collect();
        Self { next, chance, kinds, rooms, everyone: mixed.everyone }
    }

    fn take(&mut self) -> Option<Deed> {
        let Reverse((due, place)) = self.next.pop()?;
        let (kind, mean) = self.kinds[place];
        self.next.push(Reverse((due + self.chance.pause(mean), place)));
        let room = self.chance.below(self.rooms);
        Some(match kind {
            Kind::Send => Deed::Send(room),
            Kind::Type => Deed::Type(room),
            Kind::Read => Deed::Read(room),
            Kind::Presence => Deed::Presence,
            Kind::Turn if self.rooms > self.everyone => {
                Deed::Turn(self.everyone + self.chance.below(self.rooms - self.everyone))
            }
            Kind::Turn => Deed::Presence,
        })
    }
}

/// When a socket's first message is due, and the time to its next one. A room's messages come at even
/// distances from its senders in turn; the rooms are spread over one such distance.
#[must_use]
pub fn schedule(
    rooms: usize,
    senders: usize,
    rate: f64,
    room: usize,
    place: usize,
) -> (Duration, Duration) {
    let apart = rooms as f64 / rate;
    let offset = apart * (place as f64 + room as f64 / rooms as f64);
    (Duration::from_secs_f64(offset), Duration::from_secs_f64(apart * senders as f64))
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::{plan, rooms};
    use super::*;

    fn deeds(plan: &Plan, seconds: u64) -> usize {
        let start = Instant::now();
        let times = Times::new(start, plan.warm_up, plan.duration);
        let end = start + Duration::from_secs(seconds);
        let mut count = 0;
        for (index, seat) in plan.seats().iter().enumerate() {
            let mut agenda = Agenda::of(plan, &times, index, seat.rooms.len());
            while agenda.take(end).is_some() {
                count += 1;
            }
        }
        count
    }

    #[test]
    fn the_schedule_gives_exactly_the_rate_that_was_asked_for() {
        let all = deeds(&plan(rooms(7, 3, 3, 210.0)), 10);
        assert!((2_095..=2_110).contains(&all), "{all}");
        let few = deeds(&plan(rooms(1, 500, 5, 50.0)), 10);
        assert!((495..=505).contains(&few), "{few}");
    }

    #[test]
    fn a_day_has_its_rates_and_comes_again_with_its_seed() {
        let mixed = Mixed {
            users: 100,
            rooms: 20,
            everyone: 1,
            follows: 5,
            zipf: 1.0,
            sends_per_minute: 60.0,
            typing_per_minute: 60.0,
            reads_per_minute: 30.0,
            presence_per_minute: 15.0,
            opens_per_minute: 15.0,
        };
        let plan = plan(Load::Mixed(mixed));
        let count = deeds(&plan, 10);
        assert!((2_800..3_200).contains(&count), "{count}");
    }
}
