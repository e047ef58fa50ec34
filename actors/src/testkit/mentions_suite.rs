//! What every [`Members`](crate::ports::members::Members) must tell of mentions, beside a `History` that
//! writes them with their messages: cases by hand, and random logs recounted event by event.

use super::history_room::{TestRoom, draft, keyed, message};
use super::history_suite::{Store, new_room, whole_log};
use super::summaries_suite::Dice;
use crate::limits;
use crate::ports::history::Outcome;
use crate::ports::members::{Mention, Mentions};
use crate::vocab::{
    Content, Draft, Epoch, Event, Key, MemberChange, Role, RoomId, RoomRef, Seq, TenantId,
    Timestamp, UserId,
};

/// Runs every case. Repeats come last: a lane that met one may take another way for a while.
///
/// # Panics
/// When the implementation breaks its contract; the case's name is the last one printed.
pub async fn all(store: &dyn Store) {
    println!("a_message_mentions_members_and_never_its_sender");
    a_message_mentions_members_and_never_its_sender(store).await;
    println!("the_read_mark_clears_mentions_up_to_it");
    the_read_mark_clears_mentions_up_to_it(store).await;
    println!("the_last_edit_decides_and_a_delete_takes_all");
    the_last_edit_decides_and_a_delete_takes_all(store).await;
    println!("an_edit_and_a_delete_of_one_batch_leave_nothing");
    an_edit_and_a_delete_of_one_batch_leave_nothing(store).await;
    println!("who_is_a_member_is_decided_event_by_event");
    who_is_a_member_is_decided_event_by_event(store).await;
    println!("in_the_lobby_everybody_can_be_mentioned");
    in_the_lobby_everybody_can_be_mentioned(store).await;
    println!("mentions_are_counted_to_a_bound_however_old");
    mentions_are_counted_to_a_bound_however_old(store).await;
    println!("mentions_are_listed_with_the_newest_first");
    mentions_are_listed_with_the_newest_first(store).await;
    println!("a_repeat_mentions_nobody_again");
    a_repeat_mentions_nobody_again(store).await;
    println!("mentions_are_those_of_a_plain_recount");
    for seed in 1..=6 {
        mentions_are_those_of_a_plain_recount(store, seed).await;
    }
}

/// Somebody and how they are called.
struct Person {
    id: UserId,
    at: String,
}

async fn somebody(store: &dyn Store, name: &str) -> Person {
    let id = UserId::generate();
    store.add_user(id, &format!("{name}-{id}")).await;
    Person { id, at: format!("@{name}-{id}") }
}

async fn opened(store: &dyn Store, at: RoomRef) -> TestRoom {
    TestRoom::open(&store.history(), at, Epoch(1)).await.expect("the room opens")
}

/// A room with these members, whose messages begin behind their joins.
async fn room_of(store: &dyn Store, members: &[&Person]) -> TestRoom {
    let mut room = opened(store, new_room()).await;
    for member in members {
        room.settle(changed(member, MemberChange::Joined { role: Role::Member })).await;
    }
    room
}

fn changed(person: &Person, change: MemberChange) -> Draft {
    draft(person.id, Content::Member { user: person.id, username: "x".into(), change })
}

fn edit(target: Seq, body: &str) -> Content {
    Content::Edit { target, body: body.into(), enc: false }
}

fn delete(target: Seq) -> Content {
    Content::Delete { target }
}

async fn said(room: &mut TestRoom, by: &Person, content: Content) -> Seq {
    match room.settle(draft(by.id, content)).await {
        Outcome::Committed { seq } => seq,
        other => panic!("{other:?}"),
    }
}

/// What the list of rooms counts.
async fn count(store: &dyn Store, who: &Person, room: RoomRef) -> u16 {
    let all = store.members().summaries(room.tenant, who.id, &[room.room]).await.expect("answered");
    all[0].mentions
}

async fn listed(store: &dyn Store, who: &Person, before: Option<Mention>, limit: u16) -> Mentions {
    let page = store.members().mentions(TenantId::MAIN, who.id, before, limit).await;
    page.expect("answered")
}

async fn a_message_mentions_members_and_never_its_sender(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let (cat, stranger) = (somebody(store, "cat").await, somebody(store, "stranger").await);
    let mut room = room_of(store, &[&ann, &bob, &cat]).await;
    let body = format!("{} {} {} @nobody {}", ann.at, bob.at, stranger.at, ann.at.to_uppercase());
    let seq = said(&mut room, &bob, message(&body)).await;
    for (who, expected) in [(&ann, 1), (&bob, 0), (&cat, 0), (&stranger, 0)] {
        assert_eq!(count(store, who, room.at).await, expected);
    }
    let page = listed(store, &ann, None, 10).await;
    assert_eq!(page.mentions.len(), 1, "however often she is named");
    assert_eq!((page.mentions[0].room, page.mentions[0].seq), (room.at.room, seq));
    // Part of a word, and what nobody but the readers can read.
    said(&mut room, &bob, message(&format!("{}x mail{}", ann.at, ann.at))).await;
    let body = ann.at.as_str().into();
    said(&mut room, &bob, Content::Message { body, reply_to: None, thread: None, enc: true }).await;
    assert_eq!(count(store, &ann, room.at).await, 1);
    // Another process reads the same.
    assert_eq!(count(&*store.another_process().await, &ann, room.at).await, 1);
}

async fn a_repeat_mentions_nobody_again(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = room_of(store, &[&ann, &bob]).await;
    let once = draft(bob.id, message(&ann.at));
    room.settle(once.clone()).await;
    room.settle(once.clone()).await;
    assert_eq!(count(store, &ann, room.at).await, 1);
    // The key is what makes it the same: this text is not in the log.
    let (key, target) = (Key::generate(), Seq(3));
    room.settle(keyed(bob.id, key, edit(target, "nobody"))).await;
    room.settle(keyed(bob.id, key, edit(target, &ann.at))).await;
    room.settle(once).await;
    assert_eq!(count(store, &ann, room.at).await, 0);
    assert_eq!(listed(store, &ann, None, 10).await, Mentions::default());
}

async fn the_read_mark_clears_mentions_up_to_it(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = room_of(store, &[&ann, &bob]).await;
    let first = said(&mut room, &bob, message(&ann.at)).await;
    let second = said(&mut room, &bob, message(&ann.at)).await;
    said(&mut room, &ann, message("I am here")).await;
    assert_eq!(count(store, &ann, room.at).await, 2);
    store.members().mark_read(room.at, ann.id, first).await.expect("answered");
    assert_eq!(count(store, &ann, room.at).await, 1);
    // A message that was read is no news, whatever becomes of it.
    let third = said(&mut room, &bob, edit(first, &format!("{} again", ann.at))).await;
    assert_eq!(count(store, &ann, room.at).await, 1);
    store.members().mark_read(room.at, ann.id, third).await.expect("answered");
    assert_eq!(count(store, &ann, room.at).await, 0);
    said(&mut room, &bob, edit(second, &format!("{} too", ann.at))).await;
    assert_eq!(count(store, &ann, room.at).await, 0);
    assert_eq!(listed(store, &ann, None, 10).await.mentions.len(), 2, "read or not");
}

async fn the_last_edit_decides_and_a_delete_takes_all(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let cat = somebody(store, "cat").await;
    let mut room = room_of(store, &[&ann, &bob, &cat]).await;
    let counts = async |room: &TestRoom| {
        (count(store, &ann, room.at).await, count(store, &cat, room.at).await)
    };
    let sent = Draft { sent_at: Timestamp(1_000), ..draft(bob.id, message(&cat.at)) };
    room.settle(sent).await;
    let target = Seq(4);
    assert_eq!(counts(&room).await, (0, 1));
    let both = edit(target, &format!("{} {}", ann.at, cat.at));
    room.settle(Draft { sent_at: Timestamp(2_000), ..draft(bob.id, both) }).await;
    assert_eq!(counts(&room).await, (1, 1));
    // Each was mentioned when somebody first called them, at the message.
    for (who, at) in [(&ann, 2_000), (&cat, 1_000)] {
        let mention = Mention { room: room.at.room, seq: target, at: Timestamp(at) };
        assert_eq!(listed(store, who, None, 10).await.mentions, [mention]);
    }
    said(&mut room, &bob, edit(target, "neither")).await;
    assert_eq!(counts(&room).await, (0, 0));
    // In one batch, most likely.
    for body in [&cat.at, "neither", &ann.at] {
        room.post(draft(bob.id, edit(target, body))).expect("taken");
    }
    room.outcomes().await;
    assert_eq!(counts(&room).await, (1, 0));
    let body = cat.at.as_str().into();
    said(&mut room, &bob, Content::Edit { target, body, enc: true }).await;
    assert_eq!(counts(&room).await, (0, 0), "only its readers know whom ciphertext mentions");
    said(&mut room, &bob, edit(target, &ann.at)).await;
    let other = said(&mut room, &bob, message(&ann.at)).await;
    said(&mut room, &cat, delete(target)).await;
    assert_eq!(counts(&room).await, (1, 0));
    said(&mut room, &bob, delete(other)).await;
    assert_eq!(counts(&room).await, (0, 0));
}

async fn an_edit_and_a_delete_of_one_batch_leave_nothing(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = room_of(store, &[&ann, &bob]).await;
    let target = said(&mut room, &bob, message(&ann.at)).await;
    room.post(draft(bob.id, edit(target, &format!("{}!", ann.at)))).expect("taken");
    room.post(draft(bob.id, delete(target))).expect("taken");
    room.post(draft(bob.id, message(&ann.at))).expect("taken");
    room.outcomes().await;
    assert_eq!(count(store, &ann, room.at).await, 1, "the last one");
    let page = listed(store, &ann, None, 10).await;
    assert_eq!(page.mentions[0].seq, Seq(target.0 + 3));
}

async fn who_is_a_member_is_decided_event_by_event(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = room_of(store, &[&bob]).await;
    // In one batch, most likely: before she comes, while she is there, after she went.
    for next in [
        draft(bob.id, message(&ann.at)),
        changed(&ann, MemberChange::Joined { role: Role::Member }),
        draft(bob.id, message(&ann.at)),
        changed(&ann, MemberChange::Role { role: Role::Moderator }),
        draft(bob.id, message(&ann.at)),
        changed(&ann, MemberChange::Kicked),
        draft(bob.id, message(&ann.at)),
    ] {
        room.post(next).expect("taken");
    }
    room.outcomes().await;
    assert_eq!(listed(store, &ann, None, 10).await, Mentions::default(), "she is not in the room");
    room.settle(changed(&ann, MemberChange::Joined { role: Role::Member })).await;
    let seqs: Vec<u64> =
        listed(store, &ann, None, 10).await.mentions.iter().map(|one| one.seq.0).collect();
    assert_eq!(seqs, [6, 4], "as far as she reads again");
    assert_eq!(count(store, &ann, room.at).await, 2);
}

async fn in_the_lobby_everybody_can_be_mentioned(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let lobby = RoomRef { tenant: TenantId::MAIN, room: RoomId::lobby(TenantId::MAIN) };
    let mut lobby = opened(store, lobby).await;
    let seq = said(&mut lobby, &bob, message(&format!("{} {}", ann.at, bob.at))).await;
    assert_eq!((count(store, &ann, lobby.at).await, count(store, &bob, lobby.at).await), (1, 0));
    let page = listed(store, &ann, None, 10).await;
    assert_eq!((page.mentions[0].room, page.mentions[0].seq), (lobby.at.room, seq));
    said(&mut lobby, &bob, delete(seq)).await;
    assert_eq!(count(store, &ann, lobby.at).await, 0);
}

async fn mentions_are_counted_to_a_bound_however_old(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut room = room_of(store, &[&ann, &bob]).await;
    for _ in 0..limits::UNREAD_MAX + 5 {
        room.post(draft(bob.id, message(&ann.at))).expect("taken");
    }
    for _ in 0..limits::UNREAD_EVENTS_MAX {
        room.post(draft(ann.id, message("mine"))).expect("taken");
    }
    room.outcomes().await;
    assert_eq!(count(store, &ann, room.at).await, limits::UNREAD_MAX);
    // Behind the two joins.
    store.members().mark_read(room.at, ann.id, Seq(12)).await.expect("answered");
    assert_eq!(count(store, &ann, room.at).await, limits::UNREAD_MAX + 5 - 10);
}

async fn mentions_are_listed_with_the_newest_first(store: &dyn Store) {
    let (ann, bob) = (somebody(store, "ann").await, somebody(store, "bob").await);
    let mut rooms = [room_of(store, &[&ann, &bob]).await, room_of(store, &[&ann, &bob]).await];
    let mut all = Vec::new();
    for number in 0..6_usize {
        let room = &mut rooms[number % 2];
        // Two at the same time in one room, and one in the other.
        let at = Timestamp(5_000 + number as i64 / 3);
        let sent = Draft { sent_at: at, ..draft(bob.id, message(&ann.at)) };
        let Outcome::Committed { seq } = room.settle(sent).await else { panic!("committed") };
        all.push(Mention { room: room.at.room, seq, at });
    }
    all.sort_by_key(|one| std::cmp::Reverse((one.at, one.room, one.seq)));
    assert_eq!(listed(store, &ann, None, 6).await, Mentions { mentions: all.clone(), next: None });
    let (mut walked, mut before) = (Vec::new(), None);
    loop {
        let page = listed(store, &ann, before, 4).await;
        walked.extend(page.mentions);
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(walked, all);
    // What is left are those of the room that she is in, though a page without any comes between.
    rooms[0].settle(changed(&ann, MemberChange::Left)).await;
    let (mut walked, mut before) = (Vec::new(), None);
    for _ in 0..all.len() {
        let page = listed(store, &ann, before, 1).await;
        walked.extend(page.mentions);
        before = page.next;
    }
    assert_eq!(before, None);
    all.retain(|one| one.room == rooms[1].at.room);
    assert_eq!(walked, all);
}

async fn mentions_are_those_of_a_plain_recount(store: &dyn Store, seed: u64) {
    let mut dice = Dice(seed);
    let mut people = Vec::new();
    for name in ["ann", "bob", "cat"] {
        people.push(somebody(store, name).await);
    }
    let mut room = room_of(store, &people.iter().collect::<Vec<_>>()).await;
    let mut sent: Vec<Draft> = Vec::new();
    for _ in 0..12 {
        let log = whole_log(&*store.history(), room.at).await;
        // A room edits and deletes only what it knows to be there, and edits nothing behind a delete.
        let is_message = |event: &&Event| matches!(event.content, Content::Message { .. });
        let mut alive: Vec<&Event> = log.iter().filter(is_message).collect();
        for _ in 0..=dice.roll(14) {
            let user = &people[dice.roll(3) as usize];
            let body: String = (0..dice.roll(3))
                .map(|_| format!("{} ", people[dice.roll(3) as usize].at))
                .chain(["words".to_owned()])
                .collect();
            let next = match dice.roll(10) {
                0..=2 if !alive.is_empty() => {
                    let target = alive[dice.roll(alive.len() as u64) as usize];
                    draft(target.sender.id, edit(target.seq, &body))
                }
                3 if !alive.is_empty() => {
                    let target = alive.remove(dice.roll(alive.len() as u64) as usize);
                    draft(user.id, delete(target.seq))
                }
                4 if !sent.is_empty() => sent[dice.roll(sent.len() as u64) as usize].clone(),
                _ => draft(user.id, message(&body)),
            };
            room.post(next.clone()).expect("taken");
            sent.push(next);
        }
        room.outcomes().await;
        let reader = &people[dice.roll(3) as usize];
        let mark = Seq(dice.roll(sent.len() as u64 + 3));
        store.members().mark_read(room.at, reader.id, mark).await.expect("answered");
        let log = whole_log(&*store.history(), room.at).await;
        for who in &people {
            let read = store.members().read_mark(room.at, who.id).await.expect("answered");
            let mentioning: Vec<Seq> = log
                .iter()
                .filter(|event| event.sender.id != who.id && mentions_now(event, &log, who))
                .map(|event| event.seq)
                .collect();
            let behind = mentioning.iter().filter(|seq| **seq > read).count();
            let counted = count(store, who, room.at).await;
            assert_eq!(usize::from(counted), behind, "seed {seed}");
            let mut seqs: Vec<Seq> =
                listed(store, who, None, 200).await.mentions.iter().map(|one| one.seq).collect();
            seqs.sort();
            assert_eq!(seqs, mentioning, "seed {seed}");
        }
    }
}

/// Whether it is a message that is there and whose last edit, or else itself, calls them.
fn mentions_now(event: &Event, log: &[Event], who: &Person) -> bool {
    let Content::Message { body, .. } = &event.content else { return false };
    let last_edit = log.iter().rev().find_map(|note| match &note.content {
        Content::Edit { target, body, .. } if *target == event.seq => Some(body),
        _ => None,
    });
    last_edit.unwrap_or(body).contains(&who.at)
}
