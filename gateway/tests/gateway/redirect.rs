//! The plain address beside the one with TLS.

use std::net::SocketAddr;
use std::time::Duration;

use parlance_gateway::config::RedirectFrom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::{secured, tls_server};
use crate::harness::{Server, config, exchange, request, within};

fn with_redirect(port: Option<u16>) -> parlance_gateway::GatewayConfig {
    let mut config = config();
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.redirect = Some(RedirectFrom { listen, port });
    config
}

async fn plain(server: &Server) -> TcpStream {
    let address = server.redirect.expect("there is one");
    TcpStream::connect(address).await.expect("connected")
}

/// Everything that is answered until the end.
async fn raw(server: &Server, ask: &str) -> String {
    let mut stream = plain(server).await;
    stream.write_all(ask.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.expect("answered and closed");
    answer
}

#[tokio::test]
async fn plain_http_is_sent_to_the_same_place_over_https() {
    let (server, roots) = tls_server(with_redirect(None)).await;
    for (method, path) in [("GET", "/r/1?a=b"), ("GET", "/api/health"), ("POST", "/api/rooms")] {
        let mut asked = request(method, path, "", None);
        asked.headers_mut().insert("host", "chat.example.org:80".parse().expect("a header"));
        let reply = exchange(plain(&server).await, asked).await;
        assert_eq!(reply.status, 308);
        let port = server.address.port();
        assert_eq!(reply.headers["location"], format!("https://chat.example.org:{port}{path}"));
        assert!(reply.body.is_empty());
    }
    let stream = secured(server.connect().await, &roots, "http/1.1").await.expect("TLS");
    assert_eq!(exchange(stream, request("GET", "/api/health", "", None)).await.status, 200);
    server.stopped().await;
}

#[tokio::test]
async fn the_redirect_names_the_port_that_clients_see_and_no_host_that_is_none() {
    let (server, _) = tls_server(with_redirect(Some(443))).await;
    let answer = raw(&server, "GET /a HTTP/1.1\r\nhost: chat.example.org:8080\r\n\r\n").await;
    assert!(answer.contains("\r\nlocation: https://chat.example.org/a\r\n"), "{answer}");
    for host in ["evil.example/x?", "user@evil.example", "a b", ""] {
        let answer = raw(&server, &format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && !answer.contains("location"), "{answer}");
    }
    let answer = raw(&server, "GET / HTTP/1.1\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let answer = raw(&server, "GET /\r\nx-evil: 1 HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    assert!(!answer.contains("x-evil"), "{answer}");
}

#[tokio::test]
async fn it_has_the_bounds_of_the_main_address() {
    let mut config = with_redirect(None);
    config.connections_per_address_max = 2;
    config.deadlines.header = Duration::from_millis(300);
    let (server, _) = tls_server(config).await;
    let mut held = [plain(&server).await, server.connect().await];
    let mut answer = String::new();
    within(plain(&server).await.read_to_string(&mut answer)).await.expect("refused");
    assert!(answer.starts_with("HTTP/1.1 503 "), "one count for both addresses: {answer}");
    held[0].write_all(b"GET / HTTP/1.1\r\nx-slow: ").await.expect("sent");
    let mut answer = Vec::new();
    let _ = within(held[0].read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 308"), "cut off: {answer:?}");
}

#[tokio::test]
async fn it_ends_with_the_server() {
    let (server, _) = tls_server(with_redirect(None)).await;
    let mut idle = plain(&server).await;
    idle.write_all(b"GET / HTTP/1.1\r\n").await.expect("sent");
    let address = server.redirect.expect("there is one");
    server.stopped().await;
    TcpStream::connect(address).await.expect_err("nobody listens");
}
