//! A node as a process of its own, and connections to it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::server::Server;

const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);
/// What a balancer puts before each connection, where the node is told so: a header of the PROXY
/// protocol, version 2, of a client at 203.0.113.5.
const PREAMBLE: [u8; 28] =
    *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\x0a\0\0\x01\x0f\xa0\x01\xbb";

/// Waits for what will be so.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            match look().await {
                Some(seen) => return seen,
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.expect("it comes to be")
}

/// A connection to a node, by way of a balancer or not.
pub(crate) async fn knock(port: u16, proxied: bool) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).await?;
    if proxied {
        stream.write_all(&PREAMBLE).await?;
    }
    Ok(stream)
}

/// A running node.
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) proxied: bool,
    folder: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Node {
    /// Starts a node that orders certificates for these names, and waits until it listens.
    pub(crate) async fn start(folder: &Path, server: &Server, names: &[&str]) -> Self {
        Self::begin(folder, server, names, false).await
    }

    /// The same behind a balancer that passes bytes.
    pub(crate) async fn start_proxied(folder: &Path, server: &Server, names: &[&str]) -> Self {
        Self::begin(folder, server, names, true).await
    }

    async fn begin(folder: &Path, server: &Server, names: &[&str], proxied: bool) -> Self {
        let balancers = if proxied { "\"127.0.0.1\"" } else { "" };
        let lines = format!(
            "data_dir = {:?}\n[http]\nlisten = \"127.0.0.1:0\"\nproxy_protocol_from = [{balancers}]\n\
             [acme]\ndomains = {names:?}\nterms_agreed = true\ncontact = [\"admin@example.com\"]\n\
             directory = {:?}\nca = {:?}\n[auth]\nargon2_memory_kib = 8192\nargon2_iterations = 1\n",
            folder.join("data"),
            server.directory,
            server.ca
        );
        std::fs::write(folder.join("node.toml"), lines).expect("written");
        let log = folder.join("log");
        let file = std::fs::File::create(&log).expect("made");
        let mut child = command(folder, "serve")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).await.expect("its standard output");
        let said = std::fs::read_to_string(&log).expect("there");
        let address = line.trim().strip_prefix("listening on https://");
        let address = address.unwrap_or_else(|| panic!("{line:?}\n{said}"));
        let port = address.parse::<SocketAddr>().expect("an address").port();
        Self { port, proxied, folder: folder.to_owned(), log, child }
    }

    /// Waits until its log has this.
    pub(crate) async fn says(&self, text: &str) {
        let look = async || std::fs::read_to_string(&self.log).ok()?.contains(text).then_some(());
        until(look).await;
    }

    /// What `parlance health` says of it.
    pub(crate) async fn health(&self) -> Output {
        command(&self.folder, "health").output().await.expect("the binary runs")
    }

    /// TLS for this name, offering these protocols.
    pub(crate) async fn connect(
        &self,
        roots: &RootCertStore,
        name: &str,
        protocols: &[&str],
    ) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = knock(self.port, self.proxied).await?;
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// Waits until it shows a certificate for this name that is not this one.
    pub(crate) async fn shows_another(
        &self,
        roots: &RootCertStore,
        name: &str,
        than: Option<&CertificateDer<'static>>,
    ) -> CertificateDer<'static> {
        until(async || {
            let stream = self.connect(roots, name, &["http/1.1"]).await.ok()?;
            Some(shown(&stream)).filter(|shown| Some(shown) != than)
        })
        .await
    }

    /// Ends it in order; its whole log.
    pub(crate) async fn end(mut self) -> String {
        let id = self.child.id().expect("it runs");
        let id = Pid::from_raw(id.try_into().expect("an id")).expect("an id");
        kill_process(id, Signal::TERM).expect("it is there");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("in time");
        let said = std::fs::read_to_string(&self.log).expect("there");
        assert!(ended.expect("its status").success(), "{said}");
        said
    }
}

/// The certificate that was shown.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().expect("a chain");
    chain.first().expect("one").clone()
}

/// HTTP/1.1 over a connection.
pub(crate) async fn speak(stream: TlsStream<TcpStream>) -> SendRequest<Empty<Bytes>> {
    let (requests, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    requests
}

/// The body of a good answer.
pub(crate) async fn get(requests: &mut SendRequest<Empty<Bytes>>, path: &str) -> String {
    let request = Request::get(path).header("host", "chat.example.com").body(Empty::new());
    let answer = requests.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

/// The binary, with the settings in the folder and none of whoever runs the tests.
fn command(folder: &Path, verb: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLANCE_") {
            command.env_remove(name);
        }
    }
    command.arg(verb).arg("--config").arg(folder.join("node.toml"));
    command
}
