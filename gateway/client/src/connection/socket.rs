//! One WebSocket with the server's subprotocol: text frames in and out, nothing of their meaning.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use parlance_protocol::{SUBPROTOCOL, ServerFrame};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{
    Error, Message, Utf8Bytes, handshake::client::Response, protocol::WebSocketConfig,
};

use crate::{ClientError, Server, Stream, limits};

pub(crate) struct Socket {
    stream: WebSocketStream<Stream>,
}

/// What a socket brings.
pub(crate) enum Heard {
    /// A frame's text.
    Text(Utf8Bytes),
    /// Something that only shows that the server lives.
    Life,
    /// The end, with the close code where there was one.
    End(Option<u16>, String),
}

impl Socket {
    pub(crate) async fn connect(server: &Server) -> Result<Self, ClientError> {
        let unreachable =
            |error: &dyn std::fmt::Display| ClientError::Unreachable(error.to_string());
        let tcp = server.connect().await?;
        let request = http::Request::builder()
            .uri(format!("ws://{}/ws", server.authority()))
            .header("Host", server.authority())
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header(
                "Sec-WebSocket-Key",
                tokio_tungstenite::tungstenite::handshake::client::generate_key(),
            )
            .header("Sec-WebSocket-Protocol", SUBPROTOCOL)
            .body(())
            .map_err(|error| ClientError::BadAddress(error.to_string()))?;
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .max_message_size(Some(limits::ANSWER_BYTES_MAX))
            .max_frame_size(Some(limits::ANSWER_BYTES_MAX));
        let upgrade = tokio_tungstenite::client_async_with_config(request, tcp, Some(config));
        match timeout(limits::CONNECT_WAIT, upgrade).await {
            Ok(Ok((stream, _))) => Ok(Self { stream }),
            Ok(Err(Error::Http(response))) => Err(not_upgraded(&response)),
            Ok(Err(error)) => Err(unreachable(&error)),
            Err(_) => Err(unreachable(&"the upgrade took too long")),
        }
    }

    /// The next thing that the server says. Cancel-safe.
    pub(crate) async fn hear(&mut self) -> Heard {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text),
            Some(Ok(Message::Close(Some(close)))) => {
                Heard::End(Some(close.code.into()), close.reason.to_string())
            }
            Some(Ok(Message::Close(None))) | None => {
                Heard::End(None, "the server closed it".into())
            }
            Some(Ok(_)) => Heard::Life,
            Some(Err(error)) => Heard::End(None, error.to_string()),
        }
    }

    /// Writes a frame to the buffer; [`Socket::flush`] sends it.
    pub(crate) async fn feed(&mut self, text: String) -> Result<(), String> {
        Self::within(self.stream.feed(Message::Text(text.into()))).await
    }

    pub(crate) async fn flush(&mut self) -> Result<(), String> {
        Self::within(self.stream.flush()).await
    }

    async fn within<E: std::fmt::Display>(
        write: impl Future<Output = Result<(), E>>,
    ) -> Result<(), String> {
        match timeout(limits::WRITE_WAIT, write).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the server takes nothing".into()),
        }
    }
}

/// Why there is no socket, and when to come back: a node that opens no more sockets now, or a
/// balancer without a node, says so in its answer to the upgrade.
fn not_upgraded(response: &Response) -> ClientError {
    let body = response.body().as_deref().unwrap_or_default();
    match crate::http::refusal(response.status(), body) {
        refused @ ClientError::Refused { retry_after: Some(_), .. } => refused,
        // The body is of somebody else, or has not come with the head.
        other => {
            let seconds = response.headers().get(http::header::RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
            ClientError::Refused {
                code: "unavailable".into(),
                detail: other.to_string(),
                retry_after: seconds.map(Duration::from_secs),
            }
        }
    }
}

/// Reads a frame, or says why it cannot be read.
pub(crate) fn parse(text: &str) -> Result<ServerFrame<'_>, String> {
    ServerFrame::parse(text.as_bytes()).map_err(|error| format!("an unreadable frame: {error}"))
}
