//! The receiving side: connections from peers, and one reader for each of their streams.

use std::sync::Arc;

use parlance_actors::ports::peers::Channel;
use quinn::{Connection, RecvStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::channel::StreamId;
use super::wire::{Bad, Cutter, Layout, stop_code};
use super::{Peer, Shared};
use crate::limits::{READ_BYTES_MAX, STREAM_HEADER_WAIT};
use crate::link::{Close, Linked};

/// Serves an accepted connection until it ends.
pub(super) async fn serve(shared: Arc<Shared>, linked: Linked) {
    let connection = linked.connection.clone();
    tokio::select! {
        () = shared.attached.cancelled() => {}
        _ = connection.closed() => return,
    }
    let Some(peer) = admit(&shared, &linked) else { return };
    let mut readers = JoinSet::new();
    let mut newest = peer.incarnation.subscribe();
    loop {
        tokio::select! {
            _ = newest.wait_for(|newest| *newest > linked.hello.incarnation) => {
                connection.close(Close::NotYet.code(), b"a newer start of this node is there");
                break;
            }
            stream = connection.accept_uni() => match stream {
                Ok(stream) => {
                    let (shared, peer) = (Arc::clone(&shared), Arc::clone(&peer));
                    let linked = linked.clone();
                    readers.spawn(async move {
                        read(&shared, &peer, &linked, stream).await;
                    });
                }
                Err(_) => break,
            },
            () = peer.ended.cancelled() => {
                connection.close(Close::NotYet.code(), b"no longer a peer");
                break;
            }
            Some(_) = readers.join_next() => {}
        }
    }
    // Each finds its stream lost, tells, and ends.
    while readers.join_next().await.is_some() {}
}

/// Whether the one who dialled is a peer, and in its newest start.
fn admit(shared: &Shared, linked: &Linked) -> Option<Arc<Peer>> {
    let address = linked.connection.remote_address();
    let refuse = |kind, close: Close, why: String| {
        shared.endpoint.refused(address, kind, &why);
        linked.connection.close(close.code(), why.as_bytes());
        None
    };
    let Some(node) = linked.hello.node else {
        return refuse("wrong peer", Close::Refused, format!("{} has no id", linked.name));
    };
    let Some(peer) = shared.peers.read().get(&node).cloned() else {
        let why = format!("node {node} ({}) is not known here yet", linked.name);
        return refuse("not known", Close::NotYet, why);
    };
    if peer.name != linked.name {
        let why = format!("{} says that it is node {node}, which is {}", linked.name, peer.name);
        return refuse("wrong peer", Close::Refused, why);
    }
    if !peer.heard(linked.hello.incarnation) {
        let why = format!("node {node} was heard of in a newer start");
        return refuse("old start", Close::NotYet, why);
    }
    Some(peer)
}

/// Reads a stream to its end, whatever that is.
async fn read(shared: &Shared, peer: &Peer, linked: &Linked, mut stream: RecvStream) {
    let (connection, start) = (&linked.connection, linked.hello.incarnation);
    let layout = Layout::of(linked.version);
    let mut header = vec![0; layout.header_bytes()];
    match timeout(STREAM_HEADER_WAIT, stream.read_exact(&mut header)).await {
        Ok(Ok(())) => {}
        // No frame was taken from it, and the sender's next one is of a later round.
        Ok(Err(_)) => return,
        Err(_) => return malformed(shared, connection, "a stream did not say what it is"),
    }
    let Some(header) = layout.decode(&header) else {
        return malformed(
            shared,
            connection,
            "a stream is for a channel or a round that does not exist",
        );
    };
    let channel = header.channel;
    let link = peer.link(channel);
    let (round, begun) = {
        let mut rounds = link.rounds();
        let (told, begun) = rounds.begin(start, header.round);
        shared.tell(peer, channel, told);
        (rounds.round(), begun)
    };
    let Some(id) = begun else {
        let _ = stream.stop(stop_code(round));
        return;
    };
    // Meanwhile the sender is held back by the stream's window.
    let may_take = tokio::select! {
        may_take = link.may_take(id) => may_take,
        // The sender gave the round up, or the connection is lost.
        _ = stream.received_reset() => false,
    };
    if may_take && let Err(bad) = take(shared, peer, channel, id, &mut stream).await {
        let why = format!("node {}, channel {}: {bad}", peer.node, channel.0);
        shared.endpoint.refused(connection.remote_address(), "malformed", &why);
    }
    let round = {
        let mut rounds = link.rounds();
        let told = rounds.lost(id);
        shared.tell(peer, channel, told);
        rounds.round()
    };
    // The sender hears of it, and begins a stream of this round.
    let _ = stream.stop(stop_code(round));
}

/// Gives a stream's frames to the inbox, until it ends or its round does.
async fn take(
    shared: &Shared,
    peer: &Peer,
    channel: Channel,
    id: StreamId,
    stream: &mut RecvStream,
) -> Result<(), Bad> {
    let mut cutter = Cutter::default();
    while let Ok(Some(chunk)) = stream.read_chunk(READ_BYTES_MAX, true).await {
        let rounds = peer.link(channel).rounds();
        if !rounds.takes(id) {
            return Ok(());
        }
        let frames = cutter.cut(&chunk.bytes, |frame| {
            shared
                .inbox()
                .frame(peer.node, channel, frame)
                .map_err(|malformed| Bad::Malformed(malformed.to_string()))
        })?;
        shared.counts.received(frames, chunk.bytes.len() as u64);
    }
    Ok(())
}

/// Ends the connection of a peer that does not keep to the protocol at all.
fn malformed(shared: &Shared, connection: &Connection, why: &str) {
    shared.endpoint.refused(connection.remote_address(), "malformed", why);
    connection.close(Close::Malformed.code(), why.as_bytes());
}
