//! Scenarios in which something else happens in the middle: refusals, crashes, kicks.

use async_trait::async_trait;

use super::*;
use crate::ports::history::HistoryError;
use crate::ports::members::{Member, Membership, Mention, Mentions, Summary};
use crate::vocab::Event;

/// A database that takes reads of membership and never answers them.
struct Hanging;

#[async_trait]
impl Members for Hanging {
    async fn role(&self, _: RoomRef, _: UserId) -> Result<Option<Role>, HistoryError> {
        std::future::pending().await
    }

    async fn list(
        &self,
        _: RoomRef,
        _: Option<UserId>,
        _: u16,
    ) -> Result<Vec<Member>, HistoryError> {
        std::future::pending().await
    }

    async fn read_mark(&self, _: RoomRef, _: UserId) -> Result<Seq, HistoryError> {
        std::future::pending().await
    }

    async fn rooms_of(
        &self,
        _: TenantId,
        _: UserId,
        _: Option<RoomId>,
        _: u16,
    ) -> Result<Vec<Membership>, HistoryError> {
        std::future::pending().await
    }

    async fn summaries(
        &self,
        _: TenantId,
        _: UserId,
        _: &[RoomId],
    ) -> Result<Vec<Summary>, HistoryError> {
        std::future::pending().await
    }

    async fn sizes(&self, _: TenantId, _: &[RoomId]) -> Result<Vec<u32>, HistoryError> {
        std::future::pending().await
    }

    async fn mentions(
        &self,
        _: TenantId,
        _: UserId,
        _: Option<Mention>,
        _: u16,
    ) -> Result<Mentions, HistoryError> {
        std::future::pending().await
    }

    async fn mark_read(&self, _: RoomRef, _: UserId, _: Seq) -> Result<Option<u64>, HistoryError> {
        std::future::pending().await
    }

    async fn bump(&self, _: TenantId, _: UserId) -> Result<u64, HistoryError> {
        std::future::pending().await
    }

    async fn revision(&self, _: TenantId, _: UserId) -> Result<u64, HistoryError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_send_does_not_hold_back_those_before_it() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    // All of them before the room takes the first: the last is one too many.
    for id in 1..=65 {
        client.send(id, room, Key::generate(), "hello");
    }
    assert_eq!(client.answer(65).await["code"], "busy");
    for id in 1..=64 {
        assert_eq!(client.answer(id).await["seq"], id + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn sends_that_a_crash_refused_keep_their_order_when_repeated() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: ann.tenant, room };
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    let keys: Vec<Key> = (0..3).map(|_| Key::generate()).collect();
    // A room that opens again takes the first into its queue; the others are in its mailbox when
    // it crashes.
    node.chat.crash_room(at);
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.send(1, room, keys[0], "first");
    tokio::task::yield_now().await;
    node.chat.crash_room(at);
    client.send(2, room, keys[1], "second");
    client.send(3, room, keys[2], "third");
    for id in 1..=3 {
        assert_eq!(client.answer(id).await["code"], "unavailable");
    }
    for (id, key) in (11..).zip(&keys) {
        client.send(id, room, *key, "again");
        assert_eq!(client.answer(id).await["seq"], id - 8);
    }
}

#[tokio::test(start_paused = true)]
async fn a_creator_who_could_not_join_is_the_owner_when_the_room_opens_again() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
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
    node.history.refuse_key(Key::of_creator(meta.id));
    let _whatever = node.say(&ann, meta.id, "hello").await;
    assert_eq!(node.chat.room(&ann, meta.id).await, Err(Refusal::no_such_room()));
    let node = node.restart().await;
    node.say(&ann, meta.id, "hello").await.expect("the owner");
    assert_eq!(node.chat.room(&ann, meta.id).await.map(|view| view.role), Ok(Some(Role::Owner)));
    node.chat.post(&ann, meta.id, Key::generate(), Change::Leave).await.expect("left");
    let node = node.restart().await;
    node.say(&ann, meta.id, "hello").await.expect_err("whoever left is not made owner again");
}

#[tokio::test(start_paused = true)]
async fn sends_keep_their_order_when_the_conversation_wakes_up_between_them() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let account = node.parts.accounts.user(bob.tenant, bob.user).await.expect("there");
    let direct = node.chat.open_direct(&ann, &account.expect("bob")).await.expect("opened").meta.id;
    let asleep = node.room(&ann, "asleep", RoomKind::Private).await;
    let node = node.restart().await;
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    // The session is busy with a room that takes a while to open.
    node.history.hold_commits();
    client.ask(1, Command::Subscribe(vec![(asleep, None)]));
    client.send(2, direct, Key::generate(), "first");
    let (chat, by) = (node.chat.clone(), bob.clone());
    let other =
        tokio::spawn(async move { chat.post(&by, direct, Key::generate(), say("hey")).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.send(3, direct, Key::generate(), "second");
    node.history.release_commits();
    let first = client.answer(2).await["seq"].as_u64();
    let second = client.answer(3).await["seq"].as_u64();
    assert!(first.is_some() && first < second, "{first:?} and {second:?}");
    other.await.expect("no panic").expect("said");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_follow_what_it_was_told_it_follows_is_ended() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let at = RoomRef { tenant: ann.tenant, room };
    let mut client = node.client(&ann);
    client.until(|frame| frame["type"] == "welcome").await;
    // The room answers at once. The lobby does not, and by the time that it is given up the room
    // has published more than its feed keeps, and does not answer any more either.
    node.history.hold_commits();
    client.ask(1, Command::Subscribe(vec![(room, None), (RoomId::lobby(ann.tenant), None)]));
    tokio::time::sleep(Duration::from_millis(10)).await;
    let sender = Sender { id: ann.user, username: ann.username.clone() };
    for seq in 3..103 {
        let content =
            Content::Message { body: "hot".into(), reply_to: None, thread: None, enc: false };
        let (sender, key, sent_at) = (sender.clone(), Key::generate(), Timestamp(0));
        let event = Event { seq: Seq(seq), sender, device: None, key, sent_at, content };
        node.chat.world.hub.publish(at, Gen(1), &Arc::new(event));
    }
    node.chat.crash_room(at);
    assert_eq!(client.answer(1).await["rooms"][room.to_string()]["head"], 2);
    client.until(|frame| frame["type"] == "bye").await;
    assert_eq!(client.ended.map(|closing| closing.code), Some(CloseCode::GoingAway));
}

#[tokio::test(start_paused = true)]
async fn sessions_too_many_are_closed_even_while_earlier_ones_do_not_end() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    // Nobody takes their frames, so that none of them ends although it is told to.
    let clients: Vec<_> = (0..limits::USER_SESSIONS_MAX + 10).map(|_| node.client(&ann)).collect();
    let open = clients.iter().filter(|client| !client.outbox.is_closing()).count();
    assert_eq!(open, limits::USER_SESSIONS_MAX);
}

#[tokio::test(start_paused = true)]
async fn a_change_does_not_wait_for_ever_for_what_its_room_has_to_read() {
    let node = Node::start().await;
    let (ann, bob) = (node.user("ann").await, node.user("bob").await);
    let room = node.room(&ann, "talk", RoomKind::Public).await;
    let parts = Parts { members: Arc::new(Hanging), ..node.parts.clone() };
    let chat = Chat::start(parts).await.expect("started");
    let joining = chat.post(&bob, room, Key::generate(), Change::Join);
    let refused = tokio::time::timeout(limits::COMMIT_WAIT * 2, joining).await.expect("answered");
    assert_eq!(refused.expect_err("not read").code, Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_followed_room_that_nobody_serves_for_a_while_is_started_again() {
    let node = Node::start().await;
    let directory = Arc::new(MemoryDirectory::new(NodeId(1)));
    let parts = Parts { directory: directory.clone(), ..node.parts.clone() };
    let node = Node { chat: Chat::start(parts.clone()).await.expect("started"), parts, ..node };
    let ann = node.user("ann").await;
    let room = node.room(&ann, "talk", RoomKind::Private).await;
    let mut client = node.client(&ann);
    client.subscribe(1, room, None).await;
    node.history.hold_commits();
    client.send(2, room, Key::generate(), "held");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let owned = directory.ownership(room.shard());
    directory.set_ownership(room.shard(), None);
    node.chat.crash_room(RoomRef { tenant: ann.tenant, room });
    node.history.release_commits();
    tokio::time::sleep(limits::ROOM_REOPEN * 4).await;
    directory.set_ownership(room.shard(), owned);
    assert_eq!(client.event(3).await["body"], "held");
}
