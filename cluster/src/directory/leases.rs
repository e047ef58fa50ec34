//! Who the leader believes to be there. Pure: the time is given, as what has passed since any
//! moment that stays the same. Only the leader has a filled table; nothing of it is replicated.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parlance_actors::vocab::NodeId;

use super::members::LeaseTiming;
use super::wire::{LoadReport, LoadSum};
use crate::limits;

/// What each node last said, and when.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// Since when this node judges others. Nobody is judged by what it did not hear before.
    since: Duration,
    heard: BTreeMap<NodeId, Heard>,
}

#[derive(Debug)]
struct Heard {
    at: Duration,
    incarnation: u64,
    load: LoadReport,
}

impl Leases {
    /// This node begins to lead, or has its quorum back: everybody gets a fresh full lease.
    pub(super) fn begin(&mut self, now: Duration) {
        self.since = now;
    }

    /// A node renewed. A former life of it, whose message came late, does not count. A node whose
    /// count of lives was lost is silent for a while, and then heard.
    pub(super) fn hear(
        &mut self,
        node: NodeId,
        incarnation: u64,
        load: LoadReport,
        now: Duration,
    ) -> bool {
        let late = |former: &Heard| {
            let since = now.saturating_sub(former.at);
            former.incarnation > incarnation && since < limits::LATE_RENEWAL
        };
        if self.heard.get(&node).is_some_and(late) {
            return false;
        }
        self.heard.insert(node, Heard { at: now, incarnation, load });
        true
    }

    /// Forgets nodes that left.
    pub(super) fn keep(&mut self, nodes: &BTreeSet<NodeId>) {
        self.heard.retain(|node, _| nodes.contains(node));
    }

    /// How long a node has been silent, as far as this node can judge.
    pub(super) fn silence(&self, node: NodeId, now: Duration) -> Duration {
        let last = self.heard.get(&node).map_or(Duration::ZERO, |heard| heard.at);
        now.saturating_sub(last.max(self.since))
    }

    /// Whether a node renewed lately, whenever this node began to lead.
    pub(super) fn renewed_within(&self, node: NodeId, within: Duration, now: Duration) -> bool {
        self.heard.get(&node).is_some_and(|heard| now.saturating_sub(heard.at) < within)
    }

    /// Whether a node is to be believed. Doubts of gossip alone never end a lease: the node must
    /// also have been silent.
    pub(super) fn holds(
        &self,
        node: NodeId,
        doubted: bool,
        timing: &LeaseTiming,
        now: Duration,
    ) -> bool {
        let lease = if doubted { timing.lease_if_doubted } else { timing.lease };
        self.silence(node, now) < lease
    }

    /// Of the cluster's nodes, who has a lease, and who has been without one for so long that it is
    /// given up. `alive` is whom gossip believes to be alive, once it said something.
    pub(super) fn judge(
        &mut self,
        nodes: &BTreeSet<NodeId>,
        own: NodeId,
        alive: Option<&BTreeSet<NodeId>>,
        timing: &LeaseTiming,
        now: Duration,
    ) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        self.keep(nodes);
        let doubted = |node: &NodeId| alive.is_some_and(|alive| !alive.contains(node));
        let believed = |node: &NodeId| alive.is_some_and(|alive| alive.contains(node));
        let holds = |node: &NodeId| *node == own || self.holds(*node, doubted(node), timing, now);
        let live: BTreeSet<NodeId> = nodes.iter().copied().filter(holds).collect();
        let lost = nodes.difference(&live).copied().filter(|node| {
            !believed(node) && self.silence(*node, now) >= timing.voter_replaced_after
        });
        let lost = lost.collect();
        (live, lost)
    }

    pub(super) fn load(&self, node: NodeId) -> Option<&LoadReport> {
        self.heard.get(&node).map(|heard| &heard.load)
    }

    pub(super) fn sums(&self) -> Vec<(NodeId, LoadSum)> {
        self.heard.iter().map(|(node, heard)| (*node, LoadSum::of(&heard.load))).collect()
    }
}

impl LoadSum {
    pub(super) fn of(load: &LoadReport) -> Self {
        let LoadReport { rooms, sessions, events_per_second, .. } = *load;
        Self { rooms, sessions, events_per_second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn a_new_leader_gives_everybody_a_full_lease_before_it_judges() {
        let timing = LeaseTiming::default();
        let mut leases = Leases::default();
        leases.begin(at(10_000));
        assert!(leases.holds(NODE, false, &timing, at(12_999)));
        assert!(!leases.holds(NODE, false, &timing, at(13_000)));
    }

    #[test]
    fn doubts_shorten_a_lease_and_do_not_end_it() {
        let timing = LeaseTiming::default();
        let mut leases = Leases::default();
        assert!(leases.hear(NODE, 1, LoadReport::default(), at(10_000)));
        assert!(leases.holds(NODE, true, &timing, at(11_199)));
        assert!(!leases.holds(NODE, true, &timing, at(11_200)));
        assert!(leases.holds(NODE, false, &timing, at(11_200)));
    }

    #[test]
    fn a_late_message_of_a_former_life_renews_nothing() {
        let mut leases = Leases::default();
        assert!(leases.hear(NODE, 2, LoadReport::default(), at(1_000)));
        assert!(!leases.hear(NODE, 1, LoadReport::default(), at(2_000)));
        assert_eq!(leases.silence(NODE, at(2_000)), at(1_000));
        assert!(leases.hear(NODE, 1, LoadReport::default(), at(1_000) + limits::LATE_RENEWAL));
        leases = Leases::default();
        leases.hear(NODE, 2, LoadReport::default(), at(1_000));
        assert!(leases.renewed_within(NODE, at(1_001), at(2_000)));
        assert!(!leases.renewed_within(NODE, at(1_000), at(2_000)));
    }
}
