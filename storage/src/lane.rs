//! The lane: one task and one writing connection. It commits what has gathered since the last
//! commit returned, one batch at a time, under the fences that it raised itself.
//!
//! It decides nothing about rooms, and never guesses whether a commit happened: when it does not
//! know, it takes a new connection, raises every fence again and looks.

mod batch;
mod handle;
mod raise;
mod recover;
mod writer;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parlance_actors::limits as domain;
use parlance_actors::ports::history::{Append, DatabaseId, Outcome};
use parlance_actors::vocab::{Epoch, Pos, ShardId, TenantId, Turn};
use tokio::sync::mpsc;

use crate::crypt::Crypt;
use crate::limits;
use batch::Work;
use handle::State;
use raise::{Opening, Place, Raising};

pub(crate) use batch::column;
pub(crate) use handle::LaneHandle;
pub(crate) use writer::{
    Batch, Claim, EventRow, Lookup, Placed, Raised, WriteError, Writer, Written,
};

enum Request {
    Append(Box<Append>),
    Open(Opening),
}

/// What a lane believes to hold when it opens a room. Reads compare it with what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hold {
    pub(crate) database: DatabaseId,
    pub(crate) turn: Turn,
}

/// A shard under a fence that this lane raised.
#[derive(Debug)]
struct Owned {
    epoch: Epoch,
    turn: Turn,
    /// The last position of each tenant's stream, as far as it was needed.
    pos: HashMap<TenantId, Pos>,
}

struct Lane<W> {
    /// The lane's number, for metrics and logs.
    label: String,
    writer: W,
    requests: mpsc::Receiver<Request>,
    /// Taken from the queue, and not fit for the batch before.
    carried: Option<Request>,
    owned: HashMap<Place, Owned>,
    raising: Raising,
    /// How long an insert may hold a fence that is to be raised.
    lock_wait: Duration,
    /// The database in which the fences of `owned` were raised; `None` before the first connect.
    database: Option<DatabaseId>,
    /// The database does not know a fence any more that was raised in it.
    forgotten: bool,
    state: Arc<State>,
    crypt: Crypt,
}

impl<W: Writer> Lane<W> {
    fn new(
        number: usize,
        writer: W,
        requests: mpsc::Receiver<Request>,
        state: Arc<State>,
        crypt: Crypt,
        lock_wait: Duration,
    ) -> Self {
        Self {
            label: number.to_string(),
            writer,
            requests,
            carried: None,
            owned: HashMap::new(),
            raising: Raising::default(),
            lock_wait,
            database: None,
            forgotten: false,
            state,
            crypt,
        }
    }

    async fn run(mut self) {
        self.reconnect("starting").await;
        loop {
            let (appends, opens) = match self.next().await {
                Next::Request(first) => self.gather(first),
                Next::Raise => (Vec::new(), Vec::new()),
                Next::End => return,
            };
            if self.state.doubted.swap(false, Ordering::AcqRel) {
                self.reconnect("another connection reached another database").await;
            }
            if !appends.is_empty() {
                self.commit(appends).await;
            }
            opens.into_iter().for_each(|opening| self.ask(opening));
            if self.raising.is_due() {
                self.raise().await;
            }
        }
    }

    /// What to do next; the end when closing and everything is settled.
    async fn next(&mut self) -> Next {
        if let Some(carried) = self.carried.take() {
            return Next::Request(carried);
        }
        let raise_at = self.raising.next();
        tokio::select! {
            biased;
            request = self.requests.recv() => return request.map_or(Next::End, Next::Request),
            () = until(raise_at) => return Next::Raise,
            () = self.state.closing.cancelled() => self.requests.close(),
        }
        self.requests.recv().await.map_or(Next::End, Next::Request)
    }

    /// What is there, up to the bounds of a batch and of one tenant.
    fn gather(&mut self, first: Request) -> (Vec<Append>, Vec<Opening>) {
        let (mut appends, mut opens) = (Vec::<Append>::new(), Vec::new());
        let mut bytes = 0;
        let mut request = Some(first);
        while let Some(next) = request {
            match next {
                Request::Open(opening) => opens.push(opening),
                Request::Append(append) => {
                    let other =
                        appends.first().is_some_and(|a| a.room.tenant != append.room.tenant);
                    bytes += batch::weight(&append);
                    let heavy = !appends.is_empty() && bytes > domain::LANE_BATCH_BYTES_MAX;
                    if other || heavy {
                        self.carried = Some(Request::Append(append));
                        break;
                    }
                    appends.push(*append);
                }
            }
            if appends.len() == domain::LANE_BATCH_EVENTS_MAX {
                break;
            }
            request = self.requests.try_recv().ok();
        }
        metrics::gauge!("parlance_lane_queue", "lane" => self.label.clone())
            .set(self.requests.len() as f64);
        (appends, opens)
    }

    /// Commits a batch, whatever it takes, and tells its rooms.
    async fn commit(&mut self, appends: Vec<Append>) {
        let begun = Instant::now();
        let tenant = appends.first().map_or(TenantId::MAIN, |append| append.room.tenant);
        let mut work = Work::new(tenant, appends);
        metrics::histogram!("parlance_lane_batch_events").record(work.len() as f64);
        let mut todo = VecDeque::from([work.places()]);
        let mut collisions = 0;
        while let Some(places) = todo.pop_front() {
            if self.state.has_given_up() {
                break;
            }
            let places = self.owned_places(&mut work, places);
            if places.is_empty() {
                continue;
            }
            match self.write(&mut work, &places).await {
                Ok(()) => {}
                Err(WriteError::Refused(why)) => take_apart(&mut work, places, why, &mut todo),
                Err(WriteError::Collided(why)) if collisions == limits::COLLISIONS_MAX => {
                    take_apart(&mut work, places, why, &mut todo);
                }
                Err(WriteError::Again(why)) => {
                    tracing::warn!(lane = self.label, why, "a batch is tried again");
                    tokio::time::sleep(limits::BACKOFF_MIN).await;
                    todo.push_front(places);
                }
                Err(error @ (WriteError::Collided(_) | WriteError::Lost(_))) => {
                    collisions += u32::from(matches!(error, WriteError::Collided(_)));
                    let rest = self.recover(&mut work, places, error.why()).await;
                    todo.push_front(rest);
                }
            }
        }
        metrics::histogram!("parlance_lane_commit_seconds").record(begun.elapsed().as_secs_f64());
        work.tell(&Outcome::Failed {
            why: "the lane is closing and the database did not answer; repeat it with the same key"
                .to_owned(),
        });
    }

    /// Settles what was decided in another database, or is under a fence that this lane does not
    /// hold; gives the rest.
    fn owned_places(&self, work: &mut Work, places: Vec<usize>) -> Vec<usize> {
        let fences = self.writer.fences_of(work.tenant);
        let mut kept = Vec::with_capacity(places.len());
        for place in places {
            let append = work.append(place);
            let owned = self.owned.get(&(fences, append.room.shard()));
            if append.head.database() != self.database {
                work.settle(place, Outcome::DatabaseChanged);
            } else if owned.is_some_and(|owned| owned.epoch == append.epoch) {
                kept.push(place);
            } else {
                work.settle(place, Outcome::Fenced);
            }
        }
        kept
    }

    /// One statement or transaction.
    async fn write(&mut self, work: &mut Work, places: &[usize]) -> Written<()> {
        let claims = self.claims(work, places).await?;
        let batch = Batch { tenant: work.tenant, claims, rows: work.rows(places, &self.crypt) };
        let appended = tokio::select! {
            appended = self.writer.append(&batch) => appended?,
            () = tokio::time::sleep(limits::STATEMENT_WAIT) => {
                return Err(WriteError::Lost("the database did not answer in time".to_owned()));
            }
            () = self.state.given_up() => {
                return Err(WriteError::Lost("the lane is closing".to_owned()));
            }
        };
        let fences = self.writer.fences_of(work.tenant);
        for (place, placed) in places.iter().zip(appended) {
            let append = work.append(*place);
            let shard = append.room.shard();
            let outcome = match placed {
                None => {
                    self.owned.remove(&(fences, shard));
                    Outcome::Fenced
                }
                Some(Placed { seq, before: Some(sent_at) }) => Outcome::Repeated { seq, sent_at },
                Some(Placed { seq, before: None }) => {
                    append.head.set(seq);
                    let owned = self.owned.get_mut(&(fences, shard));
                    if let Some(pos) = owned.and_then(|owned| owned.pos.get_mut(&work.tenant)) {
                        pos.0 += 1;
                    }
                    Outcome::Committed { seq }
                }
            };
            work.settle(*place, outcome);
        }
        Ok(())
    }

    /// One claim for each shard of these places.
    async fn claims(&mut self, work: &Work, places: &[usize]) -> Written<Vec<Claim>> {
        let mut shards: Vec<ShardId> =
            places.iter().map(|place| work.append(*place).room.shard()).collect();
        shards.sort();
        shards.dedup();
        self.find_streams(work.tenant, &shards).await?;
        let fences = self.writer.fences_of(work.tenant);
        let claim = |shard: ShardId| {
            let owned = self.owned.get(&(fences, shard)).expect("only owned places are left");
            let pos = owned.pos.get(&work.tenant).copied().expect("just found");
            Claim { shard, epoch: owned.epoch, turn: owned.turn, pos }
        };
        Ok(shards.into_iter().map(claim).collect())
    }

    /// Learns where the streams of these shards end, in one statement for those that are not known.
    async fn find_streams(&mut self, tenant: TenantId, shards: &[ShardId]) -> Written<()> {
        let fences = self.writer.fences_of(tenant);
        let is_known = |shard: &ShardId| {
            self.owned.get(&(fences, *shard)).is_some_and(|owned| owned.pos.contains_key(&tenant))
        };
        let unknown: Vec<ShardId> =
            shards.iter().copied().filter(|shard| !is_known(shard)).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let found = within(self.writer.last_pos(tenant, &unknown)).await?;
        for (shard, pos) in unknown.into_iter().zip(found) {
            if let Some(owned) = self.owned.get_mut(&(fences, shard)) {
                owned.pos.insert(tenant, pos);
            }
        }
        Ok(())
    }
}

/// What a lane does next.
enum Next {
    Request(Request),
    /// It is time to try fences again that were held.
    Raise,
    End,
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// A batch with a bad row is halved until the row is alone; only it fails.
fn take_apart(
    work: &mut Work,
    mut places: Vec<usize>,
    why: String,
    todo: &mut VecDeque<Vec<usize>>,
) {
    if let [only] = places[..] {
        tracing::error!(room = %work.append(only).room, why, "the database refuses an event");
        work.settle(only, Outcome::Failed { why });
        return;
    }
    let second = places.split_off(places.len() / 2);
    todo.push_front(second);
    todo.push_front(places);
}

/// A statement's answer, or that the connection is lost.
async fn within<T>(statement: impl Future<Output = Written<T>>) -> Written<T> {
    match tokio::time::timeout(limits::STATEMENT_WAIT, statement).await {
        Ok(written) => written,
        Err(_) => Err(WriteError::Lost("the database did not answer in time".to_owned())),
    }
}
