//! The ways in which a promise can be broken.

use uuid::Uuid;

/// A broken promise, with the number of the promise in its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what its fields are")]
pub enum Violation {
    /// An ack without an entry.
    #[error(
        "promise 1: room {room}: key {key} of {sender} was acked at {acked} and is not in the log"
    )]
    Lost { room: Uuid, sender: Uuid, key: Uuid, acked: u64 },
    /// A refusal that was not one.
    #[error("promise 7: room {room}: key {key} was refused for good and is in the log at {seq}")]
    RefusedButDone { room: Uuid, key: Uuid, seq: u64 },
    /// An event that is not in the log.
    #[error("promise 2: room {room}: {client} saw {seq} (key {key}), which is not in the log")]
    NotCommitted { client: String, room: Uuid, seq: u64, key: Uuid },
    /// A message that nobody sent.
    #[error("promise 2: room {room}: nobody sent the message at {seq} (key {key})")]
    NeverSent { room: Uuid, seq: u64, key: Uuid },
    /// Another body than the one that was sent.
    #[error(
        "promise 3: room {room}: the log has another body at {seq} than the one sent with key {key}"
    )]
    BodyChanged { room: Uuid, key: Uuid, seq: u64 },
    /// A log that does not go 1, 2, 3.
    #[error("promise 3: room {room}: the log goes from {after} to {next}")]
    LogHasAHole { room: Uuid, after: u64, next: u64 },
    /// Two truths about one seq.
    #[error(
        "promise 3: room {room}: {client} saw key {saw} at {seq}, the log has key {logged} or another body"
    )]
    Different { client: String, room: Uuid, seq: u64, saw: Uuid, logged: Uuid },
    /// A sender's messages in another order than the one they were sent in.
    #[error(
        "promise 3: room {room}: {sender} had the ack of {earlier} before sending what is at {later}"
    )]
    OutOfOrder { room: Uuid, sender: Uuid, earlier: u64, later: u64 },
    /// A key that is in the log more than once.
    #[error("promise 4: room {room}: key {key} of {sender} is at {first} and at {second}")]
    Twice { room: Uuid, sender: Uuid, key: Uuid, first: u64, second: u64 },
    /// An ack with another place than the log.
    #[error("promise 4: room {room}: key {key} was acked at {acked} and is at {logged}")]
    AckDisagrees { room: Uuid, key: Uuid, acked: u64, logged: u64 },
    /// Something that a client did not get.
    #[error("promise 5: room {room}: {client} went from {last} to {seq}")]
    Skipped { client: String, room: Uuid, last: u64, seq: u64 },
    /// Something that a client got again.
    #[error("promise 5: room {room}: {client} got {seq} after {last}")]
    Repeated { client: String, room: Uuid, last: u64, seq: u64 },
    /// A client that waited and did not get everything.
    #[error("promise 5: room {room}: {client} stopped at {last}, the head is {head}")]
    Unfinished { client: String, room: Uuid, last: u64, head: u64 },
}
