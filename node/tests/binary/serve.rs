//! A node from the outside: starting, starting again, refusing to start, ending.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Node, credentials, folder, refused, run, said};
use rustix::process::Signal;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn a_first_start_makes_everything_and_a_second_one_finds_it() {
    let dir = folder();
    let data = dir.path().join("data");
    let node = Node::start(&data, &[]);
    assert_eq!(node.ask("GET", "/api/health", "", "").0, 200);
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("cluster.secret")), 0o600);
    let readme = fs::read_to_string(data.join("README.txt")).expect("it explains itself");
    assert!(readme.contains("database/") && readme.contains("cluster.secret"), "{readme}");
    let ended = node.end(Signal::TERM);
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);

    let (name, password) = credentials(&ended.stderr).expect("shown once");
    assert_eq!(name, "admin");
    assert_eq!(ended.stderr.matches(&password).count(), 1, "never logged:\n{}", ended.stderr);
    for file in files(&data) {
        let bytes = fs::read(&file).expect("readable");
        let found = bytes.windows(password.len()).any(|window| window == password.as_bytes());
        assert!(!found, "the password is in {}", file.display());
    }

    let node = Node::start(&data, &[]);
    let token = node.sign_in(&name, &password);
    let (status, me) = node.ask("GET", "/api/me", &token, "");
    assert_eq!((status, me["username"].as_str()), (200, Some("admin")), "{me}");
    let ended = node.end(Signal::INT);
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert_eq!(credentials(&ended.stderr), None, "shown twice:\n{}", ended.stderr);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let dir = folder();
    let node = Node::start(dir.path(), &["--log-format", "json"]);
    let account = r#"{"username":"ada","password":"Correct-Horse-1"}"#;
    assert_eq!(node.ask("POST", "/api/auth/register", "", account).0, 201);
    let token = node.sign_in("ada", "Correct-Horse-1");
    let (status, room) =
        node.ask("POST", "/api/rooms", &token, r#"{"name":"engines","kind":"public"}"#);
    assert_eq!(status, 201, "{room}");
    let path = format!("/api/rooms/{}/messages", room["id"].as_str().expect("an id"));
    let (status, sent) = node.ask("POST", &path, &token, r#"{"body":"hello"}"#);
    assert_eq!(status, 201, "{sent}");
    let ended = node.end(Signal::TERM);
    for line in ended.stderr.lines().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<serde_json::Value>(line).expect("a log line in JSON");
    }
    assert!(ended.stderr.contains("\"ended in order\""), "{}", ended.stderr);

    let node = Node::start(dir.path(), &[]);
    let token = node.sign_in("ada", "Correct-Horse-1");
    let (status, page) = node.ask("GET", &path, &token, "");
    assert_eq!(status, 200, "{page}");
    let kept = page["messages"].as_array().expect("messages");
    let kept = kept.iter().find(|message| message["body"] == "hello").expect("it is there");
    assert_eq!(kept["seq"], sent["seq"]);
}

#[test]
fn a_node_with_open_connections_ends_within_five_seconds() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let idle = TcpStream::connect(&node.address).expect("it listens");
    let begun = Instant::now();
    let ended = node.end(Signal::TERM);
    let took = begun.elapsed();
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    drop(idle);
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    // A request whose body does not come holds up the orderly end.
    let mut slow = TcpStream::connect(&node.address).expect("it listens");
    let request = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                   content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(request.as_bytes()).expect("it reads");
    let mut answer = [0; 12];
    slow.read_exact(&mut answer).expect("it is being served");
    assert_eq!(&answer, b"HTTP/1.1 100");
    node.signal(Signal::TERM);
    while TcpStream::connect(&node.address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = node.end(Signal::TERM);
    assert_eq!(ended.status.code(), Some(128 + 15), "{}", ended.stderr);
}

#[test]
fn another_cluster_secret_is_refused_and_named() {
    let (one, other) = (folder(), folder());
    for dir in [&one, &other] {
        drop(Node::start(dir.path(), &[]).end(Signal::TERM));
    }
    let secret = one.path().join("cluster.secret");
    fs::copy(other.path().join("cluster.secret"), &secret).expect("they are ours");
    let output = refused(one.path(), &[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("cluster.secret in the data directory"), "{}", said(&output));

    fs::write(&secret, "changeme\n").expect("it is ours");
    let output = refused(one.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("placeholder"), "{}", said(&output));
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() {
    let dir = folder();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let output = refused(dir.path(), &["--listen", &address]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("choose another address with --listen"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_data_directory_in_use_is_named() {
    let dir = folder();
    let node = Node::start(dir.path(), &[]);
    let output = refused(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("is in use by another parlance process"), "{}", said(&output));
    assert_eq!(node.ask("GET", "/api/health", "", "").0, 200, "the first one goes on");
}

#[test]
fn a_folder_with_other_things_is_left_alone() {
    let dir = folder();
    fs::write(dir.path().join("thesis.txt"), "mine").expect("a file");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let output = refused(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("holds other things"), "{}", said(&output));
    assert_eq!(files(dir.path()).len(), 1);
}

#[test]
fn damaged_files_are_named_and_nothing_starts_over_them() {
    for (file, cause) in [("directory/log.redb", 3), ("node.json", 3), ("database/main.db", 5)] {
        let dir = folder();
        drop(Node::start(dir.path(), &[]).end(Signal::TERM));
        let path = dir.path().join(file);
        let whole = fs::read(&path).expect("it is there");
        fs::write(&path, &whole[..whole.len() / 2]).expect("it is ours");
        let output = refused(dir.path(), &[]);
        assert_eq!(output.status.code(), Some(cause), "{file}: {}", said(&output));
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(said(&output).contains(&name), "{file} is not named: {}", said(&output));
        let now = fs::read(&path).expect("it is there");
        assert_eq!(now.len(), whole.len() / 2, "{file} was changed");

        fs::remove_file(&path).expect("it is there");
        let output = refused(dir.path(), &[]);
        assert_eq!(output.status.code(), Some(cause), "{file}: {}", said(&output));
        assert!(said(&output).contains(&name), "{file} is not named: {}", said(&output));
        assert!(!path.exists(), "{file} was made anew");
    }
}

#[test]
fn the_database_of_another_cluster_is_refused() {
    let (one, other) = (folder(), folder());
    for dir in [&one, &other] {
        drop(Node::start(dir.path(), &[]).end(Signal::TERM));
    }
    let database = one.path().join("database");
    fs::remove_dir_all(&database).expect("it is there");
    fs::rename(other.path().join("database"), &database).expect("the same disk");
    let output = refused(one.path(), &[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("belongs to cluster"), "{}", said(&output));
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    let dir = folder();
    let url = "postgres://parlance:hunter2@127.0.0.1:1/parlance";
    let output = refused(dir.path(), &["--database-url", url]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let said = said(&output);
    assert!(said.contains("127.0.0.1:1") && !said.contains("hunter2"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one line: {said}");
}

#[test]
fn a_lost_password_can_be_replaced_and_administrators_added() {
    let dir = folder();
    let data = dir.path().to_string_lossy().into_owned();
    drop(Node::start(dir.path(), &[]).end(Signal::TERM));
    let reset = run(&["admin", "reset-password", "admin", "--data-dir", &data]);
    assert!(reset.status.success(), "{}", said(&reset));
    let created = run(&["admin", "create", "grace", "--data-dir", &data]);
    assert!(created.status.success(), "{}", said(&created));
    let again = run(&["admin", "create", "Grace", "--data-dir", &data]);
    assert!(said(&again).contains("in use"), "{}", said(&again));
    let nobody = run(&["admin", "reset-password", "nobody", "--data-dir", &data]);
    assert!(said(&nobody).contains("no account \"nobody\""), "{}", said(&nobody));

    let node = Node::start(dir.path(), &[]);
    for output in [reset, created] {
        let (name, password) = credentials(&said(&output)).expect("shown once");
        node.sign_in(&name, &password);
    }
}
