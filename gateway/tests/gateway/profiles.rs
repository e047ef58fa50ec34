//! What users say of themselves, over HTTP.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Server, text};

fn usernames(found: &Value) -> Vec<String> {
    let users = found["users"].as_array().expect("users");
    users.iter().map(|user| text(&user["username"])).collect()
}

#[tokio::test]
async fn a_profile_is_changed_in_parts_and_seen_by_others() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let plain = server.get("/api/me", &ann).await.expect(200);
    assert_eq!((plain.get("name"), plain.get("about")), (None, None));
    let path = format!("/api/users/{}", text(&plain["id"]));
    let change = |body| server.call("PATCH", "/api/me", &ann, Some(body));

    let named = change(json!({"name": "  Ann Example "})).await.expect(200);
    assert_eq!((&named["name"], named.get("about")), (&json!("Ann Example"), None));
    assert_eq!((&named["id"], &named["username"]), (&plain["id"], &plain["username"]));
    let whole = change(json!({"about": "Likes engines"})).await.expect(200);
    assert_eq!((&whole["name"], &whole["about"]), (&named["name"], &json!("Likes engines")));
    assert_eq!(server.get("/api/me", &ann).await.expect(200), whole);
    let seen = server.get(&path, &bob).await.expect(200);
    let shown = json!({"id": plain["id"], "username": "ann", "name": "Ann Example", "about": "Likes engines"});
    assert_eq!(seen, shown);
    // Under the name in the log, which is the username, and in which nothing changes.
    let room = server.room(&ann, "public").await;
    let messages = format!("/api/rooms/{room}/messages");
    server.post(&messages, &ann, json!({"body": "hi"})).await.expect(201);
    server.call("POST", &format!("/api/rooms/{room}/join"), &bob, None).await.expect(200);
    let page = server.get(&messages, &bob).await.expect(200);
    let entries = page["messages"].as_array().expect("a page");
    let hi = entries.iter().find(|entry| entry["body"] == "hi").expect("in the page");
    assert_eq!(hi["sender"], json!({"id": plain["id"], "username": "ann"}));

    let cleared = change(json!({"name": null, "about": ""})).await.expect(200);
    assert_eq!(cleared, plain);
}

#[tokio::test]
async fn a_profile_that_misleads_is_refused_and_nothing_changes() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let change = |token, body| server.call("PATCH", "/api/me", token, Some(body));
    let kept = change(&ann, json!({"name": "Ann", "about": "here"})).await.expect(200);
    for (body, why) in [
        (json!({}), "nothing to change"),
        (json!({"name": "x".repeat(51)}), "allowed are up to 50"),
        (json!({"about": "x".repeat(201), "name": "not kept"}), "allowed are up to 200"),
        (json!({"name": "a\nb"}), "one line"),
        (json!({"name": "a\u{202e}b"}), "U+202E"),
        (json!({"name": 5}), "name"),
        (json!({"username": "anna"}), "username"),
    ] {
        let refused = change(&ann, body).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(text(&refused.json()["detail"]).contains(why), "{refused:?}");
    }
    let passing = change(&ann, json!({"name": "BOB", "about": "not kept"})).await;
    assert_eq!(passing.code(), (409, "name_taken".into()));
    assert_eq!(server.get("/api/me", &ann).await.expect(200), kept);
    assert_eq!(change("", json!({"name": "x"})).await.status, 401);
    // One's own username may be the name as well, and two people may have the same.
    for name in ["Bob", "Robert"] {
        change(&bob, json!({"name": name})).await.expect(200);
    }
    change(&ann, json!({"name": "Robert"})).await.expect(200);
}

#[tokio::test]
async fn people_are_looked_up_by_many_ids_at_once_and_found_by_the_name_they_show() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let id = |me: Value| text(&me["id"]);
    let ann_id = id(server.get("/api/me", &ann).await.expect(200));
    let bob_id = id(server.get("/api/me", &bob).await.expect(200));
    let name = json!({"name": "Robert Example"});
    server.call("PATCH", "/api/me", &bob, Some(name)).await.expect(200);

    let nobody = Uuid::now_v7();
    let path = format!("/api/users?ids={ann_id},{nobody},{bob_id},{bob_id}");
    let found = server.get(&path, &ann).await.expect(200);
    let mut names = usernames(&found);
    names.sort();
    assert_eq!(names, ["ann", "bob"], "each once, and nobody else");
    let many = [bob_id.as_str(); 100].join(",");
    assert_eq!(
        usernames(&server.get(&format!("/api/users?ids={many}"), &ann).await.expect(200)),
        ["bob"]
    );
    for bad in [
        format!("ids={many},{bob_id}"),
        "ids=".to_owned(),
        "ids=bob".to_owned(),
        format!("ids={bob_id},"),
        format!("ids={bob_id}&prefix=b"),
        format!("ids={bob_id}&limit=1"),
        "limit=1".to_owned(),
    ] {
        let refused = server.get(&format!("/api/users?{bad}"), &ann).await;
        assert_eq!(refused.code(), (400, "bad_request".into()), "{bad}");
    }
    for prefix in ["rob", "ROBERT%20E", "bo"] {
        let found = server.get(&format!("/api/users?prefix={prefix}"), &ann).await.expect(200);
        assert_eq!(usernames(&found), ["bob"], "{prefix}");
        assert_eq!(found["users"][0]["name"], "Robert Example");
    }
}
