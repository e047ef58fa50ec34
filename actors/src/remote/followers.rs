//! At the owner: which nodes follow which rooms. Bounded by nodes and rooms, never by members.

use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::ports::peers::Channel;
use crate::vocab::{NodeId, RoomRef};

/// A node that follows, with the number under which it said so.
#[derive(Debug, Clone, Copy)]
struct FollowerNode {
    node: NodeId,
    number: u64,
}

#[derive(Default)]
pub(super) struct FollowerNodes {
    rooms: DashMap<RoomRef, Vec<FollowerNode>>,
    /// Rooms in the table, so that a node without peers does not look.
    count: AtomicUsize,
}

impl FollowerNodes {
    pub(super) fn of(&self, at: RoomRef) -> Vec<NodeId> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let found = self.rooms.get(&at);
        found.map_or_else(Vec::new, |nodes| nodes.iter().map(|known| known.node).collect())
    }

    pub(super) fn follow(&self, at: RoomRef, node: NodeId, number: u64) {
        match self.rooms.entry(at) {
            Entry::Vacant(place) => {
                place.insert(vec![FollowerNode { node, number }]);
                self.count.fetch_add(1, Ordering::AcqRel);
            }
            Entry::Occupied(mut nodes) => {
                let nodes = nodes.get_mut();
                match nodes.iter_mut().find(|known| known.node == node) {
                    Some(known) => known.number = known.number.max(number),
                    None => nodes.push(FollowerNode { node, number }),
                }
            }
        }
    }

    /// `number` is the last that the node had given when it found that it does not follow: a
    /// following that it began meanwhile stays.
    pub(super) fn unfollow(&self, at: RoomRef, node: NodeId, number: u64) {
        self.retain_in(at, |known| known.node != node || known.number > number);
    }

    /// The way to a node was interrupted: it says again what it follows.
    pub(super) fn forget(&self, node: NodeId, channel: Channel) {
        let rooms = self.rooms.iter().filter(|room| Channel::of_room(*room.key()) == channel);
        let rooms = rooms.filter(|room| room.iter().any(|known| known.node == node));
        let rooms: Vec<RoomRef> = rooms.map(|room| *room.key()).collect();
        for at in rooms {
            self.retain_in(at, |known| known.node != node);
        }
    }

    /// Forgets rooms that are not this node's any more. Gives who followed them, who must be told:
    /// a node that knew of the next owner before this one did may have followed this one for it.
    pub(super) fn forget_rooms(&self, is_gone: impl Fn(RoomRef) -> bool) -> Vec<(RoomRef, NodeId)> {
        let gone = self.rooms.iter().map(|room| *room.key()).filter(|at| is_gone(*at));
        let gone: Vec<RoomRef> = gone.collect();
        let mut followed = Vec::new();
        for at in gone {
            if let Some((_, nodes)) = self.rooms.remove(&at) {
                self.count.fetch_sub(1, Ordering::AcqRel);
                followed.extend(nodes.into_iter().map(|known| (at, known.node)));
            }
        }
        followed
    }

    fn retain_in(&self, at: RoomRef, keep: impl Fn(&FollowerNode) -> bool) {
        if let Entry::Occupied(mut nodes) = self.rooms.entry(at) {
            nodes.get_mut().retain(keep);
            if nodes.get().is_empty() {
                nodes.remove();
                self.count.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::{RoomId, TenantId};

    #[test]
    fn an_unfollow_that_was_overtaken_by_a_follow_does_nothing() {
        let followers = FollowerNodes::default();
        let at = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
        followers.follow(at, NodeId(2), 7);
        followers.unfollow(at, NodeId(2), 6);
        assert_eq!(followers.of(at), [NodeId(2)]);
        followers.unfollow(at, NodeId(2), 7);
        assert!(followers.of(at).is_empty() && followers.rooms.is_empty());
        assert_eq!(followers.count.load(Ordering::Acquire), 0);
    }

    #[test]
    fn an_interruption_forgets_one_node_on_one_channel() {
        let followers = FollowerNodes::default();
        let at = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
        let other = Channel((Channel::of_room(at).0 + 1) % crate::ports::peers::CHANNELS);
        followers.follow(at, NodeId(2), 1);
        followers.follow(at, NodeId(3), 1);
        followers.forget(NodeId(2), other);
        assert_eq!(followers.of(at).len(), 2);
        followers.forget(NodeId(2), Channel::of_room(at));
        assert_eq!(followers.of(at), [NodeId(3)]);
    }
}
