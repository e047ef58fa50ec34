//! `parlance cert ca|node|show`: the cluster's own certificates. It works on files alone; no node
//! needs to run, and none of these needs a configuration.

use std::fs::DirBuilder;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use parlance_cluster::cert::{
    self, AUTHORITY_DAYS, Authority, CertError, Description, KEY_MODE, Kind, NODE_DAYS, PUBLIC_MODE,
};

use super::migrate::utc;
use super::print;
use crate::failure::{Cause, Failure};

/// The authority's certificate in its folder: what every node gets as `cluster.ca`.
const CA_CERTIFICATE: &str = "ca.pem";
/// The authority's private key in its folder; belongs on no node.
const CA_KEY: &str = "ca.key";
/// A file of certificates that is larger is not one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Make the authority of a cluster: ca.pem and ca.key.
    Ca(Ca),
    /// Make the certificate of a node: NAME.pem and NAME.key.
    Node(Node),
    /// Say what a certificate says.
    Show(Show),
}

/// A new authority.
#[derive(Debug, Args)]
pub(crate) struct Ca {
    /// The cluster's name, which every certificate of it will carry.
    #[arg(long, value_name = "NAME")]
    cluster: String,
    /// The folder to write to; made if it is missing. Nothing there is overwritten.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// For how many days it counts.
    #[arg(long, value_name = "N", default_value_t = AUTHORITY_DAYS)]
    days: u32,
}

/// A new node.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// The folder of the authority, with ca.pem and ca.key.
    #[arg(long, value_name = "DIR")]
    ca: PathBuf,
    /// The node's name, unique in the cluster.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The folder to write to; made if it is missing. Nothing there is overwritten.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// For how many days it counts.
    #[arg(long, value_name = "N", default_value_t = NODE_DAYS)]
    days: u32,
}

/// A certificate to look at.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The certificate's file.
    file: PathBuf,
    /// Also say whether one of the authorities in this file signed it; exit code 6 if none did.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Ca(ca) => make_authority(ca),
        Action::Node(node) => make_node(node),
        Action::Show(show) => describe(show),
    }
}

fn make_authority(Ca { cluster, out, days }: &Ca) -> Result<(), Failure> {
    let authority = Authority::create(cluster, *days).map_err(|error| failure(&error))?;
    let [certificate, key] = [out.join(CA_CERTIFICATE), out.join(CA_KEY)];
    write_pair((&certificate, authority.certificate()), (&key, authority.key()))?;
    print(&format!(
        "{} is the authority of cluster {cluster}: every node gets it as cluster.ca\n\
         {} signs nodes: keep it away from the nodes, and keep a copy\n",
        certificate.display(),
        key.display()
    ))
}

fn make_node(Node { ca, name, out, days }: &Node) -> Result<(), Failure> {
    let (certificate, key) = (ca.join(CA_CERTIFICATE), ca.join(CA_KEY));
    let authority = Authority::open(&read(&certificate)?, &read(&key)?).map_err(|error| {
        let what = format!("{} with {}: {error}", certificate.display(), key.display());
        Failure::new(Cause::Other, what)
    })?;
    let made = authority.sign_node(name, *days).map_err(|error| failure(&error))?;
    let [certificate, key] = ["pem", "key"].map(|ending| out.join(format!("{name}.{ending}")));
    write_pair((&certificate, &made.certificate), (&key, &made.key))?;
    print(&format!(
        "{} and {} are node {name} of cluster {}: cluster.cert and cluster.key\n",
        certificate.display(),
        key.display(),
        authority.cluster()
    ))
}

fn describe(Show { file, ca }: &Show) -> Result<(), Failure> {
    let authorities = ca.as_deref().map(read).transpose()?;
    let said = cert::describe(&read(file)?, authorities.as_deref());
    let said =
        said.map_err(|error| Failure::new(Cause::Other, format!("{}: {error}", file.display())))?;
    print(&words(&said))?;
    match (said.signed, ca) {
        (Some(false), Some(ca)) => {
            let what = format!("no authority in {} signed it", ca.display());
            Err(Failure::new(Cause::Other, what))
        }
        _ => Ok(()),
    }
}

fn words(said: &Description) -> String {
    let whose = match said.kind {
        Kind::Authority => "authority".to_owned(),
        Kind::Node => format!("node {}", said.node.as_deref().unwrap_or_default()),
    };
    let now = if said.valid_now { "" } else { " (NOT valid now)" };
    let mut text = format!(
        "certificate  {whose} of cluster {}\nvalid        {} to {}{now}\n\
         serial       {}\nfingerprint  {}\n",
        said.cluster,
        utc(said.not_before),
        utc(said.not_after),
        said.serial,
        said.fingerprint
    );
    if let Some(signed) = said.signed {
        let signed = if signed { "by an authority of the file" } else { "by none of the file" };
        text.push_str(&format!("signed       {signed}\n"));
    }
    text
}

/// Writes a key and its certificate, or neither: a key without a certificate would be in the way
/// of the next try.
fn write_pair(certificate: (&Path, &str), key: (&Path, &str)) -> Result<(), Failure> {
    let folder = key.0.parent().unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        Failure::new(Cause::Other, format!("{} cannot be made: {error}", folder.display()))
    })?;
    cert::write_new(key.0, key.1, KEY_MODE).map_err(|error| failure(&error))?;
    cert::write_new(certificate.0, certificate.1, PUBLIC_MODE).map_err(|error| {
        // Ours, a moment old, and of no use to anybody.
        let _ = std::fs::remove_file(key.0);
        failure(&error)
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let opened = std::fs::File::open(file);
    opened.and_then(|open| open.take(FILE_BYTES_MAX).read_to_string(&mut text)).map_err(
        |error| Failure::new(Cause::Other, format!("{} cannot be read: {error}", file.display())),
    )?;
    Ok(text)
}

fn failure(error: &CertError) -> Failure {
    Failure::new(Cause::Other, error.to_string())
}
