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
    /// This node begins to lead, or has its quorum back: everybody gets a fresh lease.
    pub(super) fn begin(&mut self, now: Duration) {
        self.since = now;
    }

    /// This node stood still for so long: others may have said something that it has yet to read.
    pub(super) fn stood_still(&mut self, late: Duration, now: Duration) {
        self.since = (self.since + late).min(now);
        for heard in self.heard.values_mut() {
            heard.at = (heard.at + late).min(now);
        }
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
    /// also have been silent. One that gossip doubted already and that says nothing to a new leader
    /// has less time: those that live renew as soon as they hear of another leader.
    pub(super) fn holds(
        &self,
        node: NodeId,
        doubted: bool,
        timing: &LeaseTiming,
        now: Duration,
    ) -> bool {
        // Its last renewal may have come a moment before this node judged for the first time.
        let heard = |heard: &Heard| heard.at + timing.renew >= self.since;
        let heard = self.heard.get(&node).is_some_and(heard);
        let lease = match (doubted, heard) {
            (false, _) => timing.lease,
            (true, true) => timing.lease_if_doubted,
            (true, false) => timing.renew.min(timing.lease_if_doubted),
        };
        self.silence(node, now) < lease
    }

    /// Of the cluster's nodes, who has a lease, and who has been without one for so long that it is
    /// given up. `alive` is whom gossip does not doubt, once it said something, and `seen` whom it
    /// sees alive: a dead one of whom it never heard, because this node was started since, must not
    /// keep its vote for ever.
    pub(super) fn judge(
        &mut self,
        nodes: &BTreeSet<NodeId>,
        own: NodeId,
        alive: Option<&BTreeSet<NodeId>>,
        seen: &BTreeSet<NodeId>,
        timing: &LeaseTiming,
        now: Duration,
    ) -> (BTreeSet<NodeId>, BTreeSet<NodeId>) {
        self.keep(nodes);
        let doubted = |node: &NodeId| alive.is_some_and(|alive| !alive.contains(node));
        let holds = |node: &NodeId| *node == own || self.holds(*node, doubted(node), timing, now);
        let live: BTreeSet<NodeId> = nodes.iter().copied().filter(holds).collect();
        let lost = nodes.difference(&live).copied().filter(|node| {
            !seen.contains(node) && self.silence(*node, now) >= timing.voter_replaced_after
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
    fn whom_gossip_doubts_has_one_renewal_to_be_heard_by_a_new_leader() {
        let timing = LeaseTiming::default();
        let mut leases = Leases::default();
        assert!(leases.hear(NODE, 1, LoadReport::default(), at(9_000)));
        leases.begin(at(10_000));
        assert!(leases.holds(NODE, true, &timing, at(10_499)));
        assert!(!leases.holds(NODE, true, &timing, at(10_500)), "it says nothing");
        assert!(leases.hear(NODE, 1, LoadReport::default(), at(10_100)));
        assert!(leases.holds(NODE, true, &timing, at(11_299)), "it renews");
        assert!(!leases.holds(NODE, true, &timing, at(11_300)));
    }

    #[test]
    fn the_time_in_which_the_leader_stood_still_is_no_silence_of_others() {
        let timing = LeaseTiming::default();
        let mut leases = Leases::default();
        leases.begin(at(1_000));
        assert!(leases.hear(NODE, 1, LoadReport::default(), at(10_000)));
        leases.stood_still(at(2_000), at(12_500));
        assert_eq!(leases.silence(NODE, at(12_500)), at(500));
        assert!(leases.holds(NODE, true, &timing, at(13_199)));
        assert!(!leases.holds(NODE, true, &timing, at(13_200)));
        leases.stood_still(at(60_000), at(14_000));
        assert_eq!(leases.silence(NODE, at(14_000)), at(0), "never more than all of it");
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
