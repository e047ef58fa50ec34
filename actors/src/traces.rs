//! The way of a change as spans: accepted, committed, shown by the hub of each node, written to a
//! socket. All of them are one trace, on every node that it passes.
//!
//! Nothing is carried between nodes for it. The trace, each span's id and whether a change is
//! traced at all are derived from what is unique of the change (room, sender, key), so every node
//! comes to the same. Ids follow W3C Trace Context: 16 bytes for a trace, 8 for a span.
//!
//! A span holds ids, numbers and times, and nothing that anybody wrote. It waits in a bounded
//! queue for whoever sends it on; one that finds the queue full is dropped and counted. Nothing here waits.

use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest;
use metrics::Counter;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::limits::SPANS_MAX;
use crate::vocab::{Code, Key, NodeId, RoomRef, Seq, UserId};

/// What a part of the way is called, and what is counted there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// From the request to its answer, on the node that has the client. The root.
    Accept {
        /// Bytes of what the change says.
        bytes: usize,
        /// Why there is no seq.
        refused: Option<Code>,
        /// The key was used before.
        repeated: bool,
    },
    /// From the room's decision to the commit, on the room's owner.
    Commit {
        /// Events that the lane settled together.
        batch: usize,
        /// It is in the log.
        committed: bool,
    },
    /// Encoding the frame and putting it into the outboxes of one node.
    Hub {
        /// Sessions that follow the room there.
        followers: usize,
    },
    /// From the outbox of one follower to its socket's buffer: the first one of each node that has few
    /// such spans under way.
    Socket {
        /// Bytes of the frame.
        bytes: usize,
    },
}

impl Stage {
    /// The span's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Commit { .. } => "commit",
            Self::Hub { .. } => "hub",
            Self::Socket { .. } => "socket",
        }
    }
}

/// A part of the way that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The same for the whole way.
    pub trace: [u8; 16],
    /// Its own.
    pub id: [u8; 8],
    /// What it is a part of; `None` for the root.
    pub parent: Option<[u8; 8]>,
    /// When it began.
    pub began: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// The room.
    pub room: RoomRef,
    /// The change's place in the room's log, where it has one.
    pub seq: Option<Seq>,
    /// Which part.
    pub stage: Stage,
}

/// What a node traces.
pub struct Traces {
    node: NodeId,
    /// One change in so many is traced; 0 for none.
    one_in: u64,
    queue: mpsc::Sender<Span>,
    dropped: Counter,
}

impl std::fmt::Debug for Traces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Traces").field("one_in", &self.one_in).finish_non_exhaustive()
    }
}

/// A change that is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traced {
    room: RoomRef,
    trace: [u8; 16],
}

/// A change that is on some part of its way, since a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Under {
    traced: Traced,
    pub(crate) began: SystemTime,
}

impl Traces {
    /// Traces one change in `one_in` (0 for none), the same ones on every node. The spans come out of the
    /// receiver.
    #[must_use]
    pub fn new(node: NodeId, one_in: u64) -> (Arc<Self>, mpsc::Receiver<Span>) {
        let (queue, spans) = mpsc::channel(SPANS_MAX);
        let dropped = metrics::counter!("parlance_spans_total", "outcome" => "dropped");
        (Arc::new(Self { node, one_in, queue, dropped }), spans)
    }

    /// The change, from now on, if it is one of those that are traced.
    pub(crate) fn begin(&self, room: RoomRef, sender: UserId, key: Key) -> Option<Under> {
        if self.one_in == 0 {
            return None;
        }
        let tenant = room.tenant.0.to_be_bytes();
        let unique = [room.room.0.as_bytes(), &tenant[..], sender.0.as_bytes(), key.0.as_bytes()];
        let (trace, chance) = hash_of(b"trace", &unique).split_at_trace();
        let traced = Traced { room, trace };
        (chance % self.one_in == 0).then(|| Under { traced, began: SystemTime::now() })
    }

    /// The request was answered.
    pub(crate) fn accepted(&self, under: Under, bytes: usize, result: Result<(Seq, bool), Code>) {
        let root = under.traced.id("accept", None);
        let (seq, repeated) = match result {
            Ok((seq, repeated)) => (Some(seq), repeated),
            Err(_) => (None, false),
        };
        let stage = Stage::Accept { bytes, refused: result.err(), repeated };
        // Only one attempt becomes the root; the others of the same key are beside it.
        let (id, parent) = match (seq, repeated) {
            (Some(_), false) => (root, None),
            _ => (under.traced.id("attempt", Some((self.node, under.began))), Some(root)),
        };
        self.send(under, id, parent, seq, stage);
    }

    /// The lane settled it.
    pub(crate) fn settled(&self, under: Under, batch: usize, seq: Option<Seq>) {
        let traced = under.traced;
        let (id, root) = (traced.id("commit", None), traced.id("accept", None));
        let stage = Stage::Commit { batch, committed: seq.is_some() };
        // One that was not committed may be by another owner.
        let id = match seq {
            Some(_) => id,
            None => traced.id("uncommitted", Some((self.node, under.began))),
        };
        self.send(under, id, Some(root), seq, stage);
    }

    /// The hub here has shown it.
    pub(crate) fn shown(&self, under: Under, seq: Seq, followers: usize) {
        let traced = under.traced;
        let parent = traced.id("commit", None);
        self.send(under, self.hub_id(traced), Some(parent), Some(seq), Stage::Hub { followers });
    }

    /// A follower here has it in its socket's buffer.
    fn written(&self, mark: &Mark) {
        let traced = mark.under.traced;
        let id = traced.id("socket", Some((self.node, SystemTime::UNIX_EPOCH)));
        let stage = Stage::Socket { bytes: mark.bytes };
        self.send(mark.under, id, Some(self.hub_id(traced)), Some(mark.seq), stage);
    }

    fn hub_id(&self, traced: Traced) -> [u8; 8] {
        traced.id("hub", Some((self.node, SystemTime::UNIX_EPOCH)))
    }

    fn send(
        &self,
        under: Under,
        id: [u8; 8],
        parent: Option<[u8; 8]>,
        seq: Option<Seq>,
        stage: Stage,
    ) {
        let Under { traced: Traced { room, trace }, began } = under;
        let ended = SystemTime::now();
        let span = Span { trace, id, parent, began, ended, room, seq, stage };
        // Closed: nobody sends them on any more, because the node ends.
        if let Err(TrySendError::Full(_)) = self.queue.try_send(span) {
            self.dropped.increment(1);
        }
    }
}

impl Traced {
    /// The id of a span: of the only one of its name, or of the one that this node began then.
    fn id(self, name: &str, at: Option<(NodeId, SystemTime)>) -> [u8; 8] {
        let (node, since) = at.unwrap_or((NodeId(0), SystemTime::UNIX_EPOCH));
        let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let (node, since) = (node.0.to_be_bytes(), since.to_be_bytes());
        hash_of(name.as_bytes(), &[&self.trace[..], &node[..], &since[..]]).first()
    }
}

/// A frame on its way from an outbox to its socket.
pub(crate) struct Mark {
    traces: Arc<Traces>,
    under: Under,
    seq: Seq,
    bytes: usize,
}

impl Mark {
    pub(crate) fn new(traces: Arc<Traces>, under: Under, seq: Seq) -> Self {
        Self { traces, under, seq, bytes: 0 }
    }

    /// It goes into an outbox now.
    pub(crate) fn pushed(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self.under.began = SystemTime::now();
        self
    }

    /// It was written.
    pub(crate) fn written(&self) {
        self.traces.written(self);
    }
}

struct Hash([u8; 32]);

fn hash_of(name: &[u8], parts: &[&[u8]]) -> Hash {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(name);
    // The parts that come with a name always have the same lengths.
    hash.update(&[0]);
    parts.iter().for_each(|part| hash.update(part));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    Hash(bytes)
}

impl Hash {
    fn first<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.0[..N]);
        bytes
    }

    /// The trace's id, and a number that chance drew.
    fn split_at_trace(&self) -> ([u8; 16], u64) {
        let mut chance = [0; 8];
        chance.copy_from_slice(&self.0[16..24]);
        (self.first(), u64::from_be_bytes(chance))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::vocab::{RoomId, TenantId};

    fn room() -> RoomRef {
        RoomRef { tenant: TenantId(1), room: RoomId(Uuid::from_bytes([1; 16])) }
    }

    const ANN: UserId = UserId(Uuid::from_bytes([2; 16]));

    #[test]
    fn every_node_derives_the_same_trace_and_its_own_hub() {
        let key = Key::generate();
        let mut spans = Vec::new();
        for node in [NodeId(1), NodeId(2)] {
            let (traces, mut queue) = Traces::new(node, 1);
            let under = traces.begin(room(), ANN, key).expect("every one is traced");
            traces.accepted(under, 5, Ok((Seq(3), false)));
            traces.settled(under, 7, Some(Seq(3)));
            traces.shown(under, Seq(3), 2);
            Mark::new(traces.clone(), under, Seq(3)).pushed(90).written();
            drop(traces);
            spans.push(std::iter::from_fn(|| queue.try_recv().ok()).collect::<Vec<_>>());
        }
        let [one, two] = &spans[..] else { unreachable!("two nodes") };
        assert!(one.iter().chain(two).all(|span| span.trace == one[0].trace));
        let parents = |spans: &[Span]| spans.iter().map(|span| span.parent).collect::<Vec<_>>();
        for spans in [one, two] {
            let id = |place: usize| Some(spans[place].id);
            assert_eq!(parents(spans), [None, id(0), id(1), id(2)]);
        }
        assert_eq!((one[0].id, one[1].id), (two[0].id, two[1].id));
        assert!(one[2].id != two[2].id && one[3].id != two[3].id);
        let (other, _) = Traces::new(NodeId(1), 1);
        let other = other.begin(room(), ANN, Key::generate()).expect("traced");
        assert_ne!(other.traced.trace, one[0].trace);
    }

    #[test]
    fn nodes_choose_the_same_ones_and_about_one_in_so_many() {
        let (one, _spans) = Traces::new(NodeId(1), 10);
        let (two, _spans) = Traces::new(NodeId(2), 10);
        let keys: Vec<Key> = (0..2_000_u128).map(|n| Key(Uuid::from_u128(n))).collect();
        let chosen = |traces: &Traces| {
            let traced = |key: &&Key| traces.begin(room(), ANN, **key).is_some();
            keys.iter().filter(traced).count()
        };
        assert_eq!(chosen(&one), chosen(&two));
        assert!((150..250).contains(&chosen(&one)), "{}", chosen(&one));
        let (none, _spans) = Traces::new(NodeId(1), 0);
        assert_eq!(chosen(&none), 0);
    }

    #[test]
    fn a_repeat_and_a_refusal_are_beside_the_root() {
        let (traces, mut queue) = Traces::new(NodeId(1), 1);
        let under = traces.begin(room(), ANN, Key::generate()).expect("traced");
        traces.accepted(under, 1, Err(Code::Unavailable));
        traces.accepted(under, 1, Ok((Seq(1), false)));
        let later = Under { began: under.began + std::time::Duration::from_secs(1), ..under };
        traces.accepted(later, 1, Ok((Seq(1), true)));
        let spans: Vec<Span> = std::iter::from_fn(|| queue.try_recv().ok()).collect();
        let [refused, root, repeat] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!(root.parent, None);
        assert_eq!((refused.parent, repeat.parent), (Some(root.id), Some(root.id)));
        assert!(refused.id != repeat.id && refused.id != root.id && repeat.id != root.id);
    }

    #[test]
    fn a_full_queue_drops_and_never_waits() {
        let (traces, mut queue) = Traces::new(NodeId(1), 1);
        let under = traces.begin(room(), ANN, Key::generate()).expect("traced");
        for seq in 0..2 * SPANS_MAX as u64 {
            traces.shown(under, Seq(seq), 1);
        }
        assert_eq!(std::iter::from_fn(|| queue.try_recv().ok()).count(), SPANS_MAX);
    }
}
