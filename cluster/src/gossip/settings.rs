//! How fast gossip finds out, and how careful it is. Detection of a dead node takes a probe's
//! period, up to a second until a probe hits it, and the suspicion: about 2 s in all on a LAN.
//!
//! Takeovers do not hang on this alone: they need a lease to run out, or gossip's word together
//! with a closed link.

use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use foca::{Config, PeriodicParams};

use crate::limits::PACKET_BYTES_MAX;

/// One random node is probed this often by each node.
const PROBE_PERIOD: Duration = Duration::from_millis(500);
/// An answer that takes longer is asked for through others. A busy node of a LAN answers in some
/// milliseconds; the rest of the period is left for the way through others.
const PROBE_RTT: Duration = Duration::from_millis(200);
/// Nodes that probe on behalf of another. With 4, a live node of a cluster of 6 fails a probe at
/// 10 % loss once in 400 times, and must then also miss every suspicion for its whole length.
const INDIRECT_PROBES: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
/// How long a suspected node has to say that it lives, in a cluster of up to 10. It hears of
/// the suspicion some five times within it.
const SUSPICION: Duration = Duration::from_millis(1_500);
/// What foca's helper for a LAN takes instead; above 10 nodes both grow with the logarithm.
const SUSPICION_OF_HELPER: Duration = Duration::from_secs(4);
/// An update is sent at least so often by each node that has it. The helper's 2 for three nodes
/// would often be lost at 10 % loss.
const TRANSMISSIONS_MIN: NonZeroU8 = NonZeroU8::new(8).expect("not zero");
/// A dead identity is remembered this long. A node that comes back always has another one.
const REMEMBER_DEAD: Duration = Duration::from_secs(60 * 60);
/// Asks those that are believed dead whether they are, so that a healed partition is found.
const ASK_THE_DEAD: PeriodicParams = PeriodicParams {
    frequency: Duration::from_secs(5),
    num_members: NonZeroUsize::new(2).expect("not zero"),
};
/// Asks a random node for all that it knows.
const ASK_FOR_MEMBERS: PeriodicParams = PeriodicParams {
    frequency: Duration::from_secs(30),
    num_members: NonZeroUsize::new(1).expect("not zero"),
};
/// Sends news, when there are any, beside the probes.
const SPREAD: PeriodicParams = PeriodicParams {
    frequency: Duration::from_millis(200),
    num_members: NonZeroUsize::new(3).expect("not zero"),
};

/// A node says at most this often what changed about it.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(1);
/// It says it again after so many of these, changed or not, for those who missed it.
pub(super) const SAY_AGAIN_AFTER: u32 = 30;
/// Nodes that the directory knows and gossip misses are called this often.
pub(super) const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// The same while no other node is known at all.
pub(super) const SEEK_EVERY: Duration = Duration::from_secs(1);
/// A timer that fires so late says that this node was stalled: its suspicions are then worth
/// nothing until it has read what arrived meanwhile.
pub(super) const STALL: Duration = Duration::from_millis(250);
/// How long a node that was stalled waits before it declares others dead.
pub(super) const AFTER_STALL: Duration = Duration::from_millis(1_000);

const _: () = assert!(PROBE_RTT.as_millis() * 2 < PROBE_PERIOD.as_millis());
const _: () = assert!(STALL.as_millis() < PROBE_PERIOD.as_millis());

/// foca's configuration for a cluster of so many nodes.
pub(super) fn config(nodes: NonZeroU32) -> Config {
    let lan = Config::new_lan(nodes);
    let growth = lan.suspect_to_down_after.as_secs_f64() / SUSPICION_OF_HELPER.as_secs_f64();
    Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_RTT,
        num_indirect_probes: INDIRECT_PROBES,
        max_transmissions: lan.max_transmissions.max(TRANSMISSIONS_MIN),
        suspect_to_down_after: SUSPICION.mul_f64(growth),
        remove_down_after: Some(REMEMBER_DEAD),
        max_packet_size: NonZeroUsize::new(PACKET_BYTES_MAX).expect("the bound is not zero"),
        notify_down_members: true,
        periodic_announce: Some(ASK_FOR_MEMBERS),
        periodic_announce_to_down_members: Some(ASK_THE_DEAD),
        periodic_gossip: Some(SPREAD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_grows_slowly_above_ten_nodes() {
        let of = |nodes| {
            config(NonZeroU32::new(nodes).expect("not zero")).suspect_to_down_after.as_millis()
        };
        assert_eq!(of(1), 1_500);
        assert_eq!(of(10), 1_500);
        assert_eq!(of(100), 3_000);
    }
}
