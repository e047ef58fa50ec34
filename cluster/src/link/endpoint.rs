//! What the control and the data endpoint have in common: a socket, handshakes in both directions
//! with everything checked that a connection claims, and an orderly end.

use std::fmt;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::RwLock;
use parlance_actors::vocab::NodeId;
use quinn::crypto::rustls::HandshakeData;
use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, EndpointConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hello::{self, Hello, Purpose};
use super::identity::Identity;
use super::passages::{Passage, Passages};
use super::protocols::{Protocols, Version};
use super::refusals::Refusals;
use super::relay::Relay;
use super::tls;
use crate::limits::{
    CLOSE_WAIT, CONNECTIONS_MAX, DIAL_ADDRESSES_MAX, HANDSHAKE_WAIT, IDENTITY_POLL, LINK_IDLE,
    LINK_KEEP_ALIVE, LOOKUP_WAIT,
};
use crate::transport::PeerName;

/// The alert of TLS for "no application protocol", as QUIC carries it.
const NO_PROTOCOL: u64 = 0x100 | 120;
/// The name that a dialer asks for. Who is there is told by the certificate, not by this.
const ANY_NODE: &str = "node.parlance";

/// What an endpoint is bound with.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// Where to listen. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Who this node is.
    pub identity: Arc<Identity>,
    /// What it says of itself at first.
    pub hello: Hello,
}

/// Why an endpoint is not bound. Nothing was changed. Trying again helps once the address is free.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on UDP {address}: {source}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Which node has which name, as the cluster knows it.
pub trait Names: Send + Sync + 'static {
    /// The name that is bound to a node's id; `None` for a node that is not known (yet).
    fn name_of(&self, node: NodeId) -> Option<PeerName>;
}

/// Why a connection was closed by this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// It is no longer needed, or the node ends.
    Done,
    /// The other side is not who it should be.
    Refused,
    /// The other side is not known here yet; it may try again.
    NotYet,
    /// The other side sent what no version of the protocol allows.
    Malformed,
}

impl Close {
    pub(crate) const fn code(self) -> VarInt {
        VarInt::from_u32(match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::NotYet => 2,
            Self::Malformed => 3,
        })
    }
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DialError {
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    WrongPeer(String),
}

/// A connection of which everything was checked.
#[derive(Debug, Clone)]
pub(crate) struct Linked {
    pub(crate) connection: Connection,
    pub(crate) purpose: Purpose,
    /// The version of its protocol that both ends speak on it.
    pub(crate) version: Version,
    pub(crate) name: PeerName,
    pub(crate) hello: Hello,
    /// The node that relays it; `None` for a direct one.
    pub(crate) over: Option<PeerName>,
}

/// How every link behaves; each endpoint adds its windows.
pub(crate) fn transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout(Some(LINK_IDLE.try_into().expect("two seconds fit an idle timeout")))
        .keep_alive_interval(Some(LINK_KEEP_ALIVE));
    config
}

/// A socket for an endpoint. Its address can be told to others before the endpoint is there.
pub(crate) fn socket(listen: SocketAddr) -> Result<UdpSocket, BindError> {
    UdpSocket::bind(listen).map_err(|source| BindError::Socket { address: listen, source })
}

/// One endpoint.
pub(crate) struct LinkEndpoint {
    pub(super) quinn: quinn::Endpoint,
    /// Of connections that go over other nodes.
    pub(super) relayed: quinn::Endpoint,
    pub(super) passages: Arc<Passages>,
    pub(super) relay: Relay,
    transport: Arc<TransportConfig>,
    identity: Arc<Identity>,
    protocols: Protocols,
    hello: RwLock<Hello>,
    names: OnceLock<Arc<dyn Names>>,
    refusals: Refusals,
    pub(super) connections: Arc<Semaphore>,
    pub(super) handshakes: AtomicUsize,
    runtime: Handle,
    /// Every task of this endpoint and of what uses it.
    pub(crate) tasks: TaskTracker,
    /// Cancelled when the endpoint ends.
    pub(crate) closing: CancellationToken,
}

impl LinkEndpoint {
    /// Binds an endpoint that takes connections for the given purposes. Must be called within the
    /// runtime on which everything of it then runs.
    pub(crate) fn bind(
        options: LinkOptions,
        accepts: &[Purpose],
        protocols: Protocols,
        transport: TransportConfig,
    ) -> Result<Arc<Self>, BindError> {
        let socket = socket(options.listen)?;
        Self::bind_on(socket, options, accepts, protocols, transport)
    }

    /// The same on a socket that is bound already.
    pub(crate) fn bind_on(
        socket: UdpSocket,
        options: LinkOptions,
        accepts: &[Purpose],
        protocols: Protocols,
        transport: TransportConfig,
    ) -> Result<Arc<Self>, BindError> {
        let LinkOptions { listen, identity, hello } = options;
        let failed = |source| BindError::Socket { address: listen, source };
        let mut accepted: Vec<String> =
            accepts.iter().flat_map(|purpose| protocols.names(*purpose)).collect();
        let transport = Arc::new(transport);
        let server = |accepted: &[String]| -> Result<ServerConfig, BindError> {
            let tls = tls::server(&identity, accepted)?;
            let mut server = ServerConfig::with_crypto(Arc::new(tls));
            server.transport_config(Arc::clone(&transport)).max_incoming(CONNECTIONS_MAX);
            Ok(server)
        };
        // Not on a relayed connection: there is no second hop.
        let passages = Passages::new();
        let relayed = quinn::Endpoint::new_with_abstract_socket(
            EndpointConfig::default(),
            Some(server(&accepted)?),
            Arc::clone(&passages) as Arc<dyn AsyncUdpSocket>,
            Arc::new(TokioRuntime),
        )
        .map_err(failed)?;
        accepted.extend(protocols.names(Purpose::Relay));
        let quinn = quinn::Endpoint::new(
            EndpointConfig::default(),
            Some(server(&accepted)?),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(failed)?;
        let endpoint = Arc::new(Self {
            quinn,
            relayed,
            passages,
            relay: Relay::default(),
            transport,
            identity,
            protocols,
            hello: RwLock::new(hello),
            names: OnceLock::new(),
            refusals: Refusals::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            handshakes: AtomicUsize::new(0),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
        });
        endpoint.spawn(watch_identity(Arc::clone(&endpoint.identity), endpoint.closing.clone()));
        Ok(endpoint)
    }

    /// Starts a task of this endpoint, on its runtime. The task must end when `closing` is
    /// cancelled.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.quinn.local_addr().expect("a bound socket knows its address")
    }

    /// How many connections there are, of both directions.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        self.quinn.open_connections()
    }

    /// This node's own name.
    pub(super) fn name(&self) -> PeerName {
        self.identity.name()
    }

    pub(crate) fn hello(&self) -> Hello {
        *self.hello.read()
    }

    pub(crate) fn set_hello(&self, hello: Hello) {
        *self.hello.write() = hello;
    }

    /// Takes the names that claimed ids are compared with. Only the first call counts.
    pub(crate) fn set_names(&self, names: Arc<dyn Names>) {
        let _ = self.names.set(names);
    }

    /// Whether the other side says which node it is, and that node is known by its name.
    pub(super) fn is_known(&self, linked: &Linked) -> bool {
        let known = linked.hello.node.and_then(|node| self.names.get()?.name_of(node));
        known.as_ref() == Some(&linked.name)
    }

    /// Dials `host:port`, every address that the name has, one after the other.
    pub(crate) async fn dial(
        &self,
        address: &str,
        expected: Option<&PeerName>,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let unreachable = |why: String| DialError::Unreachable(why);
        let found = timeout(LOOKUP_WAIT, tokio::net::lookup_host(address))
            .await
            .map_err(|_| unreachable("looking the name up took too long".to_owned()))?
            .map_err(|error| unreachable(format!("the name is not known: {error}")))?;
        let mut failed: Option<DialError> = None;
        for address in found.take(DIAL_ADDRESSES_MAX) {
            let tried =
                timeout(HANDSHAKE_WAIT, self.reach(&self.quinn, address, expected, purpose)).await;
            let error = match tried {
                Ok(Ok(linked)) => return Ok(linked),
                Ok(Err(error)) => error,
                Err(_) => unreachable(format!("{address} does not answer")),
            };
            if let DialError::WrongPeer(why) = &error {
                self.refused(address, "wrong peer", why);
            }
            // What may yet come right is told before what will not.
            if !matches!(
                (&failed, &error),
                (Some(DialError::Unreachable(_)), DialError::WrongPeer(_))
            ) {
                failed = Some(error);
            }
        }
        Err(failed.unwrap_or_else(|| unreachable("the name has no address".to_owned())))
    }

    /// Dials a node on a passage.
    pub(super) async fn reach_over(
        &self,
        passage: &Passage,
        expected: &PeerName,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let mut linked =
            self.reach(&self.relayed, passage.address, Some(expected), purpose).await?;
        linked.over = Some(passage.relay.clone());
        Ok(linked)
    }

    async fn reach(
        &self,
        endpoint: &quinn::Endpoint,
        address: SocketAddr,
        expected: Option<&PeerName>,
        purpose: Purpose,
    ) -> Result<Linked, DialError> {
        let lost = |error: ConnectionError| self.explain(&error, Some(purpose));
        let tls = tls::client(&self.identity, &self.protocols.names(purpose))
            .map_err(|error| DialError::Unreachable(error.to_string()))?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(Arc::clone(&self.transport));
        let connection = endpoint
            .connect_with(config, address, ANY_NODE)
            .map_err(|error| DialError::Unreachable(format!("{address}: {error}")))?
            .await
            .map_err(lost)?;
        let name = self.peer_name(&connection)?;
        match expected {
            Some(expected) if *expected != name => {
                let why = format!("node {name} is there, and node {expected} was expected");
                return Err(refuse(&connection, why));
            }
            None if name == self.identity.name() => {
                return Err(refuse(&connection, format!("node {name} is this node itself")));
            }
            _ => {}
        }
        let version = self.version(&connection, purpose)?;
        let broken = || lost(connection.close_reason().unwrap_or(ConnectionError::TimedOut));
        let (mut send, mut recv) = connection.open_bi().await.map_err(lost)?;
        hello::write(&mut send, purpose, &self.hello()).await.map_err(|_| broken())?;
        // A stream that is stopped already is as good as ended.
        let _ = send.finish();
        let hello = match hello::read(&mut recv).await {
            Ok(Some((_, hello))) => hello,
            Ok(None) => return Err(refuse(&connection, "it sent no hello that is one".to_owned())),
            Err(_) => return Err(broken()),
        };
        self.check(&connection, &name, &hello)?;
        Ok(Linked { connection, purpose, version, name, hello, over: None })
    }

    pub(super) fn peer_name(&self, connection: &Connection) -> Result<PeerName, DialError> {
        let chain = connection
            .peer_identity()
            .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
        let certificate = chain.as_deref().and_then(|chain| chain.first());
        let named = certificate
            .ok_or_else(|| "it showed no certificate".to_owned())
            .and_then(|certificate| self.identity.current().peer(certificate));
        named.map_err(|why| refuse(connection, why))
    }

    /// The version that a connection speaks; not what TLS agreed on for another purpose.
    pub(super) fn version(
        &self,
        connection: &Connection,
        purpose: Purpose,
    ) -> Result<Version, DialError> {
        let spoken = connection
            .handshake_data()
            .and_then(|data| data.downcast::<HandshakeData>().ok())
            .and_then(|data| data.protocol);
        spoken.and_then(|spoken| self.protocols.version(purpose, &spoken)).ok_or_else(|| {
            let why =
                format!("its hello is for {}, which is not the protocol it speaks", purpose.name());
            refuse(connection, why)
        })
    }

    /// Compares what a hello claims with what is known.
    pub(super) fn check(
        &self,
        connection: &Connection,
        name: &PeerName,
        hello: &Hello,
    ) -> Result<(), DialError> {
        if let (Some(ours), Some(theirs)) = (self.hello().cluster, hello.cluster)
            && ours != theirs
        {
            let why = format!("node {name} belongs to the cluster with id {theirs}, not to {ours}");
            return Err(refuse(connection, why));
        }
        let bound =
            hello.node.and_then(|node| self.names.get()?.name_of(node).map(|to| (node, to)));
        if let Some((node, bound)) = bound
            && bound != *name
        {
            let why = format!("node {name} says that it is node {node}, which is {bound}");
            return Err(refuse(connection, why));
        }
        Ok(())
    }

    /// What the end of a connection in its beginning means. `dialed` is what this side asked for.
    pub(super) fn explain(&self, error: &ConnectionError, dialed: Option<Purpose>) -> DialError {
        let code = match error {
            ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
            ConnectionError::TransportError(error) => u64::from(error.code),
            ConnectionError::ApplicationClosed(close)
                if close.error_code == Close::Refused.code() =>
            {
                let why = String::from_utf8_lossy(&close.reason);
                return DialError::WrongPeer(format!("this node was refused: {why}"));
            }
            _ => return DialError::Unreachable(error.to_string()),
        };
        match (code, dialed) {
            (NO_PROTOCOL, Some(purpose)) => DialError::WrongPeer(format!(
                "it speaks no version of the protocol that this node speaks ({})",
                self.protocols.names(purpose).join(", ")
            )),
            (NO_PROTOCOL, None) => DialError::WrongPeer(format!(
                "it speaks no version of a protocol that this node speaks here ({})",
                [Purpose::Gossip, Purpose::Raft, Purpose::Actor, Purpose::Relay]
                    .map(|purpose| self.protocols.names(purpose).join(", "))
                    .join(", ")
            )),
            // All other alerts of TLS: certificates that are not accepted, on this side or there.
            (0x100..=0x1ff, _) => DialError::WrongPeer(format!("TLS: {error}")),
            _ => DialError::Unreachable(error.to_string()),
        }
    }

    /// Counts a refusal, and logs it once a minute for an address and kind.
    pub(crate) fn refused(&self, address: SocketAddr, kind: &'static str, why: &str) {
        // The address of a passage means nothing to anybody else.
        let over = self.passages.at(address);
        let address = over.as_ref().map_or(address, |passage| passage.relay_at);
        let over = over.map(|passage| tracing::field::display(passage.relay));
        metrics::counter!("parlance_link_refusals_total", "kind" => kind).increment(1);
        if self.refusals.say(address.ip(), kind, Instant::now()) {
            tracing::warn!(%address, over, kind, why, "a link was refused");
        }
    }

    /// Ends every connection and every task. Peers are told, for a bounded time.
    pub(crate) async fn close(&self) {
        self.end();
        self.tasks.close();
        self.tasks.wait().await;
        let idle = async { tokio::join!(self.relayed.wait_idle(), self.quinn.wait_idle()) };
        let _ = timeout(CLOSE_WAIT, idle).await;
    }

    /// Begins the end without waiting for it.
    pub(crate) fn end(&self) {
        self.closing.cancel();
        for endpoint in [&self.relayed, &self.quinn] {
            endpoint.close(Close::Done.code(), b"the node ends");
        }
    }
}

impl fmt::Debug for LinkEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkEndpoint").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Closes a connection with a reason that the other side reads.
pub(super) fn refuse(connection: &Connection, why: String) -> DialError {
    connection.close(Close::Refused.code(), why.as_bytes());
    DialError::WrongPeer(why)
}

/// Looks at the identity's files every now and then.
async fn watch_identity(identity: Arc<Identity>, closing: CancellationToken) {
    let polls = async {
        loop {
            tokio::time::sleep(IDENTITY_POLL).await;
            let identity = Arc::clone(&identity);
            // The files may be on a slow disk. A panic in there would leave the identity as it is.
            let _ = tokio::task::spawn_blocking(move || identity.refresh()).await;
        }
    };
    closing.run_until_cancelled(polls).await;
}
