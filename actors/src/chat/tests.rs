//! Scenarios: the whole domain of one node over in-memory ports, in paused time.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::outbox::Closing;
use crate::ports::accounts::NewUser;
use crate::session::{Answer, Command, Cursor, PresenceStatus, Request};
use crate::testkit::MemoryAccounts;
use crate::testkit::directory::MemoryDirectory;
use crate::testkit::history::MemoryHistory;
use crate::vocab::{Content, NodeId, TenantId, Username};

mod races;

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
            Output::Gap { from, to, .. } => json!({"type": "gap", "from": from, "to": to}),
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
        let history = MemoryHistory::new();
        let parts = Parts {
            history: history.clone(),
            members: history.clone(),
            accounts: Arc::new(MemoryAccounts::default()),
            directory: Arc::new(MemoryDirectory::new(NodeId(1))),
            frames: Arc::new(Json),
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

#[tokio::test(start_paused = true)]
async fn two_people_talk_and_see_one_order() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let room = node.room(&ann, "talk", RoomKind::Public).await;
    node.chat.post(&bob, room, Key::generate(), Change::Join).await.expect("joined");
    let (mut a, mut b) = (node.client(&ann), node.client(&bob));
    a.subscribe(1, room, None).await;
    b.subscribe(1, room, None).await;
    for number in 0..50 {
        a.send(100 + number, room, Key::generate(), &format!("a{number}"));
        b.send(100 + number, room, Key::generate(), &format!("b{number}"));
    }
    // Creator's join, the room's event, bob's join, and a hundred messages.
    a.event(103).await;
    b.event(103).await;
    assert_eq!(a.events(), (4..=103).collect::<Vec<_>>());
    let keys = |client: &Client| -> Vec<Value> {
        client.seen.iter().filter(|f| f["type"] == "event").map(|f| f["key"].clone()).collect()
    };
    assert_eq!(keys(&a), keys(&b));
}

#[tokio::test(start_paused = true)]
async fn a_new_room_has_its_creator_as_owner_and_the_same_key_gives_the_same_room() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let name = RoomName::parse("ours").expect("a good name");
    let new =
        CreateRoom { key: Key::generate(), name, kind: RoomKind::Private, topic: Topic::default() };
    let room = node.chat.create_room(&ann, new.clone()).await.expect("created").meta.id;
    assert_eq!(node.chat.create_room(&ann, new).await.expect("again").meta.id, room);
    assert_eq!(node.chat.room(&ann, room).await.expect("seen").role, Some(Role::Owner));
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let kinds: Vec<_> =
        node.history.committed(at).iter().map(|event| event.content.kind().as_str()).collect();
    assert_eq!(kinds, ["member", "room"]);
}

#[tokio::test(start_paused = true)]
async fn a_room_made_in_the_directory_alone_is_healed_when_it_opens() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    // The node died between the directory and the log.
    let new = NewRoom {
        tenant: ann.tenant,
        id: RoomId::generate(),
        key: Key::generate(),
        kind: RoomKind::Private,
        name: RoomName::parse("half").expect("a good name"),
        topic: Topic::default(),
        by: ann.user,
        at: Timestamp::now(),
    };
    let meta = node.parts.directory.create_room(new).await.expect("created");
    node.say(&ann, meta.id, "hello").await.expect("the creator is its owner");
    assert_eq!(node.history.committed(meta.at()).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_a_room_loses_nothing_and_repeats_nothing() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    let mut keys = Vec::new();
    let mut id = 10;
    for round in 0..10 {
        for number in 0..5 {
            let key = Key::generate();
            keys.push(key);
            client.send(id, room, key, &format!("{round}.{number}"));
            id += 1;
        }
        assert!(node.chat.crash_room(at), "the room is awake");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    // Everybody who was told to repeat does.
    for (number, key) in (0..).zip(&keys) {
        let first = client.answer(10 + number).await;
        if first["type"] == "error" {
            assert_eq!(first["code"], "unavailable");
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.send(1_000 + number, room, *key, "again");
            assert_eq!(client.answer(1_000 + number).await["type"], "ok");
        }
    }
    let log = node.history.committed(at);
    assert_eq!(log.len(), 2 + keys.len(), "each key once");
    client.event(log.len() as u64).await;
    assert_eq!(client.events(), (3..=log.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_was_committed_while_the_room_crashed_still_reaches_its_followers() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: TenantId::MAIN, room };
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.history.hold_commits();
    client.send(2, room, Key::generate(), "held");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(node.history.waiting(), 1);
    node.chat.crash_room(at);
    assert_eq!(client.answer(2).await["code"], "unavailable");
    node.history.release_commits();
    // Nobody asks for the room again: its followers are enough.
    assert_eq!(client.event(3).await["body"], "held");
}

#[tokio::test(start_paused = true)]
async fn a_client_resumes_after_the_node_was_killed() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    for number in 0..10 {
        node.say(&ann, room, &number.to_string()).await.expect("said");
    }
    node.history.hold_commits();
    let mut before = node.client(&ann);
    before.subscribe(1, room, Some(0)).await;
    before.event(12).await;
    let key = Key::generate();
    before.send(2, room, key, "in flight");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let node = node.restart().await;
    let mut after = node.client(&ann);
    after.subscribe(1, room, Some(7)).await;
    after.send(2, room, key, "in flight");
    assert_eq!(after.answer(2).await["seq"], 13);
    after.event(13).await;
    assert_eq!(after.events(), (8..=13).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_replay_of_more_than_two_hundred_is_a_gap() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    for number in 0..300 {
        node.say(&ann, room, &number.to_string()).await.expect("said");
    }
    let mut client = node.client(&ann);
    client.subscribe(1, room, Some(50)).await;
    let gap = client.until(|frame| frame["type"] == "gap").await;
    assert_eq!((&gap["from"], &gap["to"]), (&json!(51), &json!(302)));
    // From history where the ring does not reach back, with no seam.
    let node = node.restart().await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, Some(200)).await;
    client.event(302).await;
    assert_eq!(client.events(), (201..=302).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_session_follows_a_thousand_rooms() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let mut rooms = Vec::new();
    for number in 0..1_000 {
        rooms.push(node.room(&ann, &format!("room {number}"), RoomKind::Private).await);
    }
    let mut client = node.client(&ann);
    for (id, chunk) in (1..).zip(rooms.chunks(limits::SUBSCRIBE_ROOMS_MAX)) {
        client.ask(id, Command::Subscribe(chunk.iter().map(|room| (*room, None)).collect()));
        client.answer(id).await;
    }
    for (id, room) in (1_000..).zip(&rooms) {
        client.send(id, *room, Key::generate(), "hello");
        assert!(
            ["ok", "error"].contains(&client.answer(id).await["type"].as_str().expect("a type"))
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(client.events().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_room_has_ten_thousand_followers() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = RoomId::lobby(TenantId::MAIN);
    let mut clients = Vec::new();
    for number in 0..10_000 {
        let caller = Caller { user: UserId::generate(), ..ann.clone() };
        let mut client = node.client(&caller);
        client.subscribe(number, room, None).await;
        clients.push(client);
    }
    node.say(&ann, room, "hello all").await.expect("said");
    for client in &mut clients {
        client.event(1).await;
    }
    assert_eq!(node.chat.followers(RoomRef { tenant: TenantId::MAIN, room }), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_private_room_and_a_missing_one_look_the_same() {
    let node = Node::start().await;
    let (ann, eve) = (node.user("ann").await, node.user("eve").await);
    let private = node.room(&ann, "secret", RoomKind::Private).await;
    let direct = {
        let bob = node.user("bob").await;
        let bob = node.parts.accounts.user(bob.tenant, bob.user).await.expect("there");
        node.chat.open_direct(&ann, &bob.expect("bob")).await.expect("opened").meta.id
    };
    let mut client = node.client(&eve);
    let missing = RoomId::generate();
    for (id, room) in (1..).zip([private, direct, missing]) {
        assert_eq!(client.subscribe(id, room, None).await, json!({"error": "not_found"}));
        let refused = node.say(&eve, room, "hi").await.expect_err("not a member");
        assert_eq!(refused, Refusal::no_such_room());
        assert_eq!(node.chat.room(&eve, room).await, Err(Refusal::no_such_room()));
        let history = node.chat.history(&eve, room, Range::Latest, 10, View::Log).await;
        assert_eq!(history, Err(Refusal::no_such_room()));
        let members = node.chat.members(&eve, room, None, 10).await;
        assert_eq!(members, Err(Refusal::no_such_room()));
    }
    assert!(node.chat.rooms(&eve, None, 50).await.expect("listed").0.len() == 1, "the lobby");
}

#[tokio::test(start_paused = true)]
async fn a_direct_conversation_is_the_same_from_both_sides() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let account = |caller: &Caller| {
        let (accounts, tenant, user) = (node.parts.accounts.clone(), caller.tenant, caller.user);
        async move { accounts.user(tenant, user).await.expect("there").expect("a user") }
    };
    let one = node.chat.open_direct(&ann, &account(&bob).await).await.expect("opened");
    let two = node.chat.open_direct(&bob, &account(&ann).await).await.expect("opened");
    assert_eq!(one.meta.id, two.meta.id);
    node.say(&ann, one.meta.id, "psst").await.expect("said");
    node.say(&bob, one.meta.id, "yes?").await.expect("said");
    assert_eq!(node.history.committed(one.meta.at()).len(), 4);
    let leave = node.chat.post(&ann, one.meta.id, Key::generate(), Change::Leave).await;
    assert_eq!(leave.expect_err("nobody leaves it").code, Code::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_rename_is_an_event_and_survives_a_crash_in_between() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "before", RoomKind::Public).await;
    let name = RoomName::parse("after").ok();
    let change = RoomChange { name, ..RoomChange::default() };
    let view = node.chat.change_room(&ann, room, change).await.expect("renamed");
    assert_eq!(view.meta.version, 2);
    // This one reaches the directory and nothing else.
    let topic = Topic::parse("things").ok();
    let at = view.meta.at();
    let node = node.restart().await;
    let change = RoomChange { topic, ..RoomChange::default() };
    node.parts.directory.change_room(at, change, ann.user).await.expect("changed");
    node.say(&ann, room, "hi").await.expect("said");
    let versions: Vec<u64> = node
        .history
        .committed(at)
        .iter()
        .filter_map(|event| match event.content {
            Content::Room { version, .. } => Some(version),
            _ => None,
        })
        .collect();
    assert_eq!(versions, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn the_database_goes_away_and_comes_back() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.say(&ann, room, "before").await.expect("said");
    node.history.set_away(true);
    let key = Key::generate();
    let refused = node.chat.post(&ann, room, key, say("during")).await.expect_err("away");
    assert_eq!(refused.code, Code::Unavailable);
    assert!(refused.retry_after.is_some());
    node.history.set_away(false);
    let posted = node.chat.post(&ann, room, key, say("during")).await.expect("back");
    assert_eq!((posted.seq, posted.repeated), (Seq(4), false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_wait_for_the_database_for_ever() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.history.hold_commits();
    let key = Key::generate();
    let refused = node.chat.post(&ann, room, key, say("slow")).await.expect_err("too slow");
    assert_eq!(refused.code, Code::Unavailable);
    node.history.release_commits();
    let posted = node.chat.post(&ann, room, key, say("slow")).await.expect("committed");
    assert_eq!(posted.seq, Seq(3));
    assert_eq!(node.history.committed(RoomRef { tenant: ann.tenant, room }).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_fenced_room_stops_at_once() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    node.history.take_over(room.shard(), crate::vocab::Epoch(1_000_000));
    for _ in 0..3 {
        let refused = node.say(&ann, room, "mine?").await.expect_err("fenced");
        assert_eq!(refused.code, Code::Unavailable);
    }
    assert_eq!(node.history.committed(RoomRef { tenant: ann.tenant, room }).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_client_coming_again_replaces_its_old_session() {
    let node = Node::start().await;
    let (ann, eve) = (node.user("ann").await, node.user("eve").await);
    let mut old = node.client(&ann);
    old.until(|frame| frame["type"] == "welcome").await;
    // Somebody else's claim changes nothing.
    let _eve = node.client_after(&eve, Some(old.session.id()));
    let _new = node.client_after(&ann, Some(old.session.id()));
    old.until(|frame| frame["type"] == "bye").await;
    assert_eq!(old.ended.map(|closing| closing.code), Some(CloseCode::Replaced));
}

#[tokio::test(start_paused = true)]
async fn a_user_is_told_of_their_own_marks_and_rooms_on_all_devices() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut phone = node.client(&bob);
    phone.until(|frame| frame["type"] == "welcome").await;
    let add = Change::Add { user: bob.user, username: "bob".into(), role: Role::Member };
    node.chat.post(&ann, room, Key::generate(), add).await.expect("added");
    let me = phone.until(|frame| frame["type"] == "me").await;
    assert_eq!(me["role"], "member");
    let laptop = node.client(&bob);
    laptop.ask(1, Command::Read { room, seq: Seq(2) });
    let me = phone.until(|frame| frame["read"] == 2).await;
    assert_eq!(me["rev"], 2);
}

#[tokio::test(start_paused = true)]
async fn presence_reaches_those_who_watch() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let mut watcher = node.client(&ann);
    watcher.ask(1, Command::Presence { status: None, watch: Some(vec![bob.user]) });
    watcher.until(|frame| frame["status"] == "Offline").await;
    let other = node.client(&bob);
    watcher.until(|frame| frame["status"] == "Online").await;
    other.ask(1, Command::Presence { status: Some(PresenceStatus::Away), watch: None });
    watcher.until(|frame| frame["status"] == "Away").await;
    watcher.seen.clear();
    drop(other);
    watcher.until(|frame| frame["status"] == "Offline").await;
}

#[tokio::test(start_paused = true)]
async fn presence_of_one_user_does_not_wait_for_the_grace_of_another() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let shard = |user: UserId, last: u8| {
        let mut bytes = *user.0.as_bytes();
        bytes[15] = last;
        UserId(uuid::Uuid::from_bytes(bytes))
    };
    let goes = Caller { user: shard(ann.user, 7), ..ann.clone() };
    let comes = Caller { user: shard(bob.user, 7), ..bob };
    let mut watcher = node.client(&ann);
    watcher.ask(1, Command::Presence { status: None, watch: Some(vec![comes.user]) });
    let going = node.client(&goes);
    watcher.until(|frame| frame["status"] == "Offline").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(going);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let began = tokio::time::Instant::now();
    let _coming = node.client(&comes);
    watcher.until(|frame| frame["status"] == "Online").await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_presence_is_refused_before_it_reaches_anybody() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    for id in 1..=100 {
        client.ask(id, Command::Presence { status: None, watch: Some(vec![ann.user]) });
    }
    for id in 1..=100 {
        let ok = id <= u64::from(limits::EPHEMERAL_RATE_PER_SECOND);
        let told = client.answer(id).await;
        assert_eq!(told["type"], if ok { "ok" } else { "error" });
        assert!(ok || told["code"] == "rate_limited", "{told}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    client.ask(101, Command::Presence { status: None, watch: None });
    assert_eq!(client.answer(101).await["type"], "ok");
}

#[tokio::test(start_paused = true)]
async fn a_drain_answers_every_send_and_says_bye() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.history.hold_commits();
    for id in 10..20 {
        client.send(id, room, Key::generate(), "in flight");
    }
    let chat = node.chat.clone();
    let draining = tokio::spawn(async move { chat.drain().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send(20, room, Key::generate(), "too late");
    assert_eq!(client.answer(20).await["code"], "unavailable");
    node.history.release_commits();
    for id in 10..20 {
        assert_eq!(client.answer(id).await["type"], "ok");
    }
    client.until(|frame| frame["type"] == "bye").await;
    drop(client);
    draining.await.expect("drained");
    assert!(node.chat.open_session(ann, Dialect::V1, None, None).is_err());
}

#[tokio::test(start_paused = true)]
async fn an_idle_room_goes_to_sleep_and_wakes_up_with_its_log() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    assert_eq!(node.chat.rooms_awake(), 1);
    tokio::time::sleep(limits::ROOM_IDLE * 2).await;
    assert_eq!(node.chat.rooms_awake(), 0);
    assert_eq!(node.say(&ann, room, "awake").await.map(|posted| posted.seq), Ok(Seq(3)));
}

#[tokio::test(start_paused = true)]
async fn sends_in_flight_behind_a_refused_one_are_refused_too() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    node.history.set_away(true);
    let keys: Vec<Key> = (0..5).map(|_| Key::generate()).collect();
    client.send(1, room, keys[0], "0");
    assert_eq!(client.answer(1).await["code"], "unavailable");
    node.history.set_away(false);
    // The client had sent these before it heard of the refusal.
    for (id, key) in (2..).zip(&keys[1..]) {
        client.send(id, room, *key, "later");
        assert_eq!(client.answer(id).await["code"], "unavailable");
    }
    for (id, key) in (10..).zip(&keys) {
        client.send(id, room, *key, "in order");
        assert_eq!(client.answer(id).await["seq"], id - 7);
    }
}

#[tokio::test(start_paused = true)]
async fn made_up_direct_conversations_wake_no_room() {
    let node = Node::start().await;
    let eve = node.user("eve").await;
    let mut client = node.client(&eve);
    for id in 0..20 {
        let made_up = RoomId::direct(eve.tenant, eve.user, UserId::generate());
        client.send(id, made_up, Key::generate(), "anybody?");
        assert_eq!(client.answer(id).await["code"], "not_found");
    }
    assert_eq!(node.chat.rooms_awake(), 0);
}
