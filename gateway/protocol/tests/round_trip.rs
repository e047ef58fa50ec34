//! Whatever is written is read back the same, and no text makes the reader panic.

use parlance_protocol::client::{self, ClientFrame, Cursor, Cursors};
use parlance_protocol::server::{self, Answer, Page, RoomAnswer, RoomAnswers, ServerFrame};
use parlance_protocol::simple::SimpleClientFrame;
use parlance_protocol::{
    Entry, Event, Kind, MemberChange, PresenceStatus, Reactions, Role, Text, Timestamp, Tombstone,
    User, View,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn text() -> impl Strategy<Value = Text<'static>> {
    any::<String>().prop_map(Text::from)
}

fn at() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.0..=Timestamp::MAX.0).prop_map(Timestamp)
}

fn status() -> impl Strategy<Value = PresenceStatus> {
    prop_oneof![
        Just(PresenceStatus::Online),
        Just(PresenceStatus::Away),
        Just(PresenceStatus::Offline)
    ]
}

fn id() -> impl Strategy<Value = Option<u64>> {
    any::<Option<u64>>()
}

fn session_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let cursor = option::of((any::<u64>(), any::<u64>()))
        .prop_map(|c| c.map(|(r#gen, seq)| Cursor { r#gen, seq }));
    let cursors = proptest::collection::hash_map(uuid(), cursor, 0..5)
        .prop_map(|rooms| Cursors(rooms.into_iter().collect()));
    prop_oneof![
        (id(), option::of(text()), option::of(uuid())).prop_map(|(id, token, session)| {
            ClientFrame::Hello(client::Hello { id, token, session })
        }),
        (id(), cursors)
            .prop_map(|(id, rooms)| ClientFrame::Subscribe(client::Subscribe { id, rooms })),
        (id(), vec(uuid(), 0..5))
            .prop_map(|(id, rooms)| ClientFrame::Unsubscribe(client::Unsubscribe { id, rooms })),
        (id(), option::of(status()), option::of(vec(uuid(), 0..5))).prop_map(
            |(id, status, watch)| ClientFrame::Presence(client::Presence { id, status, watch })
        ),
        (id(), uuid(), any::<u64>()).prop_map(|(id, room, seq)| ClientFrame::Read(client::Read {
            id,
            room,
            seq
        })),
        (id(), uuid()).prop_map(|(id, room)| ClientFrame::Typing(client::Typing { id, room })),
        id().prop_map(|id| ClientFrame::Ping(client::Ping { id })),
    ]
}

fn change_frame() -> impl Strategy<Value = ClientFrame<'static>> {
    let place = || (id(), uuid(), uuid(), any::<u64>());
    prop_oneof![
        (id(), uuid(), uuid(), text(), id(), id(), any::<bool>()).prop_map(
            |(id, room, key, body, reply_to, thread, enc)| {
                ClientFrame::Send(client::Send { id, room, key, body, reply_to, thread, enc })
            }
        ),
        (place(), text(), any::<bool>()).prop_map(|((id, room, key, target), body, enc)| {
            ClientFrame::Edit(client::Edit { id, room, key, target, body, enc })
        }),
        place().prop_map(|(id, room, key, target)| {
            ClientFrame::Delete(client::Delete { id, room, key, target })
        }),
        (place(), text(), any::<bool>()).prop_map(|((id, room, key, target), emoji, on)| {
            let react = client::React { id, room, key, target, emoji };
            if on { ClientFrame::React(react) } else { ClientFrame::Unreact(react) }
        }),
        (place(), any::<bool>()).prop_map(|((id, room, key, target), on)| {
            ClientFrame::Pin(client::Pin { id, room, key, target, on })
        }),
        (id(), uuid(), uuid(), any::<bool>()).prop_map(|(id, room, key, join)| {
            let membership = client::Membership { id, room, key };
            if join { ClientFrame::Join(membership) } else { ClientFrame::Leave(membership) }
        }),
        (id(), uuid(), any::<u64>(), any::<Option<bool>>(), any::<Option<u16>>(), any::<bool>())
            .prop_map(|(id, room, seq, side, limit, log)| {
                ClientFrame::History(client::History {
                    id,
                    room,
                    before: (side == Some(true)).then_some(seq),
                    after: (side == Some(false)).then_some(seq),
                    limit,
                    view: if log { View::Log } else { View::Folded },
                })
            }),
    ]
}

fn user() -> impl Strategy<Value = User<'static>> {
    (uuid(), text()).prop_map(|(id, username)| User { id, username })
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let kind = prop_oneof![Just(Kind::Message), Just(Kind::Edit), Just(Kind::Member)];
    let change = prop_oneof![Just(MemberChange::Left), Just(MemberChange::Role)];
    let base = (any::<u64>(), kind, user(), at(), uuid());
    let said = (option::of(text()), id(), id(), any::<bool>(), id(), option::of(text()));
    let rest = (
        any::<Option<bool>>(),
        option::of(user()),
        option::of(change),
        option::of(Just(Role::Owner)),
        option::of(text()),
        option::of(text()),
        id(),
    );
    (base, said, rest).prop_map(|((seq, kind, sender, sent_at, key), said, rest)| {
        let (body, reply_to, thread, enc, target, emoji) = said;
        let (on, user, change, role, name, topic, version) = rest;
        Event {
            body,
            reply_to,
            thread,
            enc,
            target,
            emoji,
            on,
            user,
            change,
            role,
            name,
            topic,
            version,
            ..Event::new(seq, kind, sender, sent_at, key)
        }
    })
}

fn entry() -> impl Strategy<Value = Entry<'static>> {
    let tombstone = (user(), at()).prop_map(|(by, at)| Tombstone { by, at });
    let reactions =
        (text(), vec(user(), 0..3)).prop_map(|(emoji, users)| Reactions { emoji, users });
    (event(), option::of(at()), option::of(tombstone), vec(reactions, 0..3), any::<bool>())
        .prop_map(|(event, edited_at, deleted, reactions, pinned)| Entry {
            event,
            edited_at,
            deleted,
            reactions,
            pinned,
        })
}

fn answer() -> impl Strategy<Value = Answer<'static>> {
    let room = prop_oneof![
        (any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(r#gen, first, head)| RoomAnswer::Following { r#gen, first, head }),
        (text(), text(), id()).prop_map(|(error, detail, retry_after_ms)| {
            RoomAnswer::Refused { error, detail, retry_after_ms }
        }),
    ];
    prop_oneof![
        Just(Answer::Done),
        (any::<u64>(), at(), any::<bool>()).prop_map(|(seq, sent_at, repeated)| {
            Answer::Posted(server::Posted { seq, sent_at, repeated })
        }),
        vec((uuid(), room), 0..4).prop_map(|rooms| Answer::Subscribed(RoomAnswers(rooms))),
        (uuid(), vec(entry(), 0..4), any::<bool>(), any::<u64>()).prop_map(
            |(room, messages, more, as_of)| {
                Answer::History(Page {
                    room,
                    r#gen: 1,
                    messages,
                    more,
                    as_of,
                    first: 1,
                    stale: more,
                })
            }
        ),
    ]
}

fn server_frame() -> impl Strategy<Value = ServerFrame<'static>> {
    prop_oneof![
        (any::<u64>(), answer())
            .prop_map(|(id, answer)| ServerFrame::Ok(server::Ok { id, answer })),
        (uuid(), any::<u64>(), event()).prop_map(|(room, r#gen, event)| {
            ServerFrame::Event(server::RoomEvent { room, r#gen, event })
        }),
        (id(), text(), text(), id()).prop_map(|(id, code, detail, retry_after_ms)| {
            ServerFrame::Error(server::Error { id, code, detail, retry_after_ms })
        }),
        (text(), text(), id()).prop_map(|(code, detail, retry_after_ms)| {
            ServerFrame::Bye(server::Bye { code, detail, retry_after_ms })
        }),
        (uuid(), user())
            .prop_map(|(room, user)| ServerFrame::Typing(server::Typing { room, user })),
    ]
}

proptest! {
    #[test]
    fn every_client_frame_survives_its_text(
        frame in prop_oneof![session_frame(), change_frame()]
    ) {
        let text = frame.encode();
        prop_assert_eq!(ClientFrame::parse(text.as_bytes()), Ok(frame));
    }

    #[test]
    fn every_server_frame_survives_its_text(frame in server_frame()) {
        let text = frame.encode();
        prop_assert_eq!(ServerFrame::parse(text.as_bytes()).expect("just written"), frame);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = ClientFrame::parse(&bytes);
        let _ = ServerFrame::parse(&bytes);
        let _ = SimpleClientFrame::parse(&bytes);
    }

    #[test]
    fn a_damaged_frame_never_panics(
        frame in prop_oneof![session_frame(), change_frame()],
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = frame.encode().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Err(bad) = ClientFrame::parse(&bytes) {
            prop_assert!(!bad.detail.is_empty());
        }
        let _ = ServerFrame::parse(&bytes);
    }

    #[test]
    fn json_like_text_never_panics(text in "[\\{\\}\\[\\]\":,a-z0-9tfn\\\\ ]{0,120}") {
        let _ = ClientFrame::parse(text.as_bytes());
        let _ = ServerFrame::parse(text.as_bytes());
    }
}
