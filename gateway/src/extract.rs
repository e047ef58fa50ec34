//! What handlers take from a request: the caller, JSON, path ids, query values and keys. Each
//! failure becomes a refusal that names what is wrong and what is allowed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use parlance_actors::vocab::{Code, Key, Refusal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::app::App;
use crate::auth::Bearer;
use crate::cookies::{self, Token};
use crate::error::ApiError;
use crate::limits::{HTTP_BODY_BYTES_MAX, LINGER, LINGER_BYTES_MAX};
use crate::origin::{self, Asking, Credential};
use crate::proxies::Client;

/// The signed-in caller: by a bearer token, or else by the cookie of a browser.
pub(crate) struct Signed(pub(crate) Bearer);

impl FromRequestParts<Arc<App>> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        if let Some(token) = bearer_token(&parts.headers)? {
            return Ok(Self(app.auth.bearer(token).await?));
        }
        let secure = is_secure(parts);
        let Some(token) = cookies::read(&parts.headers, Token::Access, secure) else {
            let detail = "this needs a sign-in: Authorization: Bearer <access_token>";
            return Err(Refusal::new(Code::Unauthenticated, detail).into());
        };
        origin::check(asking(parts), Credential::Ambient, &app.config.allowed_origins)?;
        Ok(Self(app.auth.bearer(&token).await?))
    }
}

/// What a request says of the page that it is from.
pub(crate) fn asking(parts: &Parts) -> Asking<'_> {
    let Parts { method, uri, headers, .. } = parts;
    Asking { method, uri, headers, secure: is_secure(parts) }
}

fn is_secure(parts: &Parts) -> bool {
    parts.extensions.get::<Client>().is_some_and(|client| client.secure)
}

/// A request without its body, for handlers that look at the whole of it.
pub(crate) struct Head(pub(crate) Parts);

impl FromRequestParts<Arc<App>> for Head {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.clone()))
    }
}

/// The token of an `Authorization` header, if there is one.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.map(Some).ok_or_else(|| {
        Refusal::new(Code::Unauthenticated, "Authorization must be: Bearer <access_token>")
    })
}

/// A body of JSON, still as text: its type may borrow from it.
pub(crate) struct JsonText(Bytes);

impl JsonText {
    /// Reads the text as a `T`.
    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Refusal> {
        let text = std::str::from_utf8(&self.0).map_err(|error| {
            let at = error.valid_up_to();
            Refusal::bad_request(format!("the body is not UTF-8 from byte {at} on"))
        })?;
        // serde would take an array of the fields' values as well.
        let is_object = text.trim_ascii_start().starts_with('{');
        if !is_object && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
            return Err(Refusal::bad_request("the body must be a JSON object"));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            let inner = error.inner();
            let what = if inner.is_data() { "" } else { "the body is not JSON: " };
            let at = if path == "." { String::new() } else { format!("{path}: ") };
            Refusal::bad_request(shortened(&format!("{what}{at}{inner}")))
        })?;
        json.end().map_err(|error| {
            Refusal::bad_request(format!("the body is more than one JSON value: {error}"))
        })?;
        Ok(value)
    }

    /// Takes the body of a request, if it is one of JSON.
    pub(crate) async fn take(request: Request, deadline: Duration) -> Result<Self, Refusal> {
        uncompressed(request.headers())?;
        let is_json = is_json(request.headers());
        let bytes = whole_body(request.into_body(), deadline).await?;
        if !is_json && !bytes.is_empty() {
            let detail = "the body must be JSON: Content-Type: application/json";
            return Err(Refusal::new(Code::UnsupportedMediaType, detail));
        }
        Ok(Self(bytes))
    }

    /// There is no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromRequest<Arc<App>> for JsonText {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        Ok(Self::take(request, app.config.deadlines.body).await?)
    }
}

/// No body, for calls that have none: what somebody puts there would be ignored without a word.
pub(crate) struct NoBody;

impl FromRequest<Arc<App>> for NoBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        uncompressed(request.headers())?;
        let body = whole_body(request.into_body(), app.config.deadlines.body).await?;
        if body.is_empty() || body.trim_ascii() == b"{}" {
            return Ok(Self);
        }
        let detail = "this call takes no body; a key goes into the Idempotency-Key header";
        Err(Refusal::bad_request(detail).into())
    }
}

async fn whole_body(mut body: Body, deadline: Duration) -> Result<Bytes, Refusal> {
    let reading = Limited::new(&mut body, HTTP_BODY_BYTES_MAX).collect();
    match tokio::time::timeout(deadline, reading).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let _ = tokio::time::timeout(LINGER, drain(body)).await;
            let detail = format!("the body is over {HTTP_BODY_BYTES_MAX} bytes");
            Err(Refusal::new(Code::TooLarge, detail))
        }
        Ok(Err(_)) => Err(Refusal::bad_request("the body ended too early")),
        Err(_) => {
            let detail = format!("the body was not there within {} s", deadline.as_secs_f32());
            Err(Refusal::new(Code::Timeout, detail))
        }
    }
}

/// Bodies are short, so a compressed one saves nothing, and could be a bomb.
fn uncompressed(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Ok(());
    }
    let detail = "bodies are taken as they are: no Content-Encoding";
    Err(Refusal::new(Code::UnsupportedMediaType, detail))
}

/// Drops some of a body that is too large. Who writes all of it before they read the answer, as some
/// proxies do, would otherwise get a reset and no answer.
async fn drain(mut body: Body) {
    let mut drained = 0;
    while drained < LINGER_BYTES_MAX {
        let Some(Ok(frame)) = body.frame().await else { return };
        drained += frame.data_ref().map_or(0, Bytes::len);
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    essence.is_some_and(|essence| {
        essence == "application/json"
            || (essence.starts_with("application/") && essence.ends_with("+json"))
    })
}

/// Ids in the path.
pub(crate) struct Ids<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Ids<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match Path::<T>::from_request_parts(parts, app).await {
            Ok(Path(ids)) => Ok(Self(ids)),
            Err(rejection) => Err(Refusal::bad_request(shortened(&rejection.body_text())).into()),
        }
    }
}

/// Values of the query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        match Query::<T>::from_request_parts(parts, app).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Refusal::bad_request(shortened(&rejection.body_text())).into()),
        }
    }
}

/// The key of a change: of the body, or of `Idempotency-Key`, or a new one.
pub(crate) fn key(headers: &HeaderMap, of_body: Option<Uuid>) -> Result<Key, Refusal> {
    let of_header = match headers.get("idempotency-key") {
        None => None,
        Some(value) => {
            Some(value.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                Refusal::bad_request(
                    "Idempotency-Key is not a UUID; write it as 8-4-4-4-12 hexadecimal digits",
                )
            })?)
        }
    };
    match (of_body.map(Key), of_header) {
        (Some(body), Some(header)) if body != header => {
            Err(Refusal::bad_request("key and Idempotency-Key differ; give one of them"))
        }
        (body, header) => Ok(body.or(header).unwrap_or_else(Key::generate)),
    }
}

/// Errors quote what the client sent; a hostile one must not get it back at full length.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
