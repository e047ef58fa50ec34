//! Which change of the group's membership comes next. Pure, one change at a time: a learner is
//! made of each admitted node, voters of learners while there are too few, and a dead voter is
//! replaced by a learner in one joint change.

use std::collections::BTreeSet;

use parlance_actors::vocab::NodeId;

/// The group as its leader sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    /// A change was begun and not finished.
    pub(super) joint: bool,
    pub(super) voters: BTreeSet<NodeId>,
    pub(super) learners: BTreeSet<NodeId>,
    /// The nodes that the directory has.
    pub(super) admitted: BTreeSet<NodeId>,
    /// Those with a lease.
    pub(super) live: BTreeSet<NodeId>,
    /// Those with a lease that have nearly the whole log.
    pub(super) caught_up: BTreeSet<NodeId>,
    /// Those without a lease for so long that they are given up.
    pub(super) lost: BTreeSet<NodeId>,
    /// How many voters there are to be.
    pub(super) wanted: usize,
}

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// Ends the change that was begun.
    Settle,
    /// Makes a node a learner.
    Learn(NodeId),
    /// Makes these the voters; former ones become learners.
    Vote(BTreeSet<NodeId>),
    /// Takes these learners out.
    Forget(BTreeSet<NodeId>),
}

impl Group {
    /// The next change, if any.
    pub(super) fn next(&self) -> Option<Change> {
        if self.joint {
            return Some(Change::Settle);
        }
        let known = |node: &&NodeId| self.voters.contains(node) || self.learners.contains(node);
        if let Some(new) = self.admitted.iter().find(|node| !known(node)) {
            return Some(Change::Learn(*new));
        }
        let removed: BTreeSet<NodeId> = self.learners.difference(&self.admitted).copied().collect();
        if !removed.is_empty() {
            return Some(Change::Forget(removed));
        }
        let voters = self.voters_next()?;
        // A change needs a majority of the former and of the next voters.
        let safe = self.has_majority(&self.voters) && self.has_majority(&voters);
        (safe && voters != self.voters).then_some(Change::Vote(voters))
    }

    fn voters_next(&self) -> Option<BTreeSet<NodeId>> {
        let candidate = self
            .learners
            .iter()
            .find(|node| self.admitted.contains(node) && self.caught_up.contains(node));
        let mut voters = self.voters.clone();
        if let Some(removed) = self.voters.iter().find(|voter| !self.admitted.contains(voter)) {
            // It left for good, with a successor or without.
            voters.remove(removed);
            voters.extend(candidate);
            return (!voters.is_empty()).then_some(voters);
        }
        let candidate = candidate?;
        if self.voters.len() >= self.wanted {
            let lost = self.voters.iter().find(|voter| self.lost.contains(voter))?;
            voters.remove(lost);
        }
        voters.insert(*candidate);
        Some(voters)
    }

    fn has_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.intersection(&self.live).count() > voters.len() / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    /// A group in which every node is well.
    fn group(voters: &[u64], learners: &[u64]) -> Group {
        let all: Vec<u64> = voters.iter().chain(learners).copied().collect();
        Group {
            joint: false,
            voters: ids(voters),
            learners: ids(learners),
            admitted: ids(&all),
            live: ids(&all),
            caught_up: ids(&all),
            lost: BTreeSet::new(),
            wanted: 3,
        }
    }

    #[test]
    fn an_admitted_node_learns_and_then_votes_while_there_are_too_few() {
        let mut group = group(&[1, 2], &[]);
        group.admitted.insert(NodeId(3));
        assert_eq!(group.next(), Some(Change::Learn(NodeId(3))));
        group.learners = ids(&[3]);
        assert_eq!(group.next(), None, "it is not caught up");
        group.caught_up.insert(NodeId(3));
        group.live.insert(NodeId(3));
        assert_eq!(group.next(), Some(Change::Vote(ids(&[1, 2, 3]))));
    }

    #[test]
    fn enough_voters_stay_as_they_are() {
        assert_eq!(group(&[1, 2, 3], &[4, 5]).next(), None);
    }

    #[test]
    fn a_lost_voter_is_replaced_in_one_change_and_only_by_a_node_that_is_well() {
        let mut group = group(&[1, 2, 3], &[4, 5]);
        group.live.remove(&NodeId(2));
        group.caught_up = ids(&[1, 3, 5]);
        assert_eq!(group.next(), None, "it may come back");
        group.lost = ids(&[2]);
        assert_eq!(group.next(), Some(Change::Vote(ids(&[1, 3, 5]))));
        group.caught_up = ids(&[1, 3]);
        assert_eq!(group.next(), None, "nobody can take its place");
    }

    #[test]
    fn without_a_majority_nothing_changes() {
        let mut group = group(&[1, 2, 3], &[4]);
        group.live = ids(&[1, 4]);
        group.lost = ids(&[2, 3]);
        assert_eq!(group.next(), None);
    }

    #[test]
    fn two_lost_voters_are_replaced_one_after_the_other() {
        let mut group = group(&[1, 2, 3, 4, 5], &[6, 7]);
        group.wanted = 5;
        group.live = ids(&[1, 2, 3, 6, 7]);
        group.lost = ids(&[4, 5]);
        assert_eq!(group.next(), Some(Change::Vote(ids(&[1, 2, 3, 5, 6]))));
    }

    #[test]
    fn a_removed_node_leaves_the_voters_and_then_the_learners() {
        let mut group = group(&[1, 2, 3], &[]);
        group.admitted.remove(&NodeId(2));
        assert_eq!(group.next(), Some(Change::Vote(ids(&[1, 3]))));
        group.voters = ids(&[1, 3]);
        group.learners = ids(&[2]);
        assert_eq!(group.next(), Some(Change::Forget(ids(&[2]))));
    }

    #[test]
    fn what_was_begun_is_finished_first() {
        let group = Group { joint: true, ..group(&[1, 2], &[3]) };
        assert_eq!(group.next(), Some(Change::Settle));
    }
}
