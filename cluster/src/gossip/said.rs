//! What each node says of itself, newest first come: carried by gossip as it is, kept by node. It
//! does not know who is alive.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use foca::{BroadcastHandler, Invalidates};
use parking_lot::Mutex;
use parlance_actors::vocab::NodeId;
use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::limits::{GOSSIP_NODES_MAX, GOSSIP_VERSION_BYTES_MAX};

/// The version of the layout of what a node says: the first byte. It stands apart from the
/// packet's, because what is said is handed on as it came.
const VERSION: u8 = 1;
/// A count that differs by less than this, or by less than an eighth, is the same for others.
const LITTLE: u64 = 8;

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// It gives its shards away and takes no new ones.
    pub draining: bool,
    /// Rooms awake there.
    pub rooms: u64,
    /// Sessions there.
    pub sessions: u64,
    /// Events that its rooms committed a second.
    pub events_per_second: f32,
    /// Where its data endpoint is.
    pub data: SocketAddr,
    /// The version that it runs.
    pub version: Arc<str>,
}

impl Said {
    /// Whether others should hear that it was `before` and is this now.
    pub(super) fn is_news_after(&self, before: &Self) -> bool {
        let far = |now: u64, then: u64| now.abs_diff(then) > LITTLE.max(now.max(then) / 8);
        // The counts of a machine are far below what a float holds exactly.
        let whole = |rate: f32| rate.max(0.0) as u64;
        self.draining != before.draining
            || self.data != before.data
            || self.version != before.version
            || far(self.rooms, before.rooms)
            || far(self.sessions, before.sessions)
            || far(whole(self.events_per_second), whole(before.events_per_second))
    }

    /// Cuts what has a bound.
    pub(super) fn bounded(mut self) -> Self {
        if self.version.len() > GOSSIP_VERSION_BYTES_MAX {
            let end = self.version.floor_char_boundary(GOSSIP_VERSION_BYTES_MAX);
            self.version = Arc::from(&self.version[..end]);
        }
        self
    }
}

/// What a node said, and when in its own order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Saying {
    pub(super) node: NodeId,
    /// The process that said it.
    pub(super) incarnation: u64,
    /// Grows with each saying of the process.
    pub(super) counter: u64,
    pub(super) said: Said,
}

impl Saying {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("plain fields encode")
    }

    /// `None` for a later version of the layout, which is handed on by those who know it.
    fn decode(bytes: &[u8]) -> Result<Option<Self>, BadSaying> {
        let Some((&VERSION, rest)) = bytes.split_first() else { return Ok(None) };
        let saying: Self = postcard::from_bytes(rest).map_err(BadSaying::Layout)?;
        if saying.said.version.len() > GOSSIP_VERSION_BYTES_MAX {
            return Err(BadSaying::LongVersion);
        }
        if !saying.said.events_per_second.is_finite() {
            return Err(BadSaying::NoNumber);
        }
        Ok(Some(saying))
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.incarnation, self.counter) > (other.incarnation, other.counter)
    }
}

/// Why what a node said is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BadSaying {
    Layout(postcard::Error),
    LongVersion,
    NoNumber,
}

impl fmt::Display for BadSaying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout(error) => write!(f, "what a node says does not decode: {error}"),
            Self::LongVersion => f.write_str("a node's version is too long"),
            Self::NoNumber => f.write_str("a node's load is no number"),
        }
    }
}

impl std::error::Error for BadSaying {}

/// What was heard of each node.
#[derive(Debug, Default)]
struct Kept {
    sayings: BTreeMap<NodeId, Saying>,
    /// Something was heard since it was last asked.
    changed: bool,
}

/// Hands what nodes say to and from foca. Shared with the core because foca gives its handler to
/// nobody; both are used by one task, so that the lock never waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Hearsay {
    kept: Arc<Mutex<Kept>>,
}

impl Hearsay {
    /// What a life of a node last said.
    pub(super) fn of(&self, life: &Identity) -> Option<Said> {
        let kept = self.kept.lock();
        let saying = kept.sayings.get(&life.node)?;
        (saying.incarnation == life.incarnation).then(|| saying.said.clone())
    }

    /// Whether something new was heard since the last call.
    pub(super) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.kept.lock().changed)
    }

    /// Forgets what nodes said that are not wanted.
    pub(super) fn retain(&self, wanted: impl Fn(NodeId) -> bool) {
        self.kept.lock().sayings.retain(|node, _| wanted(*node));
    }
}

/// What foca sends once: the newest saying of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SayingOf(NodeId);

impl Invalidates for SayingOf {
    /// Only newer sayings get here, so that the later one always replaces the earlier one.
    fn invalidates(&self, other: &Self) -> bool {
        self == other
    }
}

impl BroadcastHandler<Identity> for Hearsay {
    type Key = SayingOf;
    type Error = BadSaying;

    fn receive_item(
        &mut self,
        data: &[u8],
        _: Option<&Identity>,
    ) -> Result<Option<SayingOf>, BadSaying> {
        let Some(saying) = Saying::decode(data)? else { return Ok(None) };
        let node = saying.node;
        let mut kept = self.kept.lock();
        let full = kept.sayings.len() >= GOSSIP_NODES_MAX;
        match kept.sayings.get(&node) {
            Some(known) if !saying.is_newer_than(known) => return Ok(None),
            None if full => return Ok(None),
            _ => {}
        }
        kept.sayings.insert(node, saying);
        kept.changed = true;
        Ok(Some(SayingOf(node)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(incarnation: u64, counter: u64) -> Saying {
        Saying {
            node: NodeId(300),
            incarnation,
            counter,
            said: Said {
                draining: true,
                rooms: 5,
                sessions: 300,
                events_per_second: 1.5,
                data: SocketAddr::from(([10, 0, 0, 5], 7702)),
                version: "0.1.0".into(),
            },
        }
    }

    #[test]
    fn a_saying_has_these_bytes() {
        let golden = [
            &[1][..],                   // version
            &[172, 2, 7, 9],            // node, incarnation, counter
            &[1, 5, 172, 2],            // draining, rooms, sessions
            &[0, 0, 192, 63],           // events a second
            &[0, 10, 0, 0, 5, 150, 60], // data endpoint
            &[5, 48, 46, 49, 46, 48],   // version
        ]
        .concat();
        assert_eq!(saying(7, 9).encode(), golden);
        assert_eq!(Saying::decode(&golden), Ok(Some(saying(7, 9))));
    }

    #[test]
    fn the_newest_saying_is_kept_in_whatever_order_they_come() {
        let mut hearsay = Hearsay::default();
        let mut hear = |incarnation, counter| {
            hearsay.receive_item(&saying(incarnation, counter).encode(), None).expect("it decodes")
        };
        assert!(hear(2, 1).is_some());
        assert!(hear(2, 1).is_none(), "a repeat");
        assert!(hear(1, 9).is_none(), "an earlier process");
        assert!(hear(2, 2).is_some());
        assert!(hear(3, 0).is_some());
        let life = |incarnation| {
            Identity::new(NodeId(300), incarnation, SocketAddr::from(([10, 0, 0, 5], 7701)))
        };
        assert_eq!(hearsay.of(&life(3)), Some(saying(3, 0).said));
        assert_eq!(hearsay.of(&life(2)), None, "what another process said is not of this one");
    }

    #[test]
    fn a_later_layout_is_left_alone_and_nonsense_is_refused() {
        let mut hearsay = Hearsay::default();
        let mut later = saying(1, 1).encode();
        later[0] = 2;
        assert_eq!(hearsay.receive_item(&later, None), Ok(None));
        let cut = &saying(1, 1).encode()[..6];
        assert!(matches!(hearsay.receive_item(cut, None), Err(BadSaying::Layout(_))));
        let mut wild = saying(1, 1);
        wild.said.events_per_second = f32::NAN;
        assert_eq!(hearsay.receive_item(&wild.encode(), None), Err(BadSaying::NoNumber));
    }

    #[test]
    fn little_changes_are_no_news() {
        let before = saying(1, 1).said;
        let with = |rooms, events_per_second, draining| Said {
            rooms,
            events_per_second,
            draining,
            ..before.clone()
        };
        assert!(!with(13, 1.5, true).is_news_after(&before));
        assert!(with(14, 1.5, true).is_news_after(&before));
        assert!(with(5, 50.0, true).is_news_after(&before));
        assert!(with(5, 1.5, false).is_news_after(&before));
    }

    #[test]
    fn a_long_version_is_cut_between_characters() {
        let long = Said { version: "é".repeat(40).into(), ..saying(1, 1).said }.bounded();
        assert_eq!(long.version.chars().count(), 16);
    }
}
