//! How a session understands what the server says: events in their place, answers to what it asked,
//! and refusals, which it repeats when they pass.

use std::io;
use std::time::Duration;

use parlance_protocol::Kind;
use parlance_protocol::server::{Answer, RoomAnswer, RoomAnswers, ServerFrame};
use tokio::time::Instant;
use uuid::Uuid;

use super::ask::{Ask, What};
use super::away::Told;
use super::clock::due_of;
use super::follow::Arrival;
use super::session::Session;
use super::tally::Step;
use crate::checker::{Fate, Received, digest};
use crate::glance::{Seen, glance};
use crate::lean::Frame;

/// What follows from the frames that were read at once; done after them, because they are slices of
/// the socket's buffer.
enum Then {
    Ask(u64, What),
    Acked { ask: Ask, seq: u64 },
    Refused(Ask),
    Pong(Vec<u8>),
}

impl Session {
    /// Takes every whole frame that has come.
    ///
    /// # Errors
    /// A close by the server, and a frame that is none of the protocol.
    pub(super) fn take_frames(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let now_us = self.times.micros(now);
        let mut then: Vec<Then> = Vec::new();
        let Some(mut socket) = self.socket.take() else { return Ok(()) };
        let taken = loop {
            let text = match socket.frame() {
                Ok(None) => break Ok(()),
                Ok(Some(Frame::Text(text))) => text,
                Ok(Some(Frame::Close(code))) => {
                    break Err(io::Error::other(format!("closed by the server with {code:?}")));
                }
                Ok(Some(Frame::Ping(payload))) => {
                    then.push(Then::Pong(payload.to_vec()));
                    continue;
                }
                Ok(Some(Frame::Pong)) => continue,
                Err(error) => break Err(error),
            };
            let Some(seen) = glance(text, &mut self.outcome.slow) else {
                break Err(io::Error::other("an unreadable frame"));
            };
            if let Err(error) = self.hear(seen, now, now_us, &mut then) {
                break Err(error);
            }
        };
        self.socket = Some(socket);
        taken?;
        for then in then {
            self.do_then(then, now_us);
        }
        self.common.tallies.add(self.index, &mut self.batch);
        Ok(())
    }

    fn hear(
        &mut self,
        seen: Seen<'_>,
        now: Instant,
        now_us: u64,
        then: &mut Vec<Then>,
    ) -> io::Result<()> {
        match seen {
            Seen::Message { room, seq, sender, key, body } => {
                if let Some(due_us) = due_of(body) {
                    self.delivered(due_us, now_us);
                }
                let received = || Received { seq, key, sender, body: Some(digest(body)) };
                self.arrived(room, seq, received);
            }
            Seen::Posted { id, seq } => {
                if let Some(ask) = self.asks.take(id) {
                    then.push(Then::Acked { ask, seq });
                }
            }
            Seen::Refused { id: Some(id), again_ms } => match (again_ms, self.asks.get(id)) {
                (Some(ms), Some(_)) => {
                    self.batch.refused_for_now += 1;
                    self.asks.repeat(now + Duration::from_millis(ms), id);
                }
                _ => then.extend(self.asks.take(id).map(Then::Refused)),
            },
            Seen::Refused { id: None, .. } => {}
            Seen::Other(frame) => self.hear_other(&frame, now, now_us, then)?,
        }
        Ok(())
    }

    /// A message came that was due then.
    fn delivered(&mut self, due_us: u64, now_us: u64) {
        self.batch.delivered += 1;
        if self.is_behind {
            self.outcome.replayed += 1;
        } else if self.times.is_measured(due_us) {
            self.batch.samples.push((Step::Delivery, now_us.saturating_sub(due_us)));
        }
    }

    fn arrived(&mut self, room: Uuid, seq: u64, received: impl FnOnce() -> Received) {
        if let Some(place) = self.place_of(room) {
            let keep = self.common.plan.check;
            self.rooms[place].take(Arrival { seq, received }, keep);
        }
    }

    fn place_of(&self, room: Uuid) -> Option<usize> {
        if let [(only, place)] = self.places.as_slice() {
            return (*only == room).then_some(*place);
        }
        let found = self.places.binary_search_by_key(&room, |(id, _)| *id).ok()?;
        Some(self.places[found].1)
    }

    fn hear_other(
        &mut self,
        frame: &ServerFrame<'_>,
        now: Instant,
        now_us: u64,
        then: &mut Vec<Then>,
    ) -> io::Result<()> {
        match frame {
            ServerFrame::Event(event) => {
                if event.event.kind == Kind::Message {
                    let body = event.event.body.as_ref().map_or(&b""[..], |body| body.as_bytes());
                    match due_of(body) {
                        Some(due_us) => self.delivered(due_us, now_us),
                        None => self.batch.delivered += 1,
                    }
                }
                self.arrived(event.room, event.event.seq, || Received::from(&event.event));
            }
            ServerFrame::Gap(gap) => {
                let Some(place) = self.place_of(gap.room) else { return Ok(()) };
                self.outcome.gaps += 1;
                if !self.fetches_gaps {
                    self.batch.delivered += gap.to - gap.from + 1;
                }
                if self.rooms[place].gap(gap.to, self.fetches_gaps) {
                    then.push(Then::Ask(now_us, What::Page { room: place }));
                }
            }
            ServerFrame::Ok(ok) => {
                let Some(ask) = self.asks.take(ok.id) else { return Ok(()) };
                self.answered(ask, &ok.answer, now, now_us, then)?;
            }
            ServerFrame::Bye(bye) => {
                return Err(Told::bye(bye).into());
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(
        &mut self,
        ask: Ask,
        answer: &Answer<'_>,
        now: Instant,
        now_us: u64,
        then: &mut Vec<Then>,
    ) -> io::Result<()> {
        let due_us = ask.due_us;
        match (ask.what, answer) {
            (What::Subscribe { opens, .. }, Answer::Subscribed(rooms)) => {
                self.subscribed(rooms, due_us, opens, now, then)?;
            }
            (What::Unsubscribe { room }, _) => self.rooms[room].closed(),
            (What::Page { room }, Answer::History(page)) => {
                let messages = page.messages.iter();
                let messages = messages.filter(|entry| entry.event.kind == Kind::Message).count();
                self.batch.delivered += messages as u64;
                self.outcome.replayed += messages as u64;
                let received = page.messages.iter().map(|entry| Received::from(&entry.event));
                let keep = self.common.plan.check;
                if self.rooms[room].fetched(received, page.more, keep) {
                    then.push(Then::Ask(now_us, What::Page { room }));
                }
            }
            (What::Latest { .. }, Answer::History(_)) => self.sample(Step::Open, due_us, now_us),
            (What::Read { .. }, _) => self.sample(Step::Read, due_us, now_us),
            (What::Presence { .. }, _) => {}
            (what, answer) => {
                return Err(io::Error::other(format!("{what:?} was answered with {answer:?}")));
            }
        }
        Ok(())
    }

    fn subscribed(
        &mut self,
        rooms: &RoomAnswers<'_>,
        due_us: u64,
        opens: bool,
        now: Instant,
        then: &mut Vec<Then>,
    ) -> io::Result<()> {
        for (room, answer) in &rooms.0 {
            let Some(place) = self.place_of(*room) else { continue };
            match answer {
                RoomAnswer::Following { r#gen, head, .. } => {
                    self.rooms[place].opened(*r#gen, *head);
                    if opens {
                        then.push(Then::Ask(due_us, What::Latest { room: place }));
                    }
                }
                RoomAnswer::Refused { retry_after_ms: Some(ms), .. } => {
                    self.batch.refused_for_now += 1;
                    let what = What::Subscribe { rooms: vec![place], opens };
                    let id = self.asks.add(due_us, what);
                    self.asks.repeat(now + Duration::from_millis(*ms), id);
                }
                RoomAnswer::Refused { error, detail, .. } => {
                    return Err(io::Error::other(format!("subscribe: {error}: {detail}")));
                }
            }
        }
        Ok(())
    }

    fn do_then(&mut self, then: Then, now_us: u64) {
        match then {
            Then::Ask(due_us, what) => self.ask(due_us, what),
            Then::Pong(payload) => {
                if let Some(socket) = &mut self.socket {
                    socket.pong(&payload);
                }
            }
            Then::Acked { ask: Ask { due_us, what: What::Send { room, key } }, seq } => {
                self.batch.acked += 1;
                self.sample(Step::Ack, due_us, now_us);
                self.acked(due_us, now_us.saturating_sub(due_us));
                self.keep_sent(due_us, room, key, Fate::Acked(seq));
                let mut heads = self.common.heads.lock().expect("nothing panics while it is held");
                let head = heads.entry(self.rooms[room].id).or_default();
                *head = seq.max(*head);
            }
            Then::Refused(Ask { due_us, what: What::Send { room, key } }) => {
                self.batch.refused_for_good += 1;
                self.keep_sent(due_us, room, key, Fate::Refused);
            }
            // Only messages are posted.
            Then::Acked { .. } => {}
            Then::Refused(_) => self.outcome.refused += 1,
        }
    }

    fn sample(&mut self, step: Step, due_us: u64, now_us: u64) {
        if self.times.is_measured(due_us) {
            self.batch.samples.push((step, now_us.saturating_sub(due_us)));
        }
    }
}
