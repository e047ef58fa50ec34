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
use crate::limits::{NAME_BYTES_MAX, USER_IDS_MAX, USERS_MAX};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Find {
    prefix: Option<String>,
    ids: Option<String>,
    limit: Option<u16>,
}

/// `GET /api/users`.
#[derive(Serialize, ToSchema)]
pub(super) struct Users<'a> {
    /// With `prefix`, by username; with `ids`, in no order, and without ids that nobody has.
    users: Vec<wire::http::Profile<'a>>,
}

pub(super) async fn find(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Asked(asked): Asked<Find>,
) -> Result<Response, ApiError> {
    let tenant = bearer.caller.tenant;
    let found = match asked {
        Find { prefix: Some(prefix), ids: None, limit } => {
            let limit = checked(&prefix, limit)?;
            app.accounts.find_users(tenant, &prefix, limit).await
        }
        Find { prefix: None, ids: Some(ids), limit: None } => {
            app.accounts.users(tenant, &listed(&ids)?).await
        }
        _ => {
            let detail = "give prefix, with or without limit, or ids, and not both";
            return Err(Refusal::bad_request(detail).into());
        }
    };
    let found = found.map_err(account_refusal)?;
    let users = found.iter().map(shapes::profile).collect();
    Ok(Json(Users { users }).into_response())
}

fn checked(prefix: &str, limit: Option<u16>) -> Result<u16, Refusal> {
    let limit = limit.unwrap_or(USERS_MAX);
    if !(1..=USERS_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; allowed are 1 to {USERS_MAX}");
        return Err(Refusal::bad_request(detail));
    }
    if prefix.is_empty() || prefix.len() > NAME_BYTES_MAX || prefix.chars().any(char::is_control) {
        let detail =
            format!("prefix must be 1 to {NAME_BYTES_MAX} bytes without control characters");
        return Err(Refusal::bad_request(detail));
    }
    Ok(limit)
}

/// The ids of a list with commas.
fn listed(ids: &str) -> Result<Vec<UserId>, Refusal> {
    let ids: Result<Vec<_>, _> =
        ids.split(',').take(USER_IDS_MAX + 1).map(str::parse::<UserId>).collect();
    match ids {
        Ok(ids) if ids.len() <= USER_IDS_MAX => Ok(ids),
        _ => {
            let detail =
                format!("ids must be 1 to {USER_IDS_MAX} ids of users with commas between");
            Err(Refusal::bad_request(detail))
        }
    }
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
    Ok(Json(shapes::profile(&user)).into_response())
}

pub(super) async fn by_id(app: &App, tenant: TenantId, user: UserId) -> Result<User, Refusal> {
    app.accounts.user(tenant, user).await.map_err(account_refusal)?.ok_or_else(no_such_user)
}

pub(super) async fn by_name(app: &App, tenant: TenantId, name: &str) -> Result<User, Refusal> {
    crate::auth::check_name(name)?;
    let found = app.accounts.credential(tenant, name).await.map_err(account_refusal)?;
    found.map(|found| found.user).ok_or_else(no_such_user)
}
