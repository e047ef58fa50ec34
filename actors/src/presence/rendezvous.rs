//! Which node is the home of a user shard: the live node with the highest weight for it
//! (rendezvous hashing, Thaler and Ravishankar 1998). Pure, and the same on every node and release:
//! nodes that see the same live nodes agree without a word.

use crate::vocab::NodeId;

/// The home of a user shard among the live nodes.
pub(super) fn home(shard: u8, live: impl IntoIterator<Item = NodeId>) -> Option<NodeId> {
    live.into_iter().max_by_key(|node| (weight(shard, *node), *node))
}

fn weight(shard: u8, node: NodeId) -> u64 {
    mixed(mixed(node.0) ^ u64::from(shard))
}

/// Spreads a number over 64 bits: each bit of the input changes about half of the output's (the
/// finaliser of SplitMix64, Steele, Lea and Flood 2014).
const fn mixed(number: u64) -> u64 {
    let mut bits = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn homes(nodes: &[u64]) -> Vec<NodeId> {
        let of = |shard| home(shard, nodes.iter().copied().map(NodeId)).expect("a live node");
        (0..=u8::MAX).map(of).collect()
    }

    #[test]
    fn everybody_finds_the_same_home_in_any_order() {
        assert_eq!(homes(&[1, 2, 3]), homes(&[3, 1, 2]));
        assert_eq!(home(0, []), None);
        // Nodes of two releases must agree.
        let first: Vec<u64> = homes(&[1, 2, 3]).iter().take(16).map(|node| node.0).collect();
        assert_eq!(first, FIRST_HOMES);
    }

    const FIRST_HOMES: [u64; 16] = [3, 3, 1, 3, 2, 3, 2, 3, 2, 2, 2, 1, 2, 1, 2, 1];

    #[test]
    fn only_the_shards_of_a_node_move_when_it_comes_or_goes() {
        for nodes in 2..20 {
            let with: Vec<u64> = (1..=nodes).collect();
            for gone in 1..=nodes {
                let without: Vec<u64> = with.iter().copied().filter(|node| *node != gone).collect();
                for (before, after) in homes(&with).iter().zip(homes(&without)) {
                    assert!(*before == after || *before == NodeId(gone));
                }
            }
        }
    }

    #[test]
    fn homes_are_spread_over_the_nodes() {
        // Ids as Raft gives them: 1, then log indexes.
        for nodes in [vec![1, 2], vec![1, 5, 9], (1..=5).collect(), (100..110).collect()] {
            let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
            homes(&nodes).into_iter().for_each(|node| *counts.entry(node).or_default() += 1);
            let fair = 256 / nodes.len();
            for (node, count) in counts {
                assert!(count > fair / 2 && count < 2 * fair, "{node} has {count} of {nodes:?}");
            }
        }
    }
}
