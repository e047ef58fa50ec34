//! `/api/auth/…`: registering, signing in and out, tickets, and changing a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use parlance_actors::vocab::{Code, Refusal, TenantId};
use parlance_protocol::http::{Credentials, Login, Refresh, SignedIn, Ticket, Tokens};
use parlance_protocol::{Text, User};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::app::App;
use crate::auth::Pair;
use crate::cookies::{self, Token};
use crate::error::ApiError;
use crate::extract::{Head, JsonText, NoBody, Signed, asking, bearer_token};
use crate::origin::{self, Credential};
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
    Head(head): Head,
    body: JsonText,
) -> Result<Response, ApiError> {
    let Login { username, password, cookie } = body.read()?;
    let password = secret(&password);
    if cookie {
        // A page from elsewhere must not sign its visitor in as somebody else.
        origin::same_origin(asking(&head), &app.config.allowed_origins)?;
    }
    let pair = app.auth.login(TENANT, client.address, &username, password).await?;
    Ok(if cookie { signed_in(&app, client, &pair) } else { tokens(&pair) })
}

/// With the token in the body, or without a body and the token in a browser's cookie.
pub(super) async fn refresh(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Head(head): Head,
    body: JsonText,
) -> Result<Response, ApiError> {
    if !body.is_empty() {
        let Refresh { refresh_token } = body.read()?;
        return Ok(tokens(&app.auth.refresh(&refresh_token).await?));
    }
    let refreshed = match cookies::read(&head.headers, Token::Refresh, client.secure) {
        // A form on a page from elsewhere comes without cookies, and what its answer takes away is
        // gone all the same: only a page of ours may have them cleared.
        None if may_use_cookies(&app, &head).is_err() => return Err(no_refresh().into()),
        None => Err(no_refresh()),
        Some(token) => {
            may_use_cookies(&app, &head)?;
            app.auth.refresh(&token).await
        }
    };
    match refreshed {
        Ok(pair) => Ok(signed_in(&app, client, &pair)),
        Err(refusal) if is_over(&refusal) => Ok(signed_out(refusal, client)),
        Err(refusal) => Err(refusal.into()),
    }
}

/// By the access token, by the refresh token, or by both: a client whose access token has run out
/// can still sign out. The same holds for the cookies of a browser.
pub(super) async fn logout(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Head(head): Head,
    body: JsonText,
) -> Result<Response, ApiError> {
    let bearer = bearer_token(&head.headers)?;
    if body.is_empty() && bearer.is_none() {
        return logout_by_cookies(&app, client, &head).await;
    }
    let by_refresh = if body.is_empty() {
        None
    } else {
        let Refresh { refresh_token } = body.read()?;
        Some(app.auth.logout_by_refresh(&refresh_token).await)
    };
    let by_access = match bearer {
        None => None,
        Some(token) => Some(logout_by_access(&app, token).await),
    };
    match (by_refresh, by_access) {
        (Some(Ok(())), _) | (_, Some(Ok(()))) => Ok(StatusCode::NO_CONTENT.into_response()),
        (_, Some(Err(refusal))) | (Some(Err(refusal)), None) => Err(refusal.into()),
        (None, None) => Err(no_credential().into()),
    }
}

/// A sign-in that is over already is as good as one that ends now: the browser is rid of it.
async fn logout_by_cookies(app: &App, client: Client, head: &Parts) -> Result<Response, ApiError> {
    let refresh = cookies::read(&head.headers, Token::Refresh, client.secure);
    let access = cookies::read(&head.headers, Token::Access, client.secure);
    if refresh.is_none() && access.is_none() {
        return Err(no_credential().into());
    }
    may_use_cookies(app, head)?;
    // Both, because they can be of two sign-ins.
    let by_refresh = match &refresh {
        None => Ok(()),
        Some(token) => app.auth.logout_by_refresh(token).await,
    };
    let by_access = match &access {
        None => Ok(()),
        Some(token) => logout_by_access(app, token).await,
    };
    for ended in [by_refresh, by_access] {
        if let Err(refusal) = ended
            && !is_over(&refusal)
        {
            return Err(refusal.into());
        }
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    cookies::clear(response.headers_mut(), client.secure);
    Ok(response)
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

/// Whoever came with a cookie gets the new sign-in in cookies, too.
pub(super) async fn password(
    State(app): State<Arc<App>>,
    Extension(client): Extension<Client>,
    Signed(bearer): Signed,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, ApiError> {
    let ChangePassword { old_password, new_password } = body.read()?;
    let (old, new) = (secret(&old_password), secret(&new_password));
    let pair = app.auth.change_password(&bearer, client.address, old, new).await?;
    let by_cookie = bearer_token(&headers)?.is_none();
    Ok(if by_cookie { signed_in(&app, client, &pair) } else { tokens(&pair) })
}

fn may_use_cookies(app: &App, head: &Parts) -> Result<(), Refusal> {
    origin::check(asking(head), Credential::Ambient, &app.config.allowed_origins)
}

/// The answer says that there is no sign-in, and not that it could not be looked up.
fn is_over(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::Unauthenticated | Code::BadRequest)
}

fn no_refresh() -> Refusal {
    Refusal::new(Code::Unauthenticated, "give {\"refresh_token\"}, or sign in again")
}

fn no_credential() -> Refusal {
    let detail = "give the access token as bearer, or {\"refresh_token\"}";
    Refusal::new(Code::Unauthenticated, detail)
}

/// A sign-in in cookies; the body has no secret.
fn signed_in(app: &App, client: Client, pair: &Pair) -> Response {
    let answer = SignedIn {
        id: pair.user.id.0,
        username: pair.user.username.as_str().into(),
        admin: pair.user.admin,
        expires_in: pair.expires_in.as_secs(),
    };
    let mut response = Json(answer).into_response();
    let lasts = app.config.lifetimes.refresh;
    cookies::set(response.headers_mut(), pair, lasts, client.secure);
    response
}

/// The sign-in in the cookies is over, so they go.
fn signed_out(refusal: Refusal, client: Client) -> Response {
    let refusal = Refusal { code: Code::Unauthenticated, ..refusal };
    let mut response = ApiError(refusal).into_response();
    cookies::clear(response.headers_mut(), client.secure);
    response
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
