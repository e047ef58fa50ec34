//! A throwaway PostgreSQL server in a temporary folder, reached by its Unix socket alone.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the server may take to start on a busy machine.
const START_WAIT: Duration = Duration::from_secs(60);

/// Ended, and its folder removed, when dropped.
pub(crate) struct Server {
    process: Child,
    folder: tempfile::TempDir,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // PostgreSQL does not run as root.
        let owner = unprivileged();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).expect("given away");
        }
        let data = folder.path().join("data");
        let made = run(owner, "initdb")
            .args(["--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8"])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let process = run(owner, "postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50", "-k"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("postgres runs");
        let mut server = Self { process, folder };
        server.wait_until_ready().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}/postgres")
    }

    async fn wait_until_ready(&mut self) {
        let since = Instant::now();
        while crate::postgres::connect(&self.url()).await.is_err() {
            let ended = self.process.try_wait().expect("its state");
            assert!(ended.is_none(), "postgres ended: {ended:?}");
            assert!(since.elapsed() < START_WAIT, "postgres is not ready in {START_WAIT:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(owner: Option<(u32, u32)>, program: &str) -> Command {
    let mut command = Command::new(newest().join(program));
    command.current_dir("/");
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
}

/// The folder of the newest installed PostgreSQL, where Debian keeps it.
fn newest() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let paths = versions.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    paths.max_by_key(|path| version(path)).expect("a version").join("bin")
}

/// The ids of the user `postgres`, if this process is root.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let me = std::fs::metadata("/proc/self").expect("procfs").uid();
    if me != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("readable");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut ids = line.split(':').skip(2).map(|id| id.parse().expect("a number"));
    Some((ids.next().expect("a uid"), ids.next().expect("a gid")))
}
