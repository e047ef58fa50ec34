//! Who should own which shard. Pure and deterministic: given who lives, who owns what, pins and
//! loads, it says which shards to take over and which few to move. It knows neither Raft nor time;
//! whoever asks says whether it is time to rebalance.

use std::collections::BTreeMap;

use parlance_actors::vocab::{NodeId, ShardId};

pub use crate::directory::Cause;

use crate::limits;

/// A node that may own shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// It holds a lease.
    pub live: bool,
    /// It gives its shards away and takes no new ones.
    pub draining: bool,
}

/// A shard and who has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Who owns it. It need not be a node that is still there.
    pub owner: NodeId,
    /// Where it is being moved.
    pub moving_to: Option<NodeId>,
    /// Where it is pinned.
    pub pinned_to: Option<NodeId>,
    /// Events a second.
    pub load: u32,
}

/// What placement sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Board {
    /// The nodes of the cluster.
    pub hosts: BTreeMap<NodeId, Host>,
    /// The shards.
    pub shards: BTreeMap<ShardId, Placed>,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Shards whose owner is gone, and who gets each at once.
    pub takeovers: Vec<(ShardId, NodeId)>,
    /// Moves that cannot end, because where they lead is gone.
    pub cancels: Vec<ShardId>,
    /// Planned moves to begin.
    pub moves: Vec<(ShardId, NodeId, Cause)>,
}

/// A node's share: shards, then load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Share {
    shards: usize,
    load: u64,
}

impl Share {
    fn add(&mut self, load: u32) {
        self.shards += 1;
        self.load += u64::from(load);
    }

    fn take(&mut self, load: u32) {
        self.shards = self.shards.saturating_sub(1);
        self.load = self.load.saturating_sub(u64::from(load));
    }
}

impl Board {
    /// Decides. Without `rebalance` only what must be is done: takeovers, pins and drains.
    #[must_use]
    pub fn decide(&self, rebalance: bool) -> Decision {
        let mut next = self.clone();
        let mut decision = Decision::default();
        next.take_over(&mut decision);
        next.cancel(&mut decision);
        let moving = next.shards.values().filter(|shard| shard.moving_to.is_some()).count();
        let room = limits::MOVING_MAX.saturating_sub(moving);
        next.follow_pins(&mut decision, room);
        next.empty_draining(&mut decision, limits::DRAINING_MAX.saturating_sub(moving));
        if rebalance && moving == 0 && decision == Decision::default() {
            next.even_out(&mut decision, room);
            next.swap(&mut decision, room);
        }
        decision
    }

    /// Whether every node that takes shards has as many as any other, within one round of moves.
    #[must_use]
    pub fn is_even(&self) -> bool {
        let shares = self.shares();
        let counts = || shares.values().map(|share| share.shards);
        let (least, most) = (counts().min(), counts().max());
        most.unwrap_or_default() <= least.unwrap_or_default() + limits::MOVING_MAX
    }

    fn lives(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.live)
    }

    /// Those that may get shards, with what they will have once every move ended.
    fn shares(&self) -> BTreeMap<NodeId, Share> {
        let takes = |draining: bool| {
            let hosts = self.hosts.iter();
            hosts.filter(move |(_, host)| host.live && host.draining <= draining)
        };
        let mut shares: BTreeMap<NodeId, Share> =
            takes(false).map(|(node, _)| (*node, Share::default())).collect();
        if shares.is_empty() {
            // Better a draining owner than none.
            shares = takes(true).map(|(node, _)| (*node, Share::default())).collect();
        }
        for shard in self.shards.values() {
            if let Some(share) = shares.get_mut(&shard.moving_to.unwrap_or(shard.owner)) {
                share.add(shard.load);
            }
        }
        shares
    }

    fn take_over(&mut self, decision: &mut Decision) {
        let mut shares = self.shares();
        let mut lost: Vec<(ShardId, Placed)> =
            self.shards.iter().map(|(id, s)| (*id, *s)).collect();
        lost.retain(|(_, shard)| !self.lives(shard.owner));
        // The heaviest first, so that the last ones even out.
        lost.sort_by_key(|(id, shard)| (std::cmp::Reverse(shard.load), *id));
        for (id, shard) in lost {
            // What moves to a living node is counted there already.
            let moving = shard.moving_to.filter(|to| shares.contains_key(to));
            let pinned = shard.pinned_to.filter(|to| self.lives(*to));
            let least = || shares.iter().min_by_key(|(node, share)| (**share, **node));
            let Some(to) = pinned.or(moving).or_else(|| least().map(|(node, _)| *node)) else {
                return;
            };
            if moving != Some(to) {
                if let Some(share) = moving.and_then(|moving| shares.get_mut(&moving)) {
                    share.take(shard.load);
                }
                if let Some(share) = shares.get_mut(&to) {
                    share.add(shard.load);
                }
            }
            let placed = self.shards.get_mut(&id).expect("it was listed from here");
            (placed.owner, placed.moving_to) = (to, None);
            decision.takeovers.push((id, to));
        }
    }

    fn cancel(&mut self, decision: &mut Decision) {
        let hosts = &self.hosts;
        for (id, shard) in &mut self.shards {
            let gone = |to: &NodeId| !hosts.get(to).is_some_and(|host| host.live);
            if shard.moving_to.as_ref().is_some_and(gone) {
                shard.moving_to = None;
                decision.cancels.push(*id);
            }
        }
    }

    fn begin(&mut self, decision: &mut Decision, id: ShardId, to: NodeId, cause: Cause) {
        let shard = self.shards.get_mut(&id).expect("a shard of this board");
        shard.moving_to = Some(to);
        decision.moves.push((id, to, cause));
    }

    fn follow_pins(&mut self, decision: &mut Decision, room: usize) {
        let astray = self.shards.iter().filter_map(|(id, shard)| {
            let pin = shard.pinned_to.filter(|pin| self.lives(*pin))?;
            (shard.moving_to.is_none() && shard.owner != pin).then_some((*id, pin))
        });
        for (id, pin) in astray.take(room).collect::<Vec<_>>() {
            self.begin(decision, id, pin, Cause::Pin);
        }
    }

    fn empty_draining(&mut self, decision: &mut Decision, room: usize) {
        let drains = |node: NodeId| self.hosts.get(&node).is_some_and(|host| host.draining);
        let leaving = self.shards.iter().filter(|(_, shard)| {
            // A pin is an operator's word too, and outlives a drain only while its node lives.
            let held = shard.pinned_to.is_some_and(|pin| self.lives(pin));
            shard.moving_to.is_none() && drains(shard.owner) && !held
        });
        let leaving: Vec<ShardId> = leaving.map(|(id, _)| *id).collect();
        for id in leaving {
            let shares = self.shares();
            let least = shares.iter().min_by_key(|(node, share)| (**share, **node));
            let Some((to, _)) = least.filter(|(to, _)| !self.hosts[to].draining) else { return };
            if decision.moves.len() >= room {
                return;
            }
            self.begin(decision, id, *to, Cause::Drain);
        }
    }

    /// Shards of a node that rebalancing may move.
    fn movable(&self, node: NodeId) -> impl Iterator<Item = (ShardId, u32)> {
        let shards = self.shards.iter();
        let movable = shards.filter(move |(_, shard)| {
            shard.owner == node && shard.moving_to.is_none() && shard.pinned_to.is_none()
        });
        movable.map(|(id, shard)| (*id, shard.load))
    }

    /// Moves shards until every node has as many as any other, within one.
    fn even_out(&mut self, decision: &mut Decision, room: usize) {
        while decision.moves.len() < room {
            let shares = self.shares();
            let Some((to, least)) = shares.iter().min_by_key(|(node, share)| (**share, **node))
            else {
                return;
            };
            let over = |share: &Share| share.shards > least.shards + 1;
            let mut rich: Vec<_> = shares.iter().filter(|(_, share)| over(share)).collect();
            rich.sort_by_key(|(node, share)| (std::cmp::Reverse(**share), **node));
            let found = rich.into_iter().find_map(|(from, share)| {
                // The shard that brings the two loads closest together.
                let half = share.load.saturating_sub(least.load) / 2;
                let movable = self.movable(*from);
                movable.min_by_key(|(id, load)| (half.abs_diff(u64::from(*load)), *id))
            });
            let Some((id, _)) = found else { return };
            self.begin(decision, id, *to, Cause::Rebalance);
        }
    }

    /// Exchanges a heavy shard of the busiest node for a light one of the idlest, when that is far
    /// better: the busiest of the two must get away from its load by a tenth of it.
    fn swap(&mut self, decision: &mut Decision, room: usize) {
        if !decision.moves.is_empty() || room < 2 {
            return;
        }
        let shares = self.shares();
        let by_load = |(node, share): &(&NodeId, &Share)| (share.load, **node);
        let (Some((hot, most)), Some((cold, least))) =
            (shares.iter().max_by_key(by_load), shares.iter().min_by_key(by_load))
        else {
            return;
        };
        if most.load < u64::from(BUSY) || most.load < least.load.saturating_mul(2) {
            return;
        }
        let light = self.movable(*cold).min_by_key(|(id, load)| (*load, *id));
        let Some((light, light_load)) = light else { return };
        let after = |heavy: u32| {
            let shift = u64::from(heavy.saturating_sub(light_load));
            (most.load - shift).max(least.load + shift)
        };
        let heavy = self.movable(*hot).min_by_key(|(id, load)| (after(*load), *id));
        let Some((heavy, heavy_load)) = heavy else { return };
        if after(heavy_load) * 10 <= most.load * 9 {
            let (hot, cold) = (*hot, *cold);
            self.begin(decision, heavy, cold, Cause::Rebalance);
            self.begin(decision, light, hot, Cause::Rebalance);
        }
    }
}

/// Events a second below which no node is busy enough to move a shard for.
const BUSY: u32 = 200;

#[cfg(test)]
mod tests;
