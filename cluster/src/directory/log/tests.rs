//! The log against openraft's own suite, and against being killed.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use openraft::EntryPayload;
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::alias::CommittedLeaderIdOf;
use parlance_actors::vocab::NodeId;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::directory::identity::ClusterId;
use crate::directory::machine::Machine;
use crate::directory::snapshot::Snapshots;

pub(crate) const IDENTITY: Identity =
    Identity { node: NodeId(1), cluster: ClusterId(Uuid::from_u128(7)), finished: true };

fn new_log(folder: &Path) -> (Log, LogThread) {
    Log::create(folder, IDENTITY).expect("made");
    Log::open(folder, IDENTITY).expect("opens")
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderIdOf::<Types> { term, node_id: 1 }, index }
}

fn blank(term: u64, index: u64) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Blank }
}

async fn append(log: &mut Log, entries: Vec<Entry>) -> io::Result<()> {
    let (done, durable) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    durable.await.expect("every append is answered")
}

async fn close(log: Log, thread: LogThread) {
    log.close().await.expect("closes");
    tokio::task::spawn_blocking(|| thread.join()).await.expect("runs").expect("ended in order");
}

/// Gives the suite stores in folders of their own, which go with the guard.
struct InFolders;

impl StoreBuilder<Types, Log, Machine, TempDir> for InFolders {
    async fn build(&self) -> Result<(TempDir, Log, Machine), StorageError<Types>> {
        let folder = tempfile::tempdir().expect("a folder");
        let (log, _) = new_log(folder.path());
        let (snapshots, restored) = Snapshots::open(folder.path()).expect("opens");
        Ok((folder, log, Machine::new(snapshots, restored)))
    }
}

#[tokio::test]
async fn openrafts_own_storage_suite_passes() {
    Suite::test_all(InFolders).await.expect("the suite passes");
}

#[tokio::test]
async fn everything_is_there_after_closing_and_opening() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, thread) = new_log(folder.path());
    log.save_vote(&Vote::new_committed(3, 1)).await.expect("saved");
    append(&mut log, (0..50).map(|index| blank(3, index)).collect()).await.expect("appended");
    log.truncate_after(Some(log_id(3, 44))).await.expect("truncated");
    append(&mut log, vec![blank(4, 45), blank(4, 46)]).await.expect("appended");
    log.purge(log_id(3, 9)).await.expect("purged");
    log.save_committed(Some(log_id(4, 46))).await.expect("saved");
    let before = log.tail.lock().clone();
    assert_eq!(before.entries.len(), 37);
    close(log, thread).await;

    let (mut log, thread) = Log::open(folder.path(), IDENTITY).expect("opens");
    assert_eq!(*log.tail.lock(), before);
    log.purge(log_id(4, 46)).await.expect("purged");
    close(log, thread).await;
    let (log, thread) = Log::open(folder.path(), IDENTITY).expect("opens without entries");
    assert_eq!(log.last_index(), Some(46));
    close(log, thread).await;
}

#[tokio::test]
async fn a_closed_log_refuses_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut log, thread) = new_log(folder.path());
    close(log.clone(), thread).await;
    append(&mut log, vec![blank(1, 0)]).await.expect_err("it is closed");
    log.save_vote(&Vote::new(9, 1)).await.expect_err("it is closed");
    assert_eq!(log.read_vote().await.expect("readable"), None, "an unsaved vote is never seen");
}

/// Where the child works; it does nothing when this is not set.
const CHILD_FOLDER: &str = "PARLANCE_TEST_LOG_FOLDER";

/// Not a test: what the next one starts and kills. It appends, votes, truncates and purges, and
/// prints what was acknowledged.
#[test]
#[ignore = "the child of the test below"]
fn child_of_the_kill_loop() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(append_until_killed(Path::new(&folder)));
}

async fn append_until_killed(folder: &Path) {
    let (mut log, _thread) = Log::open(folder, IDENTITY).expect("opens");
    let mut term = log.read_vote().await.expect("readable").map_or(0, |vote| vote.leader_id.term);
    let mut out = std::io::stdout();
    let mut say = |line: String| {
        out.write_all(line.as_bytes()).and_then(|()| out.flush()).expect("the parent listens");
    };
    loop {
        let mut next = log.last_index().map_or(0, |last| last + 1);
        term += 1;
        log.save_vote(&Vote::new_committed(term, 1)).await.expect("saved");
        say(format!("\nvote {term}\n"));
        for size in [1, 3, 20, 7] {
            let entries: Vec<Entry> = (next..next + size).map(|at| blank(term, at)).collect();
            // Two appends in flight, so that one commit takes both.
            let (first, second) = entries.split_at(entries.len() / 2);
            let mut other = log.clone();
            let (one, two) =
                (append(&mut log, first.to_vec()), append(&mut other, second.to_vec()));
            let (one, two) = futures_util::join!(one, two);
            one.and(two).expect("appended");
            next += size;
            say(format!("\nlog {}\n", next - 1));
        }
        if next > 200 {
            log.purge(log_id(1, next - 150)).await.expect("purged");
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    Log::create(folder.path(), IDENTITY).expect("made");
    let started = Instant::now();
    let (mut vote, mut last, mut rounds) = (0, 0, 0_u64);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    // A busy machine gets longer to show something.
    let enough = |rounds, last| rounds > 5 && last > 100;
    while started.elapsed() < Duration::from_secs(8)
        || (!enough(rounds, last) && started.elapsed() < Duration::from_secs(60))
    {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let lives = Duration::from_micros(20_000 + seed % 400_000);
        let said = run_and_kill(folder.path(), lives);
        for line in said {
            let mut words = line.split_whitespace();
            match (words.next(), words.next().and_then(|number| number.parse::<u64>().ok())) {
                (Some("vote"), Some(term)) => vote = vote.max(term),
                (Some("log"), Some(index)) => last = last.max(index),
                _ => {}
            }
        }
        let (log, thread) = Log::open(folder.path(), IDENTITY).expect("opens after a kill");
        let tail = log.tail.lock().clone();
        let found = tail.vote.map_or(0, |vote| vote.leader_id.term);
        assert!(found >= vote, "round {rounds}: vote {found} after {vote} was acknowledged");
        let found = tail.last().map_or(0, |last| last.index);
        assert!(found >= last, "round {rounds}: ends at {found} after {last} was acknowledged");
        drop(log);
        thread.join().expect("ended in order");
        rounds += 1;
    }
    assert!(enough(rounds, last), "{rounds} rounds to entry {last} prove little");
}

fn run_and_kill(folder: &Path, lives: Duration) -> Vec<String> {
    let name = "directory::log::tests::child_of_the_kill_loop";
    let mut child = Process::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).collect::<Vec<_>>()
    });
    // The time itself is the test: the kill falls anywhere in the child's work.
    std::thread::sleep(lives);
    child.kill().expect("killed");
    child.wait().expect("ended");
    reader.join().expect("read")
}
