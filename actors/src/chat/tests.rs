//! Scenarios: the whole domain of one node over in-memory ports, in paused time.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::outbox::{CloseCode, Closing};
use crate::ports::accounts::NewUser;
use crate::ports::frames::Dialect;
use crate::session::{Answer, Command, Cursor, Output, PresenceStatus, Request};
use crate::testkit::MemoryAccounts;
use crate::testkit::directory::MemoryDirectory;
use crate::testkit::history::MemoryHistory;
use crate::vocab::{Content, NodeId, SessionId, TenantId, UserId, Username};

mod cluster;
mod crashes;
mod holds;
mod interleavings;
mod presence;
mod races;
mod rooms;
mod sessions;
mod storm;

/// Frames as JSON that a test can take apart.
struct Json;

impl Frames for Json {
    fn encode(&self, _: Dialect, output: &Output<'_>) -> Option<Bytes> {
        let value = match output {
            Output::Welcome { rev, .. } => json!({"type": "welcome", "rev": rev}),
            Output::Ok { id, answer } => match answer {
                Answer::Posted(posted) => json!({"type": "ok", "id": id, "seq": posted.seq}),
                Answer::Subscribed(rooms) => {
                    let rooms: HashMap<String, Value> = rooms
                        .iter()
                        .map(|(room, result)| {
                            let told = match result {
                                Ok(told) => json!({"head": told.head}),
                                Err(refusal) => json!({"error": refusal.code.as_str()}),
                            };
                            (room.to_string(), told)
                        })
                        .collect();
                    json!({"type": "ok", "id": id, "rooms": rooms})
                }
                _ => json!({"type": "ok", "id": id}),
            },
            Output::Error { id, refusal } => {
                json!({"type": "error", "id": id, "code": refusal.code.as_str()})
            }
            Output::Event { room, event, .. } => {
                let body = match &event.content {
                    Content::Message { body, .. } => Some(body.clone()),
                    _ => None,
                };
                let kind = event.content.kind().as_str();
                json!({"type": "event", "room": room, "seq": event.seq, "kind": kind,
                       "key": event.key, "body": body})
            }
            Output::Gap { room, from, to } => {
                json!({"type": "gap", "room": room, "from": from, "to": to})
            }
            Output::MeRead { rev, seq, .. } => json!({"type": "me", "rev": rev, "read": seq}),
            Output::MeRoom { rev, role, .. } => json!({"type": "me", "rev": rev, "role": role}),
            Output::Typing { username, .. } => json!({"type": "typing", "by": username}),
            Output::Presence { status, .. } => {
                json!({"type": "presence", "status": format!("{status:?}")})
            }
            Output::Bye { refusal } => json!({"type": "bye", "code": refusal.code.as_str()}),
        };
        Some(Bytes::from(value.to_string()))
    }
}

struct Node {
    chat: Arc<Chat>,
    history: Arc<MemoryHistory>,
    parts: Parts,
}

impl Node {
    async fn start() -> Self {
        Self::with(Arc::new(MemoryDirectory::new(NodeId(1)))).await
    }

    async fn with(directory: Arc<MemoryDirectory>) -> Self {
        let history = MemoryHistory::new();
        let parts = Parts {
            history: history.clone(),
            members: history.clone(),
            accounts: Arc::new(MemoryAccounts::default()),
            directory,
            frames: Arc::new(Json),
            peers: Arc::new(crate::ports::peers::Alone::new(NodeId(1))),
            traces: None,
        };
        let chat = Chat::start(parts.clone()).await.expect("started");
        Self { chat, history, parts }
    }

    /// Ends the process as `kill -9` does and starts the next over the same log.
    async fn restart(self) -> Self {
        let history = self.history.restart();
        let parts = Parts { history: history.clone(), members: history.clone(), ..self.parts };
        let chat = Chat::start(parts.clone()).await.expect("started");
        Self { chat, history, parts }
    }

    async fn user(&self, name: &str) -> Caller {
        let new = NewUser {
            tenant: TenantId::MAIN,
            id: UserId::generate(),
            username: Username::register(name).expect("a good name"),
            password: None,
            admin: false,
            at: Timestamp::now(),
        };
        let user = self.parts.accounts.create_user(new).await.expect("a new name");
        self.history.add_user(user.id, name);
        Caller {
            tenant: user.tenant,
            user: user.id,
            username: user.username.shared(),
            device: None,
            admin: false,
        }
    }

    async fn room(&self, by: &Caller, name: &str, kind: RoomKind) -> RoomId {
        let name = RoomName::parse(name).expect("a good name");
        let new = CreateRoom { key: Key::generate(), name, kind, topic: Topic::default() };
        self.chat.create_room(by, new).await.expect("created").meta.id
    }

    async fn say(&self, by: &Caller, room: RoomId, body: &str) -> Result<Posted, Refusal> {
        self.chat.post(by, room, Key::generate(), say(body)).await
    }

    fn client(&self, caller: &Caller) -> Client {
        self.client_after(caller, None)
    }

    fn client_after(&self, caller: &Caller, previous: Option<SessionId>) -> Client {
        let open = self
            .chat
            .open_session(caller.clone(), Dialect::V1, Some(0), previous)
            .expect("not draining");
        Client { session: open.session, outbox: open.outbox, seen: Vec::new(), ended: None }
    }
}

fn say(body: &str) -> Change {
    Change::Send { body: body.into(), reply_to: None, thread: None, enc: false }
}

struct Client {
    session: SessionHandle,
    outbox: Arc<Outbox>,
    seen: Vec<Value>,
    ended: Option<Closing>,
}

impl Client {
    fn ask(&self, id: u64, command: Command) {
        self.session.submit(Request { id: Some(id), command });
    }

    fn send(&self, id: u64, room: RoomId, key: Key, body: &str) {
        self.ask(id, Command::Post { room, key, change: say(body) });
    }

    async fn read(&mut self) {
        let mut frames = Vec::new();
        self.ended = self.outbox.recv(&mut frames).await.or(self.ended.take());
        let parsed = frames.iter().map(|f| serde_json::from_slice(f).expect("JSON"));
        self.seen.extend(parsed);
    }

    /// Reads until a frame matches, and gives it.
    async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(found) = self.seen.iter().find(|frame| wanted(frame)) {
                return found.clone();
            }
            tokio::time::timeout(Duration::from_secs(60), self.read())
                .await
                .unwrap_or_else(|_| panic!("it never came; seen: {:?}", self.seen));
        }
    }

    async fn answer(&mut self, id: u64) -> Value {
        self.until(|frame| frame["id"] == id && frame["type"] != "welcome").await
    }

    async fn subscribe(&mut self, id: u64, room: RoomId, cursor: Option<u64>) -> Value {
        let cursor = cursor.map(|seq| Cursor { r#gen: Gen(1), seq: Seq(seq) });
        self.ask(id, Command::Subscribe(vec![(room, cursor)]));
        self.answer(id).await["rooms"][room.to_string()].clone()
    }

    fn events(&self) -> Vec<u64> {
        let events = self.seen.iter().filter(|frame| frame["type"] == "event");
        events.map(|frame| frame["seq"].as_u64().expect("a seq")).collect()
    }

    async fn event(&mut self, seq: u64) -> Value {
        self.until(|frame| frame["type"] == "event" && frame["seq"] == seq).await
    }
}
