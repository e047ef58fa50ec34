//! Rooms as a caller sees them: the metadata, where the log stands, and with whom one talks.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Chat, RoomView};
use crate::ports::accounts::AccountError;
use crate::room::actor::unavailable;
use crate::session::Caller;
use crate::vocab::{Refusal, Role, RoomId, RoomKind, RoomMeta, Sender, UserId};

impl Chat {
    /// Two statements for however many: the logs and marks, and the names of those in direct
    /// conversations.
    pub(super) async fn views(
        &self,
        caller: &Caller,
        rooms: Vec<Arc<RoomMeta>>,
    ) -> Result<Vec<RoomView>, Refusal> {
        let ids: Vec<RoomId> = rooms.iter().map(|meta| meta.id).collect();
        let summaries = self.world.members.summaries(caller.tenant, caller.user, &ids).await;
        let summaries = summaries.map_err(|error| unavailable(&error))?;
        let mut views = Vec::with_capacity(rooms.len());
        for (meta, mut summary) in rooms.into_iter().zip(summaries) {
            let role = match meta.kind {
                RoomKind::Lobby => Some(if caller.admin { Role::Owner } else { Role::Member }),
                _ => summary.role,
            };
            if role.is_none() {
                if meta.kind != RoomKind::Public {
                    // They were removed since it was found to be theirs.
                    continue;
                }
                // Who is not in a room has nothing to read there.
                (summary.unread, summary.mentions) = (0, 0);
            }
            views.push(RoomView { meta, role, summary, with: None, members: None });
        }
        self.name_others(caller, &mut views).await?;
        Ok(views)
    }

    async fn name_others(&self, caller: &Caller, views: &mut [RoomView]) -> Result<(), Refusal> {
        let is_direct = |view: &&mut RoomView| view.meta.kind == RoomKind::Direct;
        let others: Vec<UserId> =
            views.iter_mut().filter(is_direct).filter_map(|view| view.summary.other).collect();
        let mut names: HashMap<UserId, Arc<str>> = HashMap::new();
        if !others.is_empty() {
            let users = self.world.accounts.users(caller.tenant, &others).await;
            let users = users.map_err(|error| match error {
                AccountError::Busy => Refusal::busy("too many lists at once; try again"),
                _ => Refusal::unavailable("the database is away"),
            })?;
            names.extend(users.into_iter().map(|user| (user.id, user.username.shared())));
        }
        for view in views.iter_mut().filter(is_direct) {
            view.with = match view.summary.other {
                Some(id) => {
                    let username = names.get(&id).cloned().unwrap_or_else(|| "unknown".into());
                    Some(Sender { id, username })
                }
                None => {
                    let own = RoomId::direct(caller.tenant, caller.user, caller.user);
                    let me = || Sender { id: caller.user, username: caller.username.clone() };
                    (view.meta.id == own).then(me)
                }
            };
        }
        Ok(())
    }
}
