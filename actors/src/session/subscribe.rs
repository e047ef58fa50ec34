//! Subscribing: prepare the feed, ask the room, answer, replay, join. In this order nothing
//! between cursor and live is missed and nothing comes twice.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::holds::release;
use super::link::SessionLink;
use super::words::{Answer, Cursor, Output, Subscribed};
use crate::hub::{Joined, Joining};
use crate::limits;
use crate::outbox::{CloseCode, Pushed};
use crate::ports::history::Range;
use crate::room::state::{Replay, Seen};
use crate::vocab::{Code, Event, Refusal, RoomId, RoomRef, Seq};
use crate::world::World;

/// How often a room is asked again when it publishes faster than the feed keeps, before the
/// missed part becomes a gap.
const TRIES: usize = 3;

const LATE: &str = "the room takes too long to answer";

type Asked = (RoomId, Result<(Joining, Seen), Refusal>);

/// Serves one subscribe request to its end.
pub(super) async fn subscribe(
    world: &Arc<World>,
    link: &Arc<SessionLink>,
    follows: &mut HashSet<RoomId>,
    id: Option<u64>,
    rooms: Vec<(RoomId, Option<Cursor>)>,
) {
    let mut free = limits::SESSION_ROOMS_MAX.saturating_sub(follows.len());
    let wanted = rooms.into_iter().map(|(room, cursor)| {
        // Following again starts over from the new cursor.
        let again = follows.remove(&room);
        let has_room = again || free > 0;
        if again {
            world.hub.leave(RoomRef { tenant: link.caller.tenant, room }, link.id);
        } else {
            free = free.saturating_sub(1);
        }
        (room, cursor, has_room)
    });
    let wanted: Vec<_> = wanted.collect();
    let until = Instant::now() + limits::SUBSCRIBE_WAIT;
    let asked: Vec<Asked> = stream::iter(wanted)
        .map(|(room, cursor, has_room)| async move {
            let asking = ask(world, link, room, cursor, has_room);
            let late = |_| (room, Err(Refusal::unavailable(LATE)));
            let asked = timeout_at(until, asking).await.unwrap_or_else(late);
            if cursor.is_none() {
                // What is sent now is after the head that was answered: the feed keeps it until it is joined.
                Box::pin(release(world, link, room)).await;
            }
            asked
        })
        .buffered(limits::SUBSCRIBE_PARALLEL_MAX)
        .collect()
        .await;
    let answers = asked.iter().map(|(room, result)| {
        let subscribed = result.as_ref().map(|(_, seen)| Subscribed {
            r#gen: seen.r#gen,
            first: seen.first,
            head: seen.head,
        });
        (*room, subscribed.map_err(Clone::clone))
    });
    link.settle_request(id, Ok(&Answer::Subscribed(answers.collect())));
    for (room, result) in asked {
        let Ok((joining, seen)) = result else { continue };
        match Box::pin(follow(world, link, &joining, room, seen)).await {
            Ok(()) => drop(follows.insert(room)),
            Err(refusal) => lost(link, refusal),
        }
    }
}

/// Follows one room from its head on, for a client that has no words to ask for it: what stands in the
/// way for a moment is waited for, as long as a subscribe may take.
pub(super) async fn attach(
    world: &Arc<World>,
    link: &Arc<SessionLink>,
    follows: &mut HashSet<RoomId>,
    room: RoomId,
) -> Result<(), Refusal> {
    let until = Instant::now() + limits::SUBSCRIBE_WAIT;
    loop {
        let asked = timeout_at(until, ask(world, link, room, None, true)).await;
        let asked = asked.map_or_else(|_| Err(Refusal::unavailable(LATE)), |(_, asked)| asked);
        let followed = match asked {
            Ok((joining, seen)) => Box::pin(follow(world, link, &joining, room, seen)).await,
            Err(refusal) => Err(refusal),
        };
        let refusal = match followed {
            Ok(()) => {
                follows.insert(room);
                return Ok(());
            }
            Err(refusal) => refusal,
        };
        let again = refusal.retry_after.map(|pause| Instant::now() + pause);
        match again.filter(|again| *again < until && !link.outbox.is_closing()) {
            Some(again) => sleep_until(again).await,
            None => return Err(refusal),
        }
    }
}

async fn ask(
    world: &Arc<World>,
    link: &SessionLink,
    room: RoomId,
    cursor: Option<Cursor>,
    has_room: bool,
) -> Asked {
    if !has_room {
        let detail = format!("a session follows at most {} rooms", limits::SESSION_ROOMS_MAX);
        return (room, Err(Refusal::new(Code::TooLarge, detail)));
    }
    let at = RoomRef { tenant: link.caller.tenant, room };
    let joining = world.hub.prepare(at);
    let seen = async {
        let seen = world.look(&link.caller, at, cursor).await?;
        is_current(world, at, cursor, &seen).await?;
        Ok((joining, seen))
    };
    (room, Box::pin(seen).await)
}

/// Refuses the answer of a former owner that does not know yet that it is one, because nobody sent
/// anything through it since. What the client has seen beyond its head would come to it again when
/// this node hears of the next owner. A log that ends there has lost its end, and a gap says so.
async fn is_current(
    world: &World,
    at: RoomRef,
    cursor: Option<Cursor>,
    seen: &Seen,
) -> Result<(), Refusal> {
    if cursor.is_none_or(|cursor| cursor.r#gen != seen.r#gen || cursor.seq <= seen.head) {
        return Ok(());
    }
    // Not a page of the log, which a replica may serve that is as far behind.
    match world.history.event(at, seen.head.next()).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) | Err(_) => {
            let why = "the room's owner here is behind what you have seen; repeat in a moment";
            Err(Refusal::unavailable(why).retry_after(limits::MOVED_RETRY))
        }
    }
}

/// Replays and joins; refused when the caller lost the room meanwhile, or it does not answer any more.
async fn follow(
    world: &Arc<World>,
    link: &Arc<SessionLink>,
    joining: &Joining,
    room: RoomId,
    mut seen: Seen,
) -> Result<(), Refusal> {
    let at = RoomRef { tenant: link.caller.tenant, room };
    let mut cut_from = None;
    for _ in 0..TRIES {
        let replay = std::mem::replace(&mut seen.replay, Replay::Nothing);
        if cut_from.is_none() {
            cut_from = Box::pin(play(world, link, at, &seen, replay)).await;
        }
        let joined = joining.join(link.follower(), seen.r#gen, seen.head, cut_from);
        if joined == Joined::Live {
            return Ok(());
        }
        let cursor = Cursor { r#gen: seen.r#gen, seq: seen.head };
        seen = world.look(&link.caller, at, Some(cursor)).await?;
    }
    // Faster than we can follow: join at its end and mark the rest, then make sure that the
    // caller was not removed in the part that we did not see.
    joining.join_after_gap(link.follower(), seen.r#gen, cut_from.unwrap_or(seen.head.next()));
    let still_in = world.look(&link.caller, at, None).await;
    if still_in.is_err() {
        world.hub.leave(at, link.id);
    }
    still_in.map(drop)
}

/// A room that was answered and cannot be followed after all: nobody who lost it expects more of
/// it, but one who is only not let in now would wait for its events for ever. That session ends,
/// and resumes from its cursors.
pub(super) fn lost(link: &SessionLink, refusal: Refusal) {
    if !matches!(refusal.code, Code::NotFound | Code::Forbidden) {
        link.close(CloseCode::GoingAway, refusal);
    }
}

/// Sends what lies between cursor and head. Gives the first event that did not fit.
async fn play(
    world: &World,
    link: &SessionLink,
    at: RoomRef,
    seen: &Seen,
    replay: Replay,
) -> Option<Seq> {
    let gap = |from| {
        if from <= seen.head {
            link.say(&Output::Gap { room: at.room, from, to: seen.head });
        }
        None
    };
    match replay {
        Replay::Nothing => None,
        Replay::Gap { from } => gap(from),
        Replay::Events(events) => {
            events.iter().find_map(|event| push(world, link, at, seen, event))
        }
        Replay::Read { after } => {
            let page = world.history.log(at, Range::After(after), limits::PAGE_MAX).await;
            let Ok(page) = page else { return gap(after.next()) };
            let events = page.events.iter().filter(|event| event.seq <= seen.head);
            let mut last = after;
            for event in events {
                if let Some(cut) = push(world, link, at, seen, event) {
                    return Some(cut);
                }
                last = event.seq;
            }
            // A replica may lag behind the head that the room answered.
            gap(last.next())
        }
    }
}

fn push(world: &World, link: &SessionLink, at: RoomRef, seen: &Seen, event: &Event) -> Option<Seq> {
    let output = Output::Event { room: at.room, r#gen: seen.r#gen, event };
    let frame = world.frames.encode(link.dialect, &output)?;
    (link.outbox.push_event(at, frame) == Pushed::Cut).then_some(event.seq)
}
