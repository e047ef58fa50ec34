//! `/api/rooms/{room}/messages`: sending, history, edits, deletes, reactions and pins. The same
//! path as the socket's: admission, the room's actor, its lane, the commit.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use parlance_actors::limits::PAGE_MAX;
use parlance_actors::ports::history::Range;
use parlance_actors::session::{Change, View};
use parlance_actors::vocab::{Refusal, RoomId, Seq};
use parlance_protocol as wire;
use parlance_protocol::http::{Pins, SendMessage};
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::shapes;
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Asked, Ids, JsonText, NoBody, Signed, key};
use crate::frames::{entries, page};

/// Messages of a page when the client does not say.
const LIMIT: u16 = 50;

#[derive(Deserialize)]
pub(super) struct OfRoom {
    room: RoomId,
}

#[derive(Deserialize)]
pub(super) struct OfMessage {
    room: RoomId,
    seq: u64,
}

#[derive(Deserialize)]
pub(super) struct OfReaction {
    room: RoomId,
    seq: u64,
    emoji: Arc<str>,
}

pub(super) async fn send(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, ApiError> {
    let SendMessage { key: of_body, body, reply_to, thread, enc } = body.read()?;
    let change = Change::Send {
        body: (&*body).into(),
        reply_to: reply_to.map(Seq),
        thread: thread.map(Seq),
        enc,
    };
    let posted = app.chat.post(&bearer.caller, room, key(&headers, of_body)?, change).await?;
    Ok((StatusCode::CREATED, Json(shapes::posted(posted))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    before: Option<u64>,
    after: Option<u64>,
    limit: Option<u16>,
    #[serde(default)]
    view: wire::View,
}

pub(super) async fn history(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    Asked(Page { before, after, limit, view }): Asked<Page>,
) -> Result<Response, ApiError> {
    let range = match (before, after) {
        (None, None) => Range::Latest,
        (Some(seq), None) => Range::Before(Seq(seq)),
        (None, Some(seq)) => Range::After(Seq(seq)),
        (Some(_), Some(_)) => {
            let detail = "before, after: give one of them, or neither for the latest";
            return Err(Refusal::bad_request(detail).into());
        }
    };
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; allowed are 1 to {PAGE_MAX}");
        return Err(Refusal::bad_request(detail).into());
    }
    let view = match view {
        wire::View::Folded => View::Folded,
        wire::View::Log => View::Log,
    };
    let (r#gen, found) = app.chat.history(&bearer.caller, room, range, limit, view).await?;
    Ok(Json(page(room, r#gen, app.lease.is_lost(), &found)).into_response())
}

pub(super) async fn pins(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
) -> Result<Response, ApiError> {
    let found = app.chat.pins(&bearer.caller, room).await?;
    let messages = entries(&found);
    Ok(Json(Pins { messages, more: found.more }).into_response())
}

/// `PATCH /api/rooms/{room}/messages/{seq}`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EditMessage)]
pub(super) struct Edit<'a> {
    /// The idempotency key; the server makes one when it is absent.
    key: Option<Uuid>,
    /// Its body from now on.
    #[serde(borrow)]
    body: wire::Text<'a>,
    /// The body is end-to-end encrypted.
    #[serde(default)]
    enc: bool,
}

pub(super) async fn edit(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfMessage { room, seq }): Ids<OfMessage>,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, ApiError> {
    let Edit { key: of_body, body, enc } = body.read()?;
    let change = Change::Edit { target: Seq(seq), body: (&*body).into(), enc };
    let posted = app.chat.post(&bearer.caller, room, key(&headers, of_body)?, change).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

/// A change that its path says wholly.
async fn post(
    app: &App,
    signed: &Signed,
    room: RoomId,
    headers: &HeaderMap,
    change: Change,
) -> Result<Response, ApiError> {
    let posted = app.chat.post(&signed.0.caller, room, key(headers, None)?, change).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfMessage { room, seq }): Ids<OfMessage>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    post(&app, &signed, room, &headers, Change::Delete { target: Seq(seq) }).await
}

pub(super) async fn react(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfReaction { room, seq, emoji }): Ids<OfReaction>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    post(&app, &signed, room, &headers, Change::React { target: Seq(seq), emoji, on: true }).await
}

pub(super) async fn unreact(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfReaction { room, seq, emoji }): Ids<OfReaction>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    post(&app, &signed, room, &headers, Change::React { target: Seq(seq), emoji, on: false }).await
}

pub(super) async fn pin(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfMessage { room, seq }): Ids<OfMessage>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    post(&app, &signed, room, &headers, Change::Pin { target: Seq(seq), on: true }).await
}

pub(super) async fn unpin(
    State(app): State<Arc<App>>,
    signed: Signed,
    Ids(OfMessage { room, seq }): Ids<OfMessage>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    post(&app, &signed, room, &headers, Change::Pin { target: Seq(seq), on: false }).await
}
