//! TLS as links use it: version 1.3, certificates from both sides, nothing resumed (a resumed
//! session would not look at certificates again), and the identity's present state at each
//! handshake.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, OtherError,
    ServerConfig, SignatureScheme, version::TLS13,
};

use super::identity::Identity;

/// The side that dials, speaking the given protocols, the preferred one first.
pub(super) fn client(
    identity: &Arc<Identity>,
    protocols: &[String],
) -> Result<QuicClientConfig, Error> {
    let proof = Arc::new(Proof(Arc::clone(identity)));
    let mut config = ClientConfig::builder_with_provider(Arc::clone(identity.provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&proof) as Arc<dyn ServerCertVerifier>)
        .with_client_cert_resolver(proof);
    config.alpn_protocols = protocols.iter().map(|name| name.clone().into_bytes()).collect();
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// The side that is dialled.
pub(super) fn server(
    identity: &Arc<Identity>,
    protocols: &[String],
) -> Result<QuicServerConfig, Error> {
    let proof = Arc::new(Proof(Arc::clone(identity)));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(identity.provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(&proof) as Arc<dyn ClientCertVerifier>)
        .with_cert_resolver(proof);
    config.alpn_protocols = protocols.iter().map(|name| name.clone().into_bytes()).collect();
    config.send_tls13_tickets = 0;
    QuicServerConfig::try_from(config).map_err(|error| Error::General(error.to_string()))
}

/// What this node shows and what it wants to see.
#[derive(Debug)]
struct Proof(Arc<Identity>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl Proof {
    /// The name in a verified certificate counts only within this cluster. Which node of it is
    /// there is compared after the handshake, when it is known who was expected.
    fn of_this_cluster(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.0.current().peer(certificate).map(drop).map_err(|why| {
            Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refused(why)))))
        })
    }
}

impl ResolvesServerCert for Proof {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }
}

impl ResolvesClientCert for Proof {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ServerCertVerifier for Proof {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(end_entity)?,
            &self.0.current().roots,
            intermediates,
            now,
            self.0.provider().signature_verification_algorithms.all,
        )?;
        self.of_this_cluster(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Proof {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a node has one certificate and shows that one.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let material = self.0.current();
        let verified = material.of_clients.verify_client_cert(end_entity, intermediates, now)?;
        self.of_this_cluster(end_entity)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.provider().signature_verification_algorithms.supported_schemes()
    }
}
