//! TLS-ALPN-01 from the server's side (RFC 8737, section 3): it connects and looks.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::node::knock;

const PROTOCOL: &[u8] = b"acme-tls/1";
/// id-pe-acmeIdentifier.
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// Looks whether whoever answers at this port is the holder of the key authorization.
///
/// # Errors
/// What was seen instead.
pub(crate) async fn look(
    port: u16,
    proxied: bool,
    name: &str,
    authorization: &str,
) -> Result<(), String> {
    let stream = knock(port, proxied).await.map_err(|error| format!("no connection: {error}"))?;
    let stream = shake(stream, name).await.map_err(|error| format!("no handshake: {error}"))?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(PROTOCOL) {
        return Err(format!("{:?} was agreed on", session.alpn_protocol()));
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let [certificate] = chain else {
        return Err(format!("{} certificates were shown", chain.len()));
    };
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("it is no certificate: {error}"))?;
    names_only(&certificate, name)?;
    proves(&certificate, authorization)
}

async fn shake(
    stream: TcpStream,
    name: &str,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whoever(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn names_only(certificate: &X509Certificate<'_>, name: &str) -> Result<(), String> {
    let names = certificate.subject_alternative_name().map_err(|error| error.to_string())?;
    match names.map(|names| names.value.general_names.as_slice()) {
        Some([GeneralName::DNSName(only)]) if *only == name => Ok(()),
        other => Err(format!("it is for {other:?}")),
    }
}

fn proves(certificate: &X509Certificate<'_>, authorization: &str) -> Result<(), String> {
    let found = certificate.extensions().iter().find(|it| it.oid.to_id_string() == ACME_IDENTIFIER);
    let extension = found.ok_or("it has no acmeIdentifier")?;
    if !extension.critical {
        return Err("its acmeIdentifier is not critical".to_owned());
    }
    // An OCTET STRING of 32 bytes in DER.
    let wanted = [&[0x04, 32][..], digest(&SHA256, authorization.as_bytes()).as_ref()].concat();
    if extension.value != wanted {
        return Err("its acmeIdentifier is that of another key authorization".to_owned());
    }
    Ok(())
}

/// A challenge's certificate is signed by nobody; that its key is used in the handshake is checked.
#[derive(Debug)]
struct Whoever(Arc<CryptoProvider>);

impl ServerCertVerifier for Whoever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("only TLS 1.3 was offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let schemes = &self.0.signature_verification_algorithms;
        // rustls would refuse a critical extension that it does not know.
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
            .map_err(|error| Error::General(error.to_string()))?;
        let key = SubjectPublicKeyInfoDer::from(parsed.tbs_certificate.subject_pki.raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, schemes)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
