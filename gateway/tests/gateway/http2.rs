//! HTTP/2 by ALPN: requests side by side, and every way in which a client of it can be slow or loud.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parlance_gateway::limits::{
    ANSWERS_HELD_MAX, HEADER_BYTES_MAX, LIGHT_FRAMES_BURST, STREAMS_MAX,
};
use rustls::RootCertStore;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::attacks::Bystander;
use crate::certificates::{secured, tls_server};
use crate::harness::{PASSWORD, Server, config, request, text, within};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET https://localhost/api/health` in HPACK: indexed names and values, two literals.
const GET_HEALTH: &[u8] = b"\x82\x87\x04\x0b/api/health\x01\x09localhost";
/// The same for the API's description, which is long.
const GET_OPENAPI: &[u8] = b"\x82\x87\x04\x11/api/openapi.json\x01\x09localhost";
/// `POST https://localhost/api/auth/login`.
const POST_LOGIN: &[u8] = b"\x83\x87\x04\x0f/api/auth/login\x01\x09localhost";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A client that says what it likes.
struct Raw(TlsStream<TcpStream>);

impl Raw {
    async fn connect(server: &Server, roots: &RootCertStore) -> Self {
        Self::with_settings(server, roots, &[]).await
    }

    async fn with_settings(server: &Server, roots: &RootCertStore, settings: &[u8]) -> Self {
        let stream = secured(server.connect().await, roots, "h2").await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut raw = Self(stream);
        raw.say(PREFACE).await;
        raw.say(&frame(SETTINGS, 0, 0, settings)).await;
        raw
    }

    async fn say(&mut self, bytes: &[u8]) {
        within(self.0.write_all(bytes)).await.expect("sent");
    }

    /// The next frame: kind, flags, stream and payload.
    async fn hear(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        within(self.0.read_exact(&mut head)).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        within(self.0.read_exact(&mut payload)).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, payload))
    }

    /// Reads to the end, which must come.
    async fn ended(mut self) {
        while self.hear().await.is_some() {}
    }
}

async fn client(server: &Server, roots: &RootCertStore) -> SendRequest<Full<Bytes>> {
    let stream = secured(server.connect().await, roots, "h2").await.expect("TLS");
    let io = TokioIo::new(stream);
    let shaken = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (sender, connection) = within(shaken).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// A request as HTTP/2 has it: with a scheme and a host.
fn whole(asked: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let (mut parts, body) = asked.into_parts();
    parts.headers.remove("host");
    parts.uri = format!("https://localhost{}", parts.uri).parse().expect("a URI");
    Request::from_parts(parts, body)
}

async fn ask(sender: &SendRequest<Full<Bytes>>, asked: Request<Full<Bytes>>) -> (u16, Bytes) {
    let reply = within(sender.clone().send_request(whole(asked))).await.expect("an answer");
    let status = reply.status().as_u16();
    assert!(reply.headers().contains_key("strict-transport-security"));
    (status, within(reply.into_body().collect()).await.expect("a whole answer").to_bytes())
}

#[tokio::test]
async fn requests_go_side_by_side_over_one_connection() {
    let (server, roots) = tls_server(config()).await;
    let sender = client(&server, &roots).await;
    let account = json!({"username": "ann", "password": PASSWORD});
    let (status, made) =
        ask(&sender, request("POST", "/api/auth/register", "", Some(account.clone()))).await;
    assert_eq!(status, 201, "{made:?}");
    let (status, body) = ask(&sender, request("POST", "/api/auth/login", "", Some(account))).await;
    assert_eq!(status, 200, "{body:?}");
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let access = text(&body["access_token"]);
    let asked = (0..100).map(|_| ask(&sender, request("GET", "/api/me", &access, None)));
    for (status, body) in futures_util::future::join_all(asked).await {
        assert_eq!(status, 200, "{body:?}");
    }
    let (status, _) = ask(&sender, request("GET", "/nope", "", None)).await;
    assert_eq!(status, 404);
    server.stopped().await;
}

#[tokio::test]
async fn no_socket_is_offered_over_it_and_browsers_know_before_they_ask() {
    let (server, roots) = tls_server(config()).await;
    let mut raw = Raw::connect(&server, &roots).await;
    let (kind, _, _, settings) = raw.hear().await.expect("a frame");
    assert_eq!(kind, SETTINGS);
    let settings: Vec<(u16, u32)> = settings
        .chunks(6)
        .map(|one| {
            let value = u32::from_be_bytes([one[2], one[3], one[4], one[5]]);
            (u16::from_be_bytes([one[0], one[1]]), value)
        })
        .collect();
    assert!(settings.iter().all(|(name, value)| *name != 8 || *value == 0), "{settings:?}");
    assert!(settings.contains(&(3, STREAMS_MAX)), "{settings:?}");
    let list = u32::try_from(HEADER_BYTES_MAX).expect("short");
    assert!(settings.contains(&(6, list)), "{settings:?}");
    let sender = client(&server, &roots).await;
    let (status, body) = ask(&sender, request("GET", "/ws", "", None)).await;
    assert_eq!(status, 400, "{body:?}");
}

#[tokio::test]
async fn a_request_in_flight_is_finished_when_the_server_stops() {
    let (server, roots) = tls_server(config()).await;
    let server = std::sync::Arc::new(server);
    let sender = client(&server, &roots).await;
    let account = json!({"username": "ann", "password": PASSWORD});
    ask(&sender, request("POST", "/api/auth/register", "", Some(account.clone()))).await;
    let (_, body) = ask(&sender, request("POST", "/api/auth/login", "", Some(account))).await;
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let access = text(&body["access_token"]);
    let tenant = parlance_actors::vocab::TenantId::MAIN;
    let lobby = parlance_actors::vocab::RoomId::lobby(tenant);
    server.history.hold_commits();
    let sending = {
        let path = format!("/api/rooms/{lobby}/messages");
        let send = request("POST", &path, &access, Some(json!({"body": "in flight"})));
        let sender = sender.clone();
        tokio::spawn(async move { ask(&sender, send).await })
    };
    crate::harness::until(async || server.chat.rooms_awake() == 1).await;
    server.begin_stop();
    crate::harness::until(async || TcpStream::connect(server.address).await.is_err()).await;
    server.history.release_commits();
    let (status, body) = within(sending).await.expect("sent");
    assert_eq!(status, 201, "{body:?}");
    std::sync::Arc::into_inner(server).expect("the last one").stopped().await;
}

#[tokio::test]
async fn headers_that_drip_and_silence_are_cut_off() {
    let mut config = config();
    config.deadlines.header = Duration::from_millis(400);
    let (server, roots) = tls_server(config).await;
    // Nothing after the preface; not even that; a frame's head without its end.
    Raw::connect(&server, &roots).await.ended().await;
    let stream = secured(server.connect().await, &roots, "h2").await.expect("TLS");
    Raw(stream).ended().await;
    let mut half = Raw::connect(&server, &roots).await;
    half.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET_HEALTH)[..12]).await;
    half.ended().await;
    // A request under way must not keep the deadline of other headers from coming.
    let mut raw = Raw::connect(&server, &roots).await;
    raw.say(&frame(HEADERS, END_HEADERS, 1, POST_LOGIN)).await;
    raw.say(&frame(HEADERS, END_STREAM, 3, GET_HEALTH)).await;
    let (mut read, mut write) = tokio::io::split(raw.0);
    let dripping = async {
        loop {
            write.write_all(&frame(CONTINUATION, 0, 3, b"")).await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut heard = Vec::new();
    tokio::select! {
        _ = within(read.read_to_end(&mut heard)) => {}
        error = dripping => {
            let error: std::io::Result<()> = error;
            error.expect_err("the loop ends only by an error");
        }
    }
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_alone() {
    let mut config = config();
    config.deadlines.body = Duration::from_millis(200);
    let (server, roots) = tls_server(config).await;
    let mut raw = Raw::connect(&server, &roots).await;
    raw.say(&frame(HEADERS, END_HEADERS, 1, POST_LOGIN)).await;
    raw.say(&frame(DATA, 0, 1, b"{")).await;
    raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET_HEALTH)).await;
    let mut answered = Vec::new();
    while answered.len() < 2 {
        let (kind, _, stream, payload) = raw.hear().await.expect("it goes on");
        assert_ne!(kind, GOAWAY);
        if kind == DATA && !payload.is_empty() {
            answered.push((stream, String::from_utf8(payload).expect("text")));
        }
    }
    assert_eq!(answered[0].0, 3, "{answered:?}");
    assert!(answered[1].1.contains("\"timeout\""), "{answered:?}");
}

#[tokio::test]
async fn streams_over_the_bound_are_refused_and_the_others_answered() {
    let (server, roots) = tls_server(config()).await;
    let mut raw = Raw::connect(&server, &roots).await;
    // The client knows the bound once it has answered the settings; this one does not care.
    raw.say(&frame(SETTINGS, 1, 0, &[])).await;
    for number in 0..STREAMS_MAX + 5 {
        raw.say(&frame(HEADERS, END_HEADERS, 2 * number + 1, POST_LOGIN)).await;
    }
    let mut refused = 0;
    while refused < 5 {
        let (kind, _, stream, payload) = raw.hear().await.expect("it goes on");
        assert_ne!(kind, GOAWAY);
        if kind == RST_STREAM {
            assert!(stream > 2 * STREAMS_MAX, "{stream}");
            assert_eq!(payload, [0, 0, 0, 7], "REFUSED_STREAM");
            refused += 1;
        }
    }
    // With the body the first one is a whole request.
    raw.say(&frame(DATA, END_STREAM, 1, b"{}")).await;
    loop {
        let (kind, _, stream, _) = raw.hear().await.expect("it goes on");
        if kind == HEADERS {
            assert_eq!(stream, 1);
            break;
        }
    }
}

#[tokio::test]
async fn headers_over_the_bound_are_refused() {
    let (server, roots) = tls_server(config()).await;
    let sender = client(&server, &roots).await;
    let mut asked = whole(request("GET", "/api/health", "", None));
    asked.headers_mut().insert("x-long", "x".repeat(HEADER_BYTES_MAX).parse().expect("a header"));
    // hyper's client keeps the bound that the server states; a rude one is told 431 or ended.
    let reply = within(sender.clone().send_request(asked)).await;
    assert!(reply.is_err() || reply.is_ok_and(|reply| reply.status() == 431));
    let mut raw = Raw::connect(&server, &roots).await;
    raw.say(&frame(HEADERS, 0, 1, GET_HEALTH)).await;
    // x-long: 16,000 bytes, twice.
    let long = [b"\x00\x06x-long\x7f\x81\x7c", &[b'x'; 16_000][..]].concat();
    raw.say(&frame(CONTINUATION, 0, 1, &long)).await;
    let more = frame(CONTINUATION, END_HEADERS, 1, &long);
    let _ = raw.0.write_all(&more).await;
    loop {
        match raw.hear().await {
            None | Some((GOAWAY, ..)) => break,
            Some((HEADERS, _, 1, payload)) => {
                // 431 as a literal, or in another encoding, but not 200, which is one byte.
                assert_ne!(payload.first(), Some(&0x88));
                break;
            }
            Some(_) => {}
        }
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_ends_the_connection() {
    let mut config = config();
    config.deadlines.write = Duration::from_millis(300);
    let (server, roots) = tls_server(config).await;
    // SETTINGS_INITIAL_WINDOW_SIZE: 0, and 1, which lets the connection take the whole answer.
    for window in [0, 1] {
        let mut raw = Raw::with_settings(&server, &roots, &[0, 4, 0, 0, 0, window]).await;
        raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET_HEALTH)).await;
        let pinging = async {
            // Life on the connection does not make up for it.
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                match raw.0.write_all(&frame(PING, 0, 0, b"12345678")).await {
                    Ok(()) => {}
                    Err(_) => break,
                }
            }
        };
        within(pinging).await;
    }
}

#[tokio::test]
async fn so_many_answers_are_held_and_the_next_one_comes_when_one_was_read() {
    let (server, roots) = tls_server(config()).await;
    let mut raw = Raw::with_settings(&server, &roots, &[0, 4, 0, 0, 0, 0]).await;
    let held = u32::try_from(ANSWERS_HELD_MAX).expect("few");
    for number in 0..=held {
        let ask = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, GET_HEALTH);
        raw.say(&ask).await;
    }
    let mut begun = Vec::new();
    while begun.len() < ANSWERS_HELD_MAX {
        let (kind, _, stream, _) = raw.hear().await.expect("it goes on");
        if kind == HEADERS {
            begun.push(stream);
        }
    }
    raw.say(&frame(PING, 0, 0, b"12345678")).await;
    loop {
        let (kind, flags, ..) = raw.hear().await.expect("it goes on");
        assert_ne!(kind, HEADERS, "{begun:?} are held");
        if (kind, flags) == (PING, 1) {
            break;
        }
    }
    raw.say(&frame(WINDOW_UPDATE, 0, begun[0], &1_000_u32.to_be_bytes())).await;
    loop {
        let (kind, _, stream, _) = raw.hear().await.expect("it goes on");
        if kind == HEADERS {
            assert!(!begun.contains(&stream));
            break;
        }
    }
}

#[tokio::test]
async fn who_does_not_read_behind_a_trusted_proxy_ends_nobody_elses_requests() {
    let mut config = config();
    config.deadlines.write = Duration::from_millis(100);
    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let (server, roots) = tls_server(config).await;
    let mut raw = Raw::with_settings(&server, &roots, &[0, 4, 0, 0, 0, 0]).await;
    raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 1, GET_HEALTH)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET_HEALTH)).await;
    raw.say(&frame(WINDOW_UPDATE, 0, 3, &1_000_u32.to_be_bytes())).await;
    loop {
        let (kind, _, stream, _) = raw.hear().await.expect("it goes on");
        if kind == DATA && stream == 3 {
            break;
        }
    }
}

/// Reads a long answer as Go's client does: two updates of windows for every 4 KiB.
#[tokio::test]
async fn a_client_that_says_often_that_it_has_read_is_no_flood() {
    let (server, roots) = tls_server(config()).await;
    let mut raw = Raw::connect(&server, &roots).await;
    let (mut stream, mut updates) = (1, 0);
    while updates < 2 * LIGHT_FRAMES_BURST {
        raw.say(&frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_OPENAPI)).await;
        loop {
            let (kind, flags, _, payload) = raw.hear().await.expect("it goes on");
            if kind != DATA {
                continue;
            }
            for part in payload.chunks(4096) {
                let read = u32::try_from(part.len()).expect("short").to_be_bytes();
                let both =
                    [frame(WINDOW_UPDATE, 0, 0, &read), frame(WINDOW_UPDATE, 0, stream, &read)];
                raw.say(&both.concat()).await;
                updates += 2;
            }
            if flags & END_STREAM != 0 {
                break;
            }
        }
        stream += 2;
    }
}

#[tokio::test]
async fn answers_to_head_have_no_body_wherever_they_are_made() {
    let mut config = config();
    config.rates.http_per_second = 1;
    config.rates.http_burst = 2;
    let (server, roots) = tls_server(config).await;
    let sender = client(&server, &roots).await;
    let mut statuses = Vec::new();
    for path in ["/api/me", "/api/direct"].into_iter().chain(["/api/me"; 20]) {
        let (status, body) = ask(&sender, request("HEAD", path, "", None)).await;
        assert!(body.is_empty(), "{path}: {status}: {body:?}");
        statuses.push(status);
    }
    assert_eq!(statuses[..2], [401, 405]);
    assert!(statuses.contains(&429), "{statuses:?}");
}

/// One kind of flood, which must end the connection while others go on.
async fn flood(name: &str, frames: impl Fn(u32) -> Vec<u8>) {
    let (server, roots) = tls_server(config()).await;
    let bystander = Bystander::over_tls(&server, &roots).await;
    let attack = async {
        for _ in 0..3 {
            let raw = Raw::connect(&server, &roots).await;
            let (mut read, mut write) = tokio::io::split(raw.0);
            let sending = async {
                let mut sent = 0;
                while sent < 20 * LIGHT_FRAMES_BURST {
                    let batch: Vec<u8> = (sent..sent + 50).flat_map(&frames).collect();
                    if write.write_all(&batch).await.is_err() {
                        return;
                    }
                    sent += 50;
                }
            };
            let mut heard = Vec::new();
            let reading = read.read_to_end(&mut heard);
            // The end must come from the server: nothing here ends the connection.
            within(async { tokio::join!(sending, reading) }).await.1.ok();
        }
    };
    let acked = bystander.during(attack).await;
    assert!(acked > 0, "{name}: nobody else was served");
}

#[tokio::test]
async fn a_flood_of_pings_ends_the_connection() {
    flood("pings", |_| frame(PING, 0, 0, b"12345678")).await;
}

#[tokio::test]
async fn a_flood_of_settings_ends_the_connection() {
    flood("settings", |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])).await;
}

#[tokio::test]
async fn a_rapid_reset_ends_the_connection() {
    flood("resets", |number| {
        let stream = 2 * number + 1;
        let headers = frame(HEADERS, END_HEADERS | END_STREAM, stream, GET_HEALTH);
        [headers, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_empty_data_ends_the_connection() {
    flood("empty data", |number| match number {
        0 => frame(HEADERS, END_HEADERS, 1, POST_LOGIN),
        _ => frame(DATA, 0, 1, b""),
    })
    .await;
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    flood("continuations", |number| match number {
        0 => frame(HEADERS, 0, 1, GET_HEALTH),
        _ => frame(CONTINUATION, 0, 1, b""),
    })
    .await;
}

#[tokio::test]
async fn the_caps_of_an_address_hold() {
    let mut config = config();
    config.connections_per_address_max = 2;
    config.rates.http_per_second = 1;
    config.rates.http_burst = 3;
    let (server, roots) = tls_server(config).await;
    let _held = Raw::connect(&server, &roots).await;
    let sender = client(&server, &roots).await;
    secured(server.connect().await, &roots, "h2").await.expect_err("the third");
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask(&sender, request("GET", "/api/me", "", None)).await.0);
    }
    assert!(answers.contains(&429), "requests are counted one by one: {answers:?}");
}
