//! What the server says on a socket, and what it means for rooms and changes.

use std::time::{Duration, Instant};

use parlance_protocol::Event;
use parlance_protocol::server::{
    self, Answer, MeChange, Page, RoomAnswer, RoomAnswers, RoomEvent, ServerFrame,
};
use tokio::sync::mpsc::error::TrySendError;
use uuid::Uuid;

use super::{Call, Driver, Over, refused};
use crate::connection::Update;
use crate::connection::feed::{Era, Place, Start};
use crate::error::is_passing;
use crate::{ClientError, limits};

/// A `bye`'s delay within its bound.
pub(super) fn bye_pause(ms: u64) -> Duration {
    Duration::from_millis(ms).min(limits::BYE_MAX)
}

impl Driver {
    /// Takes one frame in.
    pub(super) fn hear(&mut self, frame: ServerFrame<'_>) -> Result<(), Over> {
        match frame {
            ServerFrame::Event(RoomEvent { room, r#gen, event }) => self.event(room, r#gen, event),
            ServerFrame::Ok(ok) => self.ok(ok),
            ServerFrame::Error(error) => self.error(&error),
            ServerFrame::Gap(gap) => {
                if let Some(followed) = self.rooms.get_mut(&gap.room) {
                    followed.feed.missed(gap.to);
                    // Everything is missing from what was already heard: it may be another history.
                    if gap.from == 1 && followed.feed.cursor().is_some_and(|at| at.seq > 0) {
                        followed.asked = false;
                    }
                }
            }
            ServerFrame::Bye(bye) => {
                if &*bye.code == "unauthenticated" {
                    return Err(Over::Unauthenticated { why: bye.detail.to_string() });
                }
                // Without a delay the close code that follows says what to do.
                if let Some(ms) = bye.retry_after_ms {
                    let why = bye.detail.to_string();
                    return Err(Over::Again { why, pause: Some(bye_pause(ms)) });
                }
            }
            ServerFrame::Typing(typing) => {
                let username = typing.user.username.to_string();
                self.shed(Update::Typing { room: typing.room, username });
            }
            ServerFrame::Presence(presence) => {
                self.shed(Update::Presence { user: presence.user, status: presence.status });
            }
            ServerFrame::Me(me) => self.shed(match me.change {
                MeChange::Read { room, seq } => Update::Read { room, seq },
                MeChange::Room { id, role } => Update::Membership { room: id, role },
            }),
            ServerFrame::Welcome(_) | ServerFrame::Unknown => {}
        }
        Ok(())
    }

    fn event(&mut self, room: Uuid, r#gen: u64, event: Event<'_>) {
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        match followed.feed.era(r#gen) {
            Era::Present => {}
            Era::Former => return,
            // The server's database lost history while the room was followed.
            Era::Later => {
                let head = event.seq.saturating_sub(1);
                followed.feed.reset(r#gen, head);
                self.notices.push_back(Update::Reset { room, r#gen, head });
            }
        }
        let place = followed.feed.place(event.seq);
        match place {
            Place::Known => {}
            Place::Ahead => followed.feed.missed(event.seq),
            Place::Next => {
                let seq = event.seq;
                // News of the room come first: an event must not overtake a reset.
                let full = !self.notices.is_empty() || {
                    let event = Box::new(event.into_owned());
                    let update = Update::Event { room, r#gen, event };
                    matches!(self.updates.try_send(update), Err(TrySendError::Full(_)))
                };
                if full {
                    followed.feed.missed(seq);
                } else {
                    followed.feed.delivered();
                }
            }
        }
    }

    fn ok(&mut self, ok: server::Ok<'_>) {
        self.back_off.reset();
        match (ok.answer, self.calls.remove(&ok.id)) {
            (Answer::Posted(posted), _) => {
                if let Some(waiting) = self.changes.answered(ok.id) {
                    // A caller that went away does not want to know.
                    let _ = waiting.answer.send(Ok(posted));
                }
            }
            (Answer::Subscribed(answers), Some(Call::Subscribe(_))) => self.subscribed(answers),
            (Answer::History(page), Some(Call::Page(_))) => self.page(page),
            _ => {}
        }
    }

    fn subscribed(&mut self, RoomAnswers(answers): RoomAnswers<'_>) {
        for (room, answer) in answers {
            match answer {
                RoomAnswer::Following { r#gen, head, .. } => self.following(room, r#gen, head),
                RoomAnswer::Refused { error, detail, retry_after_ms } => {
                    let refused = ClientError::Refused {
                        code: error.to_string(),
                        detail: detail.to_string(),
                        retry_after: retry_after_ms.map(Duration::from_millis),
                    };
                    self.not_following(room, refused);
                }
            }
        }
    }

    fn following(&mut self, room: Uuid, r#gen: u64, head: u64) {
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        if followed.feed.subscribed(r#gen, head) == Start::Reset {
            self.notices.push_back(Update::Reset { room, r#gen, head });
        }
        if let Some(waiting) = followed.waiting.take() {
            // A caller that went away does not want to know.
            let _ = waiting.send(Ok(()));
        }
    }

    fn not_following(&mut self, room: Uuid, why: ClientError) {
        let ClientError::Refused { code, retry_after, .. } = &why else { return };
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        if is_passing(code) {
            followed.asked = false;
            followed.not_before = Some(Instant::now() + retry_after.unwrap_or(limits::RETRY_WAIT));
            return;
        }
        let followed = self.rooms.remove(&room).expect("it was just there");
        match followed.waiting {
            // A caller that went away does not want to know.
            Some(waiting) => drop(waiting.send(Err(why))),
            None => self.notices.push_back(Update::Refused { room, why }),
        }
    }

    fn page(&mut self, page: Page<'_>) {
        let Page { room, r#gen, messages, as_of, .. } = page;
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        match followed.feed.era(r#gen) {
            Era::Present => {}
            Era::Former => return followed.feed.page_ended(None),
            Era::Later => {
                // It was asked for with a cursor of the former history.
                followed.feed.reset(r#gen, as_of);
                followed.feed.page_ended(None);
                self.notices.push_back(Update::Reset { room, r#gen, head: as_of });
                return;
            }
        }
        let before = followed.feed.cursor();
        for entry in messages {
            self.event(room, r#gen, entry.event);
        }
        let Some(followed) = self.rooms.get_mut(&room) else { return };
        followed.feed.missed(as_of);
        // A page without progress was read from a replica that is behind: not at once again.
        let progress = followed.feed.cursor() != before;
        let wait = (!progress).then(|| Instant::now() + limits::RETRY_WAIT);
        followed.feed.page_ended(wait);
    }

    fn error(&mut self, error: &server::Error<'_>) {
        let Some(id) = error.id else {
            tracing::warn!(code = %error.code, detail = %error.detail, "a frame was refused");
            return;
        };
        let passing = is_passing(&error.code);
        let pause = error.retry_after_ms.map_or(limits::RETRY_WAIT, Duration::from_millis);
        let until = Instant::now() + pause;
        match self.calls.remove(&id) {
            Some(Call::Subscribe(rooms)) => {
                for room in rooms {
                    self.not_following(room, refused(error));
                }
            }
            Some(Call::Page(room)) => {
                if let Some(followed) = self.rooms.get_mut(&room) {
                    followed.feed.page_ended(Some(until));
                }
                if !passing {
                    self.not_following(room, refused(error));
                }
            }
            None if passing => {
                self.changes.refused_for_now(id, until);
            }
            None => {
                if let Some(waiting) = self.changes.answered(id) {
                    // A caller that went away does not want to know.
                    let _ = waiting.answer.send(Err(refused(error)));
                }
            }
        }
    }

    /// Tells the application, or not when it is behind.
    pub(super) fn shed(&self, update: Update) {
        // Shedding is the policy of these updates, and said in their docs.
        let _ = self.updates.try_send(update);
    }

    /// Tells the application what must not be shed, as far as there is room.
    pub(super) fn tell_notices(&mut self) {
        while let Some(notice) = self.notices.pop_front() {
            if let Err(TrySendError::Full(notice)) = self.updates.try_send(notice) {
                self.notices.push_front(notice);
                return;
            }
        }
    }
}
