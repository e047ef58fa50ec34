//! Where connections come in: one accept loop for each address, with the caps that hold before
//! anything is read.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendFlags, SocketFlags, acceptfrom_with, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Open, Opening, TOO_MANY};
use super::redirect::Redirect;
use crate::admission::Refusals;
use crate::app::App;
use crate::limits::{ACCEPT_PAUSE, LISTEN_BACKLOG};

/// What is listened on. Not tokio's: that registers each connection before anybody could refuse it.
pub(super) type Listener = AsyncFd<std::net::TcpListener>;

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
    pub(super) refusals: Refusals,
    pub(super) tasks: TaskTracker,
}

impl Door {
    /// Accepts until the server stops.
    pub(super) async fn accept(&self, listener: Listener) {
        let mut complained: Option<Instant> = None;
        loop {
            let next = async {
                let place = self.openings.clone().acquire_owned().await;
                (place.expect("it is never closed"), next(&listener).await)
            };
            let (place, accepted) = tokio::select! {
                () = self.stop.cancelled() => return,
                next = next => next,
            };
            match accepted.and_then(|(stream, peer)| self.admit(stream, peer, place)) {
                Ok(()) => {}
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
        stream: OwnedFd,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> io::Result<()> {
        let app = &self.app;
        let brings_clients = app.proxies.trusts(peer.ip()) || app.preambles.trusts(peer.ip());
        let Some(admitted) = app.connections.admit(peer.ip(), brings_clients) else {
            metrics::counter!("parlance_connections_refused_total").increment(1);
            self.refuse(&stream);
            return Ok(());
        };
        let stream = TcpStream::from_std(stream.into())?;
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
        Ok(())
    }

    /// Says why, to so many a second. The others of a flood are reset: to say it and to close in order would cost
    /// several times as much, and the refusal must cost less than the connection. What goes wrong changes nothing.
    fn refuse(&self, stream: &OwnedFd) {
        if !self.refusals.may_answer(Instant::now()) {
            let _ = set_socket_linger(stream, Some(Duration::ZERO));
        } else if self.behind.is_plain() {
            // One try without waiting.
            let _ = send(stream, TOO_MANY, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// The next connection.
async fn next(listener: &Listener) -> io::Result<(OwnedFd, SocketAddr)> {
    loop {
        let mut ready = listener.readable().await?;
        let accepted = ready.try_io(|listener| {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (stream, peer) = acceptfrom_with(listener.get_ref(), flags)?;
            // Whose address is not known is gone already.
            let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
            Ok((stream, peer.ok_or(io::ErrorKind::ConnectionAborted)?))
        });
        if let Ok(accepted) = accepted {
            return accepted;
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for types that would lie about their descriptor; the standard library's does not"
)]
fn registered(listener: std::net::TcpListener) -> io::Result<Listener> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// Takes an address, with room for a crowd that has connected and is yet to be accepted.
pub(super) fn listen(address: SocketAddr) -> io::Result<Listener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: a start must not wait until the last one's connections are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    registered(socket.listen(LISTEN_BACKLOG)?.into_std()?)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
