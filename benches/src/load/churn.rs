//! Visits: connect, sign in by ticket or token, follow a room, perhaps say something, go. Each visit
//! is due at an instant of its own; one that has to wait for a free visitor waits on its own account.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parlance_client::Server;
use parlance_protocol::client::{ClientFrame, Cursors, Hello, Send, Subscribe};
use parlance_protocol::server::{Answer, RoomAnswer, ServerFrame};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::away::{Told, retry_after};
use super::clock::{Times, body_of};
use super::plan::{Churn, Seat};
use super::session::{Common, Outcome, Phase, welcome};
use super::tally::{Batch, Step};
use crate::checker::{Fate, Received, Sent, Stream, digest};
use crate::glance::{Seen, glance};
use crate::http1::Keeping;
use crate::lean::Socket;
use crate::limits;
use crate::setup::Account;

/// One visitor, who makes a visit at a time.
pub(super) struct Visitor {
    index: usize,
    common: Arc<Common>,
    server: Server,
    http: Keeping,
    account: Account,
    room: Uuid,
    times: Times,
    batch: Batch,
    outcome: Outcome,
}

/// The next visit that nobody has taken up; shared by the visitors of a process.
pub(super) struct Visits {
    next: std::sync::atomic::AtomicU64,
    /// Between two visits of this process.
    every: Duration,
    /// Of the first one.
    offset: Duration,
}

impl Visits {
    /// This process's share of the visits: every `parts`th, from the `part`th on.
    pub(super) fn new(rate: f64, part: usize, parts: usize) -> Self {
        let every = Duration::from_secs_f64(parts as f64 / rate);
        let offset = Duration::from_secs_f64(part as f64 / rate);
        Self { next: std::sync::atomic::AtomicU64::new(0), every, offset }
    }

    /// When the next visit is due, after the start.
    pub(super) fn take(&self) -> Duration {
        let place = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.offset + Duration::from_secs_f64(self.every.as_secs_f64() * place as f64)
    }
}

impl Visitor {
    pub(super) fn new(index: usize, seat: &Seat, server: Server, common: Arc<Common>) -> Self {
        let now = Instant::now();
        Self {
            index,
            http: Keeping::to(server.clone()),
            server,
            account: common.prepared.accounts[seat.account].clone(),
            room: common.prepared.rooms[seat.rooms[0]],
            times: Times { start: now, measure: now, end: now },
            batch: Batch::default(),
            outcome: Outcome { settled: true, ..Outcome::default() },
            common,
        }
    }

    /// Makes visits while there are some that are due before the end.
    pub(super) async fn run(
        mut self,
        plan: Churn,
        times: Times,
        visits: Arc<Visits>,
        mut phase: watch::Receiver<Phase>,
    ) -> Outcome {
        self.times = times;
        loop {
            let due = times.start + visits.take();
            if due >= times.end {
                break;
            }
            sleep_until(due).await;
            let visit = timeout(limits::READY_WAIT, self.visit_patiently(&plan, due));
            let visited = tokio::select! {
                visited = visit => visited.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
                _ = phase.wait_for(|phase| matches!(phase, Phase::Stop)) => break,
            };
            match visited {
                Ok(()) => self.batch.done += 1,
                Err(error) => {
                    self.outcome.refused += 1;
                    let why = format!("visitor {}: {error}", self.index);
                    self.outcome.ended.get_or_insert(why);
                }
            }
            self.common.tallies.add(self.index, &mut self.batch);
        }
        self.outcome
    }

    /// A visit that the server refuses for now is made again; its time goes on.
    async fn visit_patiently(&mut self, plan: &Churn, due: Instant) -> io::Result<()> {
        loop {
            match self.visit(plan, due).await {
                Err(error) => match retry_after(&error) {
                    Some(pause) => {
                        self.batch.refused_for_now += 1;
                        sleep(pause).await;
                    }
                    None => return Err(error),
                },
                done => return done,
            }
        }
    }

    async fn visit(&mut self, plan: &Churn, due: Instant) -> io::Result<()> {
        let due_us = self.times.micros(due);
        let mut socket = if plan.by_ticket {
            let ticket = self.ticket().await?;
            self.sample(Step::Ticket, due_us);
            Socket::connect_by_ticket(&self.server, &ticket).await?
        } else {
            Socket::connect(&self.server).await?
        };
        self.sample(Step::Upgrade, due_us);
        let token = (!plan.by_ticket).then(|| self.account.token.as_str().into());
        socket.put(
            ClientFrame::Hello(Hello { id: Some(0), token, session: None }).encode().as_bytes(),
        );
        socket.flush().await?;
        welcome(&mut socket).await?;
        self.sample(Step::Welcome, due_us);
        let mut here = Here { socket, after: None, received: Vec::new(), posted: None };
        here.follow(self.room).await?;
        self.sample(Step::Join, due_us);
        if plan.sends {
            self.say(&mut here, due_us).await?;
        }
        if self.common.plan.check {
            self.outcome.streams.push(Stream {
                client: format!("a visit of visitor {}", self.index),
                room: self.room,
                after: here.after,
                complete: false,
                received: here.received,
            });
        }
        Ok(())
    }

    async fn ticket(&mut self) -> io::Result<String> {
        let answer = self.http.ask("POST", "/api/auth/ws-ticket", &self.account.token).await?;
        let body: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let text = |name: &str| body.get(name).and_then(|value| value.as_str());
        if let Some(ticket) = text("ticket") {
            return Ok(ticket.to_owned());
        }
        let (code, detail) = (text("code").unwrap_or("?"), text("detail").unwrap_or("?"));
        let ms = body.get("retry_after_ms").and_then(serde_json::Value::as_u64);
        let error = parlance_protocol::server::Error {
            id: None,
            code: code.into(),
            detail: detail.into(),
            retry_after_ms: ms,
        };
        Err(Told::refusal(&error).into())
    }

    async fn say(&mut self, here: &mut Here, due_us: u64) -> io::Result<()> {
        let (room, key) = (self.room, Uuid::now_v7());
        let body = body_of(due_us, self.common.plan.body_bytes);
        let text = std::str::from_utf8(&body).expect("digits and letters").into();
        let (reply_to, thread, enc) = (None, None, false);
        let send = Send { id: Some(2), room, key, body: text, reply_to, thread, enc };
        let frame = ClientFrame::Send(send).encode();
        self.common.tallies.opened();
        let said = here.say(frame.as_bytes()).await;
        let fate = match &said {
            Ok(seq) => Fate::Acked(*seq),
            Err(_) => Fate::Open,
        };
        match fate {
            Fate::Acked(_) => {
                self.batch.acked += 1;
                self.sample(Step::Ack, due_us);
            }
            // Whatever became of it, nobody waits for it any more.
            Fate::Open | Fate::Refused => self.batch.refused_for_good += 1,
        }
        if self.common.plan.check {
            let (sender, body) = (self.account.id, digest(&body));
            self.outcome.sent.push(Sent { room, sender, key, body, fate, order: None });
        }
        said.map(drop)
    }

    fn sample(&mut self, step: Step, due_us: u64) {
        if self.times.is_measured(due_us) {
            let now_us = self.times.micros(Instant::now());
            self.batch.samples.push((step, now_us.saturating_sub(due_us)));
        }
    }
}

/// A visit's socket, and what it heard of the room.
struct Here {
    socket: Socket,
    /// The head when it came.
    after: Option<u64>,
    received: Vec<Received>,
    posted: Option<u64>,
}

impl Here {
    async fn follow(&mut self, room: Uuid) -> io::Result<()> {
        let subscribe = Subscribe { id: Some(1), rooms: Cursors(vec![(room, None)]) };
        self.socket.put(ClientFrame::Subscribe(subscribe).encode().as_bytes());
        self.socket.flush().await?;
        while self.after.is_none() {
            let text = self.socket.text().await?;
            self.hear(&text)?;
        }
        Ok(())
    }

    /// Sends, repeats with the same key what is refused for now, and answers the place.
    async fn say(&mut self, frame: &[u8]) -> io::Result<u64> {
        loop {
            self.socket.put(frame);
            self.socket.flush().await?;
            let again = loop {
                let text = self.socket.text().await?;
                if let Some(again) = self.hear(&text)? {
                    break again;
                }
                if let Some(seq) = self.posted {
                    return Ok(seq);
                }
            };
            sleep(again).await;
        }
    }

    /// Says when to repeat what was refused for now.
    fn hear(&mut self, text: &[u8]) -> io::Result<Option<Duration>> {
        match glance(text, &mut 0) {
            Some(Seen::Message { seq, sender, key, body, .. }) => {
                self.keep(Received { seq, key, sender, body: Some(digest(body)) });
            }
            Some(Seen::Posted { seq, .. }) => self.posted = Some(seq),
            Some(Seen::Refused { again_ms: Some(ms), .. }) => {
                return Ok(Some(Duration::from_millis(ms)));
            }
            Some(Seen::Refused { .. }) => return Err(io::Error::other("refused for good")),
            Some(Seen::Other(frame)) => match &*frame {
                ServerFrame::Event(event) => self.keep(Received::from(&event.event)),
                ServerFrame::Ok(ok) => {
                    if let Answer::Subscribed(rooms) = &ok.answer {
                        self.after = Some(head_of(rooms)?);
                    }
                }
                ServerFrame::Bye(bye) => return Err(Told::bye(bye).into()),
                _ => {}
            },
            None => return Err(io::Error::other("an unreadable frame")),
        }
        Ok(None)
    }

    fn keep(&mut self, received: Received) {
        if self.after.is_some() {
            self.received.push(received);
        }
    }
}

fn head_of(rooms: &parlance_protocol::server::RoomAnswers<'_>) -> io::Result<u64> {
    match rooms.0.as_slice() {
        [(_, RoomAnswer::Following { head, .. })] => Ok(*head),
        [(_, RoomAnswer::Refused { error, detail, retry_after_ms })] => {
            let error = parlance_protocol::server::Error {
                id: None,
                code: error.clone(),
                detail: detail.clone(),
                retry_after_ms: *retry_after_ms,
            };
            Err(Told::refusal(&error).into())
        }
        _ => Err(io::Error::other("an answer about other rooms")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_share_the_visits_out_evenly() {
        let shares: Vec<Visits> = (0..3).map(|part| Visits::new(30.0, part, 3)).collect();
        let mut due: Vec<u128> = Vec::new();
        for _ in 0..10 {
            due.extend(shares.iter().map(|visits| visits.take().as_millis()));
        }
        for (place, due) in due.iter().enumerate() {
            let exact = place as f64 * 1_000.0 / 30.0;
            assert!((*due as f64 - exact).abs() < 1.5, "{place}: {due}");
        }
    }
}
