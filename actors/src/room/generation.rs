//! Whether the database still has the history that this node has shown. Asked when a room opens in
//! another database than its shard was last found in, and when a room's log is shorter than what
//! was shown of it.
//!
//! A shard whose history was kept keeps its generation. One that lost something, or of which nobody
//! here can say, gets the next one, so that no client takes new events for old ones.

use crate::ports::history::{HistoryError, Opened};
use crate::vocab::{Epoch, Gen, RoomRef};
use crate::world::World;

/// Rooms of a shard that are compared: one that lost its end is enough, and these are read one by
/// one while the room waits.
const COMPARED_MAX: usize = 64;

/// The generation of a room's shard in the database in which the room just opened.
pub(super) async fn find(
    world: &World,
    at: RoomRef,
    epoch: Epoch,
    opened: &Opened,
) -> Result<Gen, HistoryError> {
    let shard = at.shard();
    let owned = world.directory.ownership(shard).filter(|owned| owned.epoch == epoch);
    let Some(owned) = owned else { return Err(HistoryError::Fenced) };
    let shown = world.hub.position(at).filter(|(r#gen, _)| *r#gen == owned.r#gen);
    let is_shorter = shown.and_then(|(_, last)| last).is_some_and(|last| last > opened.head);
    let is_same = owned.database == Some(opened.database);
    if !is_shorter && owned.database.is_none() {
        // The first look: nothing to compare with, and nobody has to wait for it.
        let (directory, database) = (world.directory.clone(), opened.database);
        world.remote.spawn(async move {
            if let Err(error) = directory.found_history(shard, epoch, database, owned.r#gen).await {
                tracing::warn!(shard = shard.0, %error, "a shard's database was not noted");
            }
        });
        return Ok(owned.r#gen);
    }
    if !is_shorter && is_same {
        return Ok(owned.r#gen);
    }
    let is_kept = !is_shorter && keeps_what_was_shown(world, at, owned.r#gen).await?;
    let r#gen = if is_kept { owned.r#gen } else { Gen(owned.r#gen.0 + 1) };
    if !is_kept {
        tracing::error!(shard = shard.0, r#gen = r#gen.0, "the database lost history of a shard");
    }
    let told = world.directory.found_history(shard, epoch, opened.database, r#gen).await;
    told.map_err(|error| HistoryError::Unavailable(error.to_string()))?;
    // Another room of the shard may have found more lost.
    let now = world.directory.ownership(shard).filter(|owned| owned.epoch == epoch);
    now.map(|now| now.r#gen).ok_or(HistoryError::Fenced)
}

/// Whether the ends of the shard's rooms that were shown here are still there; `false` when
/// nothing was shown.
async fn keeps_what_was_shown(
    world: &World,
    at: RoomRef,
    r#gen: Gen,
) -> Result<bool, HistoryError> {
    let rooms = world.hub.rooms().into_iter().filter(|other| other.shard() == at.shard());
    let shown = rooms.filter_map(|room| match world.hub.position(room) {
        Some((known, Some(last))) if known == r#gen && last.0 > 0 => Some((room, last)),
        _ => None,
    });
    let shown: Vec<_> = shown.take(COMPARED_MAX).collect();
    for (room, last) in &shown {
        if world.history.event(*room, *last).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(!shown.is_empty())
}
