//! What every [`History`] must do, whatever is behind it.

use std::sync::Arc;

use async_trait::async_trait;

use super::history_room::{TestRoom, draft, keyed, message};
use crate::limits;
use crate::ports::history::{History, HistoryError, NotTakenWhy, Outcome, Range};
use crate::ports::members::Members;
use crate::vocab::{
    Content, DeviceId, Epoch, Event, Key, MemberChange, Role, RoomId, RoomKind, RoomMeta, RoomName,
    RoomRef, RoomSettings, Seq, TenantId, Timestamp, Topic, UserId,
};

/// One process of an implementation under test. Its log may hold other rooms.
#[async_trait]
pub trait Store: Send + Sync {
    /// Its history.
    fn history(&self) -> Arc<dyn History>;
    /// Its rows of membership.
    fn members(&self) -> Arc<dyn Members>;
    /// Makes an account with this name.
    async fn add_user(&self, user: UserId, username: &str);
    /// Another process over the same data, while this one lives on.
    async fn another_process(&self) -> Box<dyn Store>;
    /// Every projected room, in any order.
    async fn projected(&self) -> Vec<RoomMeta>;
}

/// Runs every case. `store` is closed afterwards.
///
/// # Panics
/// When the implementation breaks its contract; the case's name is the last one printed.
pub async fn all(store: &dyn Store) {
    println!("a_new_room_is_empty");
    a_new_room_is_empty(store).await;
    println!("a_log_has_no_holes_and_begins_at_one");
    a_log_has_no_holes_and_begins_at_one(store).await;
    println!("a_repeated_key_is_answered_with_the_first_seq");
    a_repeated_key_is_answered_with_the_first_seq(store).await;
    println!("hostile_keys_hurt_nobody");
    hostile_keys_hurt_nobody(store).await;
    println!("every_content_comes_back_as_it_went_in");
    every_content_comes_back_as_it_went_in(store).await;
    println!("pages_walk_the_log_both_ways");
    pages_walk_the_log_both_ways(store).await;
    println!("a_timeline_page_has_the_notes_on_its_entries");
    a_timeline_page_has_the_notes_on_its_entries(store).await;
    println!("a_delete_blanks_the_message_and_its_edits");
    a_delete_blanks_the_message_and_its_edits(store).await;
    println!("a_repeated_delete_blanks_nothing");
    a_repeated_delete_blanks_nothing(store).await;
    println!("single_look_ups_find_what_was_committed");
    single_look_ups_find_what_was_committed(store).await;
    println!("many_rooms_share_a_lane_without_mixing");
    many_rooms_share_a_lane_without_mixing(store).await;
    println!("a_later_owner_fences_the_earlier_one");
    a_later_owner_fences_the_earlier_one(store).await;
    println!("another_process_of_the_same_epoch_fences_the_first");
    another_process_of_the_same_epoch_fences_the_first(store).await;
    println!("an_append_under_another_epoch_is_fenced");
    an_append_under_another_epoch_is_fenced(store).await;
    println!("a_room_is_projected_with_all_that_the_directory_knows");
    a_room_is_projected_with_all_that_the_directory_knows(store).await;
    println!("closing_settles_everything_and_takes_no_more");
    closing_settles_everything_and_takes_no_more(store).await;
}

/// The rooms of most cases are opened under this epoch; cases about fences use higher ones.
const EPOCH: Epoch = Epoch(1);

/// A room whose shard no other case uses, so that its fence can be raised.
fn room_of_shard(shard: u8) -> RoomRef {
    let mut bytes = *RoomId::generate().0.as_bytes();
    bytes[15] = shard;
    RoomRef { tenant: TenantId::MAIN, room: RoomId(uuid::Uuid::from_bytes(bytes)) }
}

/// Shards that cases about fences keep to themselves.
const FENCE_SHARDS: std::ops::RangeInclusive<u8> = 250..=255;

/// A room of the main tenant that nobody used before, in a shard whose fence no case raises.
#[must_use]
pub fn new_room() -> RoomRef {
    loop {
        let room = RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() };
        if !FENCE_SHARDS.contains(&room.shard().0) {
            return room;
        }
    }
}

async fn opened(store: &dyn Store, room: RoomRef) -> TestRoom {
    TestRoom::open(&store.history(), room, EPOCH).await.expect("the room opens")
}

async fn somebody(store: &dyn Store) -> UserId {
    let user = UserId::generate();
    store.add_user(user, &format!("user-{user}")).await;
    user
}

fn committed(seq: u64) -> Outcome {
    Outcome::Committed { seq: Seq(seq) }
}

pub(super) async fn whole_log(history: &dyn History, room: RoomRef) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let after = events.last().map_or(Seq(0), |event| event.seq);
        let page = history.log(room, Range::After(after), 100).await.expect("a page");
        events.extend(page.events);
        if !page.more {
            return events;
        }
    }
}

async fn assert_no_holes(history: &dyn History, room: RoomRef) -> Vec<Event> {
    let events = whole_log(history, room).await;
    for (place, event) in events.iter().enumerate() {
        assert_eq!(event.seq.0, place as u64 + 1, "the log of {room} has no holes");
    }
    events
}

async fn a_new_room_is_empty(store: &dyn Store) {
    let room = opened(store, new_room()).await;
    assert_eq!(room.opened.head, Seq(0));
    assert_eq!(room.opened.first, Seq(1));
    assert_eq!((room.opened.members, room.opened.asked), (0, None));
    let page = store.history().log(room.at, Range::Latest, 10).await.expect("a page");
    assert_eq!((page.events.len(), page.more, page.as_of), (0, false, Seq(0)));
}

async fn a_log_has_no_holes_and_begins_at_one(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    for n in 0..1_500 {
        room.post(draft(user, message(&format!("m{n}")))).expect("taken");
    }
    for (place, (ticket, outcome)) in room.outcomes().await.into_iter().enumerate() {
        assert_eq!(ticket, place as u64, "outcomes come in the order of the queue");
        assert_eq!(outcome, committed(ticket + 1));
    }
    assert!(room.batch_sizes().iter().all(|size| *size <= limits::LANE_BATCH_EVENTS_MAX));
    let events = assert_no_holes(&*store.history(), room.at).await;
    assert_eq!(events.len(), 1_500);
    assert_eq!(events[7].content, message("m7"));
    assert_eq!(&*events[7].sender.username, format!("user-{user}"));
    assert_eq!(opened(store, room.at).await.opened.head, Seq(1_500));
}

async fn a_repeated_key_is_answered_with_the_first_seq(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    let key = Key::generate();
    let first = keyed(user, key, message("one"));
    let sent_at = first.sent_at;
    // Twice in one batch, most likely, and once afterwards.
    room.post(first.clone()).expect("taken");
    room.post(draft(user, message("two"))).expect("taken");
    room.post(first.clone()).expect("taken");
    room.post(draft(user, message("three"))).expect("taken");
    let repeated = Outcome::Repeated { seq: Seq(1), sent_at };
    let outcomes: Vec<_> = room.outcomes().await.into_iter().map(|(_, o)| o).collect();
    assert_eq!(outcomes, [committed(1), committed(2), repeated.clone(), committed(3)]);
    assert_eq!(room.settle(first).await, repeated);
    assert_eq!(room.settle(draft(user, message("four"))).await, committed(4));
    assert_no_holes(&*store.history(), room.at).await;
}

async fn hostile_keys_hurt_nobody(store: &dyn Store) {
    let (good, bad) = (somebody(store).await, somebody(store).await);
    let mut room = opened(store, new_room()).await;
    let mut other = opened(store, new_room()).await;
    let old: Vec<Key> = (0..20).map(|_| Key::generate()).collect();
    for key in &old {
        room.post(keyed(bad, *key, message("old"))).expect("taken");
    }
    room.outcomes().await;
    let mut expected = Vec::new();
    let mut good_keys = Vec::new();
    for round in 0..50 {
        // An old key, the same key twice, the good user's key, and a key of another room.
        room.post(keyed(bad, old[round % old.len()], message("again"))).expect("taken");
        let good_key = Key::generate();
        good_keys.push(good_key);
        let ticket = room.post(keyed(good, good_key, message("good"))).expect("taken");
        room.post(keyed(bad, good_key, message("stolen"))).expect("taken");
        room.post(keyed(bad, good_key, message("stolen twice"))).expect("taken");
        other.post(keyed(bad, good_key, message("elsewhere"))).expect("taken");
        expected.push((ticket, 20 + 2 * round as u64 + 1));
    }
    let outcomes = room.outcomes().await;
    for (ticket, seq) in expected {
        let found = outcomes.iter().find(|(t, _)| *t == ticket).expect("settled");
        assert_eq!(found.1, committed(seq), "a good message is neither moved nor failed");
    }
    assert!(other.outcomes().await.iter().all(|(_, o)| matches!(o, Outcome::Committed { .. })));
    let events = assert_no_holes(&*store.history(), room.at).await;
    assert_eq!(events.len(), 120);
    assert_eq!(events.iter().filter(|event| good_keys.contains(&event.key)).count(), 100);
}

async fn every_content_comes_back_as_it_went_in(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    let name = RoomName::parse("a room").expect("a good name");
    let contents = [
        Content::Message {
            body: "héllo \u{0} 👋 '; DROP TABLE event --".into(),
            reply_to: Some(Seq(1)),
            thread: Some(Seq(1)),
            enc: true,
        },
        Content::Edit { target: Seq(1), body: "b".into(), enc: true },
        Content::Reaction { target: Seq(1), emoji: "👍".into(), on: true },
        Content::Pin { target: Seq(1), on: true },
        Content::Member {
            user,
            username: "ann".into(),
            change: MemberChange::Joined { role: Role::Owner },
        },
        Content::Member { user, username: "ann".into(), change: MemberChange::Left },
        Content::Room { name: Some(name), topic: Topic::default(), version: 3 },
        message(&"x".repeat(limits::ENC_BODY_BYTES_MAX)),
        Content::Delete { target: Seq(99) },
    ];
    let mut sent = Vec::new();
    for content in contents {
        let mut draft = draft(user, content);
        draft.device = Some(DeviceId::generate());
        sent.push(draft.clone());
        room.post(draft).expect("taken");
    }
    room.outcomes().await;
    let events = assert_no_holes(&*store.history(), room.at).await;
    assert_eq!(events.len(), sent.len());
    for (event, draft) in events.into_iter().zip(sent) {
        assert_eq!(event.content, draft.content);
        assert_eq!((event.device, event.key), (draft.device, draft.key));
        assert_eq!((event.sent_at, event.sender.id), (draft.sent_at, user));
    }
}

async fn pages_walk_the_log_both_ways(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    for n in 1..=25 {
        room.post(draft(user, message(&n.to_string()))).expect("taken");
    }
    room.outcomes().await;
    let history = store.history();
    let read = async |range, limit| {
        let page = history.log(room.at, range, limit).await.expect("a page");
        assert_eq!((page.as_of, page.first), (Seq(25), Seq(1)));
        let seqs: Vec<u64> = page.events.iter().map(|event| event.seq.0).collect();
        (seqs, page.more)
    };
    assert_eq!(read(Range::Latest, 3).await, (vec![23, 24, 25], true));
    assert_eq!(read(Range::Latest, 25).await, ((1..=25).collect(), false));
    assert_eq!(read(Range::Before(Seq(23)), 2).await, (vec![21, 22], true));
    assert_eq!(read(Range::Before(Seq(3)), 2).await, (vec![1, 2], false));
    assert_eq!(read(Range::Before(Seq(1)), 2).await, (vec![], false));
    assert_eq!(read(Range::After(Seq(0)), 2).await, (vec![1, 2], true));
    assert_eq!(read(Range::After(Seq(23)), 2).await, (vec![24, 25], false));
    assert_eq!(read(Range::After(Seq(25)), 2).await, (vec![], false));
    assert_eq!(read(Range::After(Seq(u64::MAX)), 2).await, (vec![], false));
    assert_eq!(read(Range::Before(Seq(u64::MAX)), 1).await, (vec![25], true));
}

async fn a_timeline_page_has_the_notes_on_its_entries(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    let react = |target| Content::Reaction { target: Seq(target), emoji: "+".into(), on: true };
    let edit = |target| Content::Edit { target: Seq(target), body: "new".into(), enc: false };
    for content in [
        message("one"),
        message("two"),
        react(1),
        react(2),
        Content::Member {
            user,
            username: "ann".into(),
            change: MemberChange::Joined { role: Role::Member },
        },
        Content::Message { body: "six".into(), reply_to: Some(Seq(1)), thread: None, enc: false },
        edit(2),
        react(6),
        Content::Pin { target: Seq(2), on: true },
    ] {
        room.post(draft(user, content)).expect("taken");
    }
    room.outcomes().await;
    let history = store.history();
    let read = async |range, limit| {
        let page = history.timeline(room.at, range, limit).await.expect("a page");
        assert_eq!(page.as_of, Seq(9));
        let seqs = |events: &[Event]| events.iter().map(|event| event.seq.0).collect::<Vec<_>>();
        (seqs(&page.entries), seqs(&page.notes), page.more)
    };
    assert_eq!(read(Range::Latest, 2).await, (vec![5, 6], vec![8], true));
    assert_eq!(read(Range::Before(Seq(5)), 1).await, (vec![2], vec![4, 7, 9], true));
    assert_eq!(read(Range::Latest, 50).await, (vec![1, 2, 5, 6], vec![3, 4, 7, 8, 9], false));
    assert_eq!(read(Range::After(Seq(2)), 1).await, (vec![5], vec![], true));
    assert_eq!(read(Range::After(Seq(6)), 1).await, (vec![], vec![], false));
}

async fn a_delete_blanks_the_message_and_its_edits(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    let edit = |body: &str| Content::Edit { target: Seq(1), body: body.into(), enc: false };
    room.settle(draft(user, message("secret"))).await;
    room.settle(draft(user, message("stays"))).await;
    room.settle(draft(user, edit("secret too"))).await;
    // In one batch, most likely: an edit and the delete.
    room.post(draft(user, edit("secret as well"))).expect("taken");
    room.post(draft(user, Content::Edit { target: Seq(2), body: "good".into(), enc: false }))
        .expect("taken");
    room.post(draft(user, Content::Delete { target: Seq(1) })).expect("taken");
    room.post(draft(user, message("after"))).expect("taken");
    room.outcomes().await;
    let events = assert_no_holes(&*store.history(), room.at).await;
    let blank: Vec<u64> = events
        .iter()
        .filter(|event| matches!(event.content, Content::Blank { .. }))
        .map(|event| event.seq.0)
        .collect();
    assert_eq!(blank, [1, 3, 4]);
    assert_eq!(events[1].content, message("stays"));
    assert_eq!(events[5].content, Content::Delete { target: Seq(1) });
    let page = store.history().timeline(room.at, Range::Latest, 10).await.expect("a page");
    assert_eq!(page.notes.iter().map(|e| e.seq.0).collect::<Vec<_>>(), [3, 4, 5, 6]);
}

async fn a_repeated_delete_blanks_nothing(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    let key = Key::generate();
    room.settle(keyed(user, key, message("one"))).await;
    room.settle(draft(user, message("two"))).await;
    // The key was used for a message, so this delete is not one.
    let edit = Content::Edit { target: Seq(2), body: "edited".into(), enc: false };
    room.post(draft(user, edit.clone())).expect("taken");
    room.post(keyed(user, key, Content::Delete { target: Seq(2) })).expect("taken");
    let outcomes = room.outcomes().await;
    assert!(matches!(outcomes[3].1, Outcome::Repeated { seq: Seq(1), .. }));
    let events = assert_no_holes(&*store.history(), room.at).await;
    assert_eq!(events[1].content, message("two"));
    assert_eq!(events[2].content, edit);
}

async fn single_look_ups_find_what_was_committed(store: &dyn Store) {
    let (user, other) = (somebody(store).await, somebody(store).await);
    let mut room = opened(store, new_room()).await;
    let history = store.history();
    assert_eq!(history.last_message_at(room.at, user).await.expect("answered"), None);
    let mut one = draft(user, message("one"));
    one.sent_at.0 -= 1_000;
    let two = draft(user, message("two"));
    let pin = draft(user, Content::Pin { target: Seq(1), on: true });
    for draft in [&one, &two, &pin] {
        room.settle(draft.clone()).await;
    }
    let last = history.last_message_at(room.at, user).await.expect("answered");
    assert_eq!(last, Some(two.sent_at));
    assert_eq!(history.last_message_at(room.at, other).await.expect("answered"), None);
    let found = history.key(room.at, user, one.key).await.expect("answered");
    assert_eq!(found, Some((Seq(1), one.sent_at)));
    assert_eq!(history.key(room.at, other, one.key).await.expect("answered"), None);
    let event = history.event(room.at, Seq(2)).await.expect("answered").expect("there");
    assert_eq!((event.key, event.content), (two.key, two.content));
    assert_eq!(history.event(room.at, Seq(4)).await.expect("answered"), None);
    let again = history.open(room.at, EPOCH, Some((user, two.key))).await.expect("opens");
    assert_eq!((again.head, again.asked), (Seq(3), Some(Seq(2))));
    let not_there = history.open(room.at, EPOCH, Some((other, two.key))).await.expect("opens");
    assert_eq!(not_there.asked, None);
}

async fn many_rooms_share_a_lane_without_mixing(store: &dyn Store) {
    let user = somebody(store).await;
    let mut rooms = Vec::new();
    for _ in 0..30 {
        rooms.push(opened(store, new_room()).await);
    }
    for n in 0..20 {
        for room in &mut rooms {
            room.post(draft(user, message(&format!("{} {n}", room.at)))).expect("taken");
        }
    }
    for room in &rooms {
        for (ticket, outcome) in room.outcomes().await {
            assert_eq!(outcome, committed(ticket + 1));
        }
        let events = assert_no_holes(&*store.history(), room.at).await;
        for (n, event) in events.iter().enumerate() {
            assert_eq!(event.content, message(&format!("{} {n}", room.at)));
        }
    }
}

async fn a_later_owner_fences_the_earlier_one(store: &dyn Store) {
    let user = somebody(store).await;
    let at = room_of_shard(250);
    let mut room = TestRoom::open(&store.history(), at, Epoch(5)).await.expect("opens");
    assert_eq!(room.settle(draft(user, message("mine"))).await, committed(1));
    let other = store.another_process().await;
    let mut theirs = TestRoom::open(&other.history(), at, Epoch(6)).await.expect("opens");
    assert_eq!(theirs.opened.head, Seq(1));
    // It has not appended since, and still does not take itself for the owner.
    let unaware = store.history().open(at, Epoch(5), None).await;
    assert!(matches!(unaware, Err(HistoryError::Fenced)), "{unaware:?}");
    assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::Fenced);
    assert_eq!(room.settle(draft(user, message("later"))).await, Outcome::Fenced);
    assert_eq!(theirs.settle(draft(user, message("theirs"))).await, committed(2));
    let refused = store.history().open(at, Epoch(5), None).await;
    assert!(matches!(refused, Err(HistoryError::Fenced)), "{refused:?}");
    let mut back = TestRoom::open(&store.history(), at, Epoch(7)).await.expect("opens");
    assert_eq!(back.opened.head, Seq(2));
    assert_eq!(back.settle(draft(user, message("back"))).await, committed(3));
    assert_eq!(theirs.settle(draft(user, message("late"))).await, Outcome::Fenced);
    other.history().close().await;
    assert_eq!(assert_no_holes(&*store.history(), at).await.len(), 3);
}

async fn another_process_of_the_same_epoch_fences_the_first(store: &dyn Store) {
    let user = somebody(store).await;
    let at = room_of_shard(251);
    let mut room = TestRoom::open(&store.history(), at, Epoch(5)).await.expect("opens");
    assert_eq!(room.settle(draft(user, message("mine"))).await, committed(1));
    let other = store.another_process().await;
    let mut theirs = TestRoom::open(&other.history(), at, Epoch(5)).await.expect("opens");
    assert_eq!(room.settle(draft(user, message("late"))).await, Outcome::Fenced);
    assert_eq!(theirs.settle(draft(user, message("theirs"))).await, committed(2));
    other.history().close().await;
}

async fn an_append_under_another_epoch_is_fenced(store: &dyn Store) {
    let user = somebody(store).await;
    let at = room_of_shard(252);
    let mut room = TestRoom::open(&store.history(), at, Epoch(5)).await.expect("opens");
    let mut again = TestRoom::open(&store.history(), at, Epoch(8)).await.expect("opens");
    assert_eq!(room.settle(draft(user, message("old"))).await, Outcome::Fenced);
    assert_eq!(again.settle(draft(user, message("new"))).await, committed(1));
    again.epoch = Epoch(9);
    assert_eq!(again.settle(draft(user, message("not opened"))).await, Outcome::Fenced);
}

fn meta(name: &str) -> RoomMeta {
    RoomMeta {
        kind: RoomKind::Private,
        name: Some(RoomName::parse(name).expect("a good name")),
        topic: Topic::parse("all of it").expect("a good topic"),
        settings: RoomSettings { slow_mode_seconds: 7 },
        version: 1,
        created_by: UserId::generate(),
        created_at: Timestamp(1_234_567),
        key: Key::generate(),
        changed_by: UserId::generate(),
        ..RoomMeta::direct(TenantId::MAIN, new_room().room)
    }
}

async fn a_room_is_projected_with_all_that_the_directory_knows(store: &dyn Store) {
    let history = store.history();
    let first = meta("first");
    assert_eq!(history.open(first.at(), EPOCH, None).await.expect("opens").projected, 0);
    history.project_room(&first).await.expect("stored");
    assert_eq!(history.open(first.at(), EPOCH, None).await.expect("opens").projected, 1);
    let other = RoomMeta { kind: RoomKind::Public, ..meta("other") };
    history.project_room(&other).await.expect("stored");
    let later = RoomMeta {
        name: Some(RoomName::parse("later").expect("a good name")),
        topic: Topic::default(),
        settings: RoomSettings::default(),
        version: 3,
        changed_by: UserId::generate(),
        ..first.clone()
    };
    history.project_room(&later).await.expect("stored");
    // A late owner's older version, and a repeat, change nothing.
    history.project_room(&RoomMeta { version: 2, ..first.clone() }).await.expect("ignored");
    history.project_room(&RoomMeta { version: 3, ..first }).await.expect("ignored");
    // What has no entry in the directory needs none to be recovered.
    let direct = RoomMeta::direct(TenantId::MAIN, new_room().room);
    history.project_room(&direct).await.expect("ignored");
    let stored = store.projected().await;
    let of = |id| stored.iter().find(|meta| meta.id == id).cloned();
    assert_eq!(of(later.id), Some(later));
    assert_eq!(of(other.id), Some(other));
    assert_eq!(of(direct.id), None);
}

async fn closing_settles_everything_and_takes_no_more(store: &dyn Store) {
    let user = somebody(store).await;
    let mut room = opened(store, new_room()).await;
    for n in 0..600 {
        room.post(draft(user, message(&n.to_string()))).expect("taken");
    }
    store.history().healthy().await.expect("healthy");
    store.history().close().await;
    let heard = room.heard_so_far();
    assert_eq!(heard.len(), 600, "everything is settled when close returns");
    assert!(heard.iter().all(|(ticket, outcome)| *outcome == committed(ticket + 1)));
    let refused = room.post(draft(user, message("late"))).expect_err("closed");
    assert_eq!(refused.why, NotTakenWhy::Closing);
    let opened = store.history().open(room.at, EPOCH, None).await;
    assert!(matches!(opened, Err(HistoryError::Unavailable(_))), "{opened:?}");
}
