//! One connection from its first byte to its end.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use http::Request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::door::Behind;
use super::h2::Serving;
use super::redirect::Redirect;
use super::stall::Stall;
use super::{preamble, tls};
use crate::admission::Admitted;
use crate::app::App;
use crate::http::{Peer, answer};
use crate::limits::{HEADER_BYTES_MAX, OPENING_MAX};

/// What a connection over the caps gets.
pub(super) const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\ncontent-length: 80\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"code\":\"busy\",\"detail\":\"too many connections; try again\",\"retry_after_ms\":1000}";

pub(super) struct Open {
    pub(super) admitted: Admitted,
    pub(super) peer: IpAddr,
    /// A trusted balancer says that it has ended TLS.
    pub(super) secure: bool,
    pub(super) behind: Behind,
    pub(super) app: Arc<App>,
    pub(super) stop: CancellationToken,
    pub(super) opening: Arc<Opening>,
    pub(super) tasks: TaskTracker,
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
        self.app.arrivals.pass().await;
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

    async fn talk(self, mut stream: TcpStream) {
        // Frames are small and must not wait for one another.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let open = if self.app.preambles.trusts(self.peer) {
            // On the heap: its buffer would be part of every connection's task.
            match Box::pin(self.introduced(&mut stream)).await {
                Some(open) => open,
                None => return,
            }
        } else {
            self
        };
        let stream = Stall::new(stream, open.app.config.deadlines.write);
        match open.behind.clone() {
            Behind::Server { tls: Some(tls), router } => open.tls(tls, stream, router).await,
            Behind::Server { tls: None, router } => {
                let secure = open.secure;
                let (answers, ends) = open.answers(router, secure);
                ends.http1(stream, service_fn(move |request| answers.clone().serve(request)), true)
                    .await;
            }
            Behind::Redirect(redirect) => open.redirect(stream, redirect).await,
        }
    }

    /// Hears for whom the proxy has opened the connection. `None` when it is closed instead.
    async fn introduced(mut self, stream: &mut TcpStream) -> Option<Self> {
        let proxy = self.peer;
        let reading =
            tokio::time::timeout(self.app.config.deadlines.header, preamble::read(stream));
        let read = tokio::select! {
            () = self.stop.cancelled() => return None,
            read = reading => read,
        };
        match read {
            Ok(Ok(None)) => return Some(self),
            Ok(Ok(Some(client))) => {
                self.peer = client.address;
                self.secure = client.secure;
            }
            Ok(Err(error @ preamble::NoHeader::Ended(_))) => {
                tracing::debug!(%proxy, %error, "a connection is closed");
                return None;
            }
            Ok(Err(error)) => {
                metrics::counter!("parlance_proxy_headers_refused_total").increment(1);
                tracing::warn!(%proxy, %error, "a connection is closed");
                return None;
            }
            Err(_) => {
                metrics::counter!("parlance_proxy_headers_refused_total").increment(1);
                tracing::warn!(%proxy, "a connection is closed: its PROXY header took too long");
                return None;
            }
        }
        if self.app.proxies.trusts(self.peer) {
            return Some(self);
        }
        let Self { admitted, peer, secure, behind, app, stop, opening, tasks } = self;
        let Some(admitted) = admitted.for_client(peer) else {
            metrics::counter!("parlance_connections_refused_total").increment(1);
            if behind.is_plain() {
                let _ = stream.try_write(TOO_MANY);
            }
            return None;
        };
        Some(Self { admitted, peer, secure, behind, app, stop, opening, tasks })
    }

    async fn tls(self, tls: TlsAcceptor, stream: Stall<TcpStream>, router: Router) {
        let deadlines = self.app.config.deadlines;
        let handshake = tokio::time::timeout(deadlines.handshake, tls.accept(stream));
        let shaken = tokio::select! {
            () = self.stop.cancelled() => return,
            shaken = handshake => shaken,
        };
        let mut stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                return tracing::debug!(peer = %self.peer, %error, "TLS handshake failed");
            }
            Err(_) => return tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
        };
        let protocol = stream.get_ref().1.alpn_protocol();
        if protocol == Some(tls::CHALLENGE) {
            // The handshake was all that it is for.
            tracing::debug!(peer = %self.peer, "a challenge was answered");
            let _ = stream.shutdown().await;
            return;
        }
        let is_h2 = protocol == Some(tls::H2);
        let serving = Serving {
            header: deadlines.header,
            write: deadlines.write,
            is_proxy: self.app.proxies.trusts(self.peer),
            stop: self.stop.clone(),
            kill: self.app.kill.clone(),
            tasks: self.tasks.clone(),
        };
        let (answers, ends) = self.answers(router, true);
        if is_h2 {
            Box::pin(serving.serve(stream, answers)).await;
        } else {
            Box::pin(ends.http1(
                stream,
                service_fn(move |request| answers.clone().serve(request)),
                true,
            ))
            .await;
        }
    }

    /// What answers the requests of this connection, and how it ends.
    fn answers(self, router: Router, secure: bool) -> (Answers, Ends) {
        let ends = self.ends();
        let Self { admitted, peer, app, opening, .. } = self;
        let peer = Peer { address: peer, tls: secure, admitted: Arc::new(admitted) };
        (Answers { app, router, peer, opening }, ends)
    }

    fn ends(&self) -> Ends {
        Ends {
            header: self.app.config.deadlines.header,
            stop: self.stop.clone(),
            kill: self.app.kill.clone(),
        }
    }

    async fn redirect(self, stream: Stall<TcpStream>, redirect: Arc<Redirect>) {
        let service = service_fn(move |request: Request<Incoming>| {
            let response = redirect.answer(&request);
            async { Ok::<_, Infallible>(response) }
        });
        // One answer and the end: whoever comes here goes elsewhere.
        self.ends().http1(stream, service, false).await;
    }
}

/// Answers requests of one connection.
#[derive(Clone)]
pub(super) struct Answers {
    app: Arc<App>,
    router: Router,
    peer: Peer,
    opening: Arc<Opening>,
}

impl Answers {
    pub(super) async fn answer(self, request: Request<Incoming>) -> Response {
        let Self { app, router, peer, opening } = self;
        let response = answer(app, router, peer, request).await;
        opening.is_over();
        response
    }

    async fn serve(self, request: Request<Incoming>) -> Result<Response, Infallible> {
        Ok(self.answer(request).await)
    }
}

/// What ends a connection of HTTP/1.1.
struct Ends {
    header: Duration,
    stop: CancellationToken,
    kill: CancellationToken,
}

impl Ends {
    async fn http1<I, S, B>(self, io: I, service: S, keep_alive: bool)
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Service<Request<Incoming>, Response = http::Response<B>, Error = Infallible>,
        B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        // hyper's own bound of 100 headers stands.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.header)
            .max_buf_size(HEADER_BYTES_MAX)
            .keep_alive(keep_alive)
            .serve_connection(TokioIo::new(io), service)
            .with_upgrades();
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = self.kill.cancelled() => return,
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
