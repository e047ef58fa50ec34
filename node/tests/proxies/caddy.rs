//! Caddy. Its own certificates need the world outside, so here it speaks plainly.

use crate::harness::{Door, Node, Proxy, free_address};
use crate::talk::{all_is_as_without, an_idle_socket_stays};

async fn behind_caddy() -> (Node, Proxy, Door) {
    let node = Node::start("trusted_proxies = [\"127.0.0.1\"]").await;
    let mut proxy = Proxy::prepare();
    let address = free_address().await;
    let site = format!("http://:{} {{\n\tbind {}", address.port(), address.ip());
    let node_address = node.address.to_string();
    let file = proxy.example(
        "Caddyfile",
        &[
            ("\tservers {\n", 1, "\tadmin off\n\tservers {\n"),
            ("chat.example.com {", 1, &site),
            ("10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080", 1, &node_address),
        ],
    );
    let arguments = ["run", "--adapter", "caddyfile", "--config", &file.to_string_lossy()];
    proxy.run("caddy", &arguments, &[]);
    let door = Door::new(address, None);
    proxy.ready(&door).await;
    (node, proxy, door)
}

#[tokio::test]
async fn caddy_with_checks_of_its_own() {
    let (node, _proxy, door) = behind_caddy().await;
    all_is_as_without(&door, &node).await;
    door.ask("GET", "/metrics", "", None).await.expect(404);
}

#[tokio::test]
#[ignore = "idles for 100 seconds"]
async fn an_idle_socket_stays_behind_caddy() {
    let (_node, _proxy, door) = behind_caddy().await;
    an_idle_socket_stays(&door).await;
}
