//! Identical reads that wait at the same time are one read. A reconnect storm asks for the same
//! page of the same room a thousand times; whoever comes before the read has begun shares it.
//!
//! A read that has begun is shared with nobody who comes later: its page may be older than what
//! the later caller has already been told.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use parking_lot::Mutex;
use parlance_actors::ports::HistoryError;

use crate::limits;

type Answer<P> = Result<Arc<P>, HistoryError>;
type Flight<P> = Shared<BoxFuture<'static, Answer<P>>>;
type Waiting<K, P> = Mutex<HashMap<K, (u64, WeakShared<BoxFuture<'static, Answer<P>>>)>>;

/// The reads of one kind that wait to begin, by what they ask for.
#[derive(Debug)]
pub(crate) struct Flights<K, P> {
    waiting: Arc<Waiting<K, P>>,
}

/// A read's place among those that may be joined. Given up when the read begins, or when all who
/// wanted it have gone.
pub(crate) struct Boarding<K: Eq + Hash, P> {
    waiting: Arc<Waiting<K, P>>,
    key: K,
    number: u64,
}

impl<K: Eq + Hash, P> Drop for Boarding<K, P> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        // Another one may have taken the place of one that everybody gave up.
        if waiting.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            waiting.remove(&self.key);
        }
    }
}

impl<K, P> Flights<K, P>
where
    K: Copy + Eq + Hash + Send + 'static,
    P: Clone + Send + Sync + 'static,
{
    pub(crate) fn new() -> Self {
        Self { waiting: Arc::default() }
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Joins the read of the same thing that has not begun, or starts one. `read` must drop its
    /// boarding before its first look at the data. Whoever gives up leaves the others their read.
    pub(crate) async fn read<F>(
        &self,
        key: K,
        read: impl FnOnce(Option<Boarding<K, P>>) -> F,
    ) -> Result<P, HistoryError>
    where
        F: Future<Output = Result<P, HistoryError>> + Send + 'static,
    {
        let flight = self.join_or_start(key, read);
        let page = flight.await?;
        Ok(Arc::unwrap_or_clone(page))
    }

    fn join_or_start<F>(&self, key: K, read: impl FnOnce(Option<Boarding<K, P>>) -> F) -> Flight<P>
    where
        F: Future<Output = Result<P, HistoryError>> + Send + 'static,
    {
        // A flight must not be dropped while the lock is held: its boarding takes the lock.
        let mut waiting = self.waiting.lock();
        if let Some(flight) = waiting.get(&key).and_then(|(_, flight)| flight.upgrade()) {
            metrics::counter!("parlance_history_reads_shared").increment(1);
            return flight;
        }
        let full = waiting.len() >= limits::FLIGHTS_MAX && !waiting.contains_key(&key);
        let number = match waiting.get(&key) {
            Some((number, _)) => number + 1,
            None => 0,
        };
        let boarding = (!full).then(|| Boarding { waiting: self.waiting.clone(), key, number });
        let flight: Flight<P> = read(boarding).map(|page| page.map(Arc::new)).boxed().shared();
        if !full && let Some(weak) = flight.downgrade() {
            waiting.insert(key, (number, weak));
        }
        flight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    /// Reads that begin when a permit comes, and then end when another one does.
    struct Airport {
        flights: Flights<u32, u32>,
        begin: Arc<Semaphore>,
        end: Arc<Semaphore>,
        reads: Arc<AtomicU32>,
    }

    impl Airport {
        fn new() -> Arc<Self> {
            Arc::new(Self {
                flights: Flights::new(),
                begin: Arc::new(Semaphore::new(0)),
                end: Arc::new(Semaphore::new(0)),
                reads: Arc::default(),
            })
        }

        async fn read(self: Arc<Self>, key: u32) -> Result<u32, HistoryError> {
            let (begin, end) = (self.begin.clone(), self.end.clone());
            let reads = self.reads.clone();
            let fly = move |boarding: Option<Boarding<u32, u32>>| async move {
                begin.acquire().await.expect("open").forget();
                drop(boarding);
                let number = reads.fetch_add(1, Ordering::Relaxed) + 1;
                end.acquire().await.expect("open").forget();
                if key == 13 {
                    return Err(HistoryError::Unavailable("told to".to_owned()));
                }
                Ok(number)
            };
            self.flights.read(key, fly).await
        }

        fn ask(self: &Arc<Self>, key: u32) -> tokio::task::JoinHandle<Result<u32, HistoryError>> {
            tokio::spawn(self.clone().read(key))
        }

        fn waiting(&self) -> usize {
            self.flights.waiting()
        }
    }

    async fn settle() {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn callers_before_the_read_begins_share_it_and_later_ones_do_not() {
        let airport = Airport::new();
        let early: Vec<_> = (0..50).map(|_| airport.ask(1)).collect();
        let other = airport.ask(2);
        settle().await;
        assert_eq!(airport.waiting(), 2);
        airport.begin.add_permits(2);
        settle().await;
        assert_eq!(airport.waiting(), 0);
        let late = airport.ask(1);
        settle().await;
        airport.begin.add_permits(1);
        airport.end.add_permits(3);
        let mut seen = Vec::new();
        for ask in early {
            seen.push(ask.await.expect("no panic").expect("a page"));
        }
        assert!(seen.iter().all(|number| *number == seen[0]));
        assert_ne!(late.await.expect("no panic").expect("a page"), seen[0]);
        other.await.expect("no panic").expect("a page");
        assert_eq!(airport.reads.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn one_who_gives_up_leaves_the_others_their_read() {
        let airport = Airport::new();
        let (first, second) = (airport.ask(1), airport.ask(1));
        settle().await;
        first.abort();
        settle().await;
        airport.begin.add_permits(1);
        airport.end.add_permits(1);
        assert_eq!(second.await.expect("no panic").expect("a page"), 1);
    }

    #[tokio::test]
    async fn a_read_that_nobody_wants_any_more_leaves_nothing_behind() {
        let airport = Airport::new();
        let only = airport.ask(1);
        settle().await;
        only.abort();
        settle().await;
        assert_eq!(airport.waiting(), 0);
        let next = airport.ask(1);
        airport.begin.add_permits(1);
        airport.end.add_permits(1);
        assert_eq!(next.await.expect("no panic").expect("a page"), 1);
    }

    #[tokio::test]
    async fn an_error_is_shared_as_well() {
        let airport = Airport::new();
        let asks: Vec<_> = (0..3).map(|_| airport.ask(13)).collect();
        settle().await;
        airport.begin.add_permits(1);
        airport.end.add_permits(1);
        for ask in asks {
            ask.await.expect("no panic").expect_err("told to fail");
        }
        assert_eq!(airport.reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn beyond_the_bound_reads_go_alone() {
        let airport = Airport::new();
        let most = u32::try_from(limits::FLIGHTS_MAX).expect("small");
        let asks: Vec<_> = (100..100 + most).map(|key| airport.ask(key)).collect();
        settle().await;
        let alone = [airport.ask(1), airport.ask(1)];
        settle().await;
        assert_eq!(airport.waiting(), limits::FLIGHTS_MAX);
        airport.begin.add_permits(limits::FLIGHTS_MAX + 2);
        airport.end.add_permits(limits::FLIGHTS_MAX + 2);
        for ask in asks.into_iter().chain(alone) {
            ask.await.expect("no panic").expect("a page");
        }
        assert_eq!(airport.reads.load(Ordering::Relaxed), most + 2);
    }
}
