//! A schedule: a cluster's size and a list of faults, made from a seed. It prints itself.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::world::{Network, World, ms, secs};

/// All must agree so soon after the faults are gone: a few rounds of reconciliation.
const HEALED_WITHIN: Duration = secs(90);
/// And agree for so long, without anybody being taken for dead meanwhile.
const STEADY: Duration = secs(5);

#[derive(Debug, Clone)]
pub(super) struct Schedule {
    seed: u64,
    nodes: usize,
    /// Every node is told of all, as the directory would; otherwise it has seeds only.
    directory: bool,
    steps: Vec<(Duration, Step)>,
}

/// What is done; the time before it stands beside it.
#[derive(Debug, Clone)]
enum Step {
    Kill(usize),
    Leave(usize),
    /// With a higher incarnation, and perhaps elsewhere.
    Start {
        node: usize,
        moved: bool,
    },
    Stop(usize),
    Resume(usize),
    CutOneWay {
        from: usize,
        to: usize,
    },
    /// Between those whose bit is set and the others.
    Split(u64),
    Mend,
    Loss {
        of_thousand: u32,
    },
    Duplicates {
        of_thousand: u32,
    },
    Delay {
        least_ms: u64,
        most_ms: u64,
    },
    Load {
        node: usize,
        rooms: u64,
        draining: bool,
    },
}

impl Schedule {
    pub(super) fn from_seed(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let nodes = match rng.random_range(0..100) {
            0 => rng.random_range(20..=50),
            1..10 => rng.random_range(8..=12),
            _ => rng.random_range(3..=6),
        };
        let directory = rng.random_bool(0.7);
        let steps = (0..rng.random_range(4..=16))
            .map(|_| (ms(rng.random_range(0..4_000)), Step::random(&mut rng, nodes, directory)));
        let steps = steps.collect();
        Self { seed, nodes, directory, steps }
    }

    /// Runs it; how long healing took.
    pub(super) fn run(&self) -> Result<Duration, String> {
        let mut world = World::new(self.seed, self.nodes);
        for index in 0..self.nodes {
            self.start(&mut world, index);
        }
        for (before, step) in &self.steps {
            world.run_for(*before);
            self.perform(&mut world, step);
        }
        self.heal(&mut world);
        let healed = world.now;
        loop {
            let left = (healed + HEALED_WITHIN).saturating_sub(world.now);
            world.agree_within(left)?;
            let agreed = world.now - healed;
            // A word from before may still make one flicker.
            world.wrongly_dead = 0;
            world.run_for(STEADY);
            if world.wrongly_dead == 0 && world.disagreement().is_none() {
                return Ok(agreed);
            }
        }
    }

    fn start(&self, world: &mut World, index: usize) {
        if world.is_running(index) {
            return;
        }
        if self.directory {
            // The first one is everybody's seed, so it has to look for the others itself.
            world.start(index, &[0]);
            world.expect_all(index);
        } else {
            let all: Vec<usize> = (0..self.nodes).collect();
            world.start(index, &all);
        }
    }

    /// The faults go. Who is dead stays dead, and at least one runs.
    fn heal(&self, world: &mut World) {
        world.network = Network::lan();
        if world.running().is_empty() {
            self.start(world, 0);
        }
        for index in world.running() {
            world.resume(index);
            if self.directory {
                world.expect_all(index);
            }
        }
    }

    fn perform(&self, world: &mut World, step: &Step) {
        match *step {
            Step::Kill(node) => world.kill(node),
            Step::Leave(node) if world.is_running(node) => world.leave(node),
            Step::Leave(_) => {}
            Step::Start { node, moved } => {
                if moved && !world.is_running(node) {
                    let address = &mut world.nodes[node].address;
                    address.set_port(address.port() + 100);
                }
                self.start(world, node);
            }
            Step::Stop(node) => world.stop(node),
            Step::Resume(node) => world.resume(node),
            Step::CutOneWay { from, to } => {
                world.network.cut.insert((from, to));
            }
            Step::Split(side) => {
                let on = |node: usize| side & (1 << node) != 0;
                let pairs = (0..self.nodes).flat_map(|a| (0..self.nodes).map(move |b| (a, b)));
                world.network.cut.extend(pairs.filter(|(a, b)| on(*a) != on(*b)));
            }
            Step::Mend => world.network.cut.clear(),
            Step::Loss { of_thousand } => world.network.lost = of_thousand,
            Step::Duplicates { of_thousand } => world.network.duplicated = of_thousand,
            Step::Delay { least_ms, most_ms } => world.network.delay_ms = (least_ms, most_ms),
            Step::Load { node, rooms, draining } => {
                let mut said = world.nodes[node].said.clone();
                (said.rooms, said.draining) = (rooms, draining);
                world.say(node, said);
            }
        }
    }
}

impl Step {
    fn random(rng: &mut SmallRng, nodes: usize, directory: bool) -> Self {
        let node = rng.random_range(0..nodes);
        match rng.random_range(0..21) {
            0..3 => Self::Kill(node),
            3 => Self::Leave(node),
            // Without a directory nobody could find a node that moved.
            4..8 => Self::Start { node, moved: directory && rng.random_bool(0.3) },
            8 => Self::Stop(node),
            9 => Self::Resume(node),
            10..12 => Self::CutOneWay { from: node, to: rng.random_range(0..nodes) },
            12..14 => Self::Split(rng.random()),
            14 => Self::Mend,
            15..17 => Self::Loss { of_thousand: [0, 10, 100, 300][rng.random_range(0..4)] },
            20 => Self::Duplicates { of_thousand: [0, 100, 500][rng.random_range(0..3)] },
            17 => {
                let least_ms = [0, 0, 50][rng.random_range(0..3)];
                Self::Delay { least_ms, most_ms: least_ms + [3, 100, 450][rng.random_range(0..3)] }
            }
            _ => Self::Load {
                node,
                rooms: rng.random_range(0..100) * 100,
                draining: rng.random_bool(0.2),
            },
        }
    }
}
