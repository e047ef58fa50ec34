//! A node on SQLite for the load generator: a process, a data directory, an address.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use parlance_benches::load::Site;
use parlance_benches::process::Tree;
use tempfile::TempDir;

pub(crate) struct Node {
    folder: TempDir,
    child: Child,
    url: String,
}

impl Node {
    /// Starts one with these settings beside those that a load from one address needs.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder =
            tempfile::Builder::new().prefix("parlance-loads-").tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("PARLANCE_")) {
                command.env_remove(name);
            }
        }
        let mut child = command
            .arg("serve")
            .env("PARLANCE_DATA_DIR", folder.path().join("data"))
            .env("PARLANCE_HTTP__LISTEN", "127.0.0.1:0")
            .env("PARLANCE_HTTP__REQUESTS_PER_SECOND", "0")
            .env("PARLANCE_HTTP__MAX_CONNECTIONS_PER_ADDRESS", "0")
            .env("PARLANCE_HTTP__DISK_FREE_MIN_MIB", "0")
            .env("PARLANCE_AUTH__REGISTER_PER_MINUTE", "0")
            .env("PARLANCE_AUTH__LOGIN_PER_MINUTE", "0")
            // These tests are not about password hashes.
            .env("PARLANCE_AUTH__ARGON2_MEMORY_KIB", "8192")
            .env("PARLANCE_AUTH__ARGON2_ITERATIONS", "1")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the node's binary starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("its output can be read");
        let Some(url) = line.trim().strip_prefix("listening on ") else {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            // It is ended and waited for: it must not outlive the test.
            let _ = child.kill();
            let _ = child.wait();
            panic!("the node does not listen; its log:\n{log}");
        };
        Self { url: url.to_owned(), folder, child }
    }

    /// The node as the generator sees it, its process measured.
    pub(crate) fn site(&self) -> Site {
        let servers = vec![Tree { pid: self.child.id() }];
        Site { servers, threads: 1, ..Site::at(vec![self.url.clone()]) }
    }

    /// Where its data is, beside which a test may keep files.
    #[allow(dead_code, reason = "not every test that shares this file keeps some")]
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A child that has ended by itself cannot be killed, and has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!("the node's log:\n{}", self.log());
        }
    }
}
