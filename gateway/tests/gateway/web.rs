//! The web client over HTTP: its files, its page, caching, compression, and what is not its path.

use bytes::Bytes;
use parlance_gateway::{Web, WebFile};

use crate::harness::{Reply, Server, config, request, with};

const PAGE: &str =
    "<!doctype html><title>chat</title><script type=module src=/assets/app-1.js></script>";
const SCRIPT: &str = "console.log('the whole client, as it is')";

fn file(path: &str, plain: &'static str, br: Option<&'static str>) -> WebFile {
    let gzip = br.map(|_| Bytes::from_static(b"as gzip"));
    WebFile { path: path.into(), plain: plain.into(), br: br.map(Bytes::from), gzip }
}

async fn server() -> Server {
    let mut config = config();
    config.web = Web::of([
        file("/index.html", PAGE, Some("page as br")),
        file("/assets/app-1.js", SCRIPT, Some("as br")),
        file("/assets/app-1.css", "a{}", None),
        file("/favicon.svg", "<svg/>", None),
    ]);
    Server::with(config).await
}

async fn get(server: &Server, path: &str, headers: &[(&'static str, &str)]) -> Reply {
    server.send(with(request("GET", path, "", None), headers)).await
}

#[tokio::test]
async fn the_page_comes_with_the_policy_that_the_client_is_built_for() {
    let server = server().await;
    let page = get(&server, "/", &[]).await;
    assert_eq!((page.status, &page.body[..]), (200, PAGE.as_bytes()));
    assert_eq!(
        page.headers["content-security-policy"],
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.headers[name], value, "{name}");
    }
    let permissions = page.headers["permissions-policy"].to_str().expect("text");
    assert!(permissions.contains("camera=()") && permissions.contains("geolocation=()"));
    assert!(!page.headers.contains_key("strict-transport-security"), "this is no TLS");
}

#[tokio::test]
async fn a_page_over_tls_asks_browsers_to_stay_with_it() {
    let mut config = config();
    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("a network")];
    let server = Server::with(config).await;
    let page = get(&server, "/", &[("x-forwarded-proto", "https")]).await;
    assert_eq!(page.headers["strict-transport-security"], "max-age=31536000");
}

#[tokio::test]
async fn files_have_their_type_and_hashed_ones_are_kept_for_ever() {
    let server = server().await;
    for (path, kind, cache) in [
        (
            "/assets/app-1.js",
            "text/javascript; charset=utf-8",
            "public, max-age=31536000, immutable",
        ),
        ("/assets/app-1.css", "text/css; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/favicon.svg", "image/svg+xml", "no-cache"),
        ("/index.html", "text/html; charset=utf-8", "no-cache"),
    ] {
        let reply = get(&server, path, &[]).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers["content-type"], kind);
        assert_eq!(reply.headers["cache-control"], cache);
        assert!(!reply.headers.contains_key("content-encoding"));
    }
}

#[tokio::test]
async fn each_client_gets_the_encoding_that_it_likes_best() {
    let server = server().await;
    let mut tags = Vec::new();
    for (accept, encoding, body) in [
        ("gzip, deflate, br", Some("br"), "as br"),
        ("br;q=0.2, gzip;q=0.9", Some("gzip"), "as gzip"),
        ("identity", None, SCRIPT),
    ] {
        let reply = get(&server, "/assets/app-1.js", &[("accept-encoding", accept)]).await;
        let named = reply.headers.get("content-encoding").map(|name| name.to_str().expect("text"));
        assert_eq!((reply.status, named, &reply.body[..]), (200, encoding, body.as_bytes()));
        assert_eq!(reply.headers["vary"], "Accept-Encoding");
        assert_eq!(reply.headers["content-length"], body.len().to_string());
        assert_eq!(reply.headers["content-type"], "text/javascript; charset=utf-8");
        tags.push(reply.headers["etag"].clone());
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 3, "a strong tag is of one representation");
    let plain = get(&server, "/assets/app-1.css", &[("accept-encoding", "br")]).await;
    assert!(!plain.headers.contains_key("vary") && !plain.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let server = server().await;
    for path in ["/", "/r/some-room", "/assets/app-1.js", "/favicon.svg"] {
        let first = get(&server, path, &[("accept-encoding", "br")]).await;
        let tag = first.headers["etag"].to_str().expect("text").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
        for has in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let asked = [("accept-encoding", "br"), ("if-none-match", &*has)];
            let reply = get(&server, path, &asked).await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{path} {has}");
            assert_eq!(reply.headers["etag"], *tag);
            assert_eq!(reply.headers["cache-control"], first.headers["cache-control"]);
            assert!(!reply.headers.contains_key("content-encoding"));
        }
        let asked = [("accept-encoding", "br"), ("if-none-match", "\"another\"")];
        assert_eq!(get(&server, path, &asked).await.status, 200);
    }
    // What it has in one encoding is not what it would get in another.
    let br = get(&server, "/", &[("accept-encoding", "br")]).await.headers["etag"].clone();
    let asked = [("if-none-match", br.to_str().expect("text"))];
    assert_eq!(get(&server, "/", &asked).await.status, 200);
}

#[tokio::test]
async fn a_head_is_a_get_without_the_body() {
    let server = server().await;
    for path in ["/", "/r/some-room", "/assets/app-1.js", "/favicon.svg"] {
        let of_get = get(&server, path, &[("accept-encoding", "br")]).await;
        let asked = with(request("HEAD", path, "", None), &[("accept-encoding", "br")]);
        let of_head = server.send(asked).await;
        assert_eq!((of_head.status, of_head.body.len()), (200, 0), "{path}");
        for name in ["content-length", "content-type", "content-encoding", "etag", "cache-control"]
        {
            assert_eq!(of_head.headers.get(name), of_get.headers.get(name), "{path} {name}");
        }
    }
}

#[tokio::test]
async fn the_clients_own_paths_answer_with_its_page() {
    let server = server().await;
    for path in [
        "/r/01890000-0000-7000-8000-000000000000",
        "/browse",
        "/settings",
        "/settings/",
        "/admin",
        "/sign-in",
        "/register",
        "/r/x?at=5",
        "/r/caf%C3%A9",
    ] {
        let reply = get(&server, path, &[]).await;
        assert_eq!((reply.status, &reply.body[..]), (200, PAGE.as_bytes()), "{path}");
        assert!(
            reply.headers["content-security-policy"].to_str().expect("text").contains("script-src")
        );
    }
    for method in ["POST", "PUT", "DELETE"] {
        let reply = server.call(method, "/browse", "", None).await;
        assert_eq!(reply.code(), (405, "method_not_allowed".into()));
        assert_eq!(reply.headers["allow"], "GET,HEAD");
    }
}

#[tokio::test]
async fn unknown_calls_files_and_ways_up_are_not_found() {
    let server = server().await;
    for path in [
        "/api/nowhere",
        "/api/",
        "/API/rooms",
        "/ws/nowhere",
        "/metrics",
        "/assets/app-2.js",
        "/assets/",
        "/nope.js",
        "/.env",
        "/.git/config",
        "/../Cargo.toml",
        "/assets/../index.html",
        "/assets/..%2findex.html",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/r/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/r/..%5c..%5cx",
        "/r%2Fx",
        "/r/%252e%252e%252fx.",
        "//etc/passwd",
        "/r//x",
        "/assets%2Fapp-1.js",
        "/index.html/x",
        "/r/%00",
    ] {
        for headers in [&[][..], &[("accept", "text/html")]] {
            let reply = get(&server, path, headers).await;
            assert_eq!(reply.code(), (404, "not_found".into()), "{path}");
            assert_eq!(reply.headers["content-type"], "application/json");
            // A file of another release is not missing for ever.
            assert_eq!(reply.headers["cache-control"], "no-store");
        }
    }
}

#[tokio::test]
async fn without_a_client_the_root_says_how_to_get_one_and_names_the_api() {
    let server = Server::start().await;
    let page = get(&server, "/", &[]).await;
    let text = String::from_utf8(page.body.to_vec()).expect("text");
    assert_eq!(page.status, 200);
    assert!(
        text.contains("no web client")
            && text.contains("gateway/web")
            && text.contains("/api/rooms")
    );
    assert_eq!(get(&server, "/r/some-room", &[]).await.code(), (404, "not_found".into()));
    let api = String::from_utf8(get(&server, "/api", &[]).await.body.to_vec()).expect("text");
    assert!(api.contains("/api/rooms") && !api.contains("no web client"));
    assert!(!api.contains("/*STYLE*/") && !api.contains("<!--CLIENT-->"));
}
