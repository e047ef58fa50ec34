//! Attacks on signing in: tokens that are forged, old, or in the wrong place, and what an answer
//! tells about who has an account. What the claims of a token must be is tested beside `auth/tokens.rs`.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parlance_actors::ports::Accounts as _;
use parlance_actors::vocab::{TenantId, UserId};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{PASSWORD, Reply, Server, config, exchange, request, text, within};

/// Everywhere that a credential can be shown: each must refuse this one.
async fn is_refused_everywhere(server: &Server, token: &str) {
    assert_eq!(server.get("/api/me", token).await.code(), (401, "unauthenticated".into()));
    for path in ["/ws", "/ws/chat"] {
        assert_eq!(server.try_ws(path, token, None).await.err(), Some(401), "{path}");
    }
    for path in [format!("/ws?ticket={token}"), format!("/ws/chat?token={token}")] {
        assert_eq!(server.try_ws(&path, "", None).await.err(), Some(401));
    }
    let chat = server.get(&format!("/api/chat/messages?token={token}"), "").await;
    assert_eq!(chat.status, 401);
    let mut socket = server.ws("/ws", "").await;
    socket.say(json!({"type": "hello", "token": token})).await;
    let (frames, code) = socket.closed().await;
    assert_eq!((code, &frames[0]["code"]), (4001, &json!("unauthenticated")));
    let cookie = format!("parlance-access={token}");
    let asked = crate::harness::with(request("GET", "/api/me", "", None), &[("cookie", &cookie)]);
    assert_eq!(server.send(asked).await.status, 401);
}

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[tokio::test]
async fn forged_tokens_are_refused_everywhere() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut parts = access.split('.');
    let (head, payload) = (parts.next().expect("a head"), parts.next().expect("a payload"));
    let signature = parts.next().expect("a signature");
    let head: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(head).expect("base64")).expect("JSON");
    let with_head = |name: &str, value: Value| {
        let mut changed = head.clone();
        changed[name] = value;
        part(&changed)
    };
    let mut other = URL_SAFE_NO_PAD.decode(payload).expect("base64");
    let mut claims: Value = serde_json::from_slice(&other).expect("JSON");
    claims["sub"] = json!(UserId::generate().0);
    other = claims.to_string().into_bytes();
    let other = URL_SAFE_NO_PAD.encode(other);
    let mut flipped = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    flipped[0] ^= 1;
    let plain = part(&head);
    for forged in [
        format!("{}.{payload}.", with_head("alg", json!("none"))),
        format!("{}.{payload}.{signature}", with_head("alg", json!("none"))),
        format!("{}.{payload}.{signature}", with_head("alg", json!("HS512"))),
        format!("{}.{payload}.{signature}", with_head("alg", json!("RS256"))),
        // Another key, no key, and what looks like a way to one.
        format!("{}.{payload}.{signature}", with_head("kid", json!(uuid::Uuid::now_v7()))),
        format!("{}.{payload}.{signature}", with_head("kid", json!(null))),
        format!("{}.{payload}.{signature}", with_head("kid", json!("../../etc/passwd"))),
        // Somebody else's claims, and a signature that is off by a bit or not there.
        format!("{plain}.{other}.{signature}"),
        format!("{plain}.{payload}.{}", URL_SAFE_NO_PAD.encode(&flipped)),
        format!("{plain}.{payload}."),
        format!("{plain}.{payload}"),
    ] {
        is_refused_everywhere(&server, &forged).await;
    }
    // Signed well, by another installation.
    let elsewhere = Server::start().await;
    is_refused_everywhere(&server, &elsewhere.user("ann").await).await;
    server.get("/api/me", &access).await.expect(200);
}

#[tokio::test]
async fn what_was_given_before_a_new_password_is_refused_everywhere() {
    let server = Server::start().await;
    server.register("ann").await;
    let old = server.login("ann").await;
    let access = text(&old["access_token"]);
    let ticket = server.call("POST", "/api/auth/ws-ticket", &access, None).await.expect(201);
    let body = json!({"old_password": PASSWORD, "new_password": "Winter2027"});
    server.call("PUT", "/api/auth/password", &access, Some(body)).await.expect(200);
    is_refused_everywhere(&server, &access).await;
    is_refused_everywhere(&server, &text(&ticket["ticket"])).await;
    let body = json!({"refresh_token": old["refresh_token"]});
    assert_eq!(server.post("/api/auth/refresh", "", body).await.status, 401);
}

#[tokio::test]
async fn each_kind_of_secret_is_good_for_one_thing() {
    let server = Server::start().await;
    server.register("ann").await;
    let tokens = server.login("ann").await;
    let access = text(&tokens["access_token"]);
    is_refused_everywhere(&server, &text(&tokens["refresh_token"])).await;
    let body = json!({"refresh_token": access});
    assert_eq!(server.post("/api/auth/refresh", "", body).await.status, 401);
    assert_eq!(server.try_ws(&format!("/ws?ticket={access}"), "", None).await.err(), Some(401));
    let ticket = server.call("POST", "/api/auth/ws-ticket", &access, None).await.expect(201);
    let ticket = text(&ticket["ticket"]);
    assert_eq!(server.get("/api/me", &ticket).await.status, 401);
    let body = json!({"refresh_token": ticket});
    assert_eq!(server.post("/api/auth/refresh", "", body).await.status, 401);
    // Tried in the wrong places it was not used up; in the right one it is.
    server.ws(&format!("/ws?ticket={ticket}"), "").await;
    assert_eq!(server.try_ws(&format!("/ws?ticket={ticket}"), "", None).await.err(), Some(401));
}

#[tokio::test]
async fn a_ticket_of_a_sign_in_that_is_over_opens_nothing() {
    let server = Server::start().await;
    let id = server.register("ann").await;
    let access = text(&server.login("ann").await["access_token"]);
    let ticket = async |access: &str| {
        let reply = server.call("POST", "/api/auth/ws-ticket", access, None).await.expect(201);
        format!("/ws?ticket={}", text(&reply["ticket"]))
    };
    let signed_out = ticket(&access).await;
    server.call("POST", "/api/auth/logout", &access, None).await.expect(204);
    assert_eq!(server.try_ws(&signed_out, "", None).await.err(), Some(401));
    let disabled = ticket(&text(&server.login("ann").await["access_token"])).await;
    let user = UserId(id.parse().expect("an id"));
    server.accounts.set_disabled(TenantId::MAIN, user, true).await.expect("disabled");
    assert_eq!(server.try_ws(&disabled, "", None).await.err(), Some(401));
}

/// What an answer shows, without what differs between any two.
fn shown(reply: &Reply) -> (u16, BTreeSet<String>, bytes::Bytes) {
    let headers =
        reply.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date");
    let headers = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
    (reply.status, headers, reply.body.clone())
}

#[tokio::test]
async fn neither_answer_nor_work_tells_an_unknown_name_from_a_wrong_password() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    // One thread runs this test and the server, so a local recorder sees what the server counts.
    let _local = metrics::set_default_local_recorder(&recorder);
    let checked = || {
        let text = metrics.render();
        let line =
            text.lines().find_map(|line| line.strip_prefix("parlance_passwords_checked_total "));
        line.map_or(0, |count| count.parse::<u64>().expect("a number"))
    };
    let mut config = config();
    config.lockout.failures = 3;
    let server = Server::with(config).await;
    server.register("ann").await;
    let attempt = async |name: &str| {
        let body = json!({"username": name, "password": "Wrong12345"});
        let before = checked();
        let reply = server.post("/api/auth/login", "", body).await;
        (shown(&reply).0, shown(&reply).1, code(&reply), checked() - before)
    };
    // Until both are locked out, and after it.
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let (known, unknown) = (attempt("ann").await, attempt("nobody").await);
        assert_eq!(known, unknown);
        statuses.push((known.0, known.3));
    }
    assert_eq!(statuses, [(401, 1), (401, 1), (429, 1), (429, 0), (429, 0)]);
}

/// The refusal without the time until a lock ends, which runs.
fn code(reply: &Reply) -> Value {
    let mut body = reply.json();
    body.as_object_mut().expect("an object").remove("retry_after_ms");
    body
}

#[tokio::test]
async fn a_sign_in_as_a_disabled_user_tells_it_only_to_who_knows_the_password() {
    let server = Server::start().await;
    let user = UserId(server.register("ann").await.parse().expect("an id"));
    server.accounts.set_disabled(TenantId::MAIN, user, true).await.expect("disabled");
    let login = |name: &str, password: &str| {
        let body = json!({"username": name, "password": password});
        server.post("/api/auth/login", "", body)
    };
    let (disabled, unknown) =
        (login("ann", "Wrong12345").await, login("nobody", "Wrong12345").await);
    assert_eq!(shown(&disabled), shown(&unknown));
    assert_eq!(login("ann", PASSWORD).await.code().0, 403);
}

#[tokio::test]
async fn headers_that_smuggle_are_no_headers() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut config = config();
    config.allowed_origins = vec!["https://app.example".into()];
    let server = Server::with(config).await;
    // Whatever of a request is echoed (the id, the origin, the path) cannot begin a line of its own.
    for asked in [
        "GET /api/me HTTP/1.1\r\nhost: x\r\nx-request-id: a\rset-cookie: evil=1\r\n\r\n",
        "GET /api/me HTTP/1.1\r\nhost: x\r\norigin: https://app.example\rset-cookie: evil=1\r\n\r\n",
        "GET /api/me HTTP/1.1\r\nhost: x\r\nx-request-id: a\n set-cookie: evil=1\r\n\r\n",
        "GET /nope%0d%0aset-cookie:%20evil=1 HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /nope?a=%0d%0aset-cookie:%20evil=1 HTTP/1.1\r\nhost: x\r\norigin: %0d%0aset-cookie: evil\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.expect("connected");
        let asked = asked.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
        stream.write_all(asked.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.expect("answered");
        let answer = String::from_utf8_lossy(&answer);
        let (head, _) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.1 4"), "{asked:?}: {head}");
        assert!(!head.to_ascii_lowercase().contains("set-cookie"), "{asked:?}: {head}");
    }
    // Two lengths that differ are two requests to somebody.
    let mut stream = TcpStream::connect(server.address).await.expect("connected");
    let both = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n{}";
    stream.write_all(both.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    exchange(server.connect().await, request("GET", "/api/health", "", None)).await.expect(200);
}
