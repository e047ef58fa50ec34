//! The mark: how many commits the log has acknowledged, in a small file beside it.
//!
//! redb keeps its former commit, and goes back to it when the last one does not verify. That is
//! right after a torn write, and wrong when the last commit was acknowledged and its bytes were
//! damaged later. The mark tells the two apart. It is written after each commit and before the
//! acknowledgement, and never synced: it may lag behind the log, and is never ahead of it.
//!
//! Two places take turns, far enough apart that no torn write takes both.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::super::error::OpenError;
use super::super::files;
use super::super::seal::{SEAL_BYTES, seal, unseal};

const PLACE_BYTES: u64 = 512;
const SEALED_BYTES: usize = SEAL_BYTES + size_of::<u64>();
const FILE_BYTES: usize = 2 * PLACE_BYTES as usize;
const LABEL: &[u8] = b"directory log mark 1";

/// The open file.
pub(super) struct Mark {
    file: File,
}

impl Mark {
    pub(super) fn create(path: &Path, commits: u64) -> io::Result<()> {
        let mut bytes = vec![0; FILE_BYTES];
        let sealed = seal(LABEL, &commits.to_be_bytes());
        let place = usize::try_from(commits % 2 * PLACE_BYTES).expect("at most one place");
        bytes[place..place + SEALED_BYTES].copy_from_slice(&sealed);
        files::replace(path, &bytes)
    }

    /// The mark and the number of commits that were acknowledged at least.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), OpenError> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => OpenError::damaged(path, "it is missing"),
            _ => OpenError::io("open", path)(error),
        })?;
        let length = file.metadata().map_err(OpenError::io("look at", path))?.len();
        if length != FILE_BYTES as u64 {
            let why = format!("it has {length} bytes instead of {FILE_BYTES}");
            return Err(OpenError::damaged(path, why));
        }
        let mut commits = None;
        for place in [0, PLACE_BYTES] {
            let mut sealed = [0; SEALED_BYTES];
            file.read_exact_at(&mut sealed, place).map_err(OpenError::io("read", path))?;
            let count = unseal(LABEL, &sealed).and_then(|bytes| bytes.try_into().ok());
            commits = commits.max(count.map(u64::from_be_bytes));
        }
        let commits = commits
            .ok_or_else(|| OpenError::damaged(path, "neither of its two checksums matches"))?;
        Ok((Self { file }, commits))
    }

    pub(super) fn set(&self, commits: u64) -> io::Result<()> {
        let sealed = seal(LABEL, &commits.to_be_bytes());
        self.file.write_all_at(&sealed, commits % 2 * PLACE_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_survives_the_loss_of_one_place_and_names_the_loss_of_both() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mark");
        Mark::create(&path, 1).expect("made");
        let (mark, commits) = Mark::open(&path).expect("opens");
        assert_eq!(commits, 1);
        mark.set(2).expect("written");
        mark.set(3).expect("written");
        assert_eq!(Mark::open(&path).expect("opens").1, 3);
        mark.file.write_all_at(&[0; SEALED_BYTES], PLACE_BYTES).expect("written");
        assert_eq!(Mark::open(&path).expect("opens").1, 2);
        mark.file.write_all_at(&[0; SEALED_BYTES], 0).expect("written");
        assert!(matches!(Mark::open(&path), Err(OpenError::Damaged { .. })));
    }
}
