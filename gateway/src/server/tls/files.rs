//! A certificate from files, which are read again when they change; nothing renews them here.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_util::sync::CancellationToken;

use super::Identity;
use crate::config::TlsFiles;
use crate::limits::TLS_FILES_POLL;

/// Device, inode, size and time of change of each file: different when a file was replaced.
type Stamps = [Option<(u64, u64, u64, i64, i64)>; 2];

/// The files and what is shown of them.
#[derive(Debug)]
pub(in crate::server) struct Files {
    files: TlsFiles,
    identity: Arc<Identity>,
    /// Of the files as last tried, good or bad: a bad pair is logged once.
    tried: Mutex<Stamps>,
}

impl Files {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn open(files: &TlsFiles) -> Result<Self, String> {
        let tried = Mutex::new(stamps(files));
        let identity = Identity::new();
        read(files, &identity)?;
        Ok(Self { files: files.clone(), identity, tried })
    }

    pub(super) fn identity(&self) -> Arc<Identity> {
        self.identity.clone()
    }

    /// Looks at the files every now and then, until `stop`.
    pub(super) async fn watch(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let polls = async {
            loop {
                tokio::time::sleep(TLS_FILES_POLL).await;
                let files = this.clone();
                // The files may be on a slow disk. A panic in there would leave the identity as it is.
                let _ = tokio::task::spawn_blocking(move || files.refresh()).await;
            }
        };
        stop.run_until_cancelled(polls).await;
    }

    /// Reads the files again if they changed since they were last tried. A bad pair is logged, and
    /// the one before stays. Connections that are open go on either way.
    fn refresh(&self) {
        let mut tried = self.tried.lock();
        let now = stamps(&self.files);
        if *tried == now {
            return;
        }
        *tried = now;
        let TlsFiles { certificate, key } = &self.files;
        match read(&self.files, &self.identity) {
            Ok(()) => {
                metrics::counter!("parlance_tls_reloads_total", "outcome" => "used").increment(1);
                tracing::info!(?certificate, ?key, "certificate replaced; new connections use it");
            }
            Err(error) => {
                metrics::counter!("parlance_tls_reloads_total", "outcome" => "refused")
                    .increment(1);
                tracing::error!(%error, "a changed certificate is not used; the old one stays");
            }
        }
    }
}

/// Shows what the files hold, if that is good.
fn read(files: &TlsFiles, identity: &Identity) -> Result<(), String> {
    let TlsFiles { certificate, key } = files;
    let wrong = |file: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, &error))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    identity.show(chain, secret).map(drop).map_err(|error| wrong(certificate, &error))
}

fn stamps(files: &TlsFiles) -> Stamps {
    [&files.certificate, &files.key].map(|path| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &TlsFiles, made: &rcgen::CertifiedKey<rcgen::KeyPair>) {
        fs::write(&files.certificate, made.cert.pem()).expect("written");
        fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    }

    #[test]
    fn a_bad_pair_leaves_the_old_one_and_the_next_good_one_counts() {
        let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
        let (first, second) = (make().expect("made"), make().expect("made"));
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let files = TlsFiles { certificate, key };
        write(&files, &first);
        let opened = Files::open(&files).expect("a pair");
        let shown = || {
            let shown = opened.identity.shown.read().clone().expect("one");
            shown.certified.cert[0].clone()
        };
        let spoil: [&dyn Fn(); 4] = [
            &|| fs::write(&files.certificate, second.cert.pem()).expect("written"),
            &|| fs::write(&files.key, "nonsense").expect("written"),
            &|| fs::write(&files.certificate, "").expect("written"),
            &|| fs::remove_file(&files.certificate).expect("there"),
        ];
        for spoil in spoil {
            spoil();
            opened.refresh();
            assert_eq!(&shown(), first.cert.der());
        }
        write(&files, &second);
        opened.refresh();
        assert_eq!(&shown(), second.cert.der());
    }
}
