//! What stands in a certificate, for people.

use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use parlance_actors::vocab::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{RootCertStore, crypto};
use serde::Serialize;
use x509_parser::prelude::X509Certificate;

use super::names::names_of;
use super::{CertError, Named};

/// Whose certificate it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// It signs nodes.
    Authority,
    /// It is a node's.
    Node,
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Whose it is.
    pub kind: Kind,
    /// The cluster that it names.
    pub cluster: String,
    /// The node that it names; `None` for an authority.
    pub node: Option<String>,
    /// Its serial number in hexadecimal, bytes separated by colons.
    pub serial: String,
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when it counts.
    pub not_after: Timestamp,
    /// Whether it counts now, by this machine's clock.
    pub valid_now: bool,
    /// SHA-256 over the certificate, in hexadecimal, bytes separated by colons.
    pub fingerprint: String,
    /// Whether the given authorities signed it; `None` when none were given. The dates do not
    /// matter here.
    pub signed: Option<bool>,
}

/// Describes the first certificate of a PEM text. `authorities` is a PEM text of one or more
/// authorities' certificates to check its signature against.
///
/// # Errors
/// [`CertError::NoCertificate`] and [`CertError::Foreign`].
pub fn describe(certificate: &str, authorities: Option<&str>) -> Result<Description, CertError> {
    let no_certificate = |why: String| CertError::NoCertificate { why };
    let der = CertificateDer::from_pem_slice(certificate.as_bytes())
        .map_err(|error| no_certificate(error.to_string()))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der)
        .map_err(|error| no_certificate(error.to_string()))?;
    let Named { cluster, node } = names_of(&parsed)?;
    let validity = parsed.validity();
    let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    let now = unix_now();
    Ok(Description {
        kind: if node.is_some() { Kind::Node } else { Kind::Authority },
        cluster,
        node,
        serial: parsed.raw_serial_as_string(),
        not_before: Timestamp(not_before.saturating_mul(1_000)),
        not_after: Timestamp(not_after.saturating_mul(1_000)),
        valid_now: (not_before..=not_after).contains(&now),
        fingerprint: hex(digest::digest(&digest::SHA256, &der).as_ref()),
        signed: authorities.map(|pem| signed_by(&der, &parsed, pem)).transpose()?,
    })
}

fn signed_by(
    der: &CertificateDer<'_>,
    parsed: &X509Certificate<'_>,
    authorities: &str,
) -> Result<bool, CertError> {
    let mut roots = RootCertStore::empty();
    let mut newest_start = parsed.validity().not_before.timestamp();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        let authority =
            authority.map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
        if authority == *der {
            return Ok(true);
        }
        if let Ok((_, authority)) = x509_parser::parse_x509_certificate(&authority) {
            newest_start = newest_start.max(authority.validity().not_before.timestamp());
        }
        roots
            .add(authority)
            .map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
    }
    if roots.is_empty() {
        return Err(CertError::NoCertificate {
            why: "the text of the authorities holds none".into(),
        });
    }
    let Ok(end_entity) = ParsedCertificate::try_from(der) else {
        return Ok(false);
    };
    // At a time at which it counts: `valid_now` says the other thing.
    let then = UnixTime::since_unix_epoch(Duration::from_secs(newest_start.unsigned_abs()));
    let algorithms = crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    Ok(rustls::client::verify_server_cert_signed_by_trust_anchor(
        &end_entity,
        &roots,
        &[],
        then,
        algorithms.all,
    )
    .is_ok())
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}
