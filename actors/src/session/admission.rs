//! What a session may have open and how fast it may go. Pure: time is given.

use std::time::Duration;

use super::stalls::Stalls;
use crate::limits;
use crate::vocab::{Code, Epoch, Key, Refusal, RoomId};

/// A bucket of tokens, in thousandths.
#[derive(Debug)]
struct Bucket {
    per_second: u64,
    burst: u64,
    milli_tokens: u64,
    at: Duration,
}

impl Bucket {
    fn full(per_second: u32, burst: u32) -> Self {
        let burst = u64::from(burst) * 1_000;
        Self { per_second: per_second.into(), burst, milli_tokens: burst, at: Duration::ZERO }
    }

    /// Takes one token; `Err` with the time until there is one.
    fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let elapsed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        if elapsed > 0 {
            let gained = elapsed.saturating_mul(self.per_second);
            self.milli_tokens = self.milli_tokens.saturating_add(gained).min(self.burst);
            self.at = now;
        }
        if self.milli_tokens >= 1_000 {
            self.milli_tokens -= 1_000;
            return Ok(());
        }
        let missing = 1_000 - self.milli_tokens;
        Err(Duration::from_millis(missing.div_ceil(self.per_second.max(1))))
    }
}

/// Unanswered sends of one room, all under one epoch of its shard.
#[derive(Debug)]
struct Gone {
    room: RoomId,
    epoch: Epoch,
    count: u32,
}

/// A session's bounds.
#[derive(Debug)]
pub(super) struct Admission {
    changes: Bucket,
    ephemeral: Bucket,
    in_flight: u32,
    requests: u32,
    refused_in_a_row: u32,
    next_place: u64,
    stalls: Stalls,
    /// Sends that wait for their answer, by room, with the epoch under which they went.
    gone: Vec<Gone>,
}

impl Admission {
    pub(super) fn new() -> Self {
        Self {
            changes: Bucket::full(limits::SEND_RATE_PER_SECOND, limits::SEND_BURST),
            ephemeral: Bucket::full(
                limits::EPHEMERAL_RATE_PER_SECOND,
                limits::EPHEMERAL_RATE_PER_SECOND,
            ),
            in_flight: 0,
            requests: 0,
            refused_in_a_row: 0,
            next_place: 0,
            stalls: Stalls::default(),
            gone: Vec::new(),
        }
    }

    /// Admits a change and gives its place among the session's changes, or says why not. An
    /// admitted one must be settled once.
    pub(super) fn admit_change(
        &mut self,
        now: Duration,
        room: RoomId,
        key: Key,
        is_send: bool,
    ) -> Result<u64, Refusal> {
        let place = self.next_place;
        self.next_place += 1;
        if is_send && let Some(refusal) = self.stalled(now, room, key, place) {
            return Err(refusal);
        }
        let refusal = if self.in_flight >= limits::SESSION_IN_FLIGHT_MAX {
            Refusal::busy("64 of your changes are in flight; wait for their answers")
        } else if let Err(wait) = self.changes.take(now) {
            Refusal::new(Code::RateLimited, "you send faster than 50 changes a second")
                .retry_after(wait)
        } else {
            self.in_flight += 1;
            return Ok(place);
        };
        if is_send {
            self.stalls.stall(now, room, (key, place), &refusal);
        }
        Err(refusal)
    }

    /// A change was answered.
    pub(super) fn settle_change(
        &mut self,
        now: Duration,
        room: RoomId,
        (key, place): (Key, u64),
        is_send: bool,
        refusal: Option<&Refusal>,
    ) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match refusal {
            Some(refusal) if is_send && refusal.retry_after.is_some() => {
                self.stalls.stall(now, room, (key, place), refusal);
            }
            _ => self.stalls.clear(room, key),
        }
    }

    /// Why the send at `place` may not go yet: an earlier one of this room was refused and not
    /// repeated.
    pub(super) fn stalled(
        &mut self,
        now: Duration,
        room: RoomId,
        key: Key,
        place: u64,
    ) -> Option<Refusal> {
        self.stalls.stalled(now, room, key, place)
    }

    /// Whether a send may go to its room's owner of this epoch. Not while an earlier one waits for an
    /// owner of another epoch: that one may refuse it yet, and the two would change places.
    pub(super) fn goes(&mut self, room: RoomId, epoch: Epoch) -> bool {
        match self.gone.iter_mut().find(|gone| gone.room == room) {
            Some(gone) if gone.epoch == epoch => gone.count += 1,
            Some(_) => return false,
            None => self.gone.push(Gone { room, epoch, count: 1 }),
        }
        true
    }

    /// A send that went was answered.
    pub(super) fn came_back(&mut self, room: RoomId) {
        if let Some(gone) = self.gone.iter_mut().find(|gone| gone.room == room) {
            gone.count -= 1;
        }
        self.gone.retain(|gone| gone.count > 0);
    }

    /// Admits a request that is no change. An admitted one must be settled once.
    pub(super) fn admit_request(&mut self) -> Result<(), Refusal> {
        if self.requests >= limits::SESSION_REQUESTS_MAX {
            return Err(Refusal::busy("128 of your requests are open; wait for their answers"));
        }
        self.requests += 1;
        Ok(())
    }

    /// A request that is no change was answered.
    pub(super) fn settle_request(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }

    /// Whether a typing or presence frame goes through.
    pub(super) fn admit_ephemeral(&mut self, now: Duration) -> bool {
        self.ephemeral.take(now).is_ok()
    }

    /// Counts an answer; `true` when the session was refused through its own fault so often in a
    /// row that it ends. What is refused because the server is busy neither counts nor clears.
    pub(super) fn answered(&mut self, refused: bool, at_fault: bool) -> bool {
        if !refused {
            self.refused_in_a_row = 0;
        }
        self.refused_in_a_row += u32::from(at_fault);
        self.refused_in_a_row > limits::REFUSALS_MAX
    }

    /// Changes that wait for their answer.
    pub(super) const fn in_flight(&self) -> u32 {
        self.in_flight
    }
}

#[cfg(test)]
mod tests {
    use super::super::stalls::STALL;
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let mut bucket = Bucket::full(50, 100);
        for _ in 0..100 {
            assert_eq!(bucket.take(NOW), Ok(()));
        }
        let wait = bucket.take(NOW).expect_err("the burst is spent");
        assert_eq!(wait, Duration::from_millis(20));
        assert_eq!(bucket.take(NOW + wait), Ok(()));
        assert!(bucket.take(NOW + wait).is_err());
    }

    #[test]
    fn sends_behind_a_refused_one_are_refused_until_it_is_repeated() {
        let mut admission = Admission::new();
        let room = RoomId::generate();
        let (first, second) = (Key::generate(), Key::generate());
        let place = admission.admit_change(NOW, room, first, true).expect("admitted");
        let busy = Refusal::busy("full");
        admission.settle_change(NOW, room, (first, place), true, Some(&busy));
        assert_eq!(admission.admit_change(NOW, room, second, true), Err(busy));
        admission.admit_change(NOW, RoomId::generate(), second, true).expect("another room");
        let place = admission.admit_change(NOW, room, first, true).expect("the repeat leads");
        admission.settle_change(NOW, room, (first, place), true, None);
        admission.admit_change(NOW, room, second, true).expect("in order again");
    }

    #[test]
    fn a_stall_ends_by_itself() {
        let mut admission = Admission::new();
        let room = RoomId::generate();
        let (key, busy) = (Key::generate(), Refusal::busy("full"));
        let place = admission.admit_change(NOW, room, key, true).expect("admitted");
        admission.settle_change(NOW, room, (key, place), true, Some(&busy));
        assert!(admission.admit_change(NOW, room, Key::generate(), true).is_err());
        let later = NOW + STALL;
        assert!(admission.admit_change(later, room, Key::generate(), true).is_ok());
    }

    #[test]
    fn the_earliest_refused_send_leads_in_whichever_order_they_are_refused() {
        let mut admission = Admission::new();
        let room = RoomId::generate();
        let keys: Vec<Key> = (0..3).map(|_| Key::generate()).collect();
        let mut admit =
            |key: &Key| admission.admit_change(NOW, room, *key, true).expect("admitted");
        let places: Vec<u64> = keys.iter().map(&mut admit).collect();
        let busy = Refusal::busy("full");
        admission.settle_change(NOW, room, (keys[1], places[1]), true, Some(&busy));
        assert_eq!(admission.stalled(NOW, room, keys[0], places[0]), None, "it was before");
        assert_eq!(admission.stalled(NOW, room, keys[2], places[2]), Some(busy.clone()));
        admission.settle_change(NOW, room, (keys[0], places[0]), true, Some(&busy));
        assert_eq!(admission.admit_change(NOW, room, keys[1], true), Err(busy));
        admission.admit_change(NOW, room, keys[0], true).expect("it leads");
    }

    #[test]
    fn a_session_ends_for_its_own_faults_and_not_for_a_busy_server() {
        let mut admission = Admission::new();
        assert!((0..10_000).all(|_| !admission.answered(true, false)));
        assert!((0..limits::REFUSALS_MAX).all(|_| !admission.answered(true, true)));
        assert!(!admission.answered(false, false), "a success clears it");
        assert!((0..limits::REFUSALS_MAX).all(|_| !admission.answered(true, true)));
        assert!(admission.answered(true, true));
    }

    #[test]
    fn one_more_than_sixty_four_in_flight_is_busy() {
        let mut admission = Admission::new();
        for _ in 0..limits::SESSION_IN_FLIGHT_MAX {
            admission
                .admit_change(NOW, RoomId::generate(), Key::generate(), true)
                .expect("below the bound");
        }
        let refused = admission.admit_change(NOW, RoomId::generate(), Key::generate(), true);
        assert_eq!(refused.expect_err("over the bound").code, Code::Busy);
    }
}
