//! When a voter stands for election because gossip says that the leader is dead. Raft alone waits
//! for the leader's lease and then for a random time of its own; this spares the second wait. Pure:
//! the time is given. It never unseats a leader that a majority still hears: who stands asks first
//! whether it could win, and nobody says yes before the leader's lease with them is over.

use std::collections::BTreeSet;
use std::time::Duration;

use parlance_actors::vocab::NodeId;

use crate::limits;

/// What a node knows of a leader that is to be replaced.
#[derive(Debug, Default)]
pub(super) struct Campaign {
    /// The leader that gossip doubts, and since when.
    doubted: Option<(NodeId, Duration)>,
    /// When this node last stood.
    stood: Option<Duration>,
}

/// How the group looks to a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Electorate<'a> {
    pub(super) own: NodeId,
    pub(super) leader: Option<NodeId>,
    pub(super) voters: &'a BTreeSet<NodeId>,
    /// Whom gossip believes to be alive; `None` when it says nothing.
    pub(super) alive: Option<&'a BTreeSet<NodeId>>,
}

impl Campaign {
    /// Whether a leader is to be replaced.
    pub(super) const fn is_on(&self) -> bool {
        self.doubted.is_some()
    }

    /// Whether this node should ask for votes now. The first of the living voters does at once and
    /// the others a little later each, so that they do not take each other's votes.
    pub(super) fn stands(&mut self, group: Electorate<'_>, now: Duration) -> bool {
        let Electorate { own, leader, voters, alive } = group;
        let dead = leader.zip(alive).filter(|(leader, alive)| !alive.contains(leader));
        let Some((leader, alive)) = dead.filter(|(leader, _)| *leader != own) else {
            *self = Self::default();
            return false;
        };
        if self.doubted.is_none_or(|(doubted, _)| doubted != leader) {
            *self = Self { doubted: Some((leader, now)), stood: None };
        }
        let since = self.doubted.map_or(now, |(_, since)| since);
        let before = voters.iter().filter(|voter| **voter < own && alive.contains(voter)).count();
        let turn = limits::CAMPAIGN_STAGGER * u32::try_from(before).unwrap_or(u32::MAX);
        let late = |stood: Duration| now.saturating_sub(stood) >= limits::CAMPAIGN_AGAIN;
        let stands = voters.contains(&own)
            && now.saturating_sub(since) >= turn
            && self.stood.is_none_or(late);
        if stands {
            self.stood = Some(now);
        }
        stands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn stands(
        campaign: &mut Campaign,
        own: u64,
        leader: Option<u64>,
        alive: Option<&[u64]>,
        now: u64,
    ) -> bool {
        let (voters, alive) = (ids(&[1, 2, 3]), alive.map(ids));
        let (own, leader) = (NodeId(own), leader.map(NodeId));
        campaign.stands(Electorate { own, leader, voters: &voters, alive: alive.as_ref() }, at(now))
    }

    #[test]
    fn the_first_living_voter_stands_at_once_and_the_next_one_later() {
        let (mut two, mut three) = (Campaign::default(), Campaign::default());
        let alive = Some(&[2, 3][..]);
        assert!(stands(&mut two, 2, Some(1), alive, 1_000));
        let again = 1_000 + u64::try_from(limits::CAMPAIGN_AGAIN.as_millis()).expect("short");
        assert!(!stands(&mut two, 2, Some(1), alive, again - 1), "it may be elected meanwhile");
        assert!(stands(&mut two, 2, Some(1), alive, again), "again while it is not elected");
        assert!(!stands(&mut three, 3, Some(1), alive, 1_000));
        let turn = u64::try_from(limits::CAMPAIGN_STAGGER.as_millis()).expect("short");
        assert!(!stands(&mut three, 3, Some(1), alive, 999 + turn));
        assert!(stands(&mut three, 3, Some(1), alive, 1_000 + turn));
    }

    #[test]
    fn nobody_stands_against_a_leader_that_gossip_does_not_doubt() {
        let mut campaign = Campaign::default();
        assert!(!stands(&mut campaign, 2, Some(1), None, 0), "gossip says nothing");
        assert!(!stands(&mut campaign, 2, Some(1), Some(&[1, 2, 3]), 0));
        assert!(!stands(&mut campaign, 2, Some(2), Some(&[1, 3]), 0), "it leads itself");
        assert!(!stands(&mut campaign, 2, None, Some(&[2, 3]), 0), "Raft's own turn");
        assert!(!stands(&mut campaign, 4, Some(1), Some(&[2, 3, 4]), 60_000), "it has no vote");
    }

    #[test]
    fn a_doubt_that_ended_counts_for_nothing() {
        let mut campaign = Campaign::default();
        assert!(!stands(&mut campaign, 3, Some(1), Some(&[2, 3]), 0));
        assert!(!stands(&mut campaign, 3, Some(1), Some(&[1, 2, 3]), 200));
        assert!(!stands(&mut campaign, 3, Some(1), Some(&[2, 3]), 400));
        assert!(!stands(&mut campaign, 3, Some(2), Some(&[3, 1]), 700), "another leader");
    }
}
