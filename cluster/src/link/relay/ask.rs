//! The asking end: a node is dialled over one relay after the other.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::Connection;
use tokio::time::timeout;

use super::opening::{Opening, open};
use crate::limits::{HANDSHAKE_WAIT, PASSAGE_LINGER, PASSAGE_WAIT, RELAYS_TRIED_MAX};
use crate::link::endpoint::{Close, DialError, LinkEndpoint, Linked};
use crate::link::hello::Purpose;
use crate::link::passages::Passage;
use crate::transport::PeerName;

/// How long all relays together may take to lead somewhere: as long as one may.
const RELAYS_WAIT: Duration = PASSAGE_WAIT.saturating_add(HANDSHAKE_WAIT);
/// How long a relay is asked alone before the next one is asked beside it: every one has its turn
/// within [`RELAYS_WAIT`].
const RELAY_ALONE: Duration =
    Duration::from_millis(RELAYS_WAIT.as_millis() as u64 / RELAYS_TRIED_MAX as u64);

impl LinkEndpoint {
    /// Dials a node over one of those that this one reaches.
    pub(in crate::link) async fn dial_over(
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PeerName {
        PeerName(name.into())
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
}
