//! The ways between the simulated nodes for frames of rooms: ordered channels with delay, that are cut
//! in one direction or both, go down when they were silent for as long as a real link may be, and
//! come back. Keeps the contract of `Peers`: both ends are told of an interruption before anything
//! later is taken or given. Pure; it says what to give to whom.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use parlance_actors::ports::peers::{Channel, NotSent, Round};
use rand::RngExt;
use rand::rngs::SmallRng;

use crate::limits::LINK_IDLE;

/// How often the ways are looked at.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// What is given to a node's inbox.
#[derive(Debug)]
pub(super) enum Given {
    Frame {
        from: usize,
        to: usize,
        channel: Channel,
        frame: Bytes,
    },
    /// To be [confirmed](Links::told) once the inbox heard it.
    Interrupted {
        node: usize,
        peer: usize,
        channel: Channel,
        round: u64,
    },
}

/// What the ways must know of nodes and network.
pub(super) struct Weather<'a> {
    pub(super) now: Duration,
    /// Nodes whose process runs, takes frames and is not stopped.
    pub(super) awake: &'a [bool],
    /// Whether anything gets from the first to the second.
    pub(super) passes: &'a dyn Fn(usize, usize) -> bool,
}

#[derive(Default)]
struct Way {
    round: u64,
    /// The round that each end knows of, and when it hears of the present one.
    told: [(u64, Duration); 2],
    /// The round that each end is being told of.
    telling: [u64; 2],
    queues: [VecDeque<(Duration, Bytes)>; 2],
}

struct Link {
    is_up: bool,
    /// Since when it has been silent, or could be dialled.
    since: Option<Duration>,
    dial: Duration,
    ways: Vec<Way>,
}

/// All links.
pub(super) struct Links {
    links: BTreeMap<(usize, usize), Link>,
    random: SmallRng,
}

impl Links {
    pub(super) fn new(nodes: usize, random: SmallRng) -> Self {
        let pairs = (0..nodes).flat_map(|low| (low + 1..nodes).map(move |high| (low, high)));
        let link = || Link {
            is_up: false,
            since: None,
            dial: Duration::ZERO,
            ways: Channel::all().map(|_| Way::default()).collect(),
        };
        Self { links: pairs.map(|pair| (pair, link())).collect(), random }
    }

    /// The round that frames are taken for.
    pub(super) fn round(&self, from: usize, to: usize, channel: Channel) -> Result<Round, NotSent> {
        let link = self.links.get(&(from.min(to), from.max(to))).ok_or(NotSent::NoWay)?;
        let way = &link.ways[usize::from(channel.0)];
        let known = way.told[usize::from(from > to)].0;
        if !link.is_up {
            return Err(NotSent::NoWay);
        }
        if known < way.round { Err(NotSent::Interrupted) } else { Ok(Round(known)) }
    }

    /// Takes a frame of this round that arrives at `due` at the earliest.
    pub(super) fn send(
        &mut self,
        round: Round,
        (from, to): (usize, usize),
        channel: Channel,
        frame: Bytes,
        due: Duration,
    ) -> Result<(), NotSent> {
        if self.round(from, to, channel)? != round {
            return Err(NotSent::Interrupted);
        }
        let link = self.links.get_mut(&(from.min(to), from.max(to))).ok_or(NotSent::NoWay)?;
        let (end, way) = (usize::from(from > to), &mut link.ways[usize::from(channel.0)]);
        let queue = &mut way.queues[end];
        let due = queue.back().map_or(due, |(last, _)| due.max(*last));
        queue.push_back((due, frame));
        Ok(())
    }

    /// A node has heard of an interruption, and its frames are taken again.
    pub(super) fn told(&mut self, node: usize, peer: usize, channel: Channel, round: u64) {
        if let Some(link) = self.links.get_mut(&(node.min(peer), node.max(peer))) {
            let told = &mut link.ways[usize::from(channel.0)].told[usize::from(node > peer)];
            told.0 = told.0.max(round);
        }
    }

    /// A node's process starts: what was sent to its former life is lost.
    pub(super) fn start(&mut self, node: usize, now: Duration) {
        for pair in self.of(node) {
            self.down(pair, now);
            let end = usize::from(node == pair.1);
            let link = self.links.get_mut(&pair).expect("listed");
            link.ways.iter_mut().for_each(|way| way.told[end].0 = way.round);
        }
    }

    /// Loses what is on one channel between two nodes, as a stream that is reset.
    pub(super) fn reset(&mut self, one: usize, other: usize, channel: Channel, now: Duration) {
        let random = &mut self.random;
        if let Some(link) = self.links.get_mut(&(one.min(other), one.max(other))) {
            link.ways[usize::from(channel.0)].end_round(now, random);
        }
    }

    fn of(&self, node: usize) -> Vec<(usize, usize)> {
        let pairs = self.links.keys().copied();
        pairs.filter(|(low, high)| *low == node || *high == node).collect()
    }

    fn down(&mut self, pair: (usize, usize), now: Duration) {
        let dial = Duration::from_millis(self.random.random_range(20..1_000));
        let link = self.links.get_mut(&pair).expect("a pair");
        (link.is_up, link.since, link.dial) = (false, None, dial);
        for way in &mut link.ways {
            way.end_round(now, &mut self.random);
        }
    }

    /// What has arrived, and what goes down or comes up.
    pub(super) fn look(&mut self, weather: &Weather<'_>, given: &mut Vec<Given>) {
        let pairs: Vec<(usize, usize)> = self.links.keys().copied().collect();
        for pair in pairs {
            self.watch(pair, weather);
            self.deliver(pair, weather, given);
        }
    }

    fn watch(&mut self, pair: (usize, usize), weather: &Weather<'_>) {
        let (low, high) = pair;
        let now = weather.now;
        let open = weather.awake[low]
            && weather.awake[high]
            && (weather.passes)(low, high)
            && (weather.passes)(high, low);
        let link = self.links.get_mut(&pair).expect("a pair");
        if link.is_up == open {
            link.since = None;
            return;
        }
        let since = *link.since.get_or_insert(now);
        if link.is_up && now >= since + LINK_IDLE {
            self.down(pair, now);
        } else if !link.is_up && now >= since + link.dial {
            (link.is_up, link.since) = (true, None);
        }
    }

    fn deliver(&mut self, pair: (usize, usize), weather: &Weather<'_>, given: &mut Vec<Given>) {
        let link = self.links.get_mut(&pair).expect("a pair");
        let ends = [pair.0, pair.1];
        for (channel, way) in Channel::all().zip(&mut link.ways) {
            for (end, (node, peer)) in [(0, (pair.0, pair.1)), (1, (pair.1, pair.0))] {
                let (known, due) = way.told[end];
                let heard = known.max(way.telling[end]);
                if heard < way.round && weather.awake[node] && weather.now >= due {
                    let round = way.round;
                    way.telling[end] = round;
                    given.push(Given::Interrupted { node, peer, channel, round });
                }
            }
            for (end, (from, to)) in [(0, (ends[0], ends[1])), (1, (ends[1], ends[0]))] {
                let takes = way.told[1 - end].0 == way.round
                    && weather.awake[to]
                    && weather.awake[from]
                    && (weather.passes)(from, to);
                while takes
                    && let Some((_, frame)) =
                        way.queues[end].pop_front_if(|(due, _)| *due <= weather.now)
                {
                    given.push(Given::Frame { from, to, channel, frame });
                }
            }
        }
    }

    /// When the next frame arrives, at the earliest.
    pub(super) fn next_due(&self, weather: &Weather<'_>) -> Option<Duration> {
        let ways = self.links.values().flat_map(|link| &link.ways);
        let queues = ways.flat_map(|way| &way.queues);
        let due = queues.filter_map(|queue| queue.front()).map(|(due, _)| *due);
        due.filter(|due| *due > weather.now).min()
    }

    /// Why not all nodes reach each other.
    pub(super) fn disagreement(&self, runs: &[bool]) -> Option<String> {
        let down =
            self.links.iter().find(|((low, high), link)| runs[*low] && runs[*high] && !link.is_up);
        down.map(|((low, high), _)| format!("there is no way between {low} and {high}"))
    }
}

impl Way {
    fn end_round(&mut self, now: Duration, random: &mut SmallRng) {
        self.round += 1;
        self.queues.iter_mut().for_each(VecDeque::clear);
        for told in &mut self.told {
            told.1 = now + Duration::from_millis(random.random_range(0..60));
        }
    }
}
