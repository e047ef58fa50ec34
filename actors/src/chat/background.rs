//! What goes on beside the calls: users' devices are told of what is theirs, awake rooms of what
//! changed in the directory, and presence of who is alive.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, watch};

use crate::ports::peers::Live;
use crate::room::actor::RoomMsg;
use crate::vocab::{RoomRef, Sender};
use crate::wire::presence::{Saying, Word};
use crate::world::{Notice, World};

/// Tells users' devices, on every node, what changed of theirs, one notice after the other.
pub(super) async fn tell_devices(world: Arc<World>, mut waiting: mpsc::Receiver<Notice>) {
    while let Some(notice) = waiting.recv().await {
        let (room, user, saying) = match notice {
            Notice::Read { room, user, seq, rev } => {
                (room, user, Saying::Read { room: room.room, seq, rev })
            }
            // It grows once, here, where the change came from; the other nodes are told the result.
            Notice::Membership { room, user, role } => {
                match world.members.bump(room.tenant, user).await {
                    Ok(rev) => (room, user, Saying::Membership { room: room.room, role, rev }),
                    Err(error) => {
                        tracing::warn!(%error, "a user's revision did not grow");
                        continue;
                    }
                }
            }
        };
        world.tell_user(Word { tenant: room.tenant, user, saying });
    }
}

/// Tells presence who is alive whenever that changes.
pub(super) async fn follow_live(world: Arc<World>, mut live: watch::Receiver<Arc<Live>>) {
    while live.changed().await.is_ok() {
        let now = live.borrow_and_update().clone();
        world.presence.live_changed(&now);
    }
}

/// Has awake rooms append the events of their metadata's changes. A lagging receiver loses
/// some; those rooms do it when they open next.
pub(super) async fn follow_directory(world: Arc<World>, mut changes: broadcast::Receiver<RoomRef>) {
    loop {
        let at = match changes.recv().await {
            Ok(at) => at,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(meta) = world.directory.room(at) else { continue };
        if !world.rooms.is_awake(at) {
            continue;
        }
        let user = world.accounts.user(at.tenant, meta.changed_by).await.ok().flatten();
        let Some(user) = user else { continue };
        let by = Sender { id: user.id, username: user.username.shared() };
        let refresh = RoomMsg::Refresh { meta: meta.clone(), by, waiter: None };
        world.rooms.tell(&world, &meta, refresh);
    }
}
