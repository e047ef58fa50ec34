//! One channel to one peer, in both directions, and its rounds.
//!
//! Both directions of a channel belong to one *round*, a number that both ends keep and every
//! stream begins with. Whatever breaks either direction ends the round at the end that notices: its
//! inbox is told, what waits is lost, frames of the round are no longer taken from the peer, and
//! the next stream is of the next round. The other end is told by the first stream of a later round
//! that it sees, before any frame of it, and joins that round; what it notices later of the ended
//! round it passes over. So each end is told once a round, and never after it took frames that the
//! other sent because of having been told.
//!
//! Nothing of a round is taken from the peer before this end has a stream of that round to it. What
//! the inbox answers then goes on that stream, or the stream breaks, which ends the round, and both
//! ends are told. An end takes nothing to open its stream, so the two cannot wait for each other. A
//! peer that can be heard and not reached is not taken from: what it sends waits in its queue, until
//! that overflows and it is told.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::outlet::Outlet;

/// A channel. Its inbox hears of it only under the lock of its rounds.
#[derive(Default)]
pub(super) struct Link {
    pub(super) outlet: Outlet,
    rounds: Mutex<Rounds>,
    /// What [`may_take`](Self::may_take) waits for may have come.
    turned: Notify,
}

/// What decides which frames count. Pure: it says what to tell, and tells nobody.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    round: u64,
    /// The start of the peer that the last stream was of; 0 before the first.
    start: u64,
    /// The stream that frames are taken from.
    taken: Option<StreamId>,
    streams: u64,
}

/// Tells streams from the peer apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId(u64);

/// Whether the inbox is to be told.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    Already,
    Now,
}

impl Rounds {
    /// The present round.
    pub(super) fn round(&self) -> u64 {
        self.round
    }

    /// A stream from the peer begins. Gives what to tell first, and the stream's id unless its round
    /// is over.
    pub(super) fn begin(&mut self, start: u64, round: u64) -> (Told, Option<StreamId>) {
        if start < self.start {
            return (Told::Already, None);
        }
        let restarted = self.start != 0 && self.start < start;
        let told = if restarted {
            self.end(self.round, round)
        } else if round > self.round {
            self.move_to(round)
        } else {
            Told::Already
        };
        self.start = start;
        if round < self.round {
            return (told, None);
        }
        self.streams += 1;
        let stream = StreamId(self.streams);
        self.taken = Some(stream);
        (told, Some(stream))
    }

    /// Whether frames of this stream are taken now.
    pub(super) fn takes(&self, stream: StreamId) -> bool {
        self.taken == Some(stream)
    }

    /// A stream from the peer ends, in whatever way.
    pub(super) fn lost(&mut self, stream: StreamId) -> Told {
        if self.takes(stream) { self.end(self.round, 0) } else { Told::Already }
    }

    /// A round is over, and the peer is known to be in at least the other one.
    pub(super) fn end(&mut self, round: u64, theirs: u64) -> Told {
        if round < self.round && theirs <= self.round {
            return Told::Already;
        }
        self.move_to(theirs.max(round + 1))
    }

    fn move_to(&mut self, round: u64) -> Told {
        self.round = round;
        self.taken = None;
        Told::Now
    }
}

impl Link {
    pub(super) fn rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock()
    }

    /// Takes frames for a stream of this round from now on, if it is still the present one.
    pub(super) fn open(&self, round: u64) -> bool {
        let rounds = self.rounds.lock();
        let is_present = rounds.round == round;
        if is_present {
            self.outlet.open();
            self.turned.notify_waiters();
        }
        is_present
    }

    /// The round ended, under the lock of the rounds: what waits to be sent is lost.
    pub(super) fn interrupt(&self) {
        self.outlet.interrupt();
        self.turned.notify_waiters();
    }

    /// Waits until frames of this stream may be taken: until this node has a stream of the same round
    /// to the peer. `false` once they may never be, because the round is over or another stream is
    /// in its place.
    pub(super) async fn may_take(&self, stream: StreamId) -> bool {
        // The stream that this one replaced waits no longer.
        self.turned.notify_waiters();
        loop {
            // Before the look, so that no turn after it is missed.
            let turned = self.turned.notified();
            {
                let rounds = self.rounds.lock();
                if !rounds.takes(stream) {
                    return false;
                }
                // It is open in the present round or not at all.
                if self.outlet.is_open() {
                    return true;
                }
            }
            turned.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(rounds: &mut Rounds, start: u64, round: u64) -> (Told, bool) {
        let (told, stream) = rounds.begin(start, round);
        (told, stream.is_some())
    }

    #[test]
    fn the_first_streams_of_both_ends_lose_nothing() {
        assert_eq!(begun(&mut Rounds::default(), 1, 0), (Told::Already, true));
    }

    #[test]
    fn an_end_is_told_once_however_it_is_found() {
        let mut rounds = Rounds::default();
        let stream = rounds.begin(1, 0).1.expect("taken");
        assert_eq!(rounds.lost(stream), Told::Now);
        assert_eq!(rounds.lost(stream), Told::Already);
        assert!(!rounds.takes(stream));
        // The direction to the peer breaks as well, and the peer says what is known.
        assert_eq!(rounds.end(0, 1), Told::Already);
        assert_eq!(begun(&mut rounds, 1, 1), (Told::Already, true));
    }

    #[test]
    fn a_later_round_of_the_peer_is_told_and_joined() {
        let mut rounds = Rounds::default();
        let old = rounds.begin(1, 0).1.expect("taken");
        assert_eq!(begun(&mut rounds, 1, 3), (Told::Now, true));
        assert_eq!(rounds.lost(old), Told::Already);
        assert_eq!(rounds.end(0, 0), Told::Already);
        assert_eq!(rounds.round(), 3);
    }

    #[test]
    fn frames_of_a_round_that_is_over_here_are_not_taken() {
        let mut rounds = Rounds::default();
        let stream = rounds.begin(1, 0).1.expect("taken");
        assert_eq!(rounds.end(0, 0), Told::Now);
        assert!(!rounds.takes(stream));
        assert_eq!(begun(&mut rounds, 1, 0), (Told::Already, false));
    }

    #[test]
    fn a_new_start_of_the_peer_is_told_and_its_older_ones_are_over() {
        let mut rounds = Rounds::default();
        let _ = rounds.begin(1, 0);
        assert_eq!(begun(&mut rounds, 2, 0), (Told::Now, false));
        assert_eq!(rounds.round(), 1);
        assert_eq!(begun(&mut rounds, 2, 1), (Told::Already, true));
        assert_eq!(begun(&mut rounds, 1, 1), (Told::Already, false));
        // Whatever round the older one says, it moves nothing.
        assert_eq!(begun(&mut rounds, 1, 9), (Told::Already, false));
        assert_eq!(rounds.round(), 1);
    }

    /// Two ends that say to each other what they may, in any order: both come to one round, and an
    /// end that was told is never told again of what the other sent after it had been told.
    #[test]
    fn two_ends_that_break_at_once_meet_in_one_round() {
        let (mut one, mut two) = (Rounds::default(), Rounds::default());
        assert_eq!(one.end(0, 0), Told::Now);
        assert_eq!(two.end(0, 0), Told::Now);
        assert_eq!(begun(&mut one, 1, two.round()), (Told::Already, true));
        assert_eq!(begun(&mut two, 1, one.round()), (Told::Already, true));
    }
}
