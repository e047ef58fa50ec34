//! One socket under load: sends its share of the room's messages when they are due, and receives
//! everything.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use parlance_protocol::ServerFrame;
use parlance_protocol::client::{ClientFrame, Ping, Send};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::tally::{Batch, Tallies};
use super::{Plan, Times, room_of};
use crate::checker::{Fate, Received, Sent, digest};
use crate::glance::{Seen, glance};
use crate::lean::{Frame, Socket};
use crate::limits;
use crate::setup::Prepared;

/// How one socket fared.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) index: usize,
    pub(super) room: Uuid,
    pub(super) sent: Vec<Sent>,
    /// What was received, as stretches without a gap: the seq before each and its events.
    pub(super) streams: Vec<(u64, Vec<Received>)>,
    pub(super) gaps: u64,
    pub(super) slow: u64,
    /// Why the socket ended before the run did.
    pub(super) ended: Option<String>,
}

/// A message without an answer.
struct Open {
    due_us: u64,
    key: Uuid,
}

pub(super) struct Member {
    socket: Socket,
    sender: Uuid,
    times: Times,
    tallies: Arc<Tallies>,
    /// The next message is due then.
    due: Instant,
    /// Time between two messages of this socket.
    every: Duration,
    body_bytes: usize,
    record: bool,
    next_id: u64,
    open: HashMap<u64, Open>,
    again: Vec<(Instant, u64)>,
    said_at: Instant,
    batch: Batch,
    text: Vec<u8>,
    outcome: Outcome,
}

impl Member {
    pub(super) fn new(
        index: usize,
        socket: Socket,
        head: u64,
        plan: &Plan,
        prepared: &Prepared,
        times: Times,
        tallies: Arc<Tallies>,
    ) -> Self {
        let (room, place) = (index / plan.members, index % plan.members);
        let (due, every) = schedule(plan, times, room, place);
        let outcome = Outcome {
            index,
            room: room_of(prepared, plan, index),
            sent: Vec::new(),
            streams: vec![(head, Vec::new())],
            gaps: 0,
            slow: 0,
            ended: None,
        };
        Self {
            socket,
            sender: prepared.accounts[prepared.members[room][place]].id,
            times,
            tallies,
            due,
            every,
            body_bytes: plan.body_bytes,
            record: plan.check,
            next_id: 10,
            open: HashMap::new(),
            again: Vec::new(),
            said_at: Instant::now(),
            batch: Batch::default(),
            text: Vec::new(),
            outcome,
        }
    }

    /// Until told to stop, or until the socket ends.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Outcome {
        if let Err(error) = self.converse(&mut stop).await {
            self.outcome.ended = Some(format!("socket {}: {error}", self.outcome.index));
        }
        self.tallies.add(self.outcome.index, &mut self.batch);
        if self.record {
            let (room, sender) = (self.outcome.room, self.sender);
            let body = |open: &Open| digest(&body_of(open.due_us, self.body_bytes));
            let sent = self.open.values().map(|open| Sent {
                room,
                sender,
                key: open.key,
                body: body(open),
                fate: Fate::Open,
                order: None,
            });
            let sent: Vec<Sent> = sent.collect();
            self.outcome.sent.extend(sent);
        }
        self.outcome
    }

    async fn converse(&mut self, stop: &mut watch::Receiver<bool>) -> io::Result<()> {
        let timer = sleep_until(self.wake());
        tokio::pin!(timer);
        loop {
            self.send_due();
            self.socket.flush().await?;
            let wake = self.wake();
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            tokio::select! {
                filled = self.socket.fill() => {
                    filled?;
                    self.take_frames()?;
                }
                () = &mut timer => {}
                _ = stop.changed() => return Ok(()),
            }
        }
    }

    /// When there is something to do although nothing is heard.
    fn wake(&self) -> Instant {
        let again = self.again.iter().map(|(at, _)| *at).min();
        let due = (self.due < self.times.end).then_some(self.due);
        let ping = self.said_at + limits::PING_EVERY;
        due.into_iter().chain(again).fold(ping, Instant::min)
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while self.due <= now && self.due < self.times.end {
            let due_us = self.times.micros(self.due);
            self.due += self.every;
            let id = self.next_id;
            self.next_id += 1;
            self.open.insert(id, Open { due_us, key: Uuid::now_v7() });
            self.tallies.opened();
            self.put(id, now);
        }
        let mut place = 0;
        while place < self.again.len() {
            if self.again[place].0 <= now {
                let (_, id) = self.again.swap_remove(place);
                self.put(id, now);
            } else {
                place += 1;
            }
        }
        if now >= self.said_at + limits::PING_EVERY {
            self.text.clear();
            ClientFrame::Ping(Ping { id: None }).encode_into(&mut self.text);
            self.socket.put(&self.text);
            self.said_at = now;
        }
    }

    fn put(&mut self, id: u64, now: Instant) {
        let Some(open) = self.open.get(&id) else { return };
        let body = body_of(open.due_us, self.body_bytes);
        let body = std::str::from_utf8(&body).expect("digits and letters").into();
        let (room, key) = (self.outcome.room, open.key);
        let send = Send { id: Some(id), room, key, body, reply_to: None, thread: None, enc: false };
        self.text.clear();
        ClientFrame::Send(send).encode_into(&mut self.text);
        self.socket.put(&self.text);
        self.said_at = now;
    }

    fn take_frames(&mut self) -> io::Result<()> {
        let now_us = self.times.micros(Instant::now());
        let Self { socket, outcome, open, again, batch, times, record, sender, .. } = self;
        let mut pong = None;
        while let Some(frame) = socket.frame()? {
            let text = match frame {
                Frame::Text(text) => text,
                Frame::Close(code) => {
                    return Err(io::Error::other(format!("closed by the server with {code:?}")));
                }
                Frame::Ping(payload) => {
                    pong = Some(payload.to_vec());
                    continue;
                }
                Frame::Pong => continue,
            };
            match glance(text, &mut outcome.slow) {
                Some(Seen::Message { seq, sender, key, body, .. }) => {
                    batch.delivered += 1;
                    if let Some(due_us) = due_of(body).filter(|us| times.is_measured(*us)) {
                        batch.delivery_us.push(now_us.saturating_sub(due_us));
                    }
                    if *record {
                        let body = Some(digest(body));
                        outcome.receive(Received { seq, key, sender, body });
                    }
                }
                Some(Seen::Posted { id, seq }) => {
                    let Some(open) = open.remove(&id) else { continue };
                    batch.acked += 1;
                    if times.is_measured(open.due_us) {
                        batch.ack_us.push(now_us.saturating_sub(open.due_us));
                    }
                    if *record {
                        let sent = (*sender, self.body_bytes, Fate::Acked(seq));
                        outcome.sent(&open, sent);
                    }
                }
                Some(Seen::Refused { id: Some(id), again_ms: Some(ms) }) => {
                    batch.refused_for_now += 1;
                    again.push((Instant::now() + Duration::from_millis(ms), id));
                }
                Some(Seen::Refused { id, again_ms: _ }) => {
                    let Some(open) = id.and_then(|id| open.remove(&id)) else { continue };
                    batch.refused_for_good += 1;
                    if *record {
                        outcome.sent(&open, (*sender, self.body_bytes, Fate::Refused));
                    }
                }
                Some(Seen::Other(frame)) => outcome.other(&frame, *record, batch),
                None => return Err(io::Error::other("an unreadable frame")),
            }
        }
        if let Some(payload) = pong {
            socket.pong(&payload);
        }
        self.tallies.add(self.outcome.index, &mut self.batch);
        Ok(())
    }
}

impl Outcome {
    fn receive(&mut self, received: Received) {
        self.streams.last_mut().expect("there is always one").1.push(received);
    }

    fn sent(&mut self, open: &Open, (sender, body_bytes, fate): (Uuid, usize, Fate)) {
        let body = digest(&body_of(open.due_us, body_bytes));
        let (room, key) = (self.room, open.key);
        self.sent.push(Sent { room, sender, key, body, fate, order: None });
    }

    fn other(&mut self, frame: &ServerFrame<'_>, record: bool, batch: &mut Batch) {
        match frame {
            ServerFrame::Event(event) => {
                if event.event.kind == parlance_protocol::Kind::Message {
                    batch.delivered += 1;
                }
                if record {
                    self.receive(Received::from(&event.event));
                }
            }
            ServerFrame::Gap(gap) => {
                self.gaps += 1;
                batch.delivered += gap.to - gap.from + 1;
                self.streams.push((gap.to, Vec::new()));
            }
            _ => {}
        }
    }
}

/// When a socket's first message is due, and the time to the next one. A room's messages come at
/// even distances from its members in turn; the rooms are spread over one such distance.
pub(crate) fn schedule(
    plan: &Plan,
    times: Times,
    room: usize,
    place: usize,
) -> (Instant, Duration) {
    let apart = plan.rooms as f64 / plan.rate;
    let offset = apart * (place as f64 + room as f64 / plan.rooms as f64);
    let every = Duration::from_secs_f64(apart * plan.members as f64);
    (times.start + Duration::from_secs_f64(offset), every)
}

/// A body: the instant at which it is due, and filling.
pub(crate) fn body_of(due_us: u64, bytes: usize) -> Vec<u8> {
    let mut body = format!("{due_us:016x}").into_bytes();
    body.resize(bytes.max(body.len()), b'x');
    body
}

/// The instant in a body, in microseconds of the run.
pub(crate) fn due_of(body: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(body.get(..16)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(rooms: usize, members: usize, rate: f64) -> Plan {
        Plan {
            scenario: "test",
            rooms,
            members,
            rate,
            body_bytes: 128,
            warm_up: Duration::from_secs(1),
            duration: Duration::from_secs(10),
            accounts: 1,
            sources: 1,
            check: false,
            servers: Vec::new(),
            prepared: None,
        }
    }

    #[test]
    fn the_schedule_gives_exactly_the_rate_that_was_asked_for() {
        let plan = plan(7, 3, 210.0);
        let start = Instant::now();
        let times = Times::new(start, &plan);
        let mut sent = 0;
        for (room, place) in (0..7).flat_map(|room| (0..3).map(move |place| (room, place))) {
            let (mut due, every) = schedule(&plan, times, room, place);
            while due < start + Duration::from_secs(10) {
                sent += 1;
                due += every;
            }
        }
        assert!((2_095..=2_105).contains(&sent), "{sent}");
    }

    #[test]
    fn the_instant_in_a_body_is_read_back() {
        assert_eq!(due_of(b"00000000000f4240xxxx"), Some(1_000_000));
        assert_eq!(due_of(b"short"), None);
        assert_eq!(due_of(b"not a number at all"), None);
    }
}
