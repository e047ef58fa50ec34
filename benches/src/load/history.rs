//! Pages of history over HTTP, before and after random places, each due at an instant of its own. What
//! a page holds is compared with the log afterwards.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parlance_client::Server;
use parlance_protocol::Kind;
use parlance_protocol::http::Page;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use uuid::Uuid;

use super::chance::Chance;
use super::churn::Visits;
use super::clock::Times;
use super::plan::{History, Seat};
use super::session::{Common, Outcome, Phase};
use super::tally::{Batch, Step};
use crate::checker::{Received, Stream};
use crate::http1::Keeping;
use crate::limits;
use crate::setup::Account;

/// One connection that reads pages.
pub(super) struct Reader {
    index: usize,
    common: Arc<Common>,
    http: Keeping,
    account: Account,
    chance: Chance,
    batch: Batch,
    outcome: Outcome,
}

/// Which page.
#[derive(Debug, Clone, Copy)]
struct Ask {
    room: Uuid,
    before: bool,
    place: u64,
    limit: u16,
}

impl Reader {
    pub(super) fn new(index: usize, seat: &Seat, server: Server, common: Arc<Common>) -> Self {
        Self {
            index,
            http: Keeping::to(server),
            account: common.prepared.accounts[seat.account].clone(),
            chance: Chance::new(common.plan.seed, index as u64),
            batch: Batch::default(),
            outcome: Outcome { settled: true, ..Outcome::default() },
            common,
        }
    }

    /// Asks one page, so that the connection is open.
    ///
    /// # Errors
    /// As [`Keeping::ask`].
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        self.http.ask("GET", "/api/me", &self.account.token).await.map(drop)
    }

    /// Reads pages while there are some that are due before the end.
    pub(super) async fn run(
        mut self,
        plan: History,
        times: Times,
        pages: Arc<Visits>,
        mut phase: watch::Receiver<Phase>,
    ) -> Outcome {
        loop {
            let due = times.start + pages.take();
            if due >= times.end {
                break;
            }
            sleep_until(due).await;
            let ask = self.draw(&plan);
            let read = tokio::select! {
                read = self.read_patiently(ask) => read,
                _ = phase.wait_for(|phase| matches!(phase, Phase::Stop)) => break,
            };
            match read {
                Ok(()) => {
                    let (due_us, now_us) = (times.micros(due), times.micros(Instant::now()));
                    let step = if ask.before { Step::PageBefore } else { Step::PageAfter };
                    self.batch.done += 1;
                    if times.is_measured(due_us) {
                        self.batch.samples.push((step, now_us.saturating_sub(due_us)));
                    }
                }
                Err(error) => {
                    self.outcome.refused += 1;
                    let why = format!("reader {}: {error}", self.index);
                    self.outcome.ended.get_or_insert(why);
                }
            }
            self.common.tallies.add(self.index, &mut self.batch);
        }
        self.outcome
    }

    /// Any room, any place, in either direction.
    fn draw(&mut self, plan: &History) -> Ask {
        let rooms = &self.common.prepared.rooms[..plan.rooms];
        let room = rooms[self.chance.below(rooms.len())];
        let place = 1 + self.chance.below(plan.length) as u64;
        Ask { room, before: self.chance.below(2) == 0, place, limit: plan.page }
    }

    async fn read_patiently(&mut self, ask: Ask) -> io::Result<()> {
        loop {
            let Some(pause) = self.read(ask).await? else { return Ok(()) };
            self.batch.refused_for_now += 1;
            sleep(pause).await;
        }
    }

    /// Says when to ask again what was refused for now.
    async fn read(&mut self, ask: Ask) -> io::Result<Option<Duration>> {
        let Ask { room, before, place, limit } = ask;
        let side = if before { "before" } else { "after" };
        let path = format!("/api/rooms/{room}/messages?limit={limit}&view=log&{side}={place}");
        let answer = self.http.ask("GET", &path, &self.account.token).await?;
        if answer.status != 200 {
            let passes = matches!(answer.status, 429 | 503);
            let pause = answer.retry_after.unwrap_or(limits::REPEAT_WAIT);
            let why =
                format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            return if passes { Ok(Some(pause)) } else { Err(io::Error::other(why)) };
        }
        // Reading all of a page costs more than fetching it, so it is done only for the checker.
        let entries = if self.common.plan.check {
            let page: Page<'_> = serde_json::from_slice(&answer.body)?;
            let count = page.messages.iter().filter(|m| m.event.kind == Kind::Message).count();
            self.keep(ask, &page)?;
            count
        } else {
            count_entries(&answer.body)
        };
        self.batch.delivered += entries as u64;
        Ok(None)
    }

    /// A page must border on the place that was asked for; the rest is compared with the log.
    fn keep(&mut self, ask: Ask, page: &Page<'_>) -> io::Result<()> {
        let received: Vec<Received> =
            page.messages.iter().map(|entry| Received::from(&entry.event)).collect();
        let wrong = |why: &str| Err(io::Error::other(format!("{why}: {ask:?}")));
        if received.len() > usize::from(ask.limit) {
            return wrong("a page over its limit");
        }
        let after = if ask.before {
            match (received.first(), received.last()) {
                (Some(first), Some(last)) if last.seq + 1 == ask.place => first.seq - 1,
                (None, None) if ask.place == 1 => return Ok(()),
                _ => return wrong("a page that does not end before its place"),
            }
        } else {
            ask.place
        };
        if page.more != (if ask.before { after > 0 } else { self.has_more(ask, page) }) {
            return wrong("a page that is wrong about more");
        }
        self.outcome.streams.push(Stream {
            client: format!("a page of reader {}", self.index),
            room: ask.room,
            after: Some(after),
            complete: !ask.before && !page.more,
            received,
        });
        Ok(())
    }

    fn has_more(&self, ask: Ask, page: &Page<'_>) -> bool {
        page.messages.last().map_or(ask.place, |entry| entry.event.seq) < page.as_of
    }
}

/// Entries of a page by the field that each has once, without reading all of it.
fn count_entries(body: &[u8]) -> usize {
    let field = br#""sent_at":"#;
    body.windows(field.len()).filter(|window| window == field).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_by_a_field_that_each_has() {
        let body = br#"{"messages":[{"seq":1,"sent_at":"a"},{"seq":2,"sent_at":"b"}],"more":true}"#;
        assert_eq!(count_entries(body), 2);
        assert_eq!(count_entries(b"{}"), 0);
    }
}
