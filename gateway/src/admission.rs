//! How much one address may do: a token bucket for requests, and a count of connections; and how
//! many sockets the node opens a second, whoever asks.
//! With IPv6 an address is its /64, because that is what one customer gets. Limits that must hold
//! across nodes (sign-ins) are in the database instead.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use lru::LruCache;
use parking_lot::Mutex;
use parlance_actors::vocab::{Code, Refusal};
use tokio::time::Instant;

use crate::config::{GatewayConfig, Rates};
use crate::limits::{ADDRESSES_MAX, REFUSALS_ANSWERED, UPGRADE_RETRY_MIN, UPGRADE_TURN_MAX};

/// The address that limits count: IPv4 as it is, IPv6 without its last 64 bits.
#[must_use]
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let prefix = u128::from(v6) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

/// Token buckets of addresses. A full table forgets the address that was seen least recently.
pub(crate) struct Buckets {
    per_second: f64,
    burst: f64,
    buckets: Option<Mutex<LruCache<IpAddr, Bucket>>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Takes a token, or says how long until there is one.
    fn take(&mut self, per_second: f64, burst: f64, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * per_second).min(burst);
        self.at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.tokens) / per_second))
    }
}

impl Buckets {
    pub(crate) fn new(rates: Rates) -> Self {
        let places = NonZeroUsize::new(ADDRESSES_MAX).expect("more than none");
        Self {
            per_second: rates.http_per_second.into(),
            burst: rates.http_burst.into(),
            buckets: (rates.http_per_second > 0).then(|| Mutex::new(LruCache::new(places))),
        }
    }

    /// Takes a token of the address, or says when there is one.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Refusal> {
        let Some(buckets) = &self.buckets else { return Ok(()) };
        let mut buckets = buckets.lock();
        let fresh = || Bucket { tokens: self.burst, at: now };
        let bucket = buckets.get_or_insert_mut(network(address), fresh);
        bucket.take(self.per_second, self.burst, now).map_err(|wait| {
            let detail =
                format!("more than {} requests a second from this address", self.per_second);
            Refusal::new(Code::RateLimited, detail).retry_after(wait)
        })
    }
}

/// How many refused connections are told why.
pub(crate) struct Refusals(Mutex<Bucket>);

impl Refusals {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket { tokens: REFUSALS_ANSWERED, at: now }))
    }

    pub(crate) fn may_answer(&self, now: Instant) -> bool {
        self.0.lock().take(REFUSALS_ANSWERED, REFUSALS_ANSWERED, now).is_ok()
    }
}

/// The token bucket of this node's upgrades. When a node dies, its sockets come to the others at
/// once; those that must wait are told so before anything is read for them.
pub(crate) struct Upgrades {
    per_second: f64,
    burst: f64,
    crowd: Option<Mutex<Crowd>>,
}

struct Crowd {
    bucket: Bucket,
    /// The first turn that nobody was told.
    next_turn: Instant,
}

impl Crowd {
    /// How long until a turn that is nobody else's. One after the other at the rate of the bucket, so
    /// that each finds its token, and a crowd is through as soon as the rate allows: at random times
    /// some would come too many, and be refused again and again.
    fn turn(&mut self, per_second: f64, chance: f64, now: Instant) -> Duration {
        let turn = self.next_turn.max(now + UPGRADE_RETRY_MIN);
        let wait = turn - now;
        if wait > UPGRADE_TURN_MAX {
            return spread(UPGRADE_RETRY_MIN, UPGRADE_TURN_MAX, chance);
        }
        self.next_turn = turn + Duration::from_secs_f64(1.0 / per_second);
        wait
    }
}

impl Upgrades {
    pub(crate) fn new(rates: Rates, now: Instant) -> Self {
        let burst = rates.upgrades_burst.into();
        let fresh = || Crowd { bucket: Bucket { tokens: burst, at: now }, next_turn: now };
        Self {
            per_second: rates.upgrades_per_second.into(),
            burst,
            crowd: (rates.upgrades_per_second > 0).then(|| Mutex::new(fresh())),
        }
    }

    /// Takes a token, or says when to come back. `chance`, from 0 to 1, spreads those for whom there
    /// is no turn.
    pub(crate) fn take(&self, chance: f64, now: Instant) -> Result<(), Refusal> {
        let Some(crowd) = &self.crowd else { return Ok(()) };
        let mut crowd = crowd.lock();
        crowd.bucket.take(self.per_second, self.burst, now).map_err(|_| {
            metrics::counter!("parlance_upgrades_refused_total", "cause" => "rate").increment(1);
            let wait = crowd.turn(self.per_second, chance, now);
            Refusal::busy("more sockets than this node opens at once").retry_after(wait)
        })
    }
}

/// A time between two, by chance from 0 to 1.
pub(crate) fn spread(least: Duration, most: Duration, chance: f64) -> Duration {
    least + (most - least).mul_f64(chance.clamp(0.0, 1.0))
}

/// Open connections, in all and by address.
pub(crate) struct Connections {
    max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One open connection; dropping it makes room.
pub(crate) struct Admitted {
    connections: Arc<Connections>,
    /// `None` for a trusted proxy, which brings many clients.
    counted: Option<IpAddr>,
    counts_in_all: bool,
    /// The client's own, where a proxy named the client before anything else was said.
    behind: Option<Box<Admitted>>,
}

impl Connections {
    pub(crate) fn new(config: &GatewayConfig) -> Arc<Self> {
        let unbounded = |max: usize| if max == 0 { usize::MAX } else { max };
        Arc::new(Self {
            max: unbounded(config.connections_max),
            per_address_max: unbounded(config.connections_per_address_max),
            open: Mutex::default(),
        })
    }

    /// Admits a TCP connection.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr, is_proxy: bool) -> Option<Admitted> {
        self.count((!is_proxy).then(|| network(peer)), true)
    }

    /// Admits a socket whose client is behind a trusted proxy.
    pub(crate) fn admit_behind_proxy(self: &Arc<Self>, client: IpAddr) -> Option<Admitted> {
        self.count(Some(network(client)), false)
    }

    /// How many TCP connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().all
    }

    fn count(self: &Arc<Self>, counted: Option<IpAddr>, counts_in_all: bool) -> Option<Admitted> {
        let mut open = self.open.lock();
        if counts_in_all && open.all >= self.max {
            return None;
        }
        if let Some(address) = counted {
            let of_address = open.by_address.entry(address).or_default();
            if *of_address >= self.per_address_max {
                return None;
            }
            *of_address += 1;
        }
        open.all += usize::from(counts_in_all);
        drop(open);
        Some(Admitted { connections: self.clone(), counted, counts_in_all, behind: None })
    }
}

impl Admitted {
    /// Counts a connection that a proxy brought for the client whom the proxy named. `None` when that
    /// client has too many.
    pub(crate) fn for_client(mut self, client: IpAddr) -> Option<Self> {
        let of_client = self.connections.count(Some(network(client)), false)?;
        self.behind = Some(Box::new(of_client));
        Some(self)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        open.all -= usize::from(self.counts_in_all);
        let Some(address) = self.counted else { return };
        if let Some(of_address) = open.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.by_address.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_served_and_then_the_rate() {
        let rates = Rates { http_per_second: 2, http_burst: 3, ..Rates::default() };
        let buckets = Buckets::new(rates);
        let take = || buckets.take(address("10.0.0.1"), Instant::now());
        for _ in 0..3 {
            take().expect("within the burst");
        }
        let wait = take().expect_err("over it").retry_after.expect("says when");
        buckets.take(address("10.0.0.2"), Instant::now()).expect("another address");
        tokio::time::advance(wait).await;
        take().expect("one more after the wait");
        take().expect_err("and only one");
    }

    #[test]
    fn upgrades_over_the_burst_are_told_when_to_come_back_and_not_all_at_once() {
        let rates = Rates { upgrades_per_second: 10, upgrades_burst: 2, ..Rates::default() };
        let now = Instant::now();
        let upgrades = Upgrades::new(rates, now);
        upgrades.take(0.0, now).expect("within the burst");
        upgrades.take(0.0, now).expect("within the burst");
        let wait = |chance| {
            let refusal = upgrades.take(chance, now).expect_err("over it");
            assert_eq!(refusal.code, Code::Busy);
            refusal.retry_after.expect("says when")
        };
        assert_eq!(wait(0.5), UPGRADE_RETRY_MIN);
        assert_eq!(wait(0.5), UPGRADE_RETRY_MIN + Duration::from_millis(100));
        while wait(0.0) > UPGRADE_RETRY_MIN {}
        assert_eq!(wait(1.0), UPGRADE_TURN_MAX, "no turn is left: any time");
        upgrades.take(0.0, now + Duration::from_millis(100)).expect("one more");
        upgrades.take(0.0, now + Duration::from_millis(100)).expect_err("and only one");
        let off = Upgrades::new(Rates { upgrades_per_second: 0, ..rates }, now);
        for _ in 0..100 {
            off.take(0.0, now).expect("there is no bound");
        }
    }

    #[test]
    fn a_crowd_that_comes_back_at_its_turns_is_through_at_once() {
        let rates = Rates { upgrades_per_second: 1_000, upgrades_burst: 1_000, ..Rates::default() };
        let now = Instant::now();
        let upgrades = Upgrades::new(rates, now);
        let refused = (0..5_000).filter_map(|_| upgrades.take(0.5, now).err()?.retry_after);
        let mut turns: Vec<Duration> = refused.collect();
        assert_eq!(turns.len(), 4_000);
        turns.sort_unstable();
        for turn in &turns {
            upgrades.take(0.5, now + *turn).expect("its turn");
        }
        assert!(turns.last().is_some_and(|last| *last < Duration::from_secs(5)), "{turns:?}");
    }

    #[test]
    fn an_ipv6_customer_is_one_address_and_a_mapped_ipv4_is_ipv4() {
        assert_eq!(network(address("2001:db8::1")), network(address("2001:db8::ffff:1")));
        assert_ne!(network(address("2001:db8::1")), network(address("2001:db8:0:1::1")));
        assert_eq!(network(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let config = GatewayConfig {
            connections_max: 3,
            connections_per_address_max: 1,
            ..GatewayConfig::default()
        };
        let connections = Connections::new(&config);
        let first = connections.admit(address("10.0.0.1"), false).expect("the first");
        assert!(connections.admit(address("10.0.0.1"), false).is_none());
        let _proxy = connections.admit(address("10.0.0.9"), true).expect("proxies are exempt");
        let _other = connections.admit(address("10.0.0.9"), true).expect("proxies are exempt");
        assert!(connections.admit(address("10.0.0.2"), false).is_none(), "three in all");
        drop(first);
        connections.admit(address("10.0.0.1"), false).expect("there is room again");
        assert_eq!(connections.open(), 2);
    }

    #[test]
    fn a_connection_that_a_proxy_brought_counts_for_its_client() {
        let config = GatewayConfig { connections_per_address_max: 1, ..GatewayConfig::default() };
        let connections = Connections::new(&config);
        let brought = || connections.admit(address("10.0.0.9"), true).expect("a proxy's");
        let first = brought().for_client(address("203.0.113.5")).expect("its first");
        assert!(brought().for_client(address("203.0.113.5")).is_none());
        let _other = brought().for_client(address("203.0.113.6")).expect("another client");
        assert_eq!(connections.open(), 2);
        drop(first);
        brought().for_client(address("203.0.113.5")).expect("there is room again");
        assert_eq!(connections.open(), 1);
    }
}
