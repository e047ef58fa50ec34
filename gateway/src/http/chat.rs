//! `GET /api/chat/messages`: simple chat's view of the lobby.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use parlance_actors::limits::PAGE_MAX;
use parlance_actors::ports::history::Range;
use parlance_actors::room::fold::Entries;
use parlance_actors::session::View;
use parlance_actors::vocab::{Code, Content, Refusal, RoomId};
use parlance_protocol::simple::SimpleMessage;
use serde::Deserialize;

use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Asked, bearer_token};
use crate::frames::timestamp;

const LIMIT: u16 = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asking {
    limit: Option<u16>,
    token: Option<String>,
}

pub(super) async fn messages(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Asked(Asking { limit, token }): Asked<Asking>,
) -> Result<Response, ApiError> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit is {limit}; allowed are 1 to {PAGE_MAX}");
        return Err(Refusal::bad_request(detail).into());
    }
    let Some(token) = bearer_token(&headers)?.or(token.as_deref()) else {
        let detail = "this needs a sign-in: Authorization: Bearer <access_token>, or token=";
        return Err(Refusal::new(Code::Unauthenticated, detail).into());
    };
    let caller = app.auth.bearer(token).await?.caller;
    let lobby = RoomId::lobby(caller.tenant);
    let (_, page) = app.chat.history(&caller, lobby, Range::Latest, limit, View::Folded).await?;
    let Entries::Folded(entries) = &page.entries else {
        return Err(Refusal::internal().into());
    };
    let messages: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.event.content {
            // Ciphertext means nothing to a simple client, and deleted messages are left out.
            Content::Message { body, enc: false, .. } => Some(SimpleMessage {
                username: (&*entry.event.sender.username).into(),
                content: (&**body).into(),
                created_at: timestamp(entry.event.sent_at),
            }),
            _ => None,
        })
        .collect();
    Ok(Json(messages).into_response())
}
