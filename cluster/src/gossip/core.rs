//! Gossip as a pure machine: packets, timers and commands in; packets, timers and news out. No
//! clock, no socket, no runtime, and the randomness is given. foca does the SWIM; this adds what
//! nodes say of themselves, whom to look for, and who may speak for whom.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use foca::{Codec as _, Foca, Notification, State};
use parlance_actors::vocab::NodeId;
use rand::rngs::SmallRng;

use super::identity::{ANYBODY, Identity};
use super::said::{Hearsay, Said, Saying};
use super::settings::{self, RECONCILE_EVERY, SAY_AGAIN_AFTER, SAY_EVERY, SEEK_EVERY};
use super::view::{Seen, View};
use super::wire::{PacketCodec, WireError};
use crate::transport::PeerName;

/// A node that the directory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its id.
    pub node: NodeId,
    /// Who must speak for it.
    pub name: PeerName,
    /// Its control endpoint.
    pub address: SocketAddr,
}

/// What the core is told.
#[derive(Debug, Clone)]
pub(super) enum Command {
    /// These nodes should be there, this one among them or not.
    Expect(Vec<Expected>),
    /// This is what this node says of itself from now on.
    Say(Said),
    /// Leave the cluster. Everything after it is ignored.
    Leave,
}

/// What the core wants to be woken with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    Swim(foca::Timer<Identity>),
    /// Look for the nodes that are missing.
    Reconcile,
    /// Say what changed.
    Say,
}

impl Timer {
    /// Whether it declares another node dead.
    pub(super) const fn declares_dead(&self) -> bool {
        matches!(self, Self::Swim(foca::Timer::ChangeSuspectToDown { .. }))
    }
}

/// What the core wants done.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) packets: Vec<(SocketAddr, Bytes)>,
    pub(super) timers: Vec<(Duration, Timer)>,
    /// The view is another one.
    pub(super) changed: bool,
    newcomer: bool,
}

impl foca::Runtime<Identity> for Effects {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        self.changed = true;
        self.newcomer |= matches!(notification, Notification::MemberUp(_));
    }

    fn send_to(&mut self, to: Identity, data: &[u8]) {
        self.packets.push((to.address, Bytes::copy_from_slice(data)));
    }

    fn submit_after(&mut self, timer: foca::Timer<Identity>, after: Duration) {
        self.timers.push((after, Timer::Swim(timer)));
    }
}

/// Why a packet was not taken. What it said before the fault may have been believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("a packet does not decode: {0}")]
    Wire(#[from] WireError),
    #[error("{from} speaks for node {node}, which is {name}")]
    NotTheirs { from: PeerName, node: NodeId, name: PeerName },
    #[error("a packet comes from no node")]
    NoNode,
    #[error("{0}")]
    Swim(foca::Error),
}

/// This node's gossip.
pub(super) struct Core {
    foca: Foca<Identity, PacketCodec, SmallRng, Hearsay>,
    hearsay: Hearsay,
    codec: PacketCodec,
    /// The number of nodes that foca's configuration is made for.
    sized_for: NonZeroU32,
    seeds: Vec<SocketAddr>,
    expected: BTreeMap<NodeId, (PeerName, SocketAddr)>,
    own: OwnWords,
    left: bool,
}

/// What this node says of itself, and when it last did.
struct OwnWords {
    now: Said,
    said: Option<Said>,
    counter: u64,
    /// How many occasions to say it went by since.
    silent_for: u32,
    /// Somebody came who has not heard it.
    newcomer: bool,
}

impl Core {
    /// Starts; the effects begin its timers and call the seeds.
    pub(super) fn new(
        identity: Identity,
        seeds: Vec<SocketAddr>,
        said: Said,
        rng: SmallRng,
    ) -> (Self, Effects) {
        let hearsay = Hearsay::default();
        let codec = PacketCodec::new(identity.node);
        let sized_for = NonZeroU32::MIN;
        let config = settings::config(sized_for);
        let foca = Foca::with_custom_broadcast(identity, config, rng, codec, hearsay.clone());
        let own = OwnWords {
            now: said.bounded(),
            said: None,
            counter: 0,
            silent_for: 0,
            newcomer: false,
        };
        let expected = BTreeMap::new();
        let mut core = Self { foca, hearsay, codec, sized_for, seeds, expected, own, left: false };
        let mut effects = Effects { changed: true, ..Effects::default() };
        core.say_or_wait(&mut effects);
        core.reconcile(&mut effects);
        (core, effects)
    }

    /// A packet that a proven peer sent.
    pub(super) fn packet(
        &mut self,
        from: &PeerName,
        packet: &[u8],
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        if self.left {
            return Ok(());
        }
        let source = self.codec.decode_header(packet)?.src;
        if source.node == ANYBODY {
            return Err(Refused::NoNode);
        }
        if let Some((name, _)) = self.expected.get(&source.node)
            && name != from
        {
            let (from, name) = (from.clone(), name.clone());
            return Err(Refused::NotTheirs { from, node: source.node, name });
        }
        let handled = self.foca.handle_data(packet, &mut *effects);
        self.settle(effects);
        match handled {
            // A seed's address may be this node's own.
            Ok(()) | Err(foca::Error::DataFromOurselves) => Ok(()),
            Err(error) => Err(Refused::Swim(error)),
        }
    }

    /// A timer that was due.
    pub(super) fn timer(&mut self, timer: Timer, effects: &mut Effects) -> Result<(), foca::Error> {
        if self.left {
            return Ok(());
        }
        let handled = match timer {
            Timer::Swim(timer) if self.is_refuted(&timer) => Ok(()),
            Timer::Swim(timer) => self.foca.handle_timer(timer, &mut *effects),
            Timer::Reconcile => {
                self.reconcile(effects);
                Ok(())
            }
            Timer::Say => {
                self.say_or_wait(effects);
                Ok(())
            }
        };
        self.settle(effects);
        handled
    }

    pub(super) fn command(&mut self, command: Command, effects: &mut Effects) {
        if self.left {
            return;
        }
        match command {
            Command::Expect(nodes) => {
                let own = self.foca.identity().node;
                let others = nodes.into_iter().filter(|expected| expected.node != own);
                self.expected =
                    others.map(|other| (other.node, (other.name, other.address))).collect();
                self.call_the_missing(effects);
            }
            Command::Say(said) => self.own.now = said.bounded(),
            Command::Leave => {
                // It fails only if a header does not encode, and then there is nobody to tell.
                let _ = self.foca.leave_cluster(&mut *effects);
                // Once more, to others at random: the first packets may be lost.
                let _ = self.foca.gossip(&mut *effects);
                effects.timers.clear();
                effects.changed = true;
                self.left = true;
            }
        }
        self.settle(effects);
    }

    /// Everything that is believed now.
    pub(super) fn view(&self) -> View {
        let own = self.foca.identity();
        let members = self.foca.iter_membership_state().map(|member| {
            let alive = member.state() != State::Down;
            (*member.id(), alive)
        });
        // foca keeps this node's own former lives among the others.
        let others = members.filter(|(life, _)| life.node != own.node);
        others
            .chain([(*own, !self.left)])
            .map(|(life, alive)| {
                let Identity { node, incarnation, address, .. } = life;
                (node, Seen { incarnation, address, alive, said: self.hearsay.of(&life) })
            })
            .collect()
    }

    /// Whether a timer would declare a node dead that has refuted the suspicion since. foca 2.0.0
    /// does not change its members then, but still tells that node that it is dead, which makes
    /// it take another life for nothing: seen once in some minutes at 10 % loss.
    fn is_refuted(&self, timer: &foca::Timer<Identity>) -> bool {
        let foca::Timer::ChangeSuspectToDown { member_id, incarnation, .. } = timer else {
            return false;
        };
        !self.foca.iter_membership_state().any(|member| {
            member.id() == member_id
                && member.incarnation() == *incarnation
                && member.state() == State::Suspect
        })
    }

    /// What follows from any input: the news that foca told, and the size of the cluster.
    fn settle(&mut self, effects: &mut Effects) {
        // foca 2.0.0 takes itself for disconnected after a new life, and looks again only when it
        // is told of members: with nobody left to tell it, it would never probe again.
        let looked = self.foca.apply_many(std::iter::empty(), false, &mut *effects);
        looked.expect("nothing is applied");
        self.own.newcomer |= std::mem::take(&mut effects.newcomer);
        effects.changed |= self.hearsay.take_changed();
        // foca may ask this node's own former lives whether they are dead.
        let own = self.foca.identity().address;
        effects.packets.retain(|(to, _)| *to != own);
        let others = u32::try_from(self.foca.num_members()).unwrap_or(u32::MAX);
        let nodes = NonZeroU32::MIN.saturating_add(others);
        if nodes != self.sized_for {
            let sized = self.foca.set_config(settings::config(nodes));
            sized.expect("only suspicion and transmissions change with the size");
            self.sized_for = nodes;
        }
    }

    fn say_or_wait(&mut self, effects: &mut Effects) {
        effects.timers.push((SAY_EVERY, Timer::Say));
        let own = &mut self.own;
        own.silent_for += 1;
        let due = own.newcomer || own.silent_for >= SAY_AGAIN_AFTER;
        if !due && own.said.as_ref().is_some_and(|said| !own.now.is_news_after(said)) {
            return;
        }
        own.counter += 1;
        own.silent_for = 0;
        own.newcomer = false;
        own.said = Some(own.now.clone());
        let Identity { node, incarnation, .. } = *self.foca.identity();
        let saying = Saying { node, incarnation, counter: own.counter, said: own.now.clone() };
        let added = self.foca.add_broadcast(&saying.encode());
        added.expect("a saying of bounded size is taken by its own handler");
    }

    fn reconcile(&mut self, effects: &mut Effects) {
        let alone = self.foca.num_members() == 0;
        let after = if alone { SEEK_EVERY } else { RECONCILE_EVERY };
        effects.timers.push((after, Timer::Reconcile));
        if alone {
            for seed in self.seeds.clone() {
                self.call(Identity::of_place(ANYBODY, seed), effects);
            }
        }
        self.call_the_missing(effects);
        let own = self.foca.identity().node;
        let members: Vec<NodeId> =
            self.foca.iter_membership_state().map(|member| member.id().node).collect();
        self.hearsay.retain(|node| node == own || members.contains(&node));
    }

    /// Announces to those that the directory knows and gossip does not believe to be alive.
    fn call_the_missing(&mut self, effects: &mut Effects) {
        let active: Vec<NodeId> = self.foca.iter_members().map(|member| member.id().node).collect();
        let missing: Vec<Identity> = self
            .expected
            .iter()
            .filter(|(node, _)| !active.contains(node))
            .map(|(node, (_, address))| Identity::of_place(*node, *address))
            .collect();
        for place in missing {
            self.call(place, effects);
        }
    }

    fn call(&mut self, place: Identity, effects: &mut Effects) {
        let own = self.foca.identity();
        if place.address == own.address {
            return;
        }
        self.foca.announce(place, effects).expect("a header of bounded size encodes");
    }
}
