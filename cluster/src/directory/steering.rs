//! What the leader remembers of placement between its looks, and what it proposes at each. Pure: the
//! time is given, as what has passed since any moment that stays the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlance_actors::vocab::{Epoch, NodeId, ShardId, Timestamp};

use super::command::{Cause, Command};
use super::leases::Leases;
use super::plan::Plan;
use super::state::State;
use crate::limits;

/// Of one leadership.
#[derive(Debug)]
pub(super) struct Steering {
    /// Since when each move has been under way.
    moving: BTreeMap<(ShardId, Epoch), Duration>,
    /// The last moment that loads are not yet measured after.
    rebalanced: Duration,
}

/// What comes of one look.
#[derive(Debug)]
pub(super) struct Steered {
    /// Each names its epoch, so that their order does not matter.
    pub(super) commands: Vec<Command>,
    /// Shards that lost their owner.
    pub(super) takeovers: usize,
    /// Moves that were not released in time.
    pub(super) overdue: usize,
}

impl Steering {
    /// This node begins to lead.
    pub(super) fn begin(now: Duration) -> Self {
        Self { moving: BTreeMap::new(), rebalanced: now }
    }

    /// The state as this leader's placement sees it.
    pub(super) fn plan(
        state: &State,
        leases: &Leases,
        own: NodeId,
        live: &BTreeSet<NodeId>,
    ) -> Plan {
        let owners: BTreeSet<NodeId> = state.shards().map(|(_, row)| row.owner).collect();
        // A node that was admitted and never said that it is there gets nothing.
        let shown = |node| node == own || owners.contains(&node) || leases.load(node).is_some();
        let lives = |node| live.contains(&node) && shown(node);
        Plan::of(state, lives, |owner, shard| {
            let load = leases.load(owner).and_then(|load| load.shards.get(usize::from(shard.0)));
            u32::from(load.copied().unwrap_or_default())
        })
    }

    /// Decides what is to be proposed now.
    pub(super) fn decide(&mut self, plan: &Plan, now: Duration, at: Timestamp) -> Steered {
        let rebalance = now.saturating_sub(self.rebalanced) >= limits::REBALANCE_PAUSE;
        let decision = plan.board.decide(rebalance);
        let overdue = self.overdue(plan, now);
        let rebalances = decision.moves.iter().any(|(_, _, cause)| *cause == Cause::Rebalance);
        if rebalances && plan.board.is_even() {
            // What is left is about loads, and they must be measured anew.
            self.rebalanced = now;
        }
        let commands = plan.commands(&decision, &overdue, at);
        Steered { commands, takeovers: decision.takeovers.len(), overdue: overdue.len() }
    }

    fn overdue(&mut self, plan: &Plan, now: Duration) -> Vec<ShardId> {
        let moving = plan.moving();
        let moving = moving.map(|at| (at, self.moving.get(&at).copied().unwrap_or(now)));
        let moving: BTreeMap<_, _> = moving.collect();
        self.moving = moving;
        let late = self.moving.iter();
        let late = late.filter(|(_, since)| now.saturating_sub(**since) >= limits::RELEASE_WAIT);
        late.map(|((shard, _), _)| *shard).collect()
    }
}
