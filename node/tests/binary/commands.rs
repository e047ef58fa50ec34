//! The commands beside `serve`: migrations and the key ring.

use std::fs;
use std::path::Path;

use crate::support::{Node, folder, run, said};
use rustix::process::Signal;

fn migrate(data: &Path, arguments: &[&str]) -> std::process::Output {
    let data = data.to_string_lossy();
    run(&[&["migrate"], arguments, &["--data-dir", &data]].concat())
}

#[test]
fn migrations_go_up_and_down_and_say_where_they_are() {
    let dir = folder();
    let states = |output: std::process::Output| {
        assert!(output.status.success(), "{}", said(&output));
        let text = said(&output);
        let lines = text.lines().map(|line| line.split_whitespace().nth(3).map(str::to_owned));
        lines.map(|word| word.expect("a state")).collect::<Vec<_>>()
    };
    let before = states(migrate(dir.path(), &["status"]));
    assert!(before.len() >= 2 && before.iter().all(|word| word == "missing"), "{before:?}");
    let up = states(migrate(dir.path(), &["up"]));
    assert!(up.iter().all(|word| word == "applied"), "{up:?}");
    assert_eq!(states(migrate(dir.path(), &["up"])), up, "twice is as good");
    let all = said(&migrate(dir.path(), &["status"]));
    assert!(!all.contains("next"), "only the build of the upgrade's test has that one: {all}");
    let careful = migrate(dir.path(), &["down", "--to", "0"]);
    assert!(said(&careful).contains("--yes"), "{}", said(&careful));
    assert_eq!(states(migrate(dir.path(), &["status"])), up);
    let down = states(migrate(dir.path(), &["down", "--to", "0", "--yes"]));
    assert!(down.iter().all(|word| word == "missing"), "{down:?}");
    assert_eq!(states(migrate(dir.path(), &["status"])), before);
}

#[test]
fn a_key_ring_is_made_rotated_used_and_cleared() {
    let dir = folder();
    let data = dir.path().join("data");
    let ring = dir.path().join("ring");
    let keys = |arguments: &[&str]| {
        let (ring, data) = (ring.to_string_lossy(), data.to_string_lossy());
        run(&[&["keys"], arguments, &["--ring", &ring, "--data-dir", &data]].concat())
    };
    let made = keys(&["generate"]);
    assert!(made.status.success(), "{}", said(&made));
    let again = keys(&["generate"]);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));

    let setting = format!("crypt.keyring={}", ring.display());
    let write = |body: &str| {
        let node = Node::start(&data, &["--set", &setting]);
        let account = r#"{"username":"ada","password":"Correct-Horse-1"}"#;
        let _ = node.ask("POST", "/api/auth/register", "", account);
        let token = node.sign_in("ada", "Correct-Horse-1");
        let (_, rooms) = node.ask("GET", "/api/rooms", &token, "");
        let mut room =
            rooms["rooms"].as_array().into_iter().flatten().find(|r| r["name"] == "r").cloned();
        if room.is_none() {
            room =
                Some(node.ask("POST", "/api/rooms", &token, r#"{"name":"r","kind":"public"}"#).1);
        }
        let path =
            format!("/api/rooms/{}/messages", room.expect("made")["id"].as_str().expect("id"));
        let body = serde_json::json!({ "body": body }).to_string();
        let (status, sent) = node.ask("POST", &path, &token, &body);
        assert_eq!(status, 201, "{sent}");
        let (_, page) = node.ask("GET", &path, &token, "");
        let bodies = page["messages"].as_array().expect("messages").iter();
        let bodies =
            bodies.filter_map(|m| m["body"].as_str().map(str::to_owned)).collect::<Vec<_>>();
        assert!(node.end(Signal::TERM).status.success());
        bodies
    };
    assert_eq!(write("first-plain-text"), ["first-plain-text"]);
    assert!(keys(&["rotate"]).status.success());
    let listed = said(&keys(&["list"]));
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("encrypts") && listed.contains("opens"), "{listed}");
    assert_eq!(write("second-plain-text"), ["first-plain-text", "second-plain-text"]);
    for entry in fs::read_dir(data.join("database")).expect("it is there") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("readable");
        let found = bytes.windows(10).any(|window| window == b"plain-text");
        assert!(!found, "a body is readable in {}", path.display());
    }
    let busy = keys(&["remove", "1"]);
    assert!(!busy.status.success(), "{}", said(&busy));
    let resealed = keys(&["reseal"]);
    assert!(resealed.status.success(), "{}", said(&resealed));
    assert!(said(&resealed).contains("resealed"), "{}", said(&resealed));
    let idle = keys(&["reseal"]);
    assert!(said(&idle).contains(", 0 resealed"), "{}", said(&idle));
    assert_eq!(write("third").len(), 3);
    // No ring is shown anywhere.
    let secret = fs::read_to_string(&ring).expect("the ring");
    let secret = secret.split_whitespace().max_by_key(|word| word.len()).expect("a key");
    assert!(!said(&keys(&["list"])).contains(secret));
}

#[test]
fn keys_without_a_ring_say_how_to_name_one() {
    let dir = folder();
    let output = run(&["keys", "list", "--data-dir", &dir.path().to_string_lossy()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("set crypt.keyring"), "{}", said(&output));
}
