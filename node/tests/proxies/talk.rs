//! What must be the same behind every proxy.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Door, Node, Stream, within};

const PASSWORD: &str = "Correct-Horse-1";

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned()
}

/// Registers and signs in.
pub(crate) async fn user(door: &Door, name: &str) -> String {
    let account = json!({"username": name, "password": PASSWORD});
    door.ask("POST", "/api/auth/register", "", Some(account.clone())).await.expect(201);
    text(&door.ask("POST", "/api/auth/login", "", Some(account)).await.expect(200)["access_token"])
}

/// Makes a room.
pub(crate) async fn room(door: &Door, token: &str) -> String {
    let name = uuid::Uuid::new_v4().to_string();
    let room = json!({"name": name, "kind": "public"});
    text(&door.ask("POST", "/api/rooms", token, Some(room)).await.expect(201)["id"])
}

/// A socket with its session.
pub(crate) struct Session(WebSocketStream<Box<dyn Stream>>);

impl Session {
    pub(crate) async fn begin(door: &Door, token: &str) -> Self {
        let mut session = Self(door.socket(token).await);
        session.say(json!({"type": "hello", "id": 1})).await;
        session.hear("welcome").await;
        session
    }

    async fn say(&mut self, frame: Value) {
        within(self.0.send(Message::text(frame.to_string()))).await.expect("sent");
    }

    async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = within(self.0.next()).await.expect("open").expect("whole");
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                assert_ne!(frame["type"], "error", "{frame}");
                if frame["type"] == kind {
                    return frame;
                }
            }
        }
    }

    /// Sends a message and gives its seq.
    pub(crate) async fn send(&mut self, room: &str, body: &str) -> u64 {
        let key = uuid::Uuid::new_v4();
        self.say(json!({"type": "send", "id": 2, "room": room, "key": key, "body": body})).await;
        self.hear("ok").await["seq"].as_u64().expect("a seq")
    }

    /// Only answers pings for a while.
    async fn idle(&mut self, time: Duration) {
        let ended =
            tokio::time::timeout(time, async { while let Some(Ok(_)) = self.0.next().await {} });
        assert!(ended.await.is_err(), "the socket ended while it was idle");
    }
}

/// HTTP, a socket, a large body, the client's address.
pub(crate) async fn all_is_as_without(door: &Door, node: &Node) {
    let token = user(door, "ada").await;
    let room = room(door, &token).await;
    let path = format!("/api/rooms/{room}/messages");

    // The longest message, written as long as JSON allows.
    let escaped = "\\u0041".repeat(16 * 1024);
    let long: Value = serde_json::from_str(&format!("{{\"body\":\"{escaped}\"}}")).expect("JSON");
    let sent = door.ask("POST", &path, &token, Some(long)).await.expect(201);
    let first = sent["seq"].as_u64().expect("a seq");
    // One that is too long is refused by the node, with its words.
    let too_long = json!({"body": "x".repeat(200_000)});
    let refused = door.ask("POST", &path, &token, Some(too_long)).await.expect(413);
    assert_eq!(refused["code"], "too_large");

    let mut one = Session::begin(door, &token).await;
    let mut other = Session::begin(door, &token).await;
    other.say(json!({"type": "subscribe", "id": 3, "rooms": {&room: {}}})).await;
    other.hear("ok").await;
    assert_eq!(one.send(&room, "over a socket").await, first + 1);
    assert_eq!(other.hear("event").await["body"], "over a socket");
    let page = door.ask("GET", &format!("{path}?limit=10"), &token, None).await.expect(200);
    assert!(page.to_string().contains("over a socket"), "{page}");

    // A path that only this request has, so that its line in the log is found.
    let marker = format!("/api/users/{}", uuid::Uuid::new_v4());
    let forged = [("x-forwarded-for", "198.51.100.7"), ("x-real-ip", "198.51.100.7")];
    let asked = door.try_ask("GET", &marker, &token, &forged, None);
    within(asked).await.expect("answered").expect(404);
    let log = node.log();
    let line = log.lines().find(|line| line.contains(&marker)).expect("a line of the log");
    assert!(line.contains(&door.from.to_string()), "the client's own address: {line}");
    assert!(!line.contains("198.51.100.7"), "and not what it says: {line}");
}

/// A body that is larger than anything a node would take ends at the proxy.
pub(crate) async fn a_huge_body_does_not_reach(door: &Door, node: &Node) {
    let marker = format!("/api/users/{}", uuid::Uuid::new_v4());
    let body = json!({"body": "x".repeat(600_000)});
    // It may close while it is written to.
    if let Ok(reply) = within(door.try_ask("POST", &marker, "", &[], Some(&body))).await {
        assert_eq!(reply.status, 413);
    }
    door.ask("GET", "/api/health", "", None).await.expect(200);
    assert!(!node.log().contains(&marker), "the node did not hear of it");
}

/// Longer than any of the proxies' time-outs, and than the node's own.
pub(crate) async fn an_idle_socket_stays(door: &Door) {
    let token = user(door, "idle").await;
    let room = room(door, &token).await;
    let mut session = Session::begin(door, &token).await;
    session.idle(Duration::from_secs(100)).await;
    session.send(&room, "still here").await;
}
