//! How long to wait before the next socket: doubling, bounded, and spread so that the clients of a
//! node that died do not come back at the same instant.

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

    /// The pause after one more failure: between a half and the whole of the doubled time.
    pub(crate) fn next(&mut self) -> Duration {
        let doubled = limits::BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        let whole = doubled.min(limits::BACK_OFF_MAX);
        // A random UUID is all the chance that spreading needs.
        let (high, _) = Uuid::new_v4().as_u64_pair();
        whole.mul_f64(0.5 + f64::from((high >> 32) as u32) / f64::from(u32::MAX) / 2.0)
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
            let whole = whole.min(limits::BACK_OFF_MAX);
            let pause = back_off.next();
            assert!(pause >= whole / 2 && pause <= whole, "{doubling}: {pause:?}");
        }
        back_off.reset();
        assert!(back_off.next() <= limits::BACK_OFF_FIRST);
    }
}
