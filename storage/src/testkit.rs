//! For tests: a throwaway PostgreSQL server on a unix socket in a temporary folder, and PgBouncer
//! before it. Each is ended by its process id when dropped, also when a test panics. No network,
//! but where a test gives a server a place in one of its own. And, for measurements, a lane
//! without any database.

mod idle;

use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

pub use idle::{IDLE_DATABASE, IdleLane};

/// How long a server may take to start or stop; recovery after a kill included.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at whether a server has started or stopped.
const POLL: Duration = Duration::from_millis(20);

/// A PostgreSQL server.
#[derive(Debug)]
pub struct PostgresServer {
    folder: TempDir,
    programs: PathBuf,
    account: Option<Account>,
    durable: bool,
    place: Option<Place>,
    child: Option<Child>,
}

/// A network namespace for a server, and its address there. Needs root.
#[derive(Debug, Clone)]
pub struct Place {
    /// The namespace's file.
    pub namespace: PathBuf,
    /// Where the server listens, beside its unix socket. Everybody who reaches it is let in.
    pub address: IpAddr,
}

/// Whether a primary waits for its standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// Nothing is committed that the standby has not flushed.
    Synchronous,
    /// The standby follows as it can.
    Asynchronous,
}

/// An unprivileged account, because PostgreSQL and PgBouncer refuse to run as root.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl PostgresServer {
    /// Makes and starts one. `durable` is for tests of durability: the others are quicker without fsync.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the message says what is missing.
    pub async fn start(durable: bool) -> Self {
        Self::start_at(durable, None).await
    }

    /// The same, at a place in a network.
    ///
    /// # Panics
    /// Like [`Self::start`].
    pub async fn start_at(durable: bool, place: Option<Place>) -> Self {
        let programs =
            programs().expect("PostgreSQL 15 or later is installed: apt install postgresql");
        let account = unprivileged();
        let folder = tempfile::Builder::new()
            .prefix("parlance-pg-")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        own(folder.path(), account);
        let mut server = Self { folder, programs, account, durable, place, child: None };
        let made = server
            .command("initdb")
            .args(["--no-sync", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "-D"])
            .arg(server.data())
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        if server.place.is_some() {
            let anybody = "local all all trust\nhost all all all trust\n\
                local replication all trust\nhost replication all all trust\n";
            std::fs::write(server.data().join("pg_hba.conf"), anybody).expect("the rules");
        }
        server.start_again().await;
        server
    }

    /// Where the server is: over its unix socket, as its superuser.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost/postgres?host={}", self.folder.path().display())
    }

    /// Where the server is in its network, for one that has a place there.
    ///
    /// # Panics
    /// When it has none.
    #[must_use]
    pub fn network_url(&self) -> String {
        let place = self.place.as_ref().expect("this server has a place in a network");
        format!("postgres://postgres@{}/postgres", place.address)
    }

    /// The folder of the socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it after [`Self::stop`] or [`Self::kill9`], and waits until it answers.
    ///
    /// # Panics
    /// When it does not start in time.
    pub async fn start_again(&mut self) {
        let begun = Instant::now();
        loop {
            if !self.is_running() {
                // After a kill, the server's children may still hold its shared memory.
                self.child = Some(self.spawn());
            }
            if let Ok(connection) = PgConnection::connect(&self.url()).await {
                let _ = connection.close().await;
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "PostgreSQL did not start:\n{}", self.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// Stops it in the fast mode: sessions are ended, what is committed is kept.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(&child, "INT");
        wait(&mut child).await;
    }

    /// Stops it in the immediate mode: nothing that is under way is finished or rolled back, and
    /// the next start recovers from the log.
    pub async fn stop_immediate(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(&child, "QUIT");
        wait(&mut child).await;
    }

    /// Makes and starts a standby of this server. From then on this one commits nothing that the
    /// standby has not flushed.
    ///
    /// # Panics
    /// When the standby cannot be made or does not catch up in time.
    pub async fn standby(&self) -> Self {
        self.standby_at(None, Replication::Synchronous).await
    }

    /// Makes and starts a standby at a place in a network. It reaches this server over the network
    /// if both have one.
    ///
    /// # Panics
    /// Like [`Self::standby`].
    pub async fn standby_at(&self, place: Option<Place>, how: Replication) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("parlance-pg-")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        own(folder.path(), self.account);
        let (programs, account, durable) = (self.programs.clone(), self.account, self.durable);
        let primary = match (&self.place, &place) {
            (Some(primary), Some(_)) => primary.address.to_string(),
            _ => self.folder.path().display().to_string(),
        };
        let mut standby = Self { folder, programs, account, durable, place, child: None };
        let made = standby
            .command("pg_basebackup")
            .args(["--no-sync", "-R", "-X", "stream", "-c", "fast", "-U", "postgres", "-h"])
            .arg(primary)
            .arg("-D")
            .arg(standby.data())
            .output()
            .expect("pg_basebackup runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        standby.start_again().await;
        let mut primary = PgConnection::connect(&self.url()).await.expect("the server answers");
        let names = match how {
            Replication::Synchronous => "ALTER SYSTEM SET synchronous_standby_names = '*'",
            Replication::Asynchronous => "ALTER SYSTEM RESET synchronous_standby_names",
        };
        for sql in [names, "SELECT pg_reload_conf()"] {
            sqlx::raw_sql(sql).execute(&mut primary).await.expect(sql);
        }
        let begun = Instant::now();
        loop {
            let sql = match how {
                Replication::Synchronous => {
                    "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
                }
                Replication::Asynchronous => {
                    "SELECT count(*) FROM pg_stat_replication
                     WHERE sync_state = 'async' AND state = 'streaming'"
                }
            };
            let standbys: i64 =
                sqlx::query_scalar(sql).fetch_one(&mut primary).await.expect("answered");
            if standbys > 0 {
                return standby;
            }
            assert!(begun.elapsed() < PATIENCE, "no standby:\n{}", standby.log());
            tokio::time::sleep(POLL).await;
        }
    }

    /// A connection to it as its superuser.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn operator(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("the server answers")
    }

    /// Makes a standby a primary on a timeline of its own, and waits until it takes writes.
    ///
    /// # Panics
    /// When it does not become one in time.
    pub async fn promote(&self) {
        let mut connection = PgConnection::connect(&self.url()).await.expect("the standby answers");
        let sql = "SELECT pg_promote(true, 60)";
        let promoted: bool = sqlx::query_scalar(sql).fetch_one(&mut connection).await.expect(sql);
        assert!(promoted, "not promoted:\n{}", self.log());
    }

    /// The URL of several servers, of which one is the primary.
    #[must_use]
    pub fn url_of(servers: &[&Self]) -> String {
        let folders: Vec<String> =
            servers.iter().map(|server| server.folder.path().display().to_string()).collect();
        format!(
            "postgres://postgres@localhost/postgres?host={}&target_session_attrs=read-write",
            folders.join(",")
        )
    }

    /// Ends it as a crash would.
    pub async fn kill9(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may have ended by itself.
        let _ = child.kill();
        wait(&mut child).await;
    }

    fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match &self.place {
            None => Command::new(program),
            Some(place) => self.command_at(place, &program),
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if self.place.is_none() {
            become_account(&mut command, self.account);
        }
        command
    }

    /// Enters the namespace as root, and only then becomes the account. The process stays the same.
    fn command_at(&self, place: &Place, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", place.namespace.display()));
        if let Some(Account { user, group }) = self.account {
            command.arg(format!("--setuid={user}")).arg(format!("--setgid={group}"));
        }
        command.arg("--").arg(program);
        command
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("a log file");
        let fsync = if self.durable { "fsync=on" } else { "fsync=off" };
        let address = self.place.as_ref().map(|place| place.address.to_string());
        let listen = format!("listen_addresses={}", address.unwrap_or_default());
        self.command("postgres")
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-c", &listen, "-c", "shared_buffers=64MB", "-c", fsync])
            .args(["-c", "max_connections=200", "-c", "log_min_messages=warning"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("postgres starts")
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, "QUIT");
        }
    }
}

/// PgBouncer in transaction mode before a server.
#[derive(Debug)]
pub struct PgBouncer {
    folder: TempDir,
    child: Option<Child>,
}

impl PgBouncer {
    /// Starts one, with fewer server connections than clients, so that they are really shared.
    ///
    /// # Panics
    /// When PgBouncer is not installed or does not start.
    pub async fn start(server: &PostgresServer) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("parlance-bouncer-")
            .tempdir_in("/tmp")
            .expect("a temporary folder");
        own(folder.path(), server.account);
        let at = folder.path().display();
        let settings = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr =\n\
             unix_socket_dir = {at}\nlisten_port = 6432\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 50\n\
             ignore_startup_parameters = extra_float_digits\nlogfile = {at}/log\n",
            server.socket_folder().display()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("the settings are written");
        own(&file, server.account);
        let program = ["/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer", "/usr/bin/pgbouncer"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("PgBouncer is installed: apt install pgbouncer");
        let mut command = Command::new(program);
        command.arg("-q").arg(&file).stdin(Stdio::null()).stderr(Stdio::null());
        become_account(&mut command, server.account);
        let child = command.spawn().expect("pgbouncer starts");
        let bouncer = Self { folder, child: Some(child) };
        let begun = Instant::now();
        loop {
            match PgConnection::connect(&bouncer.url()).await {
                Ok(connection) => {
                    let _ = connection.close().await;
                    return bouncer;
                }
                Err(error) => assert!(begun.elapsed() < PATIENCE, "PgBouncer: {error}"),
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        let at = self.folder.path().display();
        format!("postgres://postgres@localhost:6432/postgres?host={at}")
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        if let Some(child) = self.child.take() {
            end(child, "TERM");
        }
    }
}

/// The folder of PostgreSQL's programs, the newest version's first.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists())
}

/// As root, the account to run servers as.
fn unprivileged() -> Option<Account> {
    let id = |args: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(args).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some(Account { user: id(&["-u", name])?, group: id(&["-g", name])? }))
}

fn own(path: &Path, account: Option<Account>) {
    if let Some(Account { user, group }) = account {
        std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn become_account(command: &mut Command, account: Option<Account>) {
    if let Some(Account { user, group }) = account {
        command.gid(group).uid(user);
    }
}

fn signal(child: &Child, name: &str) {
    // It may have ended by itself.
    let _ = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
}

async fn wait(child: &mut Child) {
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        assert!(begun.elapsed() < PATIENCE, "process {} does not end", child.id());
        tokio::time::sleep(POLL).await;
    }
}

/// Ends a process from `drop`, where nothing can be awaited.
fn end(mut child: Child, with: &str) {
    signal(&child, with);
    let begun = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begun.elapsed() > Duration::from_secs(10) {
            let _ = child.kill();
            let _ = child.wait();
            return;
        }
        std::thread::sleep(POLL);
    }
}
