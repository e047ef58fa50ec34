//! The directory killed at any moment, its first start included: every room that was acknowledged
//! is there when the next start returns.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command as Process, Stdio};

use openraft::async_runtime::watch::WatchReceiver as _;
use parlance_actors::vocab::TenantId;

use super::*;

/// Where the child works; it does nothing when this is not set.
const CHILD_FOLDER: &str = "PARLANCE_TEST_DIRECTORY_FOLDER";

/// Not a test: what the next one starts and kills. It makes rooms, prints the name of each that
/// was acknowledged, and compacts the log now and then.
#[test]
#[ignore = "the child of the test below"]
fn child_of_the_kill_loop() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let directory = open(Path::new(&folder)).await;
        for n in directory.room_count().. {
            directory.create_room(new_room(&format!("room {n}"))).await.expect("made");
            let line = format!("\nmade {n}\n");
            std::io::stdout().write_all(line.as_bytes()).expect("the parent listens");
            if n % 50 == 49 {
                directory.raft.trigger().snapshot().await.expect("running");
                let applied = directory.raft.metrics().borrow_watched().last_applied;
                let upto = applied.map_or(0, |applied| applied.index.saturating_sub(30));
                directory.raft.trigger().purge_log(upto).await.expect("running");
            }
        }
    });
}

#[test]
fn every_acknowledged_room_is_there_after_a_kill_at_any_moment() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let started = Instant::now();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let (mut rounds, mut rooms) = (0, 0);
    // A busy machine gets longer to show something.
    let enough = |rounds, rooms| rounds > 5 && rooms > 20;
    while started.elapsed() < Duration::from_secs(6)
        || (!enough(rounds, rooms) && started.elapsed() < Duration::from_secs(60))
    {
        let folder = folder();
        let mut acknowledged = 0;
        for _ in 0..4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // The first start takes some tens of milliseconds: many kills fall into it. Where a machine is so busy
            // that no child comes further, they live longer after a while.
            let lives = Duration::from_micros(seed % (150_000 << (rounds / 60).min(6)));
            acknowledged = acknowledged.max(run_and_kill(folder.path(), lives));
            let found = runtime.block_on(count_rooms(folder.path()));
            assert!(
                found >= acknowledged,
                "round {rounds}: {found} rooms after {acknowledged} were acknowledged"
            );
            acknowledged = found;
            rounds += 1;
        }
        rooms = rooms.max(acknowledged);
    }
    assert!(enough(rounds, rooms), "{rounds} rounds and {rooms} rooms prove little");
}

async fn count_rooms(data_dir: &Path) -> usize {
    let directory = open(data_dir).await;
    let found = (0..).take_while(|n| {
        let name = RoomName::parse(&format!("room {n}")).expect("valid");
        directory.room_by_name(TenantId::MAIN, &name).is_some()
    });
    let found = found.count();
    assert_eq!(found, directory.room_count(), "rooms are made in order");
    assert!(ShardId::all().all(|shard| directory.ownership(shard).is_some()));
    directory.close().await;
    found
}

/// How many rooms the child said it had made, the ones of earlier children included.
fn run_and_kill(folder: &Path, lives: Duration) -> usize {
    let name = "directory::tests::killed::child_of_the_kill_loop";
    let mut child = Process::new(std::env::current_exe().expect("this test"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(CHILD_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let out = child.stdout.take().expect("piped");
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(out).lines().map_while(Result::ok);
        let made = lines.filter_map(|line| line.strip_prefix("made ")?.parse::<usize>().ok());
        made.max().map_or(0, |last| last + 1)
    });
    // The time itself is the test: the kill falls anywhere in the child's work.
    std::thread::sleep(lives);
    child.kill().expect("killed");
    child.wait().expect("ended");
    reader.join().expect("read")
}
