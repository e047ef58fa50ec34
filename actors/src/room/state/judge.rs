//! How a room judges a request: is it a repeat, may the caller, and which fact is missing to say so.

use std::time::Duration;

use super::{Fact, Post, Replay, RoomState, Seen, Target};
use crate::limits;
use crate::room::permit::{self, Standing};
use crate::session::{Caller, Change, Cursor};
use crate::vocab::{Code, Content, Refusal, Role, RoomKind, Seq, Timestamp, UserId};

/// What a room does with a change.
pub(super) enum Verdict {
    Append(Content),
    Repeated(Seq, Timestamp),
    WaitFor(u64),
    Refuse(Refusal),
    Need(Fact),
}

impl<W, F> RoomState<W, F> {
    /// A user's role as of everything decided so far; `Err` with the fact to load.
    pub(super) fn role(&mut self, caller: &Caller, user: UserId) -> Result<Option<Role>, Fact> {
        if self.meta.kind == RoomKind::Lobby {
            let admin = caller.user == user && caller.admin;
            return Ok(Some(if admin { Role::Owner } else { Role::Member }));
        }
        if let Some((_, role)) = self.roles_ahead.get(&user).and_then(|ahead| ahead.last()) {
            return Ok(*role);
        }
        self.roles.get(&user).copied().ok_or(Fact::Role(user))
    }

    fn target(&mut self, seq: Seq) -> Result<Option<Target>, Fact> {
        if seq > self.head || seq == Seq(0) {
            return Ok(None);
        }
        let known = match self.ring.get(seq) {
            Some(event) => Some(Target::of(event)),
            None => *self.targets.get(&seq).ok_or(Fact::Target(seq))?,
        };
        let deleting = self.deleting.contains(&seq);
        Ok(known.map(|target| Target { deleted: target.deleted || deleting, ..target }))
    }

    pub(super) fn seen(&self, role: Role, cursor: Option<Cursor>) -> Seen {
        let replay = match cursor {
            None => Replay::Nothing,
            Some(cursor) if cursor.r#gen != self.r#gen || cursor.seq > self.head => {
                if self.head == Seq(0) { Replay::Nothing } else { Replay::Gap { from: self.first } }
            }
            Some(Cursor { seq, .. }) if seq == self.head => Replay::Nothing,
            Some(Cursor { seq, .. }) if self.head.0 - seq.0 > limits::REPLAY_EVENTS_MAX => {
                Replay::Gap { from: seq.next() }
            }
            Some(Cursor { seq, .. }) => {
                self.ring.after(seq).map_or(Replay::Read { after: seq }, Replay::Events)
            }
        };
        Seen { role, r#gen: self.r#gen, first: self.first, head: self.head, replay }
    }

    pub(super) fn judge(&mut self, now: Timestamp, post: &Post<W>, key_checked: bool) -> Verdict {
        let me = post.caller.user;
        if post.key.is_derived() && !matches!(post.change, Change::Meet { .. }) {
            return Verdict::Refuse(Refusal::bad_request(
                "key is a UUID of version 8, which the server keeps for its own events; \
                 allowed are the other versions, such as 4 and 7",
            ));
        }
        if let Some((seq, sent_at)) = self.window.get(me, post.key) {
            return Verdict::Repeated(seq, sent_at);
        }
        if let Some(&ticket) = self.tickets.get(&(me, post.key)) {
            return Verdict::WaitFor(ticket);
        }
        if self.in_flight.len() >= limits::ROOM_IN_FLIGHT_MAX {
            return Verdict::Refuse(Refusal::busy("this room has too many changes in flight"));
        }
        // Members change rarely, and a repeat of an old join must not make anybody a member for
        // the time that its commit takes: so the key is looked up first.
        if is_about_members(&post.change) && !key_checked {
            return Verdict::Need(Fact::Key(post.key));
        }
        match self.permit(now, post) {
            Ok(Ok(content)) => Verdict::Append(content),
            // What is refused now may be done already: a repeat of an old key has the first seq
            // for its answer, whatever happened since. Deleting twice is the plainest case.
            Ok(Err(refusal)) if !key_checked && depends_on_the_log(refusal.code) => {
                Verdict::Need(Fact::Key(post.key))
            }
            Ok(Err(refusal)) => Verdict::Refuse(refusal),
            Err(fact) => Verdict::Need(fact),
        }
    }

    /// Outer error: a fact is needed first. Inner error: refused.
    fn permit(&mut self, now: Timestamp, post: &Post<W>) -> Result<Result<Content, Refusal>, Fact> {
        let caller = &post.caller;
        let role = self.role(caller, caller.user)?;
        let standing = match &post.change {
            Change::Edit { target, .. }
            | Change::Delete { target }
            | Change::React { target, .. }
            | Change::Pin { target, .. } => {
                if role.is_none() {
                    return Ok(Err(permit::not_a_member(self.meta.kind)));
                }
                Standing { role, target: self.target(*target)?, other: None }
            }
            Change::Add { user, .. } | Change::Kick { user, .. } => {
                if role.is_none() {
                    return Ok(Err(permit::not_a_member(self.meta.kind)));
                }
                Standing { role, target: None, other: self.role(caller, *user)? }
            }
            Change::Send { .. } => {
                if let Some(refusal) = self.slow_mode(now, caller, role)? {
                    return Ok(Err(refusal));
                }
                Standing { role, target: None, other: None }
            }
            Change::Join | Change::Leave | Change::Meet { .. } => {
                Standing { role, target: None, other: None }
            }
        };
        Ok(permit::permit(&self.meta, self.head, caller, &post.change, standing))
    }

    fn slow_mode(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        role: Option<Role>,
    ) -> Result<Option<Refusal>, Fact> {
        let seconds = self.meta.settings.slow_mode_seconds;
        if seconds == 0 || role != Some(Role::Member) {
            return Ok(None);
        }
        let last = *self.last_messages.get(&caller.user).ok_or(Fact::LastMessage)?;
        let apart = i64::from(seconds) * 1_000;
        let wait = last.map_or(0, |last| last.0 + apart - now.0);
        Ok((wait > 0).then(|| {
            Refusal::new(
                Code::RateLimited,
                format!("slow mode: one message each {seconds} seconds in this room"),
            )
            .retry_after(Duration::from_millis(wait.unsigned_abs()))
        }))
    }
}

/// Whether a change that is refused with this may have been allowed before.
const fn depends_on_the_log(code: Code) -> bool {
    !matches!(code, Code::BadRequest | Code::TooLarge)
}

const fn is_about_members(change: &Change) -> bool {
    matches!(
        change,
        Change::Join
            | Change::Leave
            | Change::Meet { .. }
            | Change::Add { .. }
            | Change::Kick { .. }
    )
}
