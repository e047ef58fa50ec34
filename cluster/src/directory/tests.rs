//! The directory as the node uses it: the port's suite, starts, stops, restarts and the lock.

mod cluster;
mod damage;
mod killed;
mod memory;
mod schedules;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use parlance_actors::ports::directory::{Directory, Ownership, RoomChange};
use parlance_actors::testkit::directory_suite::{self, new_room};
use parlance_actors::vocab::{Epoch, Gen, RoomName, SHARD_COUNT, ShardId};
use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

async fn open(data_dir: &Path) -> RaftDirectory {
    RaftDirectory::open(DirectoryOptions::new(data_dir)).await.expect("opens")
}

/// Everything that can be read, to compare before and after.
#[derive(Debug, PartialEq)]
struct Seen {
    state: state::State,
    cluster: ClusterId,
}

fn seen(directory: &RaftDirectory) -> Seen {
    Seen { state: directory.view.state.read().clone(), cluster: directory.cluster_id() }
}

#[tokio::test]
async fn the_raft_directory_conforms() {
    let parent = folder();
    let count = std::sync::atomic::AtomicU32::new(0);
    directory_suite::run(async || {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        open(&parent.path().join(n.to_string())).await
    })
    .await;
}

#[tokio::test]
async fn rooms_and_shards_are_the_same_after_a_restart() {
    let folder = folder();
    let first = open(folder.path()).await;
    let room = first.create_room(new_room("kept")).await.expect("made");
    let change = RoomChange {
        topic: Some(parlance_actors::vocab::Topic::parse("t").expect("valid")),
        ..RoomChange::default()
    };
    first.change_room(room.at(), change, room.created_by).await.expect("changed");
    let before = seen(&first);
    first.close().await;
    for _ in 0..3 {
        let again = open(folder.path()).await;
        assert_eq!(seen(&again), before);
        again.healthy().await.expect("healthy");
        again.close().await;
    }
}

#[tokio::test]
async fn a_first_start_counts_epochs_from_the_databases_fences() {
    let folder = folder();
    let options =
        DirectoryOptions { epoch_floor: Epoch(7_000), ..DirectoryOptions::new(folder.path()) };
    let first = RaftDirectory::open(options).await.expect("opens");
    let owned: Vec<_> = ShardId::all().filter_map(|shard| first.ownership(shard)).collect();
    assert_eq!(owned.len(), SHARD_COUNT);
    assert!(owned.iter().all(|owned| owned.epoch > Epoch(7_000) && owned.r#gen == Gen(1)));
    assert!(owned.iter().all(|owned| owned.owner == NodeId(1)));
    first.close().await;
    let again = open(folder.path()).await;
    assert_eq!(again.ownership(ShardId(0)), Some(owned[0]), "a later start keeps its epochs");
    again.close().await;
}

#[tokio::test]
async fn two_processes_never_open_one_data_directory() {
    let folder = folder();
    let first = open(folder.path()).await;
    let second = RaftDirectory::open(DirectoryOptions::new(folder.path())).await;
    let error = second.err().expect("refused");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    first.close().await;
    open(folder.path()).await.close().await;
}

#[tokio::test]
async fn a_data_directory_of_another_cluster_is_refused() {
    let folder = folder();
    let first = open(folder.path()).await;
    let (own, other) = (first.cluster_id(), ClusterId::generate());
    first.close().await;
    let options = |known| DirectoryOptions {
        known_cluster: Some(known),
        ..DirectoryOptions::new(folder.path())
    };
    let refused = RaftDirectory::open(options(other)).await.err().expect("refused");
    assert!(
        matches!(refused, OpenError::OtherCluster { found, expected, .. }
            if found == own && expected == other),
        "{refused}"
    );
    RaftDirectory::open(options(own)).await.expect("the right one").close().await;
}

#[tokio::test]
async fn an_empty_data_directory_is_refused_when_the_database_knows_its_cluster() {
    let folder = folder();
    let options = DirectoryOptions {
        known_cluster: Some(ClusterId::generate()),
        ..DirectoryOptions::new(folder.path())
    };
    let refused = RaftDirectory::open(options).await.err().expect("refused");
    assert!(matches!(refused, OpenError::DirectoryLost { .. }), "{refused}");
    assert!(!Identity::path(folder.path()).exists(), "nothing was begun");
}

#[tokio::test]
async fn a_first_start_that_was_interrupted_begins_again() {
    let folder = folder();
    let cluster = ClusterId::generate();
    let unfinished = Identity { node: NodeId(1), cluster, finished: false };
    unfinished.write(folder.path()).expect("written");
    let files = folder.path().join(FOLDER);
    fs::create_dir(&files).expect("made");
    fs::write(files.join(log::LOG_FILE), b"half").expect("written");
    let directory = open(folder.path()).await;
    assert_eq!(directory.cluster_id(), cluster);
    directory.create_room(new_room("a")).await.expect("made");
    directory.close().await;
}

#[tokio::test]
async fn after_close_look_ups_go_on_and_changes_are_unavailable() {
    let folder = folder();
    let directory = open(folder.path()).await;
    let room = directory.create_room(new_room("a")).await.expect("made");
    directory.close().await;
    directory.close().await;
    assert_eq!(directory.room(room.at()), Some(room));
    let refused = directory.create_room(new_room("b")).await;
    assert!(matches!(refused, Err(DirectoryError::Unavailable(_))), "{refused:?}");
    assert!(directory.healthy().await.is_err() && directory.barrier().await.is_err());
}

#[tokio::test]
async fn the_log_is_compacted_and_the_state_comes_from_snapshot_and_log() {
    let folder = folder();
    let directory = open(folder.path()).await;
    let room = directory.create_room(new_room("a")).await.expect("made");
    let mut writes = tokio::task::JoinSet::new();
    let directory = Arc::new(directory);
    // Enough for one snapshot and a purge, many at once so that they share commits.
    let total = limits::SNAPSHOT_EVERY_ENTRIES + limits::SNAPSHOT_KEEPS_ENTRIES + 600;
    for n in 0..total {
        let (directory, room) = (directory.clone(), room.clone());
        writes.spawn(async move {
            let topic = parlance_actors::vocab::Topic::parse(&format!("topic {n}"));
            let change = RoomChange { topic: topic.ok(), ..RoomChange::default() };
            directory.change_room(room.at(), change, room.created_by).await
        });
        if n % 256 == 255 {
            while let Some(written) = writes.join_next().await {
                written.expect("runs").expect("changed");
            }
        }
    }
    while let Some(written) = writes.join_next().await {
        written.expect("runs").expect("changed");
    }
    let purged = directory.raft.wait(Some(limits::READY_WAIT));
    let purged = purged.metrics(|metrics| metrics.purged.is_some(), "the log is purged").await;
    purged.expect("compacted");
    let version = directory.room(room.at()).expect("there").version;
    assert_eq!(version, total + 1, "every topic was another one");
    let before = seen(&directory);
    directory.close().await;
    let kept = directory.log.last_index().expect("entries")
        - directory.log.purged_index().expect("purged");
    assert!(kept <= limits::PEER_LAG_ENTRIES + limits::PURGE_BATCH_ENTRIES, "{kept} kept");
    let again = open(folder.path()).await;
    assert_eq!(seen(&again), before);
    again.close().await;
}

#[tokio::test]
async fn a_thousand_rooms_are_all_there_after_a_restart() {
    let folder = folder();
    let directory = Arc::new(open(folder.path()).await);
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let directory = directory.clone();
        let new = new_room(&format!("room {n}"));
        writes.spawn(async move { directory.create_room(new).await });
    }
    for made in writes.join_all().await {
        made.expect("made");
    }
    let before = seen(&directory);
    directory.close().await;
    let started = Instant::now();
    let again = open(folder.path()).await;
    println!("1,000 rooms opened in {:?}", started.elapsed());
    assert_eq!(seen(&again), before);
    assert_eq!(again.room_count(), 1_000);
    again.close().await;
}

#[test]
fn it_runs_on_a_control_runtime_and_serves_another_one() {
    let folder = folder();
    let one_thread = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all().build().expect("a runtime")
    };
    let (control, main) = (one_thread(), one_thread());
    let options = DirectoryOptions::new(folder.path());
    let directory = control.block_on(control.spawn(RaftDirectory::open(options)));
    let directory = directory.expect("runs").expect("opens");
    main.block_on(async {
        directory.create_room(new_room("from afar")).await.expect("made");
        directory.barrier().await.expect("a leader");
        directory.close().await;
    });
}
