//! What every [`Members`](crate::ports::members::Members) must tell for lists of rooms, beside a
//! `History` that writes the logs: cases by hand, and random logs recounted event by event.

use super::history_room::{TestRoom, draft, message};
use super::history_suite::{Store, new_room, whole_log};
use crate::limits;
use crate::ports::members::Summary;
use crate::vocab::{
    Content, Draft, Epoch, MemberChange, Role, RoomId, RoomRef, Seq, TenantId, Timestamp, UserId,
};

/// Runs every case.
pub(super) async fn all(store: &dyn Store) {
    println!("a_summary_tells_where_the_log_stands");
    a_summary_tells_where_the_log_stands(store).await;
    println!("a_summary_counts_what_others_said_behind_the_mark");
    a_summary_counts_what_others_said_behind_the_mark(store).await;
    println!("a_count_has_a_bound_and_looks_at_the_newest_events");
    a_count_has_a_bound_and_looks_at_the_newest_events(store).await;
    println!("a_page_of_summaries_keeps_its_order");
    a_page_of_summaries_keeps_its_order(store).await;
    println!("rooms_have_their_sizes");
    rooms_have_their_sizes(store).await;
    println!("pins_are_the_messages_that_the_newest_pin_events_leave");
    pins_are_the_messages_that_the_newest_pin_events_leave(store).await;
    println!("counts_are_those_of_a_plain_recount");
    for seed in 1..=6 {
        counts_are_those_of_a_plain_recount(store, seed).await;
    }
}

async fn somebody(store: &dyn Store, name: &str) -> UserId {
    let user = UserId::generate();
    store.add_user(user, &format!("{name}-{user}")).await;
    user
}

async fn opened(store: &dyn Store, at: RoomRef) -> TestRoom {
    TestRoom::open(&store.history(), at, Epoch(1)).await.expect("the room opens")
}

async fn summary(store: &dyn Store, user: UserId, room: RoomRef) -> Summary {
    let all = store.members().summaries(room.tenant, user, &[room.room]).await.expect("answered");
    assert_eq!(all.len(), 1);
    all[0]
}

fn joined(user: UserId) -> Draft {
    let change = MemberChange::Joined { role: Role::Member };
    draft(user, Content::Member { user, username: "x".into(), change })
}

fn edit(target: u64, body: &str) -> Content {
    Content::Edit { target: Seq(target), body: body.into(), enc: false }
}

async fn a_summary_tells_where_the_log_stands(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = opened(store, new_room()).await;
    assert_eq!(summary(store, ann, room.at).await, Summary::default());
    room.settle(joined(ann)).await;
    room.settle(joined(bob)).await;
    let last = Draft { sent_at: Timestamp(77), ..draft(bob, message("hi")) };
    room.settle(last).await;
    let seen = summary(store, ann, room.at).await;
    let expected = Summary {
        role: Some(Role::Member),
        head: Seq(3),
        last_at: Some(Timestamp(77)),
        read: Seq(0),
        unread: 1,
        mentions: 0,
        other: Some(bob),
    };
    assert_eq!(seen, expected);
    assert_eq!(summary(store, bob, room.at).await, Summary { unread: 0, other: Some(ann), ..seen });
    // Another process reads the same.
    assert_eq!(summary(&*store.another_process().await, ann, room.at).await, seen);
    let lobby = RoomRef { tenant: TenantId::MAIN, room: RoomId::lobby(TenantId::MAIN) };
    let mut lobby = opened(store, lobby).await;
    let before = summary(store, ann, lobby.at).await;
    lobby.settle(draft(bob, message("everybody"))).await;
    let seen = summary(store, ann, lobby.at).await;
    assert_eq!(seen.head, before.head.next());
    assert_eq!((seen.unread, seen.other), (before.unread + 1, None));
    assert_eq!(seen.role, None, "there are no rows of members");
}

async fn a_summary_counts_what_others_said_behind_the_mark(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = opened(store, new_room()).await;
    let once = draft(bob, message("two"));
    for draft in [
        draft(bob, message("one")),
        once.clone(),
        draft(ann, message("her own")),
        draft(bob, edit(2, "edited")),
        draft(bob, Content::Reaction { target: Seq(3), emoji: "+".into(), on: true }),
        draft(bob, message("six")),
        once,
    ] {
        room.settle(draft).await;
    }
    let unread = async |user| summary(store, user, room.at).await.unread;
    assert_eq!((unread(ann).await, unread(bob).await), (3, 1));
    let members = store.members();
    members.mark_read(room.at, ann, Seq(1)).await.expect("answered");
    assert_eq!(unread(ann).await, 2);
    room.settle(draft(bob, Content::Delete { target: Seq(6) })).await;
    let unread = async |user| summary(store, user, room.at).await.unread;
    assert_eq!(unread(ann).await, 1, "a deleted message is nothing to read");
    members.mark_read(room.at, ann, Seq(7)).await.expect("answered");
    let seen = summary(store, ann, room.at).await;
    assert_eq!((seen.unread, seen.read, seen.head), (0, Seq(7), Seq(7)));
}

async fn a_count_has_a_bound_and_looks_at_the_newest_events(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = opened(store, new_room()).await;
    let most = u64::from(limits::UNREAD_MAX);
    for _ in 0..most + 20 {
        room.post(draft(bob, message("m"))).expect("taken");
    }
    room.outcomes().await;
    assert_eq!(summary(store, ann, room.at).await.unread, limits::UNREAD_MAX);
    store.members().mark_read(room.at, ann, Seq(21)).await.expect("answered");
    assert_eq!(u64::from(summary(store, ann, room.at).await.unread), most - 1);
    // Her own push all but the last ten of the others out of what is looked at.
    for _ in 0..limits::UNREAD_EVENTS_MAX - 10 {
        room.post(draft(ann, message("mine"))).expect("taken");
    }
    room.outcomes().await;
    assert_eq!(summary(store, ann, room.at).await.unread, 10);
    assert_eq!(summary(store, bob, room.at).await.unread, limits::UNREAD_MAX);
}

async fn a_page_of_summaries_keeps_its_order(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let members = store.members();
    let none = members.summaries(TenantId::MAIN, ann, &[]).await.expect("answered");
    assert_eq!(none, []);
    let mut rooms = Vec::new();
    for number in 0..usize::from(limits::LIST_MAX) + 2 {
        let at = new_room();
        if number % 20 == 0 {
            let mut room = opened(store, at).await;
            for _ in 0..=number / 20 {
                room.post(draft(bob, message("m"))).expect("taken");
            }
            room.outcomes().await;
        }
        rooms.push(at.room);
    }
    let page = members.summaries(TenantId::MAIN, ann, &rooms).await.expect("answered");
    let heads: Vec<u64> = page.iter().map(|summary| summary.head.0).collect();
    let expected = (0..rooms.len())
        .map(|n| if n % 20 == 0 { n as u64 / 20 + 1 } else { 0 })
        .collect::<Vec<_>>();
    assert_eq!(heads, expected);
    assert!(page.iter().all(|summary| u64::from(summary.unread) == summary.head.0));
}

async fn rooms_have_their_sizes(store: &dyn Store) {
    let mut rooms = Vec::new();
    for size in [3, 0, 1] {
        let mut room = opened(store, new_room()).await;
        for _ in 0..size {
            room.post(joined(UserId::generate())).expect("taken");
        }
        room.outcomes().await;
        rooms.push(room.at.room);
    }
    let most = limits::MEMBERS_COUNTED_MAX;
    let mut crowd = opened(store, new_room()).await;
    for _ in 0..most + 1 {
        crowd.post(joined(UserId::generate())).expect("taken");
    }
    crowd.outcomes().await;
    rooms.push(crowd.at.room);
    let sizes = store.members().sizes(TenantId::MAIN, &rooms).await.expect("answered");
    assert_eq!(sizes, [3, 0, 1, most]);
    let none = store.members().sizes(TenantId::MAIN, &[]).await.expect("answered");
    assert!(none.is_empty());
}

async fn pins_are_the_messages_that_the_newest_pin_events_leave(store: &dyn Store) {
    let ann = somebody(store, "ann").await;
    let mut room = opened(store, new_room()).await;
    let pins = async |room: &TestRoom| {
        let page = store.history().pins(room.at).await.expect("a page");
        let seqs: Vec<u64> = page.entries.iter().map(|event| event.seq.0).collect();
        (seqs, page.notes, page.as_of)
    };
    assert_eq!(pins(&room).await, (vec![], vec![], Seq(0)));
    for number in 1..=110 {
        room.post(draft(ann, message(&number.to_string()))).expect("taken");
    }
    // A room deletes only what it knows to be there.
    room.outcomes().await;
    let pin = |target, on| draft(ann, Content::Pin { target: Seq(target), on });
    for (target, on) in [(1, true), (2, true), (3, true), (2, false), (1, true), (4, true)] {
        room.post(pin(target, on)).expect("taken");
    }
    room.post(draft(ann, edit(3, "edited"))).expect("taken");
    room.post(draft(ann, Content::Delete { target: Seq(4) })).expect("taken");
    // A pin of nothing, and of something that is no message.
    room.post(pin(9_999, true)).expect("taken");
    room.post(pin(111, true)).expect("taken");
    room.outcomes().await;
    let (seqs, notes, as_of) = pins(&room).await;
    assert_eq!((seqs, as_of), (vec![1, 3], Seq(120)), "the newest pin first");
    let notes: Vec<u64> = notes.iter().map(|event| event.seq.0).collect();
    assert_eq!(notes, [111, 113, 115, 117], "what is on them, ascending");
    for target in 5..=110 {
        room.post(pin(target, true)).expect("taken");
    }
    room.outcomes().await;
    let (seqs, ..) = pins(&room).await;
    assert_eq!(seqs, (11..=110).rev().collect::<Vec<u64>>());
    assert!(store.history().pins(room.at).await.expect("a page").more, "ten are not shown");
}

/// The same numbers for the same seed (Numerical Recipes' generator).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

async fn counts_are_those_of_a_plain_recount(store: &dyn Store, seed: u64) {
    let mut dice = Dice(seed);
    let mut people = Vec::new();
    for name in ["ann", "bob", "cat"] {
        people.push(somebody(store, name).await);
    }
    let mut room = opened(store, new_room()).await;
    for user in &people {
        room.settle(joined(*user)).await;
    }
    let mut sent: Vec<Draft> = Vec::new();
    for _ in 0..12 {
        for _ in 0..=dice.roll(14) {
            let user = people[dice.roll(3) as usize];
            let target = 1 + dice.roll(sent.len() as u64 + 3);
            let next = match dice.roll(10) {
                0 => draft(user, edit(target, "edited")),
                1 => draft(user, Content::Delete { target: Seq(target) }),
                2 => draft(user, Content::Pin { target: Seq(target), on: true }),
                3 if !sent.is_empty() => sent[dice.roll(sent.len() as u64) as usize].clone(),
                _ => draft(user, message("m")),
            };
            room.post(next.clone()).expect("taken");
            sent.push(next);
        }
        room.outcomes().await;
        let reader = people[dice.roll(3) as usize];
        let mark = Seq(dice.roll(sent.len() as u64 + 3));
        store.members().mark_read(room.at, reader, mark).await.expect("answered");
        let log = whole_log(&*store.history(), room.at).await;
        for user in &people {
            let seen = summary(store, *user, room.at).await;
            let read = store.members().read_mark(room.at, *user).await.expect("answered");
            let unread = log.iter().filter(|event| {
                let said = matches!(event.content, Content::Message { .. });
                said && event.seq > read && event.sender.id != *user
            });
            let last = log.last().expect("there are members");
            assert_eq!(usize::from(seen.unread), unread.count(), "seed {seed}");
            assert_eq!((seen.read, seen.head), (read, last.seq), "seed {seed}");
            assert_eq!(seen.last_at, Some(last.sent_at), "seed {seed}");
        }
    }
}
