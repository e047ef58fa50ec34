//! A clean run passes, and each kind of violation is found when it is put in.

use super::*;

const ROOM: Uuid = Uuid::from_u128(1);
const ANN: Uuid = Uuid::from_u128(2);

fn key(seq: u64) -> Uuid {
    Uuid::from_u128(1_000 + u128::from(seq))
}

fn received(seq: u64) -> Received {
    Received { seq, key: key(seq), sender: ANN, body: Some(digest(&seq.to_be_bytes())) }
}

fn logged(seq: u64) -> Logged {
    Logged { entry: received(seq), kind: Kind::Message, target: None }
}

fn sent(seq: u64) -> Sent {
    Sent {
        room: ROOM,
        sender: ANN,
        key: key(seq),
        body: digest(&seq.to_be_bytes()),
        fate: Fate::Acked(seq),
        order: Some(seq),
    }
}

/// Five messages of one sender, seen by two clients, one of which came later.
fn clean() -> Run {
    let stream = |client: &str, from: u64, after| Stream {
        client: client.into(),
        room: ROOM,
        after,
        complete: true,
        received: (from..=5).map(received).collect(),
    };
    Run {
        sent: (1..=5).map(sent).collect(),
        streams: vec![stream("early", 1, Some(0)), stream("late", 3, None)],
        logs: [(ROOM, (1..=5).map(logged).collect())].into(),
        exclusive: true,
    }
}

#[track_caller]
fn finds(run: &Run, expected: &str) {
    let (_, found) = run.check();
    let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains(expected)), "no {expected:?} in {texts:#?}");
}

fn log(run: &mut Run) -> &mut Vec<Logged> {
    run.logs.get_mut(&ROOM).expect("the room is there")
}

#[test]
fn a_clean_run_passes_and_says_of_how_much() {
    let (looked, found) = clean().check();
    assert_eq!(found, []);
    assert_eq!(looked, Looked { rooms: 1, logged: 5, sent: 5, acked: 5, received: 8 });
}

#[test]
fn an_acked_message_that_is_not_in_the_log_is_lost() {
    let mut run = clean();
    log(&mut run).pop();
    finds(&run, "was acked at 5 and is not in the log");
}

#[test]
fn an_acked_message_of_a_room_without_a_log_is_lost() {
    let mut run = clean();
    run.logs.clear();
    finds(&run, "was acked at 1 and is not in the log");
}

#[test]
fn a_send_without_an_answer_may_be_there_or_not() {
    let mut run = clean();
    run.sent[2].fate = Fate::Open;
    assert_eq!(run.check().1, []);
    let never = Sent { key: key(99), fate: Fate::Open, ..sent(3) };
    run.sent.push(Sent { order: None, ..never });
    assert_eq!(run.check().1, []);
}

#[test]
fn a_refused_send_must_not_be_in_the_log() {
    let mut run = clean();
    run.sent[1].fate = Fate::Refused;
    finds(&run, "was refused for good and is in the log at 2");
}

#[test]
fn an_event_that_is_not_in_the_log_was_not_committed() {
    let mut run = clean();
    run.streams[0].received.push(received(6));
    finds(&run, "early saw 6");
}

#[test]
fn a_message_that_nobody_sent_is_found_only_in_rooms_of_our_own() {
    let mut run = clean();
    run.sent.pop();
    finds(&run, "nobody sent the message at 5");
    run.exclusive = false;
    assert_eq!(run.check().1, []);
}

#[test]
fn a_hole_in_the_log_is_found() {
    let mut run = clean();
    log(&mut run).remove(2);
    finds(&run, "the log goes from 2 to 4");
}

#[test]
fn a_log_that_does_not_start_at_1_is_found() {
    let mut run = clean();
    log(&mut run).remove(0);
    finds(&run, "the log goes from 0 to 2");
}

#[test]
fn another_event_at_the_same_seq_is_found() {
    let mut run = clean();
    run.streams[1].received[0].key = key(77);
    finds(&run, "late saw key");
}

#[test]
fn another_body_at_the_same_seq_is_found() {
    let mut run = clean();
    run.streams[1].received[0].body = Some(1);
    finds(&run, "or another body");
}

#[test]
fn another_sender_at_the_same_seq_is_found() {
    let mut run = clean();
    run.streams[1].received[0].sender = Uuid::from_u128(9);
    finds(&run, "late saw key");
}

#[test]
fn a_body_that_is_gone_needs_a_delete() {
    let mut run = clean();
    log(&mut run)[2].entry.body = None;
    finds(&run, "or another body");
    let delete = Logged {
        entry: Received { body: None, ..received(6) },
        kind: Kind::Delete,
        target: Some(3),
    };
    log(&mut run).push(delete);
    for stream in &mut run.streams {
        stream.received.push(delete.entry);
    }
    assert_eq!(run.check().1, []);
}

#[test]
fn a_body_that_is_not_the_one_sent_is_found() {
    let mut run = clean();
    run.sent[0].body = 1;
    finds(&run, "another body at 1");
}

#[test]
fn a_senders_messages_out_of_order_are_found() {
    let mut run = clean();
    run.sent[0].order = Some(2);
    run.sent[1].order = Some(1);
    finds(&run, "had the ack of 2 before sending what is at 1");
}

#[test]
fn messages_that_were_sent_beside_each_other_have_no_order() {
    let mut run = clean();
    run.sent[0].order = None;
    run.sent[1].order = Some(1);
    assert_eq!(run.check().1, []);
}

#[test]
fn a_key_that_is_there_twice_is_found() {
    let mut run = clean();
    let again = Logged { entry: Received { key: key(2), ..received(6) }, ..logged(6) };
    log(&mut run).push(again);
    finds(&run, "is at 2 and at 6");
}

#[test]
fn the_same_key_of_two_senders_is_no_repeat() {
    let mut run = clean();
    let bob = Uuid::from_u128(3);
    let entry = Received { key: key(2), sender: bob, ..received(6) };
    log(&mut run).push(Logged { entry, ..logged(6) });
    run.sent.push(Sent { sender: bob, key: key(2), fate: Fate::Acked(6), order: None, ..sent(6) });
    for stream in &mut run.streams {
        stream.received.push(entry);
    }
    assert_eq!(run.check().1, []);
}

#[test]
fn an_ack_with_another_seq_than_the_log_is_found() {
    let mut run = clean();
    run.sent[3].fate = Fate::Acked(3);
    finds(&run, "was acked at 3 and is at 4");
}

#[test]
fn a_skipped_event_is_found() {
    let mut run = clean();
    run.streams[0].received.remove(2);
    finds(&run, "early went from 2 to 4");
}

#[test]
fn an_event_missing_right_after_the_cursor_is_found() {
    let mut run = clean();
    run.streams[0].received.remove(0);
    finds(&run, "early went from 0 to 2");
}

#[test]
fn a_repeated_event_is_found() {
    let mut run = clean();
    run.streams[0].received.insert(3, received(3));
    finds(&run, "early got 3 after 3");
}

#[test]
fn a_client_that_waited_and_did_not_get_the_end_is_found() {
    let mut run = clean();
    run.streams[0].received.pop();
    finds(&run, "early stopped at 4, the head is 5");
    run.streams[0].complete = false;
    assert_eq!(run.check().1, []);
}

#[test]
fn a_client_that_got_nothing_at_all_is_found() {
    let mut run = clean();
    run.streams[0].received.clear();
    finds(&run, "early stopped at 0, the head is 5");
}
