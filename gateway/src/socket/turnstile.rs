//! A turnstile before work that a crowd brings all at once: a few pass in each round of the scheduler,
//! and everything else has its turn between them.

use tokio::sync::Semaphore;

pub(crate) struct Turnstile(Semaphore);

impl Turnstile {
    /// `places`: how many pass in a round.
    pub(crate) fn new(places: usize) -> Self {
        Self(Semaphore::new(places))
    }

    /// Returns when it is the caller's turn, in the order of the calls. What the caller does afterwards
    /// holds up nobody who waits here: only the way through is narrow. Cancel-safe.
    pub(crate) async fn pass(&self) {
        let place = self.0.acquire().await;
        // Until the scheduler has looked for other work, so that a place is given on once a round: when its
        // queue is empty, or after some dozens of other tasks.
        tokio::task::yield_now().await;
        drop(place);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn others_have_their_turn_between_a_crowd() {
        const PLACES: usize = 4;
        const CROWD: usize = 1_000;
        let turnstile = Arc::new(Turnstile::new(PLACES));
        let passed = Arc::new(AtomicUsize::new(0));
        for _ in 0..CROWD {
            let (turnstile, passed) = (turnstile.clone(), passed.clone());
            tokio::spawn(async move {
                turnstile.pass().await;
                passed.fetch_add(1, Ordering::Relaxed);
            });
        }
        // It stands in the same queue.
        let other = tokio::spawn(async move {
            let (mut before, mut most) = (0, 0);
            while before < CROWD {
                tokio::task::yield_now().await;
                let now = passed.load(Ordering::Relaxed);
                most = most.max(now - before);
                before = now;
            }
            most
        });
        let most = other.await.expect("it counts");
        assert!(most <= 2 * PLACES, "{most} passed between two of its turns");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_takes_no_place() {
        let turnstile = Turnstile::new(1);
        {
            let waits = turnstile.pass();
            tokio::pin!(waits);
            assert!(futures_util::poll!(&mut waits).is_pending());
        }
        turnstile.pass().await;
    }
}
