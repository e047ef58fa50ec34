//! The frames of one WebSocket: reading with bounds, and an end whose close frame arrives.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use parlance_actors::outbox::{CloseCode, Outbox};
use parlance_actors::vocab::{Code, Refusal};
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode as WireCode;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

pub(super) use super::pipe::NotWritten;
use super::pipe::{Ear, Mouth, split};
use super::writers::{Attached, Writer, Writers};
use crate::limits::{FRAME_BYTES_MAX, LINGER, LINGER_BYTES_MAX, SOCKET_READ_BYTES};

/// A ping without a payload (RFC 6455, section 5.5.2).
pub(super) const PING: Bytes = Bytes::from_static(&[0x89, 0]);

/// What came from a client.
pub(super) enum Heard {
    /// A text frame, whole.
    Text(Utf8Bytes),
    /// A ping or pong: somebody is there.
    Life,
    /// Something that the protocol cannot carry: the socket ends with 4002.
    Bad(Refusal),
    /// The client closes in order, and expects an answer.
    Closed,
    /// The connection is over.
    Gone,
}

/// A WebSocket. Until a session's outbox is attached, this alone writes to it; from then on, who
/// has the turn.
pub(super) struct Line {
    stream: WebSocketStream<Ear>,
    mouth: Arc<Mouth>,
    outbox: Option<Arc<Outbox>>,
    /// Not written yet, while this alone writes.
    unsaid: Vec<Bytes>,
    /// How long a client may take nothing.
    limit: Duration,
}

impl Line {
    /// `None` for a connection that did not come through the front door.
    pub(super) async fn new(upgraded: Upgraded, limit: Duration) -> Option<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(SOCKET_READ_BYTES)
            // What the library writes by itself goes to the ear at once.
            .write_buffer_size(0)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let (ear, mouth, first) = split(upgraded)?;
        // A copy: the library goes on with what it is given, and this is in hyper's large buffer.
        let first = first.to_vec();
        let stream = WebSocketStream::from_partially_read(ear, first, Role::Server, Some(config));
        Some(Self { stream: stream.await, mouth, outbox: None, unsaid: Vec::new(), limit })
    }

    /// From now on this says what comes out of the outbox, and nothing by itself.
    pub(super) fn attach(&mut self, outbox: Arc<Outbox>, writers: Arc<Writers>) -> Attached {
        self.outbox = Some(outbox.clone());
        let unsaid = std::mem::take(&mut self.unsaid);
        Writer::attach(outbox, self.mouth.clone(), writers, unsaid)
    }

    /// The next thing from the client. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Heard {
        // Who does not take the answers to their pings is not heard either.
        if !self.unsaid.is_empty()
            && self.mouth.write_all(&mut self.unsaid, self.limit).await.is_err()
        {
            return Heard::Gone;
        }
        let heard = poll_fn(|cx| {
            let heard = self.stream.poll_next_unpin(cx);
            if let Some(said) = self.stream.get_mut().said() {
                match &self.outbox {
                    Some(outbox) => outbox.push_answer(said),
                    None => {
                        self.unsaid.push(said);
                        // What does not go now goes with the next frame; an error is heard.
                        let _ = self.mouth.write(&mut self.unsaid);
                    }
                }
            }
            heard
        });
        match heard.await {
            Some(Ok(Message::Text(text))) => Heard::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Heard::Life,
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => {
                Heard::Bad(Refusal::bad_request("a binary frame; frames are JSON as text"))
            }
            Some(Ok(Message::Close(_))) => Heard::Closed,
            None => Heard::Gone,
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

    /// Writes frames while no outbox is attached. `frames` is empty afterwards.
    pub(super) async fn say(&mut self, frames: &mut Vec<Bytes>) -> Result<(), NotWritten> {
        self.unsaid.append(frames);
        self.mouth.write_all(&mut self.unsaid, self.limit).await
    }

    /// Says the close code, after what is `left` to be written, and drains for a moment what the
    /// client still sends: closing over unread bytes would reset the connection and the close frame
    /// with it. The turn to write must be the caller's.
    pub(super) async fn close(mut self, left: Vec<Bytes>, code: CloseCode, reason: &Refusal) {
        let close = CloseFrame {
            code: WireCode::from(code.number()),
            reason: Utf8Bytes::from_static(reason.code.as_str()),
        };
        self.unsaid.extend(left);
        let ending = async {
            self.stream.send(Message::Close(Some(close))).await.ok()?;
            self.finish().await?;
            // On the heap: it would be part of every idle socket's task.
            let mut bytes = vec![0; 1024];
            let mut drained = 0;
            while drained < LINGER_BYTES_MAX {
                match self.stream.get_mut().read(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => drained += count,
                }
            }
            Some(())
        };
        // Whether the client heard it makes no difference any more.
        let _ = tokio::time::timeout(LINGER, ending).await;
    }

    /// Answers the client's own close frame, if there was one. The turn to write must be the
    /// caller's.
    pub(super) async fn part(mut self) {
        let ending = async {
            // An error is that of a connection which is over; there may be an answer all the same.
            let _ = self.stream.flush().await;
            self.finish().await
        };
        let _ = tokio::time::timeout(LINGER, ending).await;
    }

    /// Leaves a client that went, with nothing left to be written.
    pub(super) fn leave(self) {
        self.mouth.leave();
    }

    /// Writes what the library has said, and that nothing more comes.
    async fn finish(&mut self) -> Option<()> {
        self.unsaid.extend(self.stream.get_mut().said());
        self.mouth.write_all(&mut self.unsaid, self.limit).await.ok()?;
        self.mouth.finish(self.limit).await.ok()
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
