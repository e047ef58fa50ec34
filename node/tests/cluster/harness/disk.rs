//! Disks that are full, that refuse, and that lost something: a small tmpfs in the place of a data
//! directory, a library between a node and its disk that fails calls on Raft's files, and damage to
//! files of a node that does not run.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::node::Node;
use crate::town::Chance;

/// What every mount of ours is called, before the id of the process.
const SOURCE: &str = "parlance-test-disk-";
/// What takes the room on a full disk.
const BALLAST: &str = "ballast";
/// A page of a tmpfs, which is what it gives away at a time.
const PAGE: [u8; 4096] = [0xAA; 4096];
/// The library between a node and its disk.
const BAD_DISK: &str = include_str!("bad_disk.c");

/// A file system of a few megabytes over a folder. It goes when dropped, also by a panic.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    pub(crate) fn mount(folder: &Path, megabytes: u32) -> Self {
        sweep();
        fs::create_dir_all(folder).expect("a folder to mount over");
        let source = format!("{SOURCE}{}", std::process::id());
        let options = format!("size={megabytes}m,mode=700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, &source]).arg(folder);
        let made = command.output().expect("mount runs");
        let why = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "a tmpfs over {}: {why}", folder.display());
        Self { folder: folder.to_owned() }
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        let ballast = File::options().create(true).append(true).open(self.folder.join(BALLAST));
        let mut ballast = ballast.expect("a file has room for its name");
        while ballast.write_all(&PAGE).is_ok() {}
    }

    /// There is room again.
    pub(crate) fn empty(&self) {
        fs::remove_file(self.folder.join(BALLAST)).expect("the disk was full");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.folder);
    }
}

fn unmount(folder: &Path) {
    // A node that is just being killed may still use it.
    let mut command = Command::new("umount");
    command.arg("-l").arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    // A folder that stays mounted is found by the next sweep.
    let _ = command.status();
}

/// Unmounts what runs that were killed left behind.
fn sweep() {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(source), Some(folder)) = (words.next(), words.next()) else { continue };
        let Some(id) = source.strip_prefix(SOURCE) else { continue };
        if !Path::new("/proc").join(id).exists() {
            println!("a killed run left {folder} mounted: unmounted");
            unmount(Path::new(folder));
        }
    }
}

/// How a disk refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    /// Nothing can be made durable.
    SyncFails,
    /// Nothing can be written.
    WriteFails,
    /// The same, because there is no room.
    NoRoom,
}

impl Refusal {
    /// Which calls fail, and with which error of the system.
    const fn text(self) -> &'static str {
        match self {
            Self::SyncFails => "s5",
            Self::WriteFails => "w5",
            Self::NoRoom => "w28",
        }
    }

    /// What the operating system calls it.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::SyncFails | Self::WriteFails => "Input/output error",
            Self::NoRoom => "No space left on device",
        }
    }
}

/// Disks that refuse when they are told to.
pub(crate) struct BadDisks {
    folder: tempfile::TempDir,
}

impl BadDisks {
    /// Builds the library. `None`, with a line that says why, where there is no C compiler.
    pub(crate) fn build() -> Option<Self> {
        let folder = tempfile::Builder::new().prefix("parlance-disk-").tempdir();
        let folder = folder.expect("a temporary folder");
        let source = folder.path().join("bad_disk.c");
        fs::write(&source, BAD_DISK).expect("written");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(folder.path().join("bad_disk.so"));
        let Ok(built) = command.arg(&source).arg("-ldl").output() else {
            let why = "there is no C compiler: apt install gcc";
            assert!(!super::network::Network::is_required(), "{why}");
            println!("SKIPPED: {why}");
            return None;
        };
        let why = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{}: {why}", source.display());
        Some(Self { folder })
    }

    /// Puts the library between a node and its disk, from its next start on.
    pub(crate) fn install(&self, node: &mut Node) {
        let path = |path: PathBuf| path.to_str().expect("a plain path").to_owned();
        node.set("LD_PRELOAD", &path(self.folder.path().join("bad_disk.so")));
        node.set("BAD_DISK_FOLDER", &path(node.raft()));
        node.set("BAD_DISK_TRIGGER", &path(self.trigger(node)));
    }

    pub(crate) fn refuse(&self, node: &Node, refusal: Refusal) {
        // Under another name first: half of it must never be read.
        let unfinished = self.folder.path().join("unfinished");
        fs::write(&unfinished, refusal.text()).expect("written");
        fs::rename(unfinished, self.trigger(node)).expect("renamed");
    }

    /// The disk is well again.
    pub(crate) fn mend(&self, node: &Node) {
        fs::remove_file(self.trigger(node)).expect("it refused");
    }

    fn trigger(&self, node: &Node) -> PathBuf {
        self.folder.path().join(format!("{}.refuses", node.name))
    }
}

/// The file in a folder whose name begins like this; of several the last.
pub(crate) fn file(folder: &Path, beginning: &str) -> Option<PathBuf> {
    let files = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with(beginning) && !name.ends_with(".tmp"))
    };
    files.filter(named).max()
}

/// Turns one bit where something is written; says where.
pub(crate) fn flip_a_bit(path: &Path, chance: &mut Chance) -> String {
    let at = somewhere_used(path, chance);
    let file = File::options().read(true).write(true).open(path).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("within the file");
    let bit = chance.below(8);
    file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("within the file");
    format!("bit {bit} of byte {at} is another one")
}

/// Takes the end of the file away, and some of what is written with it; says where.
pub(crate) fn cut_the_tail(path: &Path, chance: &mut Chance) -> String {
    let at = somewhere_used(path, chance);
    let file = File::options().write(true).open(path).expect("it is there");
    let length = file.metadata().expect("it is there").len();
    file.set_len(at).expect("shorter than it was");
    format!("it ends after {at} of {length} bytes")
}

fn somewhere_used(path: &Path, chance: &mut Chance) -> u64 {
    let bytes = fs::read(path).expect("it is there");
    let used: Vec<u64> =
        (0..).zip(&bytes).filter(|(_, byte)| **byte != 0).map(|(at, _)| at).collect();
    let nth = chance.below(used.len() as u64);
    used[usize::try_from(nth).expect("below a length")]
}
