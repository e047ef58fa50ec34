//! The web client over HTTP: its files, its page for every path of its own router, and what is
//! answered where no API call matches. Without a client `/` is the page that names the API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use parlance_actors::vocab::{Code, Refusal};

use super::page;
use crate::app::App;
use crate::error::ApiError;
use crate::web::File;

/// For pages: nothing but what this server itself serves, and no script or style inside the page.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; \
    worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// First parts of paths that are never the client's.
const RESERVED: [&str; 5] = ["api", "ws", "metrics", "docs", "assets"];
const METHODS: &str = "GET,HEAD";

/// `GET /`.
pub(super) async fn index(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    match app.config.web.page() {
        Some(page) => file(page, &headers),
        None => page::names_the_api(false),
    }
}

/// Whatever no route matches.
pub(super) async fn other(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let web = &app.config.web;
    let found = web.file(path).or_else(|| web.page().filter(|_| is_of_client(path)));
    match (found, request.method()) {
        (Some(found), &Method::GET | &Method::HEAD) => file(found, request.headers()),
        (Some(_), _) => {
            let allow = [(header::ALLOW, HeaderValue::from_static(METHODS))];
            (StatusCode::METHOD_NOT_ALLOWED, allow).into_response()
        }
        (None, _) => no_such_path(request.uri()).into_response(),
    }
}

/// A path of the client's own router: names without dots, and nothing that another reader of the
/// path could take for a way up or for a longer path.
fn is_of_client(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let is_odd = ["//", "\\", "%2f", "%5c", "%2e", "%00"].iter().any(|odd| lower.contains(odd));
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    !is_odd && !path.contains('.') && !RESERVED.iter().any(|one| first.eq_ignore_ascii_case(one))
}

fn no_such_path(uri: &Uri) -> ApiError {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::new(Code::NotFound, format!("no such path: {path}; GET /api names the API")).into()
}

/// A file in the form that the client likes, or that it has it already. What a `HEAD` must not
/// have is taken away by the server.
fn file(file: &File, asked: &HeaderMap) -> Response {
    let (form, encoding) = file.form(asked);
    let has_it = has(asked, &form.etag);
    let mut response = if has_it {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(form.bytes.clone()))
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, form.etag.clone());
    let cache = if file.is_hashed { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if file.varies() {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    // Also when the browser has it: it takes these from every answer, and would have the API's otherwise.
    if file.is_page {
        for (name, value) in OF_PAGES {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if has_it {
        return response;
    }
    headers.insert(header::CONTENT_TYPE, file.content_type.clone());
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

const OF_PAGES: [(HeaderName, &str); 2] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    // `no-referrer` would also take the origin from requests that are checked for it.
    (header::REFERRER_POLICY, "same-origin"),
];

/// `If-None-Match` (RFC 9110, section 13.1.2), by weak comparison.
fn has(asked: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = asked.get_all(header::IF_NONE_MATCH).iter();
    tags.filter_map(|tags| tags.to_str().ok()).flat_map(|tags| tags.split(',')).any(|tag| {
        let tag = tag.trim();
        tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_paths_of_the_client() {
        for path in
            ["/browse", "/r/0b6f0a3e-3f6e-4f0e-9b52-0d8a4f1c2a11", "/settings/", "/r/%C3%A9"]
        {
            assert!(is_of_client(path), "{path}");
        }
        for path in [
            "/api",
            "/api/",
            "/api/rooms/x",
            "/API/x",
            "/ws",
            "/ws/chat",
            "/metrics",
            "/docs",
            "/assets/app",
            "/nope.js",
            "/.well-known/x",
            "/../etc/passwd",
            "/r/..%2f",
            "/r%2Fx",
            "/r/%5cx",
            "/r\\x",
            "//r/x",
            "/r//x",
            "/%2e%2e/x",
            "/r/%00",
        ] {
            assert!(!is_of_client(path), "{path}");
        }
    }
}
