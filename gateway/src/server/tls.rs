//! TLS from certificate files: 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, resumption by tickets that
//! only this process can open. The files are read again when they change; nothing renews them here.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::TlsFiles;
use crate::limits::TLS_FILES_POLL;

/// ALPN's name of HTTP/2.
pub(super) const H2: &[u8] = b"h2";

/// Device, inode, size and time of change of each file: different when a file was replaced.
type Stamps = [Option<(u64, u64, u64, i64, i64)>; 2];

/// What the front door shows, and the files it came from.
#[derive(Debug)]
pub(super) struct Identity {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files as last tried, good or bad: a bad pair is logged once.
    tried: Mutex<Stamps>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub(super) fn open(files: &TlsFiles) -> Result<Arc<Self>, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tried = Mutex::new(stamps(files));
        let current = RwLock::new(Arc::new(read(files, &provider)?));
        Ok(Arc::new(Self { files: files.clone(), provider, current, tried }))
    }

    /// Accepts connections with whatever counts at each handshake.
    ///
    /// # Errors
    /// There is no randomness for the tickets' key.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
        // A crowd that comes back resumes, which spares the signature and the certificates. The client
        // keeps the state, sealed under a key of this process that is replaced every six hours: a store
        // here would forget all but its last sessions.
        config.ticketer =
            Ticketer::new().map_err(|error| format!("no key for tickets: {error}"))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A socket is one connection: one ticket for the next one.
        config.send_tls13_tickets = 1;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files every now and then, until `stop`.
    pub(super) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let polls = async {
            loop {
                tokio::time::sleep(TLS_FILES_POLL).await;
                let identity = Arc::clone(&self);
                // The files may be on a slow disk. A panic in there would leave the identity as it is.
                let _ = tokio::task::spawn_blocking(move || identity.refresh()).await;
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
        match read(&self.files, &self.provider) {
            Ok(certified) => {
                *self.current.write() = Arc::new(certified);
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

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read()))
    }
}

fn read(files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
    let TlsFiles { certificate, key } = files;
    let wrong = |file: &Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &"it holds no certificate in PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    CertifiedKey::from_der(chain, secret, provider)
        .map_err(|error| wrong(certificate, &format!("it does not fit its key: {error}")))
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
        let identity = Identity::open(&files).expect("a pair");
        let shown = || identity.current.read().cert[0].clone();
        let spoil: [&dyn Fn(); 4] = [
            &|| fs::write(&files.certificate, second.cert.pem()).expect("written"),
            &|| fs::write(&files.key, "nonsense").expect("written"),
            &|| fs::write(&files.certificate, "").expect("written"),
            &|| fs::remove_file(&files.certificate).expect("there"),
        ];
        for spoil in spoil {
            spoil();
            identity.refresh();
            assert_eq!(&shown(), first.cert.der());
        }
        write(&files, &second);
        identity.refresh();
        assert_eq!(&shown(), second.cert.der());
    }
}
