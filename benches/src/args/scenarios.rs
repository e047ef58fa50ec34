//! The arguments of each scenario.

use std::time::Duration;

use clap::{Args, ValueEnum};

use std::net::{IpAddr, Ipv4Addr};

use super::{Attack, CatchUp, Churn, Common, History, Load, Mixed, Rooms, Storm, seconds};
use crate::attack::Kind;

type Plan = anyhow::Result<(Load, Common)>;

/// Where an attack on a server on loopback comes from: none of the addresses that the others have.
const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));

/// `fanout`
#[derive(Debug, Clone, Args)]
pub struct FanoutArgs {
    /// Rooms.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Sockets in each room.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Messages a second in each room.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    #[command(flatten)]
    common: Common,
}

impl FanoutArgs {
    pub(super) fn load(self) -> Plan {
        let Self { rooms, members, rate, common } = self;
        let (name, senders, rate) = ("fanout".into(), members, rate * rooms as f64);
        Ok((Load::Rooms(Rooms { name, rooms, members, senders, rate }), common))
    }
}

/// `big-room`
#[derive(Debug, Clone, Args)]
pub struct BigRoomArgs {
    /// Sockets in the room.
    #[arg(long, default_value_t = 2_000)]
    members: usize,
    /// Of these, so many send, in turn.
    #[arg(long, default_value_t = 10)]
    senders: usize,
    /// Messages a second in the room.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    #[command(flatten)]
    common: Common,
}

impl BigRoomArgs {
    pub(super) fn load(self) -> Plan {
        let Self { members, senders, rate, common } = self;
        let name = "big-room".into();
        Ok((Load::Rooms(Rooms { name, rooms: 1, members, senders, rate }), common))
    }
}

/// `durable`
#[derive(Debug, Clone, Args)]
pub struct DurableArgs {
    /// Rooms of two.
    #[arg(long, default_value_t = 250)]
    rooms: usize,
    /// Messages a second, all rooms together.
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
    #[command(flatten)]
    common: Common,
}

impl DurableArgs {
    pub(super) fn load(self) -> Plan {
        let Self { rooms, rate, common } = self;
        let name = "durable".into();
        Ok((Load::Rooms(Rooms { name, rooms, members: 2, senders: 2, rate }), common))
    }
}

/// `idle`
#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    /// Sessions. With fewer than 1,000 the allocator's steps are larger than what is measured.
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// Rooms that they are spread over.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    #[command(flatten)]
    common: Common,
}

impl IdleArgs {
    pub(super) fn load(self) -> Plan {
        let Self { sessions, rooms, common } = self;
        Ok((Load::Idle { sessions, rooms: rooms.min(sessions) }, common))
    }
}

/// How a visitor signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// With a one-time ticket, as a browser does.
    Ticket,
    /// With the access token in hello.
    Token,
}

/// `churn`
#[derive(Debug, Clone, Args)]
pub struct ChurnArgs {
    /// Visits a second.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Visits at the same time, at most; one more waits, and its wait counts.
    #[arg(long, default_value_t = 256)]
    visitors: usize,
    /// Rooms that are visited.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// How a visitor signs in. A ticket is asked for over a kept HTTP connection.
    #[arg(long, value_enum, default_value = "ticket")]
    by: By,
    /// Each visit sends one message before it leaves.
    #[arg(long)]
    send: bool,
    #[command(flatten)]
    common: Common,
}

impl ChurnArgs {
    pub(super) fn load(self) -> Plan {
        let Self { rate, visitors, rooms, by, send, common } = self;
        let by_ticket = by == By::Ticket;
        // A room without a visitor would only be made.
        let rooms = rooms.min(visitors);
        Ok((Load::Churn(Churn { rooms, visitors, rate, by_ticket, sends: send }), common))
    }
}

/// `storm`
#[derive(Debug, Clone, Args)]
pub struct StormArgs {
    /// Sessions beside the steady ones.
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// The share of them that drops: above 0 to 1.
    #[arg(long, default_value_t = 1.0)]
    share: f64,
    /// Rooms in all.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Rooms that each of these sessions follows.
    #[arg(long, default_value_t = 2)]
    follows: usize,
    /// Sessions that send all the time and never drop.
    #[arg(long, default_value_t = 100)]
    steady: usize,
    /// Messages a second that these send, all together.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Measured seconds before the drop.
    #[arg(long, default_value_t = 5.0)]
    drop_after: f64,
    /// A client that dropped waits a random time up to this many seconds before it comes back.
    #[arg(long, default_value_t = 1.0)]
    jitter: f64,
    #[command(flatten)]
    common: Common,
}

impl StormArgs {
    pub(super) fn load(self) -> Plan {
        let Self { sessions, share, rooms, follows, steady, rate, drop_after, jitter, common } =
            self;
        let storm = Storm {
            sessions,
            rooms,
            follows: follows.min(rooms),
            share,
            steady,
            rate,
            drop_after: seconds(drop_after, "--drop-after")?,
            jitter: seconds(jitter, "--jitter")?,
        };
        Ok((Load::Storm(storm), common))
    }
}

/// `catch-up`
#[derive(Debug, Clone, Args)]
pub struct CatchUpArgs {
    /// Sessions that were away.
    #[arg(long, default_value_t = 500)]
    sessions: usize,
    /// Rooms in all.
    #[arg(long, default_value_t = 50)]
    rooms: usize,
    /// Rooms that each session follows.
    #[arg(long, default_value_t = 2)]
    follows: usize,
    /// Messages in each room that they missed. Up to 200 are replayed; what is more is a gap, which a
    /// session fetches from history.
    #[arg(long, default_value_t = 150)]
    messages: usize,
    /// They come back spread over this many seconds.
    #[arg(long, default_value_t = 0.0)]
    over: f64,
    #[command(flatten)]
    common: Common,
}

impl CatchUpArgs {
    pub(super) fn load(self) -> Plan {
        let Self { sessions, rooms, follows, messages, over, mut common } = self;
        // Nothing is sent meanwhile, so there is nothing to warm up.
        common.warm_up = common.warm_up.min(Duration::from_secs(1).as_secs_f64());
        // Every room is followed, because only a member may fill it.
        let rooms = rooms.min(sessions * follows.max(1));
        let over = seconds(over, "--over")?;
        let follows = follows.clamp(1, rooms.max(1));
        Ok((Load::CatchUp(CatchUp { sessions, rooms, follows, messages, over }), common))
    }
}

/// `history`
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// Pages a second, half of them before a place and half after one.
    #[arg(long, default_value_t = 200.0)]
    rate: f64,
    /// Rooms; they are filled first, unless --prepared has them.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Messages in each.
    #[arg(long, default_value_t = 2_000)]
    length: usize,
    /// Entries of a page: 1 to 200.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    page: u16,
    /// Kept HTTP connections; a page that is due while all are busy waits, and its wait counts.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    common: Common,
}

impl HistoryArgs {
    pub(super) fn load(self) -> Plan {
        let Self { rate, rooms, length, page, connections, common } = self;
        Ok((Load::History(History { rooms, length, page, rate, connections }), common))
    }
}

/// `mixed`
#[derive(Debug, Clone, Args)]
pub struct MixedArgs {
    /// Users, each with one socket.
    #[arg(long, default_value_t = 500)]
    users: usize,
    /// Rooms in all.
    #[arg(long, default_value_t = 200)]
    rooms: usize,
    /// Of these, so many have everybody in them.
    #[arg(long, default_value_t = 2)]
    everyone: usize,
    /// Other rooms that each user is in, drawn by Zipf's law.
    #[arg(long, default_value_t = 12)]
    follows: usize,
    /// How unequal the other rooms are in size: the exponent of Zipf's law.
    #[arg(long, default_value_t = 1.0)]
    zipf: f64,
    /// Messages of each user a minute.
    #[arg(long, default_value_t = 4.0)]
    sends_per_minute: f64,
    /// Typing notices of each user a minute.
    #[arg(long, default_value_t = 8.0)]
    typing_per_minute: f64,
    /// Read marks of each user a minute.
    #[arg(long, default_value_t = 6.0)]
    reads_per_minute: f64,
    /// Changes of each user's presence a minute.
    #[arg(long, default_value_t = 0.5)]
    presence_per_minute: f64,
    /// Rooms that each user closes or opens a minute; opening shows the last 50 messages.
    #[arg(long, default_value_t = 2.0)]
    opens_per_minute: f64,
    #[command(flatten)]
    common: Common,
}

impl MixedArgs {
    pub(super) fn load(self) -> Plan {
        let mixed = Mixed {
            users: self.users,
            rooms: self.rooms,
            everyone: self.everyone,
            follows: self.follows,
            zipf: self.zipf,
            sends_per_minute: self.sends_per_minute,
            typing_per_minute: self.typing_per_minute,
            reads_per_minute: self.reads_per_minute,
            presence_per_minute: self.presence_per_minute,
            opens_per_minute: self.opens_per_minute,
        };
        Ok((Load::Mixed(mixed), self.common))
    }
}

/// `attack`
#[derive(Debug, Clone, Args)]
pub struct AttackArgs {
    /// What the attacker does.
    #[arg(long, value_enum, default_value = "idle")]
    kind: Kind,
    /// Sessions of the others, who send all the time.
    #[arg(long, default_value_t = 20)]
    sessions: usize,
    /// Rooms that they are spread over.
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// Messages a second that these send, all together.
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Measured seconds before the attack.
    #[arg(long, default_value_t = 5.0)]
    begins_after: f64,
    /// Seconds that it lasts; the others are measured for as long after it as is left of --seconds.
    #[arg(long, default_value_t = 10.0)]
    lasts: f64,
    /// Seconds over which its connections are opened, at even distances; 0 for all in one instant.
    #[arg(long, default_value_t = 1.0)]
    over: f64,
    /// The attacker's connections: 1 to 50,000. Without it 10,000 where they are idle, 500 where they drip,
    /// and 16 where they are busy.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    connections: Option<u32>,
    /// The attacker's address, which must be none of the others'. On loopback it is 127.0.9.9.
    #[arg(long)]
    from: Option<IpAddr>,
    #[command(flatten)]
    common: Common,
}

impl AttackArgs {
    pub(super) fn load(self) -> Plan {
        let connections = match self.connections {
            Some(connections) => usize::try_from(connections)?,
            None => self.kind.connections(),
        };
        let on_loopback = || self.common.is_on_loopback().then_some(ATTACKER);
        let attack = Attack {
            kind: self.kind,
            sessions: self.sessions,
            rooms: self.rooms.min(self.sessions),
            rate: self.rate,
            begins_after: seconds(self.begins_after, "--begins-after")?,
            lasts: seconds(self.lasts, "--lasts")?,
            over: seconds(self.over, "--over")?,
            connections,
            // The attacker is another machine, which takes no processor from this one.
            gives_way: true,
            from: self.from.or_else(on_loopback),
        };
        Ok((Load::Attack(attack), self.common))
    }
}
