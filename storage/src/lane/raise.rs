//! Raising fences. Those of all shards that are asked for go in one statement, which passes over
//! what an insert still holds. That is tried again between batches, so that the rooms of all other
//! shards go on; and who holds a fence for too long is ended.
//!
//! Nothing here lets an append go before the fence of its own shard is raised: only then is the
//! shard among the lane's own.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parlance_actors::ports::history::HistoryError;
use parlance_actors::vocab::{Epoch, RoomRef, ShardId, TenantId};
use tokio::sync::oneshot;

use super::writer::{Raised, WriteError, Writer, Written};
use super::{Hold, Lane, Owned, within};
use crate::limits;

/// A fence: the set that it is of, and its shard.
pub(super) type Place = (TenantId, ShardId);

const HELD: &str = "another session of the database holds the shard's fence and does not end";

/// A room that waits for its shard's fence to be at its epoch.
pub(super) struct Opening {
    pub(super) room: RoomRef,
    pub(super) epoch: Epoch,
    pub(super) reply: oneshot::Sender<Result<Hold, HistoryError>>,
}

impl Opening {
    fn answer(self, answer: Result<Hold, HistoryError>) {
        // The asker may have gone; then nobody needs the answer.
        let _ = self.reply.send(answer);
    }
}

/// The fences that are asked for and not raised yet, and when they are tried next.
#[derive(Default)]
pub(super) struct Raising {
    shards: BTreeMap<Place, Asked>,
    pause: Duration,
    next: Option<Instant>,
}

struct Asked {
    openings: Vec<Opening>,
    /// From when it was found held.
    patience: Option<Patience>,
}

impl Raising {
    /// When to try next, if there is anything to try.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn is_due(&self) -> bool {
        self.next.is_some_and(|next| next <= Instant::now())
    }

    fn add(&mut self, place: Place, opening: Opening) {
        let nobody = || Asked { openings: Vec::new(), patience: None };
        self.shards.entry(place).or_insert_with(nobody).openings.push(opening);
        self.pause = limits::RAISE_PAUSE_MIN;
        self.next = Some(Instant::now());
    }

    /// Leaves out what nobody waits for any more.
    fn forget_gone(&mut self) {
        self.shards.retain(|_, asked| {
            asked.openings.retain(|opening| !opening.reply.is_closed());
            !asked.openings.is_empty()
        });
    }

    /// Settles when what is left is tried again.
    fn rest(&mut self) {
        self.next = (!self.shards.is_empty()).then(|| Instant::now() + self.pause);
        self.pause = longer(self.pause);
    }

    /// What to raise: of each shard the highest epoch that is asked for.
    fn wanted(&self) -> Wanted {
        let epoch = |asked: &Asked| asked.openings.iter().map(|opening| opening.epoch).max();
        let shards = self.shards.iter();
        by_fences(shards.filter_map(|(place, asked)| Some((*place, epoch(asked)?))))
    }

    fn take(&mut self, place: Place) -> Vec<Opening> {
        self.shards.remove(&place).map(|asked| asked.openings).unwrap_or_default()
    }

    fn refuse(&mut self, place: Place, why: &str) {
        for opening in self.take(place) {
            opening.answer(Err(HistoryError::Unavailable(why.to_owned())));
        }
    }

    fn refuse_all(&mut self, why: &str) {
        let places: Vec<Place> = self.shards.keys().copied().collect();
        places.into_iter().for_each(|place| self.refuse(place, why));
    }

    fn is_held(&mut self, place: Place) {
        if let Some(asked) = self.shards.get_mut(&place) {
            asked.patience.get_or_insert_with(Patience::begin);
        }
    }

    /// The shards whose holders are to be ended. What was held for too long is refused.
    fn overdue(&mut self, fences: TenantId, lock_wait: Duration) -> Vec<ShardId> {
        let (mut to_end, mut given_up) = (Vec::new(), Vec::new());
        for (place, asked) in self.shards.iter_mut().filter(|(place, _)| place.0 == fences) {
            match asked.patience.as_mut().map(|patience| patience.comes_to(lock_wait)) {
                Some(Verdict::End) => to_end.push(place.1),
                Some(Verdict::GiveUp) => given_up.push(*place),
                Some(Verdict::Wait) | None => {}
            }
        }
        given_up.into_iter().for_each(|place| self.refuse(place, HELD));
        to_end
    }
}

/// Since when something has been waited for, and how often its holder was ended.
struct Patience {
    since: Instant,
    ended: u32,
}

/// What a wait that goes on comes to.
enum Verdict {
    Wait,
    End,
    GiveUp,
}

impl Patience {
    fn begin() -> Self {
        Self { since: Instant::now(), ended: 0 }
    }

    fn comes_to(&mut self, lock_wait: Duration) -> Verdict {
        if self.since.elapsed() < lock_wait {
            return Verdict::Wait;
        }
        self.since = Instant::now();
        self.ended += 1;
        if self.ended < limits::RAISE_TRIES { Verdict::End } else { Verdict::GiveUp }
    }
}

/// Fences to be raised, set by set.
type Wanted = BTreeMap<TenantId, Vec<(ShardId, Epoch)>>;

fn by_fences(places: impl Iterator<Item = (Place, Epoch)>) -> Wanted {
    let mut wanted = Wanted::new();
    for ((fences, shard), epoch) in places {
        wanted.entry(fences).or_default().push((shard, epoch));
    }
    // A statement takes them in their order.
    wanted.values_mut().for_each(|shards| shards.sort());
    wanted
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(limits::RAISE_PAUSE_MAX)
}

impl<W: Writer> Lane<W> {
    /// Answers an opening whose fence is raised already; keeps the others for [`Self::raise`].
    pub(super) fn ask(&mut self, opening: Opening) {
        let place = (self.writer.fences_of(opening.room.tenant), opening.room.shard());
        match self.holds(place, opening.epoch) {
            Some(answer) => opening.answer(answer),
            None => self.raising.add(place, opening),
        }
    }

    /// What to tell who asks for a shard at this epoch; `None` if its fence is below.
    fn holds(&self, place: Place, epoch: Epoch) -> Option<Result<Hold, HistoryError>> {
        let owned = self.owned.get(&place).filter(|owned| owned.epoch >= epoch)?;
        if owned.epoch > epoch {
            return Some(Err(HistoryError::Fenced));
        }
        let database = self.database.expect("fences are raised after connecting");
        Some(Ok(Hold { database, turn: owned.turn }))
    }

    /// Raises what is asked for and not held, and answers. Waits for nobody.
    pub(super) async fn raise(&mut self) {
        loop {
            self.raising.forget_gone();
            if self.state.has_given_up() {
                self.raising.refuse_all("the lane is closing");
            }
            match self.raise_asked().await {
                Ok(()) => break,
                Err(WriteError::Lost(why)) => self.reconnect(&why).await,
                Err(error) => self.raising.refuse_all(error.why()),
            }
        }
        self.raising.rest();
    }

    async fn raise_asked(&mut self) -> Written<()> {
        for (fences, wanted) in self.raising.wanted() {
            let raised = self.raise_free(fences, &wanted).await?;
            for ((shard, epoch), raised) in wanted.into_iter().zip(raised) {
                self.learn((fences, shard), epoch, raised);
            }
            let overdue = self.raising.overdue(fences, self.lock_wait);
            self.end_holders(fences, &overdue).await?;
        }
        Ok(())
    }

    fn learn(&mut self, place: Place, epoch: Epoch, raised: Raised) {
        match raised {
            Raised::Held => return self.raising.is_held(place),
            Raised::Fenced => {}
            Raised::To(turn) => {
                self.owned.insert(place, Owned { epoch, turn, pos: HashMap::new() });
            }
        }
        for opening in self.raising.take(place) {
            let answer = self.holds(place, opening.epoch);
            opening.answer(answer.unwrap_or(Err(HistoryError::Fenced)));
        }
    }

    /// Raises every fence that the lane has anew, and waits for the inserts that it meets: they may
    /// be its own, of the connection that it lost, and what became of them is looked up next.
    pub(super) async fn raise_owned(&mut self) -> Written<()> {
        let mut left = by_fences(self.owned.iter().map(|(place, owned)| (*place, owned.epoch)));
        let (mut patience, mut pause) = (Patience::begin(), limits::RAISE_PAUSE_MIN);
        loop {
            for (fences, wanted) in &mut left {
                let raised = self.raise_free(*fences, wanted).await?;
                let mut held = Vec::new();
                for ((shard, epoch), raised) in wanted.drain(..).zip(raised) {
                    match raised {
                        Raised::Held => held.push((shard, epoch)),
                        raised => self.renew((*fences, shard), raised)?,
                    }
                }
                *wanted = held;
            }
            left.retain(|_, wanted| !wanted.is_empty());
            if left.is_empty() {
                return Ok(());
            }
            match patience.comes_to(self.lock_wait) {
                Verdict::Wait => {}
                Verdict::GiveUp => return Err(WriteError::Lost(HELD.to_owned())),
                Verdict::End => {
                    for (fences, wanted) in &left {
                        let shards: Vec<ShardId> = wanted.iter().map(|(shard, _)| *shard).collect();
                        self.end_holders(*fences, &shards).await?;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.state.given_up() => {
                    return Err(WriteError::Lost("the lane is closing".to_owned()));
                }
            }
            pause = longer(pause);
        }
    }

    /// Takes the new turn of a fence that the lane has.
    fn renew(&mut self, place: Place, raised: Raised) -> Written<()> {
        match (raised, self.owned.get_mut(&place)) {
            (Raised::To(turn), Some(owned)) => {
                self.forgotten |= turn <= owned.turn;
                owned.turn = turn;
                owned.pos.clear();
            }
            _ => _ = self.owned.remove(&place),
        }
        if self.forgotten {
            return Err(WriteError::Lost("a fence went back".to_owned()));
        }
        Ok(())
    }

    /// One statement. Where it could not be run now, nothing of it is raised.
    async fn raise_free(
        &mut self,
        fences: TenantId,
        wanted: &[(ShardId, Epoch)],
    ) -> Written<Vec<Raised>> {
        match within(self.writer.raise(fences, wanted)).await {
            Err(WriteError::Again(why)) => {
                tracing::debug!(lane = self.label, why, "fences are tried again");
                Ok(vec![Raised::Held; wanted.len()])
            }
            raised => raised,
        }
    }

    async fn end_holders(&mut self, fences: TenantId, shards: &[ShardId]) -> Written<()> {
        if shards.is_empty() {
            return Ok(());
        }
        tracing::warn!(lane = self.label, ?shards, "fences are held; ending their holders");
        match within(self.writer.end_holders(fences, shards)).await {
            Err(WriteError::Again(_)) => Ok(()),
            ended => ended,
        }
    }
}
