//! From an order to a certificate that is shown, kept and renewed; and orders that come to nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::node::{Node, get, shown, speak};
use crate::server::{Lifetime, Server};

const NAME: &str = "chat.example.com";
const OTHER: &str = "www.example.com";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_certificate_is_ordered_and_the_next_start_shows_it_at_once() {
    let server = Server::start(false).await;
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &server, &[NAME, OTHER]).await;
    // The server does not find the node yet.
    node.connect(&server.roots, NAME, &["http/1.1"]).await.expect_err("no certificate");
    node.says("TLS connections are refused: there is no certificate yet").await;
    let health = node.health().await;
    assert!(health.status.success(), "{health:?}");

    server.reaches(node.port);
    let first = node.shows_another(&server.roots, NAME, None).await;
    assert_eq!(node.shows_another(&server.roots, OTHER, None).await, first);
    let stream = node.connect(&server.roots, NAME, &["h2", "http/1.1"]).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let stream = node.connect(&server.roots, NAME, &["acme-tls/1", "http/1.1"]).await.expect("TLS");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut requests = speak(stream).await;
    assert_eq!(get(&mut requests, "/api/health").await, r#"{"status":"ok"}"#);
    let metrics = get(&mut requests, "/metrics").await;
    for metric in [
        "parlance_tls_certificate_not_after_seconds ",
        "parlance_acme_orders_total{outcome=\"issued\"} 1",
    ] {
        assert!(metrics.contains(metric), "{metrics}");
    }
    // Nothing is to be proven any more.
    node.connect(&server.roots, NAME, &["acme-tls/1"]).await.expect_err("no challenge");

    let kept = folder.path().join("data/acme");
    assert_eq!(mode(&kept), 0o700);
    let files = fs::read_dir(&kept).expect("there").map(|file| file.expect("a file").path());
    let files = files.collect::<Vec<_>>();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600));
    let said = node.end().await;
    assert!(said.contains("a certificate was issued") && said.contains("days_left=89"), "{said}");

    let node = Node::start(folder.path(), &server, &[OTHER, NAME]).await;
    let stream = node.connect(&server.roots, NAME, &["http/1.1"]).await.expect("at once");
    assert_eq!(shown(&stream), first);
    let said = node.end().await;
    assert!(said.contains("the certificate of an earlier order is used"), "{said}");
    assert!(!said.contains("ordering"), "{said}");
    assert_eq!((server.accounts(), server.orders()), (1, 1));
}

#[tokio::test]
async fn a_certificate_is_renewed_behind_a_balancer_and_open_connections_go_on() {
    let server = Server::start(true).await;
    server.gives(&[Lifetime::SHORT]);
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start_proxied(folder.path(), &server, &[NAME]).await;
    server.reaches(node.port);
    let first = node.shows_another(&server.roots, NAME, None).await;
    let open = node.connect(&server.roots, NAME, &["http/1.1"]).await.expect("TLS");
    let mut open = speak(open).await;
    get(&mut open, "/api/health").await;

    node.shows_another(&server.roots, NAME, Some(&first)).await;
    get(&mut open, "/api/health").await;
    assert_eq!((server.accounts(), server.orders()), (1, 2));
    node.end().await;
}

#[tokio::test]
async fn a_node_whose_orders_are_refused_says_why_and_lives() {
    let server = Server::start(false).await;
    server.refuses_orders(429, "rateLimited", "too many certificates for \"example.com\"");
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), &server, &[NAME]).await;
    node.says(
        "error=the ACME server says 429, urn:ietf:params:acme:error:rateLimited: too many \
         certificates for \"example.com\" retry_seconds=60",
    )
    .await;
    assert!(node.health().await.status.success());
    node.connect(&server.roots, NAME, &["http/1.1"]).await.expect_err("no certificate");
    node.end().await;
    assert_eq!((server.accounts(), server.orders()), (1, 0));

    server.takes_orders();
    server.expects_another_account();
    let node = Node::start(folder.path(), &server, &[NAME]).await;
    server.reaches(node.port);
    node.says(
        "error=chat.example.com was not proven to be this node's: its acmeIdentifier is that of \
         another key authorization retry_seconds=60",
    )
    .await;
    assert!(node.health().await.status.success());
    node.end().await;
    assert_eq!((server.accounts(), server.orders()), (1, 1), "the account was kept");
}
