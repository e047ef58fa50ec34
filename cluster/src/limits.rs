//! Every bound of this crate, with its reason. What happens at a bound stands in its doc.

use std::time::Duration;

/// Writes that wait for the log's thread. One more makes Raft wait, which makes its clients wait.
/// Each is at most one batch of appends, so this is far more than one disk falls behind.
pub(crate) const LOG_QUEUE_MAX: usize = 1_024;
/// Waiting writes that one commit of the log takes together: they share one fsync.
pub(crate) const LOG_BATCH_MAX: usize = 256;
/// Memory that redb may keep of the log's file. Entries are kept in memory by the log itself.
pub(crate) const LOG_CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Entries after which a snapshot is made. At about 300 bytes an entry the log stays under 2 MiB,
/// and replaying that many at start takes some tens of milliseconds.
pub(crate) const SNAPSHOT_EVERY_ENTRIES: u64 = 4_096;
/// Entries before the last snapshot that stay in the log, so that a peer that was away for a
/// moment catches up by entries instead of by a snapshot.
pub(crate) const SNAPSHOT_KEEPS_ENTRIES: u64 = 1_024;
/// Entries that are purged together.
pub(crate) const PURGE_BATCH_ENTRIES: u64 = 256;
/// A peer that is further behind than this gets a snapshot.
pub(crate) const PEER_LAG_ENTRIES: u64 = SNAPSHOT_EVERY_ENTRIES + SNAPSHOT_KEEPS_ENTRIES;
/// Changes that a slow receiver of `changes()` may fall behind before it loses the oldest. Rooms
/// compare versions when they open, so a loss delays a rename and nothing else.
pub(crate) const CHANGES_KEPT: usize = 4_096;
/// How long a change of the directory waits before it is `Unavailable`. Longer than an election,
/// shorter than a client's patience.
pub(crate) const CHANGE_WAIT: Duration = Duration::from_secs(5);
/// How long the health check waits for the leader.
pub(crate) const HEALTH_WAIT: Duration = Duration::from_secs(1);
/// How long a start waits for a leader and for its own log to be applied.
pub(crate) const READY_WAIT: Duration = Duration::from_secs(30);

/// One call's request or answer on the control side: a batch of Raft entries or a piece of a
/// snapshot. Larger is refused before it is read.
pub const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One packet of gossip: it fits a QUIC datagram on every usual network.
pub const PACKET_BYTES_MAX: usize = 1_100;
/// One frame between actors of two nodes. A replay of a room is the largest: a ring of a room
/// with its envelope, or one page of members of a presence shard.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Packets of gossip that wait for its loop. One more is dropped, as the network might have done.
/// A node of 50 gets some tens a second, so this is a stall of many seconds.
pub const GOSSIP_INBOX_MAX: usize = 1_024;
/// Packets that the gossip loop takes before it looks at its timers again.
pub(crate) const GOSSIP_PACKETS_AT_ONCE: usize = 64;
/// Nodes whose words gossip keeps. What one more says is not kept; its membership is.
pub(crate) const GOSSIP_NODES_MAX: usize = 1_024;
/// A node's version in gossip. A longer one is cut: it is for people.
pub(crate) const GOSSIP_VERSION_BYTES_MAX: usize = 32;

const _: () = assert!(GOSSIP_PACKETS_AT_ONCE <= GOSSIP_INBOX_MAX);
const _: () = assert!(LOG_BATCH_MAX <= LOG_QUEUE_MAX);
const _: () = assert!(PEER_LAG_ENTRIES > SNAPSHOT_EVERY_ENTRIES);
const _: () = assert!(HEALTH_WAIT.as_millis() < CHANGE_WAIT.as_millis());
