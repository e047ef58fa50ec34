//! Every bound of this crate, with its reason. What happens at a bound stands in its doc.

use std::time::Duration;

use parlance_actors::ports::peers::CHANNELS;

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
/// How long another node may take to name its busiest rooms: it may have to look for a second, and who
/// asks waits for the slowest.
pub(crate) const BUSIEST_WAIT: Duration = Duration::from_millis(2_500);
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
/// How long a node that comes back waits for the word of those that it knows. The leader answers in
/// milliseconds; where nobody does, this is what a start loses.
pub(crate) const RETURN_WAIT: Duration = Duration::from_secs(1);
/// How often the leader looks at nodes and shards.
pub(crate) const DRIVER_TICK: Duration = Duration::from_millis(250);
/// A leader's look that comes so late says that this node stood still: what it did not hear
/// meanwhile is no silence of others.
pub(crate) const DRIVER_STALL: Duration = Duration::from_millis(500);
/// How much later than the one before each voter stands for election when gossip says that the
/// leader is dead: longer than an election takes on a LAN, with its two writes to a disk.
pub(crate) const CAMPAIGN_STAGGER: Duration = Duration::from_millis(300);
/// How often a voter stands while nobody is elected: the former leader's lease with others may have
/// had to run out first.
pub(crate) const CAMPAIGN_AGAIN: Duration = Duration::from_millis(250);
/// How often the leader's task looks while it waits for a quorum, an election or a doubted node.
pub(crate) const DRIVER_TICK_SOON: Duration = Duration::from_millis(50);
/// How long an owner may take to release a moving shard before it is moved without it. Senders are
/// held 2 s of it.
pub(crate) const RELEASE_WAIT: Duration = Duration::from_secs(3);
/// How much sooner than usual a renewal that failed is repeated: a leader that was just elected has
/// no quorum for a moment.
pub(crate) const RENEWALS_AFTER_A_FAILED_ONE: u32 = 5;
/// How late a node's renewal may come in. Longer than any call takes: after that a node with a
/// lower count of lives has lost its count, and is not a former life.
pub(crate) const LATE_RENEWAL: Duration = Duration::from_secs(10);
/// Shards that move at a time, so that most of the cluster never waits for moves.
pub(crate) const MOVING_MAX: usize = 8;
/// Shards that move at a time away from a node that drains: it is about to end, and each second that
/// it takes is one in which the rest may be lost to it.
pub(crate) const DRAINING_MAX: usize = 64;
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

/// Packets that the gossip loop takes before it looks at its timers again.
pub(crate) const GOSSIP_PACKETS_AT_ONCE: usize = 64;
/// Nodes whose words gossip keeps. What one more says is not kept; its membership is.
pub(crate) const GOSSIP_NODES_MAX: usize = 1_024;
/// A node's version in gossip. A longer one is cut: it is for people.
pub(crate) const GOSSIP_VERSION_BYTES_MAX: usize = 32;

/// How often a node says what it does: to the leader, to gossip, and to its links.
pub(crate) const WIRING_TICK: Duration = Duration::from_secs(1);
/// How long names of nodes are looked up at most. Gossip goes on without those that are not found.
pub(crate) const NAMES_WAIT: Duration = Duration::from_secs(2);
/// Names are looked up again after so many ticks: a node may have got another address.
pub(crate) const NAMES_AGAIN_TICKS: u32 = 10;
/// How long a start waits for its own advertised name to be known.
pub(crate) const OWN_NAME_WAIT: Duration = Duration::from_secs(30);

const _: () = assert!(NAMES_WAIT.as_millis() < OWN_NAME_WAIT.as_millis());
const _: () = assert!(GOSSIP_PACKETS_AT_ONCE <= PACKETS_QUEUE_MAX);
const _: () = assert!(LOG_BATCH_MAX <= LOG_QUEUE_MAX);
const _: () = assert!(PEER_LAG_ENTRIES > SNAPSHOT_EVERY_ENTRIES);
const _: () = assert!(HEALTH_WAIT.as_millis() < CHANGE_WAIT.as_millis());

/// A link over which nothing came for this long is dead. Longer than a pause of a busy machine,
/// shorter than a lease.
pub const LINK_IDLE: Duration = Duration::from_secs(2);
/// A link over which nothing is said says this often that it lives: four times within
/// [`LINK_IDLE`], so that three lost packets in a row do no harm.
pub const LINK_KEEP_ALIVE: Duration = Duration::from_millis(500);
/// How long a handshake and the hellos take at most, on both sides. A dial that takes longer failed.
pub(crate) const HANDSHAKE_WAIT: Duration = Duration::from_secs(2);
/// How long names are looked up at most before a dial failed.
pub(crate) const LOOKUP_WAIT: Duration = Duration::from_secs(2);
/// Addresses that one dial tries. A name of a headless service has one for each node; what is over
/// this is not tried in this dial.
pub(crate) const DIAL_ADDRESSES_MAX: usize = 32;
/// The pause before the first repeated dial is drawn from zero to this.
pub(crate) const DIAL_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The pause before a repeated dial is drawn from zero to at most this: a peer that came back is
/// found within it, and one that stays away costs about two dials a second.
pub(crate) const DIAL_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Inbound connections of one endpoint, those in their handshake included. Every peer has four to
/// the control endpoint and one to the data endpoint. One more is refused.
pub(crate) const CONNECTIONS_MAX: usize = 1_024;
/// Handshakes from addresses that have not shown that they are theirs. Above it, they are asked to
/// show it first, so that forged addresses cost no cryptography.
pub(crate) const HANDSHAKES_UNPROVEN_MAX: usize = 64;
/// A hello: what it holds today is under a seventh of it, the rest is for later versions.
pub(crate) const HELLO_BYTES_MAX: usize = 256;
/// Places that calls and packets went to and that are remembered. At the bound those that are not
/// connected are forgotten first, and a call to a new one fails when all are.
pub(crate) const LINES_MAX: usize = 4_096;
/// Streams that a peer may have open on one control connection: calls that wait for their answer.
/// One more waits on the caller's side until its deadline.
pub(crate) const CALLS_PER_CONNECTION_MAX: u32 = 64;
/// Calls of Raft that are answered at the same time, over all connections. One more is refused.
pub(crate) const CALLS_MAX: usize = 256;
/// Pieces of snapshots that are answered at the same time. They are large and never urgent.
pub(crate) const SNAPSHOT_CALLS_MAX: usize = 8;
/// How long a request may take to come in, and how long its answer may take to be made and sent.
pub(crate) const CALL_SERVE_WAIT: Duration = Duration::from_secs(30);
/// Packets of gossip that wait for the gossip loop. One more is dropped and counted.
pub(crate) const PACKETS_QUEUE_MAX: usize = 1_024;
/// Bytes of datagrams that wait to be sent on one connection; the oldest give way.
pub(crate) const DATAGRAMS_BYTES_MAX: usize = 256 * 1024;
/// How often the certificate's files are looked at.
pub(crate) const IDENTITY_POLL: Duration = Duration::from_secs(2);
/// Refusals from one address for one reason are logged at most this often.
pub(crate) const REFUSALS_EVERY: Duration = Duration::from_secs(60);
/// Addresses whose refusals are remembered. At the bound nothing new is logged until some are old.
pub(crate) const REFUSALS_MAX: usize = 1_024;
/// How long the end of an endpoint waits for its peers to hear of it.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Bytes that wait on one channel to a peer. One frame more interrupts the channel. At a gigabit a
/// second it is under a tenth of a second.
pub const CHANNEL_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Above this fill a whisper is dropped.
pub const CHANNEL_WHISPER_BYTES_MAX: usize = CHANNEL_BYTES_MAX / 4;
/// What each frame in a queue costs beside its bytes, so that many empty ones are bounded too.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 64;
/// Frames that one write takes together: enough to fill many packets, few enough that the array of
/// their pieces stays small.
pub(crate) const WRITE_FRAMES_MAX: usize = 256;
/// Bytes that one write takes together, so that what is being written stays small beside what
/// waits. A larger frame goes alone.
pub(crate) const WRITE_BYTES_MAX: usize = 512 * 1024;
/// A frame up to this is copied beside its neighbours to be written with them; a larger one is
/// written from where it is.
pub(crate) const WRITE_COPY_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a peer may send on one stream before they are taken: the flow control of a channel.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Bytes that a peer may send on one connection before they are taken.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Packets of a data connection that may arrive before they must be acknowledged; after 25 ms they are
/// in any case. Each connection carries frames one way only, so that an acknowledgement is a packet
/// of its own: for every second packet, as QUIC has it, they would be a third of all. Under the first
/// congestion window of ten packets, so that a young connection does not wait for one.
pub(crate) const PACKETS_UNACKNOWLEDGED_MAX: u8 = 8;
/// Streams that a peer may have open on one data connection: one for each channel, and as many that
/// were reset and are not forgotten yet, several times over.
pub(crate) const CHANNEL_STREAMS_MAX: u32 = 32;
/// What one read takes from a stream at most.
pub(crate) const READ_BYTES_MAX: usize = 256 * 1024;
/// How long a stream may take to say which channel it is.
pub(crate) const STREAM_HEADER_WAIT: Duration = Duration::from_secs(2);

/// How long a direct dial may take before a way over another node is tried beside it: longer than
/// one takes in a data centre, and short enough that both together find a way within a lease.
pub(crate) const RELAY_AFTER: Duration = Duration::from_millis(300);
/// How long a way over another node is held at least before a direct one is looked for, because each
/// change of the way interrupts the channels.
pub(crate) const RELAY_HOLD: Duration = Duration::from_secs(5);
/// How long a direct connection must stand before it takes the place of a relayed one: one that died
/// right after its handshake is known to be dead by then.
pub(crate) const DIRECT_PROVEN: Duration = Duration::from_millis(2_500);
/// Relays that one dial asks. Each is connected, so a refusal comes at once.
pub(crate) const RELAYS_TRIED_MAX: usize = 4;
/// How long a passage may take to be opened: the relay may have to dial its target.
pub(crate) const PASSAGE_WAIT: Duration = Duration::from_secs(3);
/// How long a passage outlives its connection, so that the far end hears of the end.
pub(crate) const PASSAGE_LINGER: Duration = Duration::from_millis(500);
/// Passages that one node may have carried by another: three for each node that it does not reach.
pub(crate) const PASSAGES_PER_ORIGIN_MAX: usize = 16;
/// Passages that one endpoint carries for others. One more is refused, and the origin asks another
/// relay.
pub(crate) const PASSAGES_MAX: usize = 64;
/// Streams in both directions that a peer may open on one connection of the data endpoint: only
/// passages are such streams.
pub(crate) const PASSAGES_PER_CONNECTION_MAX: u32 = 64;
/// A packet on a passage: what QUIC sends where it knows nothing of the path is 1,200 bytes.
pub(crate) const PASSAGE_PACKET_BYTES_MAX: usize = 1_452;
/// Packets that wait at each step of a passage, under a megabyte. One more is dropped, and the
/// connection on the passage slows down.
pub(crate) const PASSAGE_PACKETS_MAX: usize = 512;
/// Packets that one write on a passage takes together.
pub(crate) const PASSAGE_PACKETS_AT_ONCE: usize = 64;
/// Packets of all passages that came in and that QUIC has yet to take. One more is dropped.
pub(crate) const PASSAGES_ARRIVED_MAX: usize = 2_048;

const _: () = assert!(DIRECT_PROVEN.as_millis() > LINK_IDLE.as_millis());
const _: () = assert!(HANDSHAKE_WAIT.as_millis() < PASSAGE_WAIT.as_millis());
const _: () = assert!(PASSAGES_PER_ORIGIN_MAX < PASSAGES_MAX);
// A relay's connection to one target may carry everybody's.
const _: () = assert!(PASSAGES_MAX <= PASSAGES_PER_CONNECTION_MAX as usize);
const _: () = assert!(PASSAGES_MAX <= CALLS_PER_CONNECTION_MAX as usize);
const _: () = assert!(LINK_KEEP_ALIVE.as_millis() * 3 < LINK_IDLE.as_millis());
const _: () = assert!(FRAME_BYTES_MAX + FRAME_OVERHEAD_BYTES <= CHANNEL_BYTES_MAX);
// Channels from which nothing is taken yet do not hold up the others.
const _: () = assert!(STREAM_WINDOW_BYTES * (CHANNELS as u32) < CONNECTION_WINDOW_BYTES);
const _: () = assert!(PACKET_BYTES_MAX * 8 <= DATAGRAMS_BYTES_MAX);
const _: () = assert!(SNAPSHOT_PIECE_BYTES * 2 < CALL_BYTES_MAX);
const _: () = assert!(FORWARD_WAIT.as_millis() < CHANGE_WAIT.as_millis());
const _: () = assert!(MOVING_MAX <= DRAINING_MAX && DRAINING_MAX <= MOVES_KEPT);
