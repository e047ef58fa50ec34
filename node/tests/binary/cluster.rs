//! The operators' command line against a running node that is alone, and the health check of
//! containers.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Output;

use rustix::process::Signal;

use crate::support::{Node, folder, run, said};

fn cluster(data: &Path, arguments: &[&str]) -> Output {
    let data = data.to_string_lossy();
    run(&[&["cluster"], arguments, &["--data-dir", &data]].concat())
}

fn done(data: &Path, arguments: &[&str]) -> String {
    let output = cluster(data, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

#[test]
fn a_node_that_is_alone_shows_itself_and_every_shard() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let socket = dir.path().join("control.sock");
    let about = std::fs::metadata(&socket).expect("it is there");
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);

    let status = done(dir.path(), &["status"]);
    for line in [
        "this node  1 (alone), has a lease",
        "raft       leader 1, term 1",
        "voters     1\n",
        concat!("version    every node runs ", env!("CARGO_PKG_VERSION"), " or later\n"),
        "shards     256: 256 owned, 0 without an owner, 0 moving, 0 pinned",
    ] {
        assert!(status.contains(line), "{line:?} is missing in:\n{status}");
    }
    let nodes = done(dir.path(), &["nodes"]);
    let of_node = nodes.lines().nth(1).expect("one node").split_whitespace().collect::<Vec<_>>();
    assert_eq!(of_node[..4], ["1", "alone", "up", "256"], "{nodes}");
    assert_eq!(nodes.lines().count(), 2, "{nodes}");
    let shards = done(dir.path(), &["shards"]);
    assert_eq!(shards.lines().count(), 1 + 256, "{shards}");
    assert!(shards.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("1")));
    let json = done(dir.path(), &["status", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["shards"].as_array().map(Vec::len), Some(256));
    assert_eq!(report["oldest_version"].as_str(), Some(env!("CARGO_PKG_VERSION")));

    for (arguments, why) in [
        (&["move", "7", "2"][..], "there is no node 2: this one, 1, is alone"),
        (&["pin", "7", "bob"], "there is no node \"bob\"; known nodes: alone"),
        (&["drain", "alone"], "there is no other one to give its shards to"),
        (&["remove", "1"], "node 1 is the last voter"),
    ] {
        let output = cluster(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(why), "{arguments:?}: {}", said(&output));
    }
    assert_eq!(cluster(dir.path(), &["move", "256", "1"]).status.code(), Some(2));
    assert!(done(dir.path(), &["unpin", "7"]).contains("is not pinned any more"));

    assert!(node.end(Signal::TERM).status.success());
    assert!(!socket.exists(), "it is removed at the end");
    let output = cluster(dir.path(), &["status"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("no node runs on"), "{}", said(&output));
}

#[test]
fn the_socket_of_a_killed_node_is_taken_over_by_the_next_one() {
    let dir = folder();
    drop(Node::start(dir.path(), &[]).end(Signal::KILL));
    assert!(dir.path().join("control.sock").exists(), "nobody tidied up");
    let output = cluster(dir.path(), &["status"]);
    assert!(said(&output).contains("no node runs on"), "{}", said(&output));
    let _node = Node::start(dir.path(), &[]);
    assert!(done(dir.path(), &["status"]).contains("256 owned"));
}

#[test]
fn only_administrators_see_the_cluster_over_http() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let account = r#"{"username":"ada","password":"Correct-Horse-1"}"#;
    assert_eq!(node.ask("POST", "/api/auth/register", "", account).0, 201);
    let ada = node.sign_in("ada", "Correct-Horse-1");
    assert_eq!(node.ask("GET", "/api/cluster", &ada, "").0, 403);
    drop(node.end(Signal::TERM));

    let data = dir.path().to_string_lossy();
    let made = run(&["admin", "create", "grace", "--data-dir", &data]);
    let (name, password) = crate::support::credentials(&said(&made)).expect("shown once");
    let node = Node::start(dir.path(), &[]);
    let grace = node.sign_in(&name, &password);
    let (status, report) = node.ask("GET", "/api/cluster", &grace, "");
    assert_eq!((status, &report["nodes"][0]["shards"]), (200, &serde_json::json!(256)));
}

#[test]
fn health_says_whether_the_node_answers() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let listen = format!("http.listen={}", node.address);
    let data = dir.path().to_string_lossy().into_owned();
    let health =
        |more: &[&str]| run(&[&["health", "--data-dir", &data, "--set", &listen], more].concat());
    for more in [&[][..], &["--ready"]] {
        let output = health(more);
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("\"status\":\"ok\""), "{}", said(&output));
    }
    drop(node.end(Signal::TERM));
    let output = health(&[]);
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains("does not answer"), "{}", said(&output));
}

#[test]
fn a_lost_directory_is_begun_anew_from_the_database_when_told_so() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let account = r#"{"username":"ada","password":"Correct-Horse-1"}"#;
    assert_eq!(node.ask("POST", "/api/auth/register", "", account).0, 201);
    let ada = node.sign_in("ada", "Correct-Horse-1");
    let (_, room) = node.ask("POST", "/api/rooms", &ada, r#"{"name":"engines","kind":"public"}"#);
    let path = format!("/api/rooms/{}/messages", room["id"].as_str().expect("an id"));
    assert_eq!(node.ask("POST", &path, &ada, r#"{"body":"before"}"#).0, 201);
    let busy = cluster(dir.path(), &["recover", "--yes"]);
    assert_eq!(busy.status.code(), Some(3), "a node runs: {}", said(&busy));
    drop(node.end(Signal::TERM));

    std::fs::remove_file(dir.path().join("directory/log.redb")).expect("it is there");
    assert_eq!(crate::support::refused(dir.path(), &[]).status.code(), Some(3));
    let explained = cluster(dir.path(), &["recover"]);
    assert_eq!(explained.status.code(), Some(6), "{}", said(&explained));
    for words in ["with 1 rooms", "nothing was changed; say --yes"] {
        assert!(said(&explained).contains(words), "{}", said(&explained));
    }
    assert_eq!(crate::support::refused(dir.path(), &[]).status.code(), Some(3), "nothing was");
    let told = done(dir.path(), &["recover", "--yes"]);
    assert!(told.contains("this is node 2 now, with 1 rooms"), "{told}");

    let node = Node::start(dir.path(), &[]);
    assert!(done(dir.path(), &["status"]).contains("this node  2 (alone), has a lease"));
    let ada = node.sign_in("ada", "Correct-Horse-1");
    assert_eq!(node.ask("POST", &path, &ada, r#"{"body":"after"}"#).0, 201);
    let (status, page) = node.ask("GET", &path, &ada, "");
    let bodies = page["messages"].as_array().expect("messages").iter();
    let bodies = bodies.filter_map(|message| message["body"].as_str()).collect::<Vec<_>>();
    assert_eq!((status, &bodies[..]), (200, &["before", "after"][..]), "{page}");
}
