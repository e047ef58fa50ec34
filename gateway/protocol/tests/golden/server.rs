//! What the server says over the WebSocket.

use parlance_protocol::server::{self, Answer, MeChange, RoomAnswer, RoomAnswers, ServerFrame};
use parlance_protocol::{
    Entry, Event, Kind, MemberChange, PresenceStatus, Reactions, Role, Tombstone, User,
};

#[cfg(feature = "schema")]
use super::schema;
use super::{ANN, AT, KEY, ROOM, long, short};

fn server(frame: &ServerFrame<'_>, golden: &str) {
    assert_eq!(short(&frame.encode()), golden);
    let text = long(golden);
    #[cfg(feature = "schema")]
    schema::fits(&schema::server(), &text);
    assert_eq!(&ServerFrame::parse(text.as_bytes()).expect(golden), frame);
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
