//! What holds for every decision, and for deciding again and again.

use std::collections::BTreeSet;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;

fn node() -> impl Strategy<Value = NodeId> {
    (1..8_u64).prop_map(NodeId)
}

fn host() -> impl Strategy<Value = Host> {
    (prop::bool::weighted(0.8), prop::bool::weighted(0.2))
        .prop_map(|(live, draining)| Host { live, draining })
}

fn placed() -> impl Strategy<Value = Placed> {
    let pin = option::weighted(0.05, node());
    let moving = option::weighted(0.05, node());
    (node(), moving, pin, prop_oneof![4 => 0..20_u32, 1 => 0..2_000_u32]).prop_map(
        |(owner, moving_to, pinned_to, load)| Placed { owner, moving_to, pinned_to, load },
    )
}

fn board() -> impl Strategy<Value = Board> {
    (btree_map(node(), host(), 1..7), vec(placed(), 256))
        .prop_map(|(hosts, shards)| Board { hosts, shards: ShardId::all().zip(shards).collect() })
}

/// Does what was decided, and lets every move end.
fn perform(board: &mut Board, decision: &Decision) {
    for (id, to) in &decision.takeovers {
        let shard = board.shards.get_mut(id).expect("a shard");
        (shard.owner, shard.moving_to) = (*to, None);
    }
    for id in &decision.cancels {
        board.shards.get_mut(id).expect("a shard").moving_to = None;
    }
    for (id, to, _) in &decision.moves {
        board.shards.get_mut(id).expect("a shard").moving_to = Some(*to);
    }
    for shard in board.shards.values_mut() {
        shard.owner = shard.moving_to.take().unwrap_or(shard.owner);
    }
}

/// Decides until nothing is left to do; how many rounds that took.
fn settle(board: &mut Board) -> usize {
    for round in 0..300 {
        let decision = board.decide(true);
        if decision == Decision::default() {
            return round;
        }
        perform(board, &decision);
    }
    panic!("it does not end: {board:?}");
}

fn takers(board: &Board) -> BTreeSet<NodeId> {
    let hosts = board.hosts.iter().filter(|(_, host)| host.live && !host.draining);
    hosts.map(|(node, _)| *node).collect()
}

fn counts(board: &Board) -> BTreeMap<NodeId, usize> {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for shard in board.shards.values() {
        *counts.entry(shard.owner).or_default() += 1;
    }
    counts
}

proptest! {
    #[test]
    fn it_ends_and_every_shard_then_has_a_living_owner(mut board in board()) {
        settle(&mut board);
        if board.hosts.values().any(|host| host.live) {
            for shard in board.shards.values() {
                prop_assert!(board.lives(shard.owner));
            }
        }
        prop_assert_eq!(board.decide(true), Decision::default());
    }

    #[test]
    fn one_decision_gives_every_shard_of_the_dead_to_the_living(board in board()) {
        let decision = board.decide(false);
        if board.hosts.values().any(|host| host.live) {
            let lost: BTreeSet<ShardId> = board.shards.iter()
                .filter(|(_, shard)| !board.lives(shard.owner)).map(|(id, _)| *id).collect();
            let taken: BTreeSet<ShardId> = decision.takeovers.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(lost, taken);
            prop_assert!(decision.takeovers.iter().all(|(_, to)| board.lives(*to)));
        }
    }

    #[test]
    fn in_the_end_the_counts_are_equal_within_one_and_pins_and_drains_are_followed(
        mut board in board(),
    ) {
        settle(&mut board);
        let takers = takers(&board);
        prop_assume!(!takers.is_empty());
        for shard in board.shards.values() {
            match shard.pinned_to.filter(|pin| board.lives(*pin)) {
                Some(pin) => prop_assert_eq!(shard.owner, pin),
                None => prop_assert!(takers.contains(&shard.owner)),
            }
        }
        let counts = counts(&board);
        let count = |node: &NodeId| counts.get(node).copied().unwrap_or_default();
        let least = takers.iter().map(count).min().unwrap_or_default();
        for node in &takers {
            let free = board.movable(*node).count();
            prop_assert!(count(node) <= least + 1 || free == 0, "{counts:?}");
        }
    }

    #[test]
    fn few_move_at_a_time_and_pinned_ones_only_to_their_pin(board in board(), on in any::<bool>()) {
        let decision = board.decide(on);
        let cancelled: BTreeSet<_> = decision.cancels.iter().collect();
        let taken: BTreeSet<_> = decision.takeovers.iter().map(|(id, _)| id).collect();
        let moving = board.shards.iter().filter(|(id, shard)| {
            shard.moving_to.is_some() && !cancelled.contains(id) && !taken.contains(id)
        }).count();
        let drains = decision.moves.iter().filter(|(_, _, cause)| *cause == Cause::Drain).count();
        let others = decision.moves.len() - drains;
        prop_assert!(others == 0 || moving + others <= limits::MOVING_MAX);
        prop_assert!(drains == 0 || moving + decision.moves.len() <= limits::DRAINING_MAX);
        for (id, to, cause) in &decision.moves {
            let shard = board.shards[id];
            prop_assert!(board.lives(*to));
            if let Some(pin) = shard.pinned_to.filter(|pin| board.lives(*pin)) {
                prop_assert_eq!((*to, *cause), (pin, Cause::Pin));
            }
        }
    }

    #[test]
    fn the_same_board_gives_the_same_decision(board in board()) {
        prop_assert_eq!(board.decide(true), board.clone().decide(true));
    }

    /// Noise in the loads of a balanced cluster moves nothing.
    #[test]
    fn small_changes_of_load_move_nothing(mut board in board(), noise in vec(0..20_u32, 256)) {
        for shard in board.shards.values_mut() {
            shard.load = 100;
            shard.pinned_to = None;
        }
        settle(&mut board);
        for (shard, noise) in board.shards.values_mut().zip(noise) {
            shard.load += noise;
        }
        prop_assert_eq!(board.decide(true), Decision::default());
    }
}

#[test]
fn a_new_node_gets_its_part_by_few_moves() {
    let host = Host { live: true, draining: false };
    let placed = Placed { owner: NodeId(1), moving_to: None, pinned_to: None, load: 0 };
    let mut board = Board {
        hosts: [(NodeId(1), host), (NodeId(2), host)].into(),
        shards: ShardId::all().map(|id| (id, placed)).collect(),
    };
    let mut moved = 0;
    loop {
        let decision = board.decide(true);
        if decision == Decision::default() {
            break;
        }
        assert!(decision.moves.len() <= limits::MOVING_MAX);
        moved += decision.moves.len();
        perform(&mut board, &decision);
    }
    assert_eq!(moved, 128, "no shard moves twice");
    assert_eq!(counts(&board), [(NodeId(1), 128), (NodeId(2), 128)].into());
}

#[test]
fn a_hot_shard_is_exchanged_for_a_light_one() {
    let host = Host { live: true, draining: false };
    let mut board = Board {
        hosts: [(NodeId(1), host), (NodeId(2), host)].into(),
        shards: ShardId::all()
            .map(|id| {
                let owner = NodeId(1 + u64::from(id.0 % 2));
                (id, Placed { owner, moving_to: None, pinned_to: None, load: 0 })
            })
            .collect(),
    };
    for (shard, load) in [(0, 900), (2, 800)] {
        board.shards.get_mut(&ShardId(shard)).expect("there").load = load;
    }
    settle(&mut board);
    let owner = |shard: u8| board.shards[&ShardId(shard)].owner;
    assert_ne!(owner(0), owner(2));
    assert_eq!(counts(&board), [(NodeId(1), 128), (NodeId(2), 128)].into());
}
