//! Which pages of other origins may call this server from a browser and read its answers: those of
//! `http.allowed_origins`, and no others (CORS, in the Fetch standard). The server's own pages
//! need nothing of this.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use parlance_actors::vocab::Refusal;

use crate::error::ApiError;
use crate::origin::is_listed;

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const HEADERS: &str =
    "authorization, content-type, idempotency-key, x-parlance-client, x-request-id";
/// What a page may read beside the body.
const EXPOSED: &str = "x-request-id, retry-after";
/// Browsers ask again after it; none remembers for much longer (Chromium: two hours).
const MAX_AGE_SECONDS: &str = "7200";

/// The answer to a browser that asks for leave before a page's request, if this is one.
pub(super) fn preflight(
    method: &Method,
    headers: &HeaderMap,
    allowed: &[String],
) -> Option<Response> {
    let origin = headers.get(header::ORIGIN)?;
    if method != Method::OPTIONS || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return None;
    }
    if !may(origin, allowed) {
        let origin: String = String::from_utf8_lossy(origin.as_bytes()).chars().take(100).collect();
        let detail =
            format!("pages of {origin} may not call this server; see http.allowed_origins");
        return Some(ApiError(Refusal::forbidden(detail)).into_response());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE_SECONDS),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// What every answer says to browsers.
pub(super) fn stamp(headers: &mut HeaderMap, origin: Option<&HeaderValue>, allowed: &[String]) {
    if allowed.is_empty() {
        return;
    }
    // The next page that asks a cache may be of another origin.
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin.filter(|origin| may(origin, allowed)) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

fn may(origin: &HeaderValue, allowed: &[String]) -> bool {
    origin.to_str().is_ok_and(|origin| is_listed(origin, allowed))
}
