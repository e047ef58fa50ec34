//! Who may do what in a room: the rules of the seven kinds of event, and nothing else.

use super::state::Target;
use crate::limits;
use crate::session::{Caller, Change};
use crate::vocab::{Code, Content, MemberChange, Refusal, Role, RoomId, RoomKind, RoomMeta, Seq};

/// What the room knows about the caller and the thing that the change is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// The caller's role.
    pub(super) role: Option<Role>,
    /// The message that the change is about.
    pub(super) target: Option<Target>,
    /// The role of the other user that the change is about.
    pub(super) other: Option<Role>,
}

/// What a caller who is not a member is told: of a private room no more than of a missing one.
pub(crate) fn not_a_member(kind: RoomKind) -> Refusal {
    match kind {
        RoomKind::Public => Refusal::forbidden("join the room first"),
        RoomKind::Private | RoomKind::Direct | RoomKind::Lobby => Refusal::no_such_room(),
    }
}

/// The content of the event that a change becomes, or why it may not.
pub(super) fn permit(
    meta: &RoomMeta,
    head: Seq,
    caller: &Caller,
    change: &Change,
    standing: Standing,
) -> Result<Content, Refusal> {
    match change {
        Change::Join => return join(meta.kind, caller, standing.role),
        Change::Meet { other } => {
            let is_pair = meta.kind == RoomKind::Direct
                && RoomId::direct(meta.tenant, caller.user, *other) == meta.id;
            if !is_pair {
                return Err(Refusal::no_such_room());
            }
            return become_member(caller, standing.role);
        }
        _ => {}
    }
    let role = standing.role.ok_or_else(|| not_a_member(meta.kind))?;
    match change {
        Change::Send { body, reply_to, thread, enc } => {
            check_body(body, *enc)?;
            for (name, seq) in [("reply_to", reply_to), ("thread", thread)] {
                if seq.is_some_and(|seq| seq == Seq(0) || seq > head) {
                    return Err(Refusal::bad_request(format!(
                        "{name} names no event of this room; its head is {head}"
                    )));
                }
            }
            let (body, reply_to, thread) = (body.clone(), *reply_to, *thread);
            Ok(Content::Message { body, reply_to, thread, enc: *enc })
        }
        Change::Edit { target, body, enc } => {
            check_body(body, *enc)?;
            if live_message(standing.target)?.sender != caller.user {
                return Err(Refusal::forbidden("only the author edits a message"));
            }
            Ok(Content::Edit { target: *target, body: body.clone(), enc: *enc })
        }
        Change::Delete { target } => {
            let is_author = live_message(standing.target)?.sender == caller.user;
            if !is_author && role < Role::Moderator {
                return Err(Refusal::forbidden("only the author or a moderator deletes a message"));
            }
            Ok(Content::Delete { target: *target })
        }
        Change::React { target, emoji, on } => {
            check_emoji(emoji)?;
            live_message(standing.target)?;
            Ok(Content::Reaction { target: *target, emoji: emoji.clone(), on: *on })
        }
        Change::Pin { target, on } => {
            live_message(standing.target)?;
            if meta.kind != RoomKind::Direct && role < Role::Moderator {
                return Err(Refusal::forbidden("only a moderator pins messages"));
            }
            Ok(Content::Pin { target: *target, on: *on })
        }
        Change::Leave => leave(meta.kind, caller),
        Change::Add { user, username, role: new } => {
            managed(meta.kind)?;
            let change = add(role, standing.other, *new)?;
            Ok(Content::Member { user: *user, username: username.clone(), change })
        }
        Change::Kick { user, username } => {
            managed(meta.kind)?;
            let other = standing.other.ok_or_else(not_in_the_room)?;
            if role < Role::Moderator || other >= role {
                return Err(Refusal::forbidden(
                    "only a moderator removes members, and only those below their own role",
                ));
            }
            let change = MemberChange::Kicked;
            Ok(Content::Member { user: *user, username: username.clone(), change })
        }
        Change::Join | Change::Meet { .. } => unreachable!("answered above"),
    }
}

fn not_in_the_room() -> Refusal {
    Refusal::new(Code::NotFound, "that user is not in the room")
}

fn join(kind: RoomKind, caller: &Caller, role: Option<Role>) -> Result<Content, Refusal> {
    match kind {
        RoomKind::Public => become_member(caller, role),
        RoomKind::Lobby => Err(Refusal::new(Code::Conflict, "everyone is in the lobby already")),
        RoomKind::Private | RoomKind::Direct if role.is_some() => become_member(caller, role),
        RoomKind::Private | RoomKind::Direct => Err(Refusal::no_such_room()),
    }
}

fn become_member(caller: &Caller, role: Option<Role>) -> Result<Content, Refusal> {
    if role.is_some() {
        return Err(Refusal::new(Code::Conflict, "you are in the room already"));
    }
    Ok(Content::Member {
        user: caller.user,
        username: caller.username.clone(),
        change: MemberChange::Joined { role: Role::Member },
    })
}

fn leave(kind: RoomKind, caller: &Caller) -> Result<Content, Refusal> {
    match kind {
        RoomKind::Lobby => Err(Refusal::new(Code::Conflict, "nobody leaves the lobby")),
        RoomKind::Direct => {
            Err(Refusal::new(Code::Conflict, "nobody leaves a direct conversation"))
        }
        RoomKind::Public | RoomKind::Private => Ok(Content::Member {
            user: caller.user,
            username: caller.username.clone(),
            change: MemberChange::Left,
        }),
    }
}

fn managed(kind: RoomKind) -> Result<(), Refusal> {
    match kind {
        RoomKind::Public | RoomKind::Private => Ok(()),
        RoomKind::Direct | RoomKind::Lobby => {
            Err(Refusal::new(Code::Conflict, "the members of this room do not change"))
        }
    }
}

/// Without a role a new one becomes a member, and whoever is in the room keeps theirs.
fn add(mine: Role, other: Option<Role>, asked: Option<Role>) -> Result<MemberChange, Refusal> {
    if mine < Role::Moderator {
        return Err(Refusal::forbidden("only a moderator adds members"));
    }
    let new = match asked {
        Some(role) => role,
        None if other.is_none() => Role::Member,
        None => return Err(Refusal::new(Code::Conflict, "they are in the room already")),
    };
    if other == Some(new) {
        return Err(Refusal::new(Code::Conflict, "they have that role already"));
    }
    if new > mine || (new > Role::Member && mine < Role::Owner) {
        return Err(Refusal::forbidden("only an owner makes moderators and owners"));
    }
    if other.is_some_and(|other| other >= mine) && mine < Role::Owner {
        return Err(Refusal::forbidden("their role is not below yours"));
    }
    Ok(match other {
        None => MemberChange::Joined { role: new },
        Some(_) => MemberChange::Role { role: new },
    })
}

/// The target, if it is a message that is still there.
fn live_message(target: Option<Target>) -> Result<Target, Refusal> {
    match target {
        Some(target) if target.is_message && !target.deleted => Ok(target),
        Some(target) if target.is_message => {
            Err(Refusal::new(Code::NotFound, "that message was deleted"))
        }
        _ => Err(Refusal::new(Code::NotFound, "target names no message of this room")),
    }
}

fn check_body(body: &str, enc: bool) -> Result<(), Refusal> {
    let bound = if enc { limits::ENC_BODY_BYTES_MAX } else { limits::BODY_BYTES_MAX };
    if body.is_empty() {
        return Err(Refusal::bad_request(format!("body is empty; allowed are 1 to {bound} bytes")));
    }
    if body.len() > bound {
        let detail = format!("body has {} bytes; allowed are 1 to {bound}", body.len());
        return Err(Refusal::new(Code::TooLarge, detail));
    }
    Ok(())
}

fn check_emoji(emoji: &str) -> Result<(), Refusal> {
    let is_plain = !emoji.is_empty()
        && emoji.len() <= limits::EMOJI_BYTES_MAX
        && !emoji.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_plain {
        return Ok(());
    }
    Err(Refusal::bad_request(format!(
        "emoji must be 1 to {} bytes without spaces and control characters",
        limits::EMOJI_BYTES_MAX
    )))
}
