//! `/api/auth/…`: registering, signing in and out, tickets, and changing a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use parlance_actors::vocab::{Code, Refusal, TenantId};
use parlance_protocol::http::{Credentials, Refresh, Ticket, Tokens};
use parlance_protocol::{Text, User};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::app::App;
use crate::auth::Pair;
use crate::error::ApiError;
use crate::extract::{JsonText, NoBody, Signed, bearer_token};
use crate::proxies::Client;

/// Tenants by host name come with the front door; until then everybody is in the main one.
const TENANT: TenantId = TenantId::MAIN;

pub(super) async fn register(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    body: JsonText,
) -> Result<Response, ApiError> {
    let Credentials { username, password } = body.read()?;
    let password = secret(&password);
    let user = app.auth.register(TENANT, client.address, &username, password).await?;
    let user = User { id: user.id.0, username: user.username.as_str().into() };
    Ok((StatusCode::CREATED, Json(user)).into_response())
}

pub(super) async fn login(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    body: JsonText,
) -> Result<Response, ApiError> {
    let Credentials { username, password } = body.read()?;
    let password = secret(&password);
    Ok(tokens(&app.auth.login(TENANT, client.address, &username, password).await?))
}

pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    body: JsonText,
) -> Result<Response, ApiError> {
    let Refresh { refresh_token } = body.read()?;
    Ok(tokens(&app.auth.refresh(&refresh_token).await?))
}

/// By the access token, by the refresh token, or by both: a client whose access token has run out
/// can still sign out.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: JsonText,
) -> Result<StatusCode, ApiError> {
    let by_refresh = if body.is_empty() {
        None
    } else {
        let Refresh { refresh_token } = body.read()?;
        Some(app.auth.logout_by_refresh(&refresh_token).await)
    };
    let by_access = match bearer_token(&headers)? {
        None => None,
        Some(token) => Some(logout_by_access(&app, token).await),
    };
    match (by_refresh, by_access) {
        (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(StatusCode::NO_CONTENT),
        (_, Some(Err(refusal))) | (Some(Err(refusal)), None) => Err(refusal.into()),
        (None, None) => {
            let detail = "give the access token as bearer, or {\"refresh_token\"}";
            Err(Refusal::new(Code::Unauthenticated, detail).into())
        }
    }
}

async fn logout_by_access(app: &App, token: &str) -> Result<(), Refusal> {
    let bearer = app.auth.bearer(token).await?;
    app.auth.logout(&bearer).await
}

pub(super) async fn ticket(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    _: NoBody,
) -> Result<Response, ApiError> {
    let (ticket, lasts) = app.auth.ticket(&bearer).await?;
    let answer = Ticket { ticket: ticket.as_str().into(), expires_in: lasts.as_secs() };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// `PUT /api/auth/password`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangePassword<'a> {
    /// The present one.
    #[serde(borrow)]
    old_password: Text<'a>,
    /// The one from now on.
    #[serde(borrow)]
    new_password: Text<'a>,
}

pub(super) async fn password(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Signed(bearer): Signed,
    body: JsonText,
) -> Result<Response, ApiError> {
    let ChangePassword { old_password, new_password } = body.read()?;
    let (old, new) = (secret(&old_password), secret(&new_password));
    Ok(tokens(&app.auth.change_password(&bearer, client.address, old, new).await?))
}

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn tokens(pair: &Pair) -> Response {
    let tokens = Tokens {
        access_token: pair.access.as_str().into(),
        token_type: "bearer".into(),
        expires_in: pair.expires_in.as_secs(),
        refresh_token: pair.refresh.as_str().into(),
    };
    Json(tokens).into_response()
}
