//! The task by which a node keeps its lease: it tells the leader that it is there, and knows by
//! the answers whether it still has a lease. It decides about nobody else.

use std::convert::Infallible;
use std::sync::Arc;

use openraft::async_runtime::watch::WatchReceiver;
use parlance_actors::vocab::NodeId;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::members::Member;
use super::wire::{Answer, Ask, Renewal};
use crate::limits;

/// Renews until it is cancelled, or until Raft has ended: the leader would go on believing in a node
/// that learns of nothing any more.
pub(super) async fn run(core: Arc<Core>, member: Member, cancel: CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        _ = core.failed() => hold(&core, false),
        never = renew_again_and_again(&core, &member) => match never {},
    }
}

async fn renew_again_and_again(core: &Core, member: &Member) -> Infallible {
    let mut ticks = tokio::time::interval(member.leases.renew);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed: Option<Instant> = None;
    let mut asked_of = None;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            // A new leader gives nobody long to say that it is there.
            () = other_leader(core, asked_of) => {}
        }
        asked_of = core.leader();
        // The lease counts from the question, not from the answer: the leader counts from between.
        let asked = Instant::now();
        let asking = renew(core, member, asked_of);
        tokio::pin!(asking);
        let answered = loop {
            let ends = renewed.map(|renewed| renewed + member.leases.lease);
            tokio::select! {
                answered = &mut asking => break answered,
                // The former one may never answer.
                () = other_leader(core, asked_of) => break false,
                () = tokio::time::sleep_until(ends.unwrap_or(asked)), if ends.is_some() => {
                    renewed = None;
                    hold(core, false);
                }
            }
        };
        if answered {
            renewed = Some(asked);
            ticks.reset();
        } else {
            ticks.reset_after(member.leases.renew / limits::RENEWALS_AFTER_A_FAILED_ONE);
        }
        hold(core, renewed.is_some_and(|renewed| renewed.elapsed() < member.leases.lease));
    }
}

/// Says whether this node has a lease.
fn hold(core: &Core, held: bool) {
    let changed = core.lease.send_if_modified(|lease| std::mem::replace(lease, held) != held);
    if changed {
        tracing::info!(held, "this node's lease");
    }
    let own = core.identity.node;
    let owned = core.view.state.read().shards().filter(|(_, row)| row.owner == own).count();
    metrics::gauge!("parlance_lease_held").set(f64::from(u8::from(held)));
    metrics::gauge!("parlance_shards_owned").set(owned as f64);
}

/// Waits until another node leads than this one.
async fn other_leader(core: &Core, than: Option<NodeId>) {
    let mut metrics = core.raft.server_metrics();
    loop {
        let leader = metrics.borrow_watched().current_leader.map(NodeId);
        if leader.is_some() && leader != than {
            return;
        }
        if metrics.changed().await.is_err() {
            // Raft has ended.
            return std::future::pending().await;
        }
    }
}

/// Whether the leader, which may be this node, heard of this node now.
async fn renew(core: &Core, member: &Member, leader: Option<NodeId>) -> bool {
    let metrics = core.metrics();
    let own = core.identity.node;
    let load = core.load.lock().clone();
    let Some(leader) = leader else { return false };
    if leader == own {
        if !core.leads_within(&metrics, member.leases.lease) {
            return false;
        }
        let mut leases = core.leases.lock();
        leases.hear(own, member.incarnation, load, core.now());
        let sums = leases.sums();
        drop(leases);
        *core.loads.lock() = sums.into_iter().collect();
        return true;
    }
    let Some(place) = core.network.place(leader) else { return false };
    let ask = Ask::Renew(Renewal { incarnation: member.incarnation, load });
    // Longer than the pause between two: a slow way delays leases and must not end them.
    match core.network.ask(leader, &place, ask, member.leases.lease / 2).await {
        Ok(Answer::Renewed(sums)) => {
            *core.loads.lock() = sums.into_iter().collect();
            true
        }
        Ok(Answer::Refused(why)) => {
            tracing::warn!(%leader, why, "the leader does not renew this node's lease");
            false
        }
        // The next one comes soon, and the lease says when there were too few.
        Ok(_) | Err(_) => false,
    }
}
