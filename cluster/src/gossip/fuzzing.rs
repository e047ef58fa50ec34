//! See [`crate::fuzzing`].

use std::collections::VecDeque;
use std::net::SocketAddr;

use foca::Codec as _;
use parlance_actors::vocab::NodeId;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::Expected;
use super::core::{Command, Core, Effects, Timer};
use super::identity::Identity;
use super::said::Said;
use super::view::View;
use super::wire::PacketCodec;
use crate::transport::PeerName;

/// The gossip of node 1, which knows of node 5.
pub struct Gossip {
    core: Core,
    timers: VecDeque<Timer>,
}

impl Gossip {
    /// It begins, and has called nobody.
    #[must_use]
    pub fn start() -> Self {
        let at = |node: u8| SocketAddr::from(([10, 0, 0, node], 7701));
        let said = Said {
            draining: false,
            rooms: 0,
            sessions: 0,
            events_per_second: 0.0,
            data: at(1),
            version: "0.1.0".into(),
        };
        let identity = Identity::new(NodeId(1), 1, at(1));
        let (mut core, mut effects) =
            Core::new(identity, Vec::new(), said, SmallRng::seed_from_u64(1));
        let expected = Expected { node: NodeId(5), name: PeerName("n5".into()), address: at(5) };
        core.command(Command::Expect(vec![expected]), &mut effects);
        let mut gossip = Self { core, timers: VecDeque::new() };
        gossip.keep(effects);
        gossip
    }

    /// A packet from the node of this name: the packets that it sends, or why that one is refused.
    pub fn packet(&mut self, from: &str, packet: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut effects = Effects::default();
        let taken = self.core.packet(&PeerName(from.into()), packet, &mut effects);
        let sent = self.keep(effects);
        taken.map(|()| sent).map_err(|refused| refused.to_string())
    }

    /// The timer that was set first is due; the packets that it sends.
    pub fn timer(&mut self) -> Vec<Vec<u8>> {
        let Some(timer) = self.timers.pop_front() else { return Vec::new() };
        let mut effects = Effects::default();
        // The driver logs what foca says of a timer that is out of date, and goes on.
        let _ = self.core.timer(timer, &mut effects);
        self.keep(effects)
    }

    /// What it believes.
    #[must_use]
    pub fn view(&self) -> View {
        self.core.view()
    }

    fn keep(&mut self, effects: Effects) -> Vec<Vec<u8>> {
        self.timers.extend(effects.timers.into_iter().map(|(_, timer)| timer));
        effects.packets.into_iter().map(|(_, packet)| packet.to_vec()).collect()
    }
}

/// The header of a packet, read and written again.
#[must_use]
pub fn packet_header(packet: &[u8]) -> Option<Vec<u8>> {
    let mut codec = PacketCodec::new(NodeId(1));
    let header = codec.decode_header(packet).ok()?;
    let mut bytes = Vec::new();
    codec.encode_header(&header, &mut bytes).expect("what was read is written");
    Some(bytes)
}
