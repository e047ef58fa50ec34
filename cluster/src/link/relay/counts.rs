//! How many passages each node has here, so that none has too many.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::{PASSAGES_MAX, PASSAGES_PER_ORIGIN_MAX};
use crate::transport::PeerName;

/// How many passages there are for each node, bounded.
#[derive(Default)]
pub(super) struct Counts(Mutex<HashMap<PeerName, usize>>);

/// A passage that counts until this is dropped.
pub(super) struct Counted {
    counts: Arc<Counts>,
    node: PeerName,
}

impl Counts {
    /// `None` when there are too many, in all or for this node.
    pub(super) fn admit(self: &Arc<Self>, node: &PeerName) -> Option<Counted> {
        let mut counts = self.0.lock();
        let of_node = counts.get(node).copied().unwrap_or_default();
        let in_all: usize = counts.values().sum();
        if of_node >= PASSAGES_PER_ORIGIN_MAX || in_all >= PASSAGES_MAX {
            return None;
        }
        counts.insert(node.clone(), of_node + 1);
        Some(Counted { counts: Arc::clone(self), node: node.clone() })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self.counts.0.lock();
        if let Some(count) = counts.get_mut(&self.node) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PeerName {
        PeerName(name.into())
    }

    #[test]
    fn what_is_carried_is_bounded_for_each_origin_and_in_all() {
        let counts = Arc::new(Counts::default());
        let mut held: Vec<_> = std::iter::from_fn(|| counts.admit(&name("n1"))).collect();
        assert_eq!(held.len(), PASSAGES_PER_ORIGIN_MAX);
        for other in 2_usize.. {
            let of_other = std::iter::from_fn(|| counts.admit(&name(&format!("n{other}"))));
            let before = held.len();
            held.extend(of_other);
            if held.len() == before {
                break;
            }
        }
        assert_eq!(held.len(), PASSAGES_MAX);
        drop(held);
        assert!(counts.admit(&name("n1")).is_some());
    }
}
