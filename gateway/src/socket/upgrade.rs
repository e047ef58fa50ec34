//! `GET /ws` and `GET /ws/chat`: who may open a socket, and the handshake (RFC 6455, section 4.2).
//! A wrong credential is answered over HTTP; the socket is never opened for it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, FromRequestParts as _, Request, State};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use parlance_actors::vocab::{Code, Refusal};
use parlance_protocol::SUBPROTOCOL;
use serde::Deserialize;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::task::{Socket, Speaks};
use crate::admission::spread;
use crate::app::App;
use crate::auth::Bearer;
use crate::cookies;
use crate::error::ApiError;
use crate::extract::{Asked, asking, bearer_token};
use crate::http::Peer;
use crate::limits::{UPGRADE_RETRY_MAX, UPGRADE_RETRY_MIN};
use crate::origin;
use crate::proxies::Client;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    ticket: Option<String>,
}

/// `GET /ws`.
pub(crate) async fn v1(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Asked(Ticket { ticket }) = Asked::from_request_parts(&mut parts, &app).await?;
    let handshake = Handshake::check(&mut parts)?;
    admit(&app)?;
    let subprotocol = subprotocol(&parts.headers)?;
    let bearer = match (bearer_token(&parts.headers)?, ticket) {
        (Some(token), None) => Some(app.auth.bearer(token).await?),
        (None, Some(ticket)) => Some(app.auth.take_ticket(&ticket).await?),
        (None, None) => of_cookie(&app, &parts).await?,
        (Some(_), Some(_)) => {
            let detail = "give a bearer token or a ticket, not both";
            return Err(Refusal::bad_request(detail).into());
        }
    };
    open(&app, client, peer, handshake, subprotocol, Speaks::V1 { bearer })
}

/// The caller that a browser's cookie names. A cookie of a sign-in that is over is as good as none:
/// a page cannot see how an upgrade was refused, and sees the close code after its hello.
async fn of_cookie(app: &App, parts: &Parts) -> Result<Option<Bearer>, Refusal> {
    let asking = asking(parts);
    let Some(token) = cookies::read(asking.headers, cookies::Token::Access, asking.secure) else {
        return Ok(None);
    };
    origin::check_socket(asking, origin::Credential::Ambient, &app.config.allowed_origins)?;
    match app.auth.bearer(&token).await {
        Ok(bearer) => Ok(Some(bearer)),
        Err(refusal) if refusal.code == Code::Unauthenticated => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    token: Option<String>,
}

/// `GET /ws/chat`.
pub(crate) async fn simple(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Asked(Token { token }) = Asked::from_request_parts(&mut parts, &app).await?;
    let handshake = Handshake::check(&mut parts)?;
    admit(&app)?;
    let Some(token) = bearer_token(&parts.headers)?.or(token.as_deref()) else {
        let detail = "this needs a sign-in: /ws/chat?token=<access_token>";
        return Err(Refusal::new(Code::Unauthenticated, detail).into());
    };
    let bearer: Bearer = app.auth.bearer(token).await?;
    open(&app, client, peer, handshake, None, Speaks::Simple { bearer })
}

/// Whether this node opens a socket now. Before anything is read for it: a crowd that comes at
/// once costs nothing but this.
fn admit(app: &App) -> Result<(), Refusal> {
    let chance = chance();
    if app.lease.is_lost() {
        metrics::counter!("parlance_upgrades_refused_total", "cause" => "lease").increment(1);
        let wait = spread(UPGRADE_RETRY_MIN, UPGRADE_RETRY_MAX, chance);
        let detail = "this node is cut off from the others; another one serves you";
        return Err(Refusal::unavailable(detail).retry_after(wait));
    }
    app.upgrades.take(chance, Instant::now())
}

/// From 0 to 1. The random bits of a UUID are enough to spread a crowd.
fn chance() -> f64 {
    let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(random & u64::from(u32::MAX)).unwrap_or(0)) / f64::from(u32::MAX)
}

fn open(
    app: &Arc<App>,
    client: Client,
    peer: Peer,
    handshake: Handshake,
    subprotocol: Option<HeaderValue>,
    speaks: Speaks,
) -> Result<Response, ApiError> {
    // Behind a trusted proxy the connection was not counted for its client.
    let behind = if client.behind_proxy {
        let admitted = app.connections.admit_behind_proxy(client.address);
        Some(admitted.ok_or_else(|| Refusal::busy("too many sockets of this address"))?)
    } else {
        None
    };
    let Handshake { accept, on_upgrade } = handshake;
    let socket = Socket::new(app.clone(), on_upgrade, speaks, (peer.admitted, behind));
    app.sockets.spawn(socket.run());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    Ok(response)
}

/// A client's side of the handshake, checked.
struct Handshake {
    accept: HeaderValue,
    on_upgrade: OnUpgrade,
}

impl Handshake {
    fn check(parts: &mut Parts) -> Result<Self, Refusal> {
        let headers = &parts.headers;
        let lists = |name, word: &str| {
            let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|text| text.split(',')).any(|one| one.trim().eq_ignore_ascii_case(word))
        };
        if !lists(header::CONNECTION, "upgrade") || !lists(header::UPGRADE, "websocket") {
            let detail = "this path is a WebSocket: Connection: Upgrade, Upgrade: websocket";
            return Err(Refusal::bad_request(detail));
        }
        if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(Refusal::bad_request("Sec-WebSocket-Version must be 13"));
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            return Err(Refusal::bad_request("Sec-WebSocket-Key is missing"));
        };
        let accept = derive_accept_key(key.as_bytes());
        let accept = HeaderValue::from_str(&accept).expect("base64 is ASCII");
        let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
            return Err(Refusal::bad_request("this connection cannot become a WebSocket"));
        };
        Ok(Self { accept, on_upgrade })
    }
}

/// The subprotocol of the answer. Asking for none is fine; asking only for unknown ones is not.
fn subprotocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let asked: Vec<&str> = headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .map(str::trim)
        .collect();
    if asked.is_empty() {
        return Ok(None);
    }
    if asked.contains(&SUBPROTOCOL) {
        return Ok(Some(HeaderValue::from_static(SUBPROTOCOL)));
    }
    let detail = format!("no subprotocol that you ask for is known; allowed is {SUBPROTOCOL}");
    Err(Refusal::bad_request(detail))
}
