//! Three nodes as an operator starts them: certificates by the command line, one begins, two join;
//! then one is stopped in order and comes back, and another is killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use parlance_actors::vocab::{RoomId, TenantId};
use parlance_benches::lean::Socket;
use parlance_client::protocol::simple::SimpleClientFrame;
use parlance_client::protocol::{RoomKind, View};
use parlance_client::{Http, Server};
use parlance_storage::testkit::PostgresServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::collector::{Collector, called, number};

/// Everything waits at most this long, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "Correct-Horse-1";

fn parlance(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLANCE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    let output = parlance(arguments).output().await.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

struct Place {
    folder: TempDir,
    database: PostgresServer,
    collector: Collector,
}

impl Place {
    async fn prepare() -> Self {
        let folder = tempfile::Builder::new().prefix("parlance-cluster-").tempdir();
        let folder = folder.expect("a temporary folder");
        let (database, collector) = (PostgresServer::start(false).await, Collector::open());
        let place = Self { folder, database, collector };
        let [ca, certs] = [place.at("ca"), place.at("certs")];
        run(&["cert", "ca", "--cluster", "test", "--out", &ca]).await;
        for name in ["one", "two", "three"] {
            run(&["cert", "node", "--ca", &ca, "--name", name, "--out", &certs]).await;
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn at(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    async fn start(&self, name: &'static str, how: &[&str]) -> Node {
        let log = File::options().create(true).append(true).open(self.path(&format!("{name}.log")));
        let data = self.path(name);
        let mut command = parlance(&["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command
            .arg(&data)
            .args(how)
            .env("PARLANCE_DATABASE__URL", self.database.url())
            .env("PARLANCE_DATABASE__LANES", "1")
            .env("PARLANCE_DATABASE__POOL_SIZE", "4")
            .env("PARLANCE_AUTH__CLUSTER_SECRET", "kTqPzv0cX3m8yJrN5bLwQfHs7uGdEi2oAaVxZ1K9RtY=")
            .env("PARLANCE_AUTH__ARGON2_MEMORY_KIB", "8192")
            .env("PARLANCE_AUTH__ARGON2_ITERATIONS", "1")
            .env("PARLANCE_HTTP__DISK_FREE_MIN_MIB", "0")
            .env("PARLANCE_TRACES__ENDPOINT", &self.collector.url)
            .env("PARLANCE_TRACES__ONE_IN", "1")
            .env("PARLANCE_CLUSTER__CA", self.path("ca/ca.pem"))
            .env("PARLANCE_CLUSTER__CERT", self.path(&format!("certs/{name}.pem")))
            .env("PARLANCE_CLUSTER__KEY", self.path(&format!("certs/{name}.key")))
            .env("PARLANCE_CLUSTER__CONTROL_LISTEN", "127.0.0.1:0")
            .env("PARLANCE_CLUSTER__DATA_LISTEN", "127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("a log file"));
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let Ok(Ok(Some(line))) = line else {
            panic!("node {name} did not start:\n{}", self.log(name));
        };
        let address = line.strip_prefix("listening on ").expect("the address").to_owned();
        Node { name, data, child, address }
    }

    fn log(&self, name: &str) -> String {
        let log = std::fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

struct Node {
    name: &'static str,
    data: PathBuf,
    child: Child,
    address: String,
}

impl Node {
    fn http(&self) -> Http {
        Http::new(Server::parse(&self.address).expect("a good address"))
    }

    async fn report(&self) -> Value {
        report(&self.data).await
    }

    /// Where others join by it.
    async fn control(&self) -> String {
        let report = self.report().await;
        let own = report["nodes"].as_array().expect("nodes").iter();
        let own = own.clone().find(|node| node["name"] == self.name).expect("itself");
        own["control"].as_str().expect("an address").to_owned()
    }

    async fn signal(&mut self, signal: Signal) -> std::process::ExitStatus {
        let pid = self.child.id().expect("it was not waited for");
        let pid = Pid::from_raw(i32::try_from(pid).expect("an id of Linux")).expect("not zero");
        kill_process(pid, signal).expect("it is there");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends").expect("waited for")
    }
}

async fn report(data: &Path) -> Value {
    let data = data.to_string_lossy();
    let output = run(&["cluster", "status", "--json", "--data-dir", &data]).await;
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Waits until a report says so.
async fn until(node: &Node, what: &str, holds: impl Fn(&Value) -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds(&node.report().await) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    if waited.await.is_err() {
        panic!("it never happened: {what}; {:#}", node.report().await);
    }
}

/// How many shards a node has, by its name.
fn shards(report: &Value, name: &str) -> u64 {
    let nodes = report["nodes"].as_array().expect("nodes");
    let node = nodes.iter().find(|node| node["name"] == name);
    node.and_then(|node| node["shards"].as_u64()).unwrap_or(0)
}

fn is_spread(report: &Value) -> bool {
    let all = ["one", "two", "three"].map(|name| shards(report, name));
    all.iter().sum::<u64>() == 256 && all.iter().all(|count| *count > 60)
}

/// Sends with one key until it is acknowledged, as the protocol asks.
async fn send(node: &Node, token: &str, room: Uuid, body: &str) -> u64 {
    let key = Uuid::now_v7();
    let sent = tokio::time::timeout(PATIENCE, async {
        loop {
            match node.http().send(token, room, key, body).await {
                Ok(sent) => return sent.seq,
                Err(error) if error.can_repeat() => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("through {}: {error}", node.name),
            }
        }
    });
    sent.await.expect("accepted in time")
}

/// A socket that follows the lobby through a node. Simple chat has no answers: it says so until it hears
/// itself, because what came before it followed, or was refused for now, is not heard.
async fn follower(node: &Node, token: &str) -> Socket {
    let server = Server::parse(&node.address).expect("a good address");
    let mut socket = Socket::connect_simple(&server, token).await.expect("simple chat is on");
    let content = format!("here on {}", node.name);
    let say = SimpleClientFrame::Message { content: content.as_str().into() };
    let say = serde_json::to_vec(&say).expect("plain text");
    let following = tokio::time::timeout(PATIENCE, async {
        loop {
            socket.put(&say);
            socket.flush().await.expect("the node reads");
            let heard = tokio::time::timeout(Duration::from_secs(1), heard(&mut socket, &content));
            if heard.await.is_ok() {
                return;
            }
        }
    });
    following.await.expect("heard in time");
    socket
}

async fn heard(socket: &mut Socket, body: &str) {
    loop {
        let text = socket.text().await.expect("the socket stays open");
        let frame: Value = serde_json::from_slice(&text).expect("JSON");
        if frame["content"] == body {
            return;
        }
    }
}

/// One message is one trace on all nodes, although nothing of it is said between them.
async fn one_message_is_one_trace(nodes: [&Node; 3], collector: &Collector, token: &str) {
    let mut sockets = Vec::new();
    for node in nodes {
        sockets.push(follower(node, token).await);
    }
    let lobby = RoomId::lobby(TenantId::MAIN);
    let seq = send(nodes[0], token, lobby.0, "seen everywhere").await;
    for socket in &mut sockets {
        let heard = tokio::time::timeout(PATIENCE, heard(socket, "seen everywhere"));
        heard.await.expect("heard in time");
    }
    let spans = collector.until(&lobby.to_string(), seq, "all nodes show it", |spans| {
        let count = |name| called(spans, name).len();
        ["accept", "commit", "hub", "socket"].map(count) == [1, 1, 3, 3]
    });
    let (accept, commit) = (called(&spans, "accept")[0], called(&spans, "commit")[0]);
    assert!(spans.iter().all(|span| span.trace_id == accept.trace_id), "{spans:#?}");
    assert_eq!(commit.parent_span_id, accept.span_id);
    let mut shown = BTreeSet::new();
    for hub in called(&spans, "hub") {
        assert_eq!(hub.parent_span_id, commit.span_id);
        shown.insert(number(hub, "parlance.node"));
        let of_hub = |socket: &&&Span| socket.parent_span_id == hub.span_id;
        assert_eq!(called(&spans, "socket").iter().filter(of_hub).count(), 1);
    }
    assert_eq!(shown.len(), 3, "each on a node of its own");
}

async fn bodies(node: &Node, token: &str, room: Uuid) -> Vec<String> {
    let page = node.http().history_latest(token, room, 50, View::Folded).await.expect("a page");
    page.messages.iter().filter_map(|m| m.event.body.as_deref().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_talk_and_go_on_when_one_is_stopped_and_another_is_killed() {
    let place = Place::prepare().await;
    let one = place.start("one", &["--bootstrap"]).await;
    let seed = one.control().await;
    let mut two = place.start("two", &["--join", &seed]).await;
    let mut three = place.start("three", &["--join", &seed]).await;
    until(&one, "shards are spread", is_spread).await;
    until(&one, "all of them vote", |report| {
        report["raft"]["voters"].as_array().is_some_and(|voters| voters.len() == 3)
    })
    .await;

    one.http().register("ada", PASSWORD).await.expect("registered");
    let token = two.http().login("ada", PASSWORD).await.expect("signed in on another node");
    let token = token.access_token.to_string();
    let created = three.http().create_room(&token, Uuid::now_v7(), "r", RoomKind::Public).await;
    let room = created.expect("made on the third").id;
    for node in [&one, &two, &three] {
        send(node, &token, room, node.name).await;
    }
    for node in [&one, &two, &three] {
        assert_eq!(bodies(node, &token, room).await, ["one", "two", "three"], "on {}", node.name);
    }

    one_message_is_one_trace([&one, &two, &three], &place.collector, &token).await;

    let ended = two.signal(Signal::TERM).await;
    assert!(ended.success(), "{ended}:\n{}", place.log("two"));
    let after = one.report().await;
    assert_eq!(shards(&after, "two"), 0, "{after:#}");
    send(&three, &token, room, "without two").await;
    let two = place.start("two", &["--join", &seed]).await;
    until(&one, "two has shards again", is_spread).await;

    three.signal(Signal::KILL).await;
    send(&two, &token, room, "without three").await;
    until(&one, "the others have all shards", |report| {
        shards(report, "one") + shards(report, "two") == 256
    })
    .await;
    let all = ["one", "two", "three", "without two", "without three"];
    for node in [&one, &two] {
        assert_eq!(bodies(node, &token, room).await, all, "on {}", node.name);
    }
}
