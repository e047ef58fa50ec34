//! A node that comes back asks those that it knows whether they still know it like this, before its
//! Raft says a word: a data directory from an old backup has forgotten votes and entries that the
//! others count on, and may not vote again. Whoever answers compares how often the directory was
//! started; the leader also compares where its log ends. Where nobody answers, as when all nodes
//! start at once, the node goes on: the same is compared when it announces itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parlance_actors::vocab::NodeId;
use serde::{Deserialize, Serialize};

use super::command::AdmitNode;
use super::core::Core;
use super::join;
use super::members::Member;
use super::network::Network;
use super::wire::{self, Answer, Ask, Call};
use crate::limits;
use crate::transport::{PeerName, Place, Service};

/// What a node says of itself before it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Returning {
    /// How often its data directory was started, this time included.
    pub(super) incarnation: u64,
    /// The index of the last entry in its log.
    pub(super) last: u64,
}

/// Where somebody may be who knows this node: the places of the snapshot, of the log's admissions,
/// which may be newer, and of the seeds.
pub(super) fn places(
    network: &Network,
    admitted: Vec<(PeerName, Arc<str>)>,
    seeds: &[Arc<str>],
    own: &PeerName,
) -> Vec<Place> {
    let mut named: BTreeMap<PeerName, Arc<str>> = network.known().into_iter().collect();
    named.extend(admitted);
    named.remove(own);
    let named = named.into_iter().map(|(name, address)| Place { address, name: Some(name) });
    named.chain(join::seeds(seeds)).collect()
}

/// Asks all of them at once. Returns why this node may not come back, if somebody says so; the
/// leader's word is enough that it may.
pub(super) async fn refusal(
    network: &Network,
    member: &Member,
    places: &[Place],
    returning: Returning,
) -> Option<String> {
    let (cluster, from) = (Some(network.identity.cluster), network.identity.node);
    let call = Call { cluster, from, to: NodeId(0), ask: Ask::Return(returning) };
    let call = wire::encode(&call);
    let asked = places.iter().map(|place| {
        member.transport.call(place, Service::Raft, call.clone(), limits::RETURN_WAIT)
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    while let Some(answer) = asked.next().await {
        match answer.ok().and_then(|answer| wire::decode(&answer)) {
            Some(Answer::Refused(why)) => return Some(why),
            Some(Answer::MayReturn { leads: true }) => return None,
            // Another one may know more.
            _ => {}
        }
    }
    None
}

/// Why a directory of this count of starts is not taken: the same words wherever it is found out.
fn old_backup(node: NodeId, started: u64, heard: u64) -> String {
    format!(
        "the data directory of node {node} is from an old backup: it has been started {started} \
         times, and the cluster has heard of its start {heard}. It has forgotten what it promised \
         since. Move it away and start the node with an empty one to join as a new node"
    )
}

impl Core {
    /// Why a node that announces itself is not taken, if it comes from an old backup. A repeated
    /// announcement is of the same start.
    pub(super) fn forgot(&self, node: &AdmitNode) -> Option<String> {
        let claimed = node.claims?;
        let heard = self.view.state.read().node(claimed)?.incarnation;
        (heard > node.incarnation).then(|| old_backup(claimed, node.incarnation, heard))
    }

    /// What this node knows about one that comes back.
    pub(super) fn may_return(&self, node: NodeId, returning: Returning) -> Answer {
        let state = self.view.state.read();
        let Some(record) = state.node(node) else {
            return match state.removed(node) {
                Some(why) => Answer::Refused(why),
                None => Answer::Failed(format!("node {node} is not known here yet")),
            };
        };
        if record.incarnation >= returning.incarnation {
            let heard = record.incarnation;
            return Answer::Refused(old_backup(node, returning.incarnation, heard));
        }
        drop(state);
        let metrics = self.metrics();
        // A leader of old, cut off from its quorum, may know of acknowledgements that were taken back.
        let lease = self.member.as_ref().map(|member| member.leases.lease);
        let leads = lease.is_some_and(|lease| self.leads_within(&metrics, lease / 2));
        let acknowledged = metrics.replication.as_ref().and_then(|nodes| nodes.get(&node.0));
        let acknowledged = acknowledged.and_then(Option::as_ref).map_or(0, |last| last.index);
        if leads && acknowledged > returning.last {
            return Answer::Refused(format!(
                "the data directory of node {node} is from an old backup: its log ends at entry {}, \
                 and it has acknowledged entry {acknowledged}. It has forgotten what it promised \
                 since. Move it away and start the node with an empty one to join as a new node",
                returning.last
            ));
        }
        Answer::MayReturn { leads }
    }
}
