//! Every bound of the client, with its reason.

use std::time::Duration;

/// A TCP connect and the upgrade together. Longer than a node needs to start.
pub const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Where Debian and its kin keep the authorities that the system trusts.
pub const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A whole HTTP exchange: above the server's own wait for a commit.
pub const HTTP_WAIT: Duration = Duration::from_secs(30);
/// An HTTP answer, and a frame: a full page of history of encrypted bodies is 13 MiB.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Changes that wait for their answer, sent or not. More wait in the caller.
pub const CHANGES_MAX: usize = 64;
/// Changes that are on the wire at once: half of what the server admits for a session, so that
/// reads find room beside them.
pub const IN_FLIGHT_MAX: usize = 32;
/// Commands that wait for the connection's task. More wait in the caller.
pub const COMMANDS_MAX: usize = 64;
/// Updates that wait for the application. When it is full, events are left on the server and
/// fetched from history once there is room; typing, presence and connection news are shed.
pub const UPDATES_MAX: usize = 1_024;
/// Events in one page that fills a gap: the largest that the server gives.
pub const PAGE_EVENTS: u16 = 200;
/// Rooms in one subscribe frame: the largest that the server takes.
pub const SUBSCRIBE_ROOMS_MAX: usize = 200;
/// How long the answer to a change may take before its way counts as dead: above the server's own
/// 10 s, or 12 s when the room is on another node.
pub const ANSWER_WAIT: Duration = Duration::from_secs(15);
/// An answer that is later than this, on a socket that says nothing else, has the server asked for a
/// sign of life. Most answers are, by far, not.
pub const LIFE_AFTER: Duration = Duration::from_secs(2);
/// How long a sign of life may take. A server that has nothing else to do for it answers at once;
/// this is for slow ways and busy machines.
pub const LIFE_WAIT: Duration = Duration::from_secs(4);
/// A write that the server does not take for this long ends the socket.
pub const WRITE_WAIT: Duration = Duration::from_secs(15);
/// The longest first pause before connecting again. When a node or a balancer fails, thousands come at once: spread
/// over a second they hold up the others' messages a third as much as in one instant (`benches/README.md`).
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause before connecting again.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(3);
/// The longest delay of a `bye`, or of a refused upgrade, that is honoured, so that a wrong one does not silence a client.
pub const BYE_MAX: Duration = Duration::from_secs(60);
/// Pause before a refused page or subscribe is asked for again, when the refusal names none.
pub const RETRY_WAIT: Duration = Duration::from_millis(500);

const _: () = assert!(IN_FLIGHT_MAX <= CHANGES_MAX);
const _: () = assert!(LIFE_AFTER.as_millis() + LIFE_WAIT.as_millis() < ANSWER_WAIT.as_millis());
const _: () = assert!(PAGE_EVENTS as usize <= UPDATES_MAX);
