//! Registering, signing in and out, tokens, tickets, limits and lockouts.

use std::time::Duration;

use parlance_actors::ports::Accounts as _;
use parlance_actors::ports::accounts::LockoutRule;
use parlance_actors::vocab::{TenantId, Timestamp, UserId};
use serde_json::json;

use crate::harness::{PASSWORD, Server, config, text, until};

#[tokio::test]
async fn a_new_user_registers_signs_in_and_is_known() {
    let server = Server::start().await;
    let id = server.register("Ann").await;
    let tokens = server.login("ann").await;
    assert_eq!(tokens["token_type"], "bearer");
    assert_eq!(tokens["expires_in"], 1_800);
    let me = server.get("/api/me", &text(&tokens["access_token"])).await.expect(200);
    assert_eq!(me, json!({"id": id, "username": "Ann"}));
    let again = json!({"username": "ANN", "password": PASSWORD});
    let reply = server.post("/api/auth/register", "", again).await;
    assert_eq!(reply.code(), (409, "name_taken".into()));
    server.stopped().await;
}

#[tokio::test]
async fn names_and_passwords_that_break_a_rule_are_refused_by_that_rule() {
    let server = Server::start().await;
    for (username, password, why) in [
        ("ab", PASSWORD, "2 characters"),
        ("a b c", PASSWORD, "holds ' '"),
        ("annika", "short1A", "7 characters"),
        ("annika", "alllowercase1", "upper-case"),
        ("annika", "ALLUPPERCASE1", "lower-case"),
        ("annika", "NoDigitsHere", "digit"),
    ] {
        let body = json!({"username": username, "password": password});
        let reply = server.post("/api/auth/register", "", body).await;
        assert_eq!(reply.code(), (400, "bad_request".into()));
        assert!(text(&reply.json()["detail"]).contains(why), "{reply:?}");
    }
}

#[tokio::test]
async fn an_unknown_name_and_a_wrong_password_get_the_same_answer() {
    let server = Server::start().await;
    server.register("ann").await;
    let mut answers = Vec::new();
    for name in ["ann", "nobody"] {
        let body = json!({"username": name, "password": "Wrong12345"});
        let reply = server.post("/api/auth/login", "", body).await;
        assert_eq!(reply.code(), (401, "unauthenticated".into()));
        answers.push(reply.body);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn a_spent_refresh_token_ends_the_whole_sign_in() {
    let server = Server::start().await;
    server.register("ann").await;
    let first = server.login("ann").await;
    let other = server.login("ann").await;
    let refresh = |token: &serde_json::Value| {
        let body = json!({"refresh_token": token});
        server.post("/api/auth/refresh", "", body)
    };
    let second = refresh(&first["refresh_token"]).await.expect(200);
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    let third = refresh(&second["refresh_token"]).await.expect(200);
    server.get("/api/me", &text(&third["access_token"])).await.expect(200);

    assert_eq!(refresh(&first["refresh_token"]).await.code().0, 401);
    assert_eq!(refresh(&third["refresh_token"]).await.code().0, 401, "the family is revoked");
    assert_eq!(server.get("/api/me", &text(&third["access_token"])).await.status, 401);
    server.get("/api/me", &text(&other["access_token"])).await.expect(200);
    assert_eq!(refresh(&json!("no-such-token")).await.code().0, 401);
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_can_be_asked_for_again() {
    let server = Server::start().await;
    server.register("ann").await;
    let first = server.login("ann").await;
    let refresh = |token: &serde_json::Value| {
        let body = json!({"refresh_token": token});
        server.post("/api/auth/refresh", "", body)
    };
    let lost = refresh(&first["refresh_token"]).await.expect(200);
    let second = refresh(&first["refresh_token"]).await.expect(200);
    server.get("/api/me", &text(&second["access_token"])).await.expect(200);
    let third = refresh(&second["refresh_token"]).await.expect(200);
    // Whoever has the answer that was lost is not its holder.
    assert_eq!(refresh(&lost["refresh_token"]).await.code().0, 401);
    assert_eq!(server.get("/api/me", &text(&third["access_token"])).await.status, 401);
    assert_eq!(refresh(&third["refresh_token"]).await.code().0, 401);
}

#[tokio::test]
async fn a_logout_ends_its_sign_in_and_no_other() {
    let server = Server::start().await;
    server.register("ann").await;
    let (one, other) = (server.login("ann").await, server.login("ann").await);
    let one_access = text(&one["access_token"]);
    server.call("POST", "/api/auth/logout", &one_access, None).await.expect(204);
    assert_eq!(server.get("/api/me", &one_access).await.code(), (401, "unauthenticated".into()));
    let body = json!({"refresh_token": one["refresh_token"]});
    assert_eq!(server.post("/api/auth/refresh", "", body).await.status, 401);
    server.get("/api/me", &text(&other["access_token"])).await.expect(200);
}

#[tokio::test]
async fn a_client_whose_access_token_has_run_out_can_still_log_out() {
    let server = Server::start().await;
    server.register("ann").await;
    let tokens = server.login("ann").await;
    let access = text(&tokens["access_token"]);
    let body = json!({"refresh_token": tokens["refresh_token"]});
    server.post("/api/auth/logout", "", body.clone()).await.expect(204);
    assert_eq!(server.get("/api/me", &access).await.status, 401);
    assert_eq!(server.post("/api/auth/refresh", "", body).await.status, 401);

    let both = server.login("ann").await;
    let body = json!({"refresh_token": both["refresh_token"]});
    server.post("/api/auth/logout", &text(&both["access_token"]), body).await.expect(204);
    let unknown = json!({"refresh_token": "nope"});
    assert_eq!(server.post("/api/auth/logout", "", unknown).await.status, 401);
    assert_eq!(server.call("POST", "/api/auth/logout", "", None).await.status, 401);
    assert_eq!(server.post("/api/auth/logout", "", json!({"token": 1})).await.status, 400);
}

#[tokio::test]
async fn a_disabled_user_is_out() {
    let mut config = config();
    config.lifetimes.sign_in_cache = Duration::from_millis(50);
    let server = Server::with(config).await;
    let id = server.register("ann").await;
    let access = text(&server.login("ann").await["access_token"]);
    server.get("/api/me", &access).await.expect(200);
    let user = UserId(id.parse().expect("an id"));
    server.accounts.set_disabled(TenantId::MAIN, user, true).await.expect("disabled");
    until(async || server.get("/api/me", &access).await.status == 401).await;
    let body = json!({"username": "ann", "password": PASSWORD});
    assert_eq!(server.post("/api/auth/login", "", body).await.code(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_new_password_ends_the_other_sign_ins() {
    let server = Server::start().await;
    server.register("ann").await;
    let (one, other) = (server.login("ann").await, server.login("ann").await);
    let access = text(&one["access_token"]);
    let change = |old: &str, new: &str| {
        let body = json!({"old_password": old, "new_password": new});
        server.call("PUT", "/api/auth/password", &access, Some(body))
    };
    assert_eq!(change("Wrong12345", "Winter2027").await.code(), (403, "forbidden".into()));
    assert_eq!(change(PASSWORD, "weak").await.code(), (400, "bad_request".into()));
    let fresh = change(PASSWORD, "Winter2027").await.expect(200);
    server.get("/api/me", &text(&fresh["access_token"])).await.expect(200);
    for old in [one, other] {
        assert_eq!(server.get("/api/me", &text(&old["access_token"])).await.status, 401);
    }
    let body = json!({"username": "ann", "password": "Winter2027"});
    server.post("/api/auth/login", "", body).await.expect(200);
}

#[tokio::test]
async fn tokens_that_are_not_ours_are_refused() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let (head, _) = access.rsplit_once('.').expect("three parts");
    let payload = head.split('.').nth(1).expect("a payload");
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.");
    for token in [none.as_str(), "x", "a.b.c", &format!("{head}.AAAA"), &"x".repeat(5_000)] {
        let reply = server.get("/api/me", token).await;
        assert_eq!(reply.code(), (401, "unauthenticated".into()));
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
    let basic = http::Request::builder().uri("/api/me").header("authorization", "Basic YTpi");
    let reply = server.send(basic.body(http_body_util::Full::default()).expect("one")).await;
    assert_eq!(reply.code().0, 401);
    // A token of another installation.
    let other = Server::start().await;
    let foreign = other.user("ann").await;
    assert_eq!(server.get("/api/me", &foreign).await.status, 401);
}

#[tokio::test]
async fn a_ticket_opens_one_socket_and_no_second() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let reply = server.call("POST", "/api/auth/ws-ticket", &access, None).await.expect(201);
    assert_eq!(reply["expires_in"], 30);
    let path = format!("/ws?ticket={}", text(&reply["ticket"]));
    let mut socket = server.ws(&path, "").await;
    socket.say(json!({"type": "hello"})).await;
    assert_eq!(socket.hear().await["user"]["username"], "ann");
    assert_eq!(server.try_ws(&path, "", None).await.err(), Some(401));
}

#[tokio::test]
async fn too_many_registrations_and_sign_ins_of_an_address_have_to_wait() {
    let mut config = config();
    config.rates.register_per_minute = 2;
    config.rates.login_per_minute = 3;
    let server = Server::with(config).await;
    server.register("ann").await;
    server.register("bob").await;
    let body = json!({"username": "cat", "password": PASSWORD});
    let reply = server.post("/api/auth/register", "", body.clone()).await;
    assert_eq!(reply.code(), (429, "rate_limited".into()));
    let seconds: u64 = reply.headers["retry-after"].to_str().expect("text").parse().expect("s");
    assert!((1..=60).contains(&seconds));
    let ms = reply.json()["retry_after_ms"].as_u64().expect("milliseconds");
    assert!(ms <= seconds * 1_000 && ms > 0);
    for _ in 0..3 {
        server.login("ann").await;
    }
    assert_eq!(server.post("/api/auth/login", "", body).await.code().0, 429);
}

#[tokio::test]
async fn repeated_failures_lock_the_name_for_that_address_only() {
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    config.lockout = LockoutRule {
        failures: 3,
        window: Duration::from_secs(600),
        rest: Duration::from_secs(600),
    };
    let server = Server::with(config).await;
    server.register("ann").await;
    let login = |from: &str, password: &str| {
        let body = json!({"username": "ann", "password": password});
        let mut request = crate::harness::request("POST", "/api/auth/login", "", Some(body));
        request.headers_mut().insert("x-forwarded-for", from.parse().expect("a header"));
        server.send(request)
    };
    for _ in 0..2 {
        assert_eq!(login("203.0.113.1", "Wrong12345").await.code().1, "unauthenticated");
    }
    assert_eq!(login("203.0.113.1", "Wrong12345").await.code(), (429, "locked_out".into()));
    let locked = login("203.0.113.1", PASSWORD).await;
    assert_eq!(locked.code(), (429, "locked_out".into()), "even with the right password");
    assert!(locked.headers.contains_key("retry-after"));
    login("203.0.113.2", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_guess_spread_over_many_addresses_is_slowed_for_a_minute() {
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    config.lockout = LockoutRule {
        failures: 1,
        window: Duration::from_secs(600),
        rest: Duration::from_secs(600),
    };
    let server = Server::with(config).await;
    server.register("ann").await;
    let login = |from: String, password: &str| {
        let body = json!({"username": "Ann", "password": password});
        let mut request = crate::harness::request("POST", "/api/auth/login", "", Some(body));
        request.headers_mut().insert("x-forwarded-for", from.parse().expect("a header"));
        server.send(request)
    };
    for host in 0..19 {
        login(format!("203.0.113.{host}"), "Wrong12345").await;
    }
    login("198.51.100.1".to_owned(), PASSWORD).await.expect(200);
    login("203.0.113.19".to_owned(), "Wrong12345").await;
    let reply = login("198.51.100.1".to_owned(), PASSWORD).await;
    assert_eq!(reply.code(), (429, "locked_out".into()));
    let ms = reply.json()["retry_after_ms"].as_u64().expect("milliseconds");
    assert!(ms <= 60_000, "{ms}");
}

#[tokio::test]
async fn registration_can_be_switched_off() {
    let mut config = config();
    config.registration = false;
    let server = Server::with(config).await;
    let body = json!({"username": "ann", "password": PASSWORD});
    let reply = server.post("/api/auth/register", "", body).await;
    assert_eq!(reply.code(), (403, "forbidden".into()));
}

#[tokio::test]
async fn a_rotation_of_signing_keys_signs_nobody_out() {
    let mut config = config();
    config.lifetimes.signing_key = Duration::from_millis(400);
    config.lifetimes.key_ahead = Duration::from_millis(100);
    config.lifetimes.key_reload = Duration::from_millis(25);
    let server = Server::with(config.clone()).await;
    server.register("ann").await;
    let old = text(&server.login("ann").await["access_token"]);
    let key = |token: &str| jsonwebtoken::decode_header(token).expect("a token").kid;
    // Another node on the same database, which takes part in the rotation.
    let other = Server::over(config, server.accounts.clone(), server.secret.clone()).await;
    until(async || {
        let new = text(&server.login("ann").await["access_token"]);
        other.get("/api/me", &new).await.expect(200);
        server.get("/api/me", &old).await.expect(200);
        other.get("/api/me", &old).await.expect(200);
        key(&new) != key(&old)
    })
    .await;
    let keys = server.accounts.signing_keys(Timestamp::now()).await.expect("keys");
    assert!(keys.len() >= 2, "{keys:?}");
}

#[tokio::test]
async fn a_node_with_another_cluster_secret_does_not_start() {
    let server = Server::start().await;
    let parts = parlance_gateway::Parts {
        chat: server.chat.clone(),
        accounts: server.accounts.clone(),
        directory: server.directory.clone(),
        cluster: server.cluster.clone(),
        history: server.history.clone(),
        secret: parlance_gateway::ClusterSecret::generate(),
        metrics: None,
    };
    let error = parlance_gateway::Gateway::bind(config(), parts).await.expect_err("sealed");
    assert!(error.to_string().contains("cluster secret"), "{error}");
}
