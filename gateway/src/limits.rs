//! Every bound of the gateway, with its reason. The domain's own bounds are in `parlance_actors::limits`.

use std::time::Duration;

use parlance_actors::limits::{BODY_BYTES_MAX, ENC_BODY_BYTES_MAX, HEARTBEAT, SESSION_IDLE};

/// A request body. A message of 16 KiB takes up to six times as much when every character is
/// escaped; an encrypted one of 64 KiB is base64 and takes no escapes. Over it: `too_large`.
pub const HTTP_BODY_BYTES_MAX: usize = 128 * 1024;
/// A client frame, its fragments together. The same reasoning; over it: `too_large`, then 4002.
pub const FRAME_BYTES_MAX: usize = HTTP_BODY_BYTES_MAX;
/// The request line and all headers. Over it hyper answers 431 and closes.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// What a socket reads at once: frames are small, and every idle socket pays for this.
pub const SOCKET_READ_BYTES: usize = 1024;
/// Sockets that are written to before other work comes first: some microseconds for a frame each, and at
/// worst a full outbox each.
pub const WRITES_IN_A_ROW_MAX: usize = 32;
/// Connections of a crowd that are opened, and sockets whose clients went that are cleared away, for each thread
/// in one round of the scheduler. Each takes some tens of microseconds, and those of thousands, when a balancer
/// fails, would all stand in the queue before everybody else's messages, at each step of their way.
pub const CROWD_IN_A_ROUND: usize = 2;
/// Malformed frames in a row after which a socket is closed with 4002: a client that does not
/// speak the protocol at all, and not one with a slip.
pub const MALFORMED_FRAMES_MAX: u32 = 10;
/// How long an end in good order may take: a closed socket is drained for so long, that its close
/// frame is not lost to a reset.
pub const LINGER: Duration = Duration::from_secs(1);
/// How much of it is drained, and of a body that is too large.
pub const LINGER_BYTES_MAX: usize = 4 * FRAME_BYTES_MAX;
/// Addresses whose rate is remembered; the least recently seen gives way (and starts anew).
pub const ADDRESSES_MAX: usize = 65_536;
/// Sign-ins whose state is remembered for a few seconds; the least recently seen gives way.
pub const SIGN_INS_MAX: usize = 65_536;
/// The longest that a sign-in may be taken to live without asking the database: after a logout
/// on another node its access tokens work at most this long.
pub const SIGN_IN_CACHE_MAX: Duration = Duration::from_secs(10);
/// A correlation id that a client sends.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// A name in a sign-in or look-up. Directory services have longer ones than registration allows.
pub const NAME_BYTES_MAX: usize = 256;
/// A token or ticket in a request: far above the longest that is given out.
pub const TOKEN_BYTES_MAX: usize = 2_048;
/// A password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// A password, in characters: enough for a pass phrase; argon2 hashes it whole.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Connections that the kernel holds until they are accepted (or `net.core.somaxconn`, if that is less).
/// Over it the kernel drops a client's packet without a word, and the client tries again after a
/// second, then three: with the usual 128 a crowd of some thousands took seconds to connect at all.
pub const LISTEN_BACKLOG: u32 = 4_096;
/// Connections whose handshake and first request are worked on at once. The others of a crowd wait in
/// the kernel, where they cost nothing: thousands of them in the scheduler's queue would hold up
/// everybody's messages. Enough to keep some cores busy.
pub const OPENINGS_MAX: usize = 32;
/// How long a connection counts among them at most: a client that is far away, or says nothing, must
/// not keep others out. So some 2,900 connections a second are accepted whoever they are, while
/// [`CROWD_IN_A_ROUND`] lets so many through.
pub const OPENING_MAX: Duration = Duration::from_millis(10);
/// Connections over the caps that are told so at each address that is listened on, a second and in a burst; more are reset. Who connects by mistake, or a
/// crowd's first, learns the reason; a flood costs an accept and a reset each.
pub const REFUSALS_ANSWERED: f64 = 100.0;
/// How often the files of the TLS identity are looked at.
pub const TLS_FILES_POLL: Duration = Duration::from_secs(2);
/// How often it is said that TLS connections are refused for want of a certificate: anybody can ask for one.
pub const NO_CERTIFICATE_LOG_PAUSE: Duration = Duration::from_secs(60);
/// The pause after an order at an ACME server that failed, and by how much it grows with each one in a row: five
/// tries in the first hour. Let's Encrypt refuses a name after five failed validations an hour.
pub const ACME_RETRY_MIN: Duration = Duration::from_secs(60);
/// See [`ACME_RETRY_MIN`].
pub const ACME_RETRY_FACTOR: u32 = 3;
/// The longest pause between two tries: a certificate is renewed weeks before it runs out.
pub const ACME_RETRY_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// A whole order, with half a minute for each name's proof at worst, and a quarter of an hour for a server that is
/// slow to sign. The library has no deadline of its own.
pub const ACME_ORDER_MAX: Duration = Duration::from_secs(30 * 60);
/// How often the clock is asked whether a certificate is due.
pub const ACME_LOOK_AGAIN: Duration = Duration::from_secs(60 * 60);
/// What is logged of an ACME server's error. Problem documents are a few lines.
pub const ACME_ERROR_CHARS_MAX: usize = 1_000;
/// The file of a certificate with its key: far above the longest chain.
pub const ACME_FILE_BYTES_MAX: u64 = 256 * 1024;
/// A PROXY header, whole: addresses take 52 bytes, and balancers add some hundred of their own.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 * 1024;
/// Requests that one connection of HTTP/2 may have open. Browsers open few.
pub const STREAMS_MAX: u32 = 64;
/// How many of them are answered at once: the others wait for those to be read, holding a head each.
/// An answer may be a page of history, some megabytes, and would be held for as long as its client
/// likes to read it. Not for trusted proxies, where one client's answers must not hold up the others'.
pub const ANSWERS_HELD_MAX: usize = 8;
/// Answers are handed to a connection of HTTP/2 in pieces of this size: those that have left are how it
/// is seen that a client reads. One frame, as clients take it unless they say otherwise.
pub const ANSWER_PIECE_BYTES: usize = 16 * 1024;
/// What a client of HTTP/2 may send of one body before it is read: all of it.
pub const STREAM_WINDOW_BYTES: u32 = HTTP_BODY_BYTES_MAX as u32;
/// And of all bodies of a connection together.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
/// Streams that were reset before they were looked at, after which the connection ends (rapid reset,
/// CVE-2023-44487).
pub const RESETS_PENDING_MAX: usize = 20;
/// Streams that were reset here for what the client did wrong, after which the connection ends.
pub const RESETS_FOR_ERRORS_MAX: usize = 64;
/// Frames of HTTP/2 that carry little, in a burst: a page with everything on it takes some hundred.
pub const LIGHT_FRAMES_BURST: u32 = 2_000;
/// And a second, sustained. Over it the connection ends: pings, settings, resets and empty frames cost
/// the client nothing and the server a look at each.
pub const LIGHT_FRAMES_PER_SECOND: u32 = 500;
/// A DATA frame with less than this is one of them.
pub const LIGHT_DATA_BYTES: usize = 1024;
/// For so many bytes that are written to a client it may send another light frame, within the burst: who
/// reads says so by WINDOW_UPDATE, Go's client twice for every 4 KiB.
pub const WRITTEN_BYTES_PER_LIGHT_FRAME: u32 = 2 * 1024;
/// What a client of HTTP/2 takes within [`Deadlines::write`](crate::config::Deadlines) at the least, of
/// all that it has not read yet. If nothing at all leaves within that time, it is over at once.
pub const SLOWEST_READER_BYTES: u64 = 64 * 1024;
/// Pause after an accept that failed for want of a resource, so that the loop does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long one readiness answer holds, so that probes do not load the database.
pub const READY_CACHE: Duration = Duration::from_millis(500);
/// How long one readiness check may take before it counts as failed.
pub const READY_CHECK: Duration = Duration::from_secs(2);
/// Clients whose upgrade is refused come back after at least this long: at once would be the same
/// storm again.
pub const UPGRADE_RETRY_MIN: Duration = Duration::from_secs(1);
/// Those that are refused because the node has no lease come back after at most this long, each at a
/// time of its own, so that they do not come together.
pub const UPGRADE_RETRY_MAX: Duration = Duration::from_secs(6);
/// Those that are too many are each told a turn of their own, up to this long ahead: 30,000 sockets
/// at the default rate. Who finds no turn in it comes back at any time within it.
pub const UPGRADE_TURN_MAX: Duration = Duration::from_secs(30);
/// Users that are asked for by their ids at once.
pub const USER_IDS_MAX: usize = 100;
/// Users that one look-up returns.
pub const USERS_MAX: u16 = 50;

const _: () = assert!(6 * BODY_BYTES_MAX + 1024 <= HTTP_BODY_BYTES_MAX);
const _: () = assert!(ENC_BODY_BYTES_MAX + 1024 <= HTTP_BODY_BYTES_MAX);
const _: () = assert!(UPGRADE_RETRY_MIN.as_millis() < UPGRADE_RETRY_MAX.as_millis());
const _: () = assert!(UPGRADE_RETRY_MIN.as_millis() < UPGRADE_TURN_MAX.as_millis());
const _: () = assert!(SESSION_IDLE.as_millis() > 2 * HEARTBEAT.as_millis());
const _: () = assert!(SIGN_IN_CACHE_MAX.as_secs() <= 10);
