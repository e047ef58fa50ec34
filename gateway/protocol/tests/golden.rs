//! The text of every frame, to the letter: clients in other languages are written against it. A
//! change here is a change of the protocol.

use parlance_protocol::client::{self, ClientFrame, Cursor, Cursors};
use parlance_protocol::server::{self, Answer, MeChange, RoomAnswer, RoomAnswers, ServerFrame};
use parlance_protocol::simple::{SimpleClientFrame, SimpleMessage, SimpleServerFrame};
use parlance_protocol::{
    Entry, Event, Kind, MemberChange, PresenceStatus, Reactions, Role, Timestamp, Tombstone, User,
    View, http,
};
use uuid::Uuid;

#[cfg(feature = "schema")]
mod schema;

const ROOM: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const KEY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
const ANN: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003);
const AT: Timestamp = Timestamp(1_767_225_599_999);

/// Writes the ids in a golden text as R, K and A, so that the lines stay readable.
fn short(text: &str) -> String {
    text.replace(&ROOM.to_string(), "R")
        .replace(&KEY.to_string(), "K")
        .replace(&ANN.to_string(), "A")
        .replace(&AT.to_string(), "T")
}

fn long(text: &str) -> String {
    text.replace("\"R\"", &format!("\"{ROOM}\""))
        .replace("\"K\"", &format!("\"{KEY}\""))
        .replace("\"A\"", &format!("\"{ANN}\""))
        .replace("\"T\"", &format!("\"{AT}\""))
}

fn client(frame: &ClientFrame<'_>, golden: &str) {
    assert_eq!(short(&frame.encode()), golden);
    let text = long(golden);
    #[cfg(feature = "schema")]
    schema::fits(&schema::client(), &text);
    assert_eq!(&ClientFrame::parse(text.as_bytes()).expect(golden), frame);
}

fn server(frame: &ServerFrame<'_>, golden: &str) {
    assert_eq!(short(&frame.encode()), golden);
    let text = long(golden);
    #[cfg(feature = "schema")]
    schema::fits(&schema::server(), &text);
    assert_eq!(&ServerFrame::parse(text.as_bytes()).expect(golden), frame);
}

#[test]
fn client_frames_about_the_session_have_their_text() {
    client(
        &ClientFrame::Hello(client::Hello {
            id: Some(1),
            token: Some("t".into()),
            session: Some(KEY),
        }),
        r#"{"type":"hello","id":1,"token":"t","session":"K"}"#,
    );
    let cursors = vec![(ROOM, Some(Cursor { r#gen: 1, seq: 41 })), (KEY, None)];
    client(
        &ClientFrame::Subscribe(client::Subscribe { id: Some(2), rooms: Cursors(cursors) }),
        r#"{"type":"subscribe","id":2,"rooms":{"R":{"gen":1,"seq":41},"K":{}}}"#,
    );
    client(
        &ClientFrame::Unsubscribe(client::Unsubscribe { id: None, rooms: vec![ROOM] }),
        r#"{"type":"unsubscribe","rooms":["R"]}"#,
    );
    client(
        &ClientFrame::Presence(client::Presence {
            id: None,
            status: Some(PresenceStatus::Away),
            watch: Some(vec![ANN]),
        }),
        r#"{"type":"presence","status":"away","watch":["A"]}"#,
    );
    client(&ClientFrame::Ping(client::Ping { id: Some(9) }), r#"{"type":"ping","id":9}"#);
}

#[test]
fn client_frames_that_change_a_room_have_their_text() {
    client(
        &ClientFrame::Send(client::Send {
            id: Some(3),
            room: ROOM,
            key: KEY,
            body: "hi \"you\"\n".into(),
            reply_to: Some(4),
            thread: Some(2),
            enc: true,
        }),
        r#"{"type":"send","id":3,"room":"R","key":"K","body":"hi \"you\"\n","reply_to":4,"thread":2,"enc":true}"#,
    );
    client(
        &ClientFrame::Edit(client::Edit {
            id: Some(3),
            room: ROOM,
            key: KEY,
            target: 4,
            body: "b".into(),
            enc: false,
        }),
        r#"{"type":"edit","id":3,"room":"R","key":"K","target":4,"body":"b"}"#,
    );
    let delete = client::Delete { id: Some(3), room: ROOM, key: KEY, target: 4 };
    client(
        &ClientFrame::Delete(delete),
        r#"{"type":"delete","id":3,"room":"R","key":"K","target":4}"#,
    );
    let react =
        || client::React { id: Some(3), room: ROOM, key: KEY, target: 4, emoji: "👍".into() };
    client(
        &ClientFrame::React(react()),
        r#"{"type":"react","id":3,"room":"R","key":"K","target":4,"emoji":"👍"}"#,
    );
    client(
        &ClientFrame::Unreact(react()),
        r#"{"type":"unreact","id":3,"room":"R","key":"K","target":4,"emoji":"👍"}"#,
    );
    client(
        &ClientFrame::Pin(client::Pin { id: Some(3), room: ROOM, key: KEY, target: 4, on: false }),
        r#"{"type":"pin","id":3,"room":"R","key":"K","target":4,"on":false}"#,
    );
    let membership = || client::Membership { id: Some(3), room: ROOM, key: KEY };
    client(&ClientFrame::Join(membership()), r#"{"type":"join","id":3,"room":"R","key":"K"}"#);
    client(&ClientFrame::Leave(membership()), r#"{"type":"leave","id":3,"room":"R","key":"K"}"#);
}

#[test]
fn client_frames_that_read_have_their_text() {
    client(
        &ClientFrame::History(client::History {
            id: Some(5),
            room: ROOM,
            before: None,
            after: Some(7),
            limit: Some(50),
            view: View::Log,
        }),
        r#"{"type":"history","id":5,"room":"R","after":7,"limit":50,"view":"log"}"#,
    );
    client(
        &ClientFrame::Read(client::Read { id: Some(6), room: ROOM, seq: 58 }),
        r#"{"type":"read","id":6,"room":"R","seq":58}"#,
    );
    client(
        &ClientFrame::Typing(client::Typing { id: None, room: ROOM }),
        r#"{"type":"typing","room":"R"}"#,
    );
}

#[test]
fn absent_optional_fields_have_their_defaults() {
    let text = long(r#"{"type":"pin","room":"R","key":"K","target":4}"#);
    let pin = client::Pin { id: None, room: ROOM, key: KEY, target: 4, on: true };
    assert_eq!(ClientFrame::parse(text.as_bytes()), Ok(ClientFrame::Pin(pin)));
    let text = long(r#"{"type":"send","room":"R","key":"K","body":"x","reply_to":null}"#);
    assert!(ClientFrame::parse(text.as_bytes()).is_ok());
    let text = long(r#"{"type":"history","room":"R"}"#);
    let Ok(ClientFrame::History(history)) = ClientFrame::parse(text.as_bytes()) else {
        panic!("a history frame")
    };
    assert_eq!((history.before, history.after, history.view), (None, None, View::Folded));
}

#[test]
fn a_body_without_escapes_is_borrowed_from_the_frame() {
    let text = long(r#"{"type":"send","room":"R","key":"K","body":"plain"}"#);
    let Ok(ClientFrame::Send(send)) = ClientFrame::parse(text.as_bytes()) else {
        panic!("a send frame")
    };
    assert!(matches!(send.body.0, std::borrow::Cow::Borrowed("plain")));
}

#[test]
fn a_bad_frame_is_told_what_is_wrong_and_keeps_its_id() {
    let cases: &[(&str, Option<u64>, &[&str])] = &[
        ("", None, &["one JSON object"]),
        ("[1]", None, &["one JSON object"]),
        (r#"["ping"]"#, None, &["one JSON object"]),
        (r#"{"type":"ping""#, None, &["not JSON", "column"]),
        (r#"{"id":7}"#, Some(7), &["missing field `type`", "subscribe"]),
        (r#"{"id":7,"type":3}"#, Some(7), &["type: 3 is not a string"]),
        (r#"{"id":7,"type":"shout"}"#, Some(7), &["shout", "allowed are hello", "ping"]),
        (r#"{"id":7,"type":"ping","loud":1}"#, Some(7), &["unknown field `loud`", "`id`"]),
        (r#"{"id":"x","type":"ping"}"#, None, &["id: invalid type: string \"x\"", "u64"]),
        (r#"{"id":-1,"type":"ping"}"#, None, &["id: ", "-1"]),
        (r#"{"id":7,"type":"send","room":"R","body":"b"}"#, Some(7), &["missing field `key`"]),
        (
            r#"{"id":7,"type":"send","room":"R","key":"K","body":"b","reply_to":"4"}"#,
            Some(7),
            &["reply_to: invalid type: string \"4\""],
        ),
        (r#"{"id":7,"type":"typing","room":"lobby"}"#, Some(7), &["room: ", "UUID"]),
        (r#"{"id":7,"type":"subscribe","rooms":{"R":{"gen":1}}}"#, Some(7), &["go together"]),
        (r#"{"id":7,"type":"subscribe","rooms":{"x":{}}}"#, Some(7), &["rooms", "UUID"]),
        (r#"{"id":7,"type":"subscribe","rooms":{"R":{"at":1}}}"#, Some(7), &["`at`", "`gen`"]),
        (r#"{"id":7,"type":"subscribe","rooms":[]}"#, Some(7), &["rooms: ", "object"]),
        (r#"{"id":7,"type":"subscribe","rooms":{"R":{},"R":{}}}"#, Some(7), &["there twice"]),
        (
            r#"{"id":7,"type":"history","room":"R","before":1,"after":2}"#,
            Some(7),
            &["before, after"],
        ),
        (r#"{"id":7,"type":"history","room":"R","view":"raw"}"#, Some(7), &["view: ", "`folded`"]),
        (r#"{"id":7,"id":8,"type":"ping"}"#, Some(8), &["duplicate field"]),
        (r#"{"id":7,"type":"presence","status":"busy"}"#, Some(7), &["status: ", "`online`"]),
    ];
    for (text, id, words) in cases {
        let bad = ClientFrame::parse(long(text).as_bytes()).expect_err(text);
        assert_eq!(bad.id, *id, "{text}: {bad}");
        for word in *words {
            assert!(bad.detail.contains(word), "{text} gave {:?} without {word:?}", bad.detail);
        }
    }
}

#[test]
fn a_refusal_does_not_give_a_long_frame_back() {
    let long = "x".repeat(10_000);
    for text in [
        format!(r#"{{"type":"ping","{long}":1}}"#),
        format!(r#"{{"type":"{long}"}}"#),
        format!(r#"{{"type":["{long}"]}}"#),
    ] {
        let bad = ClientFrame::parse(text.as_bytes()).expect_err("no frame");
        assert!(bad.detail.len() < 1_000, "{}", bad.detail.len());
        let bad = SimpleClientFrame::parse(text.as_bytes()).expect_err("no frame");
        assert!(bad.len() < 1_000, "{}", bad.len());
    }
}

fn ann() -> User<'static> {
    User { id: ANN, username: "ann".into() }
}

fn event(kind: Kind) -> Event<'static> {
    Event::new(58, kind, ann(), AT, KEY)
}

fn live(event: Event<'static>) -> ServerFrame<'static> {
    ServerFrame::Event(server::RoomEvent { room: ROOM, r#gen: 1, event })
}

/// The fields that every event has, as they stand in the text.
fn live_text(kind: &str, rest: &str) -> String {
    format!(
        r#"{{"type":"event","room":"R","gen":1,"seq":58,"kind":"{kind}","sender":{{"id":"A","username":"ann"}},"sent_at":"T","key":"K"{rest}}}"#
    )
}

#[test]
fn every_kind_of_event_has_its_text() {
    let message = Event {
        body: Some("hi".into()),
        reply_to: Some(4),
        thread: Some(2),
        enc: true,
        ..event(Kind::Message)
    };
    server(
        &live(message),
        &live_text("message", r#","body":"hi","reply_to":4,"thread":2,"enc":true"#),
    );
    server(&live(event(Kind::Message)), &live_text("message", ""));
    let edit = Event { target: Some(4), body: Some("b".into()), ..event(Kind::Edit) };
    server(&live(edit), &live_text("edit", r#","body":"b","target":4"#));
    let delete = Event { target: Some(4), ..event(Kind::Delete) };
    server(&live(delete), &live_text("delete", r#","target":4"#));
    let reaction = Event {
        target: Some(4),
        emoji: Some("👍".into()),
        on: Some(false),
        ..event(Kind::Reaction)
    };
    server(&live(reaction), &live_text("reaction", r#","target":4,"emoji":"👍","on":false"#));
    let pin = Event { target: Some(4), on: Some(true), ..event(Kind::Pin) };
    server(&live(pin), &live_text("pin", r#","target":4,"on":true"#));
    let member = Event {
        user: Some(ann()),
        change: Some(MemberChange::Joined),
        role: Some(Role::Moderator),
        ..event(Kind::Member)
    };
    server(
        &live(member),
        &live_text(
            "member",
            r#","user":{"id":"A","username":"ann"},"change":"joined","role":"moderator""#,
        ),
    );
    let room = Event {
        name: Some("tea".into()),
        topic: Some("".into()),
        version: Some(3),
        ..event(Kind::Room)
    };
    server(&live(room), &live_text("room", r#","name":"tea","topic":"","version":3"#));
}

#[test]
fn answers_have_their_text() {
    let ok = |answer| ServerFrame::Ok(server::Ok { id: 3, answer });
    server(&ok(Answer::Done), r#"{"type":"ok","id":3}"#);
    let posted = |repeated| Answer::Posted(server::Posted { seq: 58, sent_at: AT, repeated });
    server(&ok(posted(false)), r#"{"type":"ok","id":3,"seq":58,"sent_at":"T"}"#);
    server(&ok(posted(true)), r#"{"type":"ok","id":3,"seq":58,"sent_at":"T","repeated":true}"#);
    let refused = RoomAnswer::Refused {
        error: "not_found".into(),
        detail: "no such room".into(),
        retry_after_ms: None,
    };
    let rooms =
        vec![(ROOM, RoomAnswer::Following { r#gen: 1, first: 1, head: 57 }), (KEY, refused)];
    server(
        &ok(Answer::Subscribed(RoomAnswers(rooms))),
        r#"{"type":"ok","id":3,"rooms":{"R":{"gen":1,"first":1,"head":57},"K":{"error":"not_found","detail":"no such room"}}}"#,
    );
    let blanked = Entry {
        deleted: Some(Tombstone { by: ann(), at: AT }),
        edited_at: None,
        ..Entry::from(event(Kind::Message))
    };
    let lively = Entry {
        edited_at: Some(AT),
        reactions: vec![Reactions { emoji: "👍".into(), users: vec![ann()] }],
        pinned: true,
        ..Entry::from(Event { body: Some("x".into()), ..event(Kind::Message) })
    };
    let page = server::Page {
        room: ROOM,
        r#gen: 1,
        messages: vec![blanked, lively],
        more: false,
        as_of: 60,
        first: 1,
        stale: false,
    };
    let common =
        r#""seq":58,"kind":"message","sender":{"id":"A","username":"ann"},"sent_at":"T","key":"K""#;
    let golden = [
        r#"{"type":"ok","id":3,"room":"R","gen":1,"messages":[{"#,
        common,
        r#","deleted":{"by":{"id":"A","username":"ann"},"at":"T"}},{"#,
        common,
        r#","body":"x","edited_at":"T","reactions":[{"emoji":"👍","users":[{"id":"A","username":"ann"}]}],"pinned":true}],"more":false,"as_of":60,"first":1}"#,
    ];
    server(&ok(Answer::History(page.clone())), &golden.concat());
    let stale = golden.concat().replace(r#""first":1}"#, r#""first":1,"stale":true}"#);
    server(&ok(Answer::History(server::Page { stale: true, ..page })), &stale);
}

#[test]
fn the_other_server_frames_have_their_text() {
    let user = server::Account { id: ANN, username: "ann".into(), admin: false };
    server(
        &ServerFrame::Welcome(server::Welcome {
            id: Some(1),
            session: KEY,
            user,
            heartbeat_ms: 30_000,
            rev: 7,
        }),
        r#"{"type":"welcome","id":1,"session":"K","user":{"id":"A","username":"ann"},"heartbeat_ms":30000,"rev":7}"#,
    );
    server(
        &ServerFrame::Error(server::Error {
            id: Some(3),
            code: "busy".into(),
            detail: "full".into(),
            retry_after_ms: Some(200),
        }),
        r#"{"type":"error","id":3,"code":"busy","detail":"full","retry_after_ms":200}"#,
    );
    server(
        &ServerFrame::Gap(server::Gap { room: ROOM, from: 58, to: 90 }),
        r#"{"type":"gap","room":"R","from":58,"to":90}"#,
    );
    let read = MeChange::Read { room: ROOM, seq: 5 };
    server(
        &ServerFrame::Me(server::Me { rev: 8, change: read }),
        r#"{"type":"me","rev":8,"read":{"room":"R","seq":5}}"#,
    );
    let room =
        |role| ServerFrame::Me(server::Me { rev: 9, change: MeChange::Room { id: ROOM, role } });
    server(&room(Some(Role::Member)), r#"{"type":"me","rev":9,"room":{"id":"R","role":"member"}}"#);
    server(&room(None), r#"{"type":"me","rev":9,"room":{"id":"R","role":null}}"#);
    server(
        &ServerFrame::Typing(server::Typing { room: ROOM, user: ann() }),
        r#"{"type":"typing","room":"R","user":{"id":"A","username":"ann"}}"#,
    );
    server(
        &ServerFrame::Presence(server::Presence { user: ANN, status: PresenceStatus::Offline }),
        r#"{"type":"presence","user":"A","status":"offline"}"#,
    );
    server(
        &ServerFrame::Bye(server::Bye {
            code: "unavailable".into(),
            detail: "going away".into(),
            retry_after_ms: Some(1_500),
        }),
        r#"{"type":"bye","code":"unavailable","detail":"going away","retry_after_ms":1500}"#,
    );
}

#[test]
fn a_frame_of_a_newer_server_is_left_aside() {
    let unknown = ServerFrame::parse(br#"{"type":"weather","sun":1}"#);
    assert_eq!(unknown.expect("a frame"), ServerFrame::Unknown);
}

#[test]
fn simple_chat_has_its_text() {
    let said = SimpleClientFrame::parse(br#"{"type":"message","content":"hi"}"#);
    assert_eq!(said, Ok(SimpleClientFrame::Message { content: "hi".into() }));
    for bad in ["", "[]", r#"{"type":"message"}"#, r#"{"type":"message","content":"a","x":1}"#] {
        let why = SimpleClientFrame::parse(bad.as_bytes()).expect_err(bad);
        assert!(why.contains(r#""content""#), "{why}");
    }
    let mut text = Vec::new();
    SimpleServerFrame::Message { username: "ann".into(), content: "hi".into(), timestamp: AT }
        .encode_into(&mut text);
    SimpleServerFrame::System { message: "bob joined".into() }.encode_into(&mut text);
    assert_eq!(
        short(std::str::from_utf8(&text).expect("JSON")),
        r#"{"type":"message","username":"ann","content":"hi","timestamp":"T"}{"type":"system","message":"bob joined"}"#
    );
    let entry = SimpleMessage { username: "ann".into(), content: "hi".into(), created_at: AT };
    assert_eq!(
        short(&serde_json::to_string(&entry).expect("plain")),
        r#"{"username":"ann","content":"hi","created_at":"T"}"#
    );
}

fn body<'a, T>(value: &T, golden: &'a str)
where
    T: serde::Serialize + serde::de::Deserialize<'a> + PartialEq + std::fmt::Debug,
{
    assert_eq!(serde_json::to_string(value).expect("plain"), golden);
    assert_eq!(&serde_json::from_str::<T>(golden).expect(golden), value);
}

#[test]
fn http_bodies_have_their_text() {
    body(
        &http::Credentials { username: "ann".into(), password: "Secret123".into() },
        r#"{"username":"ann","password":"Secret123"}"#,
    );
    body(
        &http::Tokens {
            access_token: "a".into(),
            token_type: "bearer".into(),
            expires_in: 1800,
            refresh_token: "r".into(),
        },
        r#"{"access_token":"a","token_type":"bearer","expires_in":1800,"refresh_token":"r"}"#,
    );
    body(
        &http::CreateRoom {
            key: None,
            name: "tea".into(),
            kind: parlance_protocol::RoomKind::Public,
            topic: None,
        },
        r#"{"name":"tea","kind":"public"}"#,
    );
    let mut room = http::Room {
        id: ROOM,
        name: Some("tea".into()),
        kind: parlance_protocol::RoomKind::Public,
        topic: "".into(),
        slow_mode_seconds: 0,
        created_at: None,
        role: None,
        read: 0,
        head: 0,
        unread: 0,
        mentions: 0,
        last_at: None,
        with: None,
        members: None,
    };
    let golden = |rest: &str| format!(r#"{{"id":"{ROOM}",{rest}}}"#);
    body(
        &room,
        &golden(
            r#""name":"tea","kind":"public","topic":"","slow_mode_seconds":0,"role":null,"read":0,"head":0,"unread":0,"mentions":0,"last_at":null"#,
        ),
    );
    room.members = Some(7);
    body(
        &room,
        &golden(
            r#""name":"tea","kind":"public","topic":"","slow_mode_seconds":0,"role":null,"read":0,"head":0,"unread":0,"mentions":0,"last_at":null,"members":7"#,
        ),
    );
    body(&http::Pins { messages: Vec::new(), more: false }, r#"{"messages":[]}"#);
    body(
        &http::Mentions {
            mentions: vec![http::Mention { room: ROOM, seq: 5, at: AT }],
            next: Some("n".into()),
        },
        &format!(
            r#"{{"mentions":[{{"room":"{ROOM}","seq":5,"at":"2025-12-31T23:59:59.999Z"}}],"next":"n"}}"#
        ),
    );
    body(&http::Mentions { mentions: Vec::new(), next: None }, r#"{"mentions":[]}"#);
    room.members = None;
    room.kind = parlance_protocol::RoomKind::Direct;
    room.name = None;
    room.role = Some(Role::Member);
    (room.read, room.head, room.unread, room.last_at) = (3, 5, 2, Some(AT));
    room.mentions = 1;
    room.with = Some(parlance_protocol::User { id: ROOM, username: "bob".into() });
    let with = format!(r#""with":{{"id":"{ROOM}","username":"bob"}}"#);
    body(
        &room,
        &golden(&format!(
            r#""name":null,"kind":"direct","topic":"","slow_mode_seconds":0,"role":"member","read":3,"head":5,"unread":2,"mentions":1,"last_at":"2025-12-31T23:59:59.999Z",{with}"#,
        )),
    );
    body(
        &http::SendMessage {
            key: None,
            body: "hi".into(),
            reply_to: Some(2),
            thread: None,
            enc: false,
        },
        r#"{"body":"hi","reply_to":2}"#,
    );
    body(
        &http::Posted { seq: 58, sent_at: AT, repeated: false },
        r#"{"seq":58,"sent_at":"2025-12-31T23:59:59.999Z"}"#,
    );
    body(
        &http::ErrorBody { code: "busy".into(), detail: "d".into(), retry_after_ms: Some(200) },
        r#"{"code":"busy","detail":"d","retry_after_ms":200}"#,
    );
    body(&http::PutMember { key: None, role: Some(Role::Owner) }, r#"{"role":"owner"}"#);
    let extra = r#"{"username":"a","password":"b","admin":true}"#;
    let refused = serde_json::from_str::<http::Credentials<'_>>(extra).expect_err("unknown field");
    assert!(refused.to_string().contains("admin"), "{refused}");
}
