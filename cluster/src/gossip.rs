//! Who is alive: SWIM (foca) over packets between control endpoints, with what each node says of
//! itself.
//!
//! Gossip is never required: it tells sooner that a node died, and what others are doing. It
//! decides nothing about shards. The logic is in `gossip/core.rs`, pure; this is the one task that
//! gives it packets and time, and awaits nothing but its own inputs.

mod core;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod identity;
mod said;
mod settings;
mod timers;
mod view;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::core::Expected;
pub use self::identity::Identity;
pub use self::said::Said;
pub use self::view::{Seen, View};

use self::core::{Command, Core, Effects, Refused};
use self::timers::Timers;
use crate::limits;
use crate::transport::{Packets, PeerName};

/// A packet as the control endpoint hands it over: who proved to have sent it, from where.
pub type Received = (PeerName, SocketAddr, Bytes);

/// How long the packets of a leave have to get out before the endpoint may close.
const LEAVE_LINGER: Duration = Duration::from_millis(100);
/// Where the loop sleeps to when nothing is due.
const FAR: Duration = Duration::from_secs(60 * 60);

/// What gossip starts with.
pub struct GossipOptions {
    /// This node and where others reach its control endpoint.
    pub identity: Identity,
    /// Control endpoints to call until any other node is known.
    pub seeds: Vec<SocketAddr>,
    /// What this node says of itself at first.
    pub said: Said,
    /// How packets leave.
    pub packets: Arc<dyn Packets>,
    /// Packets that arrive. The sender's side has a bound and drops what is over it.
    pub inbox: mpsc::Receiver<Received>,
    /// What chance begins with.
    pub seed: u64,
}

/// Gossip of this node.
#[derive(Debug)]
pub struct Gossip {
    view: watch::Receiver<Arc<View>>,
    expected: watch::Sender<Vec<Expected>>,
    said: watch::Sender<Said>,
    leaving: CancellationToken,
    /// The loop, until [`leave`](Self::leave) takes it.
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Gossip {
    /// Starts the loop on the runtime of the caller, which should be the control runtime: a busy
    /// node must not look dead.
    #[must_use]
    pub fn start(options: GossipOptions) -> Self {
        let GossipOptions { identity, seeds, said, packets, inbox, seed } = options;
        let (say, saying) = watch::channel(said.clone());
        let (expect, expecting) = watch::channel(Vec::new());
        let (core, effects) = Core::new(identity, seeds, said, SmallRng::seed_from_u64(seed));
        let (show, view) = watch::channel(Arc::new(core.view()));
        let leaving = CancellationToken::new();
        let driver = Driver {
            core,
            timers: Timers::default(),
            started: Instant::now(),
            packets,
            inbox,
            expecting,
            saying,
            show,
            leaving: leaving.clone(),
        };
        let task = Mutex::new(Some(tokio::spawn(driver.run(effects))));
        Self { view, expected: expect, said: say, leaving, task }
    }

    /// Who is believed to be alive, and what they say of themselves.
    #[must_use]
    pub fn view(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// The nodes that the directory knows. Those that gossip misses are called until they answer,
    /// and nobody else speaks for them.
    pub fn expect(&self, nodes: Vec<Expected>) {
        self.expected.send_if_modified(|known| {
            let differs = *known != nodes;
            *known = nodes;
            differs
        });
    }

    /// What this node says of itself from now on. Others hear of it when it changed by more than
    /// a little, at most once a second.
    pub fn say(&self, said: Said) {
        self.said.send_replace(said);
    }

    /// Tells others that this node leaves, and ends the loop when that is sent. A second call does
    /// nothing.
    pub async fn leave(&self) {
        self.leaving.cancel();
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the gossip task failed");
        }
    }
}

impl Drop for Gossip {
    /// Without [`leave`](Self::leave) the node ends as a crash would end it.
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

/// The loop's own things.
struct Driver {
    core: Core,
    timers: Timers,
    started: Instant,
    packets: Arc<dyn Packets>,
    inbox: mpsc::Receiver<Received>,
    expecting: watch::Receiver<Vec<Expected>>,
    saying: watch::Receiver<Said>,
    show: watch::Sender<Arc<View>>,
    leaving: CancellationToken,
}

impl Driver {
    async fn run(mut self, first: Effects) {
        self.perform(first);
        let mut batch = Vec::with_capacity(limits::GOSSIP_PACKETS_AT_ONCE);
        loop {
            let due = self.started + self.timers.next_due().unwrap_or(FAR);
            // Packets first: an answer that has arrived counts before the timer that waits for it.
            tokio::select! {
                biased;
                () = self.leaving.cancelled() => break,
                taken = self.inbox.recv_many(&mut batch, limits::GOSSIP_PACKETS_AT_ONCE) => {
                    if taken == 0 {
                        tracing::debug!("no more packets will come: gossip ends");
                        return;
                    }
                    batch.drain(..).for_each(|received| self.take(&received));
                }
                Ok(()) = self.expecting.changed() => {
                    let nodes = self.expecting.borrow_and_update().clone();
                    self.command(Command::Expect(nodes));
                }
                Ok(()) = self.saying.changed() => {
                    let said = self.saying.borrow_and_update().clone();
                    self.command(Command::Say(said));
                }
                () = tokio::time::sleep_until(due) => {}
            }
            self.wake();
        }
        self.command(Command::Leave);
        tokio::time::sleep(LEAVE_LINGER).await;
    }

    fn take(&mut self, (from, address, packet): &Received) {
        metrics::counter!("parlance_gossip_packets_total", "direction" => "in").increment(1);
        metrics::counter!("parlance_gossip_bytes_total", "direction" => "in")
            .increment(packet.len() as u64);
        let mut effects = Effects::default();
        let taken = self.core.packet(from, packet, &mut effects);
        self.perform(effects);
        match taken {
            Ok(()) => {}
            Err(error @ Refused::NotTheirs { .. }) => {
                tracing::warn!(%from, %address, %error, "a packet of gossip is refused");
            }
            Err(error) => tracing::debug!(%from, %address, %error, "a packet of gossip is refused"),
        }
    }

    fn wake(&mut self) {
        while let Some(timer) = self.timers.pop(self.started.elapsed()) {
            let mut effects = Effects::default();
            let handled = self.core.timer(timer, &mut effects);
            self.perform(effects);
            if let Err(error) = handled {
                tracing::warn!(%error, "gossip goes on after a timer failed");
            }
        }
    }

    fn command(&mut self, command: Command) {
        let mut effects = Effects::default();
        self.core.command(command, &mut effects);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Effects) {
        let now = self.started.elapsed();
        for (after, timer) in effects.timers {
            self.timers.set(now + after, timer);
        }
        for (to, packet) in effects.packets {
            metrics::counter!("parlance_gossip_packets_total", "direction" => "out").increment(1);
            metrics::counter!("parlance_gossip_bytes_total", "direction" => "out")
                .increment(packet.len() as u64);
            self.packets.packet(to, packet);
        }
        if effects.changed {
            self.publish();
        }
    }

    fn publish(&mut self) {
        let view = self.core.view();
        let alive = view.alive().len();
        let down = view.nodes().count() - alive;
        metrics::gauge!("parlance_gossip_members", "state" => "alive").set(alive as f64);
        metrics::gauge!("parlance_gossip_members", "state" => "down").set(down as f64);
        self.show.send_if_modified(|shown| {
            let differs = **shown != view;
            if differs {
                *shown = Arc::new(view);
            }
            differs
        });
    }
}

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
