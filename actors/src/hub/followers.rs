//! Who follows one room on this node, and how one of them is shown an event or a gap.

use std::collections::HashMap;

use super::{EncodedFrames, Follower, encoded};
use crate::outbox::Pushed;
use crate::ports::Frames;
use crate::session::Output;
use crate::traces::Mark;
use crate::vocab::{RoomRef, Seq, SessionId, UserId};

pub(super) struct Following {
    pub(super) follower: Follower,
    /// What it was shown before it joined. The room's owner may be ahead of this hub, which then
    /// shows those who joined earlier what they still lack.
    pub(super) shown: Seq,
    /// Set while events are not pushed because the outbox was full: the first one missed.
    pub(super) cut_from: Option<Seq>,
}

/// Followers in a dense list, with the place of each session. Only this changes the two.
#[derive(Default)]
pub(super) struct Followers {
    pub(super) list: Vec<Following>,
    pub(super) places: HashMap<SessionId, usize>,
}

impl Followers {
    pub(super) fn insert(&mut self, following: Following) {
        let session = following.follower.session;
        self.remove(session);
        self.places.insert(session, self.list.len());
        self.list.push(following);
    }

    pub(super) fn remove(&mut self, session: SessionId) -> bool {
        let Some(place) = self.places.remove(&session) else { return false };
        self.list.swap_remove(place);
        if let Some(moved) = self.list.get(place) {
            self.places.insert(moved.follower.session, place);
        }
        true
    }

    pub(super) fn get_mut(&mut self, session: SessionId) -> Option<&mut Following> {
        self.places.get(&session).map(|place| &mut self.list[*place])
    }

    pub(super) fn sessions_of(&self, user: UserId) -> Vec<SessionId> {
        let of_user = self.list.iter().filter(|f| f.follower.user == user);
        of_user.map(|f| f.follower.session).collect()
    }
}

impl Following {
    pub(super) fn push(
        &mut self,
        frames: &mut EncodedFrames,
        encoder: &dyn Frames,
        room: RoomRef,
        seq: Seq,
        output: &Output<'_>,
        mark: &mut Option<Mark>,
    ) {
        if self.cut_from.is_some() || seq <= self.shown {
            return;
        }
        let Some(frame) = encoded(frames, encoder, self, output) else { return };
        if self.follower.outbox.push_marked(room, frame, mark) == Pushed::Cut {
            metrics::counter!("parlance_feed_cuts_total").increment(1);
            self.cut_from = Some(seq);
        }
    }

    pub(super) fn push_gap(&self, encoder: &dyn Frames, room: RoomRef, from: Seq, to: Seq) {
        let from = from.max(self.shown.next());
        if from > to {
            return;
        }
        let output = Output::Gap { room: room.room, from, to };
        if let Some(frame) = encoder.encode(self.follower.dialect, &output) {
            self.follower.outbox.push_answer(frame);
        }
    }
}
