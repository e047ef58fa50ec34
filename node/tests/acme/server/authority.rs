//! An authority that signs what the server has found to be proven.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

/// From when until when a certificate is good, seen from now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    pub(crate) before: Duration,
    pub(crate) after: Duration,
}

impl Lifetime {
    /// What Let's Encrypt gives.
    pub(crate) const LONG: Self =
        Self { before: Duration::from_secs(3_600), after: Duration::from_secs(90 * 86_400) };
    /// In four seconds a third of its time is left, which is ten minutes.
    pub(crate) const SHORT: Self =
        Self { before: Duration::from_secs(1_200 - 3 * 4), after: Duration::from_secs(600) };
}

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("signed"))
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }

    /// What the server itself shows.
    pub(crate) fn identity(&self, name: &str) -> rustls::ServerConfig {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let signed = params.signed_by(&key, &self.0).expect("signed");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![signed.der().clone()], key)
            .expect("they fit")
    }

    /// Signs a request (RFC 8555, section 7.4) that names these and nothing else. The chain, PEM.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn sign(
        &self,
        request: &[u8],
        names: &[String],
        lifetime: Lifetime,
    ) -> Result<String, String> {
        let request = CertificateSigningRequestDer::from(request);
        // Its signature is checked here.
        let mut request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        let asked = request.params.subject_alt_names.iter().map(|name| match name {
            SanType::DnsName(name) => Ok(name.as_str().to_owned()),
            other => Err(format!("{other:?} is no name")),
        });
        let mut asked = asked.collect::<Result<Vec<_>, _>>()?;
        let mut proven = names.to_vec();
        asked.sort();
        proven.sort();
        if asked != proven {
            return Err(format!("{asked:?} were asked for, and {proven:?} were proven"));
        }
        let now = OffsetDateTime::now_utc();
        request.params.not_before = now - lifetime.before;
        request.params.not_after = now + lifetime.after;
        let signed = request.signed_by(&self.0).map_err(|error| error.to_string())?;
        Ok(format!("{}{}", signed.pem(), self.pem()))
    }
}
