//! What the system tests of one node share beside the town: a node that can be killed.

mod node;

pub(crate) use node::Node;

use std::time::Duration;

/// Between two messages of a writer, so that the tests are about order and not about rate limits.
pub(crate) const PACE: Duration = Duration::from_millis(15);
