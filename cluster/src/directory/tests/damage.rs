//! Damaged files: a start either gives exactly what was there, or refuses and names the file. It
//! never gives anything else, never begins anew, and never panics.
//!
//! Most cases stop before Raft starts: what it is given then is all that it knows.

use std::path::PathBuf;

use super::*;
use crate::directory::log::{LOG_FILE, MARK_FILE, Tail};
use crate::directory::prepare::Prepared;

const IDENTITY: &str = "node.json";

/// A data directory to damage copies of, and what a sound copy gives.
struct Sound {
    folder: TempDir,
    gives: Given,
}

/// Everything that Raft is given at start.
#[derive(Debug, PartialEq)]
struct Given {
    identity: Identity,
    tail: Tail,
    snapshot: Option<(types::SnapshotMeta, state::State)>,
}

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Closed,
    Killed,
}

impl Sound {
    /// A directory of some rooms, with a snapshot that the log needs.
    async fn new(end: End) -> Self {
        let original = folder();
        let directory = open(original.path()).await;
        let mut rooms = Vec::new();
        for n in 0..40 {
            let made = directory.create_room(new_room(&format!("room {n}"))).await;
            rooms.push(made.expect("made"));
        }
        compact(&directory).await;
        for room in &rooms[..30] {
            let name = RoomName::parse(&format!("renamed {}", room.id)).expect("valid");
            let change = RoomChange { name: Some(name), ..RoomChange::default() };
            directory.change_room(room.at(), change, room.created_by).await.expect("changed");
        }
        let folder = folder();
        if end == End::Closed {
            directory.close().await;
            copy(original.path(), folder.path());
        } else {
            // The files as a killed process leaves them: nothing is closed, nothing is missing
            // that was acknowledged.
            copy(original.path(), folder.path());
            directory.close().await;
        }
        let gives = given(&copied(folder.path())).expect("a sound copy opens");
        assert!(gives.snapshot.is_some() && gives.tail.purged.is_some());
        assert!(gives.tail.entries.len() > 29);
        Self { folder, gives }
    }

    fn length(&self, file: &str) -> u64 {
        fs::metadata(find(self.folder.path(), file)).expect("there").len()
    }

    /// Damages one file of a copy and starts from it. A refusal must name one of `blamed`.
    fn check(&self, what: &str, file: &str, blamed: &[&str], damage: impl FnOnce(&Path)) -> bool {
        let copy = copied(self.folder.path());
        damage(&find(copy.path(), file));
        match given(&copy) {
            Ok(given) => {
                assert_eq!(given, self.gives, "{file} {what}: it opened with something else");
                true
            }
            Err(error) => {
                let text = error.to_string();
                assert!(
                    matches!(error, OpenError::Damaged { .. } | OpenError::Version { .. }),
                    "{file} {what}: {error:?}"
                );
                assert!(blamed.iter().any(|name| text.contains(name)), "{file} {what}: {text}");
                // Looking at it must not have turned it into something that opens.
                if let Ok(given) = given(&copy) {
                    assert_eq!(given, self.gives, "{file} {what}: the second start");
                }
                false
            }
        }
    }
}

async fn compact(directory: &RaftDirectory) {
    let wait = || directory.raft.wait(Some(limits::READY_WAIT));
    directory.raft.trigger().snapshot().await.expect("running");
    let made = wait().metrics(|metrics| metrics.snapshot.is_some(), "a snapshot").await;
    let index = made.expect("made").snapshot.expect("there").index;
    directory.raft.trigger().purge_log(index - 5).await.expect("running");
    let purged = wait().metrics(|metrics| metrics.purged.is_some(), "purged").await;
    purged.expect("purged");
}

pub(super) fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("readable") {
        let from = entry.expect("readable").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            fs::create_dir(&to).expect("made");
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("copied");
        }
    }
}

fn copied(from: &Path) -> TempDir {
    let to = folder();
    copy(from, to.path());
    to
}

/// The path of a file by the beginning of its name.
fn find(data_dir: &Path, name: &str) -> PathBuf {
    let both = [data_dir.to_owned(), data_dir.join(FOLDER)];
    let files = both.iter().flat_map(|folder| fs::read_dir(folder).expect("readable"));
    let mut found = files.map(|entry| entry.expect("readable").path()).filter(|path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
    });
    found.next().unwrap_or_else(|| panic!("{name} is there"))
}

/// Opens the files as a start does, and closes them.
fn given(data_dir: &TempDir) -> Result<Given, OpenError> {
    let options = DirectoryOptions::new(data_dir.path());
    let prepared = prepare::prepare(&options, &data_dir.path().join(FOLDER))?;
    let Prepared { identity, log, thread, restored, .. } = prepared;
    let tail = log.tail();
    drop(log);
    thread.join().expect("ended in order");
    let snapshot = restored.map(|restored| (restored.meta, restored.state));
    Ok(Given { identity, tail, snapshot })
}

fn flip(path: &Path, offset: u64, mask: u8) {
    use std::os::unix::fs::FileExt as _;
    let file = fs::File::options().read(true).write(true).open(path).expect("opens");
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).expect("read");
    file.write_all_at(&[byte[0] ^ mask], offset).expect("written");
}

fn cut(path: &Path, length: u64) {
    let file = fs::File::options().write(true).open(path).expect("opens");
    file.set_len(length).expect("cut");
}

/// A small generator with a seed of its own: the same cases in every run.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn mask(&mut self) -> u8 {
        1 << self.below(8)
    }
}

const SNAPSHOT: &str = "snapshot-";

/// Which names a refusal may blame for damage of a file.
fn blamed(file: &str) -> Vec<&str> {
    vec![file]
}

#[tokio::test]
async fn a_missing_file_is_named() {
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        for file in [IDENTITY, LOG_FILE, MARK_FILE, SNAPSHOT] {
            let opened = sound.check("missing", file, &blamed(file), |path| {
                fs::remove_file(path).expect("removed");
            });
            assert!(!opened, "{file} is needed");
        }
    }
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let sound = Sound::new(End::Closed).await;
    let copy = copied(sound.folder.path());
    fs::remove_dir_all(copy.path().join(FOLDER)).expect("removed");
    let error = given(&copy).expect_err("refused");
    assert!(error.to_string().contains(FOLDER), "{error}");
    assert!(!copy.path().join(FOLDER).exists(), "nothing was begun anew");
}

#[tokio::test]
async fn a_file_of_something_else_is_named() {
    let sound = Sound::new(End::Closed).await;
    for file in [IDENTITY, LOG_FILE, MARK_FILE, SNAPSHOT] {
        for content in [&b""[..], b"\0", b"not what it should be", &[0; 4096], &[0xff; 4096]] {
            let opened = sound.check("replaced", file, &blamed(file), |path| {
                fs::write(path, content).expect("written");
            });
            assert!(!opened, "{file} is needed");
        }
    }
}

#[tokio::test]
async fn a_cut_file_gives_the_same_or_is_named() {
    let mut seeded = Seeded(41);
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        for file in [IDENTITY, LOG_FILE, MARK_FILE, SNAPSHOT] {
            let length = sound.length(file);
            let mut lengths = vec![0, 1, 64, 320, 4096, length / 4, length / 2, length - 1];
            lengths.extend((0..24).map(|_| seeded.below(length)));
            for at in lengths.into_iter().filter(|at| *at < length) {
                let what = format!("cut at {at} of {length} after {end:?}");
                let opened = sound.check(&what, file, &blamed(file), |path| cut(path, at));
                // Only redb's file has room at its end that nothing needs; a newline ends the identity.
                assert!(
                    !opened || file == LOG_FILE || (file == IDENTITY && at == length - 1),
                    "{file} {what}: opened"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_small_files_gives_the_same_or_is_named() {
    let mut seeded = Seeded(43);
    let sound = Sound::new(End::Closed).await;
    for file in [IDENTITY, MARK_FILE, SNAPSHOT] {
        let length = sound.length(file);
        for case in 0..150 {
            let at = if case < 60 { case % length } else { seeded.below(length) };
            let mask = seeded.mask();
            let what = format!("bits {mask:#x} of byte {at}");
            let opened = sound.check(&what, file, &blamed(file), |path| flip(path, at, mask));
            assert!(!opened || file != SNAPSHOT, "{file} {what}: every byte of it counts");
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_log_gives_the_same_or_is_named() {
    /// redb's header: a super-header of 64 bytes and two commit slots of 128.
    const HEADER_BYTES: u64 = 320;
    let mut seeded = Seeded(47);
    let mut refused = 0;
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        let bytes = fs::read(find(sound.folder.path(), LOG_FILE)).expect("readable");
        let used: Vec<u64> =
            (0..).zip(&bytes).filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
        // The god byte and the layout after both ends, the commit slots after either.
        let mut offsets: Vec<u64> = (0..HEADER_BYTES)
            .filter(|at| *at < 64 || (at % 2 == 0) == (end == End::Closed))
            .collect();
        let pick = |seeded: &mut Seeded| {
            let at = usize::try_from(seeded.below(used.len() as u64)).expect("small");
            used[at]
        };
        offsets.extend((0..180).map(|_| pick(&mut seeded)));
        offsets.extend((0..40).map(|_| seeded.below(bytes.len() as u64)));
        for at in offsets {
            let mask = seeded.mask();
            let what = format!("bits {mask:#x} of byte {at} after {end:?}");
            let blamed = [LOG_FILE];
            let opened = sound.check(&what, LOG_FILE, &blamed, |path| flip(path, at, mask));
            refused += u32::from(!opened);
        }
    }
    println!("{refused} refused");
    assert!(refused > 100, "only {refused} refused: the flips missed the log");
}

#[tokio::test]
async fn a_lost_sector_of_the_log_gives_the_same_or_is_named() {
    use std::os::unix::fs::FileExt as _;
    const SECTOR_BYTES: u64 = 512;
    let mut seeded = Seeded(53);
    for end in [End::Closed, End::Killed] {
        let sound = Sound::new(end).await;
        let bytes = fs::read(find(sound.folder.path(), LOG_FILE)).expect("readable");
        let used = (0..).zip(bytes.chunks(512)).filter(|(_, bytes)| bytes.iter().any(|b| *b != 0));
        let used: Vec<u64> = used.map(|(sector, _)| sector).collect();
        for case in 0..60 {
            // Every sector at the beginning, then a sample.
            let at = if case < 12 { case } else { seeded.below(used.len() as u64) };
            let sector = used[usize::try_from(at).expect("small")];
            let fill = if case % 2 == 0 { 0 } else { 0xff };
            let what = format!("sector {sector} filled with {fill:#x} after {end:?}");
            sound.check(&what, LOG_FILE, &[LOG_FILE], |path| {
                let file = fs::File::options().write(true).open(path).expect("opens");
                file.write_all_at(&[fill; 512], sector * SECTOR_BYTES).expect("written");
            });
        }
    }
}

#[tokio::test]
async fn an_older_copy_of_the_log_is_not_taken_for_the_log() {
    let folder = folder();
    let directory = open(folder.path()).await;
    directory.create_room(new_room("old")).await.expect("made");
    directory.close().await;
    let older = fs::read(find(folder.path(), LOG_FILE)).expect("readable");
    let directory = open(folder.path()).await;
    directory.create_room(new_room("new")).await.expect("made");
    directory.close().await;
    fs::write(find(folder.path(), LOG_FILE), older).expect("written");
    let refused = RaftDirectory::open(DirectoryOptions::new(folder.path())).await;
    let text = refused.err().expect("refused").to_string();
    assert!(text.contains(LOG_FILE) && text.contains("acknowledged"), "{text}");
}

#[tokio::test]
async fn a_log_of_another_node_is_not_taken_for_the_log() {
    let (one, other) = (Sound::new(End::Closed).await, Sound::new(End::Closed).await);
    let foreign = |file| find(other.folder.path(), file);
    let copy = copied(one.folder.path());
    for file in [LOG_FILE, MARK_FILE] {
        fs::copy(foreign(file), find(copy.path(), file)).expect("copied");
    }
    let error = given(&copy).expect_err("refused");
    assert!(error.to_string().contains(LOG_FILE), "{error}");
}

#[tokio::test]
async fn a_refused_start_leaves_the_lock_free_and_the_files_for_a_backup() {
    let sound = Sound::new(End::Closed).await;
    let copy = copied(sound.folder.path());
    let snapshot = find(copy.path(), SNAPSHOT);
    let kept = fs::read(&snapshot).expect("readable");
    fs::write(&snapshot, b"").expect("written");
    let start = || RaftDirectory::open(DirectoryOptions::new(copy.path()));
    start().await.err().expect("refused");
    start().await.err().expect("refused again");
    fs::write(&snapshot, kept).expect("put back");
    let directory = start().await.expect("opens");
    assert_eq!(directory.room_count(), 40);
    directory.close().await;
}
