//! `/`: a short page that names the API.

use axum::response::Html;

const PAGE: &str = include_str!("page.html");

pub(super) async fn index() -> Html<&'static str> {
    Html(PAGE)
}
