//! One-hop relay: a way to a node over another one, where there is no direct way. Asking for a
//! passage, carrying the passages of others, and being the far end of one.
//!
//! On a connection of its own purpose the asker opens a stream to the relay and names its target.
//! The relay opens a stream to the target and names the asker. Both streams carry packets of QUIC,
//! each behind its length, and the relay passes them on. So a connection over a relay is a
//! connection like any other: the two ends see each other's certificates and hellos, and the relay
//! can read nothing and pretend nothing. It can only lose what it carries.
//!
//! There is never a second hop: relays are reached on direct connections only, and no connection
//! that itself is relayed speaks the relay's protocol.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use quinn::{Connection, ReadError, ReadExactError, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::endpoint::{Close, DialError, LinkEndpoint, Linked};
use super::hello::Purpose;
use super::line::{Line, oldest_down};
use super::passages::{self, Passage, offer};
use crate::cert::NAME_CHARS_MAX;
use crate::limits::{
    HANDSHAKE_WAIT, LINES_MAX, PASSAGE_LINGER, PASSAGE_PACKETS_MAX, PASSAGE_WAIT, PASSAGES_MAX,
    PASSAGES_PER_ORIGIN_MAX, RELAYS_TRIED_MAX,
};
use crate::transport::PeerName;

/// How long all relays together may take to lead somewhere: as long as one may.
const RELAYS_WAIT: Duration = PASSAGE_WAIT.saturating_add(HANDSHAKE_WAIT);
/// How long a relay is asked alone before the next one is asked beside it: every one has its turn
/// within [`RELAYS_WAIT`].
const RELAY_ALONE: Duration =
    Duration::from_millis(RELAYS_WAIT.as_millis() as u64 / RELAYS_TRIED_MAX as u64);

/// What a relay, and then the far end, answers when a passage is open.
const OPENED: u8 = 1;

/// Whom the owner of an endpoint reaches.
pub(crate) trait Neighbours: Send + Sync + 'static {
    /// The nodes to which there is a direct connection now, and where each is, `host:port`.
    fn direct(&self) -> Vec<(PeerName, Arc<str>)>;
}

/// What one endpoint knows of relays.
#[derive(Default)]
pub(super) struct Relay {
    neighbours: OnceLock<Weak<dyn Neighbours>>,
    /// The connections on which this node asks for passages and leads on those of others.
    lines: Mutex<HashMap<PeerName, Arc<Line>>>,
    /// How many passages are carried for each origin.
    carried: Arc<Counts>,
    /// How many passages of others end here, for each relay.
    far_ends: Arc<Counts>,
}

/// How many passages there are for each node, bounded.
#[derive(Default)]
struct Counts(Mutex<HashMap<PeerName, usize>>);

/// What a stream of a passage begins with: a kind (u8), then a name with its length (u8) before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Opening {
    /// To a relay: lead on to this node.
    Onward(PeerName),
    /// From a relay: this node is at the other end, as the relay says. The connections on the passage
    /// show who it is.
    From(PeerName),
}

/// Why a passage is refused, as the code of the stream that is reset. The codes below are those of
/// connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("it has no direct way there")]
    NoWay,
    #[error("it carries as much as it may")]
    Full,
    #[error("it does not understand")]
    Malformed,
    #[error("it does not know who asks")]
    NotKnown,
}

/// A passage that counts until this is dropped.
struct Counted {
    counts: Arc<Counts>,
    node: PeerName,
}

/// A passage that is carried, for the gauge.
struct Carried;

impl LinkEndpoint {
    /// Says whom the owner reaches: over them this node finds a way to others, and to them it leads
    /// others. Only the first call counts; before it nothing is relayed.
    pub(crate) fn set_neighbours(&self, neighbours: Weak<dyn Neighbours>) {
        let _ = self.relay.neighbours.set(neighbours);
    }

    /// Dials a node over one of those that this one reaches.
    pub(super) async fn dial_over(
        self: &Arc<Self>,
        target: &PeerName,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let dialled = timeout(RELAYS_WAIT, self.dial_over_any(target, purpose)).await;
        dialled.unwrap_or_else(|_| {
            Err(DialError::Unreachable(format!("no relay led there within {RELAYS_WAIT:?}")))
        })
    }

    /// Asks one relay after the other; the next one beside one that is slow, so that a relay that
    /// does not answer keeps nobody from the rest.
    async fn dial_over_any(
        self: &Arc<Self>,
        target: &PeerName,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let mut missed = "no other node is in reach".to_owned();
        let mut relays = self.relays(target).into_iter();
        let mut asked = FuturesUnordered::new();
        loop {
            if let Some((relay, address)) = relays.next() {
                asked.push(async move {
                    let dialled = self.dial_over_one(&relay, &address, target, purpose).await;
                    dialled.map_err(|error| format!("over {relay}: {error}"))
                });
            }
            match timeout(RELAY_ALONE, asked.next()).await {
                Ok(Some(Ok(linked))) => return Ok(linked),
                // Another relay may lead to the right one.
                Ok(Some(Err(why))) => missed = why,
                Ok(None) => return Err(DialError::Unreachable(missed)),
                Err(_) => {}
            }
        }
    }

    async fn dial_over_one(
        self: &Arc<Self>,
        relay: &PeerName,
        address: &Arc<str>,
        target: &PeerName,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let asked = timeout(PASSAGE_WAIT, self.ask_for_passage(relay, address, target)).await;
        let late = || DialError::Unreachable("it does not answer".to_owned());
        let passage = asked.map_err(|_| late())??;
        // A dial that is given up ends it.
        let guard = passage.ended.clone().drop_guard();
        let reached = self.reach_over(&passage, target, purpose);
        let reached = timeout(HANDSHAKE_WAIT, reached).await.map_err(|_| late())?;
        if let Err(DialError::WrongPeer(why)) = &reached {
            self.refused(passage.address, "wrong peer", why);
        }
        let linked = reached?;
        guard.disarm();
        self.spawn(hold(linked.connection.clone(), passage));
        Ok(linked)
    }

    /// Who may relay to a node: the same order at both ends, as far as they reach the same ones.
    fn relays(&self, target: &PeerName) -> Vec<(PeerName, Arc<str>)> {
        let own = self.name();
        let mut relays = self.relay.direct();
        relays.retain(|(name, _)| name != target && *name != own);
        relays.sort_by_cached_key(|(name, _)| std::cmp::Reverse(weight(&own, target, name)));
        relays.dedup_by(|one, other| one.0 == other.0);
        relays.truncate(RELAYS_TRIED_MAX);
        relays
    }

    async fn ask_for_passage(
        self: &Arc<Self>,
        relay: &PeerName,
        address: &Arc<str>,
        target: &PeerName,
    ) -> Result<Passage, DialError> {
        let linked = self.relay_line(relay, address)?.linked().await?;
        let (send, recv) = open(&linked, &Opening::Onward(target.clone())).await?;
        Ok(self.begin_passage(&linked, send, recv, None))
    }

    /// The line on which this node asks another one for passages, or leads some on to it.
    fn relay_line(
        self: &Arc<Self>,
        name: &PeerName,
        address: &Arc<str>,
    ) -> Result<Arc<Line>, DialError> {
        let mut lines = self.relay.lines.lock();
        if let Some(line) = lines.get(name) {
            // Its passages are worth more than another spelling of where the node is.
            if line.address == *address || line.up().is_some() {
                return Ok(Arc::clone(line));
            }
            line.end();
        } else if lines.len() >= LINES_MAX {
            let oldest = oldest_down(&lines);
            let oldest = oldest.and_then(|name| lines.remove(&name)).ok_or_else(|| {
                DialError::Unreachable("there are connections to too many places".to_owned())
            })?;
            oldest.end();
        }
        let line = Line::start(self, Arc::clone(address), Some(name.clone()), Purpose::Relay);
        lines.insert(name.clone(), Arc::clone(&line));
        Ok(line)
    }

    /// This node is one end of a passage whose streams are open. It counts until it ends.
    fn begin_passage(
        self: &Arc<Self>,
        over: &Linked,
        mut send: SendStream,
        mut recv: RecvStream,
        counted: Option<Counted>,
    ) -> Passage {
        let ended = self.closing.child_token();
        let relay_at = over.connection.remote_address();
        let (passage, waiting) = self.passages.begin(over.name.clone(), relay_at, ended);
        let (here, this) = (Arc::clone(self), passage.clone());
        self.spawn(async move {
            let carried = async {
                tokio::select! {
                    () = passages::read(&mut recv, |packet| here.passages.arrive(&this, packet)) => {}
                    () = passages::write(&mut send, waiting) => {}
                }
            };
            this.ended.run_until_cancelled(carried).await;
            here.passages.end(&this);
            drop(counted);
        });
        passage
    }

    /// Dials the far end of a connection on a passage from this node, as if it were from another.
    #[cfg(test)]
    pub(crate) async fn pretend_to_relay(
        self: &Arc<Self>,
        far: &Linked,
        origin: &PeerName,
        target: &PeerName,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let (send, recv) = open(far, &Opening::From(origin.clone())).await?;
        let passage = self.begin_passage(far, send, recv, None);
        self.reach_over(&passage, target, purpose).await
    }

    /// Serves an accepted connection of a node that wants passages, until it ends.
    pub(super) async fn relay_for(self: Arc<Self>, linked: Linked) {
        let mut carried = JoinSet::new();
        loop {
            tokio::select! {
                opened = linked.connection.accept_bi() => match opened {
                    Ok((send, recv)) => {
                        let (here, linked) = (Arc::clone(&self), linked.clone());
                        carried.spawn(async move { here.serve_passage(&linked, send, recv).await });
                    }
                    Err(_) => break,
                },
                Some(_) = carried.join_next() => {}
            }
        }
        // Each finds its stream lost and ends.
        while carried.join_next().await.is_some() {}
    }

    async fn serve_passage(
        self: &Arc<Self>,
        linked: &Linked,
        mut send: SendStream,
        mut recv: RecvStream,
    ) {
        let served = match timeout(PASSAGE_WAIT, Opening::read(&mut recv)).await {
            Ok(Some(Opening::Onward(_))) if linked.hello.node.is_none() => {
                // It says who it is on the next connection, once it knows.
                linked.connection.close(Close::NotYet.code(), b"a node without an id");
                Err(Refusal::NotKnown)
            }
            Ok(Some(Opening::Onward(_))) if !self.is_known(linked) => Err(Refusal::NotKnown),
            Ok(Some(Opening::Onward(target))) => {
                self.carry(&linked.name, &target, &mut send, &mut recv).await
            }
            // Whoever relays: a node that opens knows nobody yet, and must be found all the same. Those
            // who come over the passage show who they are.
            Ok(Some(Opening::From(origin))) if origin != self.name() => {
                match self.relay.far_ends.admit(&linked.name) {
                    Some(counted) => {
                        if send.write_all(&[OPENED]).await.is_ok() {
                            self.begin_passage(linked, send, recv, Some(counted));
                        }
                        return;
                    }
                    None => Err(Refusal::Full),
                }
            }
            _ => Err(Refusal::Malformed),
        };
        if let Err(refusal) = served {
            metrics::counter!("parlance_relay_refusals_total", "cause" => refusal.name())
                .increment(1);
            let _ = send.reset(refusal.code());
        }
    }

    /// Carries a passage for another node until either of its ends ends it.
    async fn carry(
        self: &Arc<Self>,
        origin: &PeerName,
        target: &PeerName,
        send: &mut SendStream,
        recv: &mut RecvStream,
    ) -> Result<(), Refusal> {
        let _counted = self.relay.carried.admit(origin).ok_or(Refusal::Full)?;
        let _carried = Carried::new();
        // Less than the origin waits.
        let onward = timeout(HANDSHAKE_WAIT, self.lead_on(origin, target)).await;
        let (mut far_send, mut far_recv) =
            onward.map_err(|_| Refusal::NoWay)?.map_err(|error| {
                tracing::debug!(%origin, %target, %error, "a passage is refused");
                Refusal::NoWay
            })?;
        if send.write_all(&[OPENED]).await.is_err() {
            return Ok(());
        }
        tracing::info!(%origin, %target, "this node relays");
        let (to_target, for_target) = mpsc::channel(PASSAGE_PACKETS_MAX);
        let (to_origin, for_origin) = mpsc::channel(PASSAGE_PACKETS_MAX);
        tokio::select! {
            () = passages::read(recv, |packet| count(offer(&to_target, packet))) => {}
            () = passages::write(&mut far_send, for_target) => {}
            () = passages::read(&mut far_recv, |packet| count(offer(&to_origin, packet))) => {}
            () = passages::write(send, for_origin) => {}
        }
        // What is dropped here ends at both ends.
        tracing::info!(%origin, %target, "this node relays no more");
        Ok(())
    }

    async fn lead_on(
        self: &Arc<Self>,
        origin: &PeerName,
        target: &PeerName,
    ) -> Result<(SendStream, RecvStream), DialError> {
        let found = self.relay.direct().into_iter().find(|(name, _)| name == target);
        let (name, address) = found.filter(|_| origin != target).ok_or_else(|| {
            DialError::Unreachable("there is no direct connection to it".to_owned())
        })?;
        let linked = self.relay_line(&name, &address)?.linked().await?;
        open(&linked, &Opening::From(origin.clone())).await
    }
}

impl Relay {
    fn direct(&self) -> Vec<(PeerName, Arc<str>)> {
        let neighbours = self.neighbours.get().and_then(Weak::upgrade);
        neighbours.map(|neighbours| neighbours.direct()).unwrap_or_default()
    }
}

impl Counts {
    /// `None` when there are too many, in all or for this node.
    fn admit(self: &Arc<Self>, node: &PeerName) -> Option<Counted> {
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

impl Carried {
    fn new() -> Self {
        metrics::gauge!("parlance_relay_passages").increment(1.0);
        Self
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        metrics::gauge!("parlance_relay_passages").decrement(1.0);
    }
}

impl Opening {
    fn encode(&self) -> Vec<u8> {
        let (kind, name) = match self {
            Self::Onward(target) => (0, target),
            Self::From(origin) => (1, origin),
        };
        let length = u8::try_from(name.0.len()).expect("names in certificates are short");
        [&[kind, length], name.0.as_bytes()].concat()
    }

    /// `None` for what is no opening, and for a stream that ends.
    async fn read(stream: &mut RecvStream) -> Option<Self> {
        let mut head = [0; 2];
        stream.read_exact(&mut head).await.ok()?;
        let [kind, length] = head;
        let mut name = [0; NAME_CHARS_MAX];
        let name = name.get_mut(..usize::from(length))?;
        stream.read_exact(name).await.ok()?;
        Self::decode(kind, name)
    }

    fn decode(kind: u8, name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
        let name = PeerName(name.into());
        match kind {
            0 => Some(Self::Onward(name)),
            1 => Some(Self::From(name)),
            _ => None,
        }
    }
}

/// An opening, read and written again, for the fuzz targets.
#[cfg(feature = "fuzzing")]
pub(super) fn recode_opening(bytes: &[u8]) -> Option<Vec<u8>> {
    let [kind, length, rest @ ..] = bytes else { return None };
    let name = rest.get(..usize::from(*length)).filter(|name| name.len() <= NAME_CHARS_MAX)?;
    Opening::decode(*kind, name).map(|opening| opening.encode())
}

impl Refusal {
    const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::NoWay => 16,
            Self::Full => 17,
            Self::Malformed => 18,
            Self::NotKnown => 19,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::NoWay => "no way",
            Self::Full => "full",
            Self::Malformed => "malformed",
            Self::NotKnown => "not known",
        }
    }

    fn of_code(code: VarInt) -> Option<Self> {
        [Self::NoWay, Self::Full, Self::Malformed, Self::NotKnown]
            .into_iter()
            .find(|one| one.code() == code)
    }
}

/// Opens a stream of a passage, and waits until the rest of the way is open too.
async fn open(linked: &Linked, opening: &Opening) -> Result<(SendStream, RecvStream), DialError> {
    let lost = |error: &dyn std::fmt::Display| DialError::Unreachable(error.to_string());
    let (mut send, mut recv) = linked.connection.open_bi().await.map_err(|error| lost(&error))?;
    send.write_all(&opening.encode()).await.map_err(|error| lost(&error))?;
    let mut answer = [0];
    match recv.read_exact(&mut answer).await {
        Ok(()) if answer == [OPENED] => Ok((send, recv)),
        Ok(()) => Err(lost(&Refusal::Malformed)),
        Err(ReadExactError::ReadError(ReadError::Reset(code))) => {
            Err(Refusal::of_code(code).map_or_else(|| lost(&code), |refusal| lost(&refusal)))
        }
        Err(error) => Err(lost(&error)),
    }
}

/// A passage and the connection on it end together.
async fn hold(connection: Connection, passage: Passage) {
    tokio::select! {
        () = passage.ended.cancelled() => {
            connection.close(Close::Done.code(), b"the relay is gone");
        }
        _ = connection.closed() => {
            // The far end is yet to hear why.
            let lingered = tokio::time::sleep(PASSAGE_LINGER);
            passage.ended.run_until_cancelled(lingered).await;
        }
    }
    passage.ended.cancel();
}

/// Rendezvous hashing (Thaler and Ravishankar, 1998) of a pair, in whatever order, and a relay:
/// FNV-1a, then the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
fn weight(one: &PeerName, other: &PeerName, relay: &PeerName) -> u64 {
    let (low, high) = if one < other { (one, other) } else { (other, one) };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in [low, high, relay] {
        // A byte that no name holds ends each.
        for byte in name.0.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn count(carried: bool) {
    let outcome = if carried { "carried" } else { "dropped" };
    metrics::counter!("parlance_relay_packets_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::super::endpoint::transport;
    use super::super::hello::Hello;
    use super::super::protocols::Protocols;
    use super::super::tests::{PATIENCE, Town, options};
    use super::*;

    fn name(name: &str) -> PeerName {
        PeerName(name.into())
    }

    #[test]
    fn the_bytes_of_a_passage_do_not_change() {
        for (opening, golden) in [
            (Opening::Onward(name("n2")), b"\x00\x02n2"),
            (Opening::From(name("n1")), b"\x01\x02n1"),
        ] {
            assert_eq!(opening.encode(), golden);
            assert_eq!(Opening::decode(golden[0], &golden[2..]), Some(opening));
        }
        assert_eq!(Opening::decode(2, b"n1"), None);
        assert_eq!(Opening::decode(0, b""), None);
        let codes = [Refusal::NoWay, Refusal::Full, Refusal::Malformed, Refusal::NotKnown];
        for (refusal, code) in codes.into_iter().zip(16..) {
            assert_eq!(refusal.code().into_inner(), code);
            assert_eq!(Refusal::of_code(refusal.code()), Some(refusal));
        }
    }

    #[test]
    fn both_ends_take_the_relays_in_the_same_order_and_pairs_differ() {
        let (one, two) = (name("n1"), name("n2"));
        let relays: Vec<PeerName> = (3..20).map(|node| name(&format!("n{node}"))).collect();
        let order = |from: &PeerName, to: &PeerName| {
            let mut order = relays.clone();
            order.sort_by_key(|relay| weight(from, to, relay));
            order
        };
        assert_eq!(order(&one, &two), order(&two, &one));
        assert_ne!(order(&one, &two), order(&one, &name("n20")));
    }

    #[tokio::test]
    async fn a_line_that_is_up_is_used_however_its_address_is_spelled() {
        let town = Town::new();
        let bound = |node: &str| {
            let options = options(town.identity(node), Hello::default());
            LinkEndpoint::bind(options, &[], Protocols::NOW, transport()).expect("bound")
        };
        let (one, two) = (bound("n1"), bound("n2"));
        two.accept_with(|_| async {});
        let (here, other): (Arc<str>, Arc<str>) =
            (two.local_addr().to_string().into(), "elsewhere:1".into());
        let line = one.relay_line(&name("n2"), &here).expect("a line");
        line.linked().await.expect("linked");
        let same = one.relay_line(&name("n2"), &other).expect("a line");
        assert!(Arc::ptr_eq(&line, &same));
        two.close().await;
        let up = line.up();
        if let Some(up) = up {
            timeout(PATIENCE, up.connection.closed()).await.expect("lost");
        }
        let another = one.relay_line(&name("n2"), &other).expect("a line");
        assert_eq!(another.address, other);
        one.close().await;
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
