//! Gossip under faults in virtual time: thousands of seeded schedules, each ending healed. Then all
//! views agree and hold exactly the nodes that run.
//!
//! `GOSSIP_SEED=… cargo nextest run -p parlance-cluster schedules` runs one schedule again, with its
//! steps printed; `GOSSIP_SCHEDULES=…` runs so many.

mod schedule;
pub(crate) mod world;

use std::time::Duration;

use rand::RngExt;

use self::schedule::Schedule;
use self::world::{World, ms, secs};

/// Schedules that are always run.
const SCHEDULES: u64 = 200;
/// In `make soak`.
const MANY_SCHEDULES: u64 = 5_000;

/// A cluster in which everybody knows everybody.
fn formed(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed, nodes);
    for index in 0..nodes {
        world.start(index, &[0]);
        world.expect_all(index);
        world.run_for(ms(50));
    }
    world.agree_within(secs(60)).expect("a quiet cluster forms");
    world
}

fn number_from(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

#[test]
fn after_any_schedule_of_faults_all_views_agree_on_exactly_the_nodes_that_run() {
    if let Some(seed) = number_from("GOSSIP_SEED") {
        let schedule = Schedule::from_seed(seed);
        println!("{schedule:#?}");
        schedule.run().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        return;
    }
    agree_in(number_from("GOSSIP_SCHEDULES").unwrap_or(SCHEDULES));
}

#[test]
#[ignore = "takes minutes: make soak"]
fn after_thousands_of_schedules_all_views_agree_on_exactly_the_nodes_that_run() {
    agree_in(MANY_SCHEDULES);
}

/// Schedules that were never run.
fn agree_in(schedules: u64) {
    let first: u64 = rand::random_range(0..u64::MAX / 2);
    println!("seeds {first} to {}", first + schedules - 1);
    let mut healing = Vec::new();
    for seed in first..first + schedules {
        let schedule = Schedule::from_seed(seed);
        match std::panic::catch_unwind(|| schedule.run()) {
            Ok(Ok(took)) => healing.push(took),
            Ok(Err(why)) => panic!("GOSSIP_SEED={seed}: {why}\n{schedule:#?}"),
            Err(_) => panic!("GOSSIP_SEED={seed}\n{schedule:#?}"),
        }
    }
    healing.sort_unstable();
    println!(
        "{schedules} schedules; healed in {:?} (median), {:?} (worst)",
        healing[healing.len() / 2],
        healing[healing.len() - 1]
    );
}

#[test]
fn a_schedule_is_the_same_each_time_it_is_run() {
    for seed in 0..5 {
        let one = Schedule::from_seed(seed);
        let other = Schedule::from_seed(seed);
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_eq!(one.run(), other.run());
    }
}

#[test]
fn nobody_is_declared_dead_in_ten_minutes_of_ten_percent_loss() {
    for (seed, nodes) in [(0, 3), (1, 5), (2, 10)] {
        let mut world = formed(seed, nodes);
        world.network.lost = 100;
        world.run_for(secs(600));
        assert_eq!(world.wrongly_dead, 0, "of {nodes} nodes, seed {seed}");
    }
}

#[test]
fn a_stalled_node_comes_back_without_taking_others_for_dead() {
    for seed in 0..20 {
        let mut world = formed(seed, 5);
        world.stop(2);
        world.run_for(secs(15));
        assert!(!world.view(0).alive().contains(&world.nodes[2].id), "it looks dead");
        world.wrongly_dead = 0;
        world.resume(2);
        world.agree_within(secs(30)).expect("it is taken back");
        assert_eq!(world.wrongly_dead, 0, "seed {seed}");
    }
}

#[test]
fn a_dead_node_is_known_to_all_in_virtual_seconds() {
    for nodes in [3, 10, 50] {
        let mut took: Vec<Duration> = Vec::new();
        let rounds = if nodes == 50 { 3 } else { 20 };
        for seed in 0..rounds {
            let mut world = formed(seed, nodes);
            world.kill(1);
            took.push(world.agree_within(secs(30)).expect("all know it"));
        }
        took.sort_unstable();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!("{nodes} nodes: a death is known to all after {median:?} (median), {worst:?}");
        let bound = if nodes == 50 { ms(7_000) } else { ms(3_500) };
        assert!(worst <= bound, "{nodes} nodes: {worst:?}");
    }
}

#[test]
fn a_node_that_leaves_is_known_to_have_left_before_it_could_be_missed() {
    for seed in 0..20 {
        let mut world = formed(seed, 5);
        world.leave(3);
        let took = world.agree_within(secs(10)).expect("all know it");
        assert!(took <= secs(1), "seed {seed}: {took:?}");
    }
}

#[test]
fn bytes_of_gossip_are_printed_and_bounded() {
    for (nodes, bound) in [(3, 5_000), (10, 10_000), (50, 40_000)] {
        for (kind, busy) in [("quiet", false), ("busy", true)] {
            let mut world = formed(1, nodes);
            world.run_for(secs(10));
            for node in &mut world.nodes {
                (node.bytes_out, node.packets_out) = (0, 0);
            }
            const SECONDS: u64 = 60;
            for _ in 0..SECONDS {
                for index in 0..nodes {
                    let mut said = world.nodes[index].said.clone();
                    if busy {
                        // Always by more than a little.
                        said.rooms = world.rng.random_range(0..10) * 1_000;
                        said.sessions = world.rng.random_range(0..10) * 10_000;
                    }
                    world.say(index, said);
                }
                world.run_for(secs(1));
            }
            let each = |count: fn(&world::Node) -> u64| {
                world.nodes.iter().map(count).sum::<u64>() / (nodes as u64 * SECONDS)
            };
            let (bytes, packets) = (each(|node| node.bytes_out), each(|node| node.packets_out));
            println!(
                "{nodes} nodes, {kind}: {bytes} bytes and {packets} packets a second per node"
            );
            assert!(bytes <= bound, "{nodes} nodes, {kind}: {bytes}");
            assert_eq!(world.wrongly_dead, 0);
        }
    }
}
