//! The frames of one WebSocket: reading with bounds, writing many with one flush, and
//! an end whose close frame arrives.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parlance_actors::outbox::CloseCode;
use parlance_actors::vocab::{Code, Refusal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{
    CloseCode as WireCode, Data, OpCode,
};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::limits::{
    FRAME_BYTES_MAX, LINGER, LINGER_BYTES_MAX, SOCKET_READ_BYTES, SOCKET_WRITE_BYTES,
    SOCKET_WRITE_BYTES_MAX,
};

/// What came from a client.
pub(super) enum Heard {
    /// A text frame, whole.
    Text(Utf8Bytes),
    /// A ping or pong: somebody is there.
    Life,
    /// Something that the protocol cannot carry: the socket ends with 4002.
    Bad(Refusal),
    /// The client went.
    Gone,
}

/// The client takes nothing, or went while it was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// It took nothing for the whole deadline.
    Slow,
    /// It went.
    Gone,
}

pub(super) struct Line {
    stream: WebSocketStream<TokioIo<Upgraded>>,
}

impl Line {
    pub(super) async fn new(upgraded: Upgraded) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(SOCKET_READ_BYTES)
            .write_buffer_size(SOCKET_WRITE_BYTES)
            .max_write_buffer_size(SOCKET_WRITE_BYTES_MAX)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let io = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        Self { stream }
    }

    /// The next thing from the client. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Heard {
        match self.stream.next().await {
            Some(Ok(Message::Text(text))) => Heard::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Life,
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                Heard::Bad(Refusal::bad_request("a binary frame; frames are JSON as text"))
            }
            Some(Ok(Message::Close(_))) | None => Heard::Gone,
            Some(Err(Error::Utf8(_))) => Heard::Bad(Refusal::bad_request(
                "a frame that is not UTF-8; frames are JSON as text",
            )),
            Some(Err(Error::Capacity(_))) => Heard::Bad(Refusal::new(
                Code::TooLarge,
                format!("a frame over {FRAME_BYTES_MAX} bytes, its fragments together"),
            )),
            Some(Err(Error::Protocol(error))) if !is_over(&error) => {
                Heard::Bad(Refusal::bad_request(format!("not a WebSocket frame: {error}")))
            }
            Some(Err(_)) => Heard::Gone,
        }
    }

    /// Writes all frames, then flushes once. `frames` is empty afterwards. The connection itself
    /// fails when the client takes no byte for too long.
    pub(super) async fn say(&mut self, frames: &mut Vec<Bytes>) -> Result<(), NotWritten> {
        for frame in frames.drain(..) {
            // The text is ours and known to be UTF-8: a raw frame is not checked again.
            let frame = Frame::message(frame, OpCode::Data(Data::Text), true);
            self.stream.feed(Message::Frame(frame)).await.map_err(|error| not_written(&error))?;
        }
        self.stream.flush().await.map_err(|error| not_written(&error))
    }

    /// Asks the client to say that it is there.
    pub(super) async fn ping(&mut self) -> Result<(), NotWritten> {
        let ping = Message::Ping(Bytes::new());
        self.stream.send(ping).await.map_err(|error| not_written(&error))
    }

    /// Says the close code, and drains for a moment what the client still sends: closing over
    /// unread bytes would reset the connection and the close frame with it.
    pub(super) async fn close(mut self, code: CloseCode, reason: &Refusal) {
        let close = CloseFrame {
            code: WireCode::from(code.number()),
            reason: Utf8Bytes::from_static(reason.code.as_str()),
        };
        let ending = async {
            self.stream.send(Message::Close(Some(close))).await.ok()?;
            let io = self.stream.get_mut();
            io.shutdown().await.ok()?;
            // On the heap: it would be part of every idle socket's task.
            let mut bytes = vec![0; 1024];
            let mut drained = 0;
            while drained < LINGER_BYTES_MAX {
                match io.read(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => drained += count,
                }
            }
            Some(())
        };
        // Whether the client heard it makes no difference any more.
        let _ = tokio::time::timeout(LINGER, ending).await;
    }

    /// Answers the client's own close frame, if there was one: the answer waits to be flushed.
    pub(super) async fn part(mut self) {
        let ending = async {
            self.stream.flush().await.ok()?;
            self.stream.get_mut().shutdown().await.ok()
        };
        let _ = tokio::time::timeout(LINGER, ending).await;
    }
}

fn not_written(error: &Error) -> NotWritten {
    match error {
        Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => NotWritten::Slow,
        _ => NotWritten::Gone,
    }
}

/// The connection went without a word, or after one.
const fn is_over(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::ResetWithoutClosingHandshake
            | ProtocolError::SendAfterClosing
            | ProtocolError::ReceivedAfterClosing
    )
}
