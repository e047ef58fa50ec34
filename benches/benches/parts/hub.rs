//! An event shown to a room's followers here: encoded once, pushed to each outbox, each reader
//! woken. What the readers then do is not in it.

use std::sync::Arc;

use parlance_actors::hub::{Follower, Hub, Joined};
use parlance_actors::ports::frames::Dialect;
use parlance_actors::vocab::{Event, Gen, RoomRef, Seq, SessionId};
use parlance_gateway::JsonFrames;

use crate::outbox::Reader;
use crate::part::Part;
use crate::sample;

/// Other rooms with a follower each, so that the table is no table of one.
const OTHER_ROOMS: u64 = 100;

pub(crate) struct Publish {
    hub: Arc<Hub>,
    room: RoomRef,
    readers: Vec<Reader>,
    next: Arc<Event>,
}

impl Publish {
    pub(crate) fn to(followers: u64) -> Self {
        let hub = Hub::new(Arc::new(JsonFrames));
        let room = sample::room(1);
        let readers = (0..followers).map(|number| follow(&hub, room, number)).collect();
        for other in 0..OTHER_ROOMS {
            follow(&hub, sample::room(2 + other), followers + other);
        }
        Self { hub, room, readers, next: sample::shared_event(1) }
    }
}

fn follow(hub: &Arc<Hub>, room: RoomRef, number: u64) -> Reader {
    let reader = Reader::new();
    let follower = Follower {
        session: SessionId(sample::id(3_000_000 + number)),
        user: sample::user(number),
        dialect: Dialect::V1,
        outbox: reader.outbox.clone(),
    };
    let joined = hub.prepare(room).join(follower, Gen(1), Seq(0), None);
    assert_eq!(joined, Joined::Live);
    reader
}

impl Part for Publish {
    fn prepare(&mut self) {
        self.next = sample::shared_event(self.next.seq.0 + 1);
        self.readers.iter_mut().for_each(Reader::drain);
    }

    fn run(&mut self) {
        self.hub.publish(self.room, Gen(1), &self.next);
    }
}
