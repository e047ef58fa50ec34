//! Making certificates: the authority's, and with it the nodes'. All keys are ECDSA on P-256.

use std::fmt;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::{Duration, OffsetDateTime};

use super::names::ENDING;
use super::{CertError, Named, check_name, read_names};

/// How long an authority is valid unless said otherwise: ten years.
pub const AUTHORITY_DAYS: u32 = 3_650;
/// How long a node's certificate is valid unless said otherwise: a year.
pub const NODE_DAYS: u32 = 365;
/// A validity of more than fifty years is a slip of the keyboard.
const DAYS_MAX: u32 = 18_250;
/// Certificates are valid from a moment ago on, so that a node whose clock is behind takes them.
const CLOCKS_APART: Duration = Duration::hours(1);

/// An authority: what signs the certificates of a cluster's nodes.
pub struct Authority {
    cluster: String,
    certificate: String,
    key: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A node's certificate with its private key, both as PEM.
pub struct NodeCertificate {
    /// The certificate; may be shown to anybody.
    pub certificate: String,
    /// The private key; belongs in a file of mode 600 ([`super::KEY_MODE`]).
    pub key: String,
}

impl Authority {
    /// Makes a new authority of a cluster, with a new key, valid for some days from now.
    ///
    /// # Errors
    /// [`CertError::Name`], [`CertError::Days`] and [`CertError::Refused`].
    pub fn create(cluster: &str, days: u32) -> Result<Self, CertError> {
        check_name("cluster", cluster)?;
        // Different for each authority: a verifier finds the one that signed by its subject, and
        // says of two with one subject that a signature is bad where it is only another's.
        let common_name = format!("Parlance cluster {cluster} {:08x}", rand::random::<u32>());
        let mut params = params(&common_name, cluster, days)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![dns_name(&format!("{cluster}.{ENDING}"))?];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let certificate = params.self_signed(&key).map_err(refused)?;
        Ok(Self {
            cluster: cluster.to_owned(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// Takes up an authority from its PEM texts.
    ///
    /// # Errors
    /// [`CertError`]: one of the texts does not hold what it should, or they do not belong
    /// together.
    pub fn open(certificate: &str, key: &str) -> Result<Self, CertError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
        let Named { cluster, node } = read_names(&der)?;
        if node.is_some() {
            return Err(CertError::NotAnAuthority);
        }
        let pair =
            KeyPair::from_pem(key).map_err(|error| CertError::NoKey { why: error.to_string() })?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
        if parsed.public_key().raw != pair.subject_public_key_info() {
            return Err(CertError::KeyMismatch);
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair)
            .map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
        Ok(Self { cluster, certificate: certificate.to_owned(), key: key.to_owned(), issuer })
    }

    /// Makes and signs a certificate for a node, with a new key, valid for some days from now.
    ///
    /// # Errors
    /// [`CertError::Name`], [`CertError::Days`] and [`CertError::Refused`].
    pub fn sign_node(&self, node: &str, days: u32) -> Result<NodeCertificate, CertError> {
        check_name("node", node)?;
        let mut params = params(node, &self.cluster, days)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Every node both dials and is dialled.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![dns_name(&format!("{node}.{}.{ENDING}", self.cluster))?];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(refused)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(refused)?;
        Ok(NodeCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// The cluster that it signs for.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Its certificate as PEM: what goes to every node as the `ca` file.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key as PEM. Whoever has it can make nodes; it belongs on no node.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeCertificate").finish_non_exhaustive()
    }
}

fn params(common_name: &str, cluster: &str, days: u32) -> Result<CertificateParams, CertError> {
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(CertError::Days { days, max: DAYS_MAX });
    }
    let now = OffsetDateTime::from(SystemTime::now());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, cluster);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = now - CLOCKS_APART;
    params.not_after = now + Duration::days(i64::from(days));
    params.serial_number = Some(serial());
    Ok(params)
}

/// A random serial number; its first bit is clear, because serial numbers are positive.
fn serial() -> SerialNumber {
    let mut bytes = rand::random::<[u8; 16]>();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn dns_name(name: &str) -> Result<SanType, CertError> {
    Ok(SanType::DnsName(name.try_into().map_err(refused)?))
}

fn refused(error: rcgen::Error) -> CertError {
    CertError::Refused { why: error.to_string() }
}
