//! What clients see: the domain's outputs as the frames of both dialects. It decides nothing;
//! an output for which a dialect has no words has no frame.

use bytes::Bytes;
use parlance_actors::ports::Frames;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::room::fold::{Entries, Folded, HistoryPage};
use parlance_actors::session::{Answer, Caller, Output, PresenceStatus, Subscribed};
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{
    Content, Event, Gen, MemberChange, Refusal, Role, RoomId, Sender, Timestamp,
};
use parlance_protocol as wire;
use parlance_protocol::ServerFrame;
use parlance_protocol::server::{self, RoomAnswer, RoomAnswers};
use parlance_protocol::simple::SimpleServerFrame;

use crate::error::milliseconds;

/// An event frame without its body takes about 330 bytes.
const FRAME_BYTES: usize = 384;

/// The longest header of a WebSocket frame that a server sends (RFC 6455, section 5.2).
const HEADER_BYTES_MAX: usize = 10;

/// JSON for both dialects, each frame a WebSocket's text frame with its header: it is made once
/// for all who see it.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonFrames;

impl Frames for JsonFrames {
    fn encode(&self, dialect: Dialect, output: &Output<'_>) -> Option<Bytes> {
        let mut frame = Vec::with_capacity(HEADER_BYTES_MAX + capacity(output));
        frame.resize(HEADER_BYTES_MAX, 0);
        match dialect {
            Dialect::V1 => v1(output).encode_into(&mut frame),
            Dialect::Simple => simple(output)?.encode_into(&mut frame),
        }
        let begin = put_header(&mut frame);
        Some(Bytes::from(frame).slice(begin..))
    }
}

/// A text as the frame of a WebSocket.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn text_frame(text: &str) -> Bytes {
    let mut frame = vec![0; HEADER_BYTES_MAX];
    frame.extend_from_slice(text.as_bytes());
    let begin = put_header(&mut frame);
    Bytes::from(frame).slice(begin..)
}

/// Writes the header of an unmasked text frame that is whole in front of the text, which begins at
/// [`HEADER_BYTES_MAX`]; gives the place where the frame begins.
fn put_header(frame: &mut [u8]) -> usize {
    const WHOLE_TEXT: u8 = 0x81;
    let (header, text) = frame.split_at_mut(HEADER_BYTES_MAX);
    let length = text.len();
    let (marker, width) = match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..126), _) => (short, 0),
        (_, Ok(_)) => (126, 2),
        _ => (127, 8),
    };
    // The length's last bytes; after a marker that is the length itself there are none.
    header[HEADER_BYTES_MAX - 8..].copy_from_slice(&(length as u64).to_be_bytes());
    let begin = HEADER_BYTES_MAX - width - 2;
    header[begin..begin + 2].copy_from_slice(&[WHOLE_TEXT, marker]);
    begin
}

fn capacity(output: &Output<'_>) -> usize {
    match output {
        // An eighth for escapes.
        Output::Event { event, .. } => FRAME_BYTES + event.content.weight() * 9 / 8,
        _ => FRAME_BYTES,
    }
}

fn v1<'a>(output: &Output<'a>) -> ServerFrame<'a> {
    match *output {
        Output::Welcome { id, session, caller, heartbeat, rev } => {
            ServerFrame::Welcome(server::Welcome {
                id,
                session: session.0,
                user: account(caller),
                heartbeat_ms: milliseconds(heartbeat),
                rev,
            })
        }
        Output::Ok { id, answer } => ServerFrame::Ok(server::Ok { id, answer: of_answer(answer) }),
        Output::Error { id, refusal } => ServerFrame::Error(server::Error {
            id,
            code: refusal.code.as_str().into(),
            detail: (&*refusal.detail).into(),
            retry_after_ms: refusal.retry_after.map(milliseconds),
        }),
        Output::Event { room, r#gen, event: of_room } => ServerFrame::Event(server::RoomEvent {
            room: room.0,
            r#gen: r#gen.0,
            event: event(of_room),
        }),
        Output::Gap { room, from, to } => {
            ServerFrame::Gap(server::Gap { room: room.0, from: from.0, to: to.0 })
        }
        Output::MeRead { rev, room, seq } => {
            let change = server::MeChange::Read { room: room.0, seq: seq.0 };
            ServerFrame::Me(server::Me { rev, change })
        }
        Output::MeRoom { rev, room, role: of_me } => {
            let change = server::MeChange::Room { id: room.0, role: of_me.map(role) };
            ServerFrame::Me(server::Me { rev, change })
        }
        Output::Typing { room, user, username } => ServerFrame::Typing(server::Typing {
            room: room.0,
            user: wire::User { id: user.0, username: username.into() },
        }),
        Output::Presence { user, status: seen } => {
            ServerFrame::Presence(server::Presence { user: user.0, status: status(seen) })
        }
        Output::Bye { refusal } => ServerFrame::Bye(server::Bye {
            code: refusal.code.as_str().into(),
            detail: (&*refusal.detail).into(),
            retry_after_ms: refusal.retry_after.map(milliseconds),
        }),
    }
}

/// Simple chat knows messages of the lobby and notes; nothing else has words in it.
fn simple<'a>(output: &Output<'a>) -> Option<SimpleServerFrame<'a>> {
    let note = |message: String| Some(SimpleServerFrame::System { message: message.into() });
    match *output {
        Output::Welcome { caller, .. } => note(format!("welcome, {}", caller.username)),
        Output::Event { event, .. } => match &event.content {
            Content::Message { body, enc: false, .. } => Some(SimpleServerFrame::Message {
                username: (&*event.sender.username).into(),
                content: (&**body).into(),
                timestamp: timestamp(event.sent_at),
            }),
            _ => None,
        },
        Output::Gap { .. } => {
            note("some messages were not sent; GET /api/chat/messages has them".to_owned())
        }
        Output::Error { refusal, .. } | Output::Bye { refusal } => note(refusal.detail.to_string()),
        _ => None,
    }
}

fn of_answer(answer: &Answer) -> server::Answer<'_> {
    match answer {
        Answer::Done => server::Answer::Done,
        Answer::Posted(posted) => server::Answer::Posted(server::Posted {
            seq: posted.seq.0,
            sent_at: timestamp(posted.sent_at),
            repeated: posted.repeated,
        }),
        Answer::Subscribed(rooms) => {
            let rooms = rooms.iter().map(|(room, stands)| (room.0, room_answer(stands)));
            server::Answer::Subscribed(RoomAnswers(rooms.collect()))
        }
        Answer::History { room, r#gen, stale, page: found } => {
            server::Answer::History(page(*room, *r#gen, *stale, found))
        }
    }
}

fn room_answer(stands: &Result<Subscribed, Refusal>) -> RoomAnswer<'_> {
    match stands {
        Ok(Subscribed { r#gen, first, head }) => {
            RoomAnswer::Following { r#gen: r#gen.0, first: first.0, head: head.0 }
        }
        Err(refusal) => RoomAnswer::Refused {
            error: refusal.code.as_str().into(),
            detail: (&*refusal.detail).into(),
            retry_after_ms: refusal.retry_after.map(milliseconds),
        },
    }
}

/// A page of history, on the socket and over HTTP.
pub(crate) fn page(room: RoomId, r#gen: Gen, stale: bool, page: &HistoryPage) -> server::Page<'_> {
    server::Page {
        room: room.0,
        r#gen: r#gen.0,
        messages: entries(page),
        more: page.more,
        as_of: page.as_of.0,
        first: page.first.0,
        stale,
    }
}

pub(crate) fn entries(page: &HistoryPage) -> Vec<wire::Entry<'_>> {
    match &page.entries {
        Entries::Log(events) => events.iter().map(|one| event(one).into()).collect(),
        Entries::Folded(entries) => entries.iter().map(folded).collect(),
    }
}

fn folded(entry: &Folded) -> wire::Entry<'_> {
    let reactions = entry.reactions.iter().map(|reaction| wire::Reactions {
        emoji: (&*reaction.emoji).into(),
        users: reaction.users.iter().map(sender).collect(),
    });
    wire::Entry {
        event: event(&entry.event),
        edited_at: entry.edited_at.map(timestamp),
        deleted: entry
            .deleted
            .as_ref()
            .map(|stone| wire::Tombstone { by: sender(&stone.by), at: timestamp(stone.at) }),
        reactions: reactions.collect(),
        pinned: entry.pinned,
    }
}

fn event(event: &Event) -> wire::Event<'_> {
    let Event { seq, sender: from, sent_at, key, content, .. } = event;
    let plain =
        wire::Event::new(seq.0, kind(content.kind()), sender(from), timestamp(*sent_at), key.0);
    let target = content.target().map(|target| target.0);
    match content {
        Content::Message { body, reply_to, thread, enc } => wire::Event {
            body: Some((&**body).into()),
            reply_to: reply_to.map(|seq| seq.0),
            thread: thread.map(|seq| seq.0),
            enc: *enc,
            ..plain
        },
        Content::Edit { body, enc, .. } => {
            wire::Event { target, body: Some((&**body).into()), enc: *enc, ..plain }
        }
        Content::Delete { .. } => wire::Event { target, ..plain },
        Content::Reaction { emoji, on, .. } => {
            wire::Event { target, emoji: Some((&**emoji).into()), on: Some(*on), ..plain }
        }
        Content::Pin { on, .. } => wire::Event { target, on: Some(*on), ..plain },
        Content::Member { user, username, change } => wire::Event {
            user: Some(wire::User { id: user.0, username: (&**username).into() }),
            change: Some(member_change(*change)),
            role: change.role().map(role),
            ..plain
        },
        Content::Room { name, topic, version } => wire::Event {
            name: name.as_ref().map(|name| name.as_str().into()),
            topic: Some(topic.as_str().into()),
            version: Some(*version),
            ..plain
        },
        Content::Blank { kind: Kind::Message, .. } => wire::Event { reply_to: target, ..plain },
        Content::Blank { .. } => wire::Event { target, ..plain },
    }
}

fn account(caller: &Caller) -> server::Account<'_> {
    server::Account { id: caller.user.0, username: (&*caller.username).into(), admin: caller.admin }
}

fn sender(sender: &Sender) -> wire::User<'_> {
    wire::User { id: sender.id.0, username: (&*sender.username).into() }
}

pub(crate) const fn timestamp(at: Timestamp) -> wire::Timestamp {
    wire::Timestamp(at.0)
}

pub(crate) const fn role(role: Role) -> wire::Role {
    match role {
        Role::Member => wire::Role::Member,
        Role::Moderator => wire::Role::Moderator,
        Role::Owner => wire::Role::Owner,
    }
}

const fn member_change(change: MemberChange) -> wire::MemberChange {
    match change {
        MemberChange::Joined { .. } => wire::MemberChange::Joined,
        MemberChange::Left => wire::MemberChange::Left,
        MemberChange::Kicked => wire::MemberChange::Kicked,
        MemberChange::Role { .. } => wire::MemberChange::Role,
    }
}

const fn status(status: PresenceStatus) -> wire::PresenceStatus {
    match status {
        PresenceStatus::Offline => wire::PresenceStatus::Offline,
        PresenceStatus::Away => wire::PresenceStatus::Away,
        PresenceStatus::Online => wire::PresenceStatus::Online,
    }
}

const fn kind(kind: Kind) -> wire::Kind {
    match kind {
        Kind::Message => wire::Kind::Message,
        Kind::Edit => wire::Kind::Edit,
        Kind::Delete => wire::Kind::Delete,
        Kind::Reaction => wire::Kind::Reaction,
        Kind::Pin => wire::Kind::Pin,
        Kind::Member => wire::Kind::Member,
        Kind::Room => wire::Kind::Room,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use parlance_actors::vocab::{Key, Seq, UserId};
    use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    use uuid::Uuid;

    fn message(body: &str) -> Event {
        Event {
            seq: Seq(58),
            sender: Sender { id: UserId(Uuid::from_u128(1)), username: "ann".into() },
            device: None,
            key: Key(Uuid::from_u128(2)),
            sent_at: Timestamp(1_767_225_599_999),
            content: Content::Message {
                body: body.into(),
                reply_to: None,
                thread: None,
                enc: false,
            },
        }
    }

    fn text(dialect: Dialect, event: &Event) -> Option<String> {
        let room = RoomId(Uuid::from_u128(3));
        let output = Output::Event { room, r#gen: Gen(1), event };
        Some(payload(&JsonFrames.encode(dialect, &output)?))
    }

    /// The text of a frame, which must be exactly one.
    fn payload(frame: &[u8]) -> String {
        let mut bytes = Cursor::new(frame);
        let (header, length) =
            FrameHeader::parse(&mut bytes).expect("a header").expect("a whole one");
        let whole = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
        assert_eq!(header, whole);
        let text = &frame[usize::try_from(bytes.position()).expect("small")..];
        assert_eq!(text.len() as u64, length);
        String::from_utf8(text.to_vec()).expect("JSON is UTF-8")
    }

    #[test]
    fn the_header_fits_texts_of_every_length() {
        for length in [0, 1, 125, 126, 127, 128, 255, 256, 65_535, 65_536, 1_000_000] {
            let mut frame = vec![b'x'; HEADER_BYTES_MAX + length];
            let begin = put_header(&mut frame);
            assert_eq!(payload(&frame[begin..]).len(), length);
        }
    }

    #[test]
    fn a_message_in_both_dialects_is_these_bytes() {
        let event = message("hé \"you\"");
        assert_eq!(
            text(Dialect::V1, &event).as_deref(),
            Some(
                r#"{"type":"event","room":"00000000-0000-0000-0000-000000000003","gen":1,"seq":58,"kind":"message","sender":{"id":"00000000-0000-0000-0000-000000000001","username":"ann"},"sent_at":"2025-12-31T23:59:59.999Z","key":"00000000-0000-0000-0000-000000000002","body":"hé \"you\""}"#
            )
        );
        assert_eq!(
            text(Dialect::Simple, &event).as_deref(),
            Some(
                r#"{"type":"message","username":"ann","content":"hé \"you\"","timestamp":"2025-12-31T23:59:59.999Z"}"#
            )
        );
    }

    #[test]
    fn what_simple_chat_has_no_words_for_has_no_frame() {
        let mut event = message("x");
        event.content = Content::Pin { target: Seq(1), on: true };
        assert_eq!(text(Dialect::Simple, &event), None);
    }

    #[test]
    fn a_frame_of_plain_text_fits_the_buffer_that_was_made_for_it() {
        let event = message(&"x".repeat(1_000));
        let frame = text(Dialect::V1, &event).expect("a frame");
        let output = Output::Event { room: RoomId(Uuid::nil()), r#gen: Gen(1), event: &event };
        assert!(frame.len() <= capacity(&output), "{} bytes", frame.len());
    }

    #[test]
    fn an_error_without_an_id_and_a_bye_say_when_to_come_back() {
        let refusal = Refusal::busy("full");
        let encode = |output: &Output<'_>| {
            payload(&JsonFrames.encode(Dialect::V1, output).expect("a frame"))
        };
        assert_eq!(
            encode(&Output::Error { id: None, refusal: &refusal }),
            r#"{"type":"error","code":"busy","detail":"full","retry_after_ms":200}"#
        );
        assert_eq!(
            encode(&Output::Bye { refusal: &refusal }),
            r#"{"type":"bye","code":"busy","detail":"full","retry_after_ms":200}"#
        );
    }
}
