//! Every bound of the domain, with its reason. What happens at a bound stands in its doc.

use std::time::Duration;

/// A message's body: 16 KiB of UTF-8. Larger is refused with `too_large`. Long enough for a
/// pasted log, small enough that a full outbox still holds 16 of them.
pub const BODY_BYTES_MAX: usize = 16 * 1024;
/// An end-to-end encrypted body: ciphertext in base64 and its envelope.
pub const ENC_BODY_BYTES_MAX: usize = 64 * 1024;
/// An emoji or its short name. The longest ZWJ sequences take under 40 bytes.
pub const EMOJI_BYTES_MAX: usize = 64;
/// A room's name, in characters.
pub const ROOM_NAME_CHARS_MAX: usize = 80;
/// A room's topic, in characters.
pub const TOPIC_CHARS_MAX: usize = 500;
/// A name to be shown, in characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 50;
/// What a user says of themselves, in characters.
pub const ABOUT_CHARS_MAX: usize = 200;
/// A registered username, in characters.
pub const USERNAME_CHARS_MIN: usize = 3;
/// A registered username, in characters.
pub const USERNAME_CHARS_MAX: usize = 50;
/// Slow mode, in seconds: six hours, as elsewhere in the field.
pub const SLOW_MODE_SECONDS_MAX: u32 = 6 * 60 * 60;

/// Members of one tenant's room list or of a room that one call returns.
pub const LIST_MAX: u16 = 200;
/// Unread messages of a room that are counted, and mentions among them: clients show more as "99+".
pub const UNREAD_MAX: u16 = 100;
/// Names that one message mentions: the first ones. Each costs its commit two look-ups, and who calls
/// more by name is talking to everybody.
pub const MENTIONS_MAX: usize = 20;
/// The newest events of a room among which unread messages are counted, so that a room full of
/// reactions or of the reader's own messages costs no more than this. It takes nine such events for
/// each message of another before a count comes out too low.
pub const UNREAD_EVENTS_MAX: u64 = 1_000;
/// Members of a public room that are counted for who browses: above it clients show "1000+". Each
/// costs an entry of an index, for each room of a page.
pub const MEMBERS_COUNTED_MAX: u32 = 1_000;
/// Pinned messages of a room that one call returns, the newest pins first.
pub const PINS_MAX: usize = 100;
/// The newest pin events of a room that are read for them. What was pinned before so many pins and
/// unpins is not found any more.
pub const PIN_EVENTS_MAX: u32 = 1_000;
/// Events in one page of history.
pub const PAGE_MAX: u16 = 200;
/// A page of history by size: what is over it is left for the next page. A page of 200 ordinary
/// messages has a tenth of it. One entry always fits.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Edits, deletes, reactions and pins that one folded page takes into account, the newest first.
/// A page of 200 messages with 50 reactions each fits.
pub const PAGE_NOTES_MAX: u32 = 10_000;

/// Changes of one session that wait for their answer. One more is refused with `busy`.
pub const SESSION_IN_FLIGHT_MAX: u32 = 64;
/// Requests that a session has taken from its socket and not finished. One more is refused with
/// `busy`. Reads and subscribes count here beside the changes.
pub const SESSION_REQUESTS_MAX: u32 = 2 * SESSION_IN_FLIGHT_MAX;
/// Rooms that one session follows. 5,000 rooms are more than any person reads; each costs about 100 bytes.
pub const SESSION_ROOMS_MAX: usize = 5_000;
/// Users whose presence one session watches.
pub const SESSION_WATCHES_MAX: usize = 1_000;
/// Rooms in one `subscribe` frame.
pub const SUBSCRIBE_ROOMS_MAX: usize = 200;
/// Users in one `presence` frame.
pub const WATCH_USERS_MAX: usize = 200;
/// Sessions of one user on one node. The oldest gives way with 4006, so that a client that leaks
/// connections hurts only itself.
pub const USER_SESSIONS_MAX: usize = 64;
/// Events of a room that a subscribe replays one by one. A longer replay becomes a `gap`.
pub const REPLAY_EVENTS_MAX: u64 = 200;
/// How many rooms of one subscribe frame are asked at the same time, so that a reconnect with
/// thousands of rooms does not take every database connection.
pub const SUBSCRIBE_PARALLEL_MAX: usize = 16;
/// How long all rooms of one subscribe frame have to answer; a session serves its frames in turn.
/// Longer than one room has, so that a single bad one does not cost the others their answer.
pub const SUBSCRIBE_WAIT: Duration = Duration::from_secs(15);

/// Frames that wait for a socket, by size. At the bound durable events are cut and marked with a
/// `gap`; typing and presence are shed at a quarter of it.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Above this fill ephemeral frames (typing, presence) are shed.
pub const OUTBOX_EPHEMERAL_BYTES_MAX: usize = OUTBOX_BYTES_MAX / 4;
/// Answers have room above the events: a session with all its requests open gets every answer
/// even when the events fill the outbox. Above it the session is closed as a slow consumer.
pub const OUTBOX_ANSWERS_BYTES_MAX: usize = 2 * OUTBOX_BYTES_MAX + HISTORY_FRAME_BYTES_MAX;
/// A history page on the socket: the largest frame that the server sends, JSON's names included.
pub const HISTORY_FRAME_BYTES_MAX: usize = 2 * PAGE_BYTES_MAX;
/// What each queued frame costs beside its bytes.
pub const OUTBOX_FRAME_OVERHEAD_BYTES: usize = 64;

/// Requests that wait in a room's mailbox. One more is refused with `busy`: ractor's mailboxes
/// are unbounded, so this is the bound. At 10,000 requests a second it is under half a second.
pub const ROOM_MAILBOX_MAX: u32 = 4_096;
/// Changes of one room that wait for their commit. One more is refused with `busy`. Two batches keep a
/// lane busy, and a quarter of its queue leaves the others theirs.
pub const ROOM_IN_FLIGHT_MAX: usize = LANE_QUEUE_MAX / 4;
/// Waiters on one change in flight (repeats of its key). One more is refused with `busy`.
pub const KEY_WAITERS_MAX: usize = 16;
/// Requests of one user that wait while the room reads what it needs to decide them.
pub const ROOM_PARKED_PER_USER_MAX: usize = 128;
/// Recent events that a room keeps for replays.
pub const RING_EVENTS_MAX: usize = 256;
/// Recent events that a room keeps for replays, by size.
pub const RING_BYTES_MAX: usize = 256 * 1024;
/// Recent events that a feed keeps to bridge a subscribe and its first live event.
pub const FEED_RING_EVENTS_MAX: usize = 64;
/// The same by size of their contents, because each is kept with its frames for as long as
/// anybody follows the room. A join that needs more asks the room again.
pub const FEED_RING_BYTES_MAX: usize = RING_BYTES_MAX / 2;
/// The keys of recent changes that a room answers without the database.
pub const WINDOW_KEYS_MAX: usize = 1_024;
/// Members whose role a room keeps in memory; the least recently used gives way.
pub const MEMBER_CACHE_MAX: usize = 4_096;
/// Targets (for edits, deletes, reactions) that a room keeps in memory.
pub const TARGET_CACHE_MAX: usize = 256;
/// Rooms alive on one node. One more waits for an idle one to go: `busy`.
pub const ROOMS_ALIVE_MAX: usize = 1_000_000;
/// A room without followers and requests goes to sleep after this long.
pub const ROOM_IDLE: Duration = Duration::from_secs(120);
/// Pause before a room that failed to open is tried again; until then requests are `unavailable`.
pub const ROOM_REOPEN: Duration = Duration::from_millis(500);

/// Requests of one node that wait for answers of others, a quarter of them for any one node. One
/// more is refused with `busy`.
pub const PEER_REQUESTS_MAX: usize = 65_536;
/// How long a request waits for another node before its client is told to repeat it: longer than
/// the owner lets it wait for its commit.
pub const PEER_ANSWER_WAIT: Duration = Duration::from_secs(12);
/// How long a room's owner takes to say whether a node follows it, before it is told again: it may
/// have to open the room first, and an answer may be lost.
pub const FOLLOW_ANSWER_WAIT: Duration = Duration::from_secs(3);
/// Requests of one node that wait while their shards move or have no owner that can be reached. One
/// more is refused with `busy`.
pub const HELD_REQUESTS_MAX: usize = 16_384;
/// Bytes of bodies in them: many short messages, or some hundred of the longest.
pub const HELD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a change waits behind its session's own subscribe to the room, or for what this node has to ask about it.
/// Clients take the connection for dead after 15 s without an answer, of which the commit may take ten.
pub const BEHIND_SUBSCRIBE_MAX: Duration = Duration::from_secs(2);
/// How long a request waits while its shard moves before its client is told to repeat it.
pub const HELD_MAX: Duration = Duration::from_secs(2);
/// `retry_after` of a request whose room was moving, or lost its owner: soon, because then it
/// waits for the next owner.
pub const MOVED_RETRY: Duration = Duration::from_millis(100);

/// Events that wait in one lane. Full means `busy`. A lane commits 512 at a time, so this is
/// eight batches, some tens of milliseconds.
pub const LANE_QUEUE_MAX: usize = 4_096;
/// Events in one batch: above this a statement no longer gets cheaper for each event.
pub const LANE_BATCH_EVENTS_MAX: usize = 512;
/// Bytes of bodies in one batch, so that one statement stays far below what a database takes.
pub const LANE_BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A session sends this many changes a second, sustained.
pub const SEND_RATE_PER_SECOND: u32 = 50;
/// A session sends this many changes in a burst.
pub const SEND_BURST: u32 = 100;
/// Typing and presence frames that a session may send a second. More typing is dropped without a
/// word, because the next one says the same; more presence is refused with `rate_limited`.
pub const EPHEMERAL_RATE_PER_SECOND: u32 = 5;
/// Frames refused in a row through the client's own fault after which a session is closed with 4004.
pub const REFUSALS_MAX: u32 = 1_000;
/// How long a change waits for its commit before the client is told `unavailable` and to repeat it.
pub const COMMIT_WAIT: Duration = Duration::from_secs(10);
/// `retry_after` of `unavailable`.
pub const UNAVAILABLE_RETRY: Duration = Duration::from_millis(1_000);
/// `retry_after` of a list that waited for its turn in vain, for seconds already.
pub const LISTS_RETRY: Duration = Duration::from_millis(1_000);
/// `retry_after` of `busy`.
pub const BUSY_RETRY: Duration = Duration::from_millis(200);

/// What the server tells clients to send something at least this often.
pub const HEARTBEAT: Duration = Duration::from_secs(30);
/// A session that sent nothing for this long is closed: two heartbeats and a half.
pub const SESSION_IDLE: Duration = Duration::from_secs(75);
/// A socket that takes nothing for this long is closed with `slow_consumer`.
pub const SLOW_CONSUMER: Duration = Duration::from_secs(30);
/// Presence goes to its watchers at most this often for a user.
pub const PRESENCE_DEBOUNCE: Duration = Duration::from_millis(500);
/// A user whose last session ended is still online for this long, so that a reconnect does not flicker.
pub const PRESENCE_GRACE: Duration = Duration::from_secs(3);
/// Presence to another node about one user shard is gathered for this long after the last frame
/// of it on the same channel. What is gathered holds one entry a user, the newest.
pub const PRESENCE_GATHER: Duration = Duration::from_millis(200);
/// How long after a failed frame presence is tried again, and how often a node that owes its
/// presence is asked for it.
pub const PRESENCE_RETRY: Duration = Duration::from_millis(500);
/// For how long a node that became the home of a user shard tells nobody that somebody is offline:
/// the others tell it whom they have first. Also how long it keeps what a node said whose link broke.
pub const PRESENCE_SETTLE: Duration = Duration::from_secs(2);
/// Users in one list of a presence frame between nodes. More go into the next frame.
pub const PRESENCE_BATCH_MAX: usize = 1_024;
/// Notices of users' own feeds in one frame between nodes. More go into the next frame.
pub const PRESENCE_WORDS_BATCH_MAX: usize = 512;
/// Notices of users' own feeds that wait for one way to another node. More are shed: clients read
/// their rooms and marks again whenever they connect.
pub const PRESENCE_WORDS_MAX: usize = 1_024;
/// For how long a home keeps notices of users' own feeds for a node that has its first session of
/// the user just now, and has yet to say so: its word for it is gathered, or tried again. Of one
/// user shard at most [`PRESENCE_WORDS_MAX`], the newest.
pub const PRESENCE_RECENT: Duration = Duration::from_secs(2);
/// A presence frame between nodes: three full lists of users, or one of notices, fit.
pub const PRESENCE_FRAME_BYTES_MAX: usize = 96 * 1024;
/// For how long a refresh token can be shown again whose successor was never shown. An answer that was
/// lost is asked for again at once or when the network is back, and a thief has as little time.
pub const REFRESH_AGAIN: Duration = Duration::from_secs(10 * 60);
/// Rooms that a node names when it is asked for its busiest, and that the cluster's list has. More than
/// fit on a screen say nothing more.
pub const BUSIEST_ROOMS_MAX: usize = 20;
/// Rates of rooms are taken over at least this long: a shorter time says more of chance.
pub const BUSIEST_OVER_MIN: Duration = Duration::from_secs(1);
/// Rates of rooms reach back by one to two of these while somebody looks again and again.
pub const BUSIEST_MARK: Duration = Duration::from_secs(5);
/// Who looks for the first time in so long begins anew, and waits for [`BUSIEST_OVER_MIN`].
pub const BUSIEST_ANEW: Duration = Duration::from_secs(20);
/// Spans of traced changes that wait to be sent on. More are dropped and counted: with every change
/// traced, some seconds of a busy node.
pub const SPANS_MAX: usize = 8_192;
/// Traced frames on their way through one outbox. The span of one more is of another follower, or of none.
pub const OUTBOX_TRACED_MAX: usize = 8;
/// All of a drain: in-flight changes are answered or refused within it.
pub const DRAIN: Duration = Duration::from_secs(4);

const _: () = assert!(ENC_BODY_BYTES_MAX + 1024 <= OUTBOX_BYTES_MAX);
const _: () = assert!(COMMIT_WAIT.as_secs() < SUBSCRIBE_WAIT.as_secs());
const _: () = assert!(BODY_BYTES_MAX <= ENC_BODY_BYTES_MAX);
const _: () = assert!(ENC_BODY_BYTES_MAX < PAGE_BYTES_MAX);
const _: () = assert!(FEED_RING_EVENTS_MAX <= RING_EVENTS_MAX);
const _: () = assert!(ENC_BODY_BYTES_MAX <= FEED_RING_BYTES_MAX);
const _: () = assert!(REPLAY_EVENTS_MAX <= RING_EVENTS_MAX as u64);
const _: () = assert!(REPLAY_EVENTS_MAX <= PAGE_MAX as u64);
const _: () = assert!(PINS_MAX <= PIN_EVENTS_MAX as usize);
const _: () = assert!(UNREAD_MAX as u64 <= UNREAD_EVENTS_MAX);
const _: () = assert!(LANE_BATCH_EVENTS_MAX <= LANE_QUEUE_MAX);
const _: () = assert!(2 * LANE_BATCH_EVENTS_MAX <= ROOM_IN_FLIGHT_MAX);
const _: () = assert!(SEND_BURST >= SESSION_IN_FLIGHT_MAX);
const _: () = assert!(PEER_ANSWER_WAIT.as_millis() > COMMIT_WAIT.as_millis());
const _: () = assert!(BUSIEST_OVER_MIN.as_millis() < BUSIEST_MARK.as_millis());
const _: () = assert!(BUSIEST_MARK.as_millis() < BUSIEST_ANEW.as_millis());
const _: () = assert!(SESSION_IDLE.as_millis() > 2 * HEARTBEAT.as_millis());
const _: () = assert!(PRESENCE_BATCH_MAX * (21 + 20 + 20) + 64 <= PRESENCE_FRAME_BYTES_MAX);
const _: () = assert!(PRESENCE_WORDS_BATCH_MAX * 80 <= PRESENCE_FRAME_BYTES_MAX);
const _: () =
    assert!(PRESENCE_GATHER.as_millis() + PRESENCE_RETRY.as_millis() < PRESENCE_RECENT.as_millis());
const _: () = assert!(PRESENCE_SETTLE.as_millis() < PRESENCE_GRACE.as_millis());
// After a failure: what is stale is dropped or the new home settles, the grace is counted from the
// failure, and a tell waits for one debounce and two gatherings.
const _: () = assert!(
    PRESENCE_GRACE.as_millis() + PRESENCE_DEBOUNCE.as_millis() + 2 * PRESENCE_GATHER.as_millis()
        < 5_000
);
