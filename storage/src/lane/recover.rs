//! What a lane does when its connection is gone: connect again, raise every fence, and find out
//! what became of the batch that was under way.

use std::time::{Duration, Instant};

use parlance_actors::ports::history::Outcome;
use parlance_actors::vocab::RoomId;
use std::sync::atomic::Ordering;

use super::batch::Work;
use super::writer::{WriteError, Writer, Written};
use super::{Lane, within};
use crate::limits;

impl<W: Writer> Lane<W> {
    /// Settles what the lost connection had committed; gives what must be submitted again, in
    /// its order. Gives up only when closing does.
    pub(super) async fn recover(
        &mut self,
        work: &mut Work,
        places: Vec<usize>,
        why: &str,
    ) -> Vec<usize> {
        let mut why = why.to_owned();
        loop {
            self.reconnect(&why).await;
            if self.state.has_given_up() {
                return places;
            }
            let places = self.of_this_database(work, &places);
            match self.look_up(work, &places).await {
                Ok(()) => break,
                Err(error) => why = error.why().to_owned(),
            }
        }
        places.into_iter().filter(|place| !work.is_settled(*place)).collect()
    }

    /// Looks the batch's keys up, after the fences were raised. An event above the head that the
    /// room had is of this batch; below, it is an earlier one with the same key. A shard that
    /// was fenced meanwhile is looked up as well: its new owner waited for our insert to end.
    async fn look_up(&mut self, work: &mut Work, places: &[usize]) -> Written<()> {
        let found = within(self.writer.find(work.tenant, &work.lookups(places))).await?;
        let mut rooms: Vec<RoomId> = places.iter().map(|p| work.append(*p).room.room).collect();
        rooms.sort();
        rooms.dedup();
        let heads = within(self.writer.heads(work.tenant, &rooms)).await?;
        for (place, placed) in places.iter().zip(found) {
            let Some(placed) = placed else { continue };
            let outcome = if placed.seq > work.append(*place).head.get() {
                Outcome::Committed { seq: placed.seq }
            } else {
                let sent_at = placed.before.unwrap_or_default();
                Outcome::Repeated { seq: placed.seq, sent_at }
            };
            work.settle(*place, outcome);
        }
        for place in places {
            let append = work.append(*place);
            if let Ok(at) = rooms.binary_search(&append.room.room) {
                append.head.set(heads[at]);
            }
        }
        Ok(())
    }

    /// Connects and raises every fence, until it works or closing gives up.
    pub(super) async fn reconnect(&mut self, why: &str) {
        let since = Instant::now();
        let mut pause = limits::BACKOFF_MIN;
        let mut why = why.to_owned();
        metrics::counter!("parlance_lane_connects", "lane" => self.label.clone()).increment(1);
        tracing::debug!(lane = self.label, why, "a lane connects");
        while let Err(error) = self.connect_once().await {
            if error.why() != why {
                error.why().clone_into(&mut why);
                tracing::warn!(lane = self.label, why, "a lane cannot connect");
            }
            if since.elapsed() >= limits::AWAY_GRACE {
                self.state.away.store(true, Ordering::Release);
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = self.state.given_up() => return,
            }
            pause = (pause * 2).min(limits::BACKOFF_MAX);
        }
        self.state.away.store(false, Ordering::Release);
    }

    /// What of these places was decided in the database that the lane is connected to. The others
    /// are settled: whether they were committed there says nothing here, and their rooms stop.
    fn of_this_database(&self, work: &mut Work, places: &[usize]) -> Vec<usize> {
        let (here, elsewhere): (Vec<usize>, Vec<usize>) =
            places.iter().partition(|place| work.append(**place).head.database() == self.database);
        for place in elsewhere {
            work.settle(place, Outcome::DatabaseChanged);
        }
        here
    }

    /// Connects and raises every fence. In another database nothing is raised: the rooms stop
    /// with their next append, and those that open again have been compared with it.
    async fn connect_once(&mut self) -> Written<()> {
        if self.forgotten {
            let why = "the database was put back to an older state while this node ran: a fence \
                that it raised is unknown there; start the node again";
            return Err(WriteError::Lost(why.to_owned()));
        }
        let database = within(self.writer.connect()).await?;
        if let Some(known) = self.database.replace(database)
            && known != database
        {
            metrics::counter!("parlance_lane_database_changes", "lane" => self.label.clone())
                .increment(1);
            tracing::warn!(lane = self.label, ?known, ?database, "the database changed");
            self.owned.clear();
        }
        self.raise_owned().await
    }
}

/// Between half of a pause and all of it, so that the lanes of many nodes do not come at once.
fn jittered(pause: Duration) -> Duration {
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    pause / 2 + pause / 2 * random / 255
}

impl WriteError {
    /// The error of a writer whose connection was thrown away and not made again.
    pub(crate) fn no_connection() -> Self {
        Self::Lost("there is no connection".to_owned())
    }
}
