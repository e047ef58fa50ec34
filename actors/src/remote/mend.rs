//! At a node that follows: events of a room that did not arrive are read from history and shown in
//! their place. While a room is mended what arrives only says how far.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::limits;
use crate::ports::history::Range;
use crate::session::actor::SessionMsg;
use crate::vocab::{Event, Gen, RoomRef, Seq};
use crate::world::World;

/// How often history is read again for events that a replica lacks, or a database that was away,
/// before they become a gap.
const TRIES: u32 = 20;
/// The pause between.
const PAUSE: Duration = Duration::from_millis(100);

/// How far each room that is being mended is known to go.
#[derive(Default)]
pub(super) struct Mending {
    rooms: DashMap<RoomRef, (Gen, Seq)>,
}

impl World {
    /// An event of a room that another node owns. `false` when nobody here follows the room.
    pub(super) fn heard(self: &Arc<Self>, at: RoomRef, r#gen: Gen, event: &Arc<Event>) -> bool {
        if let Some(mut target) = self.remote.mending.rooms.get_mut(&at) {
            *target = (*target).max((r#gen, event.seq));
            return true;
        }
        let Some((known, last)) = self.hub.position(at) else { return false };
        match last {
            Some(last) if known == r#gen && event.seq > last.next() => {
                self.mend(at, r#gen, event.seq);
            }
            _ => self.hub.publish(at, r#gen, event),
        }
        true
    }

    /// The head of a room that another node owns. `false` when nobody here follows the room.
    pub(super) fn heard_head(self: &Arc<Self>, at: RoomRef, r#gen: Gen, head: Seq) -> bool {
        let Some((known, last)) = self.hub.position(at) else { return false };
        match last {
            // Only sessions that are joining, and each asks the room itself.
            None => {}
            Some(last) if known == r#gen && head > last => self.mend(at, r#gen, head),
            Some(_) if known == r#gen => {}
            Some(_) => {
                self.hub.opened(at, r#gen, head);
                self.recheck(at);
            }
        }
        true
    }

    fn mend(self: &Arc<Self>, at: RoomRef, r#gen: Gen, target: Seq) {
        match self.remote.mending.rooms.entry(at) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                *known = (*known).max((r#gen, target));
            }
            Entry::Vacant(place) => {
                place.insert((r#gen, target));
                metrics::counter!("parlance_feeds_mended_total").increment(1);
                let world = self.clone();
                self.remote.spawn(async move { Box::pin(mend(&world, at)).await });
            }
        }
    }

    /// Followers who cannot be shown what happened in a room may have lost it meanwhile: each asks.
    pub(crate) fn recheck(&self, at: RoomRef) {
        for session in self.hub.followers(at) {
            self.sessions.tell(session, SessionMsg::Recheck(at.room));
        }
    }
}

async fn mend(world: &Arc<World>, at: RoomRef) {
    for _ in 0..TRIES {
        let Some((r#gen, last)) = world.hub.position(at) else { break };
        let Some(last) = last else { break };
        let target = world.remote.mending.rooms.get(&at).map(|target| *target);
        let Some((target_gen, target)) = target else { return };
        if target_gen != r#gen || target.0.saturating_sub(last.0) > limits::REPLAY_EVENTS_MAX {
            break;
        }
        let page = world.history.log(at, Range::After(last), limits::PAGE_MAX);
        let page = tokio::time::timeout(limits::COMMIT_WAIT, page).await;
        let events = page.ok().and_then(Result::ok).map(|page| page.events).unwrap_or_default();
        let is_empty = events.is_empty();
        for event in events {
            world.hub.publish(at, r#gen, &Arc::new(event));
        }
        if is_done(world, at) {
            return;
        }
        if is_empty {
            tokio::time::sleep(PAUSE).await;
        }
    }
    let target = world.remote.mending.rooms.remove(&at);
    if let Some((_, (r#gen, target))) = target
        && world.hub.position(at).is_some()
    {
        world.hub.opened(at, r#gen, target);
        world.recheck(at);
        // What arrived while this was decided only moved the target.
        world.remote.want(at);
    }
}

/// Ends the mending when the feed has come to where the room is known to be.
fn is_done(world: &World, at: RoomRef) -> bool {
    let Entry::Occupied(target) = world.remote.mending.rooms.entry(at) else { return true };
    let position = world.hub.position(at);
    let is_there =
        position.is_none_or(|(r#gen, last)| last.is_none_or(|last| (r#gen, last) >= *target.get()));
    if is_there {
        target.remove();
    }
    is_there
}
