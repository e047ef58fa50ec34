//! The domain's values in the words of the wire.

use parlance_actors::chat::RoomView;
use parlance_actors::session::Posted;
use parlance_actors::vocab::{Profile, RoomKind, User};
use parlance_protocol as wire;

use crate::frames::{role, timestamp};

pub(super) fn room(view: &RoomView) -> wire::http::Room<'_> {
    let meta = &view.meta;
    wire::http::Room {
        id: meta.id.0,
        name: meta.name.as_ref().map(|name| name.as_str().into()),
        kind: kind(meta.kind),
        topic: meta.topic.as_str().into(),
        slow_mode_seconds: meta.settings.slow_mode_seconds,
        created_at: (meta.created_at.0 > 0).then(|| timestamp(meta.created_at)),
        role: view.role.map(role),
        read: view.summary.read.0,
        head: view.summary.head.0,
        unread: view.summary.unread,
        mentions: view.summary.mentions,
        last_at: view.summary.last_at.map(timestamp),
        with: view
            .with
            .as_ref()
            .map(|with| wire::User { id: with.id.0, username: (&*with.username).into() }),
        members: view.members,
    }
}

pub(super) const fn posted(posted: Posted) -> wire::http::Posted {
    wire::http::Posted {
        seq: posted.seq.0,
        sent_at: timestamp(posted.sent_at),
        repeated: posted.repeated,
    }
}

pub(super) fn profile(user: &User) -> wire::http::Profile<'_> {
    let Profile { name, about } = &user.profile;
    wire::http::Profile {
        id: user.id.0,
        username: user.username.as_str().into(),
        name: name.as_ref().map(|name| name.as_str().into()),
        about: about.as_ref().map(|about| about.as_str().into()),
    }
}

pub(super) fn me(user: &User) -> wire::http::Me<'_> {
    let wire::http::Profile { id, username, name, about } = profile(user);
    wire::http::Me { id, username, admin: user.admin, name, about }
}

const fn kind(kind: RoomKind) -> wire::RoomKind {
    match kind {
        RoomKind::Public => wire::RoomKind::Public,
        RoomKind::Private => wire::RoomKind::Private,
        RoomKind::Direct => wire::RoomKind::Direct,
        RoomKind::Lobby => wire::RoomKind::Lobby,
    }
}
