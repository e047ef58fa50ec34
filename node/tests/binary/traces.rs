//! Spans of a node, as a collector gets them.

use std::net::TcpListener;
use std::path::Path;

use opentelemetry_proto::tonic::trace::v1::Span;
use parlance_benches::lean::Socket;
use parlance_client::Server;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::collector::{Collector, called, number, text};
use crate::support::{Node, folder};

const PASSWORD: &str = "Correct-Horse-1";

fn start(data: &Path, endpoint: &str, one_in: &str) -> Node {
    let endpoint = format!("traces.endpoint={endpoint}");
    let one_in = format!("traces.one_in={one_in}");
    Node::start(data, &["--set", &endpoint, "--set", &one_in, "--log-level", "trace"])
}

/// Somebody who is signed in; their token, and the lobby.
fn somebody(node: &Node) -> (String, String) {
    let account = json!({"username": "lovelace", "password": PASSWORD}).to_string();
    assert_eq!(node.ask("POST", "/api/auth/register", "", &account).0, 201);
    let token = node.sign_in("lovelace", PASSWORD);
    let rooms = node.ask("GET", "/api/rooms", &token, "").1;
    let rooms = rooms["rooms"].as_array().expect("rooms").clone();
    let lobby = rooms.iter().find(|room| room["kind"] == "lobby").expect("everybody is in it");
    (token, lobby["id"].as_str().expect("an id").to_owned())
}

fn send(node: &Node, token: &str, room: &str, body: &str) -> u64 {
    let path = format!("/api/rooms/{room}/messages");
    let (status, sent) = node.ask("POST", &path, token, &json!({"body": body}).to_string());
    assert_eq!(status, 201, "{sent}");
    sent["seq"].as_u64().expect("a seq")
}

/// A socket that follows the lobby.
async fn follower(node: &Node, token: &str) -> Socket {
    let server = Server::parse(&format!("http://{}", node.address)).expect("a good address");
    let mut socket = Socket::connect_simple(&server, token).await.expect("simple chat is on");
    let say = json!({"type": "message", "content": "here"}).to_string();
    socket.put(say.as_bytes());
    socket.flush().await.expect("the node reads");
    hears(&mut socket, "here").await;
    socket
}

async fn hears(socket: &mut Socket, body: &str) {
    loop {
        let frame = socket.text().await.expect("the socket stays open");
        let frame: Value = serde_json::from_slice(&frame).expect("JSON");
        if frame["content"] == body {
            return;
        }
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    let mut names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_one_trace_from_its_request_to_the_socket_without_what_it_says() {
    let collector = Collector::open();
    let dir = folder();
    let node = start(dir.path(), &collector.url, "1");
    let (token, lobby) = somebody(&node);
    let mut socket = follower(&node, &token).await;
    let body = "what nobody else may read";
    let seq = send(&node, &token, &lobby, body);
    hears(&mut socket, body).await;
    let all = ["accept", "commit", "hub", "socket"];
    let spans = collector.until(&lobby, seq, "all four came", |spans| names(spans) == all);
    let one = |name| called(&spans, name)[0];
    let [accept, commit, hub, socket_span] = all.map(one);
    assert!(spans.iter().all(|span| span.trace_id == accept.trace_id));
    assert!(accept.parent_span_id.is_empty(), "it is the root");
    let parents = [&commit.parent_span_id, &hub.parent_span_id, &socket_span.parent_span_id];
    assert_eq!(parents, [&accept.span_id, &commit.span_id, &hub.span_id]);
    let is_in_time = |span: &Span| span.start_time_unix_nano <= span.end_time_unix_nano;
    assert!(spans.iter().all(is_in_time));
    assert!(accept.start_time_unix_nano <= commit.start_time_unix_nano);
    assert!(commit.end_time_unix_nano <= hub.start_time_unix_nano);
    assert_eq!(number(accept, "parlance.bytes"), Some(body.len() as u64));
    assert_eq!(number(commit, "parlance.batch_events"), Some(1));
    assert_eq!(number(hub, "parlance.followers"), Some(1));
    assert_eq!(text(hub, "service.name"), "parlance");
    assert_eq!(number(hub, "parlance.node"), Some(1));

    // What else carries secrets: a hello, a frame, and queries that are spelt wrong.
    let said = "nor this, in a frame";
    let server = Server::parse(&format!("http://{}", node.address)).expect("a good address");
    let mut session = Socket::connect(&server).await.expect("a socket");
    let key = uuid::Uuid::new_v4();
    for frame in [
        json!({"type": "hello", "id": 1, "token": token}),
        json!({"type": "send", "id": 2, "room": lobby, "key": key, "body": said}),
        json!({"type": "send", "id": 3, "room": lobby, "key": key, "body": said, "token": token}),
    ] {
        session.put(frame.to_string().as_bytes());
    }
    session.flush().await.expect("the node reads");
    loop {
        let frame: Value =
            serde_json::from_slice(&session.text().await.expect("open")).expect("JSON");
        if frame["id"] == 3 {
            assert_eq!(frame["type"], "error", "an unknown field is refused");
            break;
        }
    }
    for query in [token.clone(), format!("token%3D{token}"), format!("limit=5;token={token}")] {
        node.ask("GET", &format!("/api/chat/messages?{query}"), "", "");
    }

    // A session's message as well: the first thing that the socket said.
    let of_socket = collector
        .until(&lobby, seq - 1, "the socket's too", |spans| names(spans).contains(&"accept"));
    assert_ne!(of_socket[0].trace_id, accept.trace_id);

    drop((socket, session));
    let (_, metrics) = node.ask("GET", "/metrics", "", "");
    let metrics = metrics.as_str().expect("text").to_owned();
    assert!(metrics.contains("parlance_spans_total{outcome=\"sent\"}"), "{metrics}");
    let ended = node.end(Signal::TERM);
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    let ticket = token.rsplit('.').next().expect("a signature").to_owned();
    for secret in [body, said, PASSWORD, &token, &ticket, "lovelace"] {
        let is_there =
            |bytes: &Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!collector.bytes().iter().any(is_there), "{secret:?} went to the collector");
    }
    for secret in [body, said, PASSWORD, &token, &ticket] {
        assert!(!ended.stderr.contains(secret), "{secret:?} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_chosen_is_not_sent_and_a_collector_that_is_away_hurts_nobody() {
    let collector = Collector::open();
    let dir = folder();
    let node = start(dir.path(), &collector.url, "0");
    let (token, lobby) = somebody(&node);
    send(&node, &token, &lobby, "not chosen");
    let ended = node.end(Signal::TERM);
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert_eq!(collector.spans(), [], "the last ones would have gone at its end");

    // Nobody listens there any more.
    let away = TcpListener::bind("127.0.0.1:0").and_then(|taken| taken.local_addr());
    let away = format!("http://{}", away.expect("a port"));
    let node = start(dir.path(), &away, "1");
    let token = node.sign_in("lovelace", PASSWORD);
    let mut socket = follower(&node, &token).await;
    for n in 0..20 {
        send(&node, &token, &lobby, &format!("all the same {n}"));
    }
    hears(&mut socket, "all the same 19").await;
    drop(socket);
    let ended = node.end(Signal::TERM);
    assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
    assert!(ended.stderr.contains("ended in order"), "{}", ended.stderr);
    assert!(ended.stderr.matches("the collector takes no spans").count() <= 1);
}
