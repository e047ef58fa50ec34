//! What a room reads: when it opens, and when a decision needs a fact that it does not have.

use super::generation;
use super::state::{Fact, Known};
use crate::limits;
use crate::ports::history::{HistoryError, Opened, Range};
use crate::vocab::{Epoch, Event, Gen, Key, RoomMeta, RoomRef, Sender, Seq, UserId};
use crate::world::World;

/// What the opening read.
pub(crate) struct Opening {
    pub(super) opened: Opened,
    /// The generation that the log has in this database.
    pub(super) r#gen: Gen,
    /// Events that the followers here have not been told of.
    pub(super) missed: Vec<Event>,
    /// Who made the room, where they are not its owner yet.
    pub(super) creator: Option<Sender>,
    /// Who changed the room last, where its log lacks the event for it.
    pub(super) changer: Option<Sender>,
}

pub(super) async fn open(
    world: &World,
    meta: &RoomMeta,
    epoch: Epoch,
) -> Result<Opening, HistoryError> {
    let at = meta.at();
    let key = Key::of_room_version(meta.id, meta.version);
    let has_entry = meta.version > 0;
    let ask = has_entry.then_some((meta.changed_by, key));
    let opened = world.history.open(at, epoch, ask).await?;
    let r#gen = generation::find(world, at, epoch, &opened).await?;
    // Without members either everybody left, or the creator could not join.
    let is_founded = !has_entry
        || opened.members > 0
        || world.history.key(at, meta.created_by, Key::of_creator(meta.id)).await?.is_some();
    let creator = match is_founded {
        true => None,
        false => Some(sender(world, meta, meta.created_by).await?),
    };
    let changer = match has_entry && opened.asked.is_none() {
        true => Some(sender(world, meta, meta.changed_by).await?),
        false => None,
    };
    let shown = world.hub.position(at).filter(|(known, _)| *known == r#gen);
    let missed = match shown.and_then(|(_, last)| last) {
        Some(last) if last < opened.head => missed(world, at, last, opened.head).await?,
        _ => Vec::new(),
    };
    Ok(Opening { opened, r#gen, missed, creator, changer })
}

async fn sender(world: &World, meta: &RoomMeta, user: UserId) -> Result<Sender, HistoryError> {
    let found = world.accounts.user(meta.tenant, user).await;
    let found = found.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
    let username = found.map_or_else(|| "".into(), |user| user.username.shared());
    Ok(Sender { id: user, username })
}

/// What was committed and never published, because the room crashed in between. Of too many only
/// the last is read: the hub then marks the hole with a gap.
async fn missed(
    world: &World,
    at: RoomRef,
    last: Seq,
    head: Seq,
) -> Result<Vec<Event>, HistoryError> {
    if head.0 - last.0 > limits::REPLAY_EVENTS_MAX {
        return Ok(Vec::new());
    }
    let page = world.history.log(at, Range::After(last), limits::PAGE_MAX).await?;
    Ok(page.events.into_iter().filter(|event| event.seq <= head).collect())
}

pub(super) async fn read_fact(
    world: &World,
    at: RoomRef,
    asker: UserId,
    fact: Fact,
) -> Result<Known, HistoryError> {
    Ok(match fact {
        Fact::Role(user) => Known::Role(world.members.role(at, user).await?),
        Fact::Target(seq) => Known::Target(world.history.event(at, seq).await?),
        Fact::Key(key) => Known::Key(world.history.key(at, asker, key).await?),
        Fact::LastMessage => Known::LastMessage(world.history.last_message_at(at, asker).await?),
    })
}
