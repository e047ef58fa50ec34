//! Pages of other origins: which may call this server from a browser, and what they may read.

use parlance_gateway::GatewayConfig;

use crate::harness::{Reply, Server, config, request, with};

const LISTED: (&str, &str) = ("origin", "https://app.example");

fn listing() -> GatewayConfig {
    let mut config = config();
    config.allowed_origins = vec!["https://app.example".into(), "http://localhost:5173".into()];
    config
}

async fn preflight(server: &Server, origin: &str, path: &str) -> Reply {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    server.send(with(request("OPTIONS", path, "", None), &asked)).await
}

fn says_nothing(reply: &Reply) -> bool {
    !reply.headers.keys().any(|name| name.as_str().starts_with("access-control-"))
}

#[tokio::test]
async fn a_page_of_a_listed_origin_gets_leave() {
    let server = Server::with(listing()).await;
    for origin in ["https://app.example", "http://localhost:5173"] {
        for path in ["/api/rooms", "/api/auth/login", "/nowhere"] {
            let reply = preflight(&server, origin, path).await;
            reply.expect(204);
            assert_eq!(reply.headers["access-control-allow-origin"], origin);
            assert_eq!(reply.headers["access-control-allow-credentials"], "true");
            assert_eq!(reply.headers["access-control-max-age"], "7200");
            assert_eq!(reply.headers["vary"], "Origin");
            let methods = reply.headers["access-control-allow-methods"].to_str().expect("text");
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                assert!(methods.contains(method), "{methods}");
            }
            let headers = reply.headers["access-control-allow-headers"].to_str().expect("text");
            for header in ["authorization", "content-type", "idempotency-key", "x-parlance-client"]
            {
                assert!(headers.contains(header), "{headers}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_any_other_origin_gets_none() {
    let server = Server::with(listing()).await;
    for origin in [
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "https://sub.app.example",
        "https://app.example:8443",
        "https://app.example/",
        "null",
        "*",
    ] {
        let reply = preflight(&server, origin, "/api/rooms").await;
        assert_eq!(reply.code(), (403, "forbidden".into()), "{origin}");
        assert!(says_nothing(&reply), "{origin}: {reply:?}");
        let asked = with(request("GET", "/api/health", "", None), &[("origin", origin)]);
        let reply = server.send(asked).await;
        reply.expect(200);
        assert!(says_nothing(&reply), "{origin}: {reply:?}");
        assert_eq!(reply.headers["vary"], "Origin", "a cache must not mix them up");
    }
    // Nothing is listed by default.
    let server = Server::start().await;
    let reply = preflight(&server, LISTED.1, "/api/rooms").await;
    assert_eq!(reply.status, 403);
    assert!(says_nothing(&reply));
}

#[tokio::test]
async fn answers_and_refusals_can_be_read_by_a_listed_page() {
    let mut config = listing();
    config.rates.http_per_second = 1;
    config.rates.http_burst = 2;
    let server = Server::with(config).await;
    let mut statuses = Vec::new();
    for path in ["/api/me", "/nowhere", "/api/me"] {
        let reply = server.send(with(request("GET", path, "", None), &[LISTED])).await;
        assert_eq!(reply.headers["access-control-allow-origin"], LISTED.1);
        assert_eq!(reply.headers["access-control-allow-credentials"], "true");
        assert_eq!(reply.headers["access-control-expose-headers"], "x-request-id, retry-after");
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [401, 404, 429]);
    // Who is no page gets nothing of it.
    assert!(says_nothing(&server.get("/api/health", "").await));
}

#[tokio::test]
async fn what_only_looks_like_a_preflight_is_a_wrong_method() {
    let server = Server::with(listing()).await;
    let bare = server.call("OPTIONS", "/api/rooms", "", None).await;
    assert_eq!(bare.code(), (405, "method_not_allowed".into()));
    let no_method = with(request("OPTIONS", "/api/rooms", "", None), &[LISTED]);
    assert_eq!(server.send(no_method).await.status, 405);
}
