use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::session::{Caller, Change};
use crate::vocab::{Content, Event, MemberChange, RoomId, TenantId};

fn id(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

fn room() -> RoomRef {
    RoomRef { tenant: TenantId(1), room: RoomId(id(7)) }
}

fn hex(envelope: &Envelope) -> String {
    let bytes = envelope.encode();
    assert_eq!(&Envelope::decode(&bytes).expect("decodes"), envelope);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn caller() -> Caller {
    let (tenant, user, username) = (TenantId(1), UserId(id(2)), "ann".into());
    Caller { tenant, user, username, device: None, admin: false }
}

#[test]
fn every_change_survives_the_wire() {
    let changes = [
        Change::Send { body: "hi".into(), reply_to: Some(Seq(1)), thread: None, enc: true },
        Change::Edit { target: Seq(1), body: "b".into(), enc: false },
        Change::Delete { target: Seq(1) },
        Change::React { target: Seq(1), emoji: "👍".into(), on: true },
        Change::Pin { target: Seq(1), on: false },
        Change::Join,
        Change::Leave,
        Change::Meet { other: UserId(id(3)) },
        Change::Add { user: UserId(id(3)), username: "bob".into(), role: Some(Role::Moderator) },
        Change::Add { user: UserId(id(3)), username: "bob".into(), role: None },
        Change::Kick { user: UserId(id(3)), username: "bob".into() },
    ];
    for change in changes {
        let wire = WireChange::from(&change);
        assert_eq!(Change::try_from(wire).expect("known"), change);
    }
}

#[test]
fn every_event_survives_the_wire() {
    let member = MemberChange::Joined { role: Role::Owner };
    let contents = [
        Content::Message {
            body: "héllo".into(), reply_to: None, thread: Some(Seq(2)), enc: false
        },
        Content::Member { user: UserId(id(3)), username: "bob".into(), change: member },
        Content::Blank { kind: crate::vocab::event::Kind::Message, target: None },
    ];
    for content in contents {
        let sender = Sender { id: UserId(id(2)), username: "ann".into() };
        let (key, sent_at) = (Key(id(4)), Timestamp(5));
        let event = Event { seq: Seq(9), sender, device: None, key, sent_at, content };
        assert_eq!(WireEvent::from(&event).into_event().expect("known"), event);
    }
}

#[test]
fn every_refusal_survives_the_wire() {
    for code in Code::ALL {
        let refusal = Refusal::new(code, "why").retry_after(std::time::Duration::from_millis(70));
        assert_eq!(Refusal::from(WireRefusal::from(&refusal)), refusal);
    }
}

#[test]
fn the_bytes_between_nodes_never_change() {
    let unfollow = Envelope::Unfollow { number: 5, room: room() };
    let post = WirePost {
        id: 1,
        room: room(),
        caller: WireCaller::from(&caller()),
        key: Key(id(3)),
        change: WireChange::Send {
            body: "hello there".into(),
            reply_to: None,
            thread: None,
            enc: false,
        },
        session: Some((SessionId(id(4)), 9)),
    };
    let posted = WirePosted { seq: Seq(3), sent_at: Timestamp(4), repeated: true };
    let refused = WireRefusal::from(&Refusal::busy("full"));
    let golden = include_str!("golden.txt");
    let found = [
        ("unfollow", hex(&unfollow)),
        ("post", hex(&Envelope::Post(Box::new(post)))),
        ("posted", hex(&Envelope::Posted { id: 2, result: Ok(posted) })),
        ("refused", hex(&Envelope::Posted { id: 2, result: Err(refused) })),
        (
            "head",
            hex(&Envelope::Head { room: room(), epoch: Epoch(6), r#gen: Gen(1), head: Seq(8) }),
        ),
        ("follow", hex(&Envelope::Follow { number: 7, rooms: vec![room(), room()] })),
    ];
    let found: String = found.iter().map(|(name, hex)| format!("{name} {hex}\n")).collect();
    assert_eq!(found, golden, "a layout changed: it needs another ALPN");
}

proptest! {
    #[test]
    fn garbage_is_refused_and_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Envelope::decode(&bytes);
    }

    #[test]
    fn a_frame_with_flipped_bits_is_refused_or_is_another_frame(
        place in 0usize..10_000, bit in 0u8..8, body in "[a-z]{0,40}"
    ) {
        let username = body;
        let typing = Envelope::Typing {
            room: room(), session: SessionId(id(4)), user: UserId(id(2)), username
        };
        let mut bytes = typing.encode().to_vec();
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        let _ = Envelope::decode(&bytes);
    }
}
