//! Whether the server on the other end of a socket still lives, when an answer is late: a machine
//! that stands still or lost its power closes nothing. Pure. A server that takes its time, because
//! its database does, answers a ping at once and is waited for.

use std::time::Instant;

use crate::limits;

#[derive(Debug)]
pub(super) struct Pulse {
    heard_at: Instant,
    /// When a ping asked for a sign of life, if nothing was heard since.
    asked_at: Option<Instant>,
}

/// What to do about a silent server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing before then; nothing at all when no time is given.
    Wait(Option<Instant>),
    /// Send a ping.
    Ask,
    /// It is gone.
    Dead,
}

impl Pulse {
    pub(super) const fn new(now: Instant) -> Self {
        Self { heard_at: now, asked_at: None }
    }

    /// Anything came from the server.
    pub(super) const fn heard(&mut self, now: Instant) {
        (self.heard_at, self.asked_at) = (now, None);
    }

    pub(super) const fn heard_at(&self) -> Instant {
        self.heard_at
    }

    /// `sent` is when the oldest change without an answer went out.
    pub(super) fn beat(&mut self, now: Instant, sent: Option<Instant>) -> Beat {
        if let Some(asked) = self.asked_at {
            let over = asked + limits::LIFE_WAIT;
            return if now >= over { Beat::Dead } else { Beat::Wait(Some(over)) };
        }
        let Some(sent) = sent else { return Beat::Wait(None) };
        let due = sent.max(self.heard_at) + limits::LIFE_AFTER;
        if now < due {
            return Beat::Wait(Some(due));
        }
        self.asked_at = Some(now);
        Beat::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_server_is_asked_for_a_sign_of_life_and_then_given_up() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        assert_eq!(pulse.beat(start, None), Beat::Wait(None), "nobody waits for it");
        let due = start + limits::LIFE_AFTER;
        assert_eq!(pulse.beat(start, Some(start)), Beat::Wait(Some(due)));
        assert_eq!(pulse.beat(due, Some(start)), Beat::Ask);
        let over = due + limits::LIFE_WAIT;
        assert_eq!(pulse.beat(due, Some(start)), Beat::Wait(Some(over)), "it is asked once");
        assert_eq!(pulse.beat(over, Some(start)), Beat::Dead);
    }

    #[test]
    fn a_server_that_speaks_is_waited_for_however_late_its_answer_is() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        let mut now = start;
        for _ in 0..10 {
            now += limits::LIFE_AFTER;
            assert_eq!(pulse.beat(now, Some(start)), Beat::Ask);
            now += limits::LIFE_WAIT / 2;
            pulse.heard(now);
            let due = now + limits::LIFE_AFTER;
            assert_eq!(pulse.beat(now, Some(start)), Beat::Wait(Some(due)));
        }
    }
}
