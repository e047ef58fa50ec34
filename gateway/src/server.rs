//! The front door: one accept loop on hyper's http1, with a deadline for everything that a client
//! could leave half done, caps on connections, and an orderly end. HTTP/2 is not spoken here.

mod connection;
mod stall;
mod tls;

pub(crate) use stall::Stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Buckets, Connections, Upgrades};
use crate::app::{App, Parts};
use crate::auth::{Auth, KeyError};
use crate::config::GatewayConfig;
use crate::frames::JsonFrames;
use crate::http::router;
use crate::lease::{self, Lease};
use crate::limits::{ACCEPT_PAUSE, LINGER, LISTEN_BACKLOG, OPENINGS_MAX};
use crate::proxies::Proxies;
use crate::socket::Writers;

/// Why the gateway did not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Another configuration is needed.
    #[error("the gateway's configuration is wrong: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Other files are needed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The address is in use or not this machine's.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
    /// The signing keys cannot be read.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// A bound gateway, ready to run.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    paths: Vec<&'static str>,
    app: Arc<App>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Checks the configuration, reads certificate and signing keys, and takes the address.
    ///
    /// # Errors
    /// [`GatewayError`]; nothing was started.
    pub async fn bind(config: GatewayConfig, parts: Parts) -> Result<Self, GatewayError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(GatewayError::Config(problems));
        }
        let tls = config.tls.as_ref().map(tls::acceptor).transpose().map_err(GatewayError::Tls)?;
        let Parts { chat, accounts, directory, cluster, history, secret, metrics } = parts;
        let auth = Auth::open(accounts.clone(), secret, &config).await?;
        let unbound = |error| GatewayError::Listen(config.listen, error);
        let listener = listen(config.listen).map_err(unbound)?;
        let address = listener.local_addr().map_err(unbound)?;
        let app = Arc::new(App {
            chat,
            auth,
            accounts,
            lease: Lease::of(&*directory),
            directory,
            cluster,
            history,
            metrics,
            frames: JsonFrames,
            proxies: Proxies::new(config.trusted_proxies.clone()),
            buckets: Buckets::new(config.rates),
            upgrades: Upgrades::new(config.rates, Instant::now()),
            connections: Connections::new(&config),
            sockets: TaskTracker::new(),
            writers: Writers::new(),
            kill: CancellationToken::new(),
            closing: CancellationToken::new(),
            ready: Mutex::new(None),
            config,
        });
        let (router, paths) = router(&app);
        Ok(Self { listener, address, tls, router, paths, app })
    }

    /// Every path that it has, as the router knows it.
    #[must_use]
    pub fn paths(&self) -> &[&'static str] {
        &self.paths
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then takes no more connections, finishes what is in flight within the
    /// deadline, and ends the rest. Sockets end in order when [`parlance_actors::chat::Chat::drain`]
    /// is called at the same time.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, address, tls, router, app, .. } = self;
        tracing::info!(%address, tls = tls.is_some(), "listening");
        let connections = TaskTracker::new();
        let keys = {
            let (app, stop) = (app.clone(), stop.clone());
            async move { app.auth.keep(stop).await }
        };
        let mut keys = tokio::spawn(keys);
        let moving = {
            let (app, stop) = (app.clone(), stop.clone());
            async move { lease::move_sessions(&app, stop).await }
        };
        let moving = tokio::spawn(moving);
        let mut writers = JoinSet::new();
        let written = CancellationToken::new();
        for _ in 0..Handle::current().metrics().num_workers() {
            writers.spawn(app.writers.clone().run(written.clone()));
        }
        let openings = Arc::new(Semaphore::new(OPENINGS_MAX));
        let door = Door { tls, router, app: app.clone(), stop: stop.clone(), openings };
        door.accept(&listener, &connections).await;
        drop(listener);
        app.closing.cancel();
        connections.close();
        app.sockets.close();
        let ended = async {
            connections.wait().await;
            app.sockets.wait().await;
        };
        if tokio::time::timeout(app.config.deadlines.shutdown, ended).await.is_err() {
            tracing::warn!(
                connections = connections.len(),
                sockets = app.sockets.len(),
                "ending what did not finish in time"
            );
        }
        app.kill.cancel();
        connections.wait().await;
        app.sockets.wait().await;
        written.cancel();
        while let Some(ended) = writers.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a writer of sockets ended badly");
            }
        }
        app.writers.clear();
        if let Err(error) = moving.await {
            tracing::error!(%error, "the watch of the lease ended badly");
        }
        // It may be waiting for the database, which is no reason to stay.
        match tokio::time::timeout(LINGER, &mut keys).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the loop of the signing keys ended badly"),
            Err(_) => keys.abort(),
        }
        tracing::info!(%address, "closed");
    }
}

/// What each new connection needs.
struct Door {
    tls: Option<TlsAcceptor>,
    router: Router,
    app: Arc<App>,
    stop: CancellationToken,
    /// Places of those whose first request is being worked on.
    openings: Arc<Semaphore>,
}

impl Door {
    async fn accept(&self, listener: &TcpListener, tasks: &TaskTracker) {
        let mut complained: Option<Instant> = None;
        loop {
            let next = async {
                let place = self.openings.clone().acquire_owned().await;
                (place.expect("it is never closed"), listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                () = self.stop.cancelled() => return,
                next = next => next,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, place, tasks),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    // Out of file descriptors or memory: others will end and free some.
                    if complained.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                        tracing::error!(%error, "cannot accept connections; trying on");
                        complained = Some(Instant::now());
                    }
                    tokio::select! {
                        () = self.stop.cancelled() => return,
                        () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    }
                }
            }
        }
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        tasks: &TaskTracker,
    ) {
        let app = &self.app;
        let is_proxy = app.proxies.trusts(peer.ip());
        let Some(admitted) = app.connections.admit(peer.ip(), is_proxy) else {
            metrics::counter!("parlance_connections_refused_total").increment(1);
            if self.tls.is_none() {
                // One try without waiting: the refusal must cost less than the connection.
                let _ = stream.try_write(connection::TOO_MANY);
            }
            return;
        };
        let open = connection::Open {
            admitted: Arc::new(admitted),
            peer: peer.ip(),
            tls: self.tls.clone(),
            router: self.router.clone(),
            app: app.clone(),
            stop: self.stop.clone(),
            opening: connection::Opening::new(place),
        };
        tasks.spawn(open.serve(stream));
    }
}

/// Takes an address, with room for a crowd that has connected and is yet to be accepted.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: a start must not wait until the last one's connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
