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

/// Changes of owners that the directory remembers for operators: one for each shard.
pub(crate) const MOVES_KEPT: usize = 256;
/// Entries of one message to a peer. The largest entry is a takeover of every shard, some 2 KiB,
/// or a batch of restored rooms, so a message stays far below [`CALL_BYTES_MAX`].
pub(crate) const APPEND_ENTRIES_MAX: u64 = 64;
/// Rooms that one entry restores, each at most some 2 KiB.
pub(crate) const RESTORE_ROOMS_MAX: usize = 16;
/// One piece of a snapshot: small beside what a link carries in the time that it may take, so that
/// an interrupted transfer loses little.
pub(crate) const SNAPSHOT_PIECE_BYTES: usize = 256 * 1024;
/// The largest snapshot that a node takes from another: ten million rooms. One more is refused
/// before it is written.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// How long the receiver of a piece may take; the last one is installed within it.
pub(crate) const PIECE_WAIT: Duration = Duration::from_secs(30);
/// How long one attempt to have the leader do something takes before another one begins.
pub(crate) const FORWARD_WAIT: Duration = Duration::from_secs(2);
/// The pause between two such attempts, so that an election is not hurried by them.
pub(crate) const FORWARD_PAUSE: Duration = Duration::from_millis(50);
/// How long one attempt to reach a seed takes.
pub(crate) const SEED_WAIT: Duration = Duration::from_secs(2);
/// The pause after every seed was tried.
pub(crate) const SEED_PAUSE: Duration = Duration::from_millis(250);
/// How long a joining node tries its seeds. Longer than a lease: the former life of a node whose
/// disk was wiped must be over before it joins again.
pub(crate) const JOIN_WAIT: Duration = Duration::from_secs(60);
/// How often the leader looks at nodes and shards.
pub(crate) const DRIVER_TICK: Duration = Duration::from_millis(250);
/// How long an owner may take to release a moving shard before it is moved without it. Senders are
/// held 2 s of it.
pub(crate) const RELEASE_WAIT: Duration = Duration::from_secs(3);
/// How late a node's renewal may come in. Longer than any call takes: after that a node with a
/// lower count of lives has lost its count, and is not a former life.
pub(crate) const LATE_RENEWAL: Duration = Duration::from_secs(10);
/// Shards that move at a time, so that most of the cluster never waits for moves.
pub(crate) const MOVING_MAX: usize = 8;
/// The pause between two rounds of rebalancing, so that loads are measured where shards are now.
pub(crate) const REBALANCE_PAUSE: Duration = Duration::from_secs(10);

/// One call's request or answer on the control side: a batch of Raft entries or a piece of a
/// snapshot. Larger is refused before it is read.
pub const CALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One packet of gossip: it fits a QUIC datagram on every usual network.
pub const PACKET_BYTES_MAX: usize = 1_100;
/// One frame between actors of two nodes. A replay of a room is the largest: a ring of a room
/// with its envelope, or one page of members of a presence shard.
pub const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

const _: () = assert!(LOG_BATCH_MAX <= LOG_QUEUE_MAX);
const _: () = assert!(PEER_LAG_ENTRIES > SNAPSHOT_EVERY_ENTRIES);
const _: () = assert!(HEALTH_WAIT.as_millis() < CHANGE_WAIT.as_millis());
const _: () = assert!(SNAPSHOT_PIECE_BYTES * 2 < CALL_BYTES_MAX);
const _: () = assert!(FORWARD_WAIT.as_millis() < CHANGE_WAIT.as_millis());
const _: () = assert!(MOVING_MAX <= MOVES_KEPT);
