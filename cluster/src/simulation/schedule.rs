//! A schedule: a cluster, its clients and a list of faults, made from a seed. It prints itself.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    pub(super) seed: u64,
    pub(super) nodes: usize,
    pub(super) rooms: usize,
    pub(super) clients: usize,
    /// Each client's.
    pub(super) sends: u32,
    /// What is done, with the time before it.
    pub(super) steps: Vec<(Duration, Step)>,
}

/// Which ways a cut is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    All,
    /// Gossip and the directory.
    Control,
    /// Rooms.
    Data,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Kill(usize),
    Start(usize),
    Stop(usize),
    Resume(usize),
    Cut {
        from: usize,
        to: usize,
        ways: Ways,
    },
    /// Between those whose bit is set and the others.
    Split {
        side: u64,
        ways: Ways,
    },
    Mend,
    Loss {
        of_thousand: u32,
    },
    Delay {
        least_ms: u64,
        most_ms: u64,
    },
    Duplicates {
        of_thousand: u32,
    },
    /// A stream between two nodes is reset.
    Reset {
        one: usize,
        other: usize,
        channel: u8,
    },
    /// Another node stands for election.
    Depose(usize),
    /// An operator moves the rooms' shards.
    Move {
        to: usize,
    },
    Drain {
        node: usize,
        drains: bool,
    },
    SlowDatabase {
        node: usize,
        batch: Duration,
    },
    Database {
        node: usize,
        away: bool,
    },
}

impl Schedule {
    pub(super) fn from_seed(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let nodes = if random.random_range(0..8) == 0 { 5 } else { 3 };
        let mut steps = Vec::new();
        for _ in 0..random.random_range(3..=10) {
            let step = Step::random(&mut random, nodes);
            // What separates nodes sometimes lasts longer than it takes to give one up.
            let lasts = matches!(steps.last(), Some((_, Step::Cut { .. } | Step::Split { .. })));
            let most = if lasts || random.random_range(0..5) == 0 { 6_000 } else { 1_500 };
            steps.push((ms(random.random_range(0..most)), step));
        }
        let (rooms, clients) = (random.random_range(1..=3), random.random_range(2..=3));
        Self { seed, nodes, rooms, clients, sends: 16, steps }
    }
}

impl Step {
    fn random(random: &mut SmallRng, nodes: usize) -> Self {
        let node = random.random_range(0..nodes);
        let other = (node + random.random_range(1..nodes)) % nodes;
        let ways = [Ways::All, Ways::All, Ways::Control, Ways::Data][random.random_range(0..4)];
        match random.random_range(0..28) {
            0..3 => Self::Kill(node),
            3..6 => Self::Start(node),
            6 | 7 => Self::Split { side: 1 << node, ways },
            8..10 => Self::Stop(node),
            10..12 => Self::Resume(node),
            12..14 => Self::Cut { from: node, to: other, ways },
            14..16 => Self::Split { side: random.random(), ways },
            16 => Self::Mend,
            17 => Self::Loss { of_thousand: [0, 10, 100, 300][random.random_range(0..4)] },
            18 => {
                let least_ms = [0, 0, 50][random.random_range(0..3)];
                let most_ms = least_ms + [3, 50, 200][random.random_range(0..3)];
                Self::Delay { least_ms, most_ms }
            }
            19 => Self::Duplicates { of_thousand: [0, 100, 500][random.random_range(0..3)] },
            20 | 21 => Self::Reset { one: node, other, channel: random.random_range(0..4) },
            22 => Self::Depose(node),
            23 | 24 => Self::Move { to: node },
            25 => Self::Drain { node, drains: random.random() },
            26 => {
                let batch = ms([0, 20, 200, 1_500][random.random_range(0..4)]);
                Self::SlowDatabase { node, batch }
            }
            _ => Self::Database { node, away: random.random() },
        }
    }
}
