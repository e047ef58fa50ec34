//! The hub alone: joins, holes, cuts, and who hears what.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::vocab::{Key, RoomId, Sender, TenantId, Timestamp};

/// Frames that a test can read: `event 7`, `gap 3 5`, `typing ann`.
struct Plain;

impl Frames for Plain {
    fn encode(&self, _: Dialect, output: &Output<'_>) -> Option<Bytes> {
        let text = match output {
            Output::Event { event, .. } => match &event.content {
                Content::Blank { .. } => format!("blank {}", event.seq),
                _ => format!("event {}", event.seq),
            },
            Output::Gap { from, to, .. } => format!("gap {from} {to}"),
            Output::Typing { username, .. } => format!("typing {username}"),
            _ => return None,
        };
        Some(Bytes::from(text))
    }
}

/// Frames so big that two of them fill an outbox.
struct Huge;

impl Frames for Huge {
    fn encode(&self, _: Dialect, output: &Output<'_>) -> Option<Bytes> {
        Some(match output {
            Output::Gap { from, to, .. } => Bytes::from(format!("gap {from} {to}")),
            _ => Bytes::from(vec![b'x'; limits::OUTBOX_BYTES_MAX / 3]),
        })
    }
}

const GEN: Gen = Gen(1);

fn room() -> RoomRef {
    RoomRef { tenant: TenantId::MAIN, room: RoomId::generate() }
}

fn follower(user: UserId) -> Follower {
    Follower {
        session: SessionId::generate(),
        user,
        dialect: Dialect::V1,
        outbox: Arc::new(Outbox::new(|_| ())),
    }
}

fn event(seq: u64, content: Content) -> Arc<Event> {
    let sender = Sender { id: UserId::generate(), username: "ann".into() };
    let (key, sent_at) = (Key::generate(), Timestamp(0));
    Arc::new(Event { seq: Seq(seq), sender, device: None, key, sent_at, content })
}

fn message(seq: u64) -> Arc<Event> {
    let content = Content::Message { body: "hi".into(), reply_to: None, thread: None, enc: false };
    event(seq, content)
}

async fn frames(follower: &Follower) -> Vec<String> {
    follower.outbox.push_answer(Bytes::from_static(b"end"));
    let mut frames = Vec::new();
    follower.outbox.recv(&mut frames).await;
    frames.pop();
    frames.iter().map(|frame| String::from_utf8_lossy(frame).chars().take(40).collect()).collect()
}

fn join_at(hub: &Arc<Hub>, room: RoomRef, follower: &Follower, head: u64) {
    let joined = hub.prepare(room).join(follower.clone(), GEN, Seq(head), None);
    assert_eq!(joined, Joined::Live);
}

#[tokio::test]
async fn what_is_published_between_the_question_and_the_join_is_not_missed() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    let joining = hub.prepare(room);
    hub.publish(room, GEN, &message(4));
    hub.publish(room, GEN, &message(5));
    // The room had answered head 4.
    assert_eq!(joining.join(follower.clone(), GEN, Seq(4), None), Joined::Live);
    drop(joining);
    hub.publish(room, GEN, &message(6));
    assert_eq!(frames(&follower).await, ["event 5", "event 6"]);
}

#[tokio::test]
async fn a_join_that_took_too_long_is_told_to_ask_again() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    let joining = hub.prepare(room);
    let published = limits::FEED_RING_EVENTS_MAX as u64 + 2;
    (1..=published).for_each(|seq| hub.publish(room, GEN, &message(seq)));
    assert_eq!(joining.join(follower.clone(), GEN, Seq(1), None), Joined::TooLate);
    assert_eq!(joining.join(follower.clone(), GEN, Seq(2), None), Joined::Live);
    assert_eq!(frames(&follower).await.len() as u64, published - 2);
}

#[tokio::test]
async fn a_repeat_is_dropped_and_a_hole_is_marked() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    join_at(&hub, room, &follower, 1);
    for seq in [2, 2, 1, 6] {
        hub.publish(room, GEN, &message(seq));
    }
    assert_eq!(frames(&follower).await, ["event 2", "gap 3 5", "event 6"]);
}

#[tokio::test]
async fn a_room_that_opens_again_leaves_no_hole_even_if_nothing_more_happens() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    join_at(&hub, room, &follower, 1);
    hub.opened(room, GEN, Seq(3));
    hub.opened(room, GEN, Seq(3));
    hub.publish(room, GEN, &message(4));
    assert_eq!(frames(&follower).await, ["gap 2 3", "event 4"]);
}

#[tokio::test]
async fn a_join_at_a_head_that_the_rooms_predecessor_answered_is_told_to_ask_again() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    let joining = hub.prepare(room);
    // The room answered head 4, crashed while event 5 was being committed, and opened again.
    hub.opened(room, GEN, Seq(5));
    assert_eq!(joining.join(follower.clone(), GEN, Seq(4), None), Joined::TooLate);
    assert_eq!(joining.join(follower.clone(), GEN, Seq(5), None), Joined::Live);
}

#[tokio::test]
async fn a_slow_reader_is_cut_and_gets_a_gap_while_others_get_everything() {
    let hub = Hub::new(Arc::new(Huge));
    let room = room();
    let (slow, fast) = (follower(UserId::generate()), follower(UserId::generate()));
    join_at(&hub, room, &slow, 0);
    join_at(&hub, room, &fast, 0);
    let mut got = 0;
    for seq in 1..=10 {
        hub.publish(room, GEN, &message(seq));
        got += frames(&fast).await.len();
    }
    assert_eq!(got, 10);
    assert_eq!(frames(&slow).await.len(), 2);
    hub.mend(room, slow.session);
    hub.publish(room, GEN, &message(11));
    let after = frames(&slow).await;
    assert_eq!(after[0], "gap 3 10");
    assert_eq!(after.len(), 2);
}

#[tokio::test]
async fn a_kicked_user_hears_of_it_and_of_nothing_after() {
    let hub = Hub::new(Arc::new(Plain));
    let room = room();
    let kicked = follower(UserId::generate());
    let other = follower(UserId::generate());
    join_at(&hub, room, &kicked, 0);
    join_at(&hub, room, &other, 0);
    let change = MemberChange::Kicked;
    hub.publish(
        room,
        GEN,
        &event(1, Content::Member { user: kicked.user, username: "k".into(), change }),
    );
    hub.publish(room, GEN, &message(2));
    assert_eq!(frames(&kicked).await, ["event 1"]);
    assert_eq!(frames(&other).await, ["event 1", "event 2"]);
}

#[tokio::test]
async fn one_who_was_kicked_between_the_question_and_the_join_hears_of_nothing_after() {
    let hub = Hub::new(Arc::new(Plain));
    let room = room();
    let kicked = follower(UserId::generate());
    let joining = hub.prepare(room);
    hub.publish(room, GEN, &message(2));
    let change = MemberChange::Kicked;
    let kick = Content::Member { user: kicked.user, username: "k".into(), change };
    hub.publish(room, GEN, &event(3, kick));
    hub.publish(room, GEN, &message(4));
    // The room had answered head 1.
    assert_eq!(joining.join(kicked.clone(), GEN, Seq(1), None), Joined::Live);
    hub.publish(room, GEN, &message(5));
    assert_eq!(frames(&kicked).await, ["event 2", "event 3"]);
}

#[tokio::test]
async fn a_deleted_message_is_blank_for_one_who_joins_late() {
    let hub = Hub::new(Arc::new(Plain));
    let room = room();
    let (early, late) = (follower(UserId::generate()), follower(UserId::generate()));
    join_at(&hub, room, &early, 0);
    hub.publish(room, GEN, &message(1));
    hub.publish(room, GEN, &event(2, Content::Delete { target: Seq(1) }));
    join_at(&hub, room, &late, 0);
    assert_eq!(frames(&late).await, ["blank 1", "event 2"]);
}

#[tokio::test]
async fn typing_reaches_the_others_and_only_from_a_follower() {
    let hub = Hub::new(Arc::new(Plain));
    let room = room();
    let (one, two) = (follower(UserId::generate()), follower(UserId::generate()));
    join_at(&hub, room, &one, 0);
    join_at(&hub, room, &two, 0);
    assert!(hub.typing(room, one.session, one.user, "ann"));
    assert!(!hub.typing(room, SessionId::generate(), one.user, "stranger"));
    assert_eq!(frames(&two).await, ["typing ann"]);
    assert!(frames(&one).await.is_empty());
}

#[tokio::test]
async fn what_a_feed_keeps_is_bounded_by_size_too() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    join_at(&hub, room, &follower, 0);
    let body: Arc<str> = "x".repeat(limits::ENC_BODY_BYTES_MAX).into();
    for seq in 1..=10 {
        let content =
            Content::Message { body: body.clone(), reply_to: None, thread: None, enc: true };
        hub.publish(room, GEN, &event(seq, content));
    }
    let feed = hub.feeds.get(&room).expect("followed").clone();
    let kept = |feed: &Feed| -> usize {
        feed.state.lock().ring.iter().map(|recent| recent.event.content.weight()).sum()
    };
    assert!((1..=limits::FEED_RING_BYTES_MAX).contains(&kept(&feed)), "{}", kept(&feed));
    hub.publish(room, GEN, &event(11, Content::Delete { target: Seq(10) }));
    assert_eq!(kept(&feed), feed.state.lock().ring_bytes);
}

#[tokio::test]
async fn a_room_without_followers_costs_nothing() {
    let hub = Hub::new(Arc::new(Plain));
    let (room, follower) = (room(), follower(UserId::generate()));
    join_at(&hub, room, &follower, 0);
    assert!(hub.is_followed(room));
    hub.leave(room, follower.session);
    assert!(!hub.is_followed(room) && hub.feeds.is_empty());
}

#[test]
fn other_rooms_do_not_wait_when_somebody_leaves_a_busy_one() {
    struct Slow(std::sync::Barrier, std::sync::Barrier);
    impl Frames for Slow {
        fn encode(&self, _: Dialect, _: &Output<'_>) -> Option<Bytes> {
            self.0.wait();
            self.1.wait();
            Some(Bytes::from_static(b"frame"))
        }
    }
    let encoder = Arc::new(Slow(std::sync::Barrier::new(2), std::sync::Barrier::new(2)));
    let hub = Hub::new(encoder.clone());
    let busy = room();
    let (stays, leaves) = (follower(UserId::generate()), follower(UserId::generate()));
    join_at(&hub, busy, &stays, 0);
    let joining = hub.prepare(busy);
    std::thread::scope(|scope| {
        scope.spawn(|| hub.publish(busy, GEN, &message(1)));
        encoder.0.wait();
        // The busy room is in the middle of a fan-out.
        scope.spawn(|| hub.leave(busy, leaves.session));
        scope.spawn(|| drop(joining));
        // Until both have come as far as they can; without it the test proves less, never fails.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let (done, others) = std::sync::mpsc::channel();
        let hub = &hub;
        // As many as it takes to meet every part of the table.
        scope.spawn(move || {
            (0..1_000).for_each(|_| drop(hub.prepare(room())));
            let _ = done.send(());
        });
        let waited = others.recv_timeout(std::time::Duration::from_secs(5));
        encoder.1.wait();
        assert!(waited.is_ok(), "other rooms waited for the busy one");
    });
}

#[tokio::test]
async fn ten_thousand_followers_share_one_encoding() {
    struct Counting(std::sync::atomic::AtomicUsize);
    impl Frames for Counting {
        fn encode(&self, _: Dialect, _: &Output<'_>) -> Option<Bytes> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Some(Bytes::from_static(b"frame"))
        }
    }
    let encoder = Arc::new(Counting(0.into()));
    let hub = Hub::new(encoder.clone());
    let room = room();
    let followers: Vec<_> = (0..10_000).map(|_| follower(UserId::generate())).collect();
    followers.iter().for_each(|follower| join_at(&hub, room, follower, 0));
    hub.publish(room, GEN, &message(1));
    assert_eq!(encoder.0.load(Ordering::Relaxed), 1);
    for follower in &followers {
        assert_eq!(frames(follower).await.len(), 1);
    }
    followers.iter().for_each(|follower| hub.leave(room, follower.session));
    assert!(hub.feeds.is_empty());
}

proptest! {
    /// However publishes, joins and reads interleave, a follower sees each seq after its head
    /// exactly once: as an event, or inside a gap.
    #[test]
    fn no_follower_misses_or_repeats_anything(
        steps in proptest::collection::vec(0..4_u8, 1..200),
        head in 0..20_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let hub = Hub::new(Arc::new(Huge));
            let (room, follower) = (room(), follower(UserId::generate()));
            let joining = hub.prepare(room);
            let mut last = head;
            let mut joined = false;
            let mut seen = Vec::new();
            for step in steps {
                match step {
                    0 | 1 => {
                        last += 1;
                        hub.publish(room, GEN, &message(last));
                    }
                    2 if !joined && last - head <= limits::FEED_RING_EVENTS_MAX as u64 => {
                        joined = true;
                        let at = joining.join(follower.clone(), GEN, Seq(head), None);
                        assert_eq!(at, Joined::Live);
                    }
                    _ => {
                        seen.extend(frames(&follower).await);
                        hub.mend(room, follower.session);
                    }
                }
            }
            for _ in 0..2 {
                seen.extend(frames(&follower).await);
                hub.mend(room, follower.session);
            }
            let mut next = head + 1;
            for frame in seen.iter().filter(|_| joined) {
                match frame.strip_prefix("gap ") {
                    Some(gap) => {
                        let (from, to) = gap.split_once(' ').expect("from and to");
                        assert_eq!(from.parse(), Ok(next));
                        next = to.parse::<u64>().expect("a seq") + 1;
                    }
                    None => next += 1,
                }
            }
            assert!(!joined || next == last + 1, "saw up to {next}, published {last}");
        });
    }
}

#[tokio::test]
async fn who_joins_ahead_of_the_hub_is_not_shown_again_what_the_others_still_lack() {
    let (hub, room) = (Hub::new(Arc::new(Plain)), room());
    let (behind, ahead) = (follower(UserId::generate()), follower(UserId::generate()));
    join_at(&hub, room, &behind, 3);
    // The room's owner answered the second one with a head that this hub has yet to hear of.
    join_at(&hub, room, &ahead, 5);
    for seq in 4..=6 {
        hub.publish(room, GEN, &message(seq));
    }
    hub.opened(room, GEN, Seq(8));
    assert_eq!(frames(&behind).await, ["event 4", "event 5", "event 6", "gap 7 8"]);
    assert_eq!(frames(&ahead).await, ["event 6", "gap 7 8"]);
}
