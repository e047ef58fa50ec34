//! `GET /api`: a short page that names the API. Where there is no web client it stands at `/` as
//! well, and says how to get one.

use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, header};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const NO_CLIENT: &str = "<p>This build has no web client. To get one, install Node.js, run <code>npm ci</code> and \
    <code>npm run build</code> in <code>gateway/web</code>, and build the server again; <code>make run</code> does all of it \
    where Node.js is there.</p>";

pub(super) async fn api() -> Response {
    names_the_api(true)
}

/// The page; without a client it says so.
pub(super) fn names_the_api(has_client: bool) -> Response {
    let page = PAGE.replace("/*STYLE*/", STYLE);
    let page = page.replace("<!--CLIENT-->", if has_client { "" } else { NO_CLIENT });
    let mut response = Html(page).into_response();
    // The style is allowed by its hash alone.
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, STYLE.as_bytes());
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        STANDARD.encode(hash)
    );
    let policy = HeaderValue::from_str(&policy).expect("base64 is ASCII");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
