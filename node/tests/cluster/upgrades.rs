//! A cluster is upgraded to the next release, and back, one node after the other under load. The
//! next release is this one with one migration and one version of every protocol more, which the
//! test builds itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use parlance_storage::{StorageConfig, migrate_status};
use tokio::time::{sleep, timeout};

use crate::harness::scene::{SMALL, Scene};

/// The migration that the next release adds.
const NEXT_MIGRATION: i32 = 7;
/// How long links may take until they speak what they should, on a busy machine.
const SETTLED: Duration = Duration::from_secs(60);

/// The two builds, and which node has the next one.
struct Upgrade {
    scene: Scene,
    now: PathBuf,
    next: PathBuf,
    ahead: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "builds the server once more: make soak"]
async fn a_cluster_is_upgraded_and_taken_back_node_by_node_under_load() {
    let next = build_next();
    let Some(scene) = Scene::open(SMALL, 0x5EED_0160).await else { return };
    let now = PathBuf::from(env!("CARGO_BIN_EXE_parlance"));
    let mut upgrade = Upgrade { scene, now, next, ahead: BTreeSet::new() };
    assert!(!upgrade.is_migrated().await);
    upgrade.settles().await;

    // The first node of the next release migrates; those of this one go on with that schema.
    upgrade.forward(0).await;
    assert!(upgrade.is_migrated().await);
    upgrade.forward(1).await;
    // Somebody thinks better of it: a node of this release starts on what the next one left.
    upgrade.back(0).await;
    upgrade.forward(2).await;
    upgrade.forward(0).await;
    println!("every node is of the next release, after {} acks", upgrade.scene.talk.acked());

    // The way back, all of it. The schema goes last, when nobody needs what it had more.
    for place in [1, 0, 2] {
        upgrade.back(place).await;
    }
    assert!(upgrade.is_migrated().await, "nodes take nothing back by themselves");
    upgrade.this_release_cannot_migrate_back().await;
    upgrade.migrate(&upgrade.next, "down").await.expect("the next release knows the way back");
    assert!(!upgrade.is_migrated().await);
    upgrade.scene.talk.goes_on(20).await;
    // What was taken back can be had again.
    upgrade.forward(0).await;
    assert!(upgrade.is_migrated().await);
    upgrade.back(0).await;
    upgrade.scene.end_of_what_was_planned().await;
}

impl Upgrade {
    async fn forward(&mut self, place: usize) {
        self.ahead.insert(self.scene.fleet.nodes[place].name.clone());
        self.replace(place, &self.next.clone()).await;
    }

    async fn back(&mut self, place: usize) {
        self.ahead.remove(&self.scene.fleet.nodes[place].name);
        self.replace(place, &self.now.clone()).await;
    }

    /// Ends a node as asked for, and starts the other build on its data directory.
    async fn replace(&mut self, place: usize, binary: &Path) {
        let begun = Instant::now();
        let node = &mut self.scene.fleet.nodes[place];
        let status = node.terminate().await;
        assert!(status.success(), "an asked-for end is a success");
        let ended = begun.elapsed();
        node.install(binary);
        self.scene.fleet.start().await;
        println!(
            "node {} ended in {ended:?} and all are ready {:?} after; of the next release: {:?}",
            place + 1,
            begun.elapsed(),
            self.ahead
        );
        self.scene.talk.goes_on(20).await;
        self.settles().await;
    }

    /// Waits until every node says its own version, and every link speaks the newest version that
    /// both of its ends know.
    async fn settles(&self) {
        let settled = timeout(SETTLED, async {
            while let Some(why) = self.unsettled().await {
                sleep(Duration::from_millis(100)).await;
                println!("not yet: {why}");
            }
        });
        if settled.await.is_err() {
            panic!("{:?}; {:?}", self.unsettled().await, self.scene.fleet.view().await);
        }
    }

    async fn unsettled(&self) -> Option<String> {
        let version = |name: &str| if self.ahead.contains(name) { NEXT } else { NOW };
        let oldest = if self.ahead.len() == self.scene.fleet.nodes.len() { NEXT } else { NOW };
        for node in &self.scene.fleet.nodes {
            let Some(report) = node.report().await else {
                return Some(format!("{} has no answer", node.name));
            };
            if report.oldest_version.as_deref() != Some(oldest) {
                return Some(format!("the oldest version is {:?}", report.oldest_version));
            }
            if let Some(other) = report.nodes.iter().find(|one| one.version != version(&one.name)) {
                return Some(format!("{} is of version {}", other.name, other.version));
            }
            let data = report.links.iter().filter(|link| link.kind == "data");
            if data.count() + 1 != self.scene.fleet.nodes.len() {
                return Some(format!("{} has {:?}", node.name, report.links));
            }
            for link in &report.links {
                let peer = report.name_of(link.peer).unwrap_or_default();
                let both = self.ahead.contains(peer) && self.ahead.contains(&node.name);
                let spoken = Some(if both { 2 } else { 1 });
                // Control links are there when something is to be said.
                let idle = link.kind == "control" && !link.connected;
                if !idle && link.version != spoken {
                    return Some(format!("{} to {peer}: {link:?}", node.name));
                }
            }
        }
        None
    }

    async fn is_migrated(&self) -> bool {
        let config = StorageConfig::new(self.scene.fleet.database.url());
        let status = migrate_status(&config).await.expect("the database can be asked");
        status.iter().any(|one| one.version == NEXT_MIGRATION && one.applied_at.is_some())
    }

    /// Migrates to the schema of this release with one of the builds, as an operator on a node
    /// would. Gives what it complains of.
    async fn migrate(&self, binary: &Path, way: &str) -> Result<(), String> {
        let to = (NEXT_MIGRATION - 1).to_string();
        let asked = self.scene.fleet.nodes[0]
            .command_of(binary, &["migrate", way, "--to", &to, "--yes"])
            .output();
        let done = asked.await.expect("the binary runs");
        if done.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&done.stderr).into_owned())
    }

    async fn this_release_cannot_migrate_back(&self) {
        let refused = self.migrate(&self.now, "down").await.expect_err("it does not know the way");
        let next = format!("migration {NEXT_MIGRATION} (next)");
        assert!(refused.contains(&next), "{refused}");
        assert!(refused.contains("came with a later release"), "{refused}");
    }
}

/// What nodes of the two builds say that they are.
const NOW: &str = env!("CARGO_PKG_VERSION");
const NEXT: &str = "999.0.0-next";

/// Builds the next release beside this one, and gives its binary.
fn build_next() -> PathBuf {
    let begun = Instant::now();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("next");
    println!("building the next release in {} (the first time takes minutes)", target.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo sets for this test is not for other builds.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_BIN_", "CARGO_MANIFEST_", "NEXTEST", "LD_LIBRARY_PATH"]
            .iter()
            .any(|ours| name_text.starts_with(ours))
        {
            command.env_remove(&name);
        }
    }
    let built = command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["build", "--locked", "--quiet", "-p", "parlance-node", "--bin", "parlance"])
        .args(["--features", "next-version", "--target-dir"])
        .arg(&target)
        .output()
        .expect("cargo runs");
    let why = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the next release does not build: {why}");
    println!("the next release is built after {:?}", begun.elapsed());
    target.join("debug").join("parlance")
}
