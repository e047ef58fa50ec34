//! What clients say over the WebSocket, and what they are told of frames that are none.

use parlance_protocol::client::{self, ClientFrame, Cursor, Cursors};
use parlance_protocol::simple::SimpleClientFrame;
use parlance_protocol::{PresenceStatus, View};

#[cfg(feature = "schema")]
use super::schema;
use super::{ANN, KEY, ROOM, long, short};

fn client(frame: &ClientFrame<'_>, golden: &str) {
    assert_eq!(short(&frame.encode()), golden);
    let text = long(golden);
    #[cfg(feature = "schema")]
    schema::fits(&schema::client(), &text);
    assert_eq!(&ClientFrame::parse(text.as_bytes()).expect(golden), frame);
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
