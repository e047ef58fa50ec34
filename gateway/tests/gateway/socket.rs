//! The socket: hello, bad frames, conversations, simple chat, and every way it ends.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use uuid::Uuid;

use crate::harness::{Server, config, text, within};

const UNAUTHENTICATED: u16 = 4001;
const BAD_FRAME: u16 = 4002;
const GOING_AWAY: u16 = 4005;
const REPLACED: u16 = 4006;

fn lobby() -> String {
    let tenant = parlance_actors::vocab::TenantId::MAIN;
    parlance_actors::vocab::RoomId::lobby(tenant).to_string()
}

#[tokio::test]
async fn a_token_in_the_hello_begins_a_session() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.ws("/ws", "").await;
    socket.say(json!({"type": "hello", "id": 7, "token": access})).await;
    let welcome = socket.hear().await;
    assert_eq!(welcome["type"], "welcome");
    assert_eq!(welcome["id"], 7);
    assert_eq!(welcome["user"]["username"], "ann");
    assert_eq!(welcome["heartbeat_ms"], 30_000);
    socket.say(json!({"type": "ping", "id": 8})).await;
    assert_eq!(socket.hear().await, json!({"type": "ok", "id": 8}));
    socket.say(json!({"type": "hello", "id": 9, "token": access})).await;
    assert_eq!(socket.hear().await["code"], "bad_request", "a second hello");
}

#[tokio::test]
async fn the_subprotocol_is_negotiated_and_unknown_ones_are_refused() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    server.try_ws("/ws", &access, Some("parlance.v1")).await.expect("known");
    server.try_ws("/ws", &access, Some("other, parlance.v1")).await.expect("one is known");
    assert_eq!(server.try_ws("/ws", &access, Some("other")).await.err(), Some(400));
}

#[tokio::test]
async fn a_wrong_credential_is_refused_before_the_upgrade() {
    let server = Server::start().await;
    for path in ["/ws?ticket=nope", "/ws/chat?token=nope", "/ws/chat"] {
        assert_eq!(server.try_ws(path, "", None).await.err(), Some(401), "{path}");
    }
    assert_eq!(server.try_ws("/ws", "nope", None).await.err(), Some(401));
    assert_eq!(server.try_ws("/ws?nonsense=1", "", None).await.err(), Some(400));
}

#[tokio::test]
async fn a_hello_without_or_with_a_wrong_token_ends_the_socket() {
    let server = Server::start().await;
    for hello in
        [json!({"type": "hello", "id": 3}), json!({"type": "hello", "id": 3, "token": "x"})]
    {
        let mut socket = server.ws("/ws", "").await;
        socket.say(hello).await;
        let (frames, code) = socket.closed().await;
        assert_eq!(code, UNAUTHENTICATED);
        assert_eq!(frames[0]["type"], "error");
        assert_eq!(frames[0]["id"], 3);
        assert_eq!(frames[0]["code"], "unauthenticated");
        assert_eq!(frames[1]["type"], "bye");
    }
}

#[tokio::test]
async fn a_socket_that_says_no_hello_is_closed() {
    let mut config = config();
    config.deadlines.hello = Duration::from_millis(100);
    let server = Server::with(config).await;
    let mut socket = server.ws("/ws", "").await;
    let (frames, code) = socket.closed().await;
    assert_eq!(code, UNAUTHENTICATED);
    assert_eq!(frames[0]["code"], "timeout");
}

#[tokio::test]
async fn frames_before_the_hello_are_refused_and_too_many_end_the_socket() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.ws("/ws", "").await;
    socket.say(json!({"type": "ping", "id": 1})).await;
    let error = socket.hear().await;
    assert_eq!((&error["id"], &error["code"]), (&json!(1), &json!("unauthenticated")));
    socket.say(json!({"type": "hello", "token": access})).await;
    assert_eq!(socket.hear().await["type"], "welcome");

    let mut socket = server.ws("/ws", "").await;
    for _ in 0..10 {
        socket.say(json!({"type": "ping"})).await;
    }
    assert_eq!(socket.closed().await.1, BAD_FRAME);
}

#[tokio::test]
async fn malformed_frames_are_answered_with_their_id_and_too_many_end_the_socket() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.session(&access).await;
    let room = Uuid::nil();
    let bad: [(Value, &str); 7] = [
        (json!({"id": 1}), "type"),
        (json!({"type": "shout", "id": 1}), "shout"),
        (json!({"type": "send", "id": 1, "room": room}), "key"),
        (json!({"type": "send", "id": 1, "room": "x", "key": room, "body": "b"}), "room"),
        (json!({"type": "send", "id": 1, "room": room, "key": room, "body": 5}), "body"),
        (json!({"type": "ping", "id": 1, "extra": true}), "extra"),
        (json!({"type": "history", "id": 1, "room": room, "before": 1, "after": 1}), "before"),
    ];
    for (frame, why) in bad {
        socket.say(frame).await;
        let error = socket.hear().await;
        assert_eq!((&error["id"], &error["code"]), (&json!(1), &json!("bad_request")));
        assert!(text(&error["detail"]).contains(why), "{error}");
    }
    socket.say(json!({"type": "ping", "id": 2})).await;
    assert_eq!(socket.hear().await["type"], "ok", "a good one begins the count anew");
    for text in ["", "[]", "{", "null", "{\"type\":", "x", "5", "\"\"", "{}", "[1"] {
        socket.send(Message::text(text)).await;
    }
    let (frames, code) = socket.closed().await;
    assert_eq!(code, BAD_FRAME);
    assert_eq!(frames.last().expect("bye")["type"], "bye");
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "error").count(), 10);
}

#[tokio::test]
async fn frames_that_the_protocol_cannot_carry_end_the_socket() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let part = |bytes: usize, opcode, last| {
        Message::Frame(Frame::message(vec![b'x'; bytes], OpCode::Data(opcode), last))
    };
    let not_utf8 = Frame::message(vec![b'{', 0xff], OpCode::Data(Data::Text), true);
    let cases: [(&str, Vec<Message>); 4] = [
        ("bad_request", vec![Message::binary(vec![1, 2, 3])]),
        ("bad_request", vec![Message::Frame(not_utf8)]),
        ("too_large", vec![part(200_000, Data::Text, true)]),
        (
            "too_large",
            vec![
                part(60_000, Data::Text, false),
                part(60_000, Data::Continue, false),
                part(60_000, Data::Continue, true),
            ],
        ),
    ];
    for greeted in [true, false] {
        for (code, messages) in &cases {
            let mut socket =
                if greeted { server.session(&access).await } else { server.ws("/ws", "").await };
            for message in messages {
                socket.send(message.clone()).await;
            }
            let (frames, close) = socket.closed().await;
            assert_eq!(close, BAD_FRAME);
            assert_eq!(&frames[0]["code"], code, "{frames:?}");
            assert_eq!(frames[1]["type"], "bye");
        }
    }
}

#[tokio::test]
async fn what_one_says_the_other_hears_and_a_repeat_says_it_once() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let (mut one, mut other) = (server.session(&ann).await, server.session(&bob).await);
    let subscribe = json!({"type": "subscribe", "id": 2, "rooms": {lobby(): {}}});
    other.say(subscribe).await;
    let ok = other.hear().await;
    assert_eq!(ok["rooms"][lobby()]["head"], 0, "{ok}");
    let key = Uuid::now_v7();
    let send =
        json!({"type": "send", "id": 3, "room": lobby(), "key": key, "body": "h\u{e9} \"you\""});
    one.say(send.clone()).await;
    let first = one.hear().await;
    assert_eq!((&first["type"], &first["seq"]), (&json!("ok"), &json!(1)));
    one.say(send).await;
    let repeat = one.hear().await;
    assert_eq!((&repeat["seq"], &repeat["sent_at"]), (&first["seq"], &first["sent_at"]));
    let event = other.hear_type("event").await;
    assert_eq!(event["body"], "h\u{e9} \"you\"");
    assert_eq!(event["sender"]["username"], "ann");
    assert_eq!(event["key"], json!(key));
    assert_eq!(event["sent_at"], first["sent_at"]);
    // Over HTTP it is the same room.
    let path = format!("/api/rooms/{}/messages", lobby());
    server.post(&path, &ann, json!({"body": "two"})).await.expect(201);
    let event = other.hear_type("event").await;
    assert_eq!((&event["seq"], &event["body"]), (&json!(2), &json!("two")));
    other.say(json!({"type": "history", "id": 4, "room": lobby(), "view": "log"})).await;
    let page = other.hear_type("ok").await;
    assert_eq!(page["messages"].as_array().expect("a page").len(), 2);
    assert_eq!(page["as_of"], 2);
}

#[tokio::test]
async fn a_room_that_may_not_be_followed_fails_alone_and_like_a_missing_one() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let secret = server.room(&ann, "private").await;
    let missing = parlance_actors::vocab::RoomId::generate().to_string();
    let mut socket = server.session(&bob).await;
    let rooms = json!({lobby(): {}, secret.as_str(): {}, missing.as_str(): {}});
    socket.say(json!({"type": "subscribe", "id": 2, "rooms": rooms})).await;
    let ok = socket.hear_type("ok").await;
    assert_eq!(ok["rooms"][lobby()]["head"], 0);
    assert_eq!(ok["rooms"][&secret]["error"], "not_found");
    assert_eq!(ok["rooms"][&secret], ok["rooms"][&missing]);
    for room in [&secret, &missing] {
        let send = json!({"type": "send", "id": 3, "room": room, "key": Uuid::nil(), "body": "x"});
        socket.say(send).await;
        let error = socket.hear_type("error").await;
        assert_eq!((&error["id"], &error["code"]), (&json!(3), &json!("not_found")));
    }
}

#[tokio::test]
async fn simple_chat_and_the_socket_share_the_lobby() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let mut full = server.session(&ann).await;
    full.say(json!({"type": "subscribe", "id": 2, "rooms": {lobby(): {}}})).await;
    full.hear_type("ok").await;
    let mut simple = server.ws(&format!("/ws/chat?token={bob}"), "").await;
    assert_eq!(simple.hear().await["type"], "system");
    simple.say(json!({"type": "message", "content": "hi"})).await;
    assert_eq!(full.hear_type("event").await["body"], "hi");
    let own = simple.hear_type("message").await;
    assert_eq!((&own["username"], &own["content"]), (&json!("bob"), &json!("hi")));
    assert!(text(&own["timestamp"]).ends_with('Z'));
    let send =
        json!({"type": "send", "id": 3, "room": lobby(), "key": Uuid::now_v7(), "body": "ho"});
    full.say(send).await;
    assert_eq!(simple.hear_type("message").await["content"], "ho");

    simple.say(json!({"type": "massage", "content": "x"})).await;
    let note = simple.hear_type("system").await;
    assert!(text(&note["message"]).contains("content"), "{note}");
    simple.say(json!({"type": "message", "content": ""})).await;
    assert_eq!(simple.hear().await["type"], "system", "an empty message is refused");

    let path = "/api/chat/messages?limit=2";
    let page = server.get(path, &ann).await.expect(200);
    let by_query = server.get(&format!("{path}&token={ann}"), "").await.expect(200);
    assert_eq!(page, by_query);
    let said: Vec<_> = page.as_array().expect("a list").iter().collect();
    assert_eq!(said.len(), 2);
    assert_eq!((&said[0]["username"], &said[0]["content"]), (&json!("bob"), &json!("hi")));
    assert_eq!(said[1]["content"], "ho");
    assert!(said[1]["created_at"].is_string());
    assert_eq!(server.get("/api/chat/messages", "").await.status, 401);
}

#[tokio::test]
async fn simple_chat_can_be_switched_off() {
    let mut config = config();
    config.simple_chat = false;
    let server = Server::with(config).await;
    let access = server.user("ann").await;
    assert_eq!(server.get("/api/chat/messages", &access).await.status, 404);
    assert_eq!(server.try_ws("/ws/chat", &access, None).await.err(), Some(404));
}

#[tokio::test]
async fn a_logout_closes_the_sockets_of_its_sign_in() {
    let server = Server::start().await;
    server.register("ann").await;
    let (one, other) = (server.login("ann").await, server.login("ann").await);
    let (one, other) = (text(&one["access_token"]), text(&other["access_token"]));
    let mut first = server.session(&one).await;
    let mut second = server.session(&other).await;
    server.call("POST", "/api/auth/logout", &one, None).await.expect(204);
    let (frames, code) = first.closed().await;
    assert_eq!(code, UNAUTHENTICATED);
    assert_eq!(frames.last().expect("bye")["type"], "bye");
    second.say(json!({"type": "ping", "id": 2})).await;
    assert_eq!(second.hear().await["type"], "ok");
}

#[tokio::test]
async fn a_sign_in_that_ends_elsewhere_closes_its_sockets() {
    let mut config = config();
    config.deadlines.recheck = Duration::from_millis(50);
    let server = Server::with(config).await;
    let id = server.register("ann").await;
    let access = text(&server.login("ann").await["access_token"]);
    let mut socket = server.session(&access).await;
    let user = parlance_actors::vocab::UserId(id.parse().expect("an id"));
    let tenant = parlance_actors::vocab::TenantId::MAIN;
    let accounts: &dyn parlance_actors::ports::Accounts = &*server.accounts;
    accounts.set_disabled(tenant, user, true).await.expect("disabled");
    assert_eq!(socket.closed().await.1, UNAUTHENTICATED);
}

#[tokio::test]
async fn a_silent_client_is_closed_and_one_that_answers_pings_is_not() {
    let mut config = config();
    config.deadlines.idle = Duration::from_secs(1);
    let server = Server::with(config).await;
    let access = server.user("ann").await;
    let mut silent = server.session(&access).await;
    let mut alive = server.session(&access).await;
    // Reading answers the server's pings; not reading does not.
    let reading = async {
        let until = tokio::time::Instant::now() + Duration::from_secs(3);
        let said = tokio::time::timeout_at(until, alive.hear_type("bye")).await;
        assert!(said.is_err(), "closed although it answered: {said:?}");
    };
    reading.await;
    let (frames, code) = silent.closed().await;
    assert_eq!(code, GOING_AWAY);
    assert_eq!(frames.last().expect("bye")["code"], "timeout");
    alive.say(json!({"type": "ping", "id": 2})).await;
    assert_eq!(alive.hear().await["type"], "ok");
}

#[tokio::test]
async fn a_session_that_another_takes_over_is_closed() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut old = server.ws("/ws", &access).await;
    old.say(json!({"type": "hello"})).await;
    let session = old.hear().await["session"].clone();
    let mut new = server.ws("/ws", &access).await;
    new.say(json!({"type": "hello", "session": session})).await;
    assert_eq!(new.hear().await["type"], "welcome");
    assert_eq!(old.closed().await.1, REPLACED);
}

#[tokio::test]
async fn a_clients_own_close_is_answered_and_ends_its_session() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.session(&access).await;
    assert_eq!(server.chat.sessions(), 1);
    socket.send(Message::Close(None)).await;
    let answer = crate::harness::within(futures_util::StreamExt::next(&mut socket.stream)).await;
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
    crate::harness::until(async || server.chat.sessions() == 0).await;
}

#[tokio::test]
async fn a_connection_that_just_goes_ends_its_session() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    drop(server.session(&access).await);
    crate::harness::until(async || server.chat.sessions() == 0).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_does_not_hold_its_socket() {
    let mut config = config();
    config.deadlines.write = Duration::from_millis(300);
    let server = Server::with(config).await;
    let access = server.user("ann").await;
    let path = format!("/api/rooms/{}/messages", lobby());
    for _ in 0..40 {
        server.post(&path, &access, json!({"body": "x".repeat(16_000)})).await.expect(201);
    }
    let mut socket = server.session(&access).await;
    // Enough pages to fill every buffer of the loopback, and no reading.
    for id in 0..60 {
        let ask = json!({"type": "history", "id": id, "room": lobby(), "limit": 40, "view": "log"});
        if futures_util::SinkExt::send(&mut socket.stream, Message::text(ask.to_string()))
            .await
            .is_err()
        {
            break;
        }
    }
    crate::harness::until(async || server.chat.sessions() == 0).await;
}

/// A client's ping with the largest payload (RFC 6455, section 5.5), masked with zeros.
fn big_ping() -> Vec<u8> {
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.resize(6 + 125, b'x');
    ping
}

#[tokio::test]
async fn pings_before_the_hello_are_not_answered_into_memory() {
    let mut config = config();
    config.deadlines.hello = Duration::from_secs(60);
    let server = Server::with(config).await;
    let mut stream = server.connect().await;
    let upgrade = "GET /ws HTTP/1.1\r\nhost: here\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await.expect("sent");
    // Nothing is read: soon the server cannot write its pongs, and reads no more pings.
    let pings = big_ping().repeat(500);
    for _ in 0..1_000 {
        let sent = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&pings)).await;
        let Ok(sent) = sent else { return };
        sent.expect("open");
    }
    panic!("65 MB of pings were taken, and no pong was");
}

#[tokio::test]
async fn a_pong_comes_whole_before_the_welcome() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.ws("/ws", &access).await;
    for number in 0..10_u8 {
        socket.send(Message::Ping(vec![number; 100].into())).await;
    }
    socket.say(json!({"type": "hello", "id": 1})).await;
    let mut pongs = 0;
    loop {
        match within(socket.stream.next()).await.expect("open").expect("whole frames") {
            Message::Pong(_) => pongs += 1,
            Message::Text(text) => {
                assert!(text.contains(r#""welcome""#), "{text}");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(pongs > 0);
}
