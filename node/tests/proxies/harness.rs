//! A node, a proxy before it, and clients that come from addresses of their own.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::process::{Child, Command};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// The name that the examples have, and the tests' certificate.
pub(crate) const HOST: &str = "chat.example.com";
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("done in time")
}

/// A certificate for [`HOST`].
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) trust: Arc<rustls::ClientConfig>,
    _folder: TempDir,
}

impl Certificate {
    pub(crate) fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(vec![HOST.to_owned()]).expect("made");
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        fs::write(&certificate, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let trust = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { certificate, key, trust: Arc::new(trust), _folder: folder }
    }
}

/// A node as a process of its own, with these lines in its configuration.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    _child: Child,
}

impl Node {
    pub(crate) async fn start(http: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = format!(
            "[http]\nlisten = \"127.0.0.1:0\"\n{http}\n\
             [auth]\nregister_per_minute = 0\nargon2_memory_kib = 8192\nargon2_iterations = 1\n"
        );
        let file = folder.path().join("node.toml");
        fs::write(&file, lines).expect("written");
        let log = fs::File::create(folder.path().join("log")).expect("made");
        let mut command = Command::new(env!("CARGO_BIN_EXE_parlance"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PARLANCE_") {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--data-dir"]).arg(folder.path().join("data"));
        command.arg("--config").arg(file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        let mut child = command.spawn().expect("the binary starts");
        let stdout = child.stdout.take().expect("a pipe");
        let line = within(BufReader::new(stdout).lines().next_line()).await.expect("its words");
        let line = line.unwrap_or_else(|| panic!("{}", read(&folder.path().join("log"))));
        let address = line.rsplit_once("://").and_then(|(_, address)| address.trim().parse().ok());
        Self { address: address.expect("where it listens"), folder, _child: child }
    }

    /// What it said about itself.
    pub(crate) fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// An address of this machine that nothing else uses: a host of this process, and a free port.
pub(crate) async fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let host = IpAddr::from([127, 77, high, low.clamp(1, 254)]);
    let listener = TcpListener::bind(SocketAddr::new(host, 0)).await.expect("a free port");
    listener.local_addr().expect("its address")
}

/// A proxy as a process of its own.
pub(crate) struct Proxy {
    pub(crate) folder: TempDir,
    child: Option<Child>,
}

impl Proxy {
    pub(crate) fn prepare() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), child: None }
    }

    /// Writes an example with some of its text replaced. Each must be there exactly so often.
    pub(crate) fn example(&self, name: &str, replaced: &[(&str, usize, &str)]) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/proxy").join(name);
        let mut text = fs::read_to_string(&source).expect("the example is there");
        for (old, times, new) in replaced {
            assert_eq!(text.matches(old).count(), *times, "{name}: {old}");
            text = text.replace(old, new);
        }
        self.write(name, &text)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("written");
        file
    }

    /// Starts the program, which Debian keeps outside the PATH of an ordinary account.
    pub(crate) fn run(
        &mut self,
        program: &str,
        arguments: &[&str],
        environment: &[(&str, String)],
    ) {
        let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
        let found = places.map(|place| Path::new(place).join(program)).into_iter();
        let program = found.into_iter().find(|file| file.exists()).unwrap_or_else(|| {
            panic!("{program} is not installed: run .ci/setup test");
        });
        let log = fs::File::create(self.folder.path().join("log")).expect("made");
        let more = log.try_clone().expect("a file");
        let mut command = Command::new(program);
        command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(more).stderr(log).kill_on_drop(true);
        self.child = Some(command.spawn().expect("the proxy starts"));
    }

    pub(crate) fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }

    /// Waits until the node is reached through the proxy.
    pub(crate) async fn ready(&mut self, door: &Door) {
        let reached = async {
            loop {
                let ended = self.child.as_mut().and_then(|child| child.try_wait().ok()?);
                assert!(ended.is_none(), "{ended:?}: {}", self.log());
                match door.try_ask("GET", "/api/health", "", &[], None).await {
                    Ok(reply) if reply.status == 200 => return,
                    _ => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        if tokio::time::timeout(PATIENCE, reached).await.is_err() {
            panic!("the node is not reached: {}", self.log());
        }
    }
}

/// A way in, as clients use it.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) trust: Option<Arc<rustls::ClientConfig>>,
    /// Where its clients come from.
    pub(crate) from: IpAddr,
    pub(crate) http2: bool,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{:?} {body}", self.headers);
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

impl Door {
    pub(crate) fn new(address: SocketAddr, trust: Option<Arc<rustls::ClientConfig>>) -> Self {
        let from = IpAddr::from([127, 9, 9, 9]);
        Self { address, trust, from, http2: false }
    }

    async fn connect(&self, alpn: &str) -> std::io::Result<Box<dyn Stream>> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        let stream = socket.connect(self.address).await?;
        let Some(trust) = &self.trust else { return Ok(Box::new(stream)) };
        let mut trust = rustls::ClientConfig::clone(trust);
        trust.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(trust));
        let name = ServerName::try_from(HOST).expect("a name");
        Ok(Box::new(connector.connect(name, stream).await?))
    }

    pub(crate) async fn try_ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Reply, Box<dyn std::error::Error>> {
        let mut request = Request::builder().method(method);
        if !headers.iter().any(|(name, _)| *name == "user-agent") {
            request = request.header("user-agent", "tests");
        }
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = if self.http2 {
            request.uri(format!("https://{HOST}{path}"))
        } else {
            request.uri(path).header("host", HOST)
        };
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(bytes))?;
        let io = TokioIo::new(self.connect(if self.http2 { "h2" } else { "http/1.1" }).await?);
        let reply = if self.http2 {
            let executor = TokioExecutor::new();
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(executor, io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
            tokio::spawn(connection);
            sender.send_request(request).await?
        };
        let (parts, body) = reply.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Reply {
        let asked = self.try_ask(method, path, token, &[], body.as_ref());
        within(asked).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) async fn socket(&self, token: &str) -> WebSocketStream<Box<dyn Stream>> {
        let mut request = format!("ws://{HOST}/ws").into_client_request().expect("a request");
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let stream = within(self.connect("http/1.1")).await.expect("connected");
        within(tokio_tungstenite::client_async(request, stream)).await.expect("upgraded").0
    }
}
