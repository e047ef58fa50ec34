//! A message through the whole domain of one node: from the session that sends it, through its
//! room's actor, a history in memory and the hub, into ten outboxes that their tasks drain. No
//! socket and no database.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use parlance_actors::chat::{Chat, CreateRoom, Parts};
use parlance_actors::ports::frames::Dialect;
use parlance_actors::ports::peers::Alone;
use parlance_actors::session::{Change, Command, Request, SessionHandle};
use parlance_actors::testkit::MemoryAccounts;
use parlance_actors::testkit::directory::MemoryDirectory;
use parlance_actors::testkit::history::MemoryHistory;
use parlance_actors::vocab::{NodeId, RoomId, RoomKind, RoomName, Topic};
use parlance_gateway::JsonFrames;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use crate::part::Part;
use crate::sample;

/// With as many to warm up, each session stays within the burst of its rate.
pub(crate) const ROUNDS: u64 = 200;
const MEMBERS: u64 = 10;

pub(crate) struct Message {
    runtime: Runtime,
    tasks: LocalSet,
    chat: Arc<Chat>,
    room: RoomId,
    sessions: Vec<SessionHandle>,
    /// Frames that the sessions' tasks have drained.
    drained: Rc<Cell<u64>>,
    sent: u64,
}

impl Message {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let (runtime, tasks) = (runtime.expect("a runtime"), LocalSet::new());
        let drained = Rc::new(Cell::new(0));
        let (chat, room, sessions) = tasks.block_on(&runtime, populated(&drained));
        let mut message = Self { runtime, tasks, chat, room, sessions, drained, sent: 0 };
        // Each hears the welcome and the answer to its subscription.
        message.settle(2 * MEMBERS);
        message
    }

    /// Lets everything run until that many frames came since the last time.
    fn settle(&mut self, frames: u64) {
        let drained = &self.drained;
        self.tasks.block_on(&self.runtime, async {
            while drained.get() < frames {
                tokio::task::yield_now().await;
            }
        });
        drained.set(0);
    }
}

/// A node with one room, its members' sessions in it, and a task for each that drains its outbox.
async fn populated(drained: &Rc<Cell<u64>>) -> (Arc<Chat>, RoomId, Vec<SessionHandle>) {
    let history = MemoryHistory::new();
    let parts = Parts {
        history: history.clone(),
        members: history.clone(),
        accounts: Arc::new(MemoryAccounts::default()),
        directory: Arc::new(MemoryDirectory::new(NodeId(1))),
        frames: Arc::new(JsonFrames),
        peers: Arc::new(Alone::new(NodeId(1))),
        traces: None,
    };
    let chat = Chat::start(parts).await.expect("nothing can fail here");
    let (owner, name) = (sample::caller(0), RoomName::parse("room").expect("a valid name"));
    let new =
        CreateRoom { key: sample::key(0), name, kind: RoomKind::Public, topic: Topic::default() };
    for number in 0..MEMBERS {
        history.add_user(sample::user(number), &sample::caller(number).username);
    }
    let room = chat.create_room(&owner, new).await.expect("the first room").meta.id;
    for number in 1..MEMBERS {
        let (caller, key) = (sample::caller(number), sample::key(100 + number));
        chat.post(&caller, room, key, Change::Join).await.expect("a public room");
    }
    let mut sessions = Vec::new();
    for number in 0..MEMBERS {
        let caller = sample::caller(number);
        let open = chat.open_session(caller, Dialect::V1, Some(0), None).expect("it serves");
        let (outbox, drained) = (open.outbox, drained.clone());
        tokio::task::spawn_local(async move {
            let mut frames = Vec::new();
            while outbox.recv(&mut frames).await.is_none() {
                drained.set(drained.get() + frames.len() as u64);
                frames.clear();
            }
        });
        let command = Command::Subscribe(vec![(room, None)]);
        open.session.submit(Request { id: Some(1), command });
        sessions.push(open.session);
    }
    (chat, room, sessions)
}

impl Part for Message {
    fn run(&mut self) {
        self.sent += 1;
        let session = &self.sessions[(self.sent % MEMBERS) as usize];
        let key = sample::key(1_000 + self.sent);
        let command = Command::Post { room: self.room, key, change: sample::send() };
        session.submit(Request { id: Some(self.sent), command });
        // Its event to each, and the answer.
        self.settle(MEMBERS + 1);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.tasks.block_on(&self.runtime, self.chat.drain());
    }
}
