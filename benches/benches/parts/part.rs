//! What a part is: something of the server that can be run over and over, and the table of all.
//! Criterion and the instruction counter run the same ones.

use crate::{chat, directory, frames, hub, lane, outbox, room, socket, wire};

/// One part of the server, set up.
pub(crate) trait Part {
    /// Puts things in order for the next round. Not measured.
    fn prepare(&mut self) {}

    /// One round of [`Entry::operations`].
    fn run(&mut self);
}

/// A part in the table.
pub(crate) struct Entry {
    /// Its name, in the baseline too.
    pub(crate) name: &'static str,
    /// Operations in a round: figures are for one.
    pub(crate) operations: u64,
    /// Rounds that are counted, after as many that are not.
    pub(crate) rounds: u64,
    /// Whether criterion may run it for seconds: a part that ends in a limit of the server may not.
    pub(crate) timed: bool,
    /// Sets it up.
    pub(crate) make: fn() -> Box<dyn Part>,
}

const fn entry(
    name: &'static str,
    operations: u64,
    rounds: u64,
    make: fn() -> Box<dyn Part>,
) -> Entry {
    Entry { name, operations, rounds, timed: true, make }
}

/// Every part, along the way of a message.
pub(crate) const PARTS: &[Entry] = &[
    entry("socket-hear", socket::FRAMES as u64, 50, || Box::new(socket::Hear::new())),
    entry("frame-parse-send", frames::REPEATS, 20, || Box::new(frames::Parse::send())),
    entry("frame-parse-escaped", frames::REPEATS, 20, || Box::new(frames::Parse::escaped())),
    entry("frame-parse-typing", frames::REPEATS, 20, || Box::new(frames::Parse::typing())),
    entry("directory-owner", directory::LOOKUPS, 20, || Box::new(directory::Owner::new())),
    entry("directory-room", directory::LOOKUPS, 20, || Box::new(directory::Metadata::new())),
    entry("room-post-settle", room::POSTS as u64, 200, || Box::new(room::PostAndSettle::new())),
    entry("lane-batch-1", 1, 200, || Box::new(lane::Batches::open(1))),
    entry("lane-batch-64", 64, 20, || Box::new(lane::Batches::open(64))),
    entry("lane-batch-64-sealed", 64, 20, || Box::new(lane::Batches::sealed(64))),
    entry("frame-encode-event", frames::REPEATS, 20, || Box::new(frames::EncodeEvent::new())),
    entry("frame-encode-ok", frames::REPEATS, 20, || Box::new(frames::EncodeOk::new())),
    entry("hub-push-1", 1, 200, || Box::new(hub::Publish::to(1))),
    entry("hub-push-10", 10, 100, || Box::new(hub::Publish::to(10))),
    entry("hub-push-1000", 1_000, 10, || Box::new(hub::Publish::to(1_000))),
    // More than a process can hold sockets for: followers without any.
    entry("hub-push-100000", 100_000, 10, || Box::new(hub::Publish::to(100_000))),
    entry("outbox-1", outbox::WAKES, 20, || Box::new(outbox::PushAndDrain::frames(1))),
    entry("outbox-16", outbox::WAKES * 16, 20, || Box::new(outbox::PushAndDrain::frames(16))),
    entry("socket-say-1", 1, 200, || Box::new(socket::Say::frames(1))),
    entry("socket-say-16", 16, 50, || Box::new(socket::Say::frames(16))),
    entry("wire-event-encode", wire::REPEATS, 20, || Box::new(wire::EventOut::new())),
    entry("wire-event-access", wire::REPEATS, 20, || Box::new(wire::EventIn::new())),
    entry("wire-post-encode", wire::REPEATS, 20, || Box::new(wire::PostOut::new())),
    entry("wire-post-access", wire::REPEATS, 20, || Box::new(wire::PostIn::new())),
    Entry {
        name: "chat-message-10",
        operations: 1,
        rounds: chat::ROUNDS,
        timed: false,
        make: || Box::new(chat::Message::new()),
    },
];
