//! HTTP: the routes, and what every request gets around its handler (a correlation id, its
//! client's address, admission, security headers, CORS, one log line). One file per resource.

mod auth;
mod chat;
mod cluster;
mod cors;
pub(crate) mod health;
mod me;
mod messages;
mod page;
pub(crate) mod reference;
mod rooms;
mod shapes;
mod users;
mod web;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post, put};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use hyper::body::{Body as _, Incoming};
use parlance_actors::vocab::{Code, Refusal};
use tower::ServiceExt as _;
use tracing::Instrument as _;

use crate::admission::Admitted;
use crate::app::App;
use crate::error::ApiError;
use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::proxies::Client;
use crate::socket;

/// The other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
    /// Held by a socket for as long as it lives.
    pub(crate) admitted: Arc<Admitted>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
/// What pages ask a browser for and a chat does not need.
const NO_PERMISSIONS: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), \
    magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=()";

/// A router that knows its paths: the API's description is held against them.
struct Routes {
    router: Router<Arc<App>>,
    paths: Vec<&'static str>,
}

impl Routes {
    fn new() -> Self {
        Self { router: Router::new(), paths: Vec::new() }
    }

    fn route(mut self, path: &'static str, methods: MethodRouter<Arc<App>>) -> Self {
        self.router = self.router.route(path, methods);
        self.paths.push(path);
        self
    }
}

/// The router and every path in it.
pub(crate) fn router(app: &Arc<App>) -> (Router, Vec<&'static str>) {
    let mut router = Routes::new()
        .route("/", get(web::index))
        .route("/api", get(page::api))
        .route("/docs", get(reference::page))
        .route("/docs/{file}", get(reference::file))
        .route("/api/openapi.json", get(reference::openapi))
        .route("/api/asyncapi.json", get(reference::asyncapi))
        .route("/api/frames.json", get(reference::frames))
        .route("/api/health", get(health::live))
        .route("/api/health/ready", get(health::ready))
        .route("/api/auth/register", post(auth::register))
        .route("/api/auth/login", post(auth::login))
        .route("/api/auth/refresh", post(auth::refresh))
        .route("/api/auth/logout", post(auth::logout))
        .route("/api/auth/ws-ticket", post(auth::ticket))
        .route("/api/auth/password", put(auth::password))
        .route("/api/me", get(me::get).patch(me::change))
        .route("/api/me/mentions", get(me::mentions))
        .route("/api/users", get(users::find))
        .route("/api/users/{user}", get(users::get))
        .route("/api/direct", post(rooms::direct))
        .route("/api/rooms", post(rooms::create).get(rooms::list))
        .route("/api/rooms/browse", get(rooms::browse))
        .route("/api/rooms/{room}/pins", get(messages::pins))
        .route("/api/rooms/{room}", get(rooms::get).patch(rooms::change))
        .route("/api/rooms/{room}/join", post(rooms::join))
        .route("/api/rooms/{room}/leave", post(rooms::leave))
        .route("/api/rooms/{room}/members", get(rooms::members))
        .route(
            "/api/rooms/{room}/members/{user}",
            put(rooms::put_member).delete(rooms::delete_member),
        )
        .route("/api/rooms/{room}/read", put(rooms::read))
        .route("/api/rooms/{room}/messages", post(messages::send).get(messages::history))
        .route("/api/rooms/{room}/messages/{seq}", delete(messages::delete).patch(messages::edit))
        .route(
            "/api/rooms/{room}/messages/{seq}/reactions/{emoji}",
            put(messages::react).delete(messages::unreact),
        )
        .route("/api/rooms/{room}/messages/{seq}/pin", put(messages::pin).delete(messages::unpin))
        .route("/api/cluster", get(cluster::report))
        .route("/api/cluster/rooms", get(cluster::rooms))
        .route("/api/cluster/shards/{shard}/move", post(cluster::move_shard))
        .route("/api/cluster/shards/{shard}/pin", post(cluster::pin_shard))
        .route("/api/cluster/nodes/{node}/drain", post(cluster::drain))
        .route("/api/cluster/nodes/{node}/undrain", post(cluster::undrain))
        .route("/api/cluster/nodes/{node}/remove", post(cluster::remove))
        .route("/ws", get(socket::upgrade::v1));
    if app.config.simple_chat {
        router = router
            .route("/api/chat/messages", get(chat::messages))
            .route("/ws/chat", get(socket::upgrade::simple));
    }
    if app.metrics.is_some() {
        router = router.route("/metrics", get(health::metrics));
    }
    let Routes { router, paths } = router;
    (router.fallback(web::other).layer(from_fn(note_route)).with_state(app.clone()), paths)
}

/// Tells [`answer`], which is outside the router, which route it was.
async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// Everything around the router.
pub(crate) async fn answer(
    app: Arc<App>,
    router: Router,
    peer: Peer,
    request: http::Request<Incoming>,
) -> Response {
    let began = Instant::now();
    let client = app.proxies.client(peer.address, peer.tls, request.headers());
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = redacted(request.uri());
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default());
    let path_asked = request.uri().path();
    let (probe, scrape) = (is_probe(path_asked), path_asked == "/metrics");
    let admitted = if probe { Ok(()) } else { app.buckets.take(client.address, began.into()) };
    let origin = request.headers().get(header::ORIGIN).cloned();
    let preflight = || cors::preflight(&method, request.headers(), &app.config.allowed_origins);
    let mut response = match admitted.map(|()| preflight()) {
        Err(refusal) => ApiError(refusal).into_response(),
        Ok(Some(answer)) => answer,
        Ok(None) => {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(client);
            request.extensions_mut().insert(peer);
            match router.oneshot(request).instrument(span.clone()).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response = wrong_method(&method, &response);
    }
    stamp(response.headers_mut(), &id, client);
    cors::stamp(response.headers_mut(), origin.as_ref(), &app.config.allowed_origins);
    if method == Method::HEAD {
        response = without_body(response);
    }
    let route = response.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let (status, took) = (response.status().as_u16(), began.elapsed());
    span.in_scope(|| {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let client = client.address;
        // Balancers ask every second, and what they hear is in the metrics.
        if (probe && status < 500) || (scrape && status == 200) {
            tracing::debug!(%method, route, path, status, micros, %client, "request");
        } else {
            tracing::info!(%method, route, path, status, micros, %client, "request");
        }
    });
    count(&method, route, status, took);
    response
}

/// The correlation id that the client sent, if it is 1 to 128 visible ASCII characters, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sent = headers.get(REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    });
    sent.cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::now_v7().to_string();
        HeaderValue::from_str(&id).expect("a UUID is visible ASCII")
    })
}

/// Path and query without the secrets that simple chat and tickets carry there. Whatever the spelling, escapes
/// or separators: only what is plainly harmless is shown.
fn redacted(uri: &Uri) -> String {
    let Some(query) = uri.query() else { return uri.path().to_owned() };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, value)) if HARMLESS.contains(&name) && is_harmless(value) => part.to_owned(),
        Some((name, _)) if name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') => {
            format!("{name}=…")
        }
        _ => "…".to_owned(),
    });
    format!("{}?{}", uri.path(), parts.collect::<Vec<_>>().join("&"))
}

/// A number, a word, an id, or the beginning of a name.
fn is_harmless(value: &str) -> bool {
    value.len() <= VALUE_SHOWN_MAX
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_%+".contains(&byte))
}

/// A UUID as text.
const VALUE_SHOWN_MAX: usize = 36;
const HARMLESS: [&str; 5] = ["before", "after", "limit", "view", "prefix"];

fn is_probe(path: &str) -> bool {
    matches!(path, "/api/health" | "/api/health/ready")
}

fn wrong_method(method: &Method, response: &Response) -> Response {
    let allow = response.headers().get(header::ALLOW).cloned();
    let methods = allow.as_ref().and_then(|allow| allow.to_str().ok()).unwrap_or("none");
    let method: String = method.as_str().chars().take(20).collect();
    let detail = format!("{method} is not a method of this path; allowed are {methods}");
    let mut error = ApiError(Refusal::new(Code::MethodNotAllowed, detail)).into_response();
    if let Some(allow) = allow {
        error.headers_mut().insert(header::ALLOW, allow);
    }
    if let Some(route) = response.extensions().get::<MatchedPath>() {
        error.extensions_mut().insert(route.clone());
    }
    error
}

/// The answer to HEAD. The router's have no body; those that are made outside it would keep theirs
/// over HTTP/2.
fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if let Some(bytes @ 1..) = body.size_hint().exact() {
        parts.headers.entry(header::CONTENT_LENGTH).or_insert(bytes.into());
    }
    Response::from_parts(parts, Body::empty())
}

fn stamp(headers: &mut HeaderMap, id: &HeaderValue, client: Client) {
    headers.insert(REQUEST_ID, id.clone());
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
        (PERMISSIONS_POLICY, NO_PERMISSIONS),
        (OPENER_POLICY, "same-origin"),
        (RESOURCE_POLICY, "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    if client.secure {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
}

fn count(method: &Method, route: &str, status: u16, took: std::time::Duration) {
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let labels = [
        ("method", method.to_owned()),
        ("route", route.to_owned()),
        ("status", status.to_string()),
    ];
    metrics::counter!("parlance_http_requests_total", &labels).increment(1);
    metrics::histogram!("parlance_http_request_seconds", "route" => route.to_owned())
        .record(took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_redacted_however_they_are_spelt() {
        for (uri, shown) in [
            ("/ws/chat?token=abc", "/ws/chat?token=…"),
            ("/ws?ticket=abc&limit=5", "/ws?ticket=…&limit=5"),
            ("/ws?%74oken=abc", "/ws?…"),
            ("/ws?TOKEN=abc&abc", "/ws?…&…"),
            ("/ws/chat?token%3Dabc", "/ws/chat?…"),
            ("/ws/chat?limit=5;token=abc", "/ws/chat?limit=…"),
            ("/ws?view=eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9xxx", "/ws?view=…"),
            ("/ws?eyJhbGciOiJIUzI1NiJ9.e30.x", "/ws?…"),
            ("/api/rooms?limit=5", "/api/rooms?limit=5"),
            ("/api/me", "/api/me"),
        ] {
            assert_eq!(redacted(&uri.parse().expect("a URI")), shown);
        }
    }

    #[test]
    fn a_correlation_id_of_the_client_is_kept_when_it_is_sane() {
        let id = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, value.parse().expect("a header"));
            request_id(&headers)
        };
        assert_eq!(id("abc-1"), "abc-1");
        for bad in ["", "a b", &"x".repeat(129)] {
            assert_ne!(id(bad), bad);
        }
    }
}
