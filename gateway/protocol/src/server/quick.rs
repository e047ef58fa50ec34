//! The frames that are made in masses, written without serde: a message, and the answer to one.
//! They are the same bytes as serde's, which the tests hold them to.

use uuid::Uuid;

use super::{Answer, Ok, Posted, RoomEvent, ServerFrame};
use crate::{Event, Kind, Text, Timestamp};

/// Appends the frame, if it is one of those.
pub(super) fn encode_into(frame: &ServerFrame<'_>, into: &mut Vec<u8>) -> bool {
    match frame {
        ServerFrame::Event(event) => message(event, into),
        ServerFrame::Ok(Ok { id, answer: Answer::Posted(posted) }) => {
            answer(*id, posted, into);
            true
        }
        _ => false,
    }
}

fn message(event: &RoomEvent<'_>, into: &mut Vec<u8>) -> bool {
    let RoomEvent { room, r#gen, event } = event;
    let Event {
        seq,
        kind: Kind::Message,
        sender,
        sent_at,
        key,
        body: Some(body),
        reply_to,
        thread,
        enc,
        target: None,
        emoji: None,
        on: None,
        user: None,
        change: None,
        role: None,
        name: None,
        topic: None,
        version: None,
    } = event
    else {
        return false;
    };
    into.extend_from_slice(br#"{"type":"event","room":"#);
    put_id(*room, into);
    into.extend_from_slice(br#","gen":"#);
    put_number(*r#gen, into);
    into.extend_from_slice(br#","seq":"#);
    put_number(*seq, into);
    into.extend_from_slice(br#","kind":"message","sender":{"id":"#);
    put_id(sender.id, into);
    into.extend_from_slice(br#","username":"#);
    put_text(&sender.username, into);
    into.extend_from_slice(br#"},"sent_at":"#);
    put_instant(*sent_at, into);
    into.extend_from_slice(br#","key":"#);
    put_id(*key, into);
    into.extend_from_slice(br#","body":"#);
    put_text(body, into);
    if let Some(seq) = reply_to {
        into.extend_from_slice(br#","reply_to":"#);
        put_number(*seq, into);
    }
    if let Some(seq) = thread {
        into.extend_from_slice(br#","thread":"#);
        put_number(*seq, into);
    }
    if *enc {
        into.extend_from_slice(br#","enc":true"#);
    }
    into.push(b'}');
    true
}

fn answer(id: u64, posted: &Posted, into: &mut Vec<u8>) {
    into.extend_from_slice(br#"{"type":"ok","id":"#);
    put_number(id, into);
    into.extend_from_slice(br#","seq":"#);
    put_number(posted.seq, into);
    into.extend_from_slice(br#","sent_at":"#);
    put_instant(posted.sent_at, into);
    if posted.repeated {
        into.extend_from_slice(br#","repeated":true"#);
    }
    into.push(b'}');
}

fn put_id(id: Uuid, into: &mut Vec<u8>) {
    let mut text = [b'"'; 38];
    id.hyphenated().encode_lower(&mut text[1..37]);
    into.extend_from_slice(&text);
}

fn put_instant(at: Timestamp, into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(&at.text());
    into.push(b'"');
}

fn put_number(number: u64, into: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut begin = digits.len();
    let mut left = number;
    loop {
        begin -= 1;
        digits[begin] = b"0123456789"[(left % 10) as usize];
        left /= 10;
        if left == 0 {
            break;
        }
    }
    into.extend_from_slice(&digits[begin..]);
}

/// Most texts hold nothing that JSON writes in another way (RFC 8259, section 7).
fn put_text(text: &Text<'_>, into: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    // Without an early end, so that the compiler looks at many bytes at once.
    let plain = bytes
        .iter()
        .fold(true, |plain, byte| plain & (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\'));
    if plain {
        into.push(b'"');
        into.extend_from_slice(bytes);
        into.push(b'"');
    } else {
        serde_json::to_writer(into, &**text).expect("a text is a string");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::User;

    fn held_to_serde(frame: &ServerFrame<'_>) {
        let mut quick = b"before".to_vec();
        assert!(encode_into(frame, &mut quick), "{frame:?}");
        let slow = serde_json::to_string(frame).expect("JSON");
        assert_eq!(std::str::from_utf8(&quick).expect("UTF-8"), format!("before{slow}"));
    }

    proptest! {
        #[test]
        fn a_message_is_written_as_serde_writes_it(
            ids in any::<[u128; 3]>(),
            (r#gen, seq, at) in any::<(u64, u64, i64)>(),
            (username, body) in (".{0,20}", "\\PC{0,40}|[\\x00-\\x7f]{0,40}"),
            (reply_to, thread, enc) in any::<(Option<u64>, Option<u64>, bool)>(),
        ) {
            let [room, sender, key] = ids.map(Uuid::from_u128);
            let event = Event {
                seq,
                kind: Kind::Message,
                sender: User { id: sender, username: username.as_str().into() },
                sent_at: Timestamp(at),
                key,
                body: Some(body.as_str().into()),
                reply_to,
                thread,
                enc,
                target: None,
                emoji: None,
                on: None,
                user: None,
                change: None,
                role: None,
                name: None,
                topic: None,
                version: None,
            };
            held_to_serde(&ServerFrame::Event(RoomEvent { room, r#gen, event }));
        }

        #[test]
        fn an_answer_to_a_change_is_written_as_serde_writes_it(
            (id, seq, at, repeated) in any::<(u64, u64, i64, bool)>(),
        ) {
            let answer = Answer::Posted(Posted { seq, sent_at: Timestamp(at), repeated });
            held_to_serde(&ServerFrame::Ok(Ok { id, answer }));
        }
    }
}
