//! `/api/me`: who the caller is, what they say of themselves, and where they were mentioned.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use parlance_actors::limits::LIST_MAX;
use parlance_actors::ports::accounts::{AccountError, ProfileChange};
use parlance_actors::ports::members::Mention;
use parlance_actors::vocab::{About, Code, DisplayName, Refusal, RoomId, Seq, Timestamp};
use parlance_protocol as wire;
use parlance_protocol::http::ChangeProfile;
use serde::Deserialize;
use uuid::Uuid;

use super::{shapes, users};
use crate::app::App;
use crate::error::{ApiError, account_refusal};
use crate::extract::{Asked, JsonText, Signed};
use crate::frames::timestamp;

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
) -> Result<Response, ApiError> {
    let user = users::by_id(&app, bearer.caller.tenant, bearer.caller.user).await?;
    Ok(Json(shapes::me(&user)).into_response())
}

pub(super) async fn change(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    body: JsonText,
) -> Result<Response, ApiError> {
    // Setting a profile to the same state twice changes it once: no key is needed.
    let ChangeProfile { name, about } = body.read()?;
    if name.is_none() && about.is_none() {
        return Err(Refusal::bad_request("nothing to change; give name or about").into());
    }
    let change = ProfileChange {
        name: name.as_deref().map(DisplayName::parse).transpose()?,
        about: about.as_deref().map(About::parse).transpose()?,
    };
    let caller = &bearer.caller;
    let changed = app.accounts.set_profile(caller.tenant, caller.user, change).await;
    let user = changed.map_err(|error| match error {
        AccountError::NameTaken => {
            Refusal::new(Code::NameTaken, "name: that is another person's username")
        }
        other => account_refusal(other),
    })?;
    Ok(Json(shapes::me(&user)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    before: Option<String>,
    limit: Option<u16>,
}

pub(super) async fn mentions(
    State(app): State<Arc<App>>,
    Signed(bearer): Signed,
    Asked(Page { before, limit }): Asked<Page>,
) -> Result<Response, ApiError> {
    let before = before.as_deref().map(read).transpose()?;
    let page = app.chat.mentions(&bearer.caller, before, limit.unwrap_or(LIST_MAX)).await?;
    let mention = |one: &Mention| wire::http::Mention {
        room: one.room.0,
        seq: one.seq.0,
        at: timestamp(one.at),
    };
    let mentions = page.mentions.iter().map(mention).collect();
    let next = page.next.map(|last| write(&last).into());
    Ok(Json(wire::http::Mentions { mentions, next }).into_response())
}

/// A place in the list as a text: the time in milliseconds, the room and the seq.
fn write(place: &Mention) -> String {
    format!("{}.{}.{}", place.at.0, place.room, place.seq.0)
}

fn read(text: &str) -> Result<Mention, Refusal> {
    let place = || {
        let mut parts = text.splitn(3, '.');
        let at = Timestamp(parts.next()?.parse().ok()?);
        let room = RoomId(Uuid::try_parse(parts.next()?).ok()?);
        Some(Mention { room, seq: Seq(parts.next()?.parse().ok()?), at })
    };
    place().ok_or_else(|| Refusal::bad_request("before must be the `next` of another page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_list_survives_its_text() {
        let place = Mention { room: RoomId::generate(), seq: Seq(58), at: Timestamp(-1) };
        assert_eq!(read(&write(&place)).expect("our own"), place);
        for bad in ["", "1", "1.x.2", "1.0198a0c1-5e00-7000-8000-000000000001", "..", "a.b.c.d"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
