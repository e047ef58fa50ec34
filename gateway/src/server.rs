//! The front door: one accept loop for each address, HTTP/1.1, and HTTP/2 over TLS, with a deadline
//! for everything that a client could leave half done, caps on connections, and an orderly end.

mod connection;
mod door;
mod frames;
mod h2;
mod handlers;
mod preamble;
mod redirect;
mod stall;
mod tls;

#[cfg(feature = "fuzzing")]
pub(crate) use preamble::read as read_preamble;
pub(crate) use stall::Stall;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Buckets, Connections, Refusals, Upgrades};
use crate::app::{App, Parts};
use crate::auth::{Auth, KeyError};
use crate::config::{GatewayConfig, Tls};
use crate::frames::JsonFrames;
use crate::http::router;
use crate::lease::{self, Lease};
use crate::limits::{CROWD_IN_A_ROUND, LINGER, OPENINGS_MAX};
use crate::proxies::Proxies;
use crate::socket::{Turnstile, Writers};
use door::{Behind, Door, Listener, listen};
use redirect::Redirect;
use tls::Source;

/// Where TLS-ALPN-01 is tried, whatever is listened on (RFC 8737, section 3).
const ACME_PORT: u16 = 443;

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
    listener: Listener,
    address: SocketAddr,
    /// The plain address beside it, if there is one.
    redirect: Option<(Listener, SocketAddr, Redirect)>,
    tls: Option<(Source, TlsAcceptor)>,
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
        let open = |from| {
            let source = Source::open(from)?;
            let acceptor = source.acceptor()?;
            Ok((source, acceptor))
        };
        let tls = config.tls.as_ref().map(open).transpose().map_err(GatewayError::Tls)?;
        let Parts { chat, accounts, directory, cluster, history, secret, metrics } = parts;
        let auth = Auth::open(accounts.clone(), secret, &config).await?;
        let unbound = |error| GatewayError::Listen(config.listen, error);
        let listener = listen(config.listen).map_err(unbound)?;
        let address = listener.get_ref().local_addr().map_err(unbound)?;
        let redirect = match config.redirect {
            Some(from) => {
                let unbound = |error| GatewayError::Listen(from.listen, error);
                let listener = listen(from.listen).map_err(unbound)?;
                let at = listener.get_ref().local_addr().map_err(unbound)?;
                let port = from.port.unwrap_or_else(|| address.port());
                Some((listener, at, Redirect { port }))
            }
            None => None,
        };
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
            preambles: Proxies::new(config.proxy_protocol_from.clone()),
            buckets: Buckets::new(config.rates),
            upgrades: Upgrades::new(config.rates, Instant::now()),
            connections: Connections::new(&config),
            sockets: TaskTracker::new(),
            arrivals: Turnstile::new(CROWD_IN_A_ROUND * threads()),
            partings: Turnstile::new(CROWD_IN_A_ROUND * threads()),
            writers: Writers::new(),
            kill: CancellationToken::new(),
            closing: CancellationToken::new(),
            ready: Mutex::new(None),
            config,
        });
        let (router, paths) = router(&app);
        Ok(Self { listener, address, redirect, tls, router, paths, app })
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

    /// Where plain HTTP is sent on from.
    #[must_use]
    pub fn redirect_address(&self) -> Option<SocketAddr> {
        self.redirect.as_ref().map(|(_, address, _)| *address)
    }

    /// Serves until `stop`; then takes no more connections, finishes what is in flight within the
    /// deadline, and ends the rest. Sockets end in order when [`parlance_actors::chat::Chat::drain`]
    /// is called at the same time.
    pub async fn run(self, stop: CancellationToken) {
        let Self { listener, address, redirect, tls, router, app, .. } = self;
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
        for _ in 0..threads() {
            writers.spawn(app.writers.clone().run(written.clone()));
        }
        if let Some(Tls::Acme(_)) = &app.config.tls
            && address.port() != ACME_PORT
        {
            tracing::info!(%address, "an ACME server proves names at port 443, which must lead here");
        }
        let (source, tls) = tls.unzip();
        let kept = source.map(|source| tokio::spawn(source.keep(stop.clone())));
        let openings = Arc::new(Semaphore::new(OPENINGS_MAX));
        let door = |behind| Door {
            behind,
            app: app.clone(),
            stop: stop.clone(),
            openings: openings.clone(),
            refusals: Refusals::new(Instant::now()),
            tasks: connections.clone(),
        };
        let main = door(Behind::Server { tls, router });
        let beside = async {
            if let Some((listener, at, redirect)) = redirect {
                tracing::info!(address = %at, port = redirect.port, "sending plain HTTP to HTTPS");
                door(Behind::Redirect(Arc::new(redirect))).accept(listener).await;
            }
        };
        tokio::join!(main.accept(listener), beside);
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
        if let Some(kept) = kept
            && let Err(error) = kept.await
        {
            tracing::error!(%error, "the upkeep of the certificate ended badly");
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

/// The threads of the runtime that this is called on.
fn threads() -> usize {
    Handle::current().metrics().num_workers()
}
