//! Envelopes between nodes: made and encoded, and checked, read and turned into the domain's words.

use std::hint::black_box;

use bytes::Bytes;
use parlance_actors::session::{Caller, Change};
use parlance_actors::testkit::envelopes;
use parlance_actors::vocab::{Event, Gen, SessionId};

use crate::part::Part;
use crate::sample;

pub(crate) const REPEATS: u64 = 50;

pub(crate) struct EventOut(Event);

impl EventOut {
    pub(crate) fn new() -> Self {
        Self(sample::event(58))
    }
}

impl Part for EventOut {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            let event = black_box(&self.0);
            drop(black_box(envelopes::event_frame(sample::room(1), Gen(1), event)));
        }
    }
}

pub(crate) struct EventIn(Bytes);

impl EventIn {
    pub(crate) fn new() -> Self {
        Self(envelopes::event_frame(sample::room(1), Gen(1), &sample::event(58)))
    }
}

impl Part for EventIn {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            let read = envelopes::event_of(black_box(&self.0));
            drop(black_box(read.expect("our own frame")));
        }
    }
}

pub(crate) struct PostOut {
    caller: Caller,
    change: Change,
}

impl PostOut {
    pub(crate) fn new() -> Self {
        Self { caller: sample::caller(1), change: sample::send() }
    }

    fn frame(&self) -> Bytes {
        let (session, room) = (SessionId(sample::id(4)), sample::room(1));
        let caller = black_box(&self.caller);
        envelopes::post_frame(room, caller, sample::key(1), black_box(&self.change), session)
    }
}

impl Part for PostOut {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            drop(black_box(self.frame()));
        }
    }
}

pub(crate) struct PostIn(Bytes);

impl PostIn {
    pub(crate) fn new() -> Self {
        Self(PostOut::new().frame())
    }
}

impl Part for PostIn {
    fn run(&mut self) {
        for _ in 0..REPEATS {
            let read = envelopes::post_of(black_box(&self.0));
            drop(black_box(read.expect("our own frame")));
        }
    }
}
