//! Overflows, cuts and deaths: both ends are told before anything goes on.

use super::*;
use crate::limits::CHANNEL_BYTES_MAX;

/// Numbers of the frames heard, with `None` for each interruption.
fn numbers(heard: &[Heard]) -> Vec<Option<u32>> {
    let number = |heard: &Heard| match heard {
        Heard::Frame(_, _, frame) => {
            Some(u32::from_be_bytes(*frame.first_chunk().expect("four bytes")))
        }
        Heard::Interrupted(..) => None,
    };
    heard.iter().map(number).collect()
}

/// Frames come in order and at most once, and each one that is missing is announced.
fn check(heard: &[Heard], first: u32) {
    let (mut next, mut told) = (first, true);
    for number in numbers(heard) {
        match number {
            None => told = true,
            Some(number) => {
                assert!(number >= next, "{number} after {next} was due");
                assert!(number == next || told, "{number} came, {next} was due, nobody was told");
                (next, told) = (number + 1, false);
            }
        }
    }
}

fn numbered(number: u32, bytes: usize) -> Bytes {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(bytes, 0);
    frame.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overflow_interrupts_both_ends_and_then_it_goes_on() {
    let town = Town::new();
    let one = Node::new(&town, ONE);
    // It takes nothing: it is not attached.
    let two = silent(&town, TWO, anywhere(), 1);
    introduce(&one, &two);
    one.send(TWO, FIRST, numbered(0, 100_000)).await;
    let mut number = 1;
    let overflow = loop {
        match one.links.send(TWO, FIRST, numbered(number, 100_000)) {
            Ok(()) => number += 1,
            Err(error) => break error,
        }
        assert!(number < 1_000, "the bound is {CHANNEL_BYTES_MAX} bytes");
    };
    assert_eq!(overflow, NotSent::Interrupted);
    one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) == 1).await;
    // Another channel is not concerned.
    one.send(TWO, Channel(1), numbered(0, 10)).await;
    two.attach();
    one.send(TWO, FIRST, numbered(5_000, 10)).await;
    two.ear
        .until("what came after", |ear| numbers(&ear.of(ONE, FIRST)).last() == Some(&Some(5_000)))
        .await;
    let heard = two.ear.of(ONE, FIRST);
    check(&heard, 0);
    assert!(numbers(&heard).contains(&None), "the receiver was told");
    two.ear.until("the other channel", |ear| ear.frames(ONE, Channel(1)).len() == 1).await;
    assert_eq!(one.ear.interruptions(TWO, FIRST), 1);
    assert_eq!(one.ear.interruptions(TWO, Channel(1)), 0);
    assert_eq!(two.ear.interruptions(ONE, Channel(1)), 0);
}

#[tokio::test]
async fn a_frame_that_does_not_decode_interrupts_its_channel_on_both_ends() {
    let town = Town::new();
    let (one, two) = pair(&town);
    one.send(TWO, FIRST, "good").await;
    one.send(TWO, FIRST, "bad").await;
    one.ear.until("the sender is told", |ear| ear.interruptions(TWO, FIRST) == 1).await;
    two.ear.until("the receiver is told", |ear| ear.interruptions(ONE, FIRST) == 1).await;
    one.send(TWO, FIRST, "again").await;
    two.ear.until("it goes on", |ear| ear.frames(ONE, FIRST).len() == 2).await;
    let heard = [
        Heard::Frame(ONE, FIRST, "good".into()),
        Heard::Interrupted(ONE, FIRST),
        Heard::Frame(ONE, FIRST, "again".into()),
    ];
    assert_eq!(two.ear.of(ONE, FIRST), heard);
    assert_eq!(one.ear.interruptions(TWO, Channel(1)), 0);
    assert_eq!(two.ear.interruptions(ONE, Channel(1)), 0);
}

/// A receiver that follows a room again because it was told must not be forgotten by a sender that
/// is told only after it took that.
#[tokio::test]
async fn an_end_is_told_before_it_takes_what_the_other_sends_because_of_being_told() {
    let town = Town::new();
    let (one, two) = pair(&town);
    two.send(ONE, FIRST, "before").await;
    one.send(TWO, FIRST, "bad").await;
    two.ear.until("told", |ear| ear.interruptions(ONE, FIRST) == 1).await;
    two.send(ONE, FIRST, "follow").await;
    one.ear
        .until("a frame", |ear| ear.frames(TWO, FIRST).last().is_some_and(|last| last == "follow"))
        .await;
    // Long enough for everything else about the broken stream to arrive.
    for number in 0..20 {
        one.send(TWO, FIRST, numbered(number, 4)).await;
        two.ear.until("a frame", |ear| ear.frames(ONE, FIRST).len() > number as usize).await;
    }
    let heard = one.ear.of(TWO, FIRST);
    let told = heard.iter().position(|heard| *heard == Heard::Interrupted(TWO, FIRST));
    let follow = heard.iter().position(|heard| *heard == Heard::Frame(TWO, FIRST, "follow".into()));
    assert!(told.is_some() && told < follow, "{heard:?}");
    assert_eq!(one.ear.interruptions(TWO, FIRST), 1);
}

/// The promise of the port under cuts at random moments: no gap without a word, on either side.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_in_silence_while_connections_are_cut() {
    const FRAMES: u32 = 4_000;
    let town = Town::new();
    let (one, two) = pair(&town);
    for number in 0..FRAMES {
        for channel in Channel::all() {
            one.send(TWO, channel, numbered(number, 200)).await;
        }
        if number % 500 == 250 {
            one.links.cut(TWO);
        }
    }
    for channel in Channel::all() {
        // What was taken just before an interruption may be lost: another one follows until one
        // arrives. That something arrives is what must be.
        let last = |ear: &Ear| numbers(&ear.of(ONE, channel)).into_iter().flatten().last();
        let arrived = timeout(PATIENCE, async {
            let mut number = FRAMES;
            while last(&two.ear).is_none_or(|last| last < FRAMES) {
                one.send(TWO, channel, numbered(number, 4)).await;
                number += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        arrived.await.expect("a frame after the last cut");
        check(&two.ear.of(ONE, channel), 0);
        assert!(one.ear.interruptions(TWO, channel) >= 1, "the sender was told");
        assert!(two.ear.interruptions(ONE, channel) >= 1, "the receiver was told");
        // The other direction was not cut.
        assert!(one.ear.frames(TWO, channel).is_empty());
    }
}

#[test]
fn a_peer_that_dies_without_a_word_is_noticed_and_found_again_when_it_is_back() {
    let town = Town::new();
    let mine = tokio::runtime::Runtime::new().expect("a runtime");
    let theirs = tokio::runtime::Runtime::new().expect("a runtime");
    let one = mine.block_on(async { Node::new(&town, ONE) });
    let two = theirs.block_on(async {
        let two = silent(&town, TWO, apart(), 1);
        two.attach();
        two
    });
    let address = two.links.local_addr();
    introduce(&one, &two);
    mine.block_on(async {
        one.send(TWO, FIRST, "hi").await;
        two.ear.until("a frame", |ear| ear.frames(ONE, FIRST).len() == 1).await;
    });
    theirs.block_on(async {
        two.send(ONE, FIRST, "hi").await;
        one.ear.until("a frame", |ear| ear.frames(TWO, FIRST).len() == 1).await;
    });

    // Its runtime is gone, and with it its socket: nobody hears a word of it again.
    theirs.shutdown_background();
    mine.block_on(async {
        // Once for both directions, whichever is noticed first.
        one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) == 1).await;
        let noticed = timeout(PATIENCE, async {
            while one.links.send(TWO, FIRST, "lost".into()) != Err(NotSent::NoWay) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        noticed.await.expect("there is no way");
        assert!(!one.links.links()[0].connected);
        drop(two);

        let back = timeout(PATIENCE, async {
            loop {
                let hello = Hello { incarnation: 2, ..Hello::default() };
                let at = LinkOptions { listen: address, ..options(town.identity("n2"), hello) };
                match DataLinks::bind(TWO, at) {
                    Ok(links) => break Node { links, ear: Ear::new() },
                    // Its socket may take a moment to be gone.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        });
        let two = back.await.expect("bound again");
        two.attach();
        introduce(&one, &two);
        one.send(TWO, FIRST, "again").await;
        two.ear.until("a frame", |ear| ear.frames(ONE, FIRST) == ["again"]).await;
        two.send(ONE, FIRST, "again").await;
        one.ear.until("a frame", |ear| ear.frames(TWO, FIRST) == ["hi", "again"]).await;
    });
}

#[tokio::test]
async fn a_newer_start_of_a_peer_interrupts_the_link_to_its_older_one() {
    let town = Town::new();
    let (one, two) = pair(&town);
    one.send(TWO, FIRST, "hi").await;
    two.send(ONE, FIRST, "hi").await;
    one.ear.until("a frame", |ear| ear.frames(TWO, FIRST).len() == 1).await;
    // The older start is still there and says nothing, as a process that was stopped.
    let newer = silent(&town, TWO, anywhere(), 2);
    newer.attach();
    newer.knows(&[at(ONE, one.links.local_addr())]);
    one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) >= 1).await;
    // Nothing is taken from it before there is a way to it.
    one.knows(&[at(TWO, newer.links.local_addr())]);
    // The first frames may fall into the round that the newer start ends, and be lost.
    let last_is_newer =
        |ear: &Ear| ear.frames(TWO, FIRST).last().is_some_and(|last| last == "newer");
    let arrived = timeout(PATIENCE, async {
        while !last_is_newer(&one.ear) {
            newer.send(ONE, FIRST, "newer").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    arrived.await.expect("a frame of the newer start");
    // Before the first frame of the newer start.
    let heard = one.ear.of(TWO, FIRST);
    let newer_frame = Heard::Frame(TWO, FIRST, "newer".into());
    let frame = heard.iter().position(|heard| *heard == newer_frame).expect("heard");
    assert!(heard[..frame].contains(&Heard::Interrupted(TWO, FIRST)), "{heard:?}");
    one.send(TWO, FIRST, "to the newer").await;
    newer.ear.until("a frame", |ear| !ear.frames(ONE, FIRST).is_empty()).await;
}

#[tokio::test]
async fn a_peer_that_is_let_go_is_told_of_and_may_come_back() {
    let town = Town::new();
    let (one, two) = pair(&town);
    one.send(TWO, FIRST, "hi").await;
    two.ear.until("a frame", |ear| ear.frames(ONE, FIRST).len() == 1).await;
    one.knows(&[]);
    one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) >= 1).await;
    assert_eq!(one.links.send(TWO, FIRST, "hi".into()), Err(NotSent::NoWay));
    two.ear.until("told", |ear| ear.interruptions(ONE, FIRST) >= 1).await;
    one.knows(&[at(TWO, two.links.local_addr())]);
    // It may be taken for a connection that is refused yet, and be lost, which is told.
    loop {
        let told = one.ear.interruptions(TWO, FIRST);
        one.send(TWO, FIRST, "again").await;
        tokio::select! {
            () = two.ear.until("a frame", |ear| ear.frames(ONE, FIRST).len() > 1) => break,
            () = one.ear.until("told", |ear| ear.interruptions(TWO, FIRST) > told) => {}
        }
    }
}
