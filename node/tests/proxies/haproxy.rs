//! HAProxy, speaking HTTP, and passing bytes with the PROXY protocol.

use crate::harness::{Certificate, Door, Node, Proxy, free_address};
use crate::talk::{a_huge_body_does_not_reach, all_is_as_without, an_idle_socket_stays};

/// All three nodes of the example are the one.
async fn before(node: &Node, example: &str) -> (Proxy, Door) {
    let mut proxy = Proxy::prepare();
    let file = proxy.example(example, &[]);
    let address = free_address().await;
    let mut environment = vec![("PARLANCE_BIND", address.to_string())];
    for name in ["PARLANCE_NODE_1", "PARLANCE_NODE_2", "PARLANCE_NODE_3"] {
        environment.push((name, node.address.to_string()));
    }
    proxy.run("haproxy", &["-db", "-f", &file.to_string_lossy()], &environment);
    (proxy, Door::new(address, None))
}

async fn speaking_http() -> (Node, Proxy, Door) {
    let node = Node::start("trusted_proxies = [\"127.0.0.1\"]").await;
    let (mut proxy, door) = before(&node, "haproxy.cfg").await;
    proxy.ready(&door).await;
    (node, proxy, door)
}

async fn passing_bytes() -> (Node, Proxy, Door) {
    let certificate = Certificate::make();
    let lines = format!(
        "tls_cert = {:?}\ntls_key = {:?}\nproxy_protocol_from = [\"127.0.0.1\"]",
        certificate.certificate, certificate.key
    );
    let node = Node::start(&lines).await;
    let (mut proxy, mut door) = before(&node, "haproxy-tcp.cfg").await;
    door.trust = Some(certificate.trust.clone());
    // Only a node whose checks succeed is asked anything.
    proxy.ready(&door).await;
    (node, proxy, door)
}

#[tokio::test]
async fn haproxy_speaking_http() {
    let (node, _proxy, door) = speaking_http().await;
    all_is_as_without(&door, &node).await;
    door.ask("GET", "/metrics", "", None).await.expect(404);
    a_huge_body_does_not_reach(&door, &node).await;
}

#[tokio::test]
async fn haproxy_passing_bytes_with_the_clients_address_before_them() {
    let (node, proxy, door) = passing_bytes().await;
    all_is_as_without(&door, &node).await;
    let over_http2 = Door { http2: true, ..door.clone() };
    over_http2.ask("GET", "/api/health", "", None).await.expect(200);
    let log = proxy.log();
    assert!(!log.contains("is DOWN"), "the checks of every node succeed: {log}");
    // Who is not behind the proxy is not heard at all.
    let straight = Door { address: node.address, from: [127, 0, 0, 1].into(), ..door };
    assert!(straight.try_ask("GET", "/api/health", "", &[], None).await.is_err());
}

#[tokio::test]
#[ignore = "idles for 100 seconds"]
async fn an_idle_socket_stays_behind_haproxy() {
    let (_node, _proxy, door) = speaking_http().await;
    let (_of_bytes, _passing, other) = passing_bytes().await;
    tokio::join!(an_idle_socket_stays(&door), an_idle_socket_stays(&other));
}
