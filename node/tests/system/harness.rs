//! What the system tests share: a node that can be killed, a front that outlives it, people who
//! talk, and the verdict.

mod front;
mod node;
mod talk;
mod town;

pub(crate) use node::Node;
pub(crate) use talk::{Talk, Talker};
pub(crate) use town::{Person, Town};

use std::time::Duration;

/// Chance that is the same in every run with the same seed (SplitMix64, Steele and others, 2014).
pub(crate) struct Chance(u64);

impl Chance {
    /// From PARLANCE_TEST_SEED, or else the given seed; says which.
    pub(crate) fn seeded(seed: u64) -> Self {
        let given = std::env::var("PARLANCE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("PARLANCE_TEST_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn millis_below(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }
}

/// Waits until something holds, and says what it was when it does not within a minute.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "it never happened: {what}");
}
