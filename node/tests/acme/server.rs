//! An ACME server (RFC 8555) of the tests' own, for one node. It checks what it is sent as a real one
//! does (signatures, nonces, URLs, accounts), proves names by connecting to the node, and signs with an
//! authority of its own. What it leaves out: revocation, key change, and everything but TLS-ALPN-01.

mod answers;
mod authority;
mod books;
mod jws;
mod resources;
mod validation;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use answers::{Body, Good, Problem};
use authority::Authority;
pub(crate) use authority::Lifetime;
use books::Books;
use jws::Key;

/// The name that the server's own certificate is for.
const HOST: &str = "localhost";

/// A running server; it ends with this.
pub(crate) struct Server {
    site: Arc<Site>,
    pub(crate) directory: String,
    /// Trusts the server and what it signs.
    pub(crate) ca: PathBuf,
    pub(crate) roots: rustls::RootCertStore,
    node: watch::Sender<Option<u16>>,
    _folder: tempfile::TempDir,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Starts on a free port. Names are proven once it knows where the node is, by way of a balancer
    /// (`proxied`) or not.
    pub(crate) async fn start(proxied: bool) -> Self {
        let authority = Authority::new();
        let folder = tempfile::tempdir().expect("a folder");
        let ca = folder.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).expect("written");
        let tls = TlsAcceptor::from(Arc::new(authority.identity(HOST)));
        let roots = authority.roots();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let listener = listener.expect("a free port");
        let base = format!("https://{HOST}:{}", listener.local_addr().expect("bound").port());
        let (node, is_at) = watch::channel(None);
        let directory = format!("{base}/directory");
        let site = Arc::new(Site { base, authority, is_at, proxied, books: Mutex::default() });
        let mut tasks = JoinSet::new();
        let serving = site.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (site, tls) = (serving.clone(), tls.clone());
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(|request| site.clone().answer(request));
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { site, directory, ca, roots, node, _folder: folder, _tasks: tasks }
    }

    /// Says where the node listens: what port 443 of its names leads to.
    pub(crate) fn reaches(&self, node: u16) {
        self.node.send_replace(Some(node));
    }

    /// What certificates are good for from now on, one after the other; then [`Lifetime::LONG`].
    pub(crate) fn gives(&self, lifetimes: &[Lifetime]) {
        self.site.books().lifetimes = lifetimes.iter().rev().copied().collect();
    }

    /// Orders are refused from now on.
    pub(crate) fn refuses_orders(&self, status: u16, kind: &str, detail: &str) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.site.books().refusal = Some(Problem::new(status, kind, detail));
    }

    /// Orders are taken again.
    pub(crate) fn takes_orders(&self) {
        self.site.books().refusal = None;
    }

    /// Proofs are of another account from now on.
    pub(crate) fn expects_another_account(&self) {
        self.site.books().expects_another_account = true;
    }

    pub(crate) fn accounts(&self) -> usize {
        self.site.books().accounts.len()
    }

    pub(crate) fn orders(&self) -> usize {
        self.site.books().orders.len()
    }
}

struct Site {
    base: String,
    authority: Authority,
    is_at: watch::Receiver<Option<u16>>,
    proxied: bool,
    books: Mutex<Books>,
}

/// A request whose signature, nonce and URL are good.
struct Signed {
    /// `None` where the key speaks for itself.
    account: Option<usize>,
    key: Key,
    payload: Option<Value>,
}

impl Signed {
    fn account(&self) -> Result<usize, Problem> {
        self.account.ok_or_else(|| Problem::malformed("it needs kid"))
    }
}

impl Site {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nothing panics with it")
    }

    fn url(&self, path: &str, number: usize) -> String {
        format!("{}/{path}/{number}", self.base)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let answer = self.clone().route(request).await;
        let mut response = Response::new(Full::default());
        let (status, location, kind, body) = match answer {
            Ok(Good { status, location, body }) => match body {
                Body::Json(value) => (status, location, "application/json", value.to_string()),
                Body::Chain(pem) => (status, location, "application/pem-certificate-chain", pem),
                Body::Nothing => (status, location, "text/plain", String::new()),
            },
            Err(problem) => {
                let text = problem.document().to_string();
                (problem.status, None, "application/problem+json", text)
            }
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let nonce = self.books().new_nonce();
        headers.insert("replay-nonce", nonce.parse().expect("a header"));
        if let Some(location) = location {
            headers.insert(header::LOCATION, location.parse().expect("a header"));
        }
        *response.body_mut() = Full::from(body);
        Ok(response)
    }

    async fn route(self: Arc<Self>, request: Request<Incoming>) -> Result<Good, Problem> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().trim_matches('/').to_owned();
        let mut steps = path.split('/');
        let (what, number) = (steps.next().unwrap_or_default(), steps.next());
        let (number, then) = (number.and_then(|text| text.parse().ok()), steps.next());
        match (&parts.method, what) {
            (&Method::GET, "directory") => {
                let url = |name: &str| format!("{}/{name}", self.base);
                return Ok(Good::of(json!({
                    "newNonce": url("nonce"), "newAccount": url("account"), "newOrder": url("order"),
                    "meta": { "termsOfService": url("terms") },
                })));
            }
            (&Method::GET | &Method::HEAD, "nonce") => {
                return Ok(Good { status: StatusCode::OK, location: None, body: Body::Nothing });
            }
            (&Method::POST, _) => {}
            _ => return Err(Problem::missing()),
        }
        if parts.headers.get(header::CONTENT_TYPE).is_none_or(|it| it != "application/jose+json") {
            return Err(Problem::malformed("its type must be application/jose+json"));
        }
        let body = body.collect().await.map_err(|error| Problem::malformed(error.to_string()))?;
        let signed = self.check(&format!("{}/{path}", self.base), &body.to_bytes())?;
        match (what, number, then) {
            ("account", None, None) => self.new_account(&signed),
            ("order", None, None) => self.new_order(&signed),
            ("order", Some(number), None) => self.order(&signed, number),
            ("order", Some(number), Some("finalize")) => self.finalize(&signed, number),
            ("authorization", Some(number), None) => self.authorization(&signed, number),
            ("challenge", Some(number), None) => self.challenge(&signed, number),
            ("certificate", Some(number), None) => self.certificate(&signed, number),
            _ => Err(Problem::missing()),
        }
    }

    /// RFC 8555, sections 6.2 to 6.5.
    fn check(&self, url: &str, body: &[u8]) -> Result<Signed, Problem> {
        let request = jws::Request::read(body).map_err(Problem::malformed)?;
        let mut books = self.books();
        if !books.nonces.remove(&request.protected.nonce) {
            let status = StatusCode::BAD_REQUEST;
            return Err(Problem::new(status, "badNonce", "it was used, or never given"));
        }
        if request.protected.url != url {
            return Err(Problem::unauthorized(format!("{} is not {url}", request.protected.url)));
        }
        let (account, key) = match (&request.protected.kid, &request.protected.jwk) {
            (None, Some(key)) => (None, key.clone()),
            (Some(kid), _) => {
                let mut accounts = books.accounts.iter().enumerate();
                let known = accounts.find(|(number, _)| *kid == self.url("account", *number));
                let (number, key) = known.ok_or_else(|| {
                    Problem::new(StatusCode::BAD_REQUEST, "accountDoesNotExist", kid.as_str())
                })?;
                (Some(number), key.clone())
            }
            (None, None) => return Err(Problem::malformed("nobody signed it")),
        };
        if !request.is_signed_by(&key) {
            return Err(Problem::malformed("its signature is wrong"));
        }
        Ok(Signed { account, key, payload: request.payload })
    }
}
