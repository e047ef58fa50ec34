//! Every bound of the load generator, with its reason.

use std::time::Duration;

/// HTTP requests at the same time while accounts and rooms are made: password hashes are slow and
/// bounded on the server, and more would only wait there.
pub const SETUP_AT_ONCE: usize = 8;
/// Sockets that are being opened at the same time.
pub const CONNECTS_AT_ONCE: usize = 64;
/// How long a socket may take to be ready: connect, upgrade, welcome and subscribe.
pub const READY_WAIT: Duration = Duration::from_secs(30);
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
/// What the floor keeps for a connection that does not read: more than any run that counts leaves.
pub const FLOOR_PENDING_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Of the deliveries that were due in the measured time, so many must have come in it. With fewer, the
/// server was behind, and what it took is told instead of a figure.
pub const DELIVERED_SHARE_MIN: f64 = 0.95;
