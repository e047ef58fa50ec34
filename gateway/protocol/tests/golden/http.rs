//! Bodies of HTTP requests and answers.

use parlance_protocol::{Role, http};

use super::{AT, ROOM};

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
