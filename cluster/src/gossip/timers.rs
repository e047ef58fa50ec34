//! Timers of the core, none of which is ever dropped: stale ones die in foca by their token.
//!
//! A stalled process finds all its timers due at once, the answers to its probes still unread.
//! Timers that declare others dead then wait a little (as in Lifeguard, arXiv 1707.00788, a node
//! trusts itself less when it was slow). Time is what has passed since the driver's start.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::core::Timer;
use super::settings::{AFTER_STALL, STALL};

/// The timers that are set. Their number is bounded by what foca sets.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<Set>>,
    set: u64,
    /// Others are not declared dead before this.
    careful_until: Duration,
}

#[derive(Debug, PartialEq, Eq)]
struct Set {
    due: Duration,
    /// foca wants what is due at the same time in its own order; then first set, first due.
    rank: u8,
    number: u64,
    timer: Timer,
}

impl Ord for Set {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.rank, self.number).cmp(&(other.due, other.rank, other.number))
    }
}

impl PartialOrd for Set {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Timers {
    pub(super) fn set(&mut self, due: Duration, timer: Timer) {
        let rank = match &timer {
            Timer::Swim(foca::Timer::SendIndirectProbe { .. }) => 0,
            Timer::Swim(foca::Timer::ProbeRandomMember(_)) => 1,
            Timer::Swim(foca::Timer::ChangeSuspectToDown { .. }) => 2,
            _ => 3,
        };
        self.set += 1;
        self.heap.push(Reverse(Set { due, rank, number: self.set, timer }));
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(next)| next.due)
    }

    /// The next one that is due by now.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Timer> {
        while self.next_due().is_some_and(|due| due <= now) {
            let Reverse(next) = self.heap.pop()?;
            if now - next.due > STALL {
                self.careful_until = now + AFTER_STALL;
            }
            if next.timer.declares_dead() && now < self.careful_until {
                self.set(self.careful_until, next.timer);
                continue;
            }
            return Some(next.timer);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use parlance_actors::vocab::NodeId;

    use super::super::identity::Identity;
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn death() -> Timer {
        Timer::Swim(foca::Timer::ChangeSuspectToDown {
            member_id: Identity::new(NodeId(2), 1, SocketAddr::from(([127, 0, 0, 1], 1))),
            incarnation: 0,
            token: 0,
        })
    }

    #[test]
    fn timers_fire_in_order_and_none_is_lost() {
        let mut timers = Timers::default();
        timers.set(ms(20), Timer::Say);
        timers.set(ms(10), Timer::Swim(foca::Timer::ProbeRandomMember(1)));
        timers.set(ms(10), Timer::Reconcile);
        assert_eq!(timers.pop(ms(9)), None);
        assert_eq!(timers.pop(ms(15)), Some(Timer::Swim(foca::Timer::ProbeRandomMember(1))));
        assert_eq!(timers.pop(ms(15)), Some(Timer::Reconcile));
        assert_eq!(timers.pop(ms(15)), None);
        assert_eq!(timers.next_due(), Some(ms(20)));
    }

    #[test]
    fn a_stalled_node_declares_nobody_dead_before_it_has_listened() {
        let mut timers = Timers::default();
        timers.set(ms(100), Timer::Say);
        timers.set(ms(400), death());
        timers.set(ms(2_400), death());
        assert_eq!(timers.pop(ms(500)), Some(Timer::Say), "400 ms late");
        assert_eq!(timers.pop(ms(500)), None);
        assert_eq!(timers.pop(ms(1_499)), None);
        assert_eq!(timers.pop(ms(1_500)), Some(death()));
        assert_eq!(timers.pop(ms(2_400)), Some(death()), "the stall is over");
    }
}
