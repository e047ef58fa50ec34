//! One node of a fleet: the real binary on a host of its own, with its data directory, through any
//! number of starts.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use parlance_benches::metrics;
use parlance_client::{Http, Server};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use uuid::Uuid;

use super::network::Host;
use crate::town::names_of_settings;

/// Each host is a machine of its own, so every node may have the same ports.
pub(crate) const HTTP_PORT: u16 = 8080;
pub(crate) const CONTROL_PORT: u16 = 7701;
pub(crate) const DATA_PORT: u16 = 7702;
/// How long an answer of a node may take before it counts as none.
const ANSWER: Duration = Duration::from_secs(2);
/// From SIGTERM to the end, with every shard to give away on a busy machine.
const TERMINATE: Duration = Duration::from_secs(60);

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) host: Host,
    folder: PathBuf,
    /// What it is started from.
    binary: PathBuf,
    environment: Vec<(String, String)>,
    running: Option<Child>,
}

impl Node {
    /// A node that does not run yet; `folder` holds its configuration and data.
    pub(crate) fn new(name: String, host: Host, folder: PathBuf, config: &str) -> Self {
        std::fs::create_dir_all(&folder).expect("a folder for the node");
        std::fs::write(folder.join("node.toml"), config).expect("its configuration");
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_parlance"));
        Self { name, host, folder, binary, environment: Vec::new(), running: None }
    }

    /// Has every start from now on be of another build.
    pub(crate) fn install(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// A command of some build on its host, with its configuration.
    pub(crate) fn command_of(&self, binary: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::from(self.host.command(binary));
        for name in names_of_settings() {
            command.env_remove(name);
        }
        command.args(arguments).arg("--config").arg(self.folder.join("node.toml"));
        command
    }

    /// Sets something for every start from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file());
        let log = log.expect("a log file");
        let mut command = self.command_of(&self.binary, &["serve"]);
        command
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("an open file"))
            .stderr(log)
            .kill_on_drop(true);
        self.running = Some(command.spawn().expect("the node's binary starts"));
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Fails when it ended by itself.
    pub(crate) fn must_run(&mut self) {
        let child = self.running.as_mut().expect("the node was started");
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{} ended by itself with {status}; its log:\n{}", self.name, self.log(10));
        }
    }

    /// Whether it still runs; one that ended by itself counts as ended from now on.
    pub(crate) fn still_runs(&mut self) -> Result<(), ExitStatus> {
        let Some(child) = self.running.as_mut() else { return Ok(()) };
        match child.try_wait() {
            Ok(Some(status)) => {
                self.running = None;
                Err(status)
            }
            _ => Ok(()),
        }
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill9(&mut self) {
        let mut child = self.running.take().expect("the node runs");
        child.kill().await.expect("a running child can be killed");
    }

    /// The whole machine is gone at once: no connection of it is closed, others hear nothing.
    pub(crate) async fn loses_power(&mut self, others: &[Host]) {
        for other in others {
            other.is_deaf_to(&self.host);
        }
        self.kill9().await;
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        if self.running.is_some() {
            self.signal(Signal::CONT);
        }
    }

    /// Whether its process stands still.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_pid()));
        // After the name in brackets comes the state.
        stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let mut child = self.running.take().expect("the node runs");
        let ended = timeout(TERMINATE, child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("{} does not end after SIGTERM", self.name));
        ended.expect("a child can be waited for")
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a running child can be signalled");
    }

    fn pid(&self) -> Pid {
        let child = self.running.as_ref().expect("the node runs");
        let id = child.id().expect("a child that was not waited for has an id");
        Pid::from_raw(i32::try_from(id).expect("an id of Linux")).expect("an id is not zero")
    }

    /// What it counts, added up over labels; 0 while it does not answer.
    pub(crate) async fn counted(&self, name: &str) -> f64 {
        let counted = timeout(ANSWER, metrics::read(self.http().server())).await;
        counted.ok().and_then(Result::ok).map_or(0.0, |counted| counted.sum(name))
    }

    /// What its process has in memory of its own, without the pages of its file.
    pub(crate) fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid().as_raw_pid());
        let status = std::fs::read_to_string(path).expect("the node runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.and_then(|number| number.trim().parse().ok()).expect("as Linux writes it")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.host.address, HTTP_PORT).into()
    }

    /// This node and no other.
    pub(crate) fn http(&self) -> Http {
        Http::new(Server::parse(&format!("http://{}", self.address())).expect("a good address"))
    }

    /// Asks it as an operator on its machine would.
    pub(crate) async fn ask(&self, what: &Value) -> Result<Value, String> {
        let asked = timeout(ANSWER, ask(self.data().join("control.sock"), what)).await;
        let answer = asked.map_err(|_| "no answer in time".to_owned())?;
        let mut answer = answer.map_err(|error| error.to_string())?;
        match answer.get_mut("ok") {
            Some(value) => Ok(value.take()),
            None => Err(answer.to_string()),
        }
    }

    /// How the cluster looks from here.
    pub(crate) async fn report(&self) -> Option<Report> {
        // One that was ended may have left its socket.
        self.running.as_ref()?;
        let report = self.ask(&json!({"do": "report"})).await.ok()?;
        Some(serde_json::from_value(report).expect("a report as the node's own command reads it"))
    }

    /// A new disk: nothing that it knew is there any more.
    pub(crate) fn wipe(&self) {
        assert!(self.running.is_none(), "it does not run");
        std::fs::remove_dir_all(self.data()).expect("the data directory of an ended node");
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The last lines of its log.
    pub(crate) fn log(&self, lines: usize) -> String {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The files of its directory's Raft.
    pub(crate) fn raft(&self) -> PathBuf {
        self.data().join("directory")
    }

    /// When it first logged these words after a moment.
    pub(crate) fn first_said(&self, words: &str, after: Moment) -> Option<Moment> {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines = log.lines().filter(|line| line.contains(words));
        lines.filter_map(Moment::of_line).find(|at| *at >= after)
    }

    /// How many lines of its log have these words.
    pub(crate) fn log_count(&self, words: &str) -> usize {
        let log = std::fs::read_to_string(self.log_file()).unwrap_or_default();
        log.lines().filter(|line| line.contains(words)).count()
    }

    pub(crate) fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// A moment of the wall clock as a log has it: the time since the day began. A test that runs over
/// midnight finds nothing in the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    const DAY_SECONDS: u64 = 24 * 60 * 60;

    pub(crate) fn now() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("it is after 1970");
        Self(now - Duration::from_secs(now.as_secs() / Self::DAY_SECONDS * Self::DAY_SECONDS))
    }

    /// The moment that a line begins with: `2026-11-21T02:46:07.647053Z`.
    fn of_line(line: &str) -> Option<Self> {
        let (_, time) = line.split_whitespace().next()?.split_once('T')?;
        let mut parts = time.strip_suffix('Z')?.split(':');
        let hours: u64 = parts.next()?.parse().ok()?;
        let minutes: u64 = parts.next()?.parse().ok()?;
        let seconds: f64 = parts.next()?.parse().ok()?;
        let whole = Duration::from_secs((hours * 60 + minutes) * 60);
        Some(Self(whole + Duration::try_from_secs_f64(seconds).ok()?))
    }

    /// How long after another one.
    pub(crate) fn since(self, other: Self) -> Duration {
        self.0.saturating_sub(other.0)
    }
}

/// A length of four bytes and as many bytes of JSON, each way.
async fn ask(socket: impl AsRef<Path>, what: &Value) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(socket).await?;
    let text = serde_json::to_vec(what)?;
    let length = u32::try_from(text.len()).expect("a few words");
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&text).await?;
    let mut answer = vec![0; stream.read_u32().await? as usize];
    stream.read_exact(&mut answer).await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// What the tests read of a node's report.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Report {
    /// The node that says it.
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) nodes: Vec<Known>,
    pub(crate) oldest_version: Option<String>,
    pub(crate) links: Vec<Link>,
    pub(crate) shards: Vec<Shard>,
    /// The last ones.
    pub(crate) moves: Vec<Move>,
}

/// A way from the node that says it to another one.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Link {
    pub(crate) peer: u64,
    pub(crate) kind: String,
    pub(crate) connected: bool,
    pub(crate) version: Option<u16>,
    pub(crate) relayed_by: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Move {
    #[allow(dead_code, reason = "shown when a test fails")]
    pub(crate) shard: u8,
    /// Grows with each move of any shard.
    pub(crate) epoch: u64,
    pub(crate) cause: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Raft {
    pub(crate) leader: Option<u64>,
    /// The last entry in this node's log.
    pub(crate) last_log: u64,
    pub(crate) voters: Vec<u64>,
    pub(crate) learners: Vec<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) version: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Shard {
    pub(crate) owner: Option<u64>,
    pub(crate) epoch: u64,
}

impl Report {
    pub(crate) fn name_of(&self, id: u64) -> Option<&str> {
        self.nodes.iter().find(|node| node.id == id).map(|node| node.name.as_str())
    }

    /// Of several lives of a node the last one: ids grow.
    pub(crate) fn id_of(&self, name: &str) -> Option<u64> {
        self.nodes.iter().rfind(|node| node.name == name).map(|node| node.id)
    }

    /// The node over which links of this kind to another one go.
    pub(crate) fn relay_to(&self, name: &str, kind: &str) -> Option<&str> {
        let peer = self.id_of(name)?;
        let link = self.links.iter().find(|link| link.peer == peer && link.kind == kind)?;
        self.name_of(link.relayed_by?)
    }

    /// The epoch of a room's owner.
    pub(crate) fn epoch_of(&self, room: Uuid) -> u64 {
        self.shards[usize::from(shard_of(room))].epoch
    }

    /// The owner of a room: its shard is the last byte of its id.
    pub(crate) fn owner_of(&self, room: Uuid) -> Option<&str> {
        self.name_of(self.shards[usize::from(shard_of(room))].owner?)
    }
}

pub(crate) fn shard_of(room: Uuid) -> u8 {
    room.as_bytes()[15]
}
