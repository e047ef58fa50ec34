//! The control endpoint: calls with answers, each on a stream of its own, and packets as QUIC
//! datagrams. A node dials to ask and to send, and accepts to answer and to receive.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{RecvStream, SendStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::endpoint::{
    BindError, Close, DialError, LinkEndpoint, LinkOptions, Linked, Names, transport,
};
use super::frame::{self, FrameError};
use super::hello::{Hello, Purpose};
use super::line::{Line, oldest_down};
use super::protocols::Protocols;
use super::relay::Neighbours;
use crate::limits::{
    CALL_BYTES_MAX, CALL_SERVE_WAIT, CALLS_MAX, CALLS_PER_CONNECTION_MAX, DATAGRAMS_BYTES_MAX,
    LINES_MAX, PACKET_BYTES_MAX, PACKETS_QUEUE_MAX, SNAPSHOT_CALLS_MAX,
};
use crate::transport::{Answers, CallError, Packets, PeerName, Place, Service, Transport};

/// A packet that came in: whose, from which control endpoint, and what.
pub type Packet = (PeerName, SocketAddr, Bytes);

/// A line to another node, for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlLink {
    /// `host:port` as it was asked for.
    pub address: Arc<str>,
    /// Who is there, where known.
    pub name: Option<PeerName>,
    /// `gossip`, `raft` or `snapshot`.
    pub service: &'static str,
    /// There is a connection.
    pub connected: bool,
    /// The node that relays it.
    pub over: Option<PeerName>,
    /// The version of its protocol that it speaks, while it is connected.
    pub version: Option<u16>,
    /// Its round trip.
    pub rtt: Option<Duration>,
    /// How often a connection was lost.
    pub interruptions: u64,
}

/// The control endpoint. Everything of it runs on the runtime in which it was bound, whoever
/// calls. Dropping it ends it without a word to peers; [`close`](Self::close) ends it in order.
pub struct ControlLinks {
    shared: Arc<Shared>,
}

/// Where a line leads, who must be there, and what it is for.
type LineKey = (Arc<str>, Option<PeerName>, Purpose);

struct Shared {
    endpoint: Arc<LinkEndpoint>,
    lines: Mutex<HashMap<LineKey, Arc<Line>>>,
    answers: OnceLock<Arc<dyn Answers>>,
    packets: mpsc::Sender<Packet>,
    calls: Semaphore,
    snapshot_calls: Semaphore,
}

impl ControlLinks {
    /// Binds the endpoint. The packets that come in are to be taken from the receiver; those that
    /// find it full are dropped.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(options: LinkOptions) -> Result<(Self, mpsc::Receiver<Packet>), BindError> {
        Self::bind_speaking(options, Protocols::NOW)
    }

    pub(super) fn bind_speaking(
        options: LinkOptions,
        protocols: Protocols,
    ) -> Result<(Self, mpsc::Receiver<Packet>), BindError> {
        let mut transport = transport();
        transport
            .max_concurrent_bidi_streams(CALLS_PER_CONNECTION_MAX.into())
            .max_concurrent_uni_streams(0_u8.into())
            .datagram_receive_buffer_size(Some(DATAGRAMS_BYTES_MAX))
            .datagram_send_buffer_size(DATAGRAMS_BYTES_MAX);
        let accepts = [Purpose::Gossip, Purpose::Raft];
        let endpoint = LinkEndpoint::bind(options, &accepts, protocols, transport)?;
        let (packets, received) = mpsc::channel(PACKETS_QUEUE_MAX);
        let shared = Arc::new(Shared {
            endpoint,
            lines: Mutex::default(),
            answers: OnceLock::new(),
            packets,
            calls: Semaphore::new(CALLS_MAX),
            snapshot_calls: Semaphore::new(SNAPSHOT_CALLS_MAX),
        });
        shared.endpoint.set_neighbours(Arc::downgrade(&shared) as Weak<dyn Neighbours>);
        let here = Arc::clone(&shared);
        shared.endpoint.accept_with(move |linked| Arc::clone(&here).take(linked));
        Ok((Self { shared }, received))
    }

    /// Who answers calls. Only the first call counts; before it, callers get no answer.
    pub fn serve(&self, answers: Arc<dyn Answers>) {
        let _ = self.shared.answers.set(answers);
    }

    /// What claimed ids are compared with. Only the first call counts; before it, an id is not
    /// compared.
    pub fn set_names(&self, names: Arc<dyn Names>) {
        self.shared.endpoint.set_names(names);
    }

    /// Changes what this node says of itself on new connections.
    pub fn set_hello(&self, hello: Hello) {
        self.shared.endpoint.set_hello(hello);
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.endpoint.local_addr()
    }

    /// The lines to other nodes, in no order.
    #[must_use]
    pub fn links(&self) -> Vec<ControlLink> {
        let lines: Vec<_> = self.shared.lines.lock().values().cloned().collect();
        lines
            .iter()
            .map(|line| {
                let up = line.up();
                ControlLink {
                    address: Arc::clone(&line.address),
                    name: up.as_ref().map(|up| up.name.clone()).or_else(|| line.expected.clone()),
                    service: line.purpose.name(),
                    connected: up.is_some(),
                    over: up.as_ref().and_then(|up| up.over.clone()),
                    version: up.as_ref().map(|up| up.version.0),
                    rtt: up.map(|up| up.connection.rtt()),
                    interruptions: line.interruptions(),
                }
            })
            .collect()
    }

    /// How many connections there are, of both directions.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.shared.endpoint.connections()
    }

    /// Ends every connection and task. Calls under way fail.
    pub async fn close(&self) {
        self.shared.endpoint.close().await;
    }
}

impl Drop for ControlLinks {
    fn drop(&mut self) {
        self.shared.endpoint.end();
    }
}

impl fmt::Debug for ControlLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlLinks").field("address", &self.local_addr()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Transport for ControlLinks {
    async fn call(
        &self,
        to: &Place,
        service: Service,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let address = Arc::clone(&to.address);
        if request.len() > CALL_BYTES_MAX {
            let why = format!("the request of {} bytes is larger than a call", request.len());
            return Err(CallError::Unreachable { address, why });
        }
        let purpose = match service {
            Service::Raft => Purpose::Raft,
            Service::Snapshot => Purpose::Snapshot,
        };
        let line = self.shared.line(Arc::clone(&address), to.name.clone(), purpose);
        let mut asked = false;
        let answered = match line {
            Ok(line) => timeout(deadline, ask(&line, request, &mut asked)).await,
            Err(error) => Ok(Err(Failure::Dial(error))),
        };
        match answered {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Failure::Dial(DialError::WrongPeer(why)))) => {
                Err(CallError::WrongPeer { address, why })
            }
            Ok(Err(Failure::Dial(DialError::Unreachable(why)))) => {
                Err(CallError::Unreachable { address, why })
            }
            Ok(Err(Failure::Asked(why))) => Err(CallError::NoAnswer { address, why }),
            Err(_) if asked => {
                Err(CallError::NoAnswer { address, why: format!("no answer within {deadline:?}") })
            }
            Err(_) => {
                let why = format!("no connection within {deadline:?}");
                Err(CallError::Unreachable { address, why })
            }
        }
    }
}

impl Packets for ControlLinks {
    fn packet(&self, to: SocketAddr, packet: Bytes) {
        let line = self.shared.line(to.to_string().into(), None, Purpose::Gossip);
        let sent = match line.map(|line| line.linked_now()) {
            Ok(Some(linked)) if packet.len() <= PACKET_BYTES_MAX => {
                linked.connection.send_datagram(packet).is_ok()
            }
            _ => false,
        };
        let outcome = if sent { "sent" } else { "dropped" };
        metrics::counter!("parlance_link_packets_total", "outcome" => outcome).increment(1);
    }
}

/// Why a call has no answer.
enum Failure {
    /// Nothing was asked.
    Dial(DialError),
    Asked(String),
}

async fn ask(line: &Line, request: Bytes, asked: &mut bool) -> Result<Bytes, Failure> {
    let linked = line.linked().await.map_err(Failure::Dial)?;
    let (mut send, mut recv) = linked
        .connection
        .open_bi()
        .await
        .map_err(|error| Failure::Dial(DialError::Unreachable(error.to_string())))?;
    *asked = true;
    let lost = |error: &dyn fmt::Display| {
        // Why the other side closed says more than that it did.
        let why = linked.connection.close_reason().map(|reason| reason.to_string());
        Failure::Asked(why.unwrap_or_else(|| error.to_string()))
    };
    frame::write(&mut send, request).await.map_err(|error| lost(&error))?;
    frame::read(&mut recv).await.map_err(|error| lost(&error))
}

impl Neighbours for Shared {
    fn direct(&self) -> Vec<(PeerName, Arc<str>)> {
        let lines: Vec<_> = self.lines.lock().values().cloned().collect();
        let up = lines.iter().filter_map(|line| Some((line.up()?, line)));
        up.filter(|(up, _)| up.over.is_none())
            .map(|(up, line)| (up.name, Arc::clone(&line.address)))
            .collect()
    }
}

impl Shared {
    /// The line to a place. Fails when too many are in use.
    fn line(
        &self,
        address: Arc<str>,
        expected: Option<PeerName>,
        purpose: Purpose,
    ) -> Result<Arc<Line>, DialError> {
        let mut lines = self.lines.lock();
        let key = (address, expected, purpose);
        if let Some(line) = lines.get(&key) {
            return Ok(Arc::clone(line));
        }
        if lines.len() >= LINES_MAX {
            let oldest = oldest_down(&lines);
            let oldest = oldest.and_then(|key| lines.remove(&key)).ok_or_else(|| {
                DialError::Unreachable("there are connections to too many places".to_owned())
            })?;
            oldest.end();
        }
        let line = Line::start(&self.endpoint, Arc::clone(&key.0), key.1.clone(), purpose);
        lines.insert(key, Arc::clone(&line));
        Ok(line)
    }

    /// Serves an accepted connection until it ends.
    async fn take(self: Arc<Self>, linked: Linked) {
        match linked.purpose {
            Purpose::Gossip => self.receive(&linked).await,
            Purpose::Raft => self.answer(&linked, Service::Raft).await,
            Purpose::Snapshot => self.answer(&linked, Service::Snapshot).await,
            // The endpoint itself serves those who want a relay.
            Purpose::Actor | Purpose::Relay => {
                linked
                    .connection
                    .close(Close::Refused.code(), b"actors' frames go to the data endpoint");
            }
        }
    }

    async fn receive(&self, linked: &Linked) {
        let from = linked.connection.remote_address();
        while let Ok(packet) = linked.connection.read_datagram().await {
            let taken = packet.len() <= PACKET_BYTES_MAX
                && self.packets.try_send((linked.name.clone(), from, packet)).is_ok();
            let outcome = if taken { "received" } else { "shed" };
            metrics::counter!("parlance_link_packets_total", "outcome" => outcome).increment(1);
        }
    }

    async fn answer(self: &Arc<Self>, linked: &Linked, service: Service) {
        while let Ok((send, recv)) = linked.connection.accept_bi().await {
            let (here, linked) = (Arc::clone(self), linked.clone());
            self.endpoint.spawn(async move {
                let closing = here.endpoint.closing.clone();
                let served =
                    timeout(CALL_SERVE_WAIT, here.answer_one(&linked, service, send, recv));
                // Out of time: the caller has given up long before.
                let _ = closing.run_until_cancelled(served).await;
            });
        }
    }

    async fn answer_one(
        &self,
        linked: &Linked,
        service: Service,
        mut send: SendStream,
        mut recv: RecvStream,
    ) {
        let calls = match service {
            Service::Raft => &self.calls,
            Service::Snapshot => &self.snapshot_calls,
        };
        let (Ok(_permit), Some(answers)) = (calls.try_acquire(), self.answers.get()) else {
            // The caller sees a stream that was reset: no answer, and a retry helps.
            let _ = send.reset(Close::NotYet.code());
            return;
        };
        let request = match frame::read(&mut recv).await {
            Ok(request) => request,
            Err(FrameError::Lost(_)) => return,
            Err(error) => return self.malformed(linked, &error.to_string()),
        };
        let Some(answer) = answers.answer(linked.name.clone(), service, request).await else {
            return self.malformed(linked, "a request does not decode");
        };
        if answer.len() > CALL_BYTES_MAX {
            tracing::error!(
                bytes = answer.len(),
                "an answer is larger than a call and is not sent"
            );
            let _ = send.reset(Close::Malformed.code());
            return;
        }
        if frame::write(&mut send, answer).await.is_ok() {
            // Until the caller has it all: a stream that is dropped earlier would still be sent,
            // but nothing would bound how long.
            let _ = send.stopped().await;
        }
    }

    fn malformed(&self, linked: &Linked, why: &str) {
        self.endpoint.refused(linked.connection.remote_address(), "malformed", why);
        linked.connection.close(Close::Malformed.code(), why.as_bytes());
    }
}
