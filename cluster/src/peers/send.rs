//! The sending side: one connection to a peer, dialled again whenever it is lost, and one writer
//! for each of its channels.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use parlance_actors::ports::peers::Channel;
use quinn::{Connection, SendStream, WriteError};
use tokio::time::Instant;

use super::outlet::{Next, Outlet};
use super::wire::StreamHeader;
use super::{Peer, Shared};
use crate::link::{Close, DialError, Linked, Purpose, pause};

/// How often the queue's size is measured.
const MEASURE: Duration = Duration::from_secs(1);
/// A connection or stream that lasted longer than this did not fail at once.
const LASTING: Duration = Duration::from_secs(1);

/// Keeps a connection to a peer until it is no peer any more.
pub(super) async fn keep(shared: Arc<Shared>, peer: Arc<Peer>) {
    let kept = async {
        shared.attached.cancelled().await;
        let mut failures = 0;
        loop {
            match dial(&shared, &peer).await {
                Ok(linked) => {
                    let linked_at = Instant::now();
                    use_connection(&shared, &peer, &linked).await;
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
    let connection = peer.connection.lock().take();
    if let Some(connection) = connection {
        connection.close(Close::Done.code(), b"no longer a peer");
    }
    up(&peer, false);
    for channel in Channel::all() {
        let outlet = &peer.link(channel).outlet;
        if outlet.has_way() {
            outlet.interrupt();
            interrupted(&shared, &peer, channel);
            outlet.no_way();
        }
    }
}

async fn dial(shared: &Shared, peer: &Peer) -> Result<Linked, DialError> {
    let address = Arc::clone(&peer.data.lock());
    let linked = shared.endpoint.dial(&address, Some(&peer.name), Purpose::Actor).await?;
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
    Ok(linked)
}

/// Sends on a connection until it is lost, or the peer is heard of in a newer start.
async fn use_connection(shared: &Shared, peer: &Peer, linked: &Linked) {
    let connection = &linked.connection;
    *peer.connection.lock() = Some(connection.clone());
    up(peer, true);
    let writers = join_all(Channel::all().map(|channel| write(shared, peer, channel, connection)));
    let watch = async {
        let mut newest = peer.incarnation.subscribe();
        let newer = newest.wait_for(|newest| *newest > linked.hello.incarnation).await.is_ok();
        if newer {
            connection.close(Close::Done.code(), b"this node started again");
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
        _ = writers => {}
        () = watch => {}
        () = measure => {}
    }
    // Whatever the writers ended of.
    connection.close(Close::Done.code(), b"");
    *peer.connection.lock() = None;
    up(peer, false);
    measure_none(peer);
}

/// Writes a channel's frames, on one stream after the other, until the connection is lost.
async fn write(shared: &Shared, peer: &Peer, channel: Channel, connection: &Connection) {
    let outlet = &peer.link(channel).outlet;
    let mut failures = 0;
    while let Ok(stream) = connection.open_uni().await {
        let opened = Instant::now();
        if write_stream(shared, outlet, channel, stream).await {
            outlet.interrupt();
            interrupted(shared, peer, channel);
        }
        if connection.close_reason().is_some() {
            break;
        }
        // A peer that takes no stream for long does not want one right away.
        failures = if opened.elapsed() > LASTING { 0 } else { failures + 1_u32 };
        if failures > 1 {
            tokio::time::sleep(pause(failures)).await;
        }
    }
    outlet.no_way();
}

/// Announces a stream and writes frames on it until it breaks. Returns whether it took any.
async fn write_stream(
    shared: &Shared,
    outlet: &Outlet,
    channel: Channel,
    mut stream: SendStream,
) -> bool {
    let number = shared.streams.fetch_add(1, Ordering::Relaxed) + 1;
    let header = StreamHeader { channel, number, after: outlet.number() };
    let opened = stream.write_all(&header.encode()).await.is_ok();
    if opened {
        outlet.open(number);
        // Why it ended does not matter: all ends are told alike.
        let _ = pump(outlet, &mut stream).await;
    }
    // Not `finish`: what it still holds is lost for the receiver in any case.
    let _ = stream.reset(Close::Done.code());
    opened
}

async fn pump(outlet: &Outlet, stream: &mut SendStream) -> Result<(), WriteError> {
    let mut stopped = std::pin::pin!(stream.stopped());
    loop {
        match outlet.next() {
            Next::Burst => return Ok(()),
            Next::Nothing => {
                tokio::select! {
                    () = outlet.filled() => {}
                    () = outlet.burst() => return Ok(()),
                    _ = &mut stopped => return Ok(()),
                }
            }
            Next::Pieces { mut pieces, frames, cost } => {
                let bytes: usize = pieces.iter().map(bytes::Bytes::len).sum();
                tokio::select! {
                    written = stream.write_all_chunks(&mut pieces) => written?,
                    () = outlet.burst() => return Ok(()),
                }
                outlet.written(cost);
                count("out", frames as u64, bytes as u64);
            }
        }
    }
}

/// Tells of an interruption on the sending side.
fn interrupted(shared: &Shared, peer: &Peer, channel: Channel) {
    let _inlet = peer.link(channel).inlet.lock();
    shared.tell(peer, channel);
}

pub(super) fn count(direction: &'static str, frames: u64, bytes: u64) {
    metrics::counter!("parlance_link_frames_total", "direction" => direction).increment(frames);
    metrics::counter!("parlance_link_bytes_total", "direction" => direction).increment(bytes);
}

fn up(peer: &Peer, up: bool) {
    metrics::gauge!("parlance_link_up", "kind" => "data", "peer" => peer.node.to_string())
        .set(if up { 1.0 } else { 0.0 });
}

fn measure(peer: &Peer) {
    #[allow(clippy::cast_precision_loss, reason = "a queue is far under 2^52 bytes")]
    let queued = peer.queued_bytes() as f64;
    metrics::gauge!("parlance_link_queue_bytes", "peer" => peer.node.to_string()).set(queued);
}

fn measure_none(peer: &Peer) {
    metrics::gauge!("parlance_link_queue_bytes", "peer" => peer.node.to_string()).set(0.0);
}
