//! What goes on beside the calls: users' devices are told of what is theirs, and awake rooms of
//! what changed in the directory.

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc};

use crate::room::actor::RoomMsg;
use crate::session::Output;
use crate::vocab::{RoomRef, Sender};
use crate::world::{Notice, World};

/// Tells users' devices what changed of theirs, one notice after the other.
pub(super) async fn tell_devices(world: Arc<World>, mut waiting: mpsc::Receiver<Notice>) {
    while let Some(notice) = waiting.recv().await {
        match notice {
            Notice::Read { room, user, seq, rev } => {
                for link in world.sessions.of_user(room.tenant, user) {
                    link.say(&Output::MeRead { rev, room: room.room, seq });
                }
            }
            Notice::Membership { room, user, role } => {
                let links = world.sessions.of_user(room.tenant, user);
                match world.members.bump(room.tenant, user).await {
                    Ok(rev) => links.iter().for_each(|link| {
                        link.say(&Output::MeRoom { rev, room: room.room, role });
                    }),
                    Err(error) => tracing::warn!(%error, "a user's revision did not grow"),
                }
            }
        }
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
