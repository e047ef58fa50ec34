//! The PROXY protocol: who is believed, who is not, and what becomes of half a header.

use std::net::SocketAddr;
use std::time::Duration;

use parlance_gateway::GatewayConfig;
use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::{secured, tls_server};
use crate::harness::{Server, config, exchange, request, within};

fn believing(network: &str) -> GatewayConfig {
    let mut config = config();
    config.proxy_protocol_from = vec![network.parse().expect("a network")];
    config
}

/// A header for a client, or for the proxy itself.
fn header(client: Option<&str>) -> Vec<u8> {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let header = match client {
        Some(client) => {
            let to = if client.starts_with('[') { "[2001:db8::1]:443" } else { "10.0.0.1:443" };
            ProxyHeader::with_address(ProxiedAddress::stream(address(client), address(to)))
        }
        None => ProxyHeader::with_local(),
    };
    let mut bytes = [0; 128];
    let length = header.encode_to_slice_v2(&mut bytes).expect("room");
    bytes[..length].to_vec()
}

/// A connection that began with these bytes.
async fn begun(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut stream = server.connect().await;
    stream.write_all(bytes).await.expect("sent");
    stream
}

async fn status_for(server: &Server, client: &str) -> u16 {
    let stream = begun(server, &header(Some(client))).await;
    exchange(stream, request("GET", "/api/me", "", None)).await.status
}

/// What comes until the end; nothing, or a reset, for a connection that was closed unheard.
async fn until_the_end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    let _ = within(stream.read_to_end(&mut answer)).await;
    answer
}

#[tokio::test]
async fn the_client_that_the_header_names_is_the_one_that_limits_count() {
    let mut config = believing("127.0.0.0/8");
    config.rates.http_per_second = 1;
    config.rates.http_burst = 2;
    let server = Server::with(config).await;
    for host in 0..5 {
        assert_eq!(status_for(&server, &format!("203.0.113.{host}:4000")).await, 401);
        assert_eq!(status_for(&server, &format!("[2001:db8:0:{host}::1]:4000")).await, 401);
    }
    let mut answers = Vec::new();
    for port in 0..5 {
        answers.push(status_for(&server, &format!("203.0.113.77:{}", 4000 + port)).await);
    }
    assert!(answers.contains(&429), "{answers:?}");
    // The client is no proxy: what its headers say of others changes nothing.
    let mut forged = request("GET", "/api/me", "", None);
    forged.headers_mut().insert("x-forwarded-for", "198.51.100.1".parse().expect("a header"));
    let mut answers = Vec::new();
    for _ in 0..5 {
        let stream = begun(&server, &header(Some("203.0.113.88:4000"))).await;
        answers.push(exchange(stream, forged.clone()).await.status);
    }
    assert!(answers.contains(&429), "{answers:?}");
}

#[tokio::test]
async fn connections_are_counted_for_the_client_that_is_named() {
    let mut config = believing("127.0.0.1/32");
    config.connections_per_address_max = 2;
    let server = Server::with(config).await;
    let mut held = Vec::new();
    for client in ["203.0.113.1:1", "203.0.113.1:2", "203.0.113.2:1", "203.0.113.2:2"] {
        let mut stream = begun(&server, &header(Some(client))).await;
        let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("sent");
        let mut start = [0; 12];
        within(stream.read_exact(&mut start)).await.expect("an answer");
        assert_eq!(&start, b"HTTP/1.1 200");
        held.push(stream);
    }
    let third = begun(&server, &header(Some("203.0.113.1:3"))).await;
    let answer = String::from_utf8(until_the_end(third).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop(held);
}

/// Whether a client over such a header is told to come by HTTPS only.
async fn is_secure(server: &Server, header: ProxyHeader<'_>) -> bool {
    let mut bytes = [0; 128];
    let length = header.encode_to_slice_v2(&mut bytes).expect("room");
    let stream = begun(server, &bytes[..length]).await;
    let reply = exchange(stream, request("GET", "/api/health", "", None)).await;
    assert_eq!(reply.status, 200);
    reply.headers.contains_key("strict-transport-security")
}

#[tokio::test]
async fn tls_that_the_balancer_has_ended_counts_if_the_header_says_so() {
    let server = Server::with(believing("127.0.0.1/32")).await;
    let [client, to] = ["203.0.113.5:4000", "10.0.0.1:443"]
        .map(|text| text.parse::<SocketAddr>().expect("an address"));
    let header = |over_tls| {
        let mut header = ProxyHeader::with_address(ProxiedAddress::stream(client, to));
        header.append_tlv(Tlv::Ssl(SslInfo::new(over_tls, false, false, 0)));
        header
    };
    assert!(is_secure(&server, header(true)).await);
    assert!(!is_secure(&server, header(false)).await);
    let without = ProxyHeader::with_address(ProxiedAddress::stream(client, to));
    assert!(!is_secure(&server, without).await);
}

#[tokio::test]
async fn a_proxys_own_checks_are_answered() {
    let server = Server::with(believing("127.0.0.1/32")).await;
    let stream = begun(&server, &header(None)).await;
    let reply = exchange(stream, request("GET", "/api/health/ready", "", None)).await;
    assert_eq!(reply.status, 200);
    // A look whether anybody listens.
    drop(server.connect().await);
}

#[tokio::test]
async fn what_is_no_header_closes_the_connection_unheard() {
    let mut config = believing("127.0.0.1/32");
    config.deadlines.header = Duration::from_millis(300);
    let server = Server::with(config).await;
    let ask = "GET /api/health HTTP/1.1\r\nhost: x\r\n\r\n";
    let version_1 = format!("PROXY TCP4 203.0.113.5 10.0.0.1 4000 443\r\n{ask}");
    let mut huge = header(None);
    huge[14..16].copy_from_slice(&[0xff, 0xff]);
    let mut of_version_3 = header(Some("203.0.113.5:4000"));
    of_version_3[12] = 0x31;
    for bytes in [ask.as_bytes(), version_1.as_bytes(), &huge, &of_version_3] {
        let stream = begun(&server, &[bytes, ask.as_bytes()].concat()).await;
        assert_eq!(until_the_end(stream).await, b"", "{bytes:?}");
    }
    // Half of one, and nothing at all.
    let whole = header(Some("203.0.113.5:4000"));
    for half in [&whole[..20], &[]] {
        let stream = begun(&server, half).await;
        assert_eq!(until_the_end(stream).await, b"");
    }
    assert_eq!(status_for(&server, "203.0.113.5:4000").await, 401, "and others go on");
}

#[tokio::test]
async fn a_header_from_anybody_else_is_no_header() {
    let server = Server::with(believing("10.0.0.0/8")).await;
    let stream = begun(&server, &header(Some("203.0.113.5:4000"))).await;
    let answer = String::from_utf8(until_the_end(stream).await).expect("text");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let reply = server.get("/api/health", "").await;
    assert_eq!(reply.status, 200, "and none is needed");
}

#[tokio::test]
async fn the_header_comes_before_tls() {
    let (server, roots) = tls_server(believing("127.0.0.1/32")).await;
    let stream = begun(&server, &header(Some("203.0.113.5:4000"))).await;
    let stream = secured(stream, &roots, "http/1.1").await.expect("TLS");
    assert_eq!(exchange(stream, request("GET", "/api/health", "", None)).await.status, 200);
    secured(server.connect().await, &roots, "http/1.1").await.expect_err("without it");
}
