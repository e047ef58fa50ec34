//! The certificate's files, replaced while the server runs; and TLS connections for other tests.

use std::sync::Arc;

use parlance_gateway::config::Tls;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::front_door::tls_files;
use crate::harness::{Server, config, until, within};

/// A server with a certificate, and what trusts it.
pub(crate) async fn tls_server(
    mut config: parlance_gateway::GatewayConfig,
) -> (Server, RootCertStore) {
    let (_folder, files, roots) = tls_files();
    config.tls = Some(Tls::Files(files));
    (Server::with(config).await, roots)
}

/// TLS over a connection, asking for a protocol.
pub(crate) async fn secured(
    stream: TcpStream,
    roots: &RootCertStore,
    alpn: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    client.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").expect("a name");
    within(connector.connect(name, stream)).await
}

/// Whether the server shows a certificate that these roots know.
async fn shows(server: &Server, roots: &RootCertStore) -> bool {
    secured(server.connect().await, roots, "http/1.1").await.is_ok()
}

async fn health(stream: &mut TlsStream<TcpStream>) {
    let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        answer.push(within(stream.read_u8()).await.expect("an answer"));
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_replaced_pair_is_shown_to_new_connections_and_a_bad_one_is_not() {
    let (_folder, files, old) = tls_files();
    let mut config = config();
    config.tls = Some(Tls::Files(files.clone()));
    let server = Server::with(config).await;
    let mut open = secured(server.connect().await, &old, "http/1.1").await.expect("TLS");
    health(&mut open).await;

    // Half of a pair, as it is while somebody copies two files.
    let (_other, new, roots) = tls_files();
    std::fs::copy(&new.certificate, &files.certificate).expect("copied");
    let stamp =
        || std::fs::metadata(&files.certificate).expect("there").modified().expect("a time");
    let before = stamp();
    assert!(shows(&server, &old).await && !shows(&server, &roots).await);
    std::fs::copy(&new.key, &files.key).expect("copied");
    until(async || shows(&server, &roots).await).await;
    assert!(!shows(&server, &old).await);
    assert_eq!(before, stamp(), "the server only reads");
    health(&mut open).await;

    // Then nonsense, and after it another good pair: what is shown in between is the last good one.
    std::fs::write(&files.certificate, "nonsense").expect("written");
    std::fs::remove_file(&files.key).expect("removed");
    assert!(shows(&server, &roots).await);
    let (_third, newest, newest_roots) = tls_files();
    std::fs::copy(&newest.key, &files.key).expect("copied");
    std::fs::copy(&newest.certificate, &files.certificate).expect("copied");
    until(async || shows(&server, &newest_roots).await).await;
    health(&mut open).await;
    let made = rustls::pki_types::CertificateDer::from_pem_file(&newest.certificate).expect("one");
    let stream = secured(server.connect().await, &newest_roots, "http/1.1").await.expect("TLS");
    let shown = stream.get_ref().1.peer_certificates().expect("a chain").first().cloned();
    assert_eq!(shown, Some(made));
}
