//! Gossip: a node that hears packets, one after the other, and whose timers fire in between.

use parlance_actors::vocab::NodeId;
use parlance_cluster::fuzzing::{Gossip, packet_header};
use parlance_cluster::limits::PACKET_BYTES_MAX;

/// Packets of one run.
const PACKETS_MAX: usize = 32;

/// The bytes are packets, each behind its length (u16, big-endian); one of no length is a timer that is
/// due. Whatever comes, this node is alive to itself and sends nothing that is too long, and a name
/// speaks for no node that is another's.
pub fn gossip(bytes: &[u8]) {
    let mut gossip = Gossip::start();
    let mut rest = bytes;
    for _ in 0..PACKETS_MAX {
        let Some((length, after)) = rest.split_first_chunk() else { break };
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (packet, after) = after.split_at(length);
        rest = after;
        let sent = if packet.is_empty() { gossip.timer() } else { hear(&mut gossip, packet) };
        for packet in sent {
            assert!(packet.len() <= PACKET_BYTES_MAX, "{} bytes", packet.len());
            assert!(packet_header(&packet).is_some(), "what is sent is read: {packet:02x?}");
        }
        assert!(gossip.view().alive().contains(&NodeId(1)), "a node is alive to itself");
    }
}

fn hear(gossip: &mut Gossip, packet: &[u8]) -> Vec<Vec<u8>> {
    if let Some(header) = packet_header(packet) {
        assert_eq!(packet_header(&header).as_ref(), Some(&header));
    }
    let before = gossip.view();
    let by_another = gossip.packet("n6", packet);
    if let Err(reason) = &by_another {
        assert!(reason.len() < 1024, "{reason}");
        if reason.contains("speaks for") {
            assert_eq!(gossip.view(), before, "what another says for a node changes nothing");
        }
    }
    let by_n5 = gossip.packet("n5", packet);
    [by_another, by_n5].into_iter().flatten().flatten().collect()
}
