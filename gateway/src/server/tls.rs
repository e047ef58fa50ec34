//! TLS from certificate files: 1.2 and 1.3, HTTP/1.1 by ALPN, resumption by tickets that only this
//! process can open. It does not reload or renew the files.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// Reads the files.
///
/// # Errors
/// What is wrong, with the file's name.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, String> {
    let TlsFiles { certificate, key } = files;
    let wrong =
        |file: &std::path::Path, why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, &error))?;
    if chain.is_empty() {
        return Err(wrong(certificate, &"it holds no certificate in PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, &error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both versions")
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| wrong(certificate, &format!("it does not fit its key: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A crowd that comes back resumes, which spares the signature and the certificates. The client
    // keeps the state, sealed under a key of this process that is replaced every six hours: a store
    // here would forget all but its last sessions.
    config.ticketer = Ticketer::new().map_err(|error| format!("no key for tickets: {error}"))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A socket is one connection: one ticket for the next one.
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
