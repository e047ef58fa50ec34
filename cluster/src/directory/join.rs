//! How a node gets into a cluster: it asks seeds until one of them, or the leader that it names,
//! answers. A node that comes back does the same with the nodes that it knows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parlance_actors::vocab::NodeId;
use tokio::time::Instant;

use super::command::AdmitNode;
use super::identity::ClusterId;
use super::members::Member;
use super::wire::{self, Answer, Ask, Call};
use crate::limits;
use crate::transport::{PeerName, Place, Service, Transport};

/// Why a node was not admitted.
#[derive(Debug)]
pub(super) enum NotAdmitted {
    /// Nobody could admit it in time. Trying again may help.
    NotYet(String),
    /// The cluster does not want it.
    Refused(String),
}

/// What an admitted node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) node: NodeId,
    pub(super) cluster: ClusterId,
}

/// The places of seeds, of which only the address is known.
pub(super) fn seeds(addresses: &[Arc<str>]) -> Vec<Place> {
    addresses.iter().map(|address| Place { address: address.clone(), name: None }).collect()
}

/// Asks until it is admitted or refused, at most for `wait`.
pub(super) async fn ask(
    member: &Member,
    cluster: Option<ClusterId>,
    node: &AdmitNode,
    places: &[Place],
    wait: Duration,
) -> Result<Admitted, NotAdmitted> {
    let until = Instant::now() + wait;
    let mut why = "there is nobody to ask".to_owned();
    while Instant::now() < until {
        match round(member, cluster, node, places).await {
            Err(NotAdmitted::NotYet(missed)) => why = missed,
            done => return done,
        }
        tokio::time::sleep(limits::SEED_PAUSE).await;
    }
    Err(NotAdmitted::NotYet(why))
}

/// Asks every place once, and each leader that one of them names.
pub(super) async fn round(
    member: &Member,
    cluster: Option<ClusterId>,
    node: &AdmitNode,
    places: &[Place],
) -> Result<Admitted, NotAdmitted> {
    let mut queue: VecDeque<Place> = places.iter().cloned().collect();
    let mut missed = Vec::new();
    // Every place may name a leader once, and no more.
    let mut hints = places.len();
    while let Some(place) = queue.pop_front() {
        match ask_one(&*member.transport, cluster, node, &place).await {
            Ok(Answer::Admitted { node, cluster }) => return Ok(Admitted { node, cluster }),
            Ok(Answer::Refused(why)) => {
                return Err(NotAdmitted::Refused(format!("{}: {why}", place.address)));
            }
            Ok(Answer::NotLeader(Some(leader))) if hints > 0 => {
                hints -= 1;
                let name = Some(PeerName(leader.name));
                queue.push_front(Place { address: leader.control, name });
            }
            Ok(Answer::Failed(why)) => missed.push(format!("{}: {why}", place.address)),
            Ok(_) => missed.push(format!("{} knows no leader", place.address)),
            Err(why) => missed.push(why),
        }
    }
    Err(NotAdmitted::NotYet(missed.join("; ")))
}

async fn ask_one(
    transport: &dyn Transport,
    cluster: Option<ClusterId>,
    node: &AdmitNode,
    place: &Place,
) -> Result<Answer, String> {
    let from = node.claims.unwrap_or_default();
    let call = Call { cluster, from, to: NodeId(0), ask: Ask::Admit(node.clone()) };
    let called = transport.call(place, Service::Raft, wire::encode(&call), limits::SEED_WAIT);
    let answer = called.await.map_err(|error| error.to_string())?;
    wire::decode(&answer).ok_or_else(|| format!("{} answers something else", place.address))
}
