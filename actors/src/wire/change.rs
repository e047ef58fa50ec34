//! A change that somebody asks for, between nodes.

use std::sync::Arc;

use super::role;
use crate::ports::peers::Malformed;
use crate::session::{Caller, Change};
use crate::vocab::{DeviceId, Seq, TenantId, UserId};

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireCaller {
    tenant: TenantId,
    user: UserId,
    username: String,
    device: Option<DeviceId>,
    admin: bool,
}

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) enum WireChange {
    Send { body: String, reply_to: Option<Seq>, thread: Option<Seq>, enc: bool },
    Edit { target: Seq, body: String, enc: bool },
    Delete { target: Seq },
    React { target: Seq, emoji: String, on: bool },
    Pin { target: Seq, on: bool },
    Join,
    Leave,
    Meet { other: UserId },
    Add { user: UserId, username: String, role: i16 },
    Kick { user: UserId, username: String },
}

/// In the place of a role's number: no role is asked for.
const KEPT: i16 = 0;

impl WireChange {
    /// Whether order matters to it.
    pub(crate) const fn is_send(&self) -> bool {
        matches!(self, Self::Send { .. })
    }
}

impl From<&Caller> for WireCaller {
    fn from(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant,
            user: caller.user,
            username: caller.username.as_ref().into(),
            device: caller.device,
            admin: caller.admin,
        }
    }
}

impl From<WireCaller> for Arc<Caller> {
    fn from(caller: WireCaller) -> Self {
        let WireCaller { tenant, user, username, device, admin } = caller;
        Self::new(Caller { tenant, user, username: username.into(), device, admin })
    }
}

impl From<&Change> for WireChange {
    fn from(change: &Change) -> Self {
        let text = |text: &Arc<str>| String::from(text.as_ref());
        match change {
            Change::Send { body, reply_to, thread, enc } => {
                Self::Send { body: text(body), reply_to: *reply_to, thread: *thread, enc: *enc }
            }
            Change::Edit { target, body, enc } => {
                Self::Edit { target: *target, body: text(body), enc: *enc }
            }
            Change::Delete { target } => Self::Delete { target: *target },
            Change::React { target, emoji, on } => {
                Self::React { target: *target, emoji: text(emoji), on: *on }
            }
            Change::Pin { target, on } => Self::Pin { target: *target, on: *on },
            Change::Join => Self::Join,
            Change::Leave => Self::Leave,
            Change::Meet { other } => Self::Meet { other: *other },
            Change::Add { user, username, role } => Self::Add {
                user: *user,
                username: text(username),
                role: role.map_or(KEPT, |role| role.number()),
            },
            Change::Kick { user, username } => Self::Kick { user: *user, username: text(username) },
        }
    }
}

impl TryFrom<WireChange> for Change {
    type Error = Malformed;
    fn try_from(change: WireChange) -> Result<Self, Malformed> {
        Ok(match change {
            WireChange::Send { body, reply_to, thread, enc } => {
                Self::Send { body: body.into(), reply_to, thread, enc }
            }
            WireChange::Edit { target, body, enc } => Self::Edit { target, body: body.into(), enc },
            WireChange::Delete { target } => Self::Delete { target },
            WireChange::React { target, emoji, on } => {
                Self::React { target, emoji: emoji.into(), on }
            }
            WireChange::Pin { target, on } => Self::Pin { target, on },
            WireChange::Join => Self::Join,
            WireChange::Leave => Self::Leave,
            WireChange::Meet { other } => Self::Meet { other },
            WireChange::Add { user, username, role: number } => {
                let role = (number != KEPT).then(|| role(number)).transpose()?;
                Self::Add { user, username: username.into(), role }
            }
            WireChange::Kick { user, username } => Self::Kick { user, username: username.into() },
        })
    }
}
