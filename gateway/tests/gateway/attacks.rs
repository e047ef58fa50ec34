//! Attacks on connections. While each runs, somebody else's sends are acked.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::certificates::secured;
use crate::harness::{Server, config, until, within};

pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Somebody who chats while others attack, from an address of their own.
pub(crate) struct Bystander {
    stream: WebSocketStream<Box<dyn Stream>>,
    room: String,
}

impl Bystander {
    pub(crate) async fn plain(server: &Server) -> Self {
        let access = server.user("bystander").await;
        Self::over(Box::new(connect_from("127.0.0.77", server.address).await), &access).await
    }

    pub(crate) async fn over_tls(server: &Server, roots: &RootCertStore) -> Self {
        let access = sign_in_over_tls(server, roots).await;
        let stream = connect_from("127.0.0.77", server.address).await;
        let stream = secured(stream, roots, "http/1.1").await.expect("TLS");
        Self::over(Box::new(stream), &access).await
    }

    async fn over(stream: Box<dyn Stream>, access: &str) -> Self {
        let mut request = "ws://localhost/ws".into_client_request().expect("a request");
        let bearer = format!("Bearer {access}").parse().expect("a header");
        request.headers_mut().insert("authorization", bearer);
        let upgrade = tokio_tungstenite::client_async(request, stream);
        let (stream, _) = within(upgrade).await.expect("upgraded");
        let tenant = parlance_actors::vocab::TenantId::MAIN;
        let room = parlance_actors::vocab::RoomId::lobby(tenant).to_string();
        let mut bystander = Self { stream, room };
        bystander.ask(json!({"type": "hello", "id": 1}), "welcome").await;
        bystander
    }

    async fn ask(&mut self, frame: Value, kind: &str) {
        within(self.stream.send(Message::text(frame.to_string()))).await.expect("sent");
        loop {
            if let Message::Text(text) =
                within(self.stream.next()).await.expect("open").expect("whole")
            {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == kind && frame["id"] != Value::Null {
                    return;
                }
                assert_ne!(frame["type"], "error", "{frame}");
            }
        }
    }

    /// Sends, one after the other, until the attack is over; each is acked. Returns how many.
    pub(crate) async fn during(mut self, attack: impl Future<Output = ()>) -> usize {
        let mut acked = 0;
        let chatting = async {
            loop {
                let key = uuid::Uuid::new_v4();
                let send = json!({
                    "type": "send", "id": 2, "room": self.room, "key": key, "body": "all is well"
                });
                self.ask(send, "ok").await;
                acked += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = chatting => unreachable!("it never ends"),
            () = attack => {}
        }
        acked
    }
}

pub(crate) async fn sign_in_over_tls(server: &Server, roots: &RootCertStore) -> String {
    let account = json!({"username": "bystander", "password": crate::harness::PASSWORD});
    let post = async |path: &str| {
        let stream = secured(server.connect().await, roots, "http/1.1").await.expect("TLS");
        let asked = crate::harness::request("POST", path, "", Some(account.clone()));
        crate::harness::exchange(stream, asked).await
    };
    let id = crate::harness::text(&post("/api/auth/register").await.expect(201)["id"]);
    let user = parlance_actors::vocab::UserId(id.parse().expect("an id"));
    server.history.add_user(user, "bystander");
    crate::harness::text(&post("/api/auth/login").await.expect(200)["access_token"])
}

/// A connection from another of this machine's addresses.
async fn connect_from(host: &str, to: SocketAddr) -> TcpStream {
    let host: IpAddr = host.parse().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::new(host, 0)).expect("the loopback has many");
    within(socket.connect(to)).await.expect("connected")
}

/// Writes and reads until the server ends the connection.
async fn until_ended<S: AsyncRead + AsyncWrite>(stream: S, mut more: impl FnMut() -> Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let dripping = async {
        while write.write_all(&more()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut heard = Vec::new();
    let reading = async {
        let _ = read.read_to_end(&mut heard).await;
    };
    within(async {
        tokio::select! {
            () = dripping => {}
            () = reading => {}
        }
    })
    .await;
}

#[tokio::test]
async fn hundreds_that_drip_headers_and_bodies() {
    let mut config = config();
    config.deadlines.header = Duration::from_millis(500);
    config.deadlines.body = Duration::from_millis(500);
    let server = Server::with(config).await;
    let bystander = Bystander::plain(&server).await;
    let attack = async {
        let mut slow = Vec::new();
        for number in 0..200 {
            let head = match number % 2 {
                0 => "GET / HTTP/1.1\r\n",
                _ => {
                    "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 90000\r\n\r\n"
                }
            };
            let more = if number % 2 == 0 { "x-a: b\r\n" } else { " " };
            let mut stream = server.connect().await;
            stream.write_all(head.as_bytes()).await.expect("sent");
            slow.push(until_ended(stream, || more.into()));
        }
        futures_util::future::join_all(slow).await;
    };
    assert!(bystander.during(attack).await > 0);
}

#[tokio::test]
async fn sockets_that_drip_a_frame() {
    let mut config = config();
    config.deadlines.idle = Duration::from_secs(1);
    let server = Server::with(config).await;
    let access = server.user("mallory").await;
    let bystander = Bystander::plain(&server).await;
    let attack = async {
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut stream = server.session(&access).await.stream.into_inner();
            // A text frame of 60,000 bytes, masked with zeros, of which a byte comes now and then.
            let head = [0x81, 0xfe, 0xea, 0x60, 0, 0, 0, 0];
            stream.write_all(&head).await.expect("sent");
            slow.push(until_ended(stream, || b" ".to_vec()));
        }
        futures_util::future::join_all(slow).await;
    };
    assert!(bystander.during(attack).await > 0);
    until(async || server.chat.sessions() == 0).await;
}

/// Connections that this process can open beside what the server holds, of those that are wanted: both ends
/// are files of this process.
fn connections_that_fit(wanted: usize, held: usize) -> usize {
    const BESIDE: usize = 500;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("up to the hard limit it may be raised");
    let files = limit.maximum.map_or(usize::MAX, |files| usize::try_from(files).expect("64 bits"));
    let fit = files.saturating_sub(held + BESIDE).min(wanted);
    if fit < wanted {
        println!("only {fit} of {wanted} connections: this process may open {files} files");
    }
    fit
}

#[tokio::test]
async fn ten_thousand_idle_connections_from_one_address() {
    let mut config = config();
    config.deadlines.header = Duration::from_secs(60);
    let bound = config.connections_per_address_max;
    let server = Server::with(config).await;
    let bystander = Bystander::plain(&server).await;
    let count = connections_that_fit(10_000, bound);
    assert!(count > 2 * bound, "{count} connections show nothing: raise the limit of open files");
    let attack = async {
        // The attacker keeps every connection open, whatever the server does with it.
        let connecting =
            futures_util::stream::iter(0..count).map(|_| TcpStream::connect(server.address));
        let connected: Vec<_> = connecting.buffered(100).collect().await;
        let heard = connected.into_iter().map(|stream| async move {
            let mut answer = Vec::new();
            // It may be reset before it is known to be open.
            let Ok(mut stream) = stream else { return (answer, None) };
            let _ = stream.read_to_end(&mut answer).await;
            (answer, Some(stream))
        });
        let mut heard: FuturesUnordered<_> = heard.collect();
        let mut refused = Vec::new();
        while refused.len() < count - bound {
            let (answer, stream) = within(heard.next()).await.expect("the others are held");
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 503 "), "{answer:?}");
            refused.push(stream);
        }
        assert!(heard.next().now_or_never().is_none(), "as many are held as one address may have");
        // Somebody else still comes in.
        let mut other = connect_from("127.0.0.78", server.address).await;
        other.write_all(b"GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
        let mut start = [0; 12];
        within(other.read_exact(&mut start)).await.expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200");
    };
    assert!(bystander.during(attack).await > 0);
}

#[tokio::test]
async fn large_and_deep_json() {
    let server = Server::start().await;
    let access = server.user("mallory").await;
    let bystander = Bystander::plain(&server).await;
    let deep = |levels: usize| format!("{}{}", "{\"a\":".repeat(levels), "[".repeat(levels));
    let attack = async {
        for _ in 0..20 {
            let large = "x".repeat(200_000);
            let body = json!({"username": "a", "password": large});
            let reply = server.post("/api/auth/login", "", body).await;
            assert_eq!(reply.code(), (413, "too_large".into()));
            let mut asked = crate::harness::request("POST", "/api/auth/login", "", Some(json!({})));
            *asked.body_mut() = http_body_util::Full::new(deep(15_000).into());
            let reply = server.send(asked).await;
            assert_eq!(reply.code(), (400, "bad_request".into()));
            let mut socket = server.session(&access).await;
            socket.send(Message::text(deep(15_000))).await;
            assert_eq!(socket.hear_type("error").await["code"], "bad_request");
            let nested = format!("{{\"type\":\"ping\",\"id\":{}", "[".repeat(100_000));
            socket.send(Message::text(nested)).await;
            assert_eq!(socket.hear_type("error").await["code"], "bad_request");
        }
    };
    assert!(bystander.during(attack).await > 0);
}

#[tokio::test]
async fn who_writes_all_of_a_large_body_before_reading_gets_the_answer() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
        content-length: 500000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    within(stream.write_all(&[b' '; 500_000])).await.expect("taken, and dropped");
    let mut start = [0; 12];
    within(stream.read_exact(&mut start)).await.expect("an answer");
    assert_eq!(&start, b"HTTP/1.1 413");
}

/// A client's frame, masked with zeros (RFC 6455, section 5.2).
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("short");
    assert!(length < 126);
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn floods_of_fragments() {
    let mut config = config();
    config.deadlines.idle = Duration::from_secs(1);
    let server = Server::with(config).await;
    let access = server.user("mallory").await;
    let bystander = Bystander::plain(&server).await;
    let attack = async {
        // With a byte each they become too large; empty ones say nothing for too long.
        for payload in [&b"x"[..], b""] {
            let mut stream = server.session(&access).await.stream.into_inner();
            stream.write_all(&frame(0x01, b"{")).await.expect("sent");
            let more = frame(0x00, payload).repeat(500);
            until_ended(stream, || more.clone()).await;
        }
    };
    assert!(bystander.during(attack).await > 0);
    until(async || server.chat.sessions() == 0).await;
}

#[tokio::test]
async fn floods_of_pings_and_pongs() {
    let server = Server::start().await;
    let access = server.user("mallory").await;
    let bystander = Bystander::plain(&server).await;
    let attack = async {
        let mut socket = server.session(&access).await;
        let stream = socket.stream.get_mut();
        for first in [0x89, 0x8a] {
            let flood = frame(first, &[b'x'; 125]).repeat(500);
            for _ in 0..100 {
                // Nothing is read meanwhile: the server may stop reading as well.
                let sent = tokio::time::timeout(Duration::from_secs(1), stream.write_all(&flood));
                if sent.await.is_err() {
                    return;
                }
            }
        }
        socket.say(json!({"type": "ping", "id": 7})).await;
        assert_eq!(socket.hear_type("ok").await["id"], 7, "it is still a client");
    };
    assert!(bystander.during(attack).await > 0);
}

/// What no client asks for: paths out of their folder, headers within headers, a socket for another page, a ticket
/// that was used.
#[tokio::test]
async fn requests_that_try_doors() {
    let server = Server::start().await;
    let bystander = Bystander::plain(&server).await;
    let access = server.user("mallory").await;
    let cookie = crate::browser::sign_in(&server, "mallory").await.line();
    let attack = async {
        for round in 0..20 {
            for path in [
                "/docs/../../../../etc/passwd",
                "/docs/..%2f..%2f..%2fetc%2fpasswd",
                "/assets/%2e%2e/%2e%2e/etc/passwd",
                "//etc/passwd",
            ] {
                let answer = whole_answer(&server, &format!("GET {path} HTTP/1.1\r\n")).await;
                assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
                assert!(!answer.contains("root:"), "{path}: {answer}");
            }
            let split = format!("GET /api/me?x=%0d%0aset-cookie:%20a={round} HTTP/1.1\r\n");
            let answer = whole_answer(&server, &split).await.to_ascii_lowercase();
            assert!(answer.starts_with("http/1.1 400 ") || answer.starts_with("http/1.1 401 "));
            assert!(!answer.contains("\r\nset-cookie:"), "{answer}");
            let from_elsewhere = [("cookie", &*cookie), ("origin", "https://elsewhere.example")];
            let refused = server.try_ws_with("/ws", "", &from_elsewhere).await;
            assert_eq!(refused.err(), Some(403));
            let ticket =
                server.call("POST", "/api/auth/ws-ticket", &access, None).await.expect(201);
            let path = format!("/ws?ticket={}", crate::harness::text(&ticket["ticket"]));
            server.try_ws(&path, "", None).await.expect("once");
            assert_eq!(server.try_ws(&path, "", None).await.err(), Some(401), "and no second time");
        }
    };
    assert!(bystander.during(attack).await > 0);
}

/// Sends a request as it is written, and gives what comes until the end.
async fn whole_answer(server: &Server, start: &str) -> String {
    let mut stream = server.connect().await;
    let request = format!("{start}host: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    within(stream.read_to_end(&mut answer)).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn compressed_bombs_are_refused() {
    let server = Server::start().await;
    let access = server.user("mallory").await;
    for encoding in ["gzip", "br", "identity, gzip", "deflate"] {
        let account = json!({"username": "a", "password": "b"});
        let mut asked = crate::harness::request("POST", "/api/auth/login", "", Some(account));
        asked.headers_mut().insert("content-encoding", encoding.parse().expect("a header"));
        let reply = server.send(asked).await;
        assert_eq!(reply.code(), (415, "unsupported_media_type".into()), "{encoding}");
    }
    // No extension of the socket is agreed to, whatever is offered, and its bit ends the socket.
    let mut request =
        format!("ws://{}/ws", server.address).into_client_request().expect("a request");
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {access}").parse().expect("a header"));
    let offer = "permessage-deflate; client_max_window_bits".parse().expect("a header");
    headers.insert("sec-websocket-extensions", offer);
    let upgrade = tokio_tungstenite::client_async(request, server.connect().await);
    let (stream, answer) = within(upgrade).await.expect("upgraded");
    assert!(!answer.headers().contains_key("sec-websocket-extensions"));
    let mut stream = stream.into_inner();
    stream.write_all(&frame(0xc1, b"\xaa\x56\x4a")).await.expect("sent");
    let mut said = Vec::new();
    let _ = within(stream.read_to_end(&mut said)).await;
    let code = 4002_u16.to_be_bytes();
    assert!(said.windows(2).any(|two| two == code), "{said:?}");
}
