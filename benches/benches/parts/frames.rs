//! Client frames read, and frames for clients written.

use std::hint::black_box;

use parlance_actors::ports::Frames as _;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::session::{Answer, Output, Posted};
use parlance_actors::vocab::{Event, Gen, Seq};
use parlance_gateway::JsonFrames;
use parlance_protocol::{ClientFrame, client};

use crate::part::Part;
use crate::sample;

pub(crate) const REPEATS: u64 = 50;

/// Reads one frame.
pub(crate) struct Parse(Vec<u8>);

impl Parse {
    fn new(frame: &ClientFrame<'_>) -> Self {
        Self(frame.encode().into_bytes())
    }

    pub(crate) fn send() -> Self {
        Self::new(&send_frame(1, &sample::body()))
    }

    /// Escapes, so that the body cannot be borrowed from the text.
    pub(crate) fn escaped() -> Self {
        Self::new(&send_frame(1, &sample::body().replace(". ", ".\n")))
    }

    pub(crate) fn typing() -> Self {
        Self::new(&ClientFrame::Typing(client::Typing { id: None, room: sample::id(1) }))
    }
}

pub(crate) fn send_frame(number: u64, body: &str) -> ClientFrame<'_> {
    ClientFrame::Send(client::Send {
        id: Some(number),
        room: sample::id(1),
        key: sample::key(number).0,
        body: body.into(),
        reply_to: None,
        thread: None,
        enc: false,
    })
}

impl Part for Parse {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            let frame = ClientFrame::parse(black_box(&self.0));
            drop(black_box(frame.expect("a frame of the protocol")));
        }
    }
}

/// Writes a room's event for `parlance.v1`.
pub(crate) struct EncodeEvent(Event);

impl EncodeEvent {
    pub(crate) fn new() -> Self {
        Self(sample::event(58))
    }
}

impl Part for EncodeEvent {
    fn run(&mut self) {
        let room = sample::room(1).room;
        for _ in 0..REPEATS {
            let output = Output::Event { room, r#gen: Gen(1), event: black_box(&self.0) };
            drop(black_box(JsonFrames.encode(Dialect::V1, &output)));
        }
    }
}

/// Writes the answer to a send.
pub(crate) struct EncodeOk(Answer);

impl EncodeOk {
    pub(crate) fn new() -> Self {
        let posted = Posted { seq: Seq(58), sent_at: sample::NOW, repeated: false };
        Self(Answer::Posted(posted))
    }
}

impl Part for EncodeOk {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            let output = Output::Ok { id: 17, answer: black_box(&self.0) };
            drop(black_box(JsonFrames.encode(Dialect::V1, &output)));
        }
    }
}
