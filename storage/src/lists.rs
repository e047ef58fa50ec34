//! Lists share their pool with what messages need: openings of rooms, and facts about members. So
//! they read on a part of its connections at most, and wait for their turn before they ask for one.

use std::time::Duration;

use parlance_actors::ports::HistoryError;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::limits;

/// The turns of lists.
#[derive(Debug)]
pub(crate) struct Lists {
    turns: Semaphore,
    wait: Duration,
}

impl Lists {
    /// Over a pool of so many connections.
    pub(crate) fn over(connections: u32) -> Self {
        let turns = usize::try_from(connections / limits::LISTS_SHARE).unwrap_or_default().max(1);
        Self { turns: Semaphore::new(turns), wait: limits::LIST_WAIT }
    }

    /// A turn for one statement. Who has it waits for a connection and an answer, both of which have
    /// their time, and for no other turn: so it always comes back.
    ///
    /// # Errors
    /// [`HistoryError::Busy`] when it does not come within [`limits::LIST_WAIT`].
    pub(crate) async fn turn(&self) -> Result<SemaphorePermit<'_>, HistoryError> {
        match tokio::time::timeout(self.wait, self.turns.acquire()).await {
            Ok(turn) => Ok(turn.expect("never closed")),
            Err(_) => {
                metrics::counter!("parlance_lists_refused_total").increment(1);
                Err(HistoryError::Busy)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn lists_take_a_part_of_the_pool_and_are_told_when_it_takes_too_long() {
        let mut lists = Lists::over(5);
        lists.wait = SHORT;
        let first = lists.turn().await.expect("a turn");
        let _second = lists.turn().await.expect("another one");
        assert!(matches!(lists.turn().await, Err(HistoryError::Busy)));
        drop(first);
        drop(lists.turn().await.expect("one came back"));
    }

    #[tokio::test]
    async fn who_waits_gets_the_turn_that_comes_back() {
        let lists = Lists::over(1);
        let only = lists.turn().await.expect("the smallest pool has one");
        let gave_up = tokio::time::timeout(SHORT, lists.turn()).await;
        assert!(gave_up.is_err(), "it waits, and then takes none along");
        let (next, ()) = tokio::join!(lists.turn(), async {
            tokio::task::yield_now().await;
            drop(only);
        });
        drop(next.expect("it came back in time"));
    }
}
