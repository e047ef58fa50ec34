//! The end of a node: when it begins, and the ordered list of what happens. A second signal ends
//! the process at once.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::assemble::Node;
use crate::failure::{Cause, Failure};

/// All of a shutdown. Orchestrators kill after 10 s or more, and people wait less.
const SHUTDOWN_MAX: Duration = Duration::from_millis(4_800);
const _: () = assert!(SHUTDOWN_MAX.as_millis() > parlance_actors::limits::DRAIN.as_millis());

/// Of that, what giving the shards away may take; the sessions need the rest.
const LEAVE_MAX: Duration = Duration::from_secs(2);
const _: () = assert!(LEAVE_MAX.as_millis() < SHUTDOWN_MAX.as_millis());

/// SIGTERM and SIGINT of this process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes both signals over. Called before anything is started, so that none is missed.
    pub(crate) fn take() -> Result<Self, Failure> {
        let cannot =
            |error| Failure::new(Cause::Other, format!("cannot wait for signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(cannot)?,
            interrupt: signal(SignalKind::interrupt()).map_err(cannot)?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> SignalKind {
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate(),
            _ = self.interrupt.recv() => SignalKind::interrupt(),
        }
    }
}

/// Ends the process without any order, as the signal would have by itself.
pub(crate) fn end_at_once(signal: SignalKind) -> ! {
    std::process::exit(128 + signal.as_raw_value())
}

/// Ends the node in order. Every step may take what is left of the whole time; one that takes
/// longer is left behind, because the rest must still happen.
pub(crate) async fn shut_down(node: Node) {
    let begun = Instant::now();
    // No new connection and no new request.
    node.gateway.stop_accepting();
    // Other nodes take the shards while sessions go on here. What is left is taken over.
    let left = node.member.drain_shards(LEAVE_MAX).await;
    if left > 0 && node.member.addresses().is_some() {
        warn!(shards = left, "not every shard was given away; others take them over");
    }
    // What is in flight is answered or refused, and every session is told `bye` with 4005.
    step(begun, "drain the chat", node.chat.drain()).await;
    // The sockets have written what was said to them.
    step(begun, "close connections", node.gateway.closed()).await;
    // Nothing appends any more: the lanes settle what waits and end.
    step(begun, "close the lanes", node.history.close()).await;
    // Nobody is told any more how it stands.
    step(begun, "close the control socket", node.control.close()).await;
    // Nothing asks who owns what any more, and the others hear that this node goes.
    step(begun, "leave the cluster", node.member.leave()).await;
    // What was traced of all that.
    if let Some(exporting) = node.exporting {
        step(begun, "send the last spans", exporting.close()).await;
    }
    // Log lines are written as they are made; this is the last one.
    let took = begun.elapsed();
    info!(took_ms = took.as_millis() as u64, "ended in order");
}

async fn step(begun: Instant, what: &'static str, work: impl Future<Output = ()>) {
    let left = SHUTDOWN_MAX.saturating_sub(begun.elapsed());
    if tokio::time::timeout(left, work).await.is_err() {
        warn!(step = what, "did not end in time; going on without it");
    }
}
