//! Lists, page by page: a caller's rooms, the public ones, and who is in a room.

use std::sync::Arc;

use super::{Chat, RoomView};
use crate::limits;
use crate::ports::members::{Member, Membership, Mention, Mentions};
use crate::room::actor::unavailable;
use crate::session::Caller;
use crate::vocab::{Code, Refusal, RoomId, RoomKind, RoomMeta, RoomRef, UserId};
use crate::world::directory_refusal;

impl Chat {
    /// The rooms of a caller, the lobby and direct conversations among them, ascending by id;
    /// whether there are more.
    ///
    /// # Errors
    /// `bad_request` for a limit out of bounds, or `unavailable`.
    pub async fn rooms(
        &self,
        caller: &Caller,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<(Vec<RoomView>, bool), Refusal> {
        check_limit(limit)?;
        let mut rooms = self.own_rooms(caller, after, limit).await?;
        let lobby = RoomMeta::lobby(caller.tenant);
        if after.is_none_or(|after| after < lobby.id) {
            rooms.push(Arc::new(lobby));
        }
        rooms.sort_by_key(|meta| meta.id);
        let more = rooms.len() > usize::from(limit);
        rooms.truncate(usize::from(limit));
        Ok((self.views(caller, rooms).await?, more))
    }

    /// More than `limit` of the caller's own rooms, if there are as many. A room that this node does not
    /// know yet is asked for once; one that no node knows, as after the directory was lost, is left out,
    /// and those behind it are not.
    async fn own_rooms(
        &self,
        caller: &Caller,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<Vec<Arc<RoomMeta>>, Refusal> {
        let meta = |own: &Membership| {
            self.world.meta_of_member(RoomRef { tenant: caller.tenant, room: own.room })
        };
        let (mut rooms, mut from, mut asked) = (Vec::new(), after, false);
        loop {
            // One more tells whether there are more.
            let own = self.world.members.rooms_of(caller.tenant, caller.user, from, limit + 1);
            let own = own.await.map_err(|error| unavailable(&error))?;
            if !asked && own.iter().any(|own| meta(own).is_none()) {
                asked = true;
                let passed = self.world.barrier.pass(&*self.world.directory).await;
                passed.map_err(directory_refusal)?;
            }
            rooms.extend(own.iter().filter_map(meta));
            from = own.last().map(|own| own.room).or(from);
            let limit = usize::from(limit);
            if own.len() <= limit || rooms.len() > limit {
                return Ok(rooms);
            }
        }
    }

    /// Public rooms whose names begin with `prefix`, the caller's own or not, ascending by name, after
    /// the given one, with how many members each has; whether there are more.
    ///
    /// # Errors
    /// `bad_request` for a limit out of bounds, or `unavailable`.
    pub async fn browse(
        &self,
        caller: &Caller,
        prefix: &str,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<(Vec<RoomView>, bool), Refusal> {
        check_limit(limit)?;
        if let Some(after) = after {
            // A node that is behind would take a room that it does not know for the end of the list.
            let at = RoomRef { tenant: caller.tenant, room: after };
            let is_public = match self.world.meta(caller, at).await {
                Ok(meta) => meta.kind == RoomKind::Public,
                Err(refusal) if refusal.code == Code::NotFound => false,
                Err(refusal) => return Err(refusal),
            };
            if !is_public {
                return Err(Refusal::bad_request("after names no public room"));
            }
        }
        let directory = &self.world.directory;
        let mut rooms = directory.public_rooms(caller.tenant, prefix, after, limit + 1);
        let more = rooms.len() > usize::from(limit);
        rooms.truncate(usize::from(limit));
        let ids: Vec<RoomId> = rooms.iter().map(|meta| meta.id).collect();
        let mut views = self.views(caller, rooms).await?;
        let sizes = self.world.members.sizes(caller.tenant, &ids).await;
        for (view, size) in views.iter_mut().zip(sizes.map_err(|error| unavailable(&error))?) {
            view.members = Some(size);
        }
        Ok((views, more))
    }

    /// Where the caller was mentioned, the newest first, behind the given one; see
    /// [`Members::mentions`](crate::ports::Members::mentions).
    ///
    /// # Errors
    /// `bad_request` for a limit out of bounds, or `unavailable`.
    pub async fn mentions(
        &self,
        caller: &Caller,
        before: Option<Mention>,
        limit: u16,
    ) -> Result<Mentions, Refusal> {
        check_limit(limit)?;
        let page = self.world.members.mentions(caller.tenant, caller.user, before, limit).await;
        page.map_err(|error| unavailable(&error))
    }

    /// A room's members ascending by user id, for its members; whether
    /// there are more.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `bad_request`, or `unavailable`.
    pub async fn members(
        &self,
        caller: &Caller,
        room: RoomId,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<(Vec<Member>, bool), Refusal> {
        check_limit(limit)?;
        let view = self.room(caller, room).await?;
        if view.role.is_none() {
            return Err(Refusal::forbidden("join the room first"));
        }
        // One more tells whether there are more.
        let members = self.world.members.list(view.meta.at(), after, limit + 1).await;
        let mut members = members.map_err(|error| unavailable(&error))?;
        let more = members.len() > usize::from(limit);
        members.truncate(usize::from(limit));
        Ok((members, more))
    }
}

fn check_limit(limit: u16) -> Result<(), Refusal> {
    if limit == 0 || limit > limits::LIST_MAX {
        return Err(Refusal::bad_request(format!(
            "limit is {limit}; allowed are 1 to {}",
            limits::LIST_MAX
        )));
    }
    Ok(())
}
