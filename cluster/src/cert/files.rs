//! Writing certificates and keys so that a file is whole or absent, and what is there stays.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::CertError;

/// For private keys: only the owner reads and writes.
pub const KEY_MODE: u32 = 0o600;
/// For certificates: everybody reads.
pub const PUBLIC_MODE: u32 = 0o644;

/// Writes a new file with a mode, whole or not at all, and durable when this returns.
///
/// # Errors
/// [`CertError::Exists`] when something is there already, which is left as it is;
/// [`CertError::File`] when it cannot be written.
pub fn write_new(path: &Path, contents: &str, mode: u32) -> Result<(), CertError> {
    let failed = |source| CertError::File { path: path.to_owned(), source };
    // Under a name of its own first, then linked: unlike a rename, a link replaces nothing.
    let unfinished = path.with_added_extension(format!("{:016x}.tmp", rand::random::<u64>()));
    let written =
        write(&unfinished, contents, mode).and_then(|()| fs::hard_link(&unfinished, path));
    let removed = fs::remove_file(&unfinished);
    match written {
        Ok(()) => removed.and_then(|()| sync_folder(path)).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

fn write(path: &Path, contents: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The process's umask may have taken something away.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
