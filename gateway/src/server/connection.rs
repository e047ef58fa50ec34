//! One connection from its handshake to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::stall::Stall;
use crate::admission::Admitted;
use crate::app::App;
use crate::http::{Peer, answer};
use crate::limits::{HEADER_BYTES_MAX, OPENING_MAX};

/// What a connection over the caps gets.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\ncontent-length: 80\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"code\":\"busy\",\"detail\":\"too many connections; try again\",\"retry_after_ms\":1000}";

pub(super) struct Open {
    pub(super) admitted: Arc<Admitted>,
    pub(super) peer: IpAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) app: Arc<App>,
    pub(super) stop: CancellationToken,
    pub(super) opening: Arc<Opening>,
}

/// A connection's place among those that are being opened: until its first answer, or for
/// [`OPENING_MAX`].
pub(super) struct Opening(Mutex<Option<OwnedSemaphorePermit>>);

impl Opening {
    pub(super) fn new(place: OwnedSemaphorePermit) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(place))))
    }

    fn is_over(&self) {
        self.0.lock().take();
    }
}

impl Open {
    pub(super) async fn serve(self, stream: TcpStream) {
        let opening = self.opening.clone();
        let late = async {
            tokio::time::sleep(OPENING_MAX).await;
            opening.is_over();
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            () = self.talk(stream) => {}
            never = late => match never {},
        }
    }

    async fn talk(self, stream: TcpStream) {
        // Frames are small and must not wait for one another.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let deadlines = self.app.config.deadlines;
        let stream = Stall::new(stream, deadlines.write);
        let Some(tls) = &self.tls else { return self.http(stream, false).await };
        let handshake = tokio::time::timeout(deadlines.handshake, tls.accept(stream));
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = handshake => shaken,
        };
        match shaken {
            Ok(Ok(stream)) => Box::pin(self.http(stream, true)).await,
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, %error, "TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        }
    }

    async fn http<I>(self, io: I, secure: bool)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { admitted, peer, router, app, stop, opening, .. } = self;
        let kill = app.kill.clone();
        let header = app.config.deadlines.header;
        let peer = Peer { address: peer, tls: secure, admitted };
        let service = service_fn(move |request: Request<Incoming>| {
            let (app, router, peer) = (app.clone(), router.clone(), peer.clone());
            let opening = opening.clone();
            async move {
                let response = answer(app, router, peer, request).await;
                opening.is_over();
                Ok::<_, Infallible>(response)
            }
        });
        // hyper's own bound of 100 headers stands.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(header)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = kill.cancelled() => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_of_a_connection_is_a_whole_answer() {
        let text = std::str::from_utf8(TOO_MANY).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<parlance_protocol::http::ErrorBody<'_>>(body).expect("an error");
    }
}
