//! The API's own description: OpenAPI 3.1 for HTTP, AsyncAPI 3.0 and JSON Schema for the sockets,
//! and the page `/docs` that shows them and tries calls out. All of it is made from the types and
//! tables that the server works with, once, when it is first asked for.

mod accounts;
mod bounds;
mod call;
mod messages;
mod node;
mod rooms;
mod sockets;

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use parlance_actors::vocab::{Code, Refusal};
use serde_json::{Value, json};

use crate::error::{ApiError, meaning};

/// The version of the API: it changes when a client that was written for it would break.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What pages may do: their own files and calls, and nothing from elsewhere or in the page's text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

static OPENAPI: LazyLock<Bytes> = LazyLock::new(|| text(&openapi_document()));
static ASYNCAPI: LazyLock<Bytes> = LazyLock::new(|| text(&sockets::asyncapi()));
static FRAMES: LazyLock<Bytes> = LazyLock::new(|| text(&sockets::json_schema()));

fn text(document: &Value) -> Bytes {
    serde_json::to_vec_pretty(document).expect("a document is JSON").into()
}

/// The OpenAPI document.
#[must_use]
pub fn openapi_document() -> Value {
    let mut book = call::Book::default();
    accounts::describe(&mut book);
    rooms::describe(&mut book);
    messages::describe(&mut book);
    sockets::describe(&mut book);
    node::describe(&mut book);
    book.into_document()
}

/// The AsyncAPI document.
#[must_use]
pub fn asyncapi_document() -> Value {
    sockets::asyncapi()
}

/// The reference of frames, as Markdown.
#[must_use]
pub fn frames_markdown() -> String {
    sockets::markdown()
}

/// The table of error and close codes, as Markdown.
#[must_use]
pub fn errors_markdown() -> String {
    let mut text = String::from(
        "# Error codes\n\nMade from the server's own table (`gateway/src/error.rs`); a test keeps it so. Every answer that is no \
         success is `{\"code\",\"detail\",\"retry_after_ms\"?}`, over HTTP and in `error` and `bye` frames alike. A newer server may have \
         more codes: judge those by the HTTP status, and repeat only if `retry_after_ms` is there.\n\n\
         | code | HTTP status | repeat? | meaning |\n| --- | --- | --- | --- |\n",
    );
    for code in Code::ALL {
        let meaning = meaning(code);
        let (status, retry) = (meaning.status.as_u16(), meaning.retry.as_str());
        text.push_str(&format!(
            "| `{}` | {status} | {retry} | {} |\n",
            code.as_str(),
            meaning.text
        ));
    }
    text.push_str(
        "\n## Close codes of a socket\n\n| number | name | meaning |\n| --- | --- | --- |\n",
    );
    for (number, name, meaning) in parlance_protocol::close::ALL {
        text.push_str(&format!("| {number} | `{name}` | {meaning} |\n"));
    }
    text
}

/// The table of error codes, as the documents carry it.
fn error_table() -> Value {
    let rows = Code::ALL.map(|code| {
        let meaning = meaning(code);
        json!({
            "code": code.as_str(),
            "status": meaning.status.as_u16(),
            "retry": meaning.retry.as_str(),
            "meaning": meaning.text,
        })
    });
    Value::Array(rows.into())
}

fn answer(content_type: &'static str, body: Bytes) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        // `no-referrer` would also take the origin from the calls that are tried out by cookie.
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    (headers, body).into_response()
}

/// `GET /api/openapi.json`.
pub(super) async fn openapi() -> Response {
    answer("application/json", OPENAPI.clone())
}

/// `GET /api/asyncapi.json`.
pub(super) async fn asyncapi() -> Response {
    answer("application/json", ASYNCAPI.clone())
}

/// `GET /api/frames.json`.
pub(super) async fn frames() -> Response {
    answer("application/json", FRAMES.clone())
}

/// `GET /docs`.
pub(super) async fn page() -> Response {
    let page = Bytes::from_static(include_bytes!("../docs/index.html"));
    answer("text/html; charset=utf-8", page)
}

/// `GET /docs/{file}`.
pub(super) async fn file(Path(file): Path<String>) -> Result<Response, ApiError> {
    let (content_type, body): (_, &'static [u8]) = match file.as_str() {
        "docs.css" => ("text/css; charset=utf-8", include_bytes!("../docs/docs.css")),
        "docs.js" => ("text/javascript; charset=utf-8", include_bytes!("../docs/docs.js")),
        "schema.js" => ("text/javascript; charset=utf-8", include_bytes!("../docs/schema.js")),
        "try.js" => ("text/javascript; charset=utf-8", include_bytes!("../docs/try.js")),
        _ => return Err(Refusal::new(Code::NotFound, "no such file; the page is /docs").into()),
    };
    Ok(answer(content_type, Bytes::from_static(body)))
}
