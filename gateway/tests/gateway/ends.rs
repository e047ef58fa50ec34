//! A connection that ends while frames of its own wait: half closed, closed in order, or reset; plain and over TLS.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::attacks::{Stream, sign_in_over_tls};
use crate::certificates::{secured, tls_server};
use crate::harness::{Server, config, text, until, within};

/// A message's body: large, so that few of them fill the buffers of the system.
const BODY_BYTES: usize = 16_000;
/// Messages in a row of which the system takes nothing, after which some surely wait in the server. Together they
/// are less than an outbox holds.
const UNTAKEN: usize = 6;

type Socket = WebSocketStream<Box<dyn Stream>>;

/// A session that reads, and one of the same user that does not, in the lobby.
struct Scene {
    server: Server,
    reader: Socket,
    sent: u64,
}

struct Idler {
    socket: Socket,
    /// Its own end of the connection.
    port: u16,
}

impl Scene {
    async fn plain() -> (Self, Idler) {
        let server = Server::with(patient()).await;
        let access = server.user("bystander").await;
        Self::over(server, None, &access).await
    }

    async fn over_tls() -> (Self, Idler) {
        let (server, roots) = tls_server(patient()).await;
        let access = sign_in_over_tls(&server, &roots).await;
        Self::over(server, Some(&roots), &access).await
    }

    async fn over(server: Server, roots: Option<&RootCertStore>, access: &str) -> (Self, Idler) {
        let reader = follower(server.connect().await, roots, access).await;
        let stream = TcpSocket::new_v4().expect("a socket");
        stream.set_recv_buffer_size(4096).expect("a small buffer");
        // Dropped, it resets the connection.
        stream.set_zero_linger().expect("set");
        let stream = within(stream.connect(server.address)).await.expect("connected");
        let port = stream.local_addr().expect("connected").port();
        let idler = Idler { socket: follower(stream, roots, access).await, port };
        let mut scene = Self { server, reader, sent: 0 };
        scene.fill(&idler).await;
        (scene, idler)
    }

    /// Sends to the lobby until messages wait in the server that the idler is to get.
    async fn fill(&mut self, idler: &Idler) {
        let (mut taken, mut untaken) = (0, 0);
        while untaken < UNTAKEN {
            self.send().await;
            let now = self.held_by_the_system(idler);
            untaken = if now > taken { 0 } else { untaken + 1 };
            taken = taken.max(now);
            assert!(self.sent < 2_000, "the system holds {now} bytes and takes more");
        }
    }

    /// Sends a message, as soon as its sender may, and returns when it was shown.
    async fn send(&mut self) {
        let (key, body) = (uuid::Uuid::new_v4(), "x".repeat(BODY_BYTES));
        let send = json!({"type": "send", "id": 3, "room": lobby(), "key": key, "body": body});
        loop {
            say(&mut self.reader, send.clone()).await;
            let heard = hear(&mut self.reader, &["event", "error"]).await;
            if heard["type"] == "event" {
                self.sent += 1;
                return;
            }
            assert_eq!(heard["code"], "rate_limited", "{heard}");
            let pause = heard["retry_after_ms"].as_u64().expect("it says when");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Bytes that the server has written to the idler and that have not arrived (Linux: `proc_net_tcp`).
    fn held_by_the_system(&self, idler: &Idler) -> u64 {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
        let port = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
        let held = table.lines().skip(1).find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let ends = (port(fields.next()?)?, port(fields.next()?)?);
            let queued = fields.nth(1)?.split(':').next()?;
            (ends == (self.server.address.port(), idler.port))
                .then(|| u64::from_str_radix(queued, 16).expect("a number"))
        });
        held.expect("the connection is open")
    }

    /// The idler's session ends, and the other one goes on.
    async fn goes_on_alone(mut self) {
        until(async || self.server.chat.sessions() == 1).await;
        self.send().await;
    }
}

impl Idler {
    /// Reads all that comes. Each of so many messages must be there, but the last, which may have been on its
    /// way. Returns whether a close frame came.
    async fn hears(&mut self, sent: u64) -> bool {
        let (mut heard, mut closed) = (0, false);
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).expect("whole frames");
                    if frame["type"] == "event" {
                        heard += 1;
                        assert_eq!(frame["seq"], heard, "each once and in order");
                    }
                }
                Some(Ok(Message::Close(_))) => closed = true,
                Some(Ok(_)) => {}
                // Half a connection ends without a close frame.
                None | Some(Err(Error::Protocol(_) | Error::ConnectionClosed)) => break,
                Some(Err(error)) => panic!("{error} after {heard} of {sent}"),
            }
        }
        assert!(heard + 1 >= sent, "{heard} of {sent} came");
        closed
    }
}

/// The write deadline is longer than any test: what ends, ends for another reason.
fn patient() -> parlance_gateway::GatewayConfig {
    let mut config = config();
    config.deadlines.write = Duration::from_secs(600);
    config
}

fn lobby() -> String {
    let tenant = parlance_actors::vocab::TenantId::MAIN;
    parlance_actors::vocab::RoomId::lobby(tenant).to_string()
}

/// A session that follows the lobby.
async fn follower(stream: TcpStream, roots: Option<&RootCertStore>, access: &str) -> Socket {
    let stream: Box<dyn Stream> = match roots {
        Some(roots) => Box::new(secured(stream, roots, "http/1.1").await.expect("TLS")),
        None => Box::new(stream),
    };
    let mut request = "ws://localhost/ws".into_client_request().expect("a request");
    let bearer = format!("Bearer {access}").parse().expect("a header");
    request.headers_mut().insert("authorization", bearer);
    let upgrade = tokio_tungstenite::client_async(request, stream);
    let (mut socket, _) = within(upgrade).await.expect("upgraded");
    say(&mut socket, json!({"type": "hello", "id": 1})).await;
    say(&mut socket, json!({"type": "subscribe", "id": 2, "rooms": {lobby(): {}}})).await;
    hear(&mut socket, &["ok"]).await;
    socket
}

async fn say(socket: &mut Socket, frame: Value) {
    within(socket.send(Message::text(frame.to_string()))).await.expect("sent");
}

/// The next frame of one of these types.
async fn hear(socket: &mut Socket, types: &[&str]) -> Value {
    loop {
        if let Message::Text(frame) = within(socket.next()).await.expect("open").expect("whole") {
            let frame: Value = serde_json::from_str(&frame).expect("JSON");
            if types.contains(&text(&frame["type"]).as_str()) {
                return frame;
            }
        }
    }
}

async fn half_closed((scene, mut idler): (Scene, Idler)) {
    within(idler.socket.get_mut().shutdown()).await.expect("its own side is closed");
    assert!(!idler.hears(scene.sent).await, "it said no close frame");
    scene.goes_on_alone().await;
}

async fn closed_in_order((scene, mut idler): (Scene, Idler)) {
    within(idler.socket.send(Message::Close(None))).await.expect("sent");
    assert!(idler.hears(scene.sent).await, "a close frame is answered");
    scene.goes_on_alone().await;
}

async fn reset((scene, idler): (Scene, Idler)) {
    drop(idler);
    scene.goes_on_alone().await;
}

#[tokio::test]
async fn who_closes_only_its_own_side_gets_what_waits() {
    half_closed(Scene::plain().await).await;
}

#[tokio::test]
async fn who_closes_only_its_own_side_over_tls_gets_what_waits() {
    half_closed(Scene::over_tls().await).await;
}

#[tokio::test]
async fn who_closes_in_order_gets_what_waits_and_then_the_answer() {
    closed_in_order(Scene::plain().await).await;
}

#[tokio::test]
async fn who_closes_in_order_over_tls_gets_what_waits_and_then_the_answer() {
    closed_in_order(Scene::over_tls().await).await;
}

#[tokio::test]
async fn who_resets_while_frames_wait_is_gone_at_once() {
    reset(Scene::plain().await).await;
}

#[tokio::test]
async fn who_resets_over_tls_while_frames_wait_is_gone_at_once() {
    reset(Scene::over_tls().await).await;
}
