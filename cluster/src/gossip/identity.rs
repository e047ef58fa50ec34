//! Who a member of gossip is, and which of two lives of the same node wins.

use std::net::SocketAddr;

use parlance_actors::vocab::NodeId;
use serde::{Deserialize, Serialize};

/// Whoever is at an address: a seed of which only the address is known.
pub(super) const ANYBODY: NodeId = NodeId(0);

/// One life of a node in gossip. The node is what it is known by; of two lives the later wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Grows with each start of the process.
    pub incarnation: u64,
    /// Grows within a process, each time that others declared it down while it lived.
    pub renewal: u16,
    /// Where its control endpoint is.
    pub address: SocketAddr,
}

impl Identity {
    /// The first life of a process.
    #[must_use]
    pub const fn new(node: NodeId, incarnation: u64, address: SocketAddr) -> Self {
        Self { node, incarnation, renewal: 0, address }
    }

    /// Somebody to announce to, of whom the life is not known.
    pub(super) const fn of_place(node: NodeId, address: SocketAddr) -> Self {
        Self::new(node, 0, address)
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    /// Declared down, a node that lives comes back as its next life.
    fn renew(&self) -> Option<Self> {
        Some(Self { renewal: self.renewal.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    /// The address only makes this a total order, should two processes share a data directory.
    fn win_addr_conflict(&self, other: &Self) -> bool {
        (self.incarnation, self.renewal, self.address)
            > (other.incarnation, other.renewal, other.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    fn life(incarnation: u64, renewal: u16) -> Identity {
        Identity {
            node: NodeId(3),
            incarnation,
            renewal,
            address: SocketAddr::from(([127, 0, 0, 1], 7701)),
        }
    }

    #[test]
    fn a_later_start_wins_over_every_renewal_of_an_earlier_one() {
        assert!(life(2, 0).win_addr_conflict(&life(1, u16::MAX)));
        assert!(!life(1, u16::MAX).win_addr_conflict(&life(2, 0)));
        assert!(life(2, 1).win_addr_conflict(&life(2, 0)));
        assert!(!life(2, 1).win_addr_conflict(&life(2, 1)));
    }

    #[test]
    fn a_renewed_life_wins_until_there_are_no_more() {
        let renewed = life(1, 0).renew().expect("there are more");
        assert!(renewed.win_addr_conflict(&life(1, 0)));
        assert_eq!(renewed.incarnation, 1);
        assert_eq!(life(1, u16::MAX).renew(), None);
    }
}
