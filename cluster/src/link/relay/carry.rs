//! The relay, and the far end: passages that others ask for are carried, or end here.

use std::sync::Arc;

use quinn::{RecvStream, SendStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::opening::{OPENED, Opening, Refusal, open};
use crate::limits::{HANDSHAKE_WAIT, PASSAGE_PACKETS_MAX, PASSAGE_WAIT};
use crate::link::endpoint::{Close, DialError, LinkEndpoint, Linked};
use crate::link::passages::{self, offer};
use crate::transport::PeerName;

/// A passage that is carried, for the gauge.
struct Carried;

impl LinkEndpoint {
    /// Serves an accepted connection of a node that wants passages, until it ends.
    pub(in crate::link) async fn relay_for(self: Arc<Self>, linked: Linked) {
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

fn count(carried: bool) {
    let outcome = if carried { "carried" } else { "dropped" };
    metrics::counter!("parlance_relay_packets_total", "outcome" => outcome).increment(1);
}
