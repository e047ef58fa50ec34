//! Rooms: who is in them, who sees them, and what they are told.

use super::*;

#[test]
fn a_list_that_got_no_turn_is_told_to_come_again() {
    let refusal = crate::room::actor::unavailable(&crate::ports::HistoryError::Busy);
    assert_eq!(refusal.code, Code::Busy);
    assert_eq!(refusal.retry_after, Some(limits::LISTS_RETRY));
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

/// The list ended at a room that the directory had lost: those behind it were never shown.
#[tokio::test(start_paused = true)]
async fn a_room_that_no_node_knows_does_not_end_the_list() {
    let directory = Arc::new(MemoryDirectory::new(NodeId(1)));
    let node = Node::with(directory.clone()).await;
    let ann = node.user("ann").await;
    let mut rooms = vec![RoomId::lobby(TenantId::MAIN)];
    for name in ["one", "two", "three"] {
        rooms.push(node.room(&ann, name, RoomKind::Private).await);
    }
    directory.forget(TenantId::MAIN, rooms.remove(1));
    rooms.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let (page, more) = node.chat.rooms(&ann, after, 1).await.expect("listed");
        listed.extend(page.iter().map(|view| view.meta.id));
        after = listed.last().copied();
        if !more {
            break;
        }
    }
    assert_eq!(listed, rooms);
    // Whether there is such a room is not known while the directory is away.
    directory.cut();
    let refused = node.chat.rooms(&ann, None, 50).await.expect_err("a room is missing");
    assert_eq!(refused.code, Code::Unavailable);
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

#[tokio::test(start_paused = true)]
async fn what_the_directory_knows_of_a_room_stands_in_the_database_too() {
    let node = Node::start().await;
    let ann = node.user("ann").await;
    let room = node.room(&ann, "one", RoomKind::Public).await;
    let name = Some(RoomName::parse("two").expect("a good name"));
    let change = RoomChange { name, ..RoomChange::default() };
    let view = node.chat.change_room(&ann, room, change).await.expect("changed");
    while node.history.projected_rooms().first() != Some(&*view.meta) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A direct conversation has no entry, so that there is nothing to lose.
    assert_eq!(node.history.projected_rooms().len(), 1);
}
