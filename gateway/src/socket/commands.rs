//! From a client's frame to what it asks of its session.

use parlance_actors::limits::{PAGE_MAX, WATCH_USERS_MAX};
use parlance_actors::ports::history::Range;
use parlance_actors::session::{Change, Command, Cursor, PresenceStatus, Request, View};
use parlance_actors::vocab::{Gen, Key, Refusal, RoomId, Seq, UserId};
use parlance_protocol as wire;
use parlance_protocol::ClientFrame;

/// Messages of a page when the client does not say.
const LIMIT: u16 = 50;

/// What a frame asks, or why not, with the client's number. `hello` asks nothing of a session
/// and is answered by the socket.
pub(crate) fn request(frame: ClientFrame<'_>) -> Result<Request, (Option<u64>, Refusal)> {
    let id = frame.id();
    match command(frame) {
        Ok(command) => Ok(Request { id, command }),
        Err(refusal) => Err((id, refusal)),
    }
}

fn command(frame: ClientFrame<'_>) -> Result<Command, Refusal> {
    let post = |room, key, change| Command::Post { room: RoomId(room), key: Key(key), change };
    Ok(match frame {
        ClientFrame::Hello(_) => {
            return Err(Refusal::bad_request("hello was said; it is the first frame only"));
        }
        ClientFrame::Subscribe(frame) => Command::Subscribe(
            frame.rooms.0.into_iter().map(|(room, at)| (RoomId(room), at.map(cursor))).collect(),
        ),
        ClientFrame::Unsubscribe(frame) => {
            Command::Unsubscribe(frame.rooms.into_iter().map(RoomId).collect())
        }
        ClientFrame::Send(frame) => {
            let change = Change::Send {
                body: (&*frame.body).into(),
                reply_to: frame.reply_to.map(Seq),
                thread: frame.thread.map(Seq),
                enc: frame.enc,
            };
            post(frame.room, frame.key, change)
        }
        ClientFrame::Edit(frame) => {
            let (target, body) = (Seq(frame.target), (&*frame.body).into());
            post(frame.room, frame.key, Change::Edit { target, body, enc: frame.enc })
        }
        ClientFrame::Delete(frame) => {
            post(frame.room, frame.key, Change::Delete { target: Seq(frame.target) })
        }
        ClientFrame::React(frame) => post(frame.room, frame.key, react(&frame, true)),
        ClientFrame::Unreact(frame) => post(frame.room, frame.key, react(&frame, false)),
        ClientFrame::Pin(frame) => {
            post(frame.room, frame.key, Change::Pin { target: Seq(frame.target), on: frame.on })
        }
        ClientFrame::Join(frame) => post(frame.room, frame.key, Change::Join),
        ClientFrame::Leave(frame) => post(frame.room, frame.key, Change::Leave),
        ClientFrame::History(frame) => history(&frame)?,
        ClientFrame::Read(frame) => Command::Read { room: RoomId(frame.room), seq: Seq(frame.seq) },
        ClientFrame::Typing(frame) => Command::Typing { room: RoomId(frame.room) },
        ClientFrame::Presence(frame) => presence(frame)?,
        ClientFrame::Ping(_) => Command::Ping,
    })
}

const fn cursor(cursor: wire::client::Cursor) -> Cursor {
    Cursor { r#gen: Gen(cursor.r#gen), seq: Seq(cursor.seq) }
}

fn react(frame: &wire::client::React<'_>, on: bool) -> Change {
    Change::React { target: Seq(frame.target), emoji: (&*frame.emoji).into(), on }
}

fn history(frame: &wire::client::History) -> Result<Command, Refusal> {
    let range = match (frame.before, frame.after) {
        (Some(seq), _) => Range::Before(Seq(seq)),
        (None, Some(seq)) => Range::After(Seq(seq)),
        (None, None) => Range::Latest,
    };
    let limit = frame.limit.unwrap_or(LIMIT);
    if !(1..=PAGE_MAX).contains(&limit) {
        let detail = format!("limit: {limit} is not allowed; allowed are 1 to {PAGE_MAX}");
        return Err(Refusal::bad_request(detail));
    }
    let view = match frame.view {
        wire::View::Folded => View::Folded,
        wire::View::Log => View::Log,
    };
    Ok(Command::History { room: RoomId(frame.room), range, limit, view })
}

fn presence(frame: wire::client::Presence) -> Result<Command, Refusal> {
    let watch = frame.watch;
    if watch.as_ref().is_some_and(|users| users.len() > WATCH_USERS_MAX) {
        let detail = format!("watch: allowed are up to {WATCH_USERS_MAX} users");
        return Err(Refusal::bad_request(detail));
    }
    Ok(Command::Presence {
        status: frame.status.map(|status| match status {
            wire::PresenceStatus::Online => PresenceStatus::Online,
            wire::PresenceStatus::Away => PresenceStatus::Away,
            wire::PresenceStatus::Offline => PresenceStatus::Offline,
        }),
        watch: watch.map(|users| users.into_iter().map(UserId).collect()),
    })
}
