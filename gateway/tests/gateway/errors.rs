//! Bad input over HTTP: each gets `{"code","detail"}` that names what is wrong and what is allowed.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use parlance_actors::vocab::Code;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use uuid::Uuid;

use crate::harness::{PASSWORD, Server, config, request, text, within};

fn post(
    path: &str,
    token: &str,
    content_type: &str,
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", content_type)
        .body(Full::new(body.into()))
        .expect("a request")
}

#[tokio::test]
async fn bad_bodies_are_refused_by_what_is_wrong_with_them() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let room = server.room(&access, "public").await;
    let path = format!("/api/rooms/{room}/messages");
    let json = "application/json";
    let cases: Vec<(&str, Bytes, u16, &str)> = vec![
        (json, "{".into(), 400, "not JSON"),
        (json, "".into(), 400, "not JSON"),
        (json, "{\"body\":\"x\"} {}".into(), 400, "more than one"),
        (json, "[]".into(), 400, "a JSON object"),
        (json, "{}".into(), 400, "`body`"),
        (json, "{\"body\":5}".into(), 400, "body: invalid type"),
        (json, "{\"body\":\"x\",\"colour\":1}".into(), 400, "`colour`"),
        (json, "{\"body\":\"x\",\"body\":\"y\"}".into(), 400, "duplicate field `body`"),
        (json, "{\"body\":\"x\",\"key\":\"nope\"}".into(), 400, "key"),
        (json, "{\"body\":\"x\",\"reply_to\":-1}".into(), 400, "reply_to"),
        (json, "{\"body\":\"\"}".into(), 400, "body"),
        (json, Bytes::from_static(b"{\"body\":\"\xff\"}"), 400, "UTF-8"),
        (json, format!("{{\"body\":\"{}\"}}", "x".repeat(20_000)).into(), 413, "16384"),
        (json, vec![b' '; 200_000].into(), 413, "131072 bytes"),
        ("text/plain", "{\"body\":\"x\"}".into(), 415, "application/json"),
    ];
    for (content_type, body, status, why) in cases {
        let shown = format!("{:?}", &body[..body.len().min(60)]);
        let reply = server.send(post(&path, &access, content_type, body)).await;
        assert_eq!(reply.status, status, "{shown} {reply:?}");
        let detail = text(&reply.json()["detail"]);
        assert!(detail.contains(why), "{shown}: {detail}");
    }
    let charset = post(&path, &access, "application/json; charset=utf-8", "{\"body\":\"x\"}");
    server.send(charset).await.expect(201);
}

#[tokio::test]
async fn bad_paths_ids_and_queries_are_named() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let room = server.room(&access, "public").await;
    let missing = Uuid::now_v7();
    for (method, path, status, why) in [
        ("GET", "/api/nothing".to_owned(), 404, "/api/nothing"),
        ("GET", "/api/rooms/xyz".to_owned(), 400, "room"),
        ("GET", "/api/rooms/%ff".to_owned(), 400, "UTF-8"),
        ("GET", format!("/api/rooms/{missing}"), 404, "no such room"),
        ("DELETE", format!("/api/rooms/{room}/messages/x"), 400, "seq"),
        ("DELETE", format!("/api/rooms/{room}/messages/99"), 404, ""),
        ("DELETE", format!("/api/rooms/{room}/members/x"), 400, "user"),
        ("GET", format!("/api/rooms/{room}/messages?limit=0"), 400, "1 to 200"),
        ("GET", format!("/api/rooms/{room}/messages?limit=201"), 400, "1 to 200"),
        ("GET", format!("/api/rooms/{room}/messages?limit=x"), 400, "limit"),
        ("GET", format!("/api/rooms/{room}/messages?colour=1"), 400, "colour"),
        ("GET", format!("/api/rooms/{room}/messages?before=1&after=1"), 400, "before, after"),
        ("GET", format!("/api/rooms/{room}/messages?view=x"), 400, "folded"),
        ("GET", "/api/rooms?limit=5000".to_owned(), 400, "1 to 200"),
        ("GET", "/api/users".to_owned(), 400, "prefix"),
        ("GET", "/api/users?prefix=%00".to_owned(), 400, "control"),
        ("GET", format!("/api/users/{missing}"), 404, "no such user"),
        ("GET", "/ws".to_owned(), 400, "Upgrade"),
    ] {
        let reply = server.call(method, &path, &access, None).await;
        assert_eq!(reply.status, status, "{method} {path} {reply:?}");
        let detail = text(&reply.json()["detail"]);
        assert!(detail.contains(why), "{method} {path}: {detail}");
    }
    let mut bad_key = request("POST", &format!("/api/rooms/{room}/join"), &access, None);
    bad_key.headers_mut().insert("idempotency-key", "x".parse().expect("a header"));
    let reply = server.send(bad_key).await;
    assert_eq!(reply.status, 400);
    assert!(text(&reply.json()["detail"]).contains("Idempotency-Key"));
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start().await;
    let reply = server.call("DELETE", "/api/rooms", "", None).await;
    assert_eq!(reply.code(), (405, "method_not_allowed".into()));
    let allow = reply.headers["allow"].to_str().expect("text").to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert!(text(&reply.json()["detail"]).contains(&allow));
}

#[tokio::test]
async fn a_body_that_drips_is_given_up() {
    let mut config = config();
    config.deadlines.body = Duration::from_millis(100);
    let server = Server::with(config).await;
    let mut stream = server.connect().await;
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("answered and closed");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"timeout\""), "{answer}");
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted_too() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    // The server may close before everything is written.
    for _ in 0..8 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut start = [0; 12];
    within(stream.read_exact(&mut start)).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_non_member_cannot_tell_a_private_room_from_a_missing_one() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let bob_id = text(&server.get("/api/me", &bob).await.expect(200)["id"]);
    let secret = server.room(&ann, "private").await;
    let path = format!("/api/rooms/{secret}/messages");
    server.post(&path, &ann, json!({"body": "hidden"})).await.expect(201);
    let missing = Uuid::now_v7().to_string();
    let calls = [
        ("GET", "", None),
        ("PATCH", "", Some(json!({"name": "mine"}))),
        ("POST", "/join", None),
        ("POST", "/leave", None),
        ("GET", "/members", None),
        ("PUT", &*format!("/members/{bob_id}"), None),
        ("DELETE", &*format!("/members/{bob_id}"), None),
        ("PUT", "/read", Some(json!({"seq": 1}))),
        ("GET", "/messages", None),
        ("POST", "/messages", Some(json!({"body": "x"}))),
        ("PATCH", "/messages/2", Some(json!({"body": "x"}))),
        ("DELETE", "/messages/2", None),
        ("PUT", "/messages/2/reactions/x", None),
        ("DELETE", "/messages/2/reactions/x", None),
        ("PUT", "/messages/2/pin", None),
        ("DELETE", "/messages/2/pin", None),
    ];
    for (method, rest, body) in calls {
        let mut answers = Vec::new();
        for room in [&secret, &missing] {
            let path = format!("/api/rooms/{room}{rest}");
            let mut reply = server.call(method, &path, &bob, body.clone()).await;
            assert_eq!(reply.status, 404, "{method} {rest} {reply:?}");
            reply.headers.remove("date");
            reply.headers.remove("x-request-id");
            answers.push((reply.headers, reply.body));
        }
        assert_eq!(answers[0], answers[1], "{method} {rest}");
    }
    let rooms = server.get("/api/rooms", &bob).await.expect(200);
    assert!(!rooms.to_string().contains(&secret), "{rooms}");
}

#[tokio::test]
async fn every_code_of_the_table_is_reached() {
    let mut config = config();
    config.rates.register_per_minute = 2;
    config.lockout.failures = 2;
    config.deadlines.body = Duration::from_millis(100);
    config.connections_per_address_max = 4;
    let server = Server::with(config).await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = server.room(&ann, "public").await;
    let messages = format!("/api/rooms/{room}/messages");
    let mut reached = BTreeSet::new();
    let mut note = |reply: &crate::harness::Reply| reached.insert(reply.code());

    note(&server.get("/api/rooms/x", &ann).await);
    note(&server.get("/api/me", "").await);
    note(
        &server
            .call("PATCH", &format!("/api/rooms/{room}"), &bob, Some(json!({"topic": "x"})))
            .await,
    );
    note(&server.get("/nowhere", "").await);
    note(&server.call("DELETE", "/api/me", "", None).await);
    let named = json!({"name": "hall", "kind": "public"});
    server.post("/api/rooms", &ann, named.clone()).await.expect(201);
    note(&server.post("/api/rooms", &bob, named).await);
    note(&server.post(&messages, &ann, json!({"body": "x".repeat(20_000)})).await);
    note(&server.send(post(&messages, &ann, "text/plain", "x")).await);
    note(
        &server
            .post("/api/auth/register", "", json!({"username": "cat", "password": PASSWORD}))
            .await,
    );
    for _ in 0..2 {
        let wrong = json!({"username": "bob", "password": "Wrong12345"});
        note(&server.post("/api/auth/login", "", wrong).await);
    }
    note(&server.call("POST", &format!("/api/rooms/{room}/join"), &ann, None).await);
    let mut stream = server.connect().await;
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    reached.insert(raw_answer(&mut stream).await.expect("an answer"));
    let mut held = Vec::new();
    loop {
        let mut stream = server.connect().await;
        let answer = tokio::time::timeout(Duration::from_millis(200), raw_answer(&mut stream));
        if let Ok(Some(refused)) = answer.await {
            reached.insert(refused);
            break;
        }
        held.push(stream);
    }
    drop(held);
    server.history.set_away(true);
    crate::harness::until(async || {
        // Until the held connections are gone there may be no room for one more.
        let mut stream = server.connect().await;
        let ask =
            format!("GET {messages} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ann}\r\n\r\n");
        if stream.write_all(ask.as_bytes()).await.is_err() {
            return false;
        }
        let Some(code) = raw_answer(&mut stream).await else { return false };
        let there = code.1 == "unavailable";
        reached.insert(code);
        there
    })
    .await;

    let all = Code::ALL
        .into_iter()
        .map(|code| (parlance_gateway::error::status(code).as_u16(), code.as_str().to_owned()));
    let missed: Vec<_> = all.filter(|pair| !reached.contains(pair)).collect();
    // A defect of the server cannot be asked for.
    assert_eq!(missed, [(500, "internal".to_owned())], "reached {reached:?}");
}

/// The status and code of one answer; `None` when the connection ends without.
async fn raw_answer(stream: &mut tokio::net::TcpStream) -> Option<(u16, String)> {
    let mut answer = Vec::new();
    loop {
        if within(stream.read_buf(&mut answer)).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let Ok(body) = serde_json::from_str::<serde_json::Value>(body) else { continue };
        return Some((head[9..12].parse().expect("a status"), body["code"].as_str()?.to_owned()));
    }
}
