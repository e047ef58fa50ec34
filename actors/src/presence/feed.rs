//! What concerns a user on all their devices: their own feed, a session that another replaces, and
//! the end of all sessions. Here it reaches the sessions of this node; the others' are reached
//! through the home of the user's shard.
//!
//! Nothing of it is kept: who is not connected reads it when they connect.

use crate::outbox::CloseCode;
use crate::session::Output;
use crate::session::link::SessionLink;
use crate::vocab::{Code, Refusal, TenantId, UserId};
use crate::wire::presence::{Saying, Word};
use crate::world::World;

impl World {
    /// Tells the user's sessions on every node, those here at once.
    pub(crate) fn tell_user(&self, word: Word) {
        self.tell_user_here(word);
        self.presence.carry(word);
    }

    /// Tells the user's sessions on this node.
    pub(crate) fn tell_user_here(&self, Word { tenant, user, saying }: Word) {
        let (rev, output) = match saying {
            Saying::Read { room, seq, rev } => (rev, Output::MeRead { rev, room, seq }),
            Saying::Membership { room, role, rev } => (rev, Output::MeRoom { rev, room, role }),
            Saying::Replace { session } => {
                let old = self.sessions.get(session);
                // Only one's own session can be replaced.
                let is_own =
                    |old: &SessionLink| (old.caller.tenant, old.caller.user) == (tenant, user);
                if let Some(old) = old.filter(|old| is_own(old)) {
                    old.replace("your client opened another session");
                }
                return;
            }
        };
        let mut links = self.sessions.of_user(tenant, user);
        links.retain(|link| !link.was_welcomed_with(rev));
        links.iter().for_each(|link| link.say(&output));
    }

    /// Ends the user's sessions on this node.
    pub(crate) fn end_sessions_here(&self, tenant: TenantId, user: UserId) {
        for link in self.sessions.of_user(tenant, user) {
            let refusal = Refusal::new(Code::Unauthenticated, "you were signed out");
            link.close(CloseCode::Unauthenticated, refusal);
        }
    }
}

impl SessionLink {
    /// Closes the session because another one took its place.
    pub(crate) fn replace(&self, why: &'static str) {
        self.close(CloseCode::Replaced, Refusal::new(Code::Conflict, why));
    }
}
