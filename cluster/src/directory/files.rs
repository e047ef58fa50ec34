//! Writing files so that a crash leaves the old one or the new one, and never half of one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The ending of files that are not finished. One that is left over means nothing.
pub(super) const UNFINISHED: &str = "tmp";

/// Writes a file under another name, makes it durable, and only then gives it its name.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_added_extension(UNFINISHED);
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&unfinished, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes what a folder lists durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
