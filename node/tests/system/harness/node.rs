//! One node as a process of its own, with its data directory, through any number of starts.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use parlance_client::{Http, Server};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::town::{Front, names_of_settings};

/// How long a start may take on a busy machine, recovery included. The promise is a second; what
/// is checked here is that it starts at all.
const START: Duration = Duration::from_secs(60);
/// What the design allows from SIGTERM to the end.
const TERMINATE: Duration = Duration::from_secs(5);

pub(crate) struct Node {
    folder: TempDir,
    database: Option<String>,
    front: Front,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// Reads what the node prints, so that it never waits for a full pipe.
    reader: JoinHandle<()>,
}

impl Node {
    /// Starts a node on an empty data directory: on SQLite, or on the PostgreSQL at `database`.
    pub(crate) async fn start(database: Option<String>) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("parlance-node-")
            .tempdir()
            .expect("a temporary folder");
        let mut node = Self { folder, database, front: Front::open().await, running: None };
        node.start_again().await;
        node
    }

    /// Starts it on what the last one left behind.
    pub(crate) async fn start_again(&mut self) {
        let mut child = self.command().spawn().expect("the node's binary starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let address = match timeout(START, listening(&mut lines)).await {
            Ok(Some(address)) => address,
            _ => panic!("the node did not say where it listens; its log:\n{}", self.log()),
        };
        let reader =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.running = Some(Running { child, reader });
        self.front.lead_to([address]);
    }

    fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file in the temporary folder");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
        for name in names_of_settings() {
            command.env_remove(name);
        }
        command
            .arg("serve")
            .env("PARLANCE_DATA_DIR", self.folder.path().join("data"))
            .env("PARLANCE_HTTP__LISTEN", "127.0.0.1:0")
            .env("PARLANCE_HTTP__REQUESTS_PER_SECOND", "0")
            .env("PARLANCE_HTTP__MAX_CONNECTIONS_PER_ADDRESS", "0")
            .env("PARLANCE_HTTP__DISK_FREE_MIN_MIB", "0")
            .env("PARLANCE_AUTH__REGISTER_PER_MINUTE", "0")
            .env("PARLANCE_AUTH__LOGIN_PER_MINUTE", "0")
            // These tests are not about password hashes.
            .env("PARLANCE_AUTH__ARGON2_MEMORY_KIB", "8192")
            .env("PARLANCE_AUTH__ARGON2_ITERATIONS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Some(url) = &self.database {
            command.env("PARLANCE_DATABASE__URL", url);
        }
        command
    }

    /// Ends it as a crash would.
    pub(crate) async fn kill9(&mut self) {
        self.front.lead_to([]);
        let mut running = self.running.take().expect("the node runs");
        running.child.kill().await.expect("a running child can be killed");
        running.reader.abort();
    }

    /// Asks it to end, and waits as long as the design allows.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("the node runs");
        let pid = running.child.id().expect("a child that was not waited for has an id");
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("an id of Linux"))
            .expect("an id is not zero");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("a running child can be signalled");
        let ended = timeout(TERMINATE, running.child.wait()).await;
        running.reader.abort();
        self.front.lead_to([]);
        match ended {
            Ok(status) => status.expect("a child can be waited for"),
            Err(_) => panic!("5 s after SIGTERM it still runs; its log:\n{}", self.log()),
        }
    }

    /// The server as clients reach it, whatever its port is now.
    pub(crate) fn server(&self) -> Server {
        Server::parse(&format!("http://{}", self.front.address())).expect("a good address")
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.server())
    }

    /// The end of what the node wrote to its log.
    pub(crate) fn log(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("the node's log:\n{}", self.log());
        }
    }
}

async fn listening(lines: &mut Lines<BufReader<ChildStdout>>) -> Option<SocketAddr> {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(address) = line.strip_prefix("listening on http://") {
            return address.trim().parse().ok();
        }
    }
    None
}
