//! How long to wait before the next socket: any time up to a bound that doubles, so that the clients of
//! a node that died do not come back at the same instant (full jitter).

use std::time::Duration;

use uuid::Uuid;

use crate::limits;

#[derive(Debug, Default)]
pub(crate) struct BackOff {
    failures: u32,
}

impl BackOff {
    /// The session began: the next failure is a first one again.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure: by chance between nothing and the doubled time.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = limits::BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(limits::BACK_OFF_MAX);
        // A random UUID is all the chance that spreading needs.
        let (high, _) = Uuid::new_v4().as_u64_pair();
        whole.mul_f64(f64::from((high >> 32) as u32) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_stay_under_their_bound_and_start_again() {
        let mut back_off = BackOff::default();
        for doubling in 0..40 {
            let whole = limits::BACK_OFF_FIRST * (1 << doubling.min(10));
            let pause = back_off.next();
            assert!(pause <= whole.min(limits::BACK_OFF_MAX), "{doubling}: {pause:?}");
        }
        back_off.reset();
        assert!(back_off.next() <= limits::BACK_OFF_FIRST);
    }

    #[test]
    fn clients_that_were_cut_off_together_come_back_over_the_whole_time() {
        let pauses: Vec<_> = (0..1_000).map(|_| BackOff::default().next()).collect();
        // A chance of 1 in 10^124 that a quarter stays empty.
        for quarter in 0..4 {
            let part = limits::BACK_OFF_FIRST / 4;
            let from = part * quarter;
            assert!(pauses.iter().any(|pause| (from..from + part).contains(pause)), "{quarter}");
        }
    }
}
