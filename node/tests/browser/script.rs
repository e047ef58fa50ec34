//! A scenario: a script for Node that drives Chromium. It ends by itself, in time or not; here it is
//! only run, and its words are shown.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::wait_for;

/// Says that a machine without Node, Chromium or the client fails the test instead of skipping it.
const REQUIRED: &str = "TEST_BROWSER";
/// A script has a bound of its own, below this one.
const PATIENCE: Duration = Duration::from_secs(280);

/// What a script is told of the server, as environment variables.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) administrator: String,
    pub(crate) password: String,
    /// Where `node-N.pid` are, for a cluster.
    pub(crate) cluster: Option<PathBuf>,
}

pub(crate) struct Script {
    name: String,
    file: PathBuf,
}

impl Script {
    /// `None` with a line that says why the test is skipped.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let web = web()?;
        let why = if !Path::new("/usr/bin/chromium").exists() {
            "Chromium is missing: apt install chromium"
        } else if !web.join("dist/index.html").exists() {
            "the web client is not built: .ci/web, then build the server again"
        } else {
            let file = web.join("e2e").join(format!("{name}.mjs"));
            return Some(Self { name: name.to_owned(), file });
        };
        skip(why);
        None
    }

    /// Runs it to its end; its failure is the test's.
    pub(crate) fn run(&self, stage: &Stage) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
        let mut command = Command::new("node");
        command
            .arg(&self.file)
            .env("E2E_URL", &stage.url)
            .env("E2E_ADMINISTRATOR", &stage.administrator)
            .env("E2E_PASSWORD", &stage.password)
            .env("E2E_OUT", kept)
            .stdin(Stdio::null());
        if let Some(folder) = &stage.cluster {
            command.env("E2E_CLUSTER", folder);
        }
        to_its_end(&self.name, command);
    }
}

/// A test of the client without a browser, which starts nodes of its own with this binary.
pub(crate) fn without_a_browser(file: &str) {
    let Some(web) = web() else { return };
    let mut command = Command::new("node");
    command
        .current_dir(&web)
        .args(["node_modules/vitest/vitest.mjs", "run", file])
        .env("PARLANCE_BIN", env!("CARGO_BIN_EXE_parlance"))
        // A socket is built in since Node 22, and behind this in Node 20.
        .env("NODE_OPTIONS", "--experimental-websocket")
        .stdin(Stdio::null());
    to_its_end(file, command);
}

/// The client's folder, if Node and its packages are there.
fn web() -> Option<PathBuf> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/web");
    if !answers("node") {
        skip("Node is missing");
    } else if !web.join("node_modules/playwright-core").exists() {
        skip("the web client's packages are missing: .ci/web");
    } else {
        return Some(web);
    }
    None
}

fn skip(why: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{why}, and {REQUIRED} asks for these tests");
    println!("SKIPPED: {why}");
}

fn to_its_end(name: &str, mut command: Command) {
    let mut child = command.spawn().expect("Node starts");
    match wait_for(&mut child, PATIENCE) {
        Some(status) => assert!(status.success(), "{name}: it failed; see above"),
        None => {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{name}: it did not end in {PATIENCE:?}");
        }
    }
}

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
