//! Rooms, messages, members and people over HTTP, from beginning to end.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Server, request, text};

fn seqs(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().expect("a page");
    messages.iter().map(|entry| entry["seq"].as_u64().expect("a seq")).collect()
}

#[tokio::test]
async fn a_room_is_made_once_for_a_key_listed_changed_and_joined() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let key = Uuid::now_v7();
    let new = json!({"key": key, "name": " Hall ", "kind": "public", "topic": "talk"});
    let made = server.post("/api/rooms", &ann, new.clone()).await.expect(201);
    assert_eq!((&made["name"], &made["topic"]), (&json!("Hall"), &json!("talk")));
    assert_eq!((&made["kind"], &made["role"]), (&json!("public"), &json!("owner")));
    assert!(made["created_at"].is_string());
    let again = server.post("/api/rooms", &ann, new).await.expect(201);
    assert_eq!(again["id"], made["id"]);
    let taken = json!({"name": "hall", "kind": "public"});
    assert_eq!(server.post("/api/rooms", &bob, taken).await.code(), (409, "name_taken".into()));
    for (body, why) in [
        (json!({"name": "", "kind": "public"}), "1 to 80"),
        (json!({"name": "x", "kind": "direct"}), "public and private"),
        (json!({"name": "x", "kind": "open"}), "kind"),
        (json!({"name": "x", "kind": "public", "topic": "a\u{0}b"}), "control"),
    ] {
        let reply = server.post("/api/rooms", &ann, body).await;
        assert_eq!(reply.status, 400);
        assert!(text(&reply.json()["detail"]).contains(why), "{reply:?}");
    }

    let id = text(&made["id"]);
    let path = format!("/api/rooms/{id}");
    let seen = server.get(&path, &bob).await.expect(200);
    assert_eq!((&seen["name"], &seen["role"]), (&json!("Hall"), &Value::Null));
    let change = json!({"name": "Great Hall", "slow_mode_seconds": 5});
    let patch = |token, body| server.call("PATCH", &path, token, Some(body));
    assert_eq!(patch(&bob, change.clone()).await.status, 403);
    let changed = patch(&ann, change).await.expect(200);
    assert_eq!(changed["name"], "Great Hall");
    assert_eq!(changed["slow_mode_seconds"], 5);
    assert_eq!(changed["topic"], "talk");
    assert_eq!(patch(&ann, json!({})).await.status, 400);
    assert_eq!(patch(&ann, json!({"slow_mode_seconds": 100_000})).await.status, 400);

    let join = format!("{path}/join");
    let mut keyed = request("POST", &join, &bob, None);
    let key = Uuid::now_v7().to_string();
    keyed.headers_mut().insert("idempotency-key", key.parse().expect("a header"));
    let joined = server.send(keyed.clone()).await.expect(200);
    let repeated = server.send(keyed).await.expect(200);
    assert_eq!(repeated["seq"], joined["seq"]);
    assert_eq!(repeated["repeated"], true);
    let list = server.get("/api/rooms", &bob).await.expect(200);
    let mine =
        list["rooms"].as_array().expect("rooms").iter().find(|room| room["id"] == made["id"]);
    assert_eq!(mine.expect("listed")["role"], "member");
    server.call("POST", &format!("{path}/leave"), &bob, None).await.expect(200);
    assert_eq!(server.get(&path, &bob).await.expect(200)["role"], Value::Null);
}

#[tokio::test]
async fn members_are_added_given_roles_and_removed() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let bob_id = text(&server.get("/api/me", &bob).await.expect(200)["id"]);
    let room = server.room(&ann, "private").await;
    let member = format!("/api/rooms/{room}/members/{bob_id}");
    server.call("PUT", &member, &ann, None).await.expect(200);
    assert_eq!(server.get(&format!("/api/rooms/{room}"), &bob).await.expect(200)["role"], "member");
    server.call("PUT", &member, &ann, Some(json!({"role": "moderator"}))).await.expect(200);
    let list = server.get(&format!("/api/rooms/{room}/members"), &bob).await.expect(200);
    let roles: Vec<_> = list["members"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| (text(&member["user"]["username"]), text(&member["role"])))
        .collect();
    assert!(roles.contains(&("ann".into(), "owner".into())), "{roles:?}");
    assert!(roles.contains(&("bob".into(), "moderator".into())), "{roles:?}");
    // Added again without a role, by mistake or by a client that did not know: nobody is demoted.
    for body in [None, Some(json!({}))] {
        let again = server.call("PUT", &member, &ann, body).await;
        assert_eq!(again.code(), (409, "conflict".into()));
    }
    let seen = server.get(&format!("/api/rooms/{room}"), &bob).await.expect(200);
    assert_eq!(seen["role"], "moderator");
    server.call("PUT", &member, &ann, Some(json!({"role": "member"}))).await.expect(200);
    let nobody = format!("/api/rooms/{room}/members/{}", Uuid::now_v7());
    assert_eq!(server.call("PUT", &nobody, &ann, None).await.code(), (404, "not_found".into()));
    server.call("DELETE", &member, &ann, None).await.expect(200);
    assert_eq!(server.get(&format!("/api/rooms/{room}"), &bob).await.status, 404);
}

#[tokio::test]
async fn a_message_is_sent_once_for_a_key_edited_reacted_to_pinned_and_deleted() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = server.room(&ann, "public").await;
    server.call("POST", &format!("/api/rooms/{room}/join"), &bob, None).await.expect(200);
    let path = format!("/api/rooms/{room}/messages");
    let send = json!({"key": Uuid::now_v7(), "body": "one"});
    let sent = server.post(&path, &ann, send.clone()).await.expect(201);
    let repeat = server.post(&path, &ann, send).await.expect(201);
    assert_eq!((&repeat["seq"], &repeat["sent_at"]), (&sent["seq"], &sent["sent_at"]));
    let message = format!("{path}/{}", sent["seq"]);

    let body = json!({"body": "two"});
    assert_eq!(server.call("PATCH", &message, &bob, Some(body.clone())).await.status, 403);
    server.call("PATCH", &message, &ann, Some(body)).await.expect(200);
    server.call("PUT", &format!("{message}/reactions/%F0%9F%91%8D"), &bob, None).await.expect(200);
    server.call("PUT", &format!("{message}/reactions/x"), &bob, None).await.expect(200);
    server.call("DELETE", &format!("{message}/reactions/x"), &bob, None).await.expect(200);
    server.call("PUT", &format!("{message}/pin"), &ann, None).await.expect(200);

    let page = server.get(&path, &bob).await.expect(200);
    let entries = page["messages"].as_array().expect("a page");
    let entry = entries.iter().find(|entry| entry["seq"] == sent["seq"]).expect("the message");
    assert_eq!((&entry["body"], &entry["pinned"]), (&json!("two"), &json!(true)));
    assert!(entry["edited_at"].is_string());
    assert_eq!(entry["reactions"].as_array().expect("reactions").len(), 1);
    assert_eq!(entry["reactions"][0]["emoji"], "\u{1f44d}");
    assert_eq!(entry["reactions"][0]["users"][0]["username"], "bob");

    let log = server.get(&format!("{path}?view=log&limit=200"), &bob).await.expect(200);
    let all: Vec<u64> = (1..=log["as_of"].as_u64().expect("a head")).collect();
    assert_eq!(seqs(&log), all, "no gap and no repeat");
    let after = server.get(&format!("{path}?view=log&after=2&limit=3"), &bob).await.expect(200);
    assert_eq!((seqs(&after), &after["more"]), (vec![3, 4, 5], &json!(true)));
    let before = server.get(&format!("{path}?view=log&before=3&limit=5"), &bob).await.expect(200);
    assert_eq!((seqs(&before), &before["more"]), (vec![1, 2], &json!(false)));

    assert_eq!(server.call("DELETE", &message, &bob, None).await.status, 403);
    server.call("DELETE", &format!("{message}/pin"), &ann, None).await.expect(200);
    server.call("DELETE", &message, &ann, None).await.expect(200);
    let page = server.get(&path, &bob).await.expect(200);
    let entries = page["messages"].as_array().expect("a page");
    let entry = entries.iter().find(|entry| entry["seq"] == sent["seq"]).expect("a tombstone");
    assert_eq!(entry["body"], Value::Null);
    assert_eq!(entry["deleted"]["by"]["username"], "ann");

    let read = format!("/api/rooms/{room}/read");
    server.call("PUT", &read, &bob, Some(json!({"seq": 2}))).await.expect(204);
    let list = server.get("/api/rooms", &bob).await.expect(200);
    let mine = list["rooms"].as_array().expect("rooms").iter().find(|one| one["id"] == json!(room));
    assert_eq!(mine.expect("listed")["read"], 2);
}

fn listed(list: &Value, id: &Value) -> Value {
    let rooms = list["rooms"].as_array().expect("rooms");
    rooms.iter().find(|room| room["id"] == *id).unwrap_or_else(|| panic!("{id} in {list}")).clone()
}

#[tokio::test]
async fn a_room_tells_what_is_unread_and_when_it_was_last_active() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = json!(server.room(&ann, "public").await);
    let path = format!("/api/rooms/{}", text(&room));
    let fresh = server.get(&path, &bob).await.expect(200);
    assert_eq!((&fresh["head"], &fresh["unread"]), (&json!(2), &json!(0)));
    server.call("POST", &format!("{path}/join"), &bob, None).await.expect(200);
    let messages = format!("{path}/messages");
    for body in ["one", "two", "three"] {
        server.post(&messages, &ann, json!({"body": body})).await.expect(201);
    }
    let last = server.post(&messages, &bob, json!({"body": "four"})).await.expect(201);
    let seen = listed(&server.get("/api/rooms", &bob).await.expect(200), &room);
    assert_eq!((&seen["head"], &seen["unread"], &seen["read"]), (&json!(7), &json!(3), &json!(0)));
    assert_eq!(seen["last_at"], last["sent_at"]);
    assert!(seen.get("with").is_none(), "{seen}");
    server.call("DELETE", &format!("{messages}/5"), &ann, None).await.expect(200);
    server.call("PUT", &format!("{path}/read"), &bob, Some(json!({"seq": 4}))).await.expect(204);
    let seen = server.get(&path, &bob).await.expect(200);
    assert_eq!((&seen["head"], &seen["unread"], &seen["read"]), (&json!(8), &json!(1), &json!(4)));
    assert_eq!(seen, listed(&server.get("/api/rooms", &bob).await.expect(200), &room));
    // The lobby has no rows of members, and is listed all the same.
    let lobby = |list: &Value| {
        let rooms = list["rooms"].as_array().expect("rooms").clone();
        rooms.into_iter().find(|room| room["kind"] == "lobby").expect("the lobby")
    };
    let empty = lobby(&server.get("/api/rooms", &bob).await.expect(200));
    assert_eq!((&empty["head"], &empty["last_at"]), (&json!(0), &Value::Null));
    let messages = format!("/api/rooms/{}/messages", text(&empty["id"]));
    server.post(&messages, &ann, json!({"body": "all"})).await.expect(201);
    let seen = lobby(&server.get("/api/rooms", &bob).await.expect(200));
    assert_eq!((&seen["head"], &seen["unread"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_room_counts_mentions_of_its_members_and_a_list_tells_where_they_are() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let room = json!(server.room(&ann, "public").await);
    let path = format!("/api/rooms/{}", text(&room));
    let messages = format!("{path}/messages");
    // Who looks at a public room from outside has nothing to read there.
    server.post(&messages, &ann, json!({"body": "@bob, come in"})).await.expect(201);
    assert_eq!(server.get(&path, &bob).await.expect(200)["mentions"], 0);
    server.call("POST", &format!("{path}/join"), &bob, None).await.expect(200);
    let mut seqs = Vec::new();
    for body in ["@bob", "bob", "hi @BOB!"] {
        let sent = server.post(&messages, &ann, json!({"body": body})).await.expect(201);
        seqs.push(sent["seq"].clone());
    }
    server.post(&messages, &bob, json!({"body": "@bob to myself"})).await.expect(201);
    let seen = listed(&server.get("/api/rooms", &bob).await.expect(200), &room);
    assert_eq!((&seen["unread"], &seen["mentions"]), (&json!(4), &json!(2)));
    let browsed = listed(&server.get("/api/rooms/browse", &bob).await.expect(200), &room);
    assert_eq!(browsed["mentions"], 2);
    let places = |page: &Value| {
        let all = page["mentions"].as_array().expect("a page").clone();
        assert!(all.iter().all(|one| one["room"] == room && one["at"].is_string()), "{page}");
        all.into_iter().map(|one| one["seq"].clone()).collect::<Vec<_>>()
    };
    let page = server.get("/api/me/mentions?limit=1", &bob).await.expect(200);
    assert_eq!(places(&page), [seqs[2].clone()]);
    let next = format!("/api/me/mentions?limit=1&before={}", text(&page["next"]));
    let page = server.get(&next, &bob).await.expect(200);
    assert_eq!((places(&page), page.get("next")), (vec![seqs[0].clone()], None));
    for bad in ["limit=0", "limit=201", "before=nothing", "after=1"] {
        let refused = server.get(&format!("/api/me/mentions?{bad}"), &bob).await;
        assert_eq!(refused.code().0, 400, "{bad}");
    }
    assert_eq!(server.get("/api/me/mentions", "").await.status, 401);
    let read = format!("{path}/read");
    server.call("PUT", &read, &bob, Some(json!({"seq": seqs[0]}))).await.expect(204);
    assert_eq!(server.get(&path, &bob).await.expect(200)["mentions"], 1);
    // In a direct conversation as well, beside what is unread there.
    let direct = server.post("/api/direct", &ann, json!({"username": "bob"})).await.expect(200);
    let messages = format!("/api/rooms/{}/messages", text(&direct["id"]));
    for body in ["psst", "@bob"] {
        server.post(&messages, &ann, json!({"body": body})).await.expect(201);
    }
    let seen = listed(&server.get("/api/rooms", &bob).await.expect(200), &direct["id"]);
    assert_eq!((&seen["unread"], &seen["mentions"]), (&json!(2), &json!(1)));
}

#[tokio::test]
async fn a_direct_conversation_says_with_whom() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let id = |me: Value| me["id"].clone();
    let ann_id = id(server.get("/api/me", &ann).await.expect(200));
    let bob_id = id(server.get("/api/me", &bob).await.expect(200));
    let opened = server.post("/api/direct", &ann, json!({"username": "bob"})).await.expect(200);
    assert_eq!(opened["with"], json!({"id": bob_id, "username": "bob"}));
    let list = server.get("/api/rooms", &bob).await.expect(200);
    let seen = listed(&list, &opened["id"]);
    assert_eq!(seen["with"], json!({"id": ann_id, "username": "ann"}));
    let notes = server.post("/api/direct", &ann, json!({"username": "ann"})).await.expect(200);
    assert_eq!(notes["with"], json!({"id": ann_id, "username": "ann"}));
    let again = server.get(&format!("/api/rooms/{}", text(&notes["id"])), &ann).await.expect(200);
    assert_eq!(again["with"], notes["with"]);
}

#[tokio::test]
async fn a_direct_conversation_is_the_same_from_either_side_and_closed_to_others() {
    let server = Server::start().await;
    let (ann, bob, cat) =
        (server.user("ann").await, server.user("bob").await, server.user("cat").await);
    let ann_id = text(&server.get("/api/me", &ann).await.expect(200)["id"]);
    let one = server.post("/api/direct", &ann, json!({"username": "BOB"})).await.expect(200);
    let other = server.post("/api/direct", &bob, json!({"user": ann_id})).await.expect(200);
    assert_eq!(one["id"], other["id"]);
    assert_eq!(one["kind"], "direct");
    let path = format!("/api/rooms/{}/messages", text(&one["id"]));
    server.post(&path, &ann, json!({"body": "psst"})).await.expect(201);
    let page = server.get(&path, &bob).await.expect(200);
    assert!(page.to_string().contains("psst"));
    assert_eq!(server.get(&path, &cat).await.code(), (404, "not_found".into()));
    for body in [json!({}), json!({"user": ann_id, "username": "bob"})] {
        assert_eq!(server.post("/api/direct", &ann, body).await.status, 400);
    }
    let nobody = json!({"username": "nobody"});
    assert_eq!(server.post("/api/direct", &ann, nobody).await.status, 404);
}

#[tokio::test]
async fn people_are_found_by_the_beginning_of_their_name() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    server.user("anton").await;
    server.user("bob").await;
    let found = server.get("/api/users?prefix=AN", &ann).await.expect(200);
    let names: Vec<_> = found["users"]
        .as_array()
        .expect("users")
        .iter()
        .map(|user| text(&user["username"]))
        .collect();
    assert_eq!(names, ["ann", "anton"]);
    let one = server.get("/api/users?prefix=an&limit=1", &ann).await.expect(200);
    assert_eq!(one["users"].as_array().expect("users").len(), 1);
    let id = text(&one["users"][0]["id"]);
    assert_eq!(server.get(&format!("/api/users/{id}"), &ann).await.expect(200)["username"], "ann");
    assert_eq!(server.get("/api/users?prefix=an", "").await.status, 401);
}

#[tokio::test]
async fn pages_hold_what_was_asked_for_and_say_whether_there_is_more() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let new = json!({"name": "hall", "kind": "public"});
    let made = server.post("/api/rooms", &ann, new).await.expect(201);
    let path = format!("/api/rooms/{}", text(&made["id"]));
    server.post(&format!("{path}/join"), &bob, json!({})).await.expect(200);
    let members = server.get(&format!("{path}/members?limit=1"), &ann).await.expect(200);
    assert_eq!(members["members"].as_array().map(Vec::len), Some(1));
    assert_eq!(members["more"], true);
    let mut seen = Vec::new();
    let mut query = "/api/rooms?limit=1".to_owned();
    loop {
        let page = server.get(&query, &ann).await.expect(200);
        let rooms = page["rooms"].as_array().expect("a list");
        assert_eq!(rooms.len(), 1);
        seen.push(text(&rooms[0]["name"]).to_owned());
        if page["more"] == false {
            break;
        }
        query = format!("/api/rooms?limit=1&after={}", text(&rooms[0]["id"]));
    }
    seen.sort();
    assert_eq!(seen, ["hall", "lobby"]);
}

#[tokio::test]
async fn a_read_mark_shows_wherever_the_room_does() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let new = json!({"name": "hall", "kind": "public"});
    let made = server.post("/api/rooms", &ann, new).await.expect(201);
    let path = format!("/api/rooms/{}", text(&made["id"]));
    let mark = json!({"seq": 2});
    let marked = server.call("PUT", &format!("{path}/read"), &ann, Some(mark)).await;
    assert_eq!(marked.status, 204);
    assert_eq!(server.get(&path, &ann).await.expect(200)["read"], 2);
    let changed = server.call("PATCH", &path, &ann, Some(json!({"topic": "x"}))).await;
    assert_eq!(changed.expect(200)["read"], 2);
}

#[tokio::test]
async fn a_call_without_a_body_refuses_one_instead_of_ignoring_it() {
    let server = Server::start().await;
    let ann = server.user("ann").await;
    let new = json!({"name": "hall", "kind": "public"});
    let made = server.post("/api/rooms", &ann, new).await.expect(201);
    let join = format!("/api/rooms/{}/join", text(&made["id"]));
    for path in [join.as_str(), "/api/auth/ws-ticket"] {
        let refused = server.post(path, &ann, json!({"key": Uuid::now_v7()})).await;
        assert_eq!(refused.code(), (400, "bad_request".into()));
        assert!(text(&refused.json()["detail"]).contains("Idempotency-Key"));
    }
}

#[tokio::test]
async fn public_rooms_are_browsed_by_name_and_the_list_has_only_ones_own() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    for (name, kind) in
        [("Tea", "public"), ("tea two", "public"), ("teapot", "private"), ("Ale", "public")]
    {
        server.post("/api/rooms", &ann, json!({"name": name, "kind": kind})).await.expect(201);
    }
    let names = |list: &Value| -> Vec<String> {
        let rooms = list["rooms"].as_array().expect("rooms");
        rooms.iter().map(|room| text(&room["name"])).collect()
    };
    let own = server.get("/api/rooms", &bob).await.expect(200);
    assert_eq!(names(&own), ["lobby"]);
    let all = server.get("/api/rooms/browse", &bob).await.expect(200);
    assert_eq!((names(&all), &all["more"]), (vec_of(&["Ale", "Tea", "tea two"]), &json!(false)));
    let tea = all["rooms"][1].clone();
    assert_eq!((&tea["role"], &tea["members"]), (&Value::Null, &json!(1)));
    let path = format!("/api/rooms/{}/join", text(&tea["id"]));
    server.call("POST", &path, &bob, None).await.expect(200);
    let found = server.get("/api/rooms/browse?prefix=tEA&limit=1", &bob).await.expect(200);
    assert_eq!((names(&found), &found["more"]), (vec_of(&["Tea"]), &json!(true)));
    let tea = found["rooms"][0].clone();
    assert_eq!((&tea["role"], &tea["members"]), (&json!("member"), &json!(2)));
    let next = format!("/api/rooms/browse?prefix=tEA&limit=1&after={}", text(&tea["id"]));
    let found = server.get(&next, &bob).await.expect(200);
    assert_eq!((names(&found), &found["more"]), (vec_of(&["tea two"]), &json!(false)));
    assert_eq!(server.get("/api/rooms/browse?limit=0", &bob).await.status, 400);
    assert_eq!(server.get("/api/rooms/browse?sort=x", &bob).await.status, 400);
    // Neither a room that nobody knows nor a private one is a place in the list.
    let teapot = server.get("/api/rooms", &ann).await.expect(200);
    let teapot = teapot["rooms"].as_array().expect("rooms").iter().find(|r| r["name"] == "teapot");
    let teapot = text(&teapot.expect("her own")["id"]);
    for after in [teapot, uuid::Uuid::now_v7().to_string()] {
        let refused = server.get(&format!("/api/rooms/browse?after={after}"), &bob).await;
        assert_eq!(refused.code(), (400, "bad_request".into()));
    }
    assert_eq!(server.get("/api/rooms/browse", "").await.status, 401);
}

fn vec_of(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn pins_are_listed_newest_first_for_members() {
    let server = Server::start().await;
    let (ann, bob) = (server.user("ann").await, server.user("bob").await);
    let path = format!("/api/rooms/{}", server.room(&ann, "private").await);
    let messages = format!("{path}/messages");
    let mut seqs = Vec::new();
    for body in ["one", "two", "three"] {
        let sent = server.post(&messages, &ann, json!({"body": body})).await.expect(201);
        seqs.push(sent["seq"].as_u64().expect("a seq"));
    }
    let pins = format!("{path}/pins");
    assert_eq!(server.get(&pins, &ann).await.expect(200), json!({"messages": []}));
    for seq in [seqs[0], seqs[2], seqs[1]] {
        server.call("PUT", &format!("{messages}/{seq}/pin"), &ann, None).await.expect(200);
    }
    server.call("DELETE", &format!("{messages}/{}/pin", seqs[2]), &ann, None).await.expect(200);
    let edit = json!({"body": "uno"});
    let first = format!("{messages}/{}", seqs[0]);
    server.call("PATCH", &first, &ann, Some(edit)).await.expect(200);
    let seen = server.get(&pins, &ann).await.expect(200);
    let bodies: Vec<String> = seen["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .inspect(|entry| assert_eq!(entry["pinned"], true, "{entry}"))
        .map(|entry| text(&entry["body"]))
        .collect();
    assert_eq!(bodies, ["two", "uno"]);
    server.call("DELETE", &first, &ann, None).await.expect(200);
    let seen = server.get(&pins, &ann).await.expect(200);
    assert_eq!(seen["messages"].as_array().map(Vec::len), Some(1), "{seen}");
    assert_eq!(server.get(&pins, &bob).await.code(), (404, "not_found".into()));
}
