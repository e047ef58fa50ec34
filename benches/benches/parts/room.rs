//! A room's decisions: a send comes in, its commit comes back, it is published and answered. The
//! actor around it, the lane and the hub are not in it.

use std::sync::Arc;

use parlance_actors::ports::history::{Opened, Outcome, Settled};
use parlance_actors::room::state::{Effect, Fact, Known, Post, RoomState};
use parlance_actors::session::Caller;
use parlance_actors::vocab::{
    Gen, Role, RoomId, RoomKind, RoomMeta, RoomName, RoomSettings, Seq, TenantId, Timestamp, Topic,
};

use crate::part::Part;
use crate::sample;

pub(crate) const POSTS: usize = 32;
const MEMBERS: u64 = 10;

pub(crate) struct PostAndSettle {
    state: RoomState<u64, u64>,
    callers: Vec<Arc<Caller>>,
    posts: Vec<Post<u64>>,
    sent: u64,
    head: Seq,
}

impl PostAndSettle {
    pub(crate) fn new() -> Self {
        let opened = Opened { first: Seq(1), members: MEMBERS, ..Opened::default() };
        let state = RoomState::new(Arc::new(meta()), Gen(1), &opened);
        let callers = (0..MEMBERS).map(|number| Arc::new(sample::caller(number))).collect();
        Self { state, callers, posts: Vec::new(), sent: 0, head: Seq(0) }
    }
}

fn meta() -> RoomMeta {
    RoomMeta {
        tenant: TenantId::MAIN,
        id: RoomId(sample::id(1)),
        kind: RoomKind::Private,
        name: RoomName::parse("room").ok(),
        topic: Topic::default(),
        settings: RoomSettings::default(),
        version: 1,
        created_by: sample::user(1),
        created_at: Timestamp(0),
        key: sample::key(0),
        changed_by: sample::user(1),
    }
}

impl Part for PostAndSettle {
    fn prepare(&mut self) {
        let callers = self.callers.iter().cycle();
        self.posts = (self.sent + 1..)
            .zip(callers)
            .take(POSTS)
            .map(|(number, caller)| Post {
                caller: caller.clone(),
                key: sample::key(number),
                change: sample::send(),
                waiter: number,
            })
            .collect();
        self.sent += POSTS as u64;
    }

    fn run(&mut self) {
        for post in self.posts.drain(..) {
            let mut effects = self.state.post(sample::NOW, post);
            // The first of each sender: the rest find it in memory.
            while let Some(Effect::Load { asker, fact: fact @ Fact::Role(_) }) = effects.first() {
                let known = Ok(Known::Role(Some(Role::Member)));
                effects = self.state.learn(sample::NOW, *asker, *fact, known);
            }
            let Some(Effect::Append { ticket, draft }) = effects.pop() else {
                panic!("a member's send is appended")
            };
            self.head = self.head.next();
            let outcome = Outcome::Committed { seq: self.head };
            let effects = self.state.settled(vec![Settled { ticket, draft, outcome, batch: 1 }]);
            assert_eq!(effects.len(), 2, "published and answered");
        }
    }
}
