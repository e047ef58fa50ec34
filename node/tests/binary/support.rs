//! A running node for tests: started, waited for by its printed line, asked, and always ended.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The binary, without any setting of whoever runs the tests.
pub(crate) fn parlance() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLANCE_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    parlance().args(arguments).output().expect("the binary runs")
}

/// What a finished run said.
pub(crate) fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Starts a node that is expected to refuse. One that starts all the same is ended and fails the test.
pub(crate) fn refused(data_dir: &Path, more: &[&str]) -> Output {
    let mut command = parlance();
    command.args(["serve", "--set", "http.listen=127.0.0.1:0", "--data-dir"]);
    command.arg(data_dir).args(more);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the binary starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("its standard output");
    if !line.is_empty() {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("it ends");
    assert!(line.is_empty(), "it starts: {line}{}", said(&output));
    output
}

/// A folder of its own.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A running node.
pub(crate) struct Node {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    /// What it printed before it was ready.
    pub(crate) first_line: String,
    /// Host and port.
    pub(crate) address: String,
}

/// How a node ended and what it said.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Node {
    /// Starts a node on a free port and waits until it says where it listens.
    pub(crate) fn start(data_dir: &Path, more: &[&str]) -> Self {
        let mut command = parlance();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data_dir).args(more);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let mut first_line = String::new();
        stdout.read_line(&mut first_line).expect("its standard output");
        let Some(address) = first_line.trim().strip_prefix("listening on http://") else {
            let status = child.wait().expect("it ends");
            panic!("{status}: {first_line:?}\n{}", stderr.join().expect("its words"));
        };
        let address = address.to_owned();
        Self { child, stdout, stderr: Some(stderr), first_line, address }
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    /// Ends the node by a signal and waits for it.
    pub(crate) fn end(mut self, signal: Signal) -> Ended {
        self.signal(signal);
        self.ended()
    }

    fn ended(&mut self) -> Ended {
        let mut stdout = self.first_line.clone();
        self.stdout.read_to_string(&mut stdout).expect("its standard output");
        let status = self.child.wait().expect("it ends");
        let stderr = self.stderr.take().expect("asked once").join().expect("its words");
        Ended { status, stdout, stderr }
    }

    /// One request; the status and the body.
    pub(crate) fn ask(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let bearer = if token.is_empty() {
            String::new()
        } else {
            format!("authorization: Bearer {token}\r\n")
        };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{bearer}content-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}",
            self.address
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())))
    }

    /// Signs in and gives the access token.
    pub(crate) fn sign_in(&self, name: &str, password: &str) -> String {
        let body = serde_json::json!({ "username": name, "password": password }).to_string();
        let (status, answer) = self.ask("POST", "/api/auth/login", "", &body);
        assert_eq!(status, 200, "{answer}");
        answer["access_token"].as_str().expect("a token").to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The generated name and password that a command printed.
pub(crate) fn credentials(text: &str) -> Option<(String, String)> {
    let value = |key: &str| {
        text.lines().find_map(|line| line.split_once(key)).map(|(_, v)| v.trim().to_owned())
    };
    Some((value("administrator: ").or_else(|| value("account: "))?, value("password: ")?))
}
