//! Who this node is: its certificate, its key and the authorities that it trusts, read from files
//! again when they change. Connections that are open stay as they are; new ones use what is new.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;

use crate::cert::read_names;
use crate::transport::PeerName;

/// Where certificate, key and authorities are; all of them PEM.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    /// The authorities that this node trusts: one, or several during a rotation.
    pub ca: PathBuf,
    /// The node's certificate.
    pub cert: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

/// Why an identity is not taken. An identity in use goes on with what it had. Trying again helps
/// once the file that is named was mended.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {why}", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate that replaces another names somebody else. A node keeps its name.
    #[error("{} is for {found}, but this node runs as {runs_as}", path.display())]
    OtherName {
        /// The certificate's file.
        path: PathBuf,
        /// Whom it names.
        found: String,
        /// Who this node is.
        runs_as: String,
    },
}

/// What was read from the files at one time.
pub(super) struct Material {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) roots: RootCertStore,
    pub(super) of_clients: Arc<dyn ClientCertVerifier>,
    name: PeerName,
    cluster: Arc<str>,
}

/// Device, inode, size and time of change of each file: different when a file was replaced.
type Stamps = [Option<(u64, u64, u64, i64, i64)>; 3];

/// A node's identity. Both endpoints of a node share one.
pub struct Identity {
    files: IdentityFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Material>>,
    /// Of the files as last tried, good or bad: a bad one is logged once.
    tried: Mutex<Stamps>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn open(files: IdentityFiles) -> Result<Arc<Self>, IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tried = Mutex::new(stamps(&files));
        let current = RwLock::new(Arc::new(read(&files, &provider)?));
        Ok(Arc::new(Self { files, provider, current, tried }))
    }

    /// Reads the files again if they changed since they were last tried. Bad ones are logged, and
    /// what was read before stays. Returns whether something new counts now. Reads files: call it
    /// where that may block.
    pub fn refresh(&self) -> bool {
        let mut tried = self.tried.lock();
        let now = stamps(&self.files);
        if *tried == now {
            return false;
        }
        *tried = now;
        match read(&self.files, &self.provider).and_then(|material| self.same_name(material)) {
            Ok(material) => {
                *self.current.write() = Arc::new(material);
                tracing::info!(files = ?self.files, "certificates replaced; new connections use them");
                true
            }
            Err(error) => {
                tracing::error!(%error, "changed certificates are not used; the old ones stay");
                false
            }
        }
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> PeerName {
        self.current().name.clone()
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> Arc<str> {
        Arc::clone(&self.current().cluster)
    }

    pub(super) fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read())
    }

    pub(super) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }

    fn same_name(&self, new: Material) -> Result<Material, IdentityError> {
        let old = self.current();
        if (&new.name, &new.cluster) == (&old.name, &old.cluster) {
            return Ok(new);
        }
        Err(IdentityError::OtherName {
            path: self.files.cert.clone(),
            found: format!("node {} of cluster {}", new.name, new.cluster),
            runs_as: format!("node {} of cluster {}", old.name, old.cluster),
        })
    }
}

impl Material {
    /// Whom a peer's certificate names, if it is one of this cluster. Its chain must have been
    /// verified.
    pub(super) fn peer(&self, certificate: &CertificateDer<'_>) -> Result<PeerName, String> {
        let named = read_names(certificate).map_err(|error| error.to_string())?;
        let node = named.node.ok_or("the certificate is an authority's and names no node")?;
        if *named.cluster != *self.cluster {
            return Err(format!(
                "node {node} belongs to cluster {}, not to cluster {}",
                named.cluster, self.cluster
            ));
        }
        Ok(PeerName(node.into()))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name()).finish_non_exhaustive()
    }
}

fn read(files: &IdentityFiles, provider: &Arc<CryptoProvider>) -> Result<Material, IdentityError> {
    let bad = |path: &Path, why: String| IdentityError::Bad { path: path.to_owned(), why };
    let authorities = certificates(&files.ca)?;
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|error| bad(&files.ca, error.to_string()))?;
    }
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&contents(&files.key)?)
        .map_err(|error| bad(&files.key, format!("no private key: {error}")))?;
    let named = read_names(&chain[0]).map_err(|error| bad(&files.cert, error.to_string()))?;
    let node = named.node.ok_or_else(|| {
        bad(&files.cert, "the certificate is an authority's, not a node's".into())
    })?;
    // Peers would refuse it; better to say so here.
    ParsedCertificate::try_from(&chain[0])
        .and_then(|end_entity| {
            verify_server_cert_signed_by_trust_anchor(
                &end_entity,
                &roots,
                &chain[1..],
                UnixTime::now(),
                provider.signature_verification_algorithms.all,
            )
        })
        .map_err(|error| {
            bad(&files.cert, format!("{} does not vouch for it: {error}", files.ca.display()))
        })?;
    let certified = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        bad(&files.key, format!("not the key of {}: {error}", files.cert.display()))
    })?;
    let of_clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(provider))
            .build()
            .map_err(|error| bad(&files.ca, error.to_string()))?;
    Ok(Material {
        certified: Arc::new(certified),
        roots,
        of_clients,
        name: PeerName(node.into()),
        cluster: named.cluster.into(),
    })
}

/// The certificates of a PEM file; at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let bad = |why: String| IdentityError::Bad { path: path.to_owned(), why };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&contents(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| bad(format!("no certificate: {error}")))?;
    if found.is_empty() { Err(bad("it holds no certificate".to_owned())) } else { Ok(found) }
}

fn contents(path: &Path) -> Result<Vec<u8>, IdentityError> {
    fs::read(path).map_err(|source| IdentityError::File { path: path.to_owned(), source })
}

fn stamps(files: &IdentityFiles) -> Stamps {
    [&files.ca, &files.cert, &files.key].map(|path| {
        let seen = fs::metadata(path).ok()?;
        Some((seen.dev(), seen.ino(), seen.size(), seen.mtime(), seen.mtime_nsec()))
    })
}
