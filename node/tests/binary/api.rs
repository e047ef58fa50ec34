//! The API as people use it: the quick starts of the README, the client's examples, and schemathesis,
//! which makes up requests from the OpenAPI document and holds every answer against it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Node, folder, said};

const PASSWORD: &str = "Correct-Horse-1";
/// These tests come from one address, and are not about password hashes.
const SETTINGS: [&str; 12] = [
    "--set",
    "http.requests_per_second=0",
    "--set",
    "auth.register_per_minute=0",
    "--set",
    "auth.login_per_minute=0",
    "--set",
    "auth.argon2_memory_kib=8192",
    "--set",
    "auth.argon2_iterations=1",
    "--set",
    "log.level=warn",
];

fn start(data: &Path) -> Node {
    Node::start(data, &SETTINGS)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Says that a machine without these programs fails the tests instead of skipping them.
const REQUIRED: &str = "TEST_API";

fn skip(why: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{why}, and {REQUIRED} asks for these tests");
    println!("SKIPPED: {why}");
}

/// A program of Python's that `.ci/setup test` installs.
fn tool(name: &str) -> Option<PathBuf> {
    let tool = root().join("target/tools/api/bin").join(name);
    if tool.exists() {
        return Some(tool);
    }
    skip(&format!("{} is not there; .ci/setup test installs it", tool.display()));
    None
}

fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The first block of code below a heading of the README.
fn block(heading: &str, language: &str) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let (_, below) = readme.split_once(&format!("\n### {heading}\n")).expect(heading);
    let section = below.split("\n### ").next().expect("a section");
    let (_, code) = section.split_once(&format!("```{language}\n")).expect(language);
    code.split("\n```").next().expect("an end").to_owned()
}

/// Code of the README, to the node instead of the usual address.
fn to(node: &Node, code: &str) -> String {
    assert!(code.contains("127.0.0.1:8080"), "{code}");
    code.replace("127.0.0.1:8080", &node.address)
}

fn sign_up(node: &Node, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    assert_eq!(node.ask("POST", "/api/auth/register", "", &body).0, 201);
    node.sign_in(name, PASSWORD)
}

fn make_room(node: &Node, token: &str, name: &str) -> String {
    let body = json!({"name": name, "kind": "public"}).to_string();
    let (status, room) = node.ask("POST", "/api/rooms", token, &body);
    assert_eq!(status, 201, "{room}");
    room["id"].as_str().expect("an id").to_owned()
}

/// Runs a program to its end, which must be good; gives what it printed.
fn run(mut command: Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_quick_start_with_curl_works() {
    let (data, code) = (folder(), block("curl", "sh"));
    let node = start(data.path());
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &to(&node, &code)]);
    let printed = run(command);
    assert!(printed.contains("\"body\":\"hello from curl\""), "{printed}");
}

#[test]
fn the_quick_start_with_python_works() {
    let Some(python) = tool("python") else { return };
    let (data, code) = (folder(), block("Python", "python"));
    let node = start(data.path());
    let mut command = Command::new(python);
    command.args(["-c", &to(&node, &code)]);
    let printed = run(command);
    assert!(printed.trim_end().ends_with("hello from Python"), "{printed}");
}

#[test]
fn the_quick_start_with_javascript_works() {
    // A socket is built in since Node 22, and behind this in Node 20.
    const SOCKETS: &str = "--experimental-websocket";
    let probe = Command::new("node").args([SOCKETS, "-e", "WebSocket"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return skip("Node.js 20 or newer is not there");
    }
    let (data, code) = (folder(), block("JavaScript", "js"));
    let node = start(data.path());
    let file = data.path().join("quick-start.mjs");
    std::fs::write(&file, to(&node, &code)).expect("written");
    let mut command = Command::new("node");
    command.arg(SOCKETS).arg(&file);
    let printed = run(command);
    assert!(printed.trim_end().ends_with("hello from JavaScript"), "{printed}");
}

/// Follows the references of the page as the page does.
const FOLLOW: &str = r#"
import { kind, resolve } from "./schema.mjs";
const load = async (path) => (await fetch(process.argv[2] + path)).json();
const [openapi, asyncapi] = [await load("/api/openapi.json"), await load("/api/asyncapi.json")];
let frames = 0;
for (const operation of Object.values(asyncapi.operations)) {
  for (const reference of operation.messages) {
    const frame = resolve(asyncapi, reference);
    if (!frame.name || !frame.payload || !frame.examples.length) throw new Error(JSON.stringify(reference));
    frames += 1;
  }
}
for (const [name, schema] of Object.entries(openapi.components.schemas)) {
  for (const [field, of] of Object.entries(schema.properties ?? {})) {
    if (kind(openapi, of).includes("undefined")) throw new Error(`${name}.${field}: ${kind(openapi, of)}`);
  }
}
console.log(frames > 25 ? "every frame" : `only ${frames} frames`);
"#;

#[test]
fn the_page_finds_every_frame_and_names_every_type() {
    if !has("node") {
        return skip("Node.js is not there");
    }
    let (data, work) = (folder(), folder());
    let node = start(data.path());
    let module = root().join("gateway/src/docs/schema.js");
    std::fs::copy(module, work.path().join("schema.mjs")).expect("copied");
    let file = work.path().join("follow.mjs");
    std::fs::write(&file, FOLLOW).expect("written");
    let mut command = Command::new("node");
    command.arg(&file).arg(format!("http://{}", node.address));
    assert_eq!(run(command).trim(), "every frame");
}

/// What websocat does with the README's line, for machines without it.
const STAND_IN: &str = r#"#!/usr/bin/env python3
import argparse, asyncio, sys
from websockets.asyncio.client import connect
asking = argparse.ArgumentParser()
asking.add_argument("--protocol")
asking.add_argument("-H", action="append", default=[])
asking.add_argument("url")
given = asking.parse_args()
async def main():
    headers = [tuple(part.strip() for part in header.split(":", 1)) for header in given.H]
    async with connect(given.url, subprotocols=[given.protocol], additional_headers=headers) as socket:
        async def hear():
            async for text in socket:
                print(text, flush=True)
        hearing = asyncio.create_task(hear())
        while line := await asyncio.to_thread(sys.stdin.readline):
            await socket.send(line.rstrip("\n"))
        await socket.close()
        await hearing
asyncio.run(main())
"#;

#[test]
fn the_quick_start_with_a_socket_from_the_shell_works() {
    let data = folder();
    let mut path = std::env::var("PATH").expect("a PATH");
    if !has("websocat") {
        let Some(python) = tool("python") else { return };
        let stand_in = data.path().join("websocat");
        let text = STAND_IN.replacen("/usr/bin/env python3", &python.to_string_lossy(), 1);
        std::fs::write(&stand_in, text).expect("written");
        run({
            let mut command = Command::new("chmod");
            command.arg("755").arg(&stand_in);
            command
        });
        path = format!("{}:{path}", data.path().display());
    }
    let node = start(&data.path().join("data"));
    let token = sign_up(&node, "ada");
    let room = make_room(&node, &token, "engines");
    let line = to(&node, &block("A socket from the shell", "sh"));
    let frames = block("A socket from the shell", "json").replace("ROOM", &room);
    let mut child = Command::new("bash")
        .args(["-c", &format!("exec {line}")])
        .env("PATH", path)
        .env("token", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut typing = child.stdin.take().expect("a pipe");
    let heard = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    writeln!(typing, "{frames}").expect("typed");
    let mut answers = Vec::new();
    for text in heard {
        let frame: Value = serde_json::from_str(&text.expect("text")).expect("a frame");
        assert_ne!(frame["type"], "error", "{frame}");
        let is_last = frame["body"] == "hello from a socket";
        answers.push(frame);
        // Its answer may come before it or after it.
        if is_last || answers.len() > 50 {
            break;
        }
    }
    drop(typing);
    child.wait().expect("it ends");
    assert_eq!(answers[0]["type"], "welcome", "{answers:?}");
    assert!(answers.iter().any(|frame| frame["body"] == "hello from a socket"), "{answers:?}");
}

/// The examples stand beside the tests' own programs, built by the same `cargo test`.
fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("this program's path");
    let folder = this.parent().and_then(Path::parent).expect("target/debug/deps");
    let example = folder.join("examples").join(name);
    assert!(
        example.exists(),
        "{} is not built: cargo build -p parlance-client --examples",
        example.display()
    );
    example
}

#[test]
fn the_examples_of_the_rust_client_work() {
    let data = folder();
    let node = start(data.path());
    let url = format!("http://{}", node.address);
    for (name, expected) in [
        ("sign_in", vec!["registered as", "signed in as ada", "signed out"]),
        ("stream", vec!["committed as seq", "ada: hello"]),
        ("retry", vec!["repeated: false", "repeated: true", "the room holds it 1 time"]),
        ("resume", vec!["before", "one", "two"]),
    ] {
        let mut command = Command::new(example(name));
        command.args([&url, "ada", PASSWORD]);
        let printed = run(command);
        let mut rest = printed.as_str();
        for word in expected {
            let found = rest.split_once(word);
            rest = found.unwrap_or_else(|| panic!("{name} printed no {word:?} in\n{printed}")).1;
        }
    }
}

/// What schemathesis holds every answer against: no 5xx, and what the document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method";

/// One run. `room` is put into every path that takes one.
fn schemathesis(node: &Node, token: &str, room: Option<&str>, seconds: u32, more: &[&str]) {
    let Some(program) = tool("schemathesis") else { return };
    let work = folder();
    let config = work.path().join("schemathesis.toml");
    let parameters = room.map(|room| format!("[parameters]\n\"path.room\" = \"{room}\"\n"));
    std::fs::write(&config, parameters.unwrap_or_default()).expect("written");
    let mut command = Command::new(program);
    command
        .arg("--no-color")
        .arg("--config-file")
        .arg(&config)
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", node.address))
        .args(["--header", &format!("Authorization: Bearer {token}"), "--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing", "--generation-database", "none"])
        .args(["--max-time", &seconds.to_string(), "--continue-on-failure"])
        .args(["--request-timeout", "20", "--suppress-health-check", "all", "--warnings", "off"])
        .args(more)
        .current_dir(work.path());
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(output.status.success(), "{}\n{}", output.status, said(&output));
}

/// Calls that end the sign-in that the run is made with.
const ENDING: &str = "^/api/auth/(logout|password|refresh)$";

/// `more` goes to every run.
fn attack(seconds: u32, more: &[&str]) {
    let data = folder();
    let node = start(data.path());
    let ada = sign_up(&node, "ada");
    let room = make_room(&node, &ada, "engines");
    let run = |token: &str, room: Option<&str>, seconds: u32, filter: &[&str]| {
        schemathesis(&node, token, room, seconds, &[filter, more].concat());
    };
    run(&ada, None, seconds / 2, &["--exclude-path-regex", ENDING]);
    // The owner stays in the room, so that the calls do what they are for.
    let filter = ["--include-path-regex", r"^/api/rooms/\{room\}", "--exclude-path-regex", "leave"];
    run(&ada, Some(&room), seconds / 2, &filter);
    let leaver = sign_up(&node, "leaver");
    run(&leaver, None, seconds / 6, &["--include-path-regex", ENDING]);
    let (status, ready) = node.ask("GET", "/api/health/ready", "", "");
    assert_eq!(status, 200, "{ready}");
}

#[test]
fn made_up_requests_get_what_the_document_says() {
    // The same requests every time: a find of another day belongs to the long run.
    attack(24, &["--seed", "1"]);
}

#[test]
#[ignore = "takes twenty minutes: make soak"]
fn made_up_requests_get_what_the_document_says_for_twenty_minutes() {
    attack(1_030, &[]);
}
