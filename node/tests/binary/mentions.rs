//! Mentions, from the message to the list of rooms, by the real binary and its database.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Node, folder};

const PASSWORD: &str = "Correct-Horse-1";
const SETTINGS: [&str; 4] =
    ["--set", "auth.argon2_memory_kib=8192", "--set", "auth.argon2_iterations=1"];

fn sign_up(node: &Node, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    assert_eq!(node.ask("POST", "/api/auth/register", "", &body).0, 201);
    node.sign_in(name, PASSWORD)
}

/// How often the caller is mentioned in a room, as the list of rooms says.
fn counted(node: &Node, token: &str, room: &str) -> u64 {
    let (status, list) = node.ask("GET", "/api/rooms", token, "");
    assert_eq!(status, 200, "{list}");
    let rooms = list["rooms"].as_array().expect("rooms");
    let found = rooms.iter().find(|one| one["id"] == room).expect("it is listed");
    found["mentions"].as_u64().expect("a number")
}

fn listed(node: &Node, token: &str, query: &str) -> (Vec<u64>, Option<String>) {
    let (status, page) = node.ask("GET", &format!("/api/me/mentions{query}"), token, "");
    assert_eq!(status, 200, "{page}");
    let mentions = page["mentions"].as_array().expect("a page");
    let seqs = mentions.iter().map(|one| one["seq"].as_u64().expect("a seq")).collect();
    (seqs, page["next"].as_str().map(str::to_owned))
}

#[test]
fn a_mention_is_as_durable_as_its_message_and_goes_with_it() {
    let data = folder();
    let node = Node::start(data.path(), &SETTINGS);
    let (ann, bob) = (sign_up(&node, "ann"), sign_up(&node, "bob"));
    let new = json!({"name": "tea", "kind": "public"}).to_string();
    let (status, room) = node.ask("POST", "/api/rooms", &ann, &new);
    assert_eq!(status, 201, "{room}");
    let room = room["id"].as_str().expect("an id");
    let path = format!("/api/rooms/{room}");
    assert_eq!(node.ask("POST", &format!("{path}/join"), &bob, "").0, 200);
    let say = |node: &Node, body: Value| {
        let sent = node.ask("POST", &format!("{path}/messages"), &ann, &body.to_string());
        assert_eq!(sent.0, 201, "{}", sent.1);
        sent.1["seq"].as_u64().expect("a seq")
    };
    let once = json!({"key": "0198a0c1-5e00-7000-8000-00000000000a", "body": "hi @Bob, and @ann"});
    let first = say(&node, once.clone());
    let second = say(&node, json!({"body": "bob@example.org, @bobby"}));
    // Killed after the answer, before anything else.
    let last = say(&node, json!({"body": "@bob?"}));
    node.end(Signal::KILL);

    let node = Node::start(data.path(), &SETTINGS);
    assert_eq!(say(&node, once), first, "the same message");
    assert_eq!((counted(&node, &bob, room), counted(&node, &ann, room)), (2, 0));
    assert_eq!(listed(&node, &bob, ""), (vec![last, first], None));
    let (page, next) = listed(&node, &bob, "?limit=1");
    assert_eq!(page, [last]);
    let query = format!("?limit=1&before={}", next.expect("there are more"));
    assert_eq!(listed(&node, &bob, &query), (vec![first], None));
    assert_eq!(node.ask("GET", "/api/me/mentions?before=x", &bob, "").0, 400);

    let change = |method: &str, seq: u64, body: &str| {
        let (status, said) = node.ask(method, &format!("{path}/messages/{seq}"), &ann, body);
        assert_eq!(status, 200, "{said}");
    };
    change("PATCH", second, &json!({"body": "I mean @bob"}).to_string());
    assert_eq!(counted(&node, &bob, room), 3);
    change("PATCH", last, &json!({"body": "nobody"}).to_string());
    change("DELETE", first, "");
    assert_eq!(counted(&node, &bob, room), 1);
    assert_eq!(listed(&node, &bob, "").0, [second]);
    let read = json!({"seq": second}).to_string();
    assert_eq!(node.ask("PUT", &format!("{path}/read"), &bob, &read).0, 204);
    assert_eq!(counted(&node, &bob, room), 0);
    assert_eq!(listed(&node, &bob, "").0, [second], "it is still where it was");

    // Outside of the room nothing of it shows.
    say(&node, json!({"body": "@bob"}));
    assert_eq!(node.ask("POST", &format!("{path}/leave"), &bob, "").0, 200);
    assert_eq!(listed(&node, &bob, "").0, [0_u64; 0]);
    let (status, seen) = node.ask("GET", &path, &bob, "");
    assert_eq!((status, &seen["mentions"]), (200, &json!(0)), "{seen}");
}
