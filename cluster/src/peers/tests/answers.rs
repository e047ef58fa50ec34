//! What is said in answer to a frame arrives, or its sender is told: nothing is taken while there is
//! no way back.

use super::strangers::{dial, header, let_in, rogue};
use super::*;

/// How often the way is broken: where its streams begin again first is up to chance.
const BREAKS: u32 = 10;

fn has(ear: &Ear, from: NodeId, frame: &Bytes) -> bool {
    ear.frames(from, FIRST).contains(frame)
}

/// Sends until something of it arrives: the way is whole again.
async fn make_whole(from: (&Node, NodeId), to: (&Node, NodeId), frame: &Bytes) {
    let arrived = timeout(PATIENCE, async {
        while !has(&to.0.ear, from.1, frame) {
            from.0.send(to.1, FIRST, frame.clone()).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    arrived.await.expect("the way is whole within patience");
}

/// Breaks the way from two to one. One follows again as soon as it was told, and two answers as
/// soon as it hears that: the answer arrives, or one is told once more.
async fn answers_arrive(break_it: impl AsyncFn(&Node)) {
    let town = Town::new();
    let (one, two) = pair(&town);
    for round in 0..BREAKS {
        let frame = |what: &str| Bytes::from(format!("{what} {round}"));
        make_whole((&one, ONE), (&two, TWO), &frame("whole")).await;
        make_whole((&two, TWO), (&one, ONE), &frame("whole")).await;
        let told = one.ear.interruptions(TWO, FIRST);
        break_it(&two).await;
        one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) > told).await;
        let (follow, head) = (frame("follow"), frame("head"));
        let told = loop {
            let told = one.ear.interruptions(TWO, FIRST);
            if one.links.send(TWO, FIRST, follow.clone()).is_ok() {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let told_again = |ear: &Ear| ear.interruptions(TWO, FIRST) > told;
        tokio::select! {
            () = two.ear.until("the follow", |ear| has(ear, ONE, &follow)) => {}
            () = one.ear.until("told of its loss", told_again) => continue,
        }
        // Whatever becomes of it: a sender that gets an error tells nobody.
        let sent = two.links.send(ONE, FIRST, head.clone());
        let known = |ear: &Ear| has(ear, TWO, &head) || told_again(ear);
        one.ear.until(&format!("the answer, which was {sent:?}"), known).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_first_frame_after_an_interruption_arrives() {
    answers_arrive(async |two: &Node| two.send(ONE, FIRST, "bad").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_the_first_frame_after_the_way_back_was_cut_arrives() {
    answers_arrive(async |two: &Node| two.links.cut(ONE)).await;
}

#[tokio::test]
async fn nothing_is_taken_from_a_peer_that_cannot_be_reached_until_it_can() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    let rogue = rogue(&town, "n2", Some(TWO));
    let_in(&rogue);
    // Nobody is there.
    one.knows(&[at(TWO, anywhere())]);
    let linked = dial(&rogue, &one).await;
    let write = async |round, frame: &[u8; 6]| {
        let mut stream = linked.connection.open_uni().await.expect("a stream");
        stream.write_all(&header(round)).await.expect("written");
        stream.write_all(frame).await.expect("written");
        stream
    };
    // A stream that waits is given up when its round is over, ...
    let first = write(0, &[0, 0, 0, 2, b'n', b'o']).await;
    let second = write(1, &[0, 0, 0, 2, b'n', b'o']).await;
    timeout(PATIENCE, first.stopped()).await.expect("stopped").expect("stopped");
    // ... when another one of the round is in its place, ...
    let mut third = write(1, &[0, 0, 0, 2, b'n', b'o']).await;
    timeout(PATIENCE, second.stopped()).await.expect("stopped").expect("stopped");
    // ... and when the peer gives it up.
    third.reset(0_u8.into()).expect("open");
    one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) == 2).await;
    let _fourth = write(2, &[0, 0, 0, 2, b'h', b'i']).await;
    one.knows(&[at(TWO, rogue.local_addr())]);
    one.ear.until("a frame", |ear| ear.frames(TWO, FIRST).len() == 1).await;
    let told = Heard::Interrupted(TWO, FIRST);
    let heard = [told.clone(), told, Heard::Frame(TWO, FIRST, "hi".into())];
    assert_eq!(one.ear.of(TWO, FIRST), heard);
}
