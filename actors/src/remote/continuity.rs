//! Who serves which room, as requests see it, and what follows from a change of it: rooms that
//! moved away stop, requests that waited go on, and followers follow the next owner from where they
//! stand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::moved;
use crate::limits;
use crate::ports::directory::Ownership;
use crate::ports::peers::{Channel, NotSent};
use crate::room::actor::{RoomMsg, refuse};
use crate::vocab::{Epoch, NodeId, RoomMeta, RoomRef, ShardId};
use crate::wire::{Envelope, FOLLOW_ROOMS_MAX};
use crate::world::World;

/// How often what could not be done at once is tried again.
const TICK: Duration = Duration::from_millis(250);
/// How often rooms that move are looked at.
const SETTLE_LOOK: Duration = Duration::from_millis(5);

/// Where requests for a shard's rooms go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// This node owns it.
    Here,
    /// Another node owns it.
    Peer(NodeId),
    /// Nobody takes requests now.
    Nobody,
}

impl World {
    pub(crate) fn route(&self, shard: ShardId) -> Route {
        let owned = self.directory.ownership(shard).filter(|owned| owned.moving_to.is_none());
        match owned {
            Some(owned) if owned.owner != self.directory.node() => Route::Peer(owned.owner),
            // Fenced: the directory here only does not know yet who has it.
            Some(owned) if owned.epoch > self.fenced_at(shard) => Route::Here,
            _ => Route::Nobody,
        }
    }

    fn is_awake_now(&self, at: RoomRef) -> bool {
        let owned = self.directory.ownership(at.shard());
        owned.is_some_and(|owned| self.rooms.is_awake_under(at, owned.epoch))
    }

    fn fenced_at(&self, shard: ShardId) -> Epoch {
        Epoch(self.fenced[usize::from(shard.0)].load(Ordering::Acquire))
    }

    /// The database told that another owner has the shard: nothing of it is served under this
    /// epoch any more.
    pub(crate) fn fence(&self, shard: ShardId, epoch: Epoch) {
        let before = self.fenced[usize::from(shard.0)].fetch_max(epoch.0, Ordering::AcqRel);
        // Every room of the shard finds out; the first one does it for all.
        if before < epoch.0 {
            metrics::counter!("parlance_shards_fenced_total").increment(1);
            self.rooms.depart(shard);
        }
    }

    /// Sends a request to its room, here or on another node, or holds it while nobody takes it.
    pub(crate) fn tell(self: &Arc<Self>, meta: &Arc<RoomMeta>, message: RoomMsg) {
        let shard = meta.at().shard();
        let Some(message) = self.held.join(shard, meta, message) else { return };
        if let Some(message) = self.dispatch(meta, message) {
            self.held.begin(shard, meta, message);
            // It may have changed in between, and then nobody else looks for a while.
            self.let_go(shard);
        }
    }

    /// Gives the request back when nobody takes it now.
    fn dispatch(self: &Arc<Self>, meta: &Arc<RoomMeta>, mut message: RoomMsg) -> Option<RoomMsg> {
        let shard = meta.at().shard();
        let route = match self.route(shard) {
            // It may have ended: then its shards have another owner in a moment.
            Route::Peer(owner) if !self.remote.reaches(owner, meta.at()) => Route::Nobody,
            route => route,
        };
        if route != Route::Nobody
            && let RoomMsg::Post(post) = &mut message
            && let Some(owned) = self.directory.ownership(shard)
            && !post.waiter.goes(owned.epoch)
        {
            refuse(message, &moved());
            return None;
        }
        match route {
            Route::Here => self.rooms.tell(self, meta, message),
            Route::Peer(owner) => {
                let follow = self.hub.is_followed(meta.at());
                self.remote.ask(owner, meta, message, follow);
            }
            Route::Nobody => return Some(message),
        }
        None
    }

    fn let_go(self: &Arc<Self>, shard: ShardId) {
        self.held.release(shard, |meta, message| self.dispatch(meta, message));
    }

    fn let_all_go(self: &Arc<Self>) {
        let waiting: Vec<ShardId> = self.held.shards().collect();
        waiting.into_iter().for_each(|shard| self.let_go(shard));
    }

    /// Follows again what is followed on a way that was interrupted.
    pub(super) fn follow_again(&self, owner: NodeId, channel: Channel) {
        for at in self.hub.rooms() {
            if Channel::of_room(at) == channel && self.route(at.shard()) == Route::Peer(owner) {
                self.remote.want(at);
            }
        }
    }

    /// Follows the wanted rooms at their owners, and wakes those that are this node's. What cannot
    /// be done now stays wanted.
    fn follow_wanted(self: &Arc<Self>) {
        let wanted = std::mem::take(&mut *self.remote.wanted.lock());
        let mut by_owner: HashMap<(NodeId, Channel), Vec<RoomRef>> = HashMap::new();
        let mut later = Vec::new();
        for at in wanted {
            let is_followed_here = self.hub.is_followed(at);
            match self.route(at.shard()) {
                Route::Here if self.is_awake_now(at) => {}
                Route::Here if is_followed_here || self.remote.is_followed(at) => {
                    // Its opening shows its followers what they missed. Wanted until it is awake:
                    // a former actor may still be ending, or there was no room for another.
                    if !self.rooms.is_awake(at) {
                        self.wake(at);
                    }
                    later.push(at);
                }
                Route::Here => {}
                Route::Peer(_) | Route::Nobody if !is_followed_here => {}
                Route::Peer(owner) => {
                    by_owner.entry((owner, Channel::of_room(at))).or_default().push(at);
                }
                Route::Nobody => later.push(at),
            }
        }
        for ((owner, channel), rooms) in by_owner {
            for rooms in rooms.chunks(FOLLOW_ROOMS_MAX) {
                let number = self.remote.next_follow_number();
                let follow = Envelope::Follow { number, rooms: rooms.to_vec() };
                match self.remote.send(owner, channel, &follow) {
                    Ok(()) => {
                        let now = Instant::now();
                        self.remote.told.lock().extend(rooms.iter().map(|at| (*at, now)));
                    }
                    Err(NotSent::NoWay | NotSent::Interrupted | NotSent::TooLarge) => {
                        later.extend_from_slice(rooms);
                    }
                }
            }
        }
        self.remote.wanted.lock().extend(later);
    }

    /// What follows from shards that have another owner, another epoch, or move. However many they
    /// are, the rooms of this node are looked through once.
    fn shards_changed(self: &Arc<Self>, changed: &HashMap<ShardId, Option<Ownership>>) {
        let own = |shard: ShardId| -> Option<Ownership> {
            changed[&shard].filter(|owned| owned.owner == self.directory.node())
        };
        self.rooms.depart_unless(|shard, epoch| {
            !changed.contains_key(&shard) || own(shard).is_some_and(|own| own.epoch == epoch)
        });
        let left = self
            .remote
            .followers
            .forget_rooms(|at| changed.contains_key(&at.shard()) && own(at.shard()).is_none());
        for (at, node) in left {
            // One that does not get it hears of an interruption, and follows again as well.
            let word = Envelope::NotFollowed { room: at };
            let _ = self.remote.send(node, Channel::of_room(at), &word);
        }
        for shard in changed.keys().copied() {
            if let Some(own) = own(shard).filter(|own| own.moving_to.is_some()) {
                let (world, epoch) = (self.clone(), own.epoch);
                self.remote.spawn(async move { Box::pin(hand_over(&world, shard, epoch)).await });
            }
        }
        for at in self.hub.rooms().into_iter().filter(|at| changed.contains_key(&at.shard())) {
            self.remote.want(at);
        }
        changed.keys().for_each(|shard| self.let_go(*shard));
    }
}

/// A planned move away from here: what is in flight is settled, the rooms end, and the directory
/// is told.
async fn hand_over(world: &Arc<World>, shard: ShardId, epoch: Epoch) {
    let started = Instant::now();
    let still_moves = || {
        let owned = world.directory.ownership(shard).filter(|owned| owned.epoch == epoch);
        owned.is_some_and(|owned| owned.moving_to.is_some())
    };
    world.rooms.settle(shard);
    while world.rooms.has_awake(shard) && started.elapsed() < limits::HELD_MAX {
        tokio::time::sleep(SETTLE_LOOK).await;
        if !still_moves() {
            // Cancelled, or forced: those that settled end, and are woken where they are followed.
            return;
        }
    }
    // Those that could not settle stop; what they had in flight is fenced or committed.
    world.rooms.depart(shard);
    if let Err(error) = world.directory.release(shard, epoch).await {
        tracing::warn!(shard = shard.0, %error, "a shard was not given away in order");
    }
}

/// Keeps rooms, requests and followers true to the directory's shards, for as long as the node
/// lives.
pub(crate) async fn follow_shards(world: Arc<World>, mut changed: watch::Receiver<u64>) {
    let mut live = world.remote.peers().live();
    let mut known: Vec<Option<Ownership>> = Vec::new();
    let mut version = None;
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let present = Some(*changed.borrow_and_update());
        // Most turns of this loop are about something else.
        if version != present {
            version = present;
            let now = ShardId::all().map(|shard| world.directory.ownership(shard));
            let now: Vec<_> = now.collect();
            if !known.is_empty() {
                let changed = ShardId::all().zip(known.iter().zip(&now));
                let changed = changed.filter(|(_, (before, now))| before != now);
                let changed: HashMap<_, _> =
                    changed.map(|(shard, (_, now))| (shard, *now)).collect();
                if !changed.is_empty() {
                    world.shards_changed(&changed);
                }
            }
            known = now;
        }
        world.follow_wanted();
        tokio::select! {
            ended = changed.changed() => if ended.is_err() { return },
            // Wanted rooms may be reachable now.
            Ok(()) = live.changed() => world.let_all_go(),
            () = world.remote.stirred.notified() => {}
            _ = tick.tick() => {
                // First: what a refused send stood before must not go once that is forgotten.
                world.held.expire();
                world.let_all_go();
                world.remote.follow_unanswered();
                world.remote.pending.expire();
                world.remote.stalled.sweep();
            }
        }
    }
}
