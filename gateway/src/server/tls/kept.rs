//! What is kept of ACME, in a folder for its owner alone: the account's key, so that the next order is
//! of the same account, and the certificate with its key, which the next start shows at once. Each
//! account and each set of names has a file of its own; those of former settings are left alone.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use parking_lot::Mutex;
use rustls_acme::{AccountCache, CertCache};
use zeroize::Zeroizing;

use crate::config::Acme;
use crate::limits::ACME_FILE_BYTES_MAX;

/// The two files.
#[derive(Debug)]
pub(super) struct Kept {
    account: PathBuf,
    certificate: PathBuf,
}

impl Kept {
    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made, or not for its owner alone.
    pub(super) fn open(settings: &Acme) -> Result<Self, String> {
        let Acme { domains, contact, directory, folder, .. } = settings;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
            .map_err(|error| failed(folder, "cannot be made for its owner alone", &error))?;
        Ok(Self {
            account: folder.join(format!("account-{}.der", digest(directory, contact))),
            certificate: folder.join(format!("certificate-{}.pem", digest(directory, domains))),
        })
    }

    /// Where the certificate is kept.
    pub(super) fn certificate_file(&self) -> &Path {
        &self.certificate
    }

    /// The certificate of the last order, if there was one: its key and its chain, PEM.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn certificate(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        read(&self.certificate)
    }

    fn account(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        let Some(key) = read(&self.account)? else { return Ok(None) };
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key) {
            Ok(_) => Ok(Some(key)),
            Err(_) => Err(format!(
                "{} is damaged: it should hold the key of the ACME account; put it back from a \
                 backup, or remove it for a new account",
                self.account.display()
            )),
        }
    }
}

/// One order's way to what is kept.
pub(super) struct OrderFiles {
    pub(super) kept: Arc<Kept>,
    /// What was issued, also where it could not be kept.
    pub(super) issued: Arc<Mutex<Option<Zeroizing<Vec<u8>>>>>,
}

#[async_trait]
impl CertCache for OrderFiles {
    type EC = String;

    /// Nothing: that there is to be another certificate was decided before.
    async fn load_cert(&self, _: &[String], _: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    async fn store_cert(&self, _: &[String], _: &str, pem: &[u8]) -> Result<(), String> {
        *self.issued.lock() = Some(Zeroizing::new(pem.to_vec()));
        let (kept, pem) = (self.kept.clone(), Zeroizing::new(pem.to_vec()));
        off_thread(move || write_private(&kept.certificate, &pem)).await
    }
}

#[async_trait]
impl AccountCache for OrderFiles {
    type EA = String;

    async fn load_account(&self, _: &[String], _: &str) -> Result<Option<Vec<u8>>, String> {
        let kept = self.kept.clone();
        off_thread(move || Ok(kept.account()?.map(|key| key.to_vec()))).await
    }

    async fn store_account(&self, _: &[String], _: &str, key: &[u8]) -> Result<(), String> {
        let (kept, key) = (self.kept.clone(), Zeroizing::new(key.to_vec()));
        off_thread(move || write_private(&kept.account, &key)).await
    }
}

/// The disk may be slow.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(format!("the work on a file ended badly: {error}")))
}

/// Names a server and what is asked of it, in whatever order that is given.
fn digest(directory: &str, parts: &[String]) -> String {
    let mut parts = parts.iter().map(String::as_str).collect::<Vec<_>>();
    parts.sort_unstable();
    let mut context = Context::new(&SHA256);
    for part in std::iter::once(directory).chain(parts) {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read(file: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let mut content = Zeroizing::new(Vec::new());
    let read =
        File::open(file).and_then(|open| open.take(ACME_FILE_BYTES_MAX).read_to_end(&mut content));
    match read {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(file, "cannot be read", &error)),
    }
}

/// For its owner alone, whole and on the disk before it has its name.
fn write_private(file: &Path, content: &[u8]) -> Result<(), String> {
    let cannot = |error: io::Error| failed(file, "cannot be written", &error);
    let draft = file.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        _ => {}
    }
    let mut open =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft).map_err(cannot)?;
    open.write_all(content).and_then(|()| open.sync_all()).map_err(cannot)?;
    fs::rename(&draft, file).map_err(cannot)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(cannot)
}

fn failed(path: &Path, what: &str, error: &io::Error) -> String {
    format!("{} {what}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path, domains: &[&str], directory: &str) -> Acme {
        Acme {
            domains: domains.iter().map(|&name| name.to_owned()).collect(),
            contact: Vec::new(),
            directory: directory.to_owned(),
            terms_agreed: true,
            authorities: None,
            folder: folder.to_owned(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn folder_and_files_are_for_their_owner_alone_also_where_they_were_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("ours");
        let kept = Kept::open(&settings(folder.path(), &["a.example"], "https://x")).expect("made");
        assert_eq!(mode(folder.path()), 0o700);
        fs::write(kept.certificate.with_extension("new"), "left by a crash").expect("written");
        write_private(&kept.certificate, b"first").expect("kept");
        write_private(&kept.certificate, b"second").expect("kept");
        assert_eq!(mode(&kept.certificate), 0o600);
        assert_eq!(kept.certificate().expect("read").expect("one").as_slice(), b"second");
        assert_eq!(fs::read_dir(folder.path()).expect("there").count(), 1, "no draft is left");
    }

    #[test]
    fn a_certificate_is_of_its_names_and_its_server_and_of_no_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |domains: &[&str], directory: &str| {
            let kept = Kept::open(&settings(folder.path(), domains, directory)).expect("made");
            kept.certificate
        };
        let first = open(&["a.example", "b.example"], "https://x");
        assert_eq!(first, open(&["b.example", "a.example"], "https://x"));
        for (domains, directory) in [
            (&["a.example"][..], "https://x"),
            (&["a.example", "b.example"], "https://y"),
            (&["a.exampleb.example"], "https://x"),
        ] {
            assert_ne!(first, open(domains, directory), "{domains:?} {directory}");
        }
    }

    #[test]
    fn a_damaged_account_key_is_named_and_not_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = Kept::open(&settings(folder.path(), &["a.example"], "https://x")).expect("made");
        assert!(kept.account().expect("nothing is wrong").is_none());
        write_private(&kept.account, b"nonsense").expect("kept");
        let error = kept.account().expect_err("damaged");
        assert!(error.contains("account-") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read(&kept.account).expect("there"), b"nonsense");
    }
}
