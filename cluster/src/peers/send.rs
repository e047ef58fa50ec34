//! The sending side: one connection to a peer, dialled again whenever it is lost, and one writer
//! for each of its channels.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parlance_actors::ports::peers::Channel;
use quinn::{ConnectionError, SendStream, StoppedError, VarInt, WriteError};
use tokio::time::Instant;

use super::outlet::{Next, Outlet};
use super::wire::{Layout, StreamHeader, round_of_stop};
use super::{Peer, Shared};
use crate::link::{Close, DialError, LASTING, Linked, Purpose, pause};

/// How often the queue's size is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// Streams in a row that may end at once before the next one waits.
const STREAMS_FREE: u32 = 3;

/// How the use of a connection ended.
enum Ended {
    Lost {
        in_silence: bool,
    },
    /// A direct one takes the place of a relayed one.
    Replaced(Linked),
}

/// Keeps a connection to a peer until it is no peer any more.
pub(super) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    let kept = async {
        shared.attached.cancelled().await;
        let mut failures = 0;
        let (mut better, mut silent) = (None, false);
        loop {
            let dialled = match better.take() {
                Some(linked) => Ok(linked),
                None => dial(&shared, &peer, std::mem::take(&mut silent)).await,
            };
            match dialled {
                Ok(linked) => {
                    let linked_at = Instant::now();
                    match use_connection(&shared, &peer, &linked).await {
                        Ended::Replaced(by) => {
                            better = Some(by);
                            continue;
                        }
                        Ended::Lost { in_silence } => silent = in_silence,
                    }
                    // One that sends this node away at once is not to be asked again at once.
                    if linked_at.elapsed() > LASTING {
                        failures = 0;
                    }
                }
                Err(error) => {
                    metrics::counter!("parlance_link_dial_failures_total", "kind" => "data")
                        .increment(1);
                    tracing::debug!(peer = %peer.node, name = %peer.name, %error, "no data link");
                }
            }
            tokio::time::sleep(pause(failures)).await;
            failures = failures.saturating_add(1);
        }
    };
    peer.ended.run_until_cancelled(kept).await;
    let linked = peer.linked.lock().take();
    if let Some(linked) = linked {
        linked.connection.close(Close::Done.code(), b"no longer a peer");
    }
    up(&peer, None);
    for channel in Channel::all() {
        let link = peer.link(channel);
        if link.outlet.has_way() {
            let round = link.rounds().round();
            shared.end_round(&peer, channel, round, 0);
        }
        link.outlet.no_way();
    }
}

async fn dial(shared: &Shared, peer: &Peer, silent: bool) -> Result<Linked, DialError> {
    let address = Arc::clone(&peer.data.lock());
    let endpoint = &shared.endpoint;
    let linked = endpoint.find_way(&address, &peer.name, Purpose::Actor, silent).await?;
    check(peer, &linked)?;
    Ok(linked)
}

/// Whether who is there is the peer, and in its newest start.
fn check(peer: &Peer, linked: &Linked) -> Result<(), DialError> {
    if linked.hello.node != Some(peer.node) {
        let why = format!("node {} of another id is there", peer.name);
        linked.connection.close(Close::Refused.code(), why.as_bytes());
        return Err(DialError::WrongPeer(why));
    }
    if !peer.heard(linked.hello.incarnation) {
        let why = format!("an older start of node {} is there", peer.node);
        linked.connection.close(Close::NotYet.code(), why.as_bytes());
        return Err(DialError::Unreachable(why));
    }
    Ok(())
}

/// Sends on a connection until it is lost, or the peer is heard of in a newer start, or a direct one
/// can take the place of a relayed one.
async fn use_connection(shared: &Shared, peer: &Peer, linked: &Linked) -> Ended {
    let connection = &linked.connection;
    *peer.linked.lock() = Some(linked.clone());
    up(peer, Some(linked));
    if let Some(relay) = &linked.over {
        tracing::info!(peer = %peer.node, name = %peer.name, %relay, "a relayed way");
    }
    // Of these, only those that have something to do are looked at.
    let mut writers: FuturesUnordered<_> =
        Channel::all().map(|channel| write(shared, peer, channel, linked)).collect();
    let writers = async { while writers.next().await.is_some() {} };
    let watch = async {
        let mut newest = peer.incarnation.subscribe();
        let newer = newest.wait_for(|newest| *newest > linked.hello.incarnation).await.is_ok();
        if newer {
            connection.close(Close::Done.code(), b"this node started again");
        }
        std::future::pending::<()>().await;
    };
    let mut better = None;
    let direct = async {
        if linked.over.is_some() {
            better = Some(direct_again(shared, peer).await);
            connection.close(Close::Done.code(), b"there is a direct way");
        }
        std::future::pending::<()>().await;
    };
    let measure = async {
        loop {
            measure(peer);
            tokio::time::sleep(MEASURE).await;
        }
    };
    tokio::select! {
        () = writers => {}
        () = watch => {}
        () = direct => {}
        () = measure => {}
    }
    let in_silence = connection.close_reason() == Some(ConnectionError::TimedOut);
    // Whatever the writers ended of.
    connection.close(Close::Done.code(), b"");
    *peer.linked.lock() = None;
    up(peer, None);
    measure_none(peer);
    better.map_or(Ended::Lost { in_silence }, Ended::Replaced)
}

/// Waits for a direct connection to the peer in its newest start.
async fn direct_again(shared: &Shared, peer: &Peer) -> Linked {
    let address = || Arc::clone(&peer.data.lock());
    loop {
        let linked = shared.endpoint.direct_again(address, &peer.name, Purpose::Actor).await;
        if check(peer, &linked).is_ok() {
            return linked;
        }
    }
}

/// Writes a channel's frames, on one stream after the other, until the connection is lost.
async fn write(shared: &Shared, peer: &Peer, channel: Channel, linked: &Linked) {
    let connection = &linked.connection;
    let layout = Layout::of(linked.version);
    let mut failures = 0;
    while let Ok(stream) = connection.open_uni().await {
        let opened = Instant::now();
        write_stream(shared, peer, channel, layout, stream).await;
        if connection.close_reason().is_some() {
            break;
        }
        // A peer that takes no stream for long does not want one right away. The first few are
        // free: both ends agree on a round with them.
        failures = if opened.elapsed() > LASTING { 0 } else { failures + 1_u32 };
        if failures > STREAMS_FREE {
            tokio::time::sleep(pause(failures - STREAMS_FREE)).await;
        }
    }
    peer.link(channel).outlet.no_way();
}

/// Begins a stream of the present round and writes frames on it until either breaks.
async fn write_stream(
    shared: &Shared,
    peer: &Peer,
    channel: Channel,
    layout: Layout,
    mut stream: SendStream,
) {
    let link = peer.link(channel);
    let round = link.rounds().round();
    let header = StreamHeader { channel, round };
    // Otherwise nothing was taken for it: the round goes on with another stream.
    if stream.write_all(&layout.encode(header)).await.is_ok() && link.open(round) {
        let theirs = pump(shared, &link.outlet, &mut stream).await;
        shared.end_round(peer, channel, round, theirs);
    }
    // After this end was told. Not `finish`: what the stream still holds is of a round that is over.
    let _ = stream.reset(Close::Done.code());
}

/// Writes what gathers until the stream breaks or the round is over. Returns the round that the peer
/// says it is in; 0 when it says none.
async fn pump(shared: &Shared, outlet: &Outlet, stream: &mut SendStream) -> u64 {
    let mut stopped = std::pin::pin!(stream.stopped());
    let said = |stopped: Result<Option<VarInt>, StoppedError>| match stopped {
        Ok(Some(code)) => round_of_stop(code),
        _ => 0,
    };
    loop {
        match outlet.next() {
            Next::Burst => return 0,
            Next::Nothing => {
                tokio::select! {
                    biased;
                    // What else is ready runs first, so that what it says goes in the same packet.
                    () = outlet.stirred() => tokio::task::yield_now().await,
                    stopped = &mut stopped => return said(stopped),
                }
            }
            Next::Pieces { mut pieces, frames, cost } => {
                let bytes: usize = pieces.iter().map(Bytes::len).sum();
                tokio::select! {
                    // Nearly every write is taken at once, and waits for nothing.
                    biased;
                    written = stream.write_all_chunks(&mut pieces) => match written {
                        Ok(()) => {}
                        Err(WriteError::Stopped(code)) => return round_of_stop(code),
                        Err(_) => return 0,
                    },
                    () = outlet.burst() => return 0,
                }
                outlet.written(cost);
                shared.counts.sent(frames as u64, bytes as u64);
            }
        }
    }
}

fn up(peer: &Peer, up: Option<&Linked>) {
    let relayed = up.is_some_and(|up| up.over.is_some());
    let label = peer.node.to_string();
    metrics::gauge!("parlance_link_up", "kind" => "data", "peer" => label.clone())
        .set(f64::from(u8::from(up.is_some())));
    metrics::gauge!("parlance_link_relayed", "kind" => "data", "peer" => label)
        .set(f64::from(u8::from(relayed)));
}

fn measure(peer: &Peer) {
    #[allow(clippy::cast_precision_loss, reason = "a queue is far under 2^52 bytes")]
    let queued = peer.queued_bytes() as f64;
    metrics::gauge!("parlance_link_queue_bytes", "peer" => peer.node.to_string()).set(queued);
}

fn measure_none(peer: &Peer) {
    metrics::gauge!("parlance_link_queue_bytes", "peer" => peer.node.to_string()).set(0.0);
}
