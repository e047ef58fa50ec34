//! `/api/me`: who the caller is.

use axum::Json;
use axum::response::{IntoResponse, Response};
use parlance_protocol::http::Account;

use crate::extract::Signed;

pub(super) async fn get(Signed(bearer): Signed) -> Response {
    let caller = &bearer.caller;
    let account =
        Account { id: caller.user.0, username: (&*caller.username).into(), admin: caller.admin };
    Json(account).into_response()
}
