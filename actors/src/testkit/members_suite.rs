//! What every [`Members`](crate::ports::members::Members) must do beside a `History` that writes its rows.

use super::history_room::{TestRoom, draft, keyed};
use super::history_suite::{Store, new_room};
use super::{mentions_suite, summaries_suite};
use crate::ports::history::Outcome;
use crate::vocab::{
    Content, Draft, Epoch, Key, MemberChange, Role, RoomId, RoomRef, Seq, TenantId, Timestamp,
    UserId,
};

/// Runs every case.
///
/// # Panics
/// When the implementation breaks its contract; the case's name is the last one printed.
pub async fn all(store: &dyn Store) {
    println!("rows_follow_member_events");
    rows_follow_member_events(store).await;
    println!("the_last_member_event_of_a_batch_decides");
    the_last_member_event_of_a_batch_decides(store).await;
    println!("a_repeated_old_join_changes_nothing");
    a_repeated_old_join_changes_nothing(store).await;
    println!("the_lobby_has_no_rows");
    the_lobby_has_no_rows(store).await;
    println!("lists_go_page_by_page");
    lists_go_page_by_page(store).await;
    println!("a_read_mark_never_goes_back");
    a_read_mark_never_goes_back(store).await;
    println!("a_revision_grows_by_one");
    a_revision_grows_by_one(store).await;
    summaries_suite::all(store).await;
    mentions_suite::all(store).await;
}

async fn somebody(store: &dyn Store, name: &str) -> UserId {
    let user = UserId::generate();
    store.add_user(user, &format!("{name}-{user}")).await;
    user
}

async fn opened(store: &dyn Store, at: RoomRef) -> TestRoom {
    TestRoom::open(&store.history(), at, Epoch(1)).await.expect("the room opens")
}

fn changed(user: UserId, change: MemberChange, at: i64) -> Draft {
    let mut draft = draft(user, Content::Member { user, username: "x".into(), change });
    draft.sent_at = Timestamp(at);
    draft
}

const fn joined(role: Role) -> MemberChange {
    MemberChange::Joined { role }
}

async fn role(store: &dyn Store, room: RoomRef, user: UserId) -> Option<Role> {
    store.members().role(room, user).await.expect("answered")
}

async fn rows_follow_member_events(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = opened(store, new_room()).await;
    assert_eq!(role(store, room.at, ann).await, None);
    room.settle(changed(ann, joined(Role::Owner), 10)).await;
    room.settle(changed(bob, joined(Role::Member), 20)).await;
    assert_eq!(role(store, room.at, ann).await, Some(Role::Owner));
    assert_eq!(opened(store, room.at).await.opened.members, 2);
    room.settle(changed(bob, MemberChange::Role { role: Role::Moderator }, 30)).await;
    let list = store.members().list(room.at, None, 10).await.expect("answered");
    let bobs = list.iter().find(|member| member.user == bob).expect("bob is listed");
    assert_eq!((bobs.role, bobs.joined_at), (Role::Moderator, Timestamp(20)));
    assert_eq!(&*bobs.username, format!("bob-{bob}"));
    room.settle(changed(bob, MemberChange::Kicked, 40)).await;
    assert_eq!(role(store, room.at, bob).await, None);
    room.settle(changed(bob, joined(Role::Member), 50)).await;
    let list = store.members().list(room.at, None, 10).await.expect("answered");
    let bobs = list.iter().find(|member| member.user == bob).expect("bob is back");
    assert_eq!((bobs.role, bobs.joined_at), (Role::Member, Timestamp(50)));
    room.settle(changed(ann, MemberChange::Left, 60)).await;
    assert_eq!(opened(store, room.at).await.opened.members, 1);
}

async fn the_last_member_event_of_a_batch_decides(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = opened(store, new_room()).await;
    for draft in [
        changed(ann, joined(Role::Member), 1),
        changed(bob, joined(Role::Member), 2),
        changed(ann, MemberChange::Left, 3),
        changed(bob, MemberChange::Kicked, 4),
        changed(bob, joined(Role::Moderator), 5),
        changed(bob, MemberChange::Role { role: Role::Owner }, 6),
    ] {
        room.post(draft).expect("taken");
    }
    room.outcomes().await;
    let list = store.members().list(room.at, None, 10).await.expect("answered");
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].user, list[0].role), (bob, Role::Owner));
    assert_eq!(list[0].joined_at, Timestamp(5));
}

async fn a_repeated_old_join_changes_nothing(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let mut room = opened(store, new_room()).await;
    let change = joined(Role::Owner);
    let content = Content::Member { user: ann, username: "ann".into(), change };
    let join = keyed(ann, Key::generate(), content);
    room.settle(join.clone()).await;
    // The old key behind the leave, in the same batch and in a later one.
    room.post(changed(ann, MemberChange::Left, 9)).expect("taken");
    room.post(join.clone()).expect("taken");
    room.outcomes().await;
    assert_eq!(role(store, room.at, ann).await, None);
    assert!(matches!(room.settle(join).await, Outcome::Repeated { seq: Seq(1), .. }));
    assert_eq!(role(store, room.at, ann).await, None);
}

async fn the_lobby_has_no_rows(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let tenant = TenantId::MAIN;
    let mut lobby = opened(store, RoomRef { tenant, room: RoomId::lobby(tenant) }).await;
    lobby.settle(changed(ann, joined(Role::Member), 1)).await;
    assert_eq!(role(store, lobby.at, ann).await, None);
    let rooms = store.members().rooms_of(tenant, ann, None, 10).await.expect("answered");
    assert_eq!(rooms, []);
}

async fn lists_go_page_by_page(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let mut room = opened(store, new_room()).await;
    let mut users = vec![ann];
    for n in 0..6 {
        users.push(somebody(store, &format!("u{n}")).await);
    }
    users.sort();
    for user in users.iter().rev() {
        room.post(changed(*user, joined(Role::Member), 1)).expect("taken");
    }
    room.outcomes().await;
    let members = store.members();
    let mut seen = Vec::new();
    loop {
        let page = members.list(room.at, seen.last().copied(), 3).await.expect("answered");
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|member| member.user));
    }
    assert_eq!(seen, users);

    let mut rooms = vec![room.at.room];
    for _ in 0..4 {
        let mut another = opened(store, new_room()).await;
        another.settle(changed(ann, joined(Role::Owner), 1)).await;
        rooms.push(another.at.room);
    }
    rooms.sort();
    members.mark_read(room.at, ann, Seq(3)).await.expect("answered");
    let mut seen: Vec<RoomId> = Vec::new();
    loop {
        let after = seen.last().copied();
        let page = members.rooms_of(TenantId::MAIN, ann, after, 2).await.expect("answered");
        if page.is_empty() {
            break;
        }
        for membership in page {
            let read = if membership.room == room.at.room { Seq(3) } else { Seq(0) };
            assert_eq!(membership.read, read);
            seen.push(membership.room);
        }
    }
    assert_eq!(seen, rooms);
}

async fn a_read_mark_never_goes_back(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let at = new_room();
    let members = store.members();
    assert_eq!(members.mark_read(at, ann, Seq(5)).await.expect("answered"), Some(1));
    assert_eq!(members.mark_read(at, ann, Seq(5)).await.expect("answered"), None);
    assert_eq!(members.mark_read(at, ann, Seq(4)).await.expect("answered"), None);
    assert_eq!(members.mark_read(at, ann, Seq(6)).await.expect("answered"), Some(2));
    assert_eq!(members.revision(TenantId::MAIN, ann).await.expect("answered"), 2);
}

async fn a_revision_grows_by_one(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let members = store.members();
    assert_eq!(members.revision(TenantId::MAIN, ann).await.expect("answered"), 0);
    for expected in 1..=3 {
        let got = members.bump(TenantId::MAIN, ann).await.expect("answered");
        assert_eq!(got, expected);
    }
    assert_eq!(members.revision(TenantId::MAIN, ann).await.expect("answered"), 3);
}
