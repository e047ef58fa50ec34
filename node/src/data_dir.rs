//! The data directory: made private, locked for one process, and explained to whoever opens it.
//!
//! It knows where things are, not what is in them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::config::{Config, Secret};
use crate::failure::{Cause, Failure};

/// Marks a folder as a data directory, and is locked while a process uses it.
const LOCK: &str = "parlance.lock";
/// Holds the id of the cluster, once the node has used its database.
const CLUSTER: &str = "cluster.id";
/// Says which node of which cluster this is; the directory's.
const NODE: &str = "node.json";
/// Holds the id that this node proposed for a cluster.
const PROPOSED: &str = "cluster.proposed";
/// What an operator may have put there before the first start.
const MAY_BE_THERE_BEFORE: [&str; 3] = ["node.toml", "cluster.secret", "lost+found"];
/// A secret or id file that is larger is not one.
const SMALL_FILE_BYTES_MAX: u64 = 4 * 1024;

/// A data directory that this process alone uses.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Held, not read: the lock ends with it.
    _lock: File,
}

impl DataDir {
    /// Makes the directory if it is missing, makes it private, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let at = |doing: &str, error: io::Error| failed(path, doing, &error);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| at("cannot be made", error))?;
        let path = path.canonicalize().map_err(|error| at("cannot be opened", error))?;
        make_private(&path)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder of SQLite's files, one a tenant.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("database")
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The cluster secret: from the file `configured`, else from the one here, which the first
    /// start generates.
    pub(crate) fn cluster_secret(
        &self,
        configured: Option<&Path>,
        generate: impl FnOnce() -> String,
    ) -> Result<Secret, Failure> {
        let here = self.path.join("cluster.secret");
        let file = configured.unwrap_or(&here);
        if configured.is_none() && !file.exists() {
            create_private(&here, generate().as_bytes())?;
        }
        let mode = std::fs::metadata(file).map_err(|e| failed(file, "cannot be read", &e))?.mode();
        if mode & 0o077 != 0 {
            let what = format!(
                "{} holds the cluster secret and is open to others (mode {:o}); \
                 run `chmod 600 {}`",
                file.display(),
                mode & 0o777,
                file.display()
            );
            return Err(Failure::new(Cause::DataDirectory, what));
        }
        let text = read_small(file)?;
        match text.trim() {
            "" => {
                let what =
                    format!("{} is empty; it should hold the cluster secret", file.display());
                Err(Failure::new(Cause::DataDirectory, what))
            }
            secret => Ok(Secret::from(secret.to_owned())),
        }
    }

    /// The cluster whose database this node has used, once it has used one.
    pub(crate) fn cluster(&self) -> Result<Option<Uuid>, Failure> {
        let file = self.path.join(CLUSTER);
        if !file.exists() {
            return Ok(None);
        }
        read_uuid(&file).map(Some)
    }

    /// Whether this directory has been a node's before.
    pub(crate) fn knows_its_node(&self) -> bool {
        self.path.join(NODE).exists()
    }

    /// The id that this node proposes for a cluster which several nodes begin together: the same one
    /// at every start.
    pub(crate) fn proposed_cluster(&self, make: impl FnOnce() -> Uuid) -> Result<Uuid, Failure> {
        let file = self.path.join(PROPOSED);
        if !file.exists() {
            create_private(&file, format!("{}\n", make()).as_bytes())?;
        }
        read_uuid(&file)
    }

    /// Remembers the cluster, after its database was claimed: from now on an empty database is a
    /// lost one.
    pub(crate) fn remember(&self, cluster: Uuid) -> Result<(), Failure> {
        if self.cluster()? == Some(cluster) {
            return Ok(());
        }
        create_private(&self.path.join(CLUSTER), format!("{cluster}\n").as_bytes())
    }

    /// Writes what is where, for whoever opens the folder.
    pub(crate) fn explain(&self, config: &Config) -> Result<(), Failure> {
        let history = match &config.database.url {
            Some(url) => format!("in PostgreSQL: {url}"),
            None => "database/, one SQLite file a tenant".to_owned(),
        };
        let secret = match (&config.auth.cluster_secret, &config.auth.cluster_secret_file) {
            (Some(_), _) => "in the configuration: auth.cluster_secret".to_owned(),
            (None, Some(file)) => format!("in {}", file.display()),
            (None, None) => "cluster.secret".to_owned(),
        };
        let file = self.path.join("README.txt");
        let text = format!(
            "This folder belongs to a Parlance node. Keep it private, and back it up as a whole while\n\
             the node is stopped.\n\
             \n\
             history         {history}\n\
             directory/      rooms, tenants and shards: the Raft log and its snapshots\n\
             node.json       which node of which cluster this is\n\
             cluster.id      the cluster whose database this node has used\n\
             cluster secret  {secret}\n\
             node.toml       the configuration, if you put one here: `parlance config example`\n\
             acme/           the account and the certificate of acme.domains, if that is set\n\
             control.sock    for `parlance cluster`, while the node runs\n\
             lock files      held by the node while it runs\n\
             \n\
             The first administrator's password is nowhere in here. If it is lost, stop the node and run\n\
             `parlance admin reset-password NAME`.\n"
        );
        if std::fs::read_to_string(&file).is_ok_and(|there| there == text) {
            return Ok(());
        }
        std::fs::write(&file, text).map_err(|error| failed(&file, "cannot be written", &error))
    }
}

/// Makes the folder unreadable for others; refuses where that would hit somebody else's folder.
fn make_private(path: &Path) -> Result<(), Failure> {
    let about = std::fs::metadata(path).map_err(|e| failed(path, "cannot be read", &e))?;
    if !about.is_dir() {
        let what = format!("data directory {} is not a folder", path.display());
        return Err(Failure::new(Cause::DataDirectory, what));
    }
    let mode = about.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let others = std::fs::read_dir(path)
        .map_err(|error| failed(path, "cannot be read", &error))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !MAY_BE_THERE_BEFORE.contains(&name.as_str()))
        .collect::<Vec<_>>();
    if !others.is_empty() && !others.iter().any(|name| name == LOCK) {
        let what = format!(
            "{} holds other things and is open to others (mode {mode:o}); \
             name an empty folder with --data-dir, or run `chmod 700 {}`",
            path.display(),
            path.display()
        );
        return Err(Failure::new(Cause::DataDirectory, what));
    }
    match std::fs::set_permissions(path, Permissions::from_mode(0o700)) {
        Ok(()) => Ok(()),
        // A volume that an orchestrator gave to a group of its own cannot be changed, and need not.
        Err(_) if mode & 0o007 == 0 => Ok(()),
        Err(error) => Err(failed(path, "is open to everybody and cannot be made private", &error)),
    }
}

fn lock(path: &Path) -> Result<File, Failure> {
    let file = path.join(LOCK);
    let opened =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&file);
    let lock = opened.map_err(|error| failed(&file, "cannot be written", &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let what = format!(
                "data directory {} is in use by another parlance process; stop that one, \
                 or name another folder with --data-dir",
                path.display()
            );
            Err(Failure::new(Cause::DataDirectory, what))
        }
        Err(TryLockError::Error(error)) => Err(failed(&file, "cannot be locked", &error)),
    }
}

/// A new file for its owner alone, whole and on the disk before it has its name.
fn create_private(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let cannot = |error: io::Error| failed(file, "cannot be written", &error);
    let draft = file.with_extension("new");
    let mut open = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)
        .map_err(cannot)?;
    open.write_all(content).and_then(|()| open.sync_all()).map_err(cannot)?;
    std::fs::rename(&draft, file).map_err(cannot)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
}

fn read_uuid(file: &Path) -> Result<Uuid, Failure> {
    let damaged = |_| {
        let what = format!(
            "{} is damaged: it should hold one UUID; put it back from a backup",
            file.display()
        );
        Failure::new(Cause::DataDirectory, what)
    };
    Uuid::try_parse(read_small(file)?.trim()).map_err(damaged)
}

fn read_small(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read =
        File::open(file).and_then(|open| open.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| failed(file, "cannot be read", &error))?;
    Ok(text)
}

pub(crate) fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; check who owns it",
        io::ErrorKind::StorageFull => "; the disk is full",
        _ => "",
    };
    Failure::new(Cause::DataDirectory, format!("{} {what}: {error}{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("it is there").mode() & 0o777
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
    }

    #[test]
    fn a_new_data_directory_and_its_secret_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a/b");
        let data = DataDir::open(&path).expect("it is made");
        assert_eq!(mode(&path), 0o700);
        let secret = data.cluster_secret(None, || "made".to_owned()).expect("it is made");
        assert_eq!(mode(&path.join("cluster.secret")), 0o600);
        let again = data.cluster_secret(None, || "again".to_owned()).expect("it is read");
        assert_eq!(secret, again);
        assert_eq!(secret.reveal(), "made");
    }

    #[test]
    fn a_node_proposes_the_same_cluster_at_every_start() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(dir.path()).expect("it is free");
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert_eq!(data.proposed_cluster(|| one).expect("kept"), one);
        assert_eq!(data.proposed_cluster(|| other).expect("read"), one);
        assert!(!data.knows_its_node());
        std::fs::write(dir.path().join("node.json"), "{}").expect("a file");
        assert!(data.knows_its_node());
    }

    #[test]
    fn an_empty_folder_is_made_private_and_one_with_other_things_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        set_mode(dir.path(), 0o755);
        drop(DataDir::open(dir.path()).expect("it is empty"));
        assert_eq!(mode(dir.path()), 0o700);

        let dir = tempfile::tempdir().expect("a folder");
        set_mode(dir.path(), 0o755);
        std::fs::write(dir.path().join("thesis.txt"), "mine").expect("a file");
        let failure = DataDir::open(dir.path()).expect_err("it is somebody's");
        assert!(failure.to_string().contains("holds other things"), "{failure}");
        assert_eq!(mode(dir.path()), 0o755);
    }

    #[test]
    fn a_second_process_is_told_that_the_directory_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        let first = DataDir::open(dir.path()).expect("it is free");
        let failure = DataDir::open(dir.path()).expect_err("it is locked");
        assert!(failure.to_string().contains("in use by another"), "{failure}");
        drop(first);
        DataDir::open(dir.path()).expect("it is free again");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = DataDir::open(dir.path()).expect("it is free");
        data.cluster_secret(None, || "made".to_owned()).expect("it is made");
        let file = data.path().join("cluster.secret");
        set_mode(&file, 0o644);
        let failure = data.cluster_secret(None, String::new).expect_err("it is open");
        assert!(failure.to_string().contains("chmod 600"), "{failure}");
    }
}
