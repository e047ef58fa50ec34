//! Links over loopback: who is let in, what calls and packets keep, and how certificates rotate.

mod admission;
mod calls;
mod relay;
mod rotation;

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::hello::{self, Purpose};
use super::*;
use crate::cert::{Authority, KEY_MODE, PUBLIC_MODE, write_new};
use crate::transport::{Answers, CallError, PeerName, Place, Service, Transport};

/// Far longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster's authority and a folder for its nodes' files.
pub(crate) struct Town {
    pub(crate) folder: TempDir,
    pub(crate) authority: Authority,
}

impl Town {
    pub(crate) fn new() -> Self {
        Self::named("town")
    }

    pub(crate) fn named(cluster: &str) -> Self {
        let authority = Authority::create(cluster, 10).expect("an authority");
        Self { folder: tempfile::tempdir().expect("a folder"), authority }
    }

    pub(crate) fn files(&self, node: &str) -> IdentityFiles {
        let at = |ending: &str| self.folder.path().join(format!("{node}.{ending}"));
        IdentityFiles { ca: at("ca"), cert: at("crt"), key: at("key") }
    }

    /// Puts a new certificate of a node into its files, with the authorities that it trusts.
    pub(crate) fn issue(&self, node: &str, by: &Authority, trusts: &str) -> IdentityFiles {
        let files = self.files(node);
        for path in [&files.ca, &files.cert, &files.key] {
            let _ = fs::remove_file(path);
        }
        let made = by.sign_node(node, 5).expect("a node's certificate");
        write_new(&files.ca, trusts, PUBLIC_MODE).expect("written");
        write_new(&files.cert, &made.certificate, PUBLIC_MODE).expect("written");
        write_new(&files.key, &made.key, KEY_MODE).expect("written");
        files
    }

    pub(crate) fn identity(&self, node: &str) -> Arc<Identity> {
        let files = self.issue(node, &self.authority, self.authority.certificate());
        Identity::open(files).expect("an identity")
    }
}

pub(crate) fn options(identity: Arc<Identity>, hello: Hello) -> LinkOptions {
    LinkOptions { listen: SocketAddr::from(([127, 0, 0, 1], 0)), identity, hello }
}

/// An address that no other test binds a free port of: for those who come back to their port.
/// Of 127.0.0.1, the system would hand it to the next one who asks.
pub(crate) fn apart() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 128 | high, middle, low], 0))
}

struct Node {
    links: ControlLinks,
    packets: mpsc::Receiver<Packet>,
}

/// Answers with who asked, for which service, and what. Says `None` to `garbage`, and never
/// answers `stuck`.
struct Echo;

#[async_trait]
impl Answers for Echo {
    async fn answer(&self, from: PeerName, service: Service, request: Bytes) -> Option<Bytes> {
        match &request[..] {
            b"garbage" => None,
            b"stuck" => std::future::pending().await,
            _ => {
                let said = String::from_utf8_lossy(&request);
                Some(format!("{from} {service:?} {said}").into())
            }
        }
    }
}

fn node(identity: Arc<Identity>, hello: Hello) -> Node {
    node_speaking(identity, hello, Protocols::NOW)
}

fn node_speaking(identity: Arc<Identity>, hello: Hello, protocols: Protocols) -> Node {
    Node::serving(ControlLinks::bind_speaking(options(identity, hello), protocols).expect("bound"))
}

impl Node {
    fn serving((links, packets): (ControlLinks, mpsc::Receiver<Packet>)) -> Self {
        links.serve(Arc::new(Echo));
        Self { links, packets }
    }

    fn place(&self, name: Option<&str>) -> Place {
        Place {
            address: self.links.local_addr().to_string().into(),
            name: name.map(|name| PeerName(name.into())),
        }
    }

    async fn ask(&self, to: &Place, request: &'static str) -> Result<String, CallError> {
        self.ask_for(to, Service::Raft, request).await
    }

    async fn ask_for(
        &self,
        to: &Place,
        service: Service,
        request: &'static str,
    ) -> Result<String, CallError> {
        let answer = self.links.call(to, service, request.into(), PATIENCE).await?;
        Ok(String::from_utf8(answer.into()).expect("text"))
    }
}
