//! Chance that is the same in every run with the same seed, and the two laws that the mixed load
//! needs. It is no source of secrets.

use std::time::Duration;

/// SplitMix64 (Steele and others, 2014).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// A stream of its own for each place under a seed.
    pub(super) fn new(seed: u64, place: u64) -> Self {
        let mut chance = Self(seed ^ place.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and below 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `bound`, or 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((self.share() * bound as f64) as usize).min(bound.saturating_sub(1))
    }

    /// A pause of a Poisson process with this mean.
    pub(super) fn pause(&mut self, mean: Duration) -> Duration {
        let times = -(1.0 - self.share()).ln();
        mean.mul_f64(times.min(20.0))
    }
}

/// Zipf's law: the item of rank `k` is drawn with a weight of `1 / k^s`.
#[derive(Debug, Clone)]
pub(super) struct Zipf(Vec<f64>);

impl Zipf {
    pub(super) fn new(items: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=items).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    /// An item, from 0.
    pub(super) fn draw(&self, chance: &mut Chance) -> usize {
        let at = chance.share() * self.0.last().copied().unwrap_or_default();
        self.0.partition_point(|sum| *sum <= at).min(self.0.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_chance_and_another_place_another() {
        let draw = |seed, place| {
            let mut chance = Chance::new(seed, place);
            (0..5).map(|_| chance.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn the_laws_have_their_means() {
        let mut chance = Chance::new(1, 0);
        let total: Duration = (0..10_000).map(|_| chance.pause(Duration::from_millis(100))).sum();
        let mean = total.as_secs_f64() / 10_000.0;
        assert!((0.095..0.105).contains(&mean), "{mean}");
        let zipf = Zipf::new(100, 1.0);
        let first = (0..10_000).filter(|_| zipf.draw(&mut chance) == 0).count();
        // 1 / (1 + 1/2 + … + 1/100) is 0.193.
        assert!((1_750..2_100).contains(&first), "{first}");
    }
}
