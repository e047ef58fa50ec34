//! Where connections come in: one accept loop for each address, with the caps that hold before
//! anything is read.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Open, Opening, TOO_MANY};
use super::redirect::Redirect;
use crate::app::App;
use crate::limits::{ACCEPT_PAUSE, LISTEN_BACKLOG};

/// What is behind an address.
#[derive(Clone)]
pub(super) enum Behind {
    /// Everything, plain or over TLS.
    Server { tls: Option<TlsAcceptor>, router: Router },
    /// The way to the other address.
    Redirect(Arc<Redirect>),
}

impl Behind {
    /// Whether a client that was just accepted expects to read HTTP without a handshake.
    pub(super) const fn is_plain(&self) -> bool {
        !matches!(self, Self::Server { tls: Some(_), .. })
    }
}

/// One address that is listened on.
pub(super) struct Door {
    pub(super) behind: Behind,
    pub(super) app: Arc<App>,
    pub(super) stop: CancellationToken,
    /// Places of those whose first request is being worked on, at all doors together.
    pub(super) openings: Arc<Semaphore>,
    pub(super) tasks: TaskTracker,
}

impl Door {
    /// Accepts until the server stops.
    pub(super) async fn accept(&self, listener: TcpListener) {
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
                Ok((stream, peer)) => self.admit(stream, peer, place),
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

    fn admit(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let app = &self.app;
        let brings_clients = app.proxies.trusts(peer.ip()) || app.preambles.trusts(peer.ip());
        let Some(admitted) = app.connections.admit(peer.ip(), brings_clients) else {
            metrics::counter!("parlance_connections_refused_total").increment(1);
            if self.behind.is_plain() {
                // One try without waiting: the refusal must cost less than the connection.
                let _ = stream.try_write(TOO_MANY);
            }
            return;
        };
        let open = Open {
            admitted,
            peer: peer.ip(),
            secure: false,
            behind: self.behind.clone(),
            app: app.clone(),
            stop: self.stop.clone(),
            opening: Opening::new(place),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn(open.serve(stream));
    }
}

/// Takes an address, with room for a crowd that has connected and is yet to be accepted.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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
