//! Three nodes, PostgreSQL and HAProxy, as `make cluster` starts them, in a folder of the test's own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{administrator, end};
use crate::script::Stage;

/// On a busy machine.
const START: Duration = Duration::from_secs(150);
const END: Duration = Duration::from_secs(30);
/// Others may take a port between the look and the start.
const TRIES: usize = 5;

pub(crate) struct Cluster {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Self {
        for _ in 0..TRIES {
            let mut cluster = Self::begin(free_port());
            if cluster.runs() {
                return cluster;
            }
            println!("the cluster did not start:\n{}", cluster.log());
        }
        panic!("no cluster started in {TRIES} tries");
    }

    fn begin(port: u16) -> Self {
        let folder = tempfile::Builder::new().prefix("parlance-browser-").tempdir();
        let folder = folder.expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let mut command = script(port, &folder.path().join("state"));
        command.stdout(Stdio::piped()).stderr(log);
        let child = command.spawn().expect("the script starts");
        Self { child, port, folder }
    }

    /// Waits until all of it serves, or it has ended.
    fn runs(&mut self) -> bool {
        let stdout = self.child.stdout.take().expect("its output is a pipe");
        let (says, said) = mpsc::channel();
        // Ends with the script's output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.starts_with("The cluster runs.") {
                    // Nobody asks for a second one.
                    let _ = says.send(());
                }
            }
        });
        said.recv_timeout(START).is_ok()
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn stage(&self) -> Stage {
        let said = std::fs::read_to_string(self.state().join("administrator")).unwrap_or_default();
        let (administrator, password) =
            administrator(&said).expect("a first start names the administrator");
        let url = format!("http://127.0.0.1:{}", self.port);
        Stage { url, administrator, password, cluster: Some(self.state()) }
    }

    fn print_logs(&self) {
        println!("the cluster's script:\n{}", self.log());
        for node in ["node-1", "node-2", "node-3"] {
            let file = self.state().join(format!("{node}.log"));
            let log = std::fs::read_to_string(file).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            println!("{node}'s log:\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        end(&mut self.child, END);
        if std::thread::panicking() {
            self.print_logs();
        }
        // The database is in a folder of its own account.
        let mut clean = script(self.port, &self.state());
        let _ = clean.arg("clean").stdout(Stdio::null()).status();
    }
}

fn script(port: u16, state: &Path) -> Command {
    let bin = Path::new(env!("CARGO_BIN_EXE_parlance")).parent().expect("it is in a folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cluster.sh");
    let mut command = Command::new(script);
    command
        .env("CLUSTER_PORT", port.to_string())
        .env("CLUSTER_DIR", state)
        .env("CLUSTER_BIN", bin)
        .stdin(Stdio::null());
    command
}

/// A port that is free, as are the others that the script takes with it: the next three and
/// PostgreSQL's.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..200 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let port = listener.local_addr().expect("a bound listener").port();
        drop(listener);
        let Some(database) = port.checked_add(7352) else { continue };
        if (port..port + 4).all(is_free) && is_free(database) {
            return port;
        }
    }
    panic!("loopback has no five free ports");
}
