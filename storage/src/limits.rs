//! Every bound of this crate that is not the domain's, with its reason.

use std::time::Duration;

/// Writers of history on PostgreSQL. What gathers while one commits goes together, which makes the fewest
/// commits: with four, messages cost PostgreSQL up to 1.8 times as much, and waited longer. One takes tens of
/// thousands of rows a second; more of them help where a connection's process is at its core's limit.
pub const LANES_POSTGRES: usize = 1;
/// One lane a shard is the most that can ever work.
pub const LANES_MAX: usize = 256;
/// Connections for reads. A read takes about a millisecond, so this is thousands a second.
pub const READ_CONNECTIONS: u32 = 8;
/// One in so many of the connections to the primary is for lists (of rooms, of members) at most: a page of
/// rooms may take 50 ms, and what messages need, about a millisecond each, is to find a connection.
pub const LISTS_SHARE: u32 = 2;
/// How long a list waits for its turn before its client is told to come again. Short enough that who asked
/// still waits, and some hundred lists long.
pub const LIST_WAIT: Duration = Duration::from_secs(2);
/// How long a read waits for a connection before it is refused as unavailable.
pub const ACQUIRE_WAIT: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Servers that a URL may name: a primary and its standbys.
pub const SERVERS_MAX: usize = 4;
/// How long, after one primary answered, the other servers of a URL have to say that they are a
/// later one.
pub const OTHER_PRIMARY_WAIT: Duration = Duration::from_millis(300);
/// Attempts to open a room while the lane and the reads reach different databases, as they may in
/// the moment of a failover.
pub const OPEN_TRIES: u32 = 3;
/// Different reads of history that wait to begin and may be shared. Beyond it a read goes alone.
pub const FLIGHTS_MAX: usize = 1_024;
/// Violations of one kind and tenant that an audit lists; one is enough to fail.
pub const AUDIT_FAULTS_MAX: i64 = 100;
/// Rooms that `recover` reads at once: some hundred kilobytes.
pub const PROJECTED_ROOMS_AT_ONCE: i64 = 1_000;
/// How long a statement may take until its connection is given up as lost. Above the
/// lock timeout, so that the database's own, unambiguous answer comes first.
pub const STATEMENT_WAIT: Duration = Duration::from_secs(10);
/// How long a lane waits for a lock, a fence's above all, before it ends the lane that holds it.
pub const LOCK_WAIT: Duration = Duration::from_secs(2);
/// How often [`LOCK_WAIT`] passes until a fence that is still held is given up. Its holder's connections
/// are ended each time but the last.
pub const RAISE_TRIES: u32 = 5;
/// The first pause before fences that are held are tried again.
pub const RAISE_PAUSE_MIN: Duration = Duration::from_millis(2);
/// The longest such pause. A former owner that goes on writing leaves its fence free between two batches
/// only, so it is tried many times within [`LOCK_WAIT`]; each try costs the lane a third of a millisecond.
pub const RAISE_PAUSE_MAX: Duration = Duration::from_millis(20);
/// Attempts in a row at a batch that keeps colliding with rows it did not know of. Afterwards it is
/// taken apart, so that one bad row cannot stop a lane for ever.
pub const COLLISIONS_MAX: u32 = 3;
/// A pool's connection that rested for this long is asked whether it lives before it is used again. One
/// that is in use is not: that would be a round trip more for every statement. The statement that meets a
/// connection which ended since is refused for now.
pub const IDLE_ASKED: Duration = Duration::from_millis(100);
/// Batches that look their keys up before they insert, after one that did not met a key that was
/// in the log. Who sends old keys again and again makes one batch in so many be written twice.
pub const PROBES_AFTER_REPEAT: u32 = 64;
/// The first pause between attempts to connect.
pub const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts to connect, so that recovery follows the database within it.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// A lane without a database takes appends for this long, so that a short cut passes unnoticed;
/// afterwards it refuses new ones.
pub const AWAY_GRACE: Duration = Duration::from_secs(1);
/// How long an opening room waits for its lane.
pub const OPEN_WAIT: Duration = Duration::from_secs(10);
/// How long closing waits for a database that is away before what waits is settled as failed.
/// Below the domain's `DRAIN`.
pub const CLOSE_WAIT: Duration = Duration::from_secs(3);
/// The newest events among which a sender's last message is looked for before an index on all of
/// the sender's events is read.
pub const LAST_MESSAGE_RECENT: u64 = 2_000;
/// Pinned messages that are looked up for a list of pins, those that were deleted since included.
pub const PINS_LOOKED_AT: usize = 128;
/// How long a health check may take.
pub const HEALTH_WAIT: Duration = Duration::from_secs(2);
/// How long SQLite waits for another process's lock.
pub const SQLITE_BUSY_WAIT: Duration = Duration::from_secs(5);
/// A migration waits this long for another node's.
pub const MIGRATION_LOCK_WAIT: Duration = Duration::from_secs(60);
/// How long a migration of PostgreSQL waits for a table. Everybody else who wants it, appends for
/// one, waits behind it meanwhile: under the time that a lane goes on accepting.
pub const MIGRATION_TABLE_WAIT: Duration = Duration::from_millis(500);
/// After that it lets them pass before it tries again.
pub const MIGRATION_PAUSE: Duration = Duration::from_secs(1);
/// Some minutes of trying. A table that is in use for longer is an operator's to look at.
pub const MIGRATION_TRIES_MAX: u32 = 200;
/// A node's name inside a connection's `application_name`, which PostgreSQL cuts at 63 bytes.
pub const NODE_NAME_BYTES_MAX: usize = 32;
/// How long a change of an account waits for another one of the same user, and how long one may
/// pause between its statements. Each takes milliseconds; longer means that a node hangs.
pub const ACCOUNT_LOCK_WAIT: Duration = Duration::from_secs(3);
/// Users that one statement looks up: a page of members. A power of two.
pub const USERS_AT_ONCE_MAX: usize = 256;
/// Rows that a sweep of the accounts' tables deletes in one statement: some milliseconds of
/// SQLite's one writer.
pub const SWEEP_ROWS_MAX: i64 = 1_000;
/// Statements of one sweep for each table: a million rows. More is left for the next sweep.
pub const SWEEP_BATCHES_MAX: usize = 1_000;
/// Rows that resealing reads, and rewrites, at once: at most 16 MiB of bodies, and row locks
/// or SQLite's writer for some milliseconds.
pub const RESEAL_ROWS_MAX: i64 = 256;
/// Walks over the history for rows that somebody else was changing in the one before.
pub const RESEAL_PASSES_MAX: u32 = 3;
/// Rows that do not open and are named in the result.
pub const RESEAL_UNREADABLE_MAX: usize = 20;

const _: () = assert!(LOCK_WAIT.as_millis() < STATEMENT_WAIT.as_millis());
const _: () = assert!(RAISE_PAUSE_MIN.as_millis() <= RAISE_PAUSE_MAX.as_millis());
const _: () = assert!(RAISE_PAUSE_MAX.as_millis() * 50 <= LOCK_WAIT.as_millis());
const _: () = assert!(CLOSE_WAIT.as_millis() < parlance_actors::limits::DRAIN.as_millis());
const _: () = assert!(BACKOFF_MIN.as_millis() <= BACKOFF_MAX.as_millis());
const _: () = assert!(parlance_actors::limits::PINS_MAX <= PINS_LOOKED_AT);
const _: () = assert!(USERS_AT_ONCE_MAX.is_power_of_two());
