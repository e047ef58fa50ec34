//! What arrives from other nodes. Nothing here waits: a room is told, a waiter answered, a feed
//! shown; what takes reading is a task of its own.

use std::sync::{Arc, Weak};

use super::continuity::Route;
use super::pending::LookAgain;
use super::{PeerWaiter, moved};
use crate::limits;
use crate::ports::peers::{Channel, Inbox, Malformed};
use crate::room::actor::RoomMsg;
use crate::room::state::{Look, Post};
use crate::session::Change;
use crate::session::waiter::{Reply, Waiter};
use crate::vocab::{NodeId, Refusal, RoomRef};
use crate::wire::presence::PresenceFrame;
use crate::wire::{
    Envelope, FOLLOW_ROOMS_MAX, WireCaller, WireCursor, WirePost, WireRefusal, WireSeen, WireSender,
};
use crate::world::World;

/// The way from the links into a world. It does not keep the world alive.
pub(crate) struct WorldInbox(pub(crate) Weak<World>);

impl Inbox for WorldInbox {
    fn frame(&self, from: NodeId, channel: Channel, frame: &[u8]) -> Result<(), Malformed> {
        let envelope = Envelope::decode(frame)?;
        match self.0.upgrade() {
            Some(world) => receive(&world, from, channel, envelope),
            None => Ok(()),
        }
    }

    fn interrupted(&self, peer: NodeId, channel: Channel) {
        if let Some(world) = self.0.upgrade() {
            world.remote.pending.interrupted(peer, channel);
            world.remote.followers.forget(peer, channel);
            world.follow_again(peer, channel);
            world.presence.interrupted(peer, channel);
        }
    }
}

fn receive(
    world: &Arc<World>,
    from: NodeId,
    channel: Channel,
    envelope: Envelope,
) -> Result<(), Malformed> {
    match envelope {
        Envelope::Post(post) => return world.peer_posts(from, *post),
        Envelope::Posted { id, result } => world.remote.pending.posted(from, id, result),
        Envelope::Look { id, room, caller, cursor, follow } => {
            world.peer_looks(from, id, room, (caller, cursor), follow);
        }
        Envelope::Seen { id, result } => return world.remote.pending.seen(from, id, result),
        Envelope::Moved { id } => {
            if let Some(LookAgain { meta, look }) = world.remote.pending.moved(from, id) {
                world.held.begin(meta.at().shard(), &meta, RoomMsg::Look(Box::new(look)));
            }
        }
        Envelope::Refresh { id, room, version, by } => {
            world.peer_refreshes(from, id, room, version, by);
        }
        Envelope::Follow { number, rooms } => {
            if rooms.len() > FOLLOW_ROOMS_MAX {
                return Err(Malformed(format!("{} rooms in one follow", rooms.len())));
            }
            rooms.into_iter().for_each(|at| world.peer_follows(from, number, at));
        }
        Envelope::Head { room, r#gen, head, .. } => {
            if !world.heard_head(room, r#gen, head) {
                world.unfollow(from, room);
            }
        }
        Envelope::NotFollowed { room } => world.remote.want_later(room),
        Envelope::Unfollow { number, room } => world.remote.followers.unfollow(room, from, number),
        Envelope::StillFollowing { room } => world.unfollow(from, room),
        Envelope::Event { room, r#gen, event } => {
            let event = Arc::new(event.into_event()?);
            if !world.heard(room, r#gen, &event) {
                world.unfollow(from, room);
            }
        }
        Envelope::Typing { room, session, user, username } => {
            world.hub.typing_elsewhere(room, user, &username);
            if matches!(world.route(room.shard()), Route::Here) {
                let mut others = world.remote.followers.of(room);
                others.retain(|node| *node != from);
                let typing = Envelope::Typing { room, session, user, username };
                world.remote.whisper(&others, room, &typing);
            }
        }
        Envelope::Presence(frame) => {
            let frame = PresenceFrame::decode(&frame)?;
            world.presence.receive(world, from, channel, frame);
        }
    }
    Ok(())
}

impl World {
    fn peer_posts(self: &Arc<Self>, from: NodeId, post: WirePost) -> Result<(), Malformed> {
        let waiter = PeerWaiter::new(&self.remote, from, &post);
        let (at, key) = (post.room, post.key);
        let change = Change::try_from(post.change)?;
        let waiter = Waiter::Peer(waiter);
        let meta = self.meta_of_member(at);
        if meta.is_none() {
            // Made a moment ago, and not told here yet.
            let world = self.clone();
            self.remote.spawn(async move { drop(world.barrier.pass(&*world.directory).await) });
        }
        match meta.filter(|_| self.serves(at)) {
            Some(meta) => {
                let post = Post { caller: post.caller.into(), key, change, waiter };
                self.rooms.tell(self, &meta, RoomMsg::Post(Box::new(post)));
            }
            None => waiter.answer(Err(moved())),
        }
        Ok(())
    }

    fn serves(&self, at: RoomRef) -> bool {
        matches!(self.route(at.shard()), Route::Here) && !self.is_draining()
    }

    fn peer_looks(
        self: &Arc<Self>,
        from: NodeId,
        id: u64,
        at: RoomRef,
        (caller, cursor): (WireCaller, Option<WireCursor>),
        follow: Option<u64>,
    ) {
        let channel = Channel::of_room(at);
        if !self.serves(at) {
            let _ = self.remote.send(from, channel, &Envelope::Moved { id });
            return;
        }
        if let Some(number) = follow {
            self.remote.followers.follow(at, from, number);
        }
        let remote = self.remote.clone();
        let waiter = Reply::calling(move |result: Result<crate::room::state::Seen, Refusal>| {
            let result = match &result {
                Ok(seen) => Ok(WireSeen::from(seen)),
                Err(refusal) => Err(WireRefusal::from(refusal)),
            };
            let _ = remote.send(from, channel, &Envelope::Seen { id, result });
        });
        let cursor = cursor.map(Into::into);
        let look = RoomMsg::Look(Box::new(Look { caller: caller.into(), cursor, waiter }));
        match self.meta_of_member(at) {
            Some(meta) => self.rooms.tell(self, &meta, look),
            None => self.tell_after_a_barrier(at, look),
        }
    }

    fn peer_refreshes(
        self: &Arc<Self>,
        from: NodeId,
        id: u64,
        at: RoomRef,
        version: u64,
        by: WireSender,
    ) {
        let mut waiter = PeerWaiter::of_refresh(&self.remote, from, id, at);
        if !self.serves(at) {
            return waiter.settle(Err(moved()));
        }
        let waiter = Some(Waiter::Peer(waiter));
        let known = self.directory.room(at);
        match known.filter(|meta| meta.version >= version) {
            Some(meta) => {
                let refresh = RoomMsg::Refresh { meta: meta.clone(), by: by.into(), waiter };
                self.rooms.tell(self, &meta, refresh);
            }
            None => {
                let world = self.clone();
                self.remote.spawn(async move {
                    let passed = world.barrier.pass(&*world.directory).await;
                    if let Some(meta) = world.directory.room(at).filter(|_| passed.is_ok()) {
                        let refresh =
                            RoomMsg::Refresh { meta: meta.clone(), by: by.into(), waiter };
                        world.rooms.tell(&world, &meta, refresh);
                    }
                });
            }
        }
    }

    fn tell_after_a_barrier(self: &Arc<Self>, at: RoomRef, message: RoomMsg) {
        let world = self.clone();
        self.remote.spawn(async move {
            let passed = world.barrier.pass(&*world.directory).await;
            match (passed, world.meta_of_member(at)) {
                (Ok(()), Some(meta)) => world.rooms.tell(&world, &meta, message),
                (Ok(()), None) => crate::room::actor::refuse(message, &Refusal::no_such_room()),
                (Err(_), _) => crate::room::actor::refuse(message, &moved()),
            }
        });
    }

    /// Another node follows a room of this one: it learns the head once the room is open.
    fn peer_follows(self: &Arc<Self>, from: NodeId, number: u64, at: RoomRef) {
        let meta = self.meta_of_member(at).filter(|_| self.serves(at));
        let channel = Channel::of_room(at);
        let Some(meta) = meta else {
            let _ = self.remote.send(from, channel, &Envelope::NotFollowed { room: at });
            return;
        };
        self.remote.followers.follow(at, from, number);
        let remote = self.remote.clone();
        let reply = Reply::calling(move |result: Result<crate::room::actor::Standing, Refusal>| {
            let envelope = match result {
                Ok(at_head) => Envelope::Head {
                    room: at,
                    epoch: at_head.epoch,
                    r#gen: at_head.r#gen,
                    head: at_head.head,
                },
                Err(_) => Envelope::NotFollowed { room: at },
            };
            let _ = remote.send(from, channel, &envelope);
        });
        self.rooms.tell(self, &meta, RoomMsg::Stand(reply));
    }

    /// Tells an owner that nobody here follows the room, if that is so.
    fn unfollow(&self, owner: NodeId, at: RoomRef) {
        // Read before the hub is asked: who begins to follow from now on has a higher number.
        let number = self.remote.follow_number.load(std::sync::atomic::Ordering::Acquire);
        if !self.hub.is_followed(at) {
            let unfollow = Envelope::Unfollow { number, room: at };
            let _ = self.remote.send(owner, Channel::of_room(at), &unfollow);
        }
    }
}

const _: () = assert!(limits::HELD_MAX.as_millis() < limits::COMMIT_WAIT.as_millis());
