//! One node on SQLite with an empty data directory, until it is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{administrator, end};
use crate::script::Stage;

/// On a busy machine.
const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(10);

pub(crate) struct Node {
    child: Child,
    url: String,
    folder: TempDir,
}

impl Node {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("parlance-browser-").tempdir();
        let folder = folder.expect("a temporary folder");
        let log = File::create(folder.path().join("log")).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]);
        command.arg(folder.path().join("data"));
        let settings = [
            "http.requests_per_second=0",
            "http.max_connections_per_address=0",
            "http.disk_free_min_mib=0",
            "auth.register_per_minute=0",
            "auth.login_per_minute=0",
            // These tests are not about password hashes.
            "auth.argon2_memory_kib=8192",
            "auth.argon2_iterations=1",
        ];
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().expect("the node's binary starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let (says, said) = mpsc::channel();
        // Ends with the node's output.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(url) = line.strip_prefix("listening on ") {
                    // Nobody asks for a second one.
                    let _ = says.send(url.trim().to_owned());
                }
            }
        });
        let url = said.recv_timeout(START);
        let mut node = Self { child, url: String::new(), folder };
        match url {
            Ok(url) => node.url = url,
            Err(_) => panic!("the node did not say where it listens"),
        }
        node
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn stage(&self) -> Stage {
        let (administrator, password) =
            administrator(&self.log()).expect("a first start names the administrator");
        Stage { url: self.url.clone(), administrator, password, cluster: None }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        end(&mut self.child, END);
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            println!("the node's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
    }
}
