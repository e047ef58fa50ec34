//! Every bound of the load generator, with its reason.

use std::time::Duration;

/// HTTP requests at the same time while accounts and rooms are made: password hashes are slow and
/// bounded on the server, and more would only wait there.
pub const SETUP_AT_ONCE: usize = 8;
/// Sockets that are being opened at the same time.
pub const CONNECTS_AT_ONCE: usize = 64;
/// How long a socket may take to be ready: connect, upgrade, welcome and subscribe.
pub const READY_WAIT: Duration = Duration::from_secs(30);
/// How long a session may go on to be refused when it is opened first.
pub const OPEN_WAIT: Duration = Duration::from_secs(120);
/// How long one attempt to come back may take, everything that was missed included.
pub const RETURN_WAIT: Duration = Duration::from_secs(120);
/// The first bound of the pause between attempts to come back; it doubles.
pub const BACK_OFF_FIRST: Duration = Duration::from_millis(200);
/// The last bound of that pause.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// An HTTP answer that takes longer counts as none.
pub const HTTP_WAIT: Duration = Duration::from_secs(30);
/// Before a request is repeated whose refusal does not say when.
pub const REPEAT_WAIT: Duration = Duration::from_millis(250);
/// Between the decision to start and the start, so that every process hears of it before.
pub const START_AFTER: Duration = Duration::from_millis(300);
/// How often something that ends by itself is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the end of a run waits for answers and deliveries that are under way.
pub const SETTLE_WAIT: Duration = Duration::from_secs(15);
/// Repeats of a setup request that the server refuses for now.
pub const SETUP_REPEATS_MAX: u32 = 20;
/// The largest frame that the generator takes.
pub const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a receive buffer begins with: a few frames of chat.
pub const BUFFER_BYTES: usize = 2 * 1024;
/// A buffer that grew above this is given back after use.
pub const BUFFER_KEEP_BYTES: usize = 64 * 1024;
/// The longest latency that is told apart; longer ones count as this.
pub const LATENCY_MAX: Duration = Duration::from_secs(120);
/// A session says something this often when it has nothing to send.
pub const PING_EVERY: Duration = Duration::from_secs(25);
/// What the nodes count that a report shows beside the cost.
pub const COUNTERS: [&str; 7] = [
    "parlance_envelopes_total",
    "parlance_link_frames_total{direction=\"out\"}",
    "parlance_link_writes_total",
    "parlance_link_bytes_total{direction=\"out\"}",
    "parlance_deliveries_total",
    "parlance_socket_frames_sent_total",
    "parlance_lane_batch_events_count",
];
/// What a node's `/metrics` may say: some hundreds of lines.
pub const METRICS_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Locks that share the histograms between connections.
pub const TALLY_SHARDS: usize = 8;
/// Digits of a whole run's latencies: a thousandth.
pub const WHOLE_DIGITS: u8 = 3;
/// Digits of the latencies of one second, of which there are many: a hundredth.
pub const RECENT_DIGITS: u8 = 2;
/// Points of a percentile plot in each halving of the rest: enough for a smooth line.
pub const QUANTILE_TICKS: u32 = 4;
/// Rooms in one subscribe frame: what the server takes at most.
pub const SUBSCRIBE_ROOMS: usize = 200;
/// Entries of a page that fills a gap: what the server gives at most.
pub const PAGE: u16 = 200;
/// Entries of the page that a client shows first when a room is opened.
pub const LATEST: u16 = 50;
/// Accounts whose presence each session of the mixed load watches: a screen full.
pub const WATCHED: usize = 20;
/// Sessions of a user that the server allows on a node.
pub const SESSIONS_OF_A_USER_MAX: usize = 64;
/// Sessions of an account that fill rooms; half of that.
pub const SESSIONS_OF_AN_ACCOUNT: usize = 32;
/// Messages that are worth a session of their own when rooms are filled.
pub const FILL_EACH: usize = 100;
/// What a session sends a second when rooms are filled: below the 50 that the server allows.
pub const FILL_RATE: u32 = 45;
/// Of these without an answer.
pub const FILL_IN_FLIGHT: usize = 32;
/// More messages than one session ever fills, so that no two bodies are the same.
pub const FILL_NUMBERS: usize = 1 << 32;
/// Orders that wait for a process: it is told one thing at a time.
pub const ORDERS_MAX: usize = 4;
/// News that wait for the conductor: some seconds of them.
pub const NEWS_MAX: usize = 16;
/// What the floor keeps for a connection that does not read: more than any run that counts leaves.
pub const FLOOR_PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of the deliveries that were due in the measured time, so many must have come in it. With fewer, the
/// server was behind, and what it took is told instead of a figure.
pub const DELIVERED_SHARE_MIN: f64 = 0.95;

/// Connections of an attack that say nothing: ten times what the server takes from one address.
pub const ATTACK_IDLE: usize = 10_000;
/// Connections of an attack that drip: half of what the server takes from one address.
pub const ATTACK_SLOW: usize = 500;
/// Connections of an attack that keep the server busy: below the sockets that a user may have on a node.
pub const ATTACK_BUSY: usize = 16;
/// Between two drops.
pub const ATTACK_DRIP: Duration = Duration::from_millis(500);
/// Between two requests or floods of a connection: 16 connections ask 320 times a second. The attacker
/// shares the machine with the server, and must leave it a processor.
pub const ATTACK_EVERY: Duration = Duration::from_millis(50);
/// Frames of one flood: 16 connections send 32,000 a second.
pub const ATTACK_FRAMES: usize = 100;
/// Before a connection of an attack that ended is opened again.
pub const ATTACK_AGAIN: Duration = Duration::from_millis(500);
/// The same where they are thousands: some 2,000 connects a second.
pub const ATTACK_IDLE_AGAIN: Duration = Duration::from_secs(5);
/// How long a connection of an attack may take to be opened.
pub const ATTACK_CONNECT_WAIT: Duration = Duration::from_secs(5);

const _: () = assert!(ATTACK_BUSY < SESSIONS_OF_A_USER_MAX);
const _: () = assert!(FILL_RATE < 50);
const _: () = assert!(SESSIONS_OF_AN_ACCOUNT < SESSIONS_OF_A_USER_MAX);
