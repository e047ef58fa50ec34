//! A server for one test, and small clients for it. Everything has a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use parlance_actors::chat::{self, Chat};
use parlance_actors::ports::accounts::LockoutRule;
use parlance_actors::ports::peers::Alone;
use parlance_actors::testkit::MemoryAccounts;
use parlance_actors::testkit::cluster::MemoryCluster;
use parlance_actors::testkit::directory::MemoryDirectory;
use parlance_actors::testkit::history::MemoryHistory;
use parlance_actors::vocab::{NodeId, UserId};
use parlance_gateway::config::{PasswordCost, Rates};
use parlance_gateway::{ClusterSecret, Gateway, GatewayConfig, JsonFrames, Parts};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const PASSWORD: &str = "Sommer2026";

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Of the router.
    pub(crate) paths: Vec<&'static str>,
    /// Where plain HTTP is sent on from, if anywhere.
    pub(crate) redirect: Option<SocketAddr>,
    pub(crate) chat: Arc<Chat>,
    pub(crate) accounts: Arc<MemoryAccounts>,
    pub(crate) history: Arc<MemoryHistory>,
    pub(crate) directory: Arc<MemoryDirectory>,
    pub(crate) cluster: Arc<MemoryCluster>,
    pub(crate) secret: ClusterSecret,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

/// Cheap passwords and no limits, so that a test meets only what it is about.
pub(crate) fn config() -> GatewayConfig {
    let passwords =
        PasswordCost { memory_kib: 8, passes: 1, lanes: 1, at_once: 2, waiting_max: 64 };
    let rates = Rates {
        register_per_minute: 0,
        login_per_minute: 0,
        http_per_second: 0,
        http_burst: 1,
        upgrades_per_second: 0,
        upgrades_burst: 1,
    };
    let lockout = LockoutRule {
        failures: 1_000,
        window: Duration::from_secs(60),
        rest: Duration::from_secs(60),
    };
    let mut config = GatewayConfig { passwords, rates, lockout, ..GatewayConfig::default() };
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.lifetimes.sign_in_cache = Duration::ZERO;
    // Whatever was there when the gateway was built: a test brings its own.
    config.web = parlance_gateway::Web::default();
    config
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: GatewayConfig) -> Self {
        let accounts = Arc::new(MemoryAccounts::default());
        Self::over(config, accounts, ClusterSecret::generate()).await
    }

    pub(crate) async fn over(
        config: GatewayConfig,
        accounts: Arc<MemoryAccounts>,
        secret: ClusterSecret,
    ) -> Self {
        let history = MemoryHistory::new();
        let directory = Arc::new(MemoryDirectory::default());
        let chat = Chat::start(chat::Parts {
            history: history.clone(),
            members: history.clone(),
            accounts: accounts.clone(),
            directory: directory.clone(),
            frames: Arc::new(JsonFrames),
            peers: Arc::new(Alone::new(NodeId(1))),
            traces: None,
        })
        .await
        .expect("the domain starts");
        let cluster = Arc::new(MemoryCluster::new(directory.clone()));
        let parts = Parts {
            chat: chat.clone(),
            accounts: accounts.clone(),
            directory: directory.clone(),
            cluster: cluster.clone(),
            history: history.clone(),
            secret: secret.clone(),
            metrics: None,
        };
        let gateway = Gateway::bind(config, parts).await.expect("bound");
        let (address, redirect) = (gateway.address(), gateway.redirect_address());
        let paths = gateway.paths().to_vec();
        let stop = CancellationToken::new();
        let run = tokio::spawn(gateway.run(stop.clone()));
        Self {
            address,
            paths,
            redirect,
            chat,
            accounts,
            history,
            directory,
            cluster,
            secret,
            stop,
            run,
        }
    }

    /// Begins to stop; the gateway ends when what is in flight is done.
    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn stopped(self) {
        self.stop.cancel();
        within(self.run).await.expect("the gateway ends well");
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    /// One request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        exchange(self.connect().await, request).await
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Reply {
        self.send(request(method, path, token, body)).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.call("GET", path, token, None).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: Value) -> Reply {
        self.call("POST", path, token, Some(body)).await
    }

    pub(crate) async fn register(&self, username: &str) -> String {
        let body = json!({"username": username, "password": PASSWORD});
        let reply = self.post("/api/auth/register", "", body).await.expect(201);
        let id = text(&reply["id"]);
        self.history.add_user(UserId(id.parse().expect("an id")), username);
        id
    }

    pub(crate) async fn login(&self, username: &str) -> Value {
        let body = json!({"username": username, "password": PASSWORD});
        self.post("/api/auth/login", "", body).await.expect(200)
    }

    /// Registers and signs in; gives the access token.
    pub(crate) async fn user(&self, username: &str) -> String {
        self.register(username).await;
        text(&self.login(username).await["access_token"])
    }

    pub(crate) async fn room(&self, token: &str, kind: &str) -> String {
        let name = uuid::Uuid::new_v4().to_string();
        let reply = self.post("/api/rooms", token, json!({"name": name, "kind": kind})).await;
        text(&reply.expect(201)["id"])
    }

    pub(crate) async fn ws(&self, path: &str, token: &str) -> Socket {
        self.try_ws(path, token, None).await.expect("upgraded")
    }

    /// The socket, or the status that refused it.
    pub(crate) async fn try_ws(
        &self,
        path: &str,
        token: &str,
        subprotocol: Option<&'static str>,
    ) -> Result<Socket, u16> {
        let subprotocol = subprotocol.map(|name| ("sec-websocket-protocol", name));
        self.try_ws_with(path, token, subprotocol.as_slice()).await
    }

    /// The same with more headers.
    pub(crate) async fn try_ws_with(
        &self,
        path: &str,
        token: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, u16> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().expect("a request");
        if !token.is_empty() {
            let value = format!("Bearer {token}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header"));
        }
        let upgrade = tokio_tungstenite::client_async(request, self.connect().await);
        match within(upgrade).await {
            Ok((stream, _)) => Ok(Socket { stream }),
            Err(tokio_tungstenite::tungstenite::Error::Http(reply)) => Err(reply.status().as_u16()),
            Err(error) => panic!("no upgrade: {error}"),
        }
    }

    /// A socket with its session.
    pub(crate) async fn session(&self, token: &str) -> Socket {
        let mut socket = self.ws("/ws", token).await;
        socket.say(json!({"type": "hello", "id": 1})).await;
        let welcome = socket.hear().await;
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        socket
    }
}

pub(crate) fn request(
    method: &str,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    request.body(Full::new(bytes)).expect("a request")
}

/// The same request with more headers.
pub(crate) fn with(
    mut request: Request<Full<Bytes>>,
    headers: &[(&'static str, &str)],
) -> Request<Full<Bytes>> {
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a header"));
    }
    request
}

pub(crate) async fn exchange<I>(io: I, request: Request<Full<Bytes>>) -> Reply
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    within(async {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.expect("connected");
        let driving = tokio::spawn(connection);
        let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a whole answer").to_bytes();
        driving.abort();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    })
    .await
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The refusal's code, with its status.
    pub(crate) fn code(&self) -> (u16, String) {
        (self.status, text(&self.json()["code"]))
    }
}

pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<TcpStream>,
}

impl Socket {
    pub(crate) async fn say(&mut self, frame: Value) {
        self.send(Message::text(frame.to_string())).await;
    }

    pub(crate) async fn send(&mut self, message: Message) {
        within(self.stream.send(message)).await.expect("sent");
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> Value {
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Message::Text(text))) => {
                    return serde_json::from_str(&text).expect("frames are JSON");
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no frame but {other:?}"),
            }
        }
    }

    /// The next frame of a type; others before it are left aside.
    pub(crate) async fn hear_type(&mut self, name: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["type"] == name {
                return frame;
            }
        }
    }

    /// The frames until the end, and the close code.
    pub(crate) async fn closed(&mut self) -> (Vec<Value>, u16) {
        let mut frames = Vec::new();
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Message::Text(text))) => {
                    frames.push(serde_json::from_str(&text).expect("frames are JSON"));
                }
                Some(Ok(Message::Close(Some(close)))) => return (frames, close.code.into()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("no close frame but {other:?} after {frames:?}"),
            }
        }
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("done in time")
}

/// Asks until it is so.
pub(crate) async fn until(mut ask: impl AsyncFnMut() -> bool) {
    within(async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
