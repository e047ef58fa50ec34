//! Frames as they are on the wire: the text of real values, so that they cannot be wrong.

use serde_json::Value;
use uuid::Uuid;

use crate::client::{self, ClientFrame, Cursor, Cursors};
use crate::server::{self, Answer, MeChange, RoomAnswer, RoomAnswers, ServerFrame};
use crate::simple::SimpleServerFrame;
use crate::{
    Entry, Event, Kind, MemberChange, PresenceStatus, Reactions, Role, Timestamp, User, View,
};

const ROOM: Uuid = Uuid::from_u128(0x0198_a0c1_5e00_7000_8000_0000_0000_0001);
const OTHER: Uuid = Uuid::from_u128(0x0198_a0c1_5e00_7000_8000_0000_0000_0002);
const KEY: Uuid = Uuid::from_u128(0x0b6f_0a3e_3f6e_4f0e_9b52_0d8a_4f1c_2a11);
const ADA: Uuid = Uuid::from_u128(0x0198_a0c1_5e00_7000_8000_0000_0000_0003);
const SESSION: Uuid = Uuid::from_u128(0x0198_a0c1_5e00_7000_8000_0000_0000_0004);
const AT: Timestamp = Timestamp(1_782_000_000_000);

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).expect("a frame is JSON")
}

fn user() -> User<'static> {
    User { id: ADA, username: "ada".into() }
}

pub(super) fn client() -> Vec<Value> {
    let (id, room, key, target) = (Some(3), ROOM, KEY, 58);
    let react = || client::React { id, room, key, target, emoji: "👍".into() };
    let membership = || client::Membership { id, room, key };
    let rooms = Cursors(vec![(ROOM, Some(Cursor { r#gen: 1, seq: 57 })), (OTHER, None)]);
    let frames = [
        ClientFrame::Hello(client::Hello { id: Some(1), token: None, session: None }),
        ClientFrame::Hello(client::Hello {
            id: Some(1),
            token: Some("ACCESS_TOKEN".into()),
            session: Some(SESSION),
        }),
        ClientFrame::Subscribe(client::Subscribe { id: Some(2), rooms }),
        ClientFrame::Unsubscribe(client::Unsubscribe { id, rooms: vec![ROOM] }),
        ClientFrame::Send(client::Send {
            id,
            room,
            key,
            body: "hello".into(),
            reply_to: Some(57),
            thread: None,
            enc: false,
        }),
        ClientFrame::Edit(client::Edit { id, room, key, target, body: "hi".into(), enc: false }),
        ClientFrame::Delete(client::Delete { id, room, key, target }),
        ClientFrame::React(react()),
        ClientFrame::Unreact(react()),
        ClientFrame::Pin(client::Pin { id, room, key, target, on: true }),
        ClientFrame::Join(membership()),
        ClientFrame::Leave(membership()),
        ClientFrame::History(client::History {
            id,
            room,
            before: None,
            after: Some(57),
            limit: Some(50),
            view: View::Log,
        }),
        ClientFrame::Read(client::Read { id, room, seq: 58 }),
        ClientFrame::Typing(client::Typing { id: None, room }),
        ClientFrame::Presence(client::Presence {
            id,
            status: Some(PresenceStatus::Away),
            watch: Some(vec![ADA]),
        }),
        ClientFrame::Ping(client::Ping { id: Some(4) }),
    ];
    frames.iter().map(|frame| json(frame.encode().as_bytes())).collect()
}

pub(super) fn server() -> Vec<Value> {
    let account = server::Account { id: ADA, username: "ada".into(), admin: false };
    let welcome = server::Welcome {
        id: Some(1),
        session: SESSION,
        user: account,
        heartbeat_ms: 30_000,
        rev: 7,
    };
    let refused = RoomAnswer::Refused {
        error: "not_found".into(),
        detail: "no such room".into(),
        retry_after_ms: None,
    };
    let rooms = RoomAnswers(vec![
        (ROOM, RoomAnswer::Following { r#gen: 1, first: 1, head: 57 }),
        (OTHER, refused),
    ]);
    let message = || Event { body: Some("hello".into()), ..event(Kind::Message) };
    let entry = Entry {
        reactions: vec![Reactions { emoji: "👍".into(), users: vec![user()] }],
        pinned: true,
        ..Entry::from(message())
    };
    let page = server::Page {
        room: ROOM,
        r#gen: 1,
        messages: vec![entry],
        more: false,
        as_of: 58,
        first: 1,
        stale: false,
    };
    let ok = |id, answer| ServerFrame::Ok(server::Ok { id, answer });
    let posted = server::Posted { seq: 58, sent_at: AT, repeated: false };
    let mut frames = vec![
        ServerFrame::Welcome(welcome),
        ok(3, Answer::Posted(posted)),
        ok(2, Answer::Subscribed(rooms)),
        ok(5, Answer::History(page)),
        ok(6, Answer::Done),
        ServerFrame::Error(server::Error {
            id: Some(3),
            code: "busy".into(),
            detail: "the room has too many requests; try again".into(),
            retry_after_ms: Some(200),
        }),
    ];
    frames.extend(
        events()
            .into_iter()
            .map(|event| ServerFrame::Event(server::RoomEvent { room: ROOM, r#gen: 1, event })),
    );
    let me = |change| ServerFrame::Me(server::Me { rev: 8, change });
    frames.extend([
        ServerFrame::Gap(server::Gap { room: ROOM, from: 59, to: 480 }),
        me(MeChange::Read { room: ROOM, seq: 58 }),
        me(MeChange::Room { id: ROOM, role: Some(Role::Member) }),
        ServerFrame::Typing(server::Typing { room: ROOM, user: user() }),
        ServerFrame::Presence(server::Presence { user: ADA, status: PresenceStatus::Online }),
        ServerFrame::Bye(server::Bye {
            code: "unavailable".into(),
            detail: "the node is going away".into(),
            retry_after_ms: Some(800),
        }),
    ]);
    frames.iter().map(|frame| json(frame.encode().as_bytes())).collect()
}

fn event(kind: Kind) -> Event<'static> {
    Event::new(58, kind, user(), AT, KEY)
}

/// One of each kind.
fn events() -> Vec<Event<'static>> {
    let target = Some(57);
    vec![
        Event { body: Some("hello".into()), reply_to: target, ..event(Kind::Message) },
        Event { target, body: Some("hi".into()), ..event(Kind::Edit) },
        Event { target, ..event(Kind::Delete) },
        Event { target, emoji: Some("👍".into()), on: Some(true), ..event(Kind::Reaction) },
        Event { target, on: Some(true), ..event(Kind::Pin) },
        Event {
            user: Some(user()),
            change: Some(MemberChange::Joined),
            role: Some(Role::Member),
            ..event(Kind::Member)
        },
        Event {
            name: Some("engines".into()),
            topic: Some("steam".into()),
            version: Some(2),
            ..event(Kind::Room)
        },
    ]
}

pub(super) fn simple_server() -> Vec<Value> {
    let frames = [
        SimpleServerFrame::Message { username: "ada".into(), content: "hi".into(), timestamp: AT },
        SimpleServerFrame::System { message: "bob joined".into() },
    ];
    let text = |frame: &SimpleServerFrame<'_>| {
        let mut text = Vec::new();
        frame.encode_into(&mut text);
        json(&text)
    };
    frames.iter().map(text).collect()
}
