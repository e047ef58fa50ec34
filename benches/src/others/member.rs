//! One member under load: posts its share of the room's messages when they are due, and hears
//! everything. The counterpart of the one for Parlance, without repeats: these protocols have none.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{Heard, Pipe, Plan, Seat, Wire, broken};
use crate::load::{Batch, Step, Tallies, Times, body_of, due_of, schedule};

pub(super) struct Member<W> {
    wire: W,
    pipe: Pipe,
    index: usize,
    times: Times,
    tallies: Arc<Tallies>,
    /// The next message is due then.
    due: Instant,
    /// Time between two messages of this member.
    every: Duration,
    body_bytes: usize,
    next_id: u64,
    /// Posts without an answer, and when they were due.
    open: HashMap<u64, u64>,
    batch: Batch,
}

impl<W: Wire> Member<W> {
    pub(super) fn new(
        (wire, pipe): (W, Pipe),
        seat: Seat,
        plan: &Plan,
        times: Times,
        tallies: Arc<Tallies>,
    ) -> Self {
        // Nothing is due before the end where there is no rate.
        let (offset, every) = plan.rate.map_or((plan.duration, plan.duration), |rate| {
            schedule(plan.rooms, plan.members, rate, seat.room, seat.place)
        });
        Self {
            wire,
            pipe,
            index: seat.index,
            times,
            tallies,
            due: times.start + offset,
            every,
            body_bytes: plan.body_bytes,
            next_id: 10,
            open: HashMap::new(),
            batch: Batch::default(),
        }
    }

    /// Until told to stop, or until the connection ends; answers why it did.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Option<String> {
        let ended = self.converse(&mut stop).await;
        self.tallies.add(self.index, &mut self.batch);
        ended.err().map(|error| format!("connection {}: {error}", self.index))
    }

    async fn converse(&mut self, stop: &mut watch::Receiver<bool>) -> io::Result<()> {
        let timer = sleep_until(self.due);
        tokio::pin!(timer);
        loop {
            self.post_due();
            self.hear()?;
            self.pipe.flush()?;
            let posts = self.due < self.times.end;
            if posts && timer.deadline() != self.due {
                timer.as_mut().reset(self.due);
            }
            tokio::select! {
                moved = self.pipe.progress() => moved?,
                () = &mut timer, if posts => {}
                _ = stop.changed() => return Ok(()),
            }
        }
    }

    fn post_due(&mut self) {
        let now = Instant::now();
        while self.due <= now && self.due < self.times.end {
            let due_us = self.times.micros(self.due);
            self.due += self.every;
            let id = self.next_id;
            self.next_id += 1;
            self.wire.post(id, &body_of(due_us, self.body_bytes), self.pipe.out());
            self.tallies.opened();
            if W::ACKNOWLEDGES {
                self.open.insert(id, due_us);
            } else {
                self.batch.acked += 1;
            }
        }
    }

    fn hear(&mut self) -> io::Result<()> {
        let now_us = self.times.micros(Instant::now());
        let Self { wire, pipe, batch, open, times, .. } = self;
        while let Some(heard) = pipe.take(|held, out| wire.hear(held, out))? {
            match heard {
                Heard::Message(body) => {
                    let due_us =
                        due_of(body).ok_or_else(|| broken("a body without its instant"))?;
                    batch.delivered += 1;
                    if times.is_measured(due_us) {
                        batch.samples.push((Step::Delivery, now_us.saturating_sub(due_us)));
                    }
                }
                Heard::Posted(id) => {
                    let Some(due_us) = open.remove(&id) else { continue };
                    batch.acked += 1;
                    if times.is_measured(due_us) {
                        batch.samples.push((Step::Ack, now_us.saturating_sub(due_us)));
                    }
                }
                Heard::Refused(id) => {
                    if open.remove(&id).is_some() || !W::ACKNOWLEDGES {
                        batch.refused_for_good += 1;
                    }
                }
                Heard::Other => {}
            }
        }
        self.tallies.add(self.index, &mut self.batch);
        Ok(())
    }
}
