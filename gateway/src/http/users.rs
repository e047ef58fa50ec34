//! `/api/users`: finding people.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use parlance_actors::vocab::{Refusal, TenantId, User, UserId};
use parlance_protocol as wire;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::shapes;
use crate::app::App;
use crate::error::{ApiError, account_refusal, no_such_user};
use crate::extract::{Asked, Ids, Signed};
use crate::limits::{NAME_BYTES_MAX, USERS_MAX};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    prefix: String,
    limit: Option<u16>,
}

/// `GET /api/users`.
#[derive(Serialize, ToSchema)]
pub(super) struct Users<'a> {
    /// By name.
    users: Vec<wire::User<'a>>,
}

pub(super) async fn find(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Asked(Find { prefix, limit }): Asked<Find>,
) -> Result<Response, ApiError> {
    let limit = limit.unwrap_or(USERS_MAX);
    if !(1..=USERS_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; allowed are 1 to {USERS_MAX}");
        return Err(Refusal::bad_request(detail).into());
    }
    if prefix.is_empty() || prefix.len() > NAME_BYTES_MAX || prefix.chars().any(char::is_control) {
        let detail =
            format!("prefix must be 1 to {NAME_BYTES_MAX} bytes without control characters");
        return Err(Refusal::bad_request(detail).into());
    }
    let found = app.accounts.find_users(bearer.caller.tenant, &prefix, limit).await;
    let found = found.map_err(account_refusal)?;
    let users = found.iter().map(shapes::user).collect();
    Ok(Json(Users { users }).into_response())
}

#[derive(Deserialize)]
pub(super) struct OfUser {
    user: UserId,
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfUser { user }): Ids<OfUser>,
) -> Result<Response, ApiError> {
    let user = by_id(&app, bearer.caller.tenant, user).await?;
    Ok(Json(shapes::user(&user)).into_response())
}

pub(super) async fn by_id(app: &App, tenant: TenantId, user: UserId) -> Result<User, Refusal> {
    app.accounts.user(tenant, user).await.map_err(account_refusal)?.ok_or_else(no_such_user)
}

pub(super) async fn by_name(app: &App, tenant: TenantId, name: &str) -> Result<User, Refusal> {
    crate::auth::check_name(name)?;
    let found = app.accounts.credential(tenant, name).await.map_err(account_refusal)?;
    found.map(|found| found.user).ok_or_else(no_such_user)
}
