//! Shards that are moved, pinned and given away.

use parlance_actors::ports::cluster::NodeState;

use super::*;

#[test]
fn a_new_node_gets_shards_and_each_move_ends_when_its_owner_releases() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        assert_eq!(owned_by(&a, a.node()).len(), SHARD_COUNT);
        // The leader gives up moves to a node that never said that it is there.
        until("leases", async || leased(&a) && leased(&b)).await;
        let first = a.ownership(ShardId(0)).expect("served");
        a.move_shard(ShardId(0), b.node()).await.expect("accepted");
        let moving = a.ownership(ShardId(0)).expect("served");
        assert_eq!((moving.owner, moving.epoch), (a.node(), first.epoch));
        assert_eq!(moving.moving_to, Some(b.node()));
        a.release(ShardId(0), moving.epoch).await.expect("released");
        let moved = a.ownership(ShardId(0)).expect("served");
        assert_eq!((moved.owner, moved.moving_to), (b.node(), None));
        assert!(moved.epoch > first.epoch);
        // Again does nothing.
        a.release(ShardId(0), moving.epoch).await.expect("nothing to do");
        assert_eq!(a.ownership(ShardId(0)), Some(moved));
        until("evened out", async || {
            release_all(&a).await;
            owned_by(&a, b.node()).len() == SHARD_COUNT / 2
        })
        .await;
        let moves = a.report().moves;
        assert_eq!((moves[0].to, moves[0].cause), (b.node(), "rebalance"));
        assert_eq!(moves.last().map(|moved| moved.cause), Some("operator"));
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_move_that_nobody_releases_is_forced() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        until("leases", async || leased(&a) && leased(&b)).await;
        a.move_shard(ShardId(9), b.node()).await.expect("accepted");
        until("forced", async || owned_by(&a, b.node()).contains(&ShardId(9))).await;
        close_all([&b, &a]).await;
    });
}

#[test]
fn pins_hold_and_a_draining_node_gives_everything_else_away() {
    runs(async {
        let mut town = Town::new();
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        a.pin_shard(ShardId(7), Some(b.node())).await.expect("pinned");
        until("at its pin", async || {
            release_all(&a).await;
            owned_by(&a, b.node()).contains(&ShardId(7))
        })
        .await;
        a.move_shard(ShardId(7), a.node()).await.expect_err("it is pinned");
        b.drain_node(a.node(), true).await.expect("accepted");
        until("drained", async || {
            release_all(&a).await;
            owned_by(&a, a.node()).is_empty()
        })
        .await;
        b.barrier().await.expect("a leader");
        let report = b.report();
        assert_eq!(report.nodes[0].state, NodeState::Draining);
        assert_eq!((report.nodes[0].shards, report.nodes[1].shards), (0, 256));
        close_all([&b, &a]).await;
    });
}
