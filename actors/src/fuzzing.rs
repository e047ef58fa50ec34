//! The decoder of frames between nodes, for the fuzz targets in `cluster/fuzz`. It adds nothing to it, and
//! is in no build of the node.

use bytes::Bytes;

use crate::ports::peers::Malformed;
use crate::room::state::Seen;
use crate::session::{Caller, Change, Posted};
use crate::vocab::{Refusal, Sender};
use crate::wire::presence::{PresenceFrame, Word};
use crate::wire::{Envelope, WireChange, WireEvent, WireSeen, WireSender};

/// Decodes a frame and everything in it that becomes the domain's, as the inbox does; gives the frame as
/// this node would write it.
pub fn frame(frame: &[u8]) -> Result<Bytes, Malformed> {
    let mut envelope = Envelope::decode(frame)?;
    match &mut envelope {
        Envelope::Post(post) => {
            let change = Change::try_from(post.change.clone())?;
            post.change = WireChange::from(&change);
            let caller: std::sync::Arc<Caller> = post.caller.clone().into();
            post.caller = (&*caller).into();
        }
        Envelope::Posted { result: Ok(posted), .. } => *posted = Posted::from(*posted).into(),
        Envelope::Posted { result: Err(refusal), .. }
        | Envelope::Seen { result: Err(refusal), .. } => {
            *refusal = (&Refusal::from(refusal.clone())).into();
        }
        Envelope::Seen { result: Ok(seen), .. } => {
            *seen = WireSeen::from(&Seen::try_from(seen.clone())?);
        }
        Envelope::Refresh { by, .. } => *by = WireSender::from(&Sender::from(by.clone())),
        Envelope::Event { event, .. } => *event = WireEvent::from(&event.clone().into_event()?),
        Envelope::Presence(frame) => *frame = presence(frame)?.to_vec(),
        Envelope::Look { .. }
        | Envelope::Moved { .. }
        | Envelope::Follow { .. }
        | Envelope::Head { .. }
        | Envelope::NotFollowed { .. }
        | Envelope::Unfollow { .. }
        | Envelope::StillFollowing { .. }
        | Envelope::Typing { .. } => {}
    }
    Ok(envelope.encode())
}

/// The same for a frame of presence, which is in an envelope.
pub fn presence(frame: &[u8]) -> Result<Bytes, Malformed> {
    let mut frame = PresenceFrame::decode(frame)?;
    match &mut frame {
        PresenceFrame::Whole { present: all, .. }
        | PresenceFrame::Change { present: all, .. }
        | PresenceFrame::Tells { tells: all, .. } => {
            for present in all {
                *present = crate::wire::presence::WirePresent::new(present.who(), present.status());
            }
        }
        PresenceFrame::Carry { words, .. } | PresenceFrame::Deliver { words } => {
            for word in words {
                *word = Word::from(word.clone()).into();
            }
        }
        PresenceFrame::Ask { .. } | PresenceFrame::EndSessions { .. } => {}
    }
    Ok(frame.encode())
}

/// A frame of presence in its envelope.
#[must_use]
pub fn in_envelope(presence: &[u8]) -> Bytes {
    Envelope::Presence(presence.to_vec()).encode()
}
