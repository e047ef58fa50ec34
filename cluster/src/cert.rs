//! The cluster's own certificates: an authority whose certificate names the cluster, and node
//! certificates that it signs, each of which names its node and its cluster.
//!
//! Everything here works on PEM texts in memory, and [`write_new`] puts one into a file. It
//! revokes nothing: a certificate that must no longer count is shut out by rotating the authority,
//! and a node that must no longer take part by removing it from the cluster.

mod authority;
mod describe;
mod files;
mod names;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use authority::{AUTHORITY_DAYS, Authority, NODE_DAYS, NodeCertificate};
pub use describe::{Description, Kind, describe};
pub use files::{KEY_MODE, PUBLIC_MODE, write_new};
pub use names::{NAME_CHARS_MAX, check_name};
pub(crate) use names::{Named, read_names};

/// Why a certificate was not made, read or written. Nothing was changed. Trying again with the
/// same input helps for none but [`Self::File`].
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A name of a node or a cluster breaks the rule.
    #[error(
        "{name:?} is no name for a {of}: it must have 1 to {NAME_CHARS_MAX} of lower-case letters, \
         digits and `-`, and begin with a letter"
    )]
    Name {
        /// What it should name: `node` or `cluster`.
        of: &'static str,
        /// The name.
        name: String,
    },
    /// A validity that cannot be had.
    #[error("a certificate is valid for 1 to {max} days, not {days}")]
    Days {
        /// What was asked for.
        days: u32,
        /// The longest possible.
        max: u32,
    },
    /// A PEM text holds no certificate, or one that cannot be read.
    #[error("this is no certificate: {why}")]
    NoCertificate {
        /// What is wrong.
        why: String,
    },
    /// A PEM text holds no private key, or one that cannot be used.
    #[error("this is no usable private key: {why}")]
    NoKey {
        /// What is wrong.
        why: String,
    },
    /// The certificate is sound and none of a Parlance cluster's.
    #[error("this is no certificate of a Parlance cluster: {why}")]
    Foreign {
        /// What is missing.
        why: String,
    },
    /// A node's certificate was given where an authority's is needed.
    #[error("this is the certificate of a node, and an authority's is needed")]
    NotAnAuthority,
    /// The key belongs to another certificate.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The cryptography refused.
    #[error("the certificate could not be made: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The file is there already; it is never overwritten.
    #[error(
        "{} is there already and is not overwritten; move it away first, or name another file",
        path.display()
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
