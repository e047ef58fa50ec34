//! Sessions that drop and come back as a good client does: after a random pause (full jitter, doubled
//! with each failure), not before the server said, and with their cursors, so that they miss nothing.

use std::io;
use std::time::Duration;

use parlance_protocol::server::{Bye, Error};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::chance::Chance;
use super::plan::{CatchUp, Load, Storm};
use super::session::{Phase, Session, Until};
use super::tally::Step;
use crate::lean::Refused;
use crate::limits;

/// How a session dropped and came back.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Away {
    /// When it dropped, or was due to come back from a pause that began before the run; in
    /// microseconds of the run.
    pub(super) from_us: u64,
    /// When it was up to date again in every room.
    pub(super) live_us: Option<u64>,
    /// Sockets that it tried to open.
    pub(super) attempts: u32,
    /// Of these, refused ones.
    pub(super) refusals: u32,
}

/// The server ended a conversation or refused a hello, and may have said when to come back.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Told {
    text: String,
    retry_after: Option<Duration>,
}

impl Told {
    pub(super) fn bye(bye: &Bye<'_>) -> Self {
        let text = format!("bye: {}: {}", bye.code, bye.detail);
        Self { text, retry_after: bye.retry_after_ms.map(Duration::from_millis) }
    }

    pub(super) fn refusal(error: &Error<'_>) -> Self {
        let text = format!("refused: {}: {}", error.code, error.detail);
        Self { text, retry_after: error.retry_after_ms.map(Duration::from_millis) }
    }
}

impl From<Told> for io::Error {
    fn from(told: Told) -> Self {
        Self::other(told)
    }
}

/// When the server said to come back, if this is a refusal that says so.
pub(super) fn retry_after(error: &io::Error) -> Option<Duration> {
    if let Some(refused) = Refused::of(error) {
        return refused.retry_after;
    }
    error.get_ref()?.downcast_ref::<Told>()?.retry_after
}

/// How a session goes away.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leaving {
    /// It drops then.
    Drops(Instant),
    /// It is gone already and comes back then.
    Gone(Instant),
}

impl Session {
    /// Whether and when it goes away in this run.
    pub(super) fn leaving(&self) -> Option<Leaving> {
        match &self.common.plan.load {
            Load::Storm(storm) => {
                let place = self.index.checked_sub(storm.steady)?;
                let drops = place < droppers(storm);
                drops.then(|| Leaving::Drops(self.times.measure + storm.drop_after))
            }
            Load::CatchUp(CatchUp { sessions, over, .. }) => {
                let share = self.index as f64 / (*sessions).max(1) as f64;
                Some(Leaving::Gone(self.times.measure + over.mul_f64(share)))
            }
            _ => None,
        }
    }

    /// Leaves the server: what is not finished begins again with the next socket.
    pub(super) fn leave(&mut self) {
        self.socket = None;
        self.rooms.iter_mut().for_each(super::follow::Followed::closed);
        self.asks.forget(Instant::now());
    }

    /// Goes, comes back and stays until the run ends.
    ///
    /// # Errors
    /// When it was not back by then, and what ends a conversation.
    pub(super) async fn be_away(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
        leaving: Leaving,
    ) -> io::Result<()> {
        let mut chance = Chance::new(!self.common.plan.seed, self.index as u64);
        let (from, first) = match leaving {
            Leaving::Drops(at) => {
                self.converse(phase, Until::Instant(at)).await?;
                self.leave();
                let jitter = self.jitter().mul_f64(chance.share());
                (at, Instant::now() + jitter)
            }
            Leaving::Gone(back) => (back, back),
        };
        self.is_behind = true;
        let from_us = self.times.micros(from);
        let mut away = Away { from_us, live_us: None, attempts: 0, refusals: 0 };
        let back = self.come_back(phase, first, &mut away, &mut chance).await;
        self.outcome.away = Some(away);
        back?;
        self.is_behind = false;
        self.converse(phase, Until::End).await
    }

    async fn come_back(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
        first: Instant,
        away: &mut Away,
        chance: &mut Chance,
    ) -> io::Result<()> {
        let mut next = first;
        let mut failures = 0;
        loop {
            if !pause(phase, next).await {
                return Err(io::Error::other("the run ended before it was back"));
            }
            away.attempts += 1;
            let attempt = async {
                self.open().await?;
                self.converse(phase, Until::UpToDate).await
            };
            let error = match timeout(limits::RETURN_WAIT, attempt).await {
                Ok(Ok(())) if !matches!(*phase.borrow(), Phase::Stop) => break,
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
            self.leave();
            let told = retry_after(&error);
            away.refusals += u32::from(told.is_some() || Refused::of(&error).is_some());
            failures += 1;
            next = Instant::now() + told.unwrap_or_else(|| back_off(failures, chance));
        }
        let now_us = self.times.micros(Instant::now());
        away.live_us = Some(now_us);
        self.batch.samples.push((Step::Return, now_us.saturating_sub(away.from_us)));
        self.batch.done += 1;
        self.common.tallies.add(self.index, &mut self.batch);
        Ok(())
    }

    fn jitter(&self) -> Duration {
        match &self.common.plan.load {
            Load::Storm(storm) => storm.jitter,
            _ => Duration::ZERO,
        }
    }
}

/// How many sessions of a storm drop.
pub(super) fn droppers(storm: &Storm) -> usize {
    (storm.sessions as f64 * storm.share).round() as usize
}

/// Waits; false when the run ends meanwhile.
async fn pause(phase: &mut watch::Receiver<Phase>, until: Instant) -> bool {
    loop {
        if matches!(*phase.borrow_and_update(), Phase::Stop) {
            return false;
        }
        tokio::select! {
            () = sleep_until(until) => return true,
            changed = phase.changed() => if changed.is_err() { return false },
        }
    }
}

/// Full jitter: anything up to a bound that doubles with each failure.
fn back_off(failures: u32, chance: &mut Chance) -> Duration {
    let doubled = limits::BACK_OFF_FIRST.saturating_mul(1 << failures.min(10));
    doubled.min(limits::BACK_OFF_MAX).mul_f64(chance.share())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_about_coming_back_is_found_in_the_error() {
        let told = Told { text: "x".into(), retry_after: Some(Duration::from_millis(70)) };
        assert_eq!(retry_after(&told.into()), Some(Duration::from_millis(70)));
        assert_eq!(retry_after(&io::ErrorKind::TimedOut.into()), None);
    }

    #[test]
    fn pauses_stay_under_their_bound() {
        let mut chance = Chance::new(1, 1);
        for failures in 1..40 {
            assert!(back_off(failures, &mut chance) <= limits::BACK_OFF_MAX);
        }
    }
}
