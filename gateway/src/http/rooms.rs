//! `/api/rooms`, members, read marks, and `/api/direct`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use parlance_actors::chat::CreateRoom;
use parlance_actors::limits::{LIST_MAX, ROOM_NAME_CHARS_MAX, SLOW_MODE_SECONDS_MAX};
use parlance_actors::ports::directory::RoomChange;
use parlance_actors::session::Change;
use parlance_actors::vocab::{
    Refusal, Role, RoomId, RoomKind, RoomName, RoomSettings, Seq, Topic, UserId,
};
use parlance_protocol as wire;
use parlance_protocol::http::{ChangeRoom, Member, Members, PutMember, Rooms};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{shapes, users};
use crate::app::App;
use crate::error::ApiError;
use crate::extract::{Asked, Ids, JsonText, NoBody, Signed, key};
use crate::frames::role;

#[derive(Deserialize)]
pub(super) struct OfRoom {
    room: RoomId,
}

#[derive(Deserialize)]
pub(super) struct OfMember {
    room: RoomId,
    user: UserId,
}

pub(super) async fn create(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, ApiError> {
    let wire::http::CreateRoom { key: of_body, name, kind, topic } = body.read()?;
    let kind = match kind {
        wire::RoomKind::Public => RoomKind::Public,
        wire::RoomKind::Private => RoomKind::Private,
        wire::RoomKind::Direct | wire::RoomKind::Lobby => {
            return Err(Refusal::bad_request("kind: allowed are public and private").into());
        }
    };
    let new = CreateRoom {
        key: key(&headers, of_body)?,
        name: RoomName::parse(&name)?,
        kind,
        topic: Topic::parse(topic.as_deref().unwrap_or_default())?,
    };
    let view = app.chat.create_room(&bearer.caller, new).await?;
    Ok((StatusCode::CREATED, Json(shapes::room(&view))).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page<T> {
    after: Option<T>,
    limit: Option<u16>,
}

impl<T> Page<T> {
    fn limit(&self) -> Result<u16, Refusal> {
        let limit = self.limit.unwrap_or(LIST_MAX);
        if (1..=LIST_MAX).contains(&limit) {
            return Ok(limit);
        }
        Err(Refusal::bad_request(format!("limit is {limit}; allowed are 1 to {LIST_MAX}")))
    }
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Asked(page): Asked<Page<RoomId>>,
) -> Result<Response, ApiError> {
    let (views, more) = app.chat.rooms(&bearer.caller, page.after, page.limit()?).await?;
    let rooms = views.iter().map(shapes::room).collect();
    Ok(Json(Rooms { rooms, more }).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Browsing {
    #[serde(default)]
    prefix: String,
    after: Option<RoomId>,
    limit: Option<u16>,
}

pub(super) async fn browse(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Asked(Browsing { prefix, after, limit }): Asked<Browsing>,
) -> Result<Response, ApiError> {
    let limit = Page { after, limit }.limit()?;
    if prefix.chars().count() > ROOM_NAME_CHARS_MAX {
        let detail = format!("prefix: a name has at most {ROOM_NAME_CHARS_MAX} characters");
        return Err(Refusal::bad_request(detail).into());
    }
    let (views, more) = app.chat.browse(&bearer.caller, &prefix, after, limit).await?;
    let rooms = views.iter().map(shapes::room).collect();
    Ok(Json(Rooms { rooms, more }).into_response())
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
) -> Result<Response, ApiError> {
    let view = app.chat.room(&bearer.caller, room).await?;
    Ok(Json(shapes::room(&view)).into_response())
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    body: JsonText,
) -> Result<Response, ApiError> {
    // Setting a room to the same state twice changes it once, so the key is taken and not needed.
    let ChangeRoom { key: _, name, topic, slow_mode_seconds } = body.read()?;
    if name.is_none() && topic.is_none() && slow_mode_seconds.is_none() {
        let detail = "nothing to change; give name, topic or slow_mode_seconds";
        return Err(Refusal::bad_request(detail).into());
    }
    if slow_mode_seconds.is_some_and(|seconds| seconds > SLOW_MODE_SECONDS_MAX) {
        let detail = format!("slow_mode_seconds: allowed are 0 to {SLOW_MODE_SECONDS_MAX}");
        return Err(Refusal::bad_request(detail).into());
    }
    let change = RoomChange {
        name: name.as_deref().map(RoomName::parse).transpose()?,
        topic: topic.as_deref().map(Topic::parse).transpose()?,
        settings: slow_mode_seconds.map(|slow_mode_seconds| RoomSettings { slow_mode_seconds }),
    };
    let view = app.chat.change_room(&bearer.caller, room, change).await?;
    Ok(Json(shapes::room(&view)).into_response())
}

pub(super) async fn join(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    let posted = app.chat.post(&bearer.caller, room, key(&headers, None)?, Change::Join).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

pub(super) async fn leave(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    let posted = app.chat.post(&bearer.caller, room, key(&headers, None)?, Change::Leave).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

pub(super) async fn members(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    Asked(page): Asked<Page<UserId>>,
) -> Result<Response, ApiError> {
    let (found, more) = app.chat.members(&bearer.caller, room, page.after, page.limit()?).await?;
    let members = found
        .iter()
        .map(|member| Member {
            user: wire::User { id: member.user.0, username: (&*member.username).into() },
            role: role(member.role),
        })
        .collect();
    Ok(Json(Members { members, more }).into_response())
}

pub(super) async fn put_member(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfMember { room, user }): Ids<OfMember>,
    headers: HeaderMap,
    body: JsonText,
) -> Result<Response, ApiError> {
    let PutMember { key: of_body, role } =
        if body.is_empty() { PutMember { key: None, role: None } } else { body.read()? };
    let role = role.map(|role| match role {
        wire::Role::Member => Role::Member,
        wire::Role::Moderator => Role::Moderator,
        wire::Role::Owner => Role::Owner,
    });
    // The room first: who may not see it learns nothing about users by it.
    app.chat.room(&bearer.caller, room).await?;
    let user = users::by_id(&app, bearer.caller.tenant, user).await?;
    let change = Change::Add { user: user.id, username: user.username.shared(), role };
    let posted = app.chat.post(&bearer.caller, room, key(&headers, of_body)?, change).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

pub(super) async fn delete_member(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfMember { room, user }): Ids<OfMember>,
    headers: HeaderMap,
    _: NoBody,
) -> Result<Response, ApiError> {
    app.chat.room(&bearer.caller, room).await?;
    let user = users::by_id(&app, bearer.caller.tenant, user).await?;
    let change = Change::Kick { user: user.id, username: user.username.shared() };
    let posted = app.chat.post(&bearer.caller, room, key(&headers, None)?, change).await?;
    Ok(Json(shapes::posted(posted)).into_response())
}

/// `PUT /api/rooms/{id}/read`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MarkRead)]
pub(super) struct Read {
    /// The last event that was read.
    seq: u64,
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Ids(OfRoom { room }): Ids<OfRoom>,
    body: JsonText,
) -> Result<StatusCode, ApiError> {
    let Read { seq } = body.read()?;
    app.chat.mark_read(&bearer.caller, room, Seq(seq)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/direct`: the other one by id or by name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OpenDirect)]
pub(super) struct Direct<'a> {
    /// Their id.
    #[schema(value_type = Option<uuid::Uuid>)]
    user: Option<UserId>,
    /// Or their name.
    #[serde(borrow)]
    username: Option<wire::Text<'a>>,
}

pub(super) async fn direct(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    body: JsonText,
) -> Result<Response, ApiError> {
    let tenant = bearer.caller.tenant;
    let other = match body.read()? {
        Direct { user: Some(user), username: None } => users::by_id(&app, tenant, user).await?,
        Direct { user: None, username: Some(name) } => users::by_name(&app, tenant, &name).await?,
        _ => {
            return Err(Refusal::bad_request("give user or username, and only one of them").into());
        }
    };
    let view = app.chat.open_direct(&bearer.caller, &other).await?;
    Ok(Json(shapes::room(&view)).into_response())
}
