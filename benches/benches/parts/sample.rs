//! What all parts are measured with: the same ids, names and 128-byte bodies in each run.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parlance_actors::session::{Caller, Change};
use parlance_actors::vocab::{
    Content, Event, Key, RoomId, RoomRef, Sender, Seq, TenantId, Timestamp, UserId,
};
use uuid::Uuid;

/// As in the load generator's figures.
const BODY_BYTES: usize = 128;

/// A moment.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_599_999);

/// An id. Version and variant are those of random ones; the last byte, which places rooms on
/// shards, is the number's.
pub(crate) fn id(number: u64) -> Uuid {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&spread);
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

pub(crate) fn room(number: u64) -> RoomRef {
    RoomRef { tenant: TenantId::MAIN, room: RoomId(id(number)) }
}

pub(crate) fn user(number: u64) -> UserId {
    UserId(id(1_000_000 + number))
}

pub(crate) fn key(number: u64) -> Key {
    Key(id(2_000_000 + number))
}

pub(crate) fn body() -> String {
    "All work is done by noon, and the figures are on the page. ".repeat(3)[..BODY_BYTES].to_owned()
}

pub(crate) fn caller(number: u64) -> Caller {
    Caller {
        tenant: TenantId::MAIN,
        user: user(number),
        username: format!("user{number}").into(),
        device: None,
        admin: false,
    }
}

pub(crate) fn message() -> Content {
    Content::Message { body: body().into(), reply_to: None, thread: None, enc: false }
}

pub(crate) fn send() -> Change {
    Change::Send { body: body().into(), reply_to: None, thread: None, enc: false }
}

pub(crate) fn event(seq: u64) -> Event {
    let sender = Sender { id: user(1), username: "user1".into() };
    let key = key(seq);
    Event { seq: Seq(seq), sender, device: None, key, sent_at: NOW, content: message() }
}

pub(crate) fn shared_event(seq: u64) -> Arc<Event> {
    Arc::new(event(seq))
}

/// The output of a future that has nothing to wait for.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a part waits for something that nobody brings"),
    }
}
