//! What nodes say to each other about rooms, for measurements: the same steps as on the way of a
//! message, without a link in between. The envelopes themselves stay inside this crate.

use std::sync::Arc;

use bytes::Bytes;

use crate::ports::peers::Malformed;
use crate::session::{Caller, Change};
use crate::vocab::{Event, Gen, Key, RoomRef, SessionId};
use crate::wire::{Envelope, WireCaller, WireChange, WireEvent, WirePost};

/// The frame of a committed event, as a room's owner makes it once for all nodes that follow.
#[must_use]
pub fn event_frame(room: RoomRef, r#gen: Gen, event: &Event) -> Bytes {
    Envelope::Event { room, r#gen, event: WireEvent::from(event) }.encode()
}

/// Reads such a frame as far as the hub gets it.
///
/// # Errors
/// [`Malformed`] when the frame is another one.
pub fn event_of(frame: &[u8]) -> Result<(RoomRef, Gen, Arc<Event>), Malformed> {
    match Envelope::decode(frame)? {
        Envelope::Event { room, r#gen, event } => Ok((room, r#gen, Arc::new(event.into_event()?))),
        _ => Err(Malformed("not an event".to_owned())),
    }
}

/// The frame of a change that a session asks of a room on another node.
#[must_use]
pub fn post_frame(
    room: RoomRef,
    caller: &Caller,
    key: Key,
    change: &Change,
    session: SessionId,
) -> Bytes {
    let (caller, change) = (WireCaller::from(caller), WireChange::from(change));
    let post = WirePost { id: 1, room, caller, key, change, session: Some((session, 1)) };
    Envelope::Post(Box::new(post)).encode()
}

/// Reads such a frame as far as the room gets it.
///
/// # Errors
/// [`Malformed`] when the frame is another one.
pub fn post_of(frame: &[u8]) -> Result<(RoomRef, Arc<Caller>, Key, Change), Malformed> {
    match Envelope::decode(frame)? {
        Envelope::Post(post) => {
            Ok((post.room, post.caller.into(), post.key, post.change.try_into()?))
        }
        _ => Err(Malformed("not a change".to_owned())),
    }
}
