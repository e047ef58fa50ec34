//! Nodes that die, fall silent or are removed: others lead, vote and own in their place.

use parlance_actors::ports::cluster::NodeState;

use super::*;

#[test]
fn the_leader_dies_and_another_leads_and_takes_its_shards_over() {
    runs(async {
        let (town, [a, b, c]) = Town::three().await;
        let before: BTreeMap<ShardId, Ownership> =
            ShardId::all().map(|shard| (shard, b.ownership(shard).expect("served"))).collect();
        town.kill("a", &a).await;
        until("the dead node owns nothing", async || owned_by(&b, a.node()).is_empty()).await;
        for (shard, before) in before {
            let now = b.ownership(shard).expect("served");
            assert!(now.owner == before.owner || now.epoch > before.epoch, "{shard}");
        }
        assert_ne!(b.leader(), Some(a.node()));
        until("everything is served", async || {
            owned_by(&b, b.node()).len() + owned_by(&b, c.node()).len() == SHARD_COUNT
        })
        .await;
        b.create_room(new_room("after")).await.expect("made");
        let takeovers = b.report().moves.into_iter().filter(|moved| moved.cause == "takeover");
        assert!(takeovers.count() > 0);
        close_all([&b, &c]).await;
    });
}

#[test]
fn a_silent_node_that_gossip_doubts_is_taken_over_before_its_lease_ends() {
    runs(async {
        let mut town = Town::new();
        // A lease that ends long after this test.
        town.leases.lease = PATIENCE * 10;
        let a = town.bootstrap("a").await;
        let b = town.join("b", "a").await;
        let c = town.join("c", "a").await;
        until("three voters", async || [&a, &b, &c].into_iter().all(settled_on_three)).await;
        until("leases", async || [&a, &b, &c].into_iter().all(leased)).await;
        a.move_shard(ShardId(9), c.node()).await.expect("accepted");
        until("at c", async || {
            release_all(&a).await;
            owned_by(&a, c.node()).contains(&ShardId(9))
        })
        .await;
        town.kill("c", &c).await;
        for node in [&a, &b] {
            node.believe([a.node(), b.node()].into(), [a.node(), b.node()].into());
        }
        until("taken over", async || owned_by(&a, c.node()).is_empty()).await;
        assert_eq!(a.report().nodes[2].state, NodeState::Down);
        close_all([&b, &a]).await;
    });
}

#[test]
fn a_dead_voter_is_replaced_by_a_learner() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let d = town.join("d", "c").await;
        until("a learner", async || a.report().raft.learners == [d.node()]).await;
        town.kill("b", &b).await;
        let expected = vec![a.node(), c.node(), d.node()];
        until("replaced", async || voters(&a) == expected).await;
        a.create_room(new_room("a")).await.expect("made");
        close_all([&a, &c, &d]).await;
    });
}

#[test]
fn a_leader_that_leads_again_after_a_restart_replaces_a_dead_voter() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        let d = town.join("d", "c").await;
        until("a learner", async || a.report().raft.learners == [d.node()]).await;
        town.kill("b", &b).await;
        // Alone the other voter elects nobody.
        town.kill("a", &a).await;
        let options = town.options("a", Start::Join { seeds: vec![address("c")] });
        let a = RaftDirectory::open(options).await.expect("comes back");
        // Nor did its gossip hear of the dead one: it neither doubts it nor sees it alive.
        let others = [a.node(), c.node(), d.node()];
        a.believe([&others[..], &[b.node()]].concat().into_iter().collect(), others.into());
        let expected = vec![a.node(), c.node(), d.node()];
        until("replaced", async || voters(&a) == expected).await;
        close_all([&a, &c, &d]).await;
    });
}

#[test]
fn a_removed_node_is_refused_and_its_shards_are_taken_over() {
    runs(async {
        let (mut town, [a, b, c]) = Town::three().await;
        a.remove_node(c.node()).await.expect("removed");
        until("out", async || voters(&a).len() == 2).await;
        until("taken over", async || owned_by(&a, c.node()).is_empty()).await;
        town.kill("c", &c).await;
        let refused = town.try_join("c", "a").await.err().expect("refused");
        assert!(matches!(&refused, OpenError::NotAdmitted(why) if why.contains("removed")));
        close_all([&b, &a]).await;
    });
}
