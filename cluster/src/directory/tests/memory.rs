//! Calls between directories of one process: every way from one node to another can be cut, slowed
//! or made to lose messages, each direction by itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::directory::DirectoryAnswers;
use crate::transport::{Answers, CallError, PeerName, Place, Service, Transport};

/// All ways. Clones are the same ones.
#[derive(Clone)]
pub(super) struct Ways {
    held: Arc<Mutex<Held>>,
}

struct Held {
    nodes: HashMap<Arc<str>, (PeerName, DirectoryAnswers)>,
    /// From name to name.
    ways: HashMap<(Arc<str>, Arc<str>), Way>,
    random: SmallRng,
    snapshot_pieces: u64,
}

/// How one direction between two nodes is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Way {
    pub(super) cut: bool,
    pub(super) delay: Duration,
    /// Of a thousand messages.
    pub(super) lost_per_mille: u32,
}

impl Ways {
    pub(super) fn new(seed: u64) -> Self {
        println!("seed {seed}");
        let random = SmallRng::seed_from_u64(seed);
        let (nodes, ways) = (HashMap::new(), HashMap::new());
        let held = Held { nodes, ways, random, snapshot_pieces: 0 };
        Self { held: Arc::new(Mutex::new(held)) }
    }

    /// Lets a node be called at its address; how it calls others.
    pub(super) fn add(&self, name: &str, answers: DirectoryAnswers) -> Arc<dyn Transport> {
        let peer = PeerName(name.into());
        self.held.lock().nodes.insert(address(name), (peer.clone(), answers));
        Arc::new(Caller { from: peer, ways: self.clone() })
    }

    /// The node of this name is at another address from now on.
    pub(super) fn moves(&self, name: &str, to: Arc<str>) {
        let mut held = self.held.lock();
        let node = held.nodes.remove(&address(name)).expect("it was added");
        held.nodes.insert(to, node);
    }

    /// The node of this name is there no longer.
    pub(super) fn remove(&self, name: &str) {
        self.held.lock().nodes.remove(&address(name));
    }

    /// Makes one direction like this.
    pub(super) fn set(&self, from: &str, to: &str, way: Way) {
        self.held.lock().ways.insert((from.into(), to.into()), way);
    }

    /// Cuts both directions between a node and others, or heals them.
    pub(super) fn part(&self, name: &str, others: &[&str], cut: bool) {
        for other in others {
            let way = Way { cut, ..Way::default() };
            self.set(name, other, way);
            self.set(other, name, way);
        }
    }

    /// How many pieces of snapshots travelled.
    pub(super) fn snapshot_pieces(&self) -> u64 {
        self.held.lock().snapshot_pieces
    }

    /// How long a message takes; `None` when it does not arrive.
    fn pass(&self, from: &PeerName, to: &PeerName) -> Option<Duration> {
        let mut held = self.held.lock();
        let way = held.ways.get(&(from.0.clone(), to.0.clone())).copied().unwrap_or_default();
        let lost = held.random.random_range(0..1_000) < way.lost_per_mille;
        (!way.cut && !lost).then_some(way.delay)
    }
}

/// Where a node of this name is.
pub(super) fn address(name: &str) -> Arc<str> {
    format!("{name}:7701").into()
}

struct Caller {
    from: PeerName,
    ways: Ways,
}

impl Caller {
    async fn travel(&self, to: &Place, service: Service, request: Bytes) -> Option<Bytes> {
        let (peer, answers) = self.ways.held.lock().nodes.get(&to.address)?.clone();
        tokio::time::sleep(self.ways.pass(&self.from, &peer)?).await;
        if service == Service::Snapshot {
            self.ways.held.lock().snapshot_pieces += 1;
        }
        assert!(request.len() <= crate::limits::CALL_BYTES_MAX);
        let answer = answers.answer(self.from.clone(), service, request).await?;
        tokio::time::sleep(self.ways.pass(&peer, &self.from)?).await;
        Some(answer)
    }
}

#[async_trait]
impl Transport for Caller {
    async fn call(
        &self,
        to: &Place,
        service: Service,
        request: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let travel = async {
            match self.travel(to, service, request).await {
                Some(answer) => answer,
                // A lost message is silence, not an error.
                None => std::future::pending().await,
            }
        };
        let address = to.address.clone();
        let answered = tokio::time::timeout(deadline, travel).await;
        answered.map_err(|_| CallError::NoAnswer { address, why: "lost".into() })
    }
}
