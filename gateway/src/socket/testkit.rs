//! A socket's line without a server around it, for measurements and for the cases of RFC 6455: the
//! frames of one WebSocket, upgraded as the server upgrades it. There is no session behind it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use parlance_actors::outbox::CloseCode;
use parlance_actors::session::Request;
use parlance_protocol::ClientFrame;
use tokio::net::TcpStream;

use super::commands;
use super::line::{Heard, Line};
use crate::frames::text_frame;
use crate::server::Stall;

/// How long the client may take nothing.
const WRITE: Duration = Duration::from_secs(10);

/// The server's end of a WebSocket.
pub struct SocketLine(Line);

impl SocketLine {
    /// Takes a connection whose client asks for an upgrade, by any HTTP request that does. `None`
    /// when it does not, or goes.
    pub async fn accept(stream: TcpStream) -> Option<Self> {
        let io = Stall::new(stream, WRITE);
        let on_upgrade = Mutex::new(None);
        let service = service_fn(|request| {
            *on_upgrade.lock() = Some(hyper::upgrade::on(request));
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
        connection.with_upgrades().await.ok()?;
        let on_upgrade = on_upgrade.lock().take()?;
        Line::new(on_upgrade.await.ok()?, WRITE).await.map(Self)
    }

    /// Writes frames as a writer does that has the turn; `frames` is empty afterwards. `false`
    /// when the client went.
    pub async fn say(&mut self, frames: &mut Vec<Bytes>) -> bool {
        self.0.say(frames).await.is_ok()
    }

    /// Reads a frame as the socket task does, up to what it asks of its session. `None` for
    /// anything but a request.
    pub async fn hear(&mut self) -> Option<Request> {
        let Heard::Text(text) = self.0.hear().await else { return None };
        commands::request(ClientFrame::parse(text.as_bytes()).ok()?).ok()
    }

    /// Says each text that comes again, and ends as a socket's task does.
    pub async fn echo(mut self) {
        loop {
            match self.0.hear().await {
                Heard::Text(text) => {
                    if self.0.say(&mut vec![text_frame(&text)]).await.is_err() {
                        return;
                    }
                }
                Heard::Life => {}
                Heard::Bad(refusal) => {
                    return self.0.close(Vec::new(), CloseCode::BadFrame, &refusal).await;
                }
                Heard::Closed | Heard::Gone => return self.0.part().await,
            }
        }
    }
}
