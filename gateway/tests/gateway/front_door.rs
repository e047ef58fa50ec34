//! The accept loop and what surrounds every request: deadlines, caps, proxies, TLS, the end.

use std::sync::Arc;
use std::time::Duration;

use parlance_gateway::config::{Tls, TlsFiles};
use parlance_gateway::limits::OPENINGS_MAX;
use rustls::HandshakeKind;
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Server, config, exchange, request, text, until, with, within};

#[tokio::test]
async fn headers_that_drip_are_cut_off() {
    let mut config = config();
    config.deadlines.header = Duration::from_millis(200);
    let server = Server::with(config).await;
    let (mut read, mut write) = server.connect().await.into_split();
    let dripping = async {
        write.write_all(b"GET /api/health HTTP/1.1\r\n").await?;
        loop {
            write.write_all(b"x-slow: 1\r\n").await?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut answer = Vec::new();
    tokio::select! {
        ended = within(read.read_to_end(&mut answer)) => {
            let _ = ended;
        }
        error = dripping => {
            let error: std::io::Result<()> = error;
            error.expect_err("the loop ends only by an error");
        }
    }
    assert!(!answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
    // A connection that says nothing at all is cut off as well.
    let mut silent = server.connect().await;
    assert_eq!(within(silent.read(&mut [0; 16])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..2 * OPENINGS_MAX {
        silent.push(server.connect().await);
    }
    // Many times the places, each given back by its answer, also on a connection that lives on.
    let mut kept = Vec::new();
    for _ in 0..2 * OPENINGS_MAX {
        let mut stream = server.connect().await;
        let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        within(stream.read_exact(&mut start)).await.expect("an answer");
        kept.push(stream);
    }
}

#[tokio::test]
async fn connections_over_the_cap_of_an_address_are_refused_and_others_go_on() {
    let mut config = config();
    config.connections_per_address_max = 3;
    let server = Server::with(config).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = server.connect().await;
        let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        within(stream.read_exact(&mut start)).await.expect("an answer");
        held.push(stream);
    }
    let mut answer = String::new();
    within(server.connect().await.read_to_string(&mut answer)).await.expect("refused");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\"busy\""), "{answer}");
    // Of a flood the first are told why, and the others are reset.
    let mut reset = 0;
    for _ in 0..2_000 {
        let asked = async {
            // It may be reset before it is known to be open.
            let mut stream = TcpStream::connect(server.address).await?;
            stream.read(&mut [0; 1]).await
        };
        match within(asked).await {
            Ok(count) => assert_eq!(count, 1, "an answer, or a reset"),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
                reset += 1;
            }
        }
    }
    assert!(reset > 0, "all 2,000 were answered");
    drop(held);
    until(async || {
        let mut stream = server.connect().await;
        let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut start = [0; 12];
        stream.write_all(ask.as_bytes()).await.is_ok()
            && within(stream.read_exact(&mut start)).await.is_ok()
            && &start == b"HTTP/1.1 200"
    })
    .await;
}

async fn from(server: &Server, forwarded: &str) -> u16 {
    let mut request = request("GET", "/", "", None);
    request.headers_mut().insert("x-forwarded-for", forwarded.parse().expect("a header"));
    server.send(request).await.status
}

#[tokio::test]
async fn a_forged_forwarded_for_changes_nothing() {
    let mut config = config();
    config.rates.http_per_second = 1;
    config.rates.http_burst = 3;
    let server = Server::with(config.clone()).await;
    let mut answers = Vec::new();
    for host in 0..10 {
        answers.push(from(&server, &format!("203.0.113.{host}")).await);
    }
    assert_eq!(answers[..3], [200, 200, 200]);
    assert!(answers.contains(&429), "one address, whatever it says: {answers:?}");

    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let server = Server::with(config).await;
    for host in 0..10 {
        assert_eq!(from(&server, &format!("203.0.113.{host}")).await, 200);
    }
    let mut answers = Vec::new();
    for forged in 0..10 {
        // What the client put there itself stands left of what the proxy saw.
        answers.push(from(&server, &format!("198.51.100.{forged}, 203.0.113.77")).await);
    }
    assert!(answers.contains(&429), "the proxy's word counts: {answers:?}");
}

#[tokio::test]
async fn a_rate_limited_request_is_told_when_to_come_back() {
    let mut config = config();
    config.rates.http_per_second = 1;
    config.rates.http_burst = 1;
    let server = Server::with(config).await;
    server.get("/", "").await;
    let reply = server.get("/", "").await;
    assert_eq!(reply.code(), (429, "rate_limited".into()));
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(server.get("/api/health", "").await.status, 200, "probes are not limited");
}

#[tokio::test]
async fn every_answer_has_a_correlation_id_and_the_security_headers() {
    let server = Server::start().await;
    for (path, status) in [("/", 200), ("/api/health", 200), ("/nope", 404), ("/api/me", 401)] {
        let mut asked = request("GET", path, "", None);
        asked.headers_mut().insert("x-request-id", "abc-123".parse().expect("a header"));
        let reply = server.send(asked).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["x-request-id"], "abc-123");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["referrer-policy"], "no-referrer");
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert!(reply.headers.contains_key("content-security-policy"));
    }
    let mut asked = request("GET", "/", "", None);
    asked.headers_mut().insert("x-request-id", "not ok".parse().expect("a header"));
    let id = server.send(asked).await.headers["x-request-id"].clone();
    uuid::Uuid::parse_str(id.to_str().expect("text")).expect("a new one");
    let page = server.get("/", "").await;
    assert!(String::from_utf8_lossy(&page.body).contains("/api/rooms"));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let mut config = config();
    let folder = tempfile::tempdir().expect("a folder");
    config.data_dir = Some(folder.path().to_owned());
    config.disk_free_min = 1;
    let server = Server::with(config.clone()).await;
    let ready = server.get("/api/health/ready", "").await.expect(200);
    for check in ["database", "directory", "lease", "disk", "draining"] {
        assert_eq!(ready[check]["status"], "ok", "{ready}");
    }
    let failing = async |check: &str| {
        until(async || {
            let reply = server.get("/api/health/ready", "").await;
            reply.status == 503 && reply.json()[check]["status"] == "failed"
        })
        .await;
    };
    server.directory.cut();
    failing("directory").await;
    failing("lease").await;
    server.directory.heal();
    server.history.set_away(true);
    failing("database").await;
    assert_eq!(server.get("/api/health", "").await.status, 200, "it lives all the same");

    config.disk_free_min = u64::MAX;
    let full = Server::with(config).await;
    let reply = full.get("/api/health/ready", "").await;
    assert_eq!((reply.status, &reply.json()["disk"]["status"]), (503, &json!("failed")));
}

pub(crate) fn tls_files() -> (tempfile::TempDir, TlsFiles, rustls::RootCertStore) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("made");
    let folder = tempfile::tempdir().expect("a folder");
    let files = TlsFiles {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).expect("written");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    (folder, files, roots)
}

/// A client that trusts these roots.
pub(crate) fn connector(roots: rustls::RootCertStore) -> tokio_rustls::TlsConnector {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_rustls::TlsConnector::from(Arc::new(client))
}

#[tokio::test]
async fn tls_is_spoken_and_resumed_in_both_versions_and_a_slow_handshake_is_cut_off() {
    let (_folder, files, roots) = tls_files();
    let mut config = config();
    config.tls = Some(Tls::Files(files));
    config.deadlines.handshake = Duration::from_millis(300);
    let server = Server::with(config).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            let name = ServerName::try_from("localhost").expect("a name");
            let connecting = connector.connect(name, server.connect().await);
            let stream = within(connecting).await.expect("TLS");
            let (_, session) = stream.get_ref();
            assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(session.handshake_kind(), Some(kind), "{version:?}");
            let reply = exchange(stream, request("GET", "/api/health", "", None)).await;
            assert_eq!(reply.expect(200), json!({"status": "ok"}));
            assert!(reply.headers.contains_key("strict-transport-security"));
        }
    }
    let mut silent = server.connect().await;
    assert_eq!(within(silent.read(&mut [0; 16])).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn files_that_are_no_identity_are_named() {
    let (folder, mut files, _) = tls_files();
    let server = Server::start().await;
    let bind = |files: TlsFiles| {
        let mut config = config();
        config.tls = Some(Tls::Files(files));
        let parts = parlance_gateway::Parts {
            chat: server.chat.clone(),
            accounts: server.accounts.clone(),
            directory: server.directory.clone(),
            cluster: server.cluster.clone(),
            history: server.history.clone(),
            secret: server.secret.clone(),
            metrics: None,
        };
        parlance_gateway::Gateway::bind(config, parts)
    };
    let other = rcgen::generate_simple_self_signed(vec!["other".to_owned()]).expect("made");
    std::fs::write(&files.key, other.signing_key.serialize_pem()).expect("written");
    let error = bind(files.clone()).await.expect_err("another key").to_string();
    assert!(error.contains("cert.pem"), "{error}");
    files.key = folder.path().join("missing.pem");
    let error = bind(files).await.expect_err("no key").to_string();
    assert!(error.contains("missing.pem"), "{error}");
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_every_problem() {
    let server = Server::start().await;
    let mut config = config();
    config.deadlines.header = Duration::ZERO;
    config.passwords.passes = 0;
    let parts = parlance_gateway::Parts {
        chat: server.chat.clone(),
        accounts: server.accounts.clone(),
        directory: server.directory.clone(),
        cluster: server.cluster.clone(),
        history: server.history.clone(),
        secret: server.secret.clone(),
        metrics: None,
    };
    let error =
        parlance_gateway::Gateway::bind(config, parts).await.expect_err("wrong").to_string();
    assert!(error.contains("deadlines.header") && error.contains("passwords"), "{error}");
}

#[tokio::test]
async fn what_is_in_flight_is_finished_when_the_server_stops() {
    let server = Arc::new(Server::start().await);
    let access = server.user("ann").await;
    let lobby = parlance_actors::vocab::RoomId::lobby(parlance_actors::vocab::TenantId::MAIN);
    let mut idle = server.connect().await;
    server.history.hold_commits();
    let sending = {
        let server = server.clone();
        tokio::spawn(async move {
            let path = format!("/api/rooms/{lobby}/messages");
            server.post(&path, &access, json!({"body": "in flight"})).await
        })
    };
    until(async || server.chat.rooms_awake() == 1).await;
    server.begin_stop();
    assert_eq!(within(idle.read(&mut [0; 16])).await.unwrap_or(0), 0, "idle ones are closed");
    until(async || TcpStream::connect(server.address).await.is_err()).await;
    server.history.release_commits();
    assert_eq!(within(sending).await.expect("sent").expect(201)["seq"], 1);
    let server = Arc::into_inner(server).expect("the last one");
    server.stopped().await;
}

#[tokio::test]
async fn a_drain_says_goodbye_to_sockets_and_the_gateway_ends() {
    let server = Server::start().await;
    let access = server.user("ann").await;
    let mut socket = server.session(&access).await;
    server.begin_stop();
    server.chat.drain().await;
    let (frames, code) = socket.closed().await;
    assert_eq!(code, 4005);
    let bye = frames.last().expect("bye");
    assert_eq!(text(&bye["type"]), "bye");
    assert!(bye["retry_after_ms"].is_number(), "{bye}");
    server.stopped().await;
}

#[tokio::test]
async fn a_socket_without_a_hello_does_not_hold_up_the_end() {
    let server = Server::start().await;
    let mut socket = server.ws("/ws", "").await;
    server.begin_stop();
    let (frames, code) = socket.closed().await;
    assert_eq!((code, &frames[0]["type"]), (4005, &json!("bye")));
    server.stopped().await;
}

#[tokio::test]
async fn metrics_are_served_where_a_recorder_is_given() {
    let server = Server::start().await;
    assert_eq!(server.get("/metrics", "").await.status, 404);
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let parts = parlance_gateway::Parts {
        chat: server.chat.clone(),
        accounts: server.accounts.clone(),
        directory: server.directory.clone(),
        cluster: server.cluster.clone(),
        history: server.history.clone(),
        secret: server.secret.clone(),
        metrics: Some(recorder.handle()),
    };
    // One thread runs this test and the server, so a local recorder sees what the server counts.
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1".parse::<std::net::IpAddr>().expect("one").into()];
    let gateway = parlance_gateway::Gateway::bind(config, parts).await.expect("bound");
    let address = gateway.address();
    let stop = tokio_util::sync::CancellationToken::new();
    let run = tokio::spawn(gateway.run(stop.clone()));
    for (from, status) in
        [("203.0.113.9", 403), ("2001:db8::1", 403), ("10.9.8.7", 200), ("fd00::1", 200)]
    {
        let stream = TcpStream::connect(address).await.expect("connected");
        let asked = with(request("GET", "/metrics", "", None), &[("x-forwarded-for", from)]);
        let reply = exchange(stream, asked).await;
        assert_eq!(reply.status, status, "{from}: {reply:?}");
        if status == 403 {
            let detail = text(&reply.json()["detail"]);
            assert!(detail.contains(from) && detail.contains("metrics.from"), "{detail}");
        }
    }
    // Who is not trusted as a proxy brings nobody.
    let from = tokio::net::TcpSocket::new_v4().expect("a socket");
    from.bind("127.0.0.2:0".parse().expect("an address")).expect("the loopback has many");
    let stream = from.connect(address).await.expect("connected");
    let brought = with(request("GET", "/metrics", "", None), &[("x-forwarded-for", "10.9.8.7")]);
    assert_eq!(exchange(stream, brought).await.status, 403);
    for path in ["/api/health", "/metrics"] {
        let stream = TcpStream::connect(address).await.expect("connected");
        let reply = exchange(stream, request("GET", path, "", None)).await;
        assert_eq!(reply.status, 200);
        if path == "/metrics" {
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            assert!(text.contains("parlance_sessions 0"), "{text}");
            let counted =
                r#"parlance_http_requests_total{method="GET",route="/api/health",status="200"} 1"#;
            assert!(text.contains(counted), "{text}");
        }
    }
    stop.cancel();
    within(run).await.expect("ended");
}

/// A log that a test reads.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn each_request_is_one_line_of_the_log_without_secrets() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // One thread runs this test and the server.
    let _local = tracing::subscriber::set_default(subscriber);
    let server = Server::start().await;
    let access = server.user("ann").await;
    let refresh = text(&server.login("ann").await["refresh_token"]);
    server.post("/api/auth/refresh", "", json!({"refresh_token": refresh})).await.expect(200);
    server.get(&format!("/api/chat/messages?token={access}"), "").await.expect(200);
    server.ws(&format!("/ws/chat?token={access}"), "").await;
    let mut asked = request("GET", "/api/me", &access, None);
    asked.headers_mut().insert("x-request-id", "find-me".parse().expect("a header"));
    server.send(asked).await.expect(200);
    // A browser's cookies: given, used, refused, renewed and taken away.
    let body = json!({"username": "ann", "password": crate::harness::PASSWORD, "cookie": true});
    let reply = server.post("/api/auth/login", "", body).await;
    let cookies = reply.headers.get_all("set-cookie").iter();
    let pair = |cookie: &http::HeaderValue| {
        cookie.to_str().expect("text").split_once(';').expect("attributes").0.to_owned()
    };
    let pairs: Vec<_> = cookies.map(pair).collect();
    let line = pairs.join("; ");
    let values: Vec<_> =
        pairs.iter().map(|pair| pair.split_once('=').expect("a value").1).collect();
    assert_eq!(values.len(), 2);
    let code = [("cookie", &*line), ("x-parlance-client", "web")];
    let call = |method, path, headers: &[(&'static str, &str)]| {
        server.send(with(request(method, path, "", None), headers))
    };
    call("GET", "/api/me", &code).await.expect(200);
    assert_eq!(call("POST", "/api/auth/refresh", &code[..1]).await.status, 403);
    call("POST", "/api/auth/refresh", &code).await.expect(200);
    call("POST", "/api/auth/logout", &code).await.expect(204);
    assert_eq!(call("POST", "/api/auth/refresh", &code).await.status, 401);
    server.stopped().await;
    let log = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
    let line = log.lines().find(|line| line.contains("find-me")).expect("a line");
    for part in ["GET", "/api/me", "status=200", "127.0.0.1"] {
        assert!(line.contains(part), "{line}");
    }
    for secret in [&*access, &*refresh, crate::harness::PASSWORD, values[0], values[1]] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    assert!(log.contains("token=…"), "{log}");
}

#[tokio::test]
async fn what_does_not_finish_is_ended_at_the_deadline() {
    let mut config = config();
    config.deadlines.shutdown = Duration::from_millis(100);
    let server = Server::with(config).await;
    let access = server.user("ann").await;
    let _socket = server.session(&access).await;
    let mut slow = server.connect().await;
    let head = "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{";
    slow.write_all(head.as_bytes()).await.expect("sent");
    server.stopped().await;
}
