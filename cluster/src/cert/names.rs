//! How names stand in certificates. A node's certificate has the DNS name `NODE.CLUSTER.parlance`,
//! an authority's `CLUSTER.parlance`. Nobody resolves them: `parlance` is no public domain, so
//! that no other certificate carries such a name by accident.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::CertError;

/// The longest name of a node or a cluster. Both and the ending fit the 253 characters of a DNS
/// name, and each the 63 of a label.
pub const NAME_CHARS_MAX: usize = 40;

/// What all names end with.
pub(super) const ENDING: &str = "parlance";

/// Whom a certificate names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The cluster.
    pub(crate) cluster: String,
    /// The node; `None` for an authority.
    pub(crate) node: Option<String>,
}

/// Checks the name of a node or a cluster; `of` says which, for the error.
///
/// # Errors
/// [`CertError::Name`].
pub fn check_name(of: &'static str, name: &str) -> Result<(), CertError> {
    if is_name(name) { Ok(()) } else { Err(CertError::Name { of, name: name.to_owned() }) }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Reads whom a certificate names. Says nothing about who signed it.
///
/// # Errors
/// [`CertError::NoCertificate`] and [`CertError::Foreign`].
pub(crate) fn read_names(certificate: &CertificateDer<'_>) -> Result<Named, CertError> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| CertError::NoCertificate { why: error.to_string() })?;
    names_of(&parsed)
}

/// The names of a parsed certificate: of exactly one of its DNS names.
pub(super) fn names_of(certificate: &X509Certificate<'_>) -> Result<Named, CertError> {
    let foreign = |why: &str| CertError::Foreign { why: why.to_owned() };
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| CertError::NoCertificate { why: error.to_string() })?
        .ok_or_else(|| foreign("it has no alternative names"))?;
    let mut ours = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => named(name),
        _ => None,
    });
    let found = ours
        .next()
        .ok_or_else(|| foreign("none of its DNS names has the form NODE.CLUSTER.parlance"))?;
    if ours.next().is_some() {
        return Err(foreign("it names more than one node"));
    }
    if found.node.is_none() != certificate.is_ca() {
        return Err(foreign("it names a node and signs others, or names none and signs none"));
    }
    Ok(found)
}

fn named(dns: &str) -> Option<Named> {
    let labels: Vec<&str> = dns.split('.').collect();
    let (node, cluster) = match labels.as_slice() {
        [node, cluster, ENDING] => (Some(*node), *cluster),
        [cluster, ENDING] => (None, *cluster),
        _ => return None,
    };
    (is_name(cluster) && node.is_none_or(is_name))
        .then(|| Named { cluster: cluster.to_owned(), node: node.map(str::to_owned) })
}
