//! The verdict on a run, by the promises' checker.

use parlance_benches::checker::Run;

use super::Chance;

/// Fails with every broken promise, and when too little was looked at to say anything.
pub(crate) fn verdict(run: &Run, acks_at_least: u64) {
    let (looked, violations) = run.check();
    println!("{looked:?}");
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
    assert!(looked.acked as u64 >= acks_at_least, "too little was looked at: {looked:?}");
}

/// The verdict on this very run would have been another one for a single lost event or ack: what
/// was collected really reaches the checker.
pub(crate) fn small_damage_is_found(mut run: Run, chance: &mut Chance) {
    let heard_much = run.streams.iter().position(|stream| stream.received.len() > 2);
    let whose = heard_much.expect("somebody heard something");
    let received = &mut run.streams[whose].received;
    let place = 1 + usize::try_from(chance.below(received.len() as u64 - 2)).expect("an index");
    let heard = received.remove(place);
    assert!(!run.check().1.is_empty(), "a client that missed {} went unseen", heard.seq);
    run.streams[whose].received.insert(place, heard);
    assert!(run.check().1.is_empty(), "the damage was the only one");

    let log = run.logs.values_mut().find(|log| log.len() > 10).expect("a room with a history");
    let lost = log.pop().expect("it has a last entry");
    assert!(!run.check().1.is_empty(), "the loss of {} went unseen", lost.entry.seq);
}
