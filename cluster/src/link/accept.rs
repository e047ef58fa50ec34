//! The accepting side of an endpoint: who is let in, with everything checked that a connection claims,
//! on direct connections and on those that other nodes relay.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{ConnectionError, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::endpoint::{Close, DialError, LinkEndpoint, Linked, refuse};
use super::hello::{self, Purpose};
use crate::limits::{HANDSHAKE_WAIT, HANDSHAKES_UNPROVEN_MAX};

/// How packets travel.
#[derive(Debug, Clone, Copy)]
enum Way {
    Direct,
    Relayed,
}

impl LinkEndpoint {
    /// Takes connections until the end, and gives each one that passed every check to `take`, in a
    /// task of its own.
    pub(crate) fn accept_with<F, T>(self: &Arc<Self>, take: F)
    where
        F: Fn(Linked) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        for way in [Way::Direct, Way::Relayed] {
            let (endpoint, take) = (Arc::clone(self), take.clone());
            self.spawn(async move {
                while let Some(incoming) = endpoint.incoming(way).await {
                    if let Some((incoming, permit)) = endpoint.admit(incoming) {
                        let (here, take) = (Arc::clone(&endpoint), take.clone());
                        endpoint.spawn(async move {
                            let closing = here.closing.clone();
                            closing.run_until_cancelled(here.serve(way, incoming, take)).await;
                            drop(permit);
                        });
                    }
                }
            });
        }
    }

    async fn incoming(&self, way: Way) -> Option<Incoming> {
        self.closing.run_until_cancelled(self.of(way).accept()).await.flatten()
    }

    fn of(&self, way: Way) -> &quinn::Endpoint {
        match way {
            Way::Direct => &self.quinn,
            Way::Relayed => &self.relayed,
        }
    }

    /// Serves a new connection until it ends.
    async fn serve<F, T>(self: Arc<Self>, way: Way, incoming: Incoming, take: F)
    where
        F: Fn(Linked) -> T,
        T: Future<Output = ()>,
    {
        let passage = match way {
            Way::Direct => None,
            Way::Relayed => self.passages.at(incoming.remote_address()),
        };
        let Some(mut linked) = self.welcome(incoming).await else { return };
        linked.over = passage.as_ref().map(|passage| passage.relay.clone());
        if linked.purpose == Purpose::Relay {
            return self.relay_for(linked).await;
        }
        let connection = linked.connection.clone();
        let served = take(linked);
        tokio::pin!(served);
        if let Some(passage) = passage {
            tokio::select! {
                () = &mut served => return,
                () = passage.ended.cancelled() => {
                    connection.close(Close::Done.code(), b"the relay is gone");
                }
            }
        }
        served.await;
    }

    /// Refuses what is too much, and lets addresses prove themselves when many knock.
    fn admit(&self, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
        let busy = self.handshakes.load(Ordering::Relaxed) >= HANDSHAKES_UNPROVEN_MAX;
        if busy && incoming.may_retry() {
            // Fails only for addresses that have proven themselves, which `may_retry` excludes.
            let _ = incoming.retry();
            return None;
        }
        match Arc::clone(&self.connections).try_acquire_owned() {
            Ok(permit) => Some((incoming, permit)),
            Err(_) => {
                self.refused(incoming.remote_address(), "full", "too many connections");
                incoming.refuse();
                None
            }
        }
    }

    /// The accepting side of a new connection: handshake, the dialer's hello, the answer.
    async fn welcome(&self, incoming: Incoming) -> Option<Linked> {
        let address = incoming.remote_address();
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        let welcomed = timeout(HANDSHAKE_WAIT, self.greet(incoming)).await;
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        match welcomed {
            Ok(Ok(linked)) => Some(linked),
            Ok(Err(DialError::WrongPeer(why))) => {
                self.refused(address, "wrong peer", &why);
                None
            }
            Ok(Err(DialError::Unreachable(why))) => {
                self.refused(address, "broken", &why);
                None
            }
            Err(_) => {
                self.refused(address, "slow", "the handshake took too long");
                None
            }
        }
    }

    async fn greet(&self, incoming: Incoming) -> Result<Linked, DialError> {
        let lost = |error: ConnectionError| self.explain(&error, None);
        let connection = incoming.accept().map_err(lost)?.await.map_err(lost)?;
        let name = self.peer_name(&connection)?;
        let (mut send, mut recv) = connection.accept_bi().await.map_err(lost)?;
        let broken = || lost(connection.close_reason().unwrap_or(ConnectionError::TimedOut));
        let (purpose, hello) = match hello::read(&mut recv).await {
            Ok(Some(hello)) => hello,
            Ok(None) => return Err(refuse(&connection, "it sent no hello that is one".to_owned())),
            Err(_) => return Err(broken()),
        };
        let version = self.version(&connection, purpose)?;
        self.check(&connection, &name, &hello)?;
        hello::write(&mut send, purpose, &self.hello()).await.map_err(|_| broken())?;
        // A stream that is stopped already is as good as ended.
        let _ = send.finish();
        Ok(Linked { connection, purpose, version, name, hello, over: None })
    }
}
