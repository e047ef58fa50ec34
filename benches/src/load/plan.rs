//! What is asked of a run, and which socket is whose: a pure function of the plan, so that every
//! process of a run works it out for itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chance::{Chance, Zipf};
use crate::attack::Kind;

/// What is asked of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// What kind of load it is.
    pub load: Load,
    /// A body's size; at least 16, for the instant in it.
    pub body_bytes: usize,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Measured time; `catch-up` ends sooner when all is done.
    pub duration: Duration,
    /// Sockets that share an account.
    pub per_account: usize,
    /// Keep what is sent and received, and check it.
    pub check: bool,
    /// What chance begins with.
    pub seed: u64,
}

/// A kind of load. Rates are of all processes together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Load {
    /// Rooms in which every member hears everything.
    Rooms(Rooms),
    /// Sessions that only ping.
    Idle {
        /// Sockets.
        sessions: usize,
        /// Rooms that they are spread over.
        rooms: usize,
    },
    /// Sessions that come, stay for a moment and go.
    Churn(Churn),
    /// Sessions that all drop at once and come back.
    Storm(Storm),
    /// Sessions that were away while much was said.
    CatchUp(CatchUp),
    /// Pages of history.
    History(History),
    /// A team's day.
    Mixed(Mixed),
    /// Sessions that send while somebody attacks.
    Attack(Attack),
}

/// Rooms in which every member hears everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rooms {
    /// Which of the scenarios it is.
    pub name: String,
    /// Rooms.
    pub rooms: usize,
    /// Sockets in each.
    pub members: usize,
    /// Of these, so many send in turn.
    pub senders: usize,
    /// Messages a second, all rooms together.
    pub rate: f64,
}

/// Sessions that come, stay for a moment and go.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Churn {
    /// Rooms that are visited.
    pub rooms: usize,
    /// Visits at the same time, at most. One more waits, and its wait counts.
    pub visitors: usize,
    /// Visits a second.
    pub rate: f64,
    /// With a one-time ticket, and not with the access token.
    pub by_ticket: bool,
    /// Send one message before going.
    pub sends: bool,
}

/// Sessions that all drop at once and come back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Storm {
    /// Sessions that may drop.
    pub sessions: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// Rooms that each of these sessions follows.
    pub follows: usize,
    /// The share of them that drops.
    pub share: f64,
    /// Sessions that send and never drop.
    pub steady: usize,
    /// What these send a second, together.
    pub rate: f64,
    /// The drop, from the first measured instant.
    pub drop_after: Duration,
    /// A returning client waits a random time up to this before its first attempt.
    pub jitter: Duration,
}

/// Sessions that were away while much was said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CatchUp {
    /// Sessions that were away.
    pub sessions: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// Rooms that each session follows.
    pub follows: usize,
    /// Messages that it missed in each room.
    pub messages: usize,
    /// They come back spread over this time.
    pub over: Duration,
}

/// Pages of history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// Rooms.
    pub rooms: usize,
    /// Messages in each.
    pub length: usize,
    /// Entries of a page.
    pub page: u16,
    /// Pages a second.
    pub rate: f64,
    /// Kept HTTP connections. A page that is due while all are busy waits, and its wait counts.
    pub connections: usize,
}

/// A team's day. Rates are of each user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mixed {
    /// Sockets, one for each user.
    pub users: usize,
    /// Rooms in all.
    pub rooms: usize,
    /// Of these, so many have everybody in them.
    pub everyone: usize,
    /// Other rooms that each user is in.
    pub follows: usize,
    /// How unequal the other rooms are in size (Zipf's exponent).
    pub zipf: f64,
    /// Messages.
    pub sends_per_minute: f64,
    /// Typing notices.
    pub typing_per_minute: f64,
    /// Read marks.
    pub reads_per_minute: f64,
    /// Changes of one's own presence.
    pub presence_per_minute: f64,
    /// Rooms that are closed, or opened with the last page of their history.
    pub opens_per_minute: f64,
}

/// Sessions that send while somebody attacks, from another address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Attack {
    /// What the attacker does.
    pub kind: Kind,
    /// Sessions that send.
    pub sessions: usize,
    /// Rooms that they are spread over.
    pub rooms: usize,
    /// Messages a second, all sessions together.
    pub rate: f64,
    /// The beginning of the attack, from the first measured instant.
    pub begins_after: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long the attacker takes to open its connections.
    pub over: Duration,
    /// The attacker's connections.
    pub connections: usize,
    /// The attacker takes only the processor that nobody else wants.
    pub gives_way: bool,
    /// The attacker's address; none leaves it to the system.
    pub from: Option<IpAddr>,
}

/// One socket: whose it is, and which rooms it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// An index into the accounts.
    pub account: usize,
    /// Indexes into the rooms.
    pub rooms: Vec<usize>,
}

impl Load {
    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Rooms(rooms) => &rooms.name,
            Self::Idle { .. } => "idle",
            Self::Churn(_) => "churn",
            Self::Storm(_) => "storm",
            Self::CatchUp(_) => "catch-up",
            Self::History(_) => "history",
            Self::Mixed(_) => "mixed",
            Self::Attack(_) => "attack",
        }
    }

    /// Rooms in all.
    #[must_use]
    pub const fn rooms(&self) -> usize {
        match self {
            Self::Rooms(Rooms { rooms, .. })
            | Self::Idle { rooms, .. }
            | Self::Churn(Churn { rooms, .. })
            | Self::Storm(Storm { rooms, .. })
            | Self::CatchUp(CatchUp { rooms, .. })
            | Self::History(History { rooms, .. })
            | Self::Mixed(Mixed { rooms, .. })
            | Self::Attack(Attack { rooms, .. }) => *rooms,
        }
    }

    /// Sockets in all (connections, for history).
    #[must_use]
    pub const fn sockets(&self) -> usize {
        match self {
            Self::Rooms(Rooms { rooms, members, .. }) => *rooms * *members,
            Self::Idle { sessions, .. } | Self::CatchUp(CatchUp { sessions, .. }) => *sessions,
            Self::Churn(churn) => churn.visitors,
            Self::Storm(storm) => storm.steady + storm.sessions,
            Self::History(history) => history.connections,
            Self::Mixed(mixed) => mixed.users,
            Self::Attack(attack) => attack.sessions,
        }
    }

    /// Messages a second that are asked for, all together; for history and churn what is asked for
    /// is pages and visits.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self {
            Self::Rooms(rooms) => rooms.rate,
            Self::Storm(storm) => storm.rate,
            Self::Attack(attack) => attack.rate,
            Self::Mixed(mixed) => mixed.users as f64 * mixed.sends_per_minute / 60.0,
            Self::Churn(churn) if churn.sends => churn.rate,
            Self::Idle { .. } | Self::Churn(_) | Self::CatchUp(_) | Self::History(_) => 0.0,
        }
    }
}

impl Plan {
    /// Accounts that the sockets share.
    #[must_use]
    pub fn accounts(&self) -> usize {
        self.load.sockets().div_ceil(self.per_account.max(1)).max(1)
    }

    /// Every socket, in order.
    #[must_use]
    pub fn seats(&self) -> Vec<Seat> {
        let (sockets, accounts) = (self.load.sockets(), self.accounts());
        (0..sockets)
            .map(|index| Seat { account: index % accounts, rooms: self.rooms_of(index) })
            .collect()
    }

    fn rooms_of(&self, index: usize) -> Vec<usize> {
        let spread = |first: usize, count: usize, of: usize| -> Vec<usize> {
            let rooms: BTreeSet<usize> = (first..first + count).map(|room| room % of).collect();
            rooms.into_iter().collect()
        };
        match &self.load {
            Load::Rooms(Rooms { members, .. }) => vec![index / members],
            Load::Idle { rooms, .. }
            | Load::Churn(Churn { rooms, .. })
            | Load::Attack(Attack { rooms, .. }) => vec![index % rooms],
            Load::Storm(storm) => match index.checked_sub(storm.steady) {
                None => vec![index % storm.rooms],
                Some(place) => spread(place * storm.follows, storm.follows, storm.rooms),
            },
            Load::CatchUp(catch_up) => {
                spread(index * catch_up.follows, catch_up.follows, catch_up.rooms)
            }
            Load::History(history) => (0..history.rooms).collect(),
            Load::Mixed(mixed) => mixed.rooms_of(self.seed, index),
        }
    }

    /// Which of so many processes opens this socket. Those who send beside a storm have the last one for
    /// themselves, so that they are not measured by a process that is busy coming back.
    #[must_use]
    pub const fn part_of(&self, index: usize, parts: usize) -> usize {
        match &self.load {
            Load::Storm(storm) if parts > 1 && index < storm.steady => parts - 1,
            Load::Storm(_) if parts > 1 => index % (parts - 1),
            _ => index % parts,
        }
    }

    /// Whether this process yields the processor to others, because what it does stands for many machines.
    #[must_use]
    pub const fn gives_way(&self, part: usize, parts: usize) -> bool {
        matches!(self.load, Load::Storm(_)) && parts > 1 && part + 1 < parts
    }

    /// Who must be a member of what: rooms and accounts.
    #[must_use]
    pub fn joins(&self) -> BTreeSet<(usize, usize)> {
        let seats = self.seats();
        let joins =
            seats.iter().flat_map(|seat| seat.rooms.iter().map(|room| (*room, seat.account)));
        joins.collect()
    }
}

impl Mixed {
    /// The rooms that everybody is in, and others by Zipf's law, each once.
    fn rooms_of(&self, seed: u64, user: usize) -> Vec<usize> {
        let others = self.rooms - self.everyone;
        let wanted = self.follows.min(others);
        let zipf = Zipf::new(others, self.zipf);
        let mut chance = Chance::new(seed, user as u64);
        let mut rooms: BTreeSet<usize> = BTreeSet::new();
        // A steep law draws the same few rooms again and again: after so many draws the rest are
        // the next ones that are left.
        for _ in 0..20 * wanted {
            if rooms.len() == wanted {
                break;
            }
            rooms.insert(self.everyone + zipf.draw(&mut chance));
        }
        for room in self.everyone..self.rooms {
            if rooms.len() == wanted {
                break;
            }
            rooms.insert(room);
        }
        (0..self.everyone).chain(rooms).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn plan(load: Load) -> Plan {
        Plan {
            load,
            body_bytes: 128,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            per_account: 32,
            check: false,
            seed: 1,
        }
    }

    pub(crate) fn rooms(rooms: usize, members: usize, senders: usize, rate: f64) -> Load {
        Load::Rooms(Rooms { name: "test".into(), rooms, members, senders, rate })
    }

    #[test]
    fn the_members_of_a_room_are_different_accounts_while_there_are_enough() {
        let plan = plan(rooms(100, 10, 10, 1.0));
        let seats = plan.seats();
        assert_eq!((seats.len(), plan.accounts()), (1_000, 32));
        for room in seats.chunks(10) {
            let accounts: BTreeSet<usize> = room.iter().map(|seat| seat.account).collect();
            assert_eq!(accounts.len(), 10);
        }
    }

    #[test]
    fn a_team_has_its_big_rooms_and_each_user_different_others() {
        let mixed = Mixed {
            users: 200,
            rooms: 50,
            everyone: 2,
            follows: 8,
            zipf: 1.1,
            sends_per_minute: 1.0,
            typing_per_minute: 1.0,
            reads_per_minute: 1.0,
            presence_per_minute: 1.0,
            opens_per_minute: 1.0,
        };
        let plan = plan(Load::Mixed(mixed));
        let seats = plan.seats();
        assert_eq!(seats, plan.seats());
        let mut sizes = vec![0; 50];
        for seat in &seats {
            assert_eq!((seat.rooms.len(), &seat.rooms[..2]), (10, &[0, 1][..]));
            seat.rooms.iter().for_each(|room| sizes[*room] += 1);
        }
        assert_eq!(&sizes[..2], [200, 200]);
        assert!(sizes[2] > 150 && sizes[49] < 40, "{sizes:?}");
    }

    #[test]
    fn sessions_of_a_storm_follow_so_many_rooms_and_the_steady_ones_cover_them_all() {
        let storm = Storm {
            sessions: 10,
            rooms: 4,
            follows: 3,
            share: 1.0,
            steady: 4,
            rate: 1.0,
            drop_after: Duration::ZERO,
            jitter: Duration::ZERO,
        };
        let seats = plan(Load::Storm(storm)).seats();
        assert_eq!(seats.len(), 14);
        assert!(seats[4..].iter().all(|seat| seat.rooms.len() == 3));
        let covered: Vec<usize> = seats[..4].iter().map(|seat| seat.rooms[0]).collect();
        assert_eq!(covered, [0, 1, 2, 3]);
    }

    #[test]
    fn the_steady_ones_of_a_storm_have_the_last_process_for_themselves() {
        let storm = Storm {
            sessions: 10,
            rooms: 4,
            follows: 3,
            share: 1.0,
            steady: 4,
            rate: 1.0,
            drop_after: Duration::ZERO,
            jitter: Duration::ZERO,
        };
        let plan = plan(Load::Storm(storm));
        let of = |parts| (0..14).map(|index| plan.part_of(index, parts)).collect::<Vec<usize>>();
        assert_eq!(of(1), [0; 14]);
        assert_eq!(of(3), [2, 2, 2, 2, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!([0, 1, 2].map(|part| plan.gives_way(part, 3)), [true, true, false]);
        assert!(!plan.gives_way(0, 1));
    }
}
