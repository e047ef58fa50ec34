//! What is committed and survives every crash: the rooms' logs, with the rows of membership and of
//! mentions that their events make, and the fences of shards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ports::history::DatabaseId;
use crate::vocab::{
    Content, Draft, Epoch, Event, Key, MemberChange, Role, RoomId, RoomMeta, RoomRef, Seq, ShardId,
    TenantId, Timestamp, Turn, UserId,
};

/// A row of membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::testkit) struct MemberRow {
    pub(in crate::testkit) role: Role,
    pub(in crate::testkit) joined_at: Timestamp,
}

#[derive(Debug, Default)]
pub(in crate::testkit) struct Log {
    pub(in crate::testkit) events: Vec<Event>,
    pub(super) keys: HashMap<(UserId, Key), Seq>,
    pub(in crate::testkit) members: BTreeMap<UserId, MemberRow>,
    /// When the message first mentioned the user.
    pub(in crate::testkit) mentions: BTreeMap<(UserId, Seq), Timestamp>,
}

/// What survives every crash.
#[derive(Debug, Default)]
pub(in crate::testkit) struct Database {
    pub(in crate::testkit) rooms: HashMap<RoomRef, Log>,
    pub(super) fences: HashMap<ShardId, (Epoch, Turn)>,
    pub(in crate::testkit) usernames: HashMap<UserId, Arc<str>>,
    pub(in crate::testkit) marks: HashMap<(TenantId, UserId, RoomId), Seq>,
    pub(in crate::testkit) revisions: HashMap<(TenantId, UserId), u64>,
    pub(super) projected: BTreeMap<RoomRef, RoomMeta>,
    pub(super) id: DatabaseId,
    pub(super) batches: Vec<Vec<(RoomRef, Seq)>>,
    /// The epoch of each event, as every row has it.
    pub(super) epochs: HashMap<RoomRef, Vec<Epoch>>,
    pub(super) broken: Option<Broken>,
}

/// A build that keeps a promise no longer, to show that a test notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// Appends are committed under whatever epoch.
    NoFence,
    /// An owner that is fenced goes on, and answers as if it had committed.
    AcksWhenFenced,
    /// A repeated key is added again.
    NoDedupe,
}

impl Database {
    pub(super) fn named(&self, mut event: Event) -> Event {
        if let Some(name) = self.usernames.get(&event.sender.id) {
            event.sender.username = name.clone();
        }
        event
    }

    /// The accounts that a draft names, of the room or not.
    pub(super) fn named_in(&self, draft: &Draft) -> Vec<UserId> {
        let names = draft.content.names();
        if names.is_empty() {
            return Vec::new();
        }
        let named = self.usernames.iter().filter(|(_, name)| names.contains(&name.to_lowercase()));
        named.map(|(user, _)| *user).collect()
    }

    /// Raises the shard's fence; the new turn, or `None` when a later owner was here.
    pub(super) fn raise(&mut self, shard: ShardId, epoch: Epoch) -> Option<Turn> {
        let fence = self.fences.entry(shard).or_insert((epoch, Turn(0)));
        if fence.0 > epoch {
            return None;
        }
        let turn = if fence.0 == epoch { Turn(fence.1.0 + 1) } else { Turn(1) };
        *fence = (epoch, turn);
        Some(turn)
    }
}

impl Log {
    pub(super) fn head(&self) -> Seq {
        Seq(self.events.len() as u64)
    }

    pub(super) fn add(
        &mut self,
        tenant: TenantId,
        room: RoomId,
        draft: Draft,
        mut named: Vec<UserId>,
    ) -> Seq {
        let event = draft.at(self.head().next());
        let in_room =
            |user: &UserId| room == RoomId::lobby(tenant) || self.members.contains_key(user);
        named.retain(|user| *user != event.sender.id && in_room(user));
        self.change_mentions(&event, &named);
        match &event.content {
            Content::Delete { target } => {
                for old in &mut self.events {
                    if old.is_blanked_by_delete_of(*target) {
                        *old = old.blanked();
                    }
                }
            }
            Content::Member { user, change, .. } if room != RoomId::lobby(tenant) => {
                self.change_member(*user, *change, event.sent_at);
            }
            _ => {}
        }
        self.keys.insert((event.sender.id, event.key), event.seq);
        let seq = event.seq;
        self.events.push(event);
        seq
    }

    fn change_mentions(&mut self, event: &Event, named: &[UserId]) {
        let message = match &event.content {
            Content::Message { .. } => event.seq,
            Content::Edit { target, .. } | Content::Delete { target } => *target,
            _ => return,
        };
        self.mentions.retain(|(user, seq), _| *seq != message || named.contains(user));
        for user in named {
            self.mentions.entry((*user, message)).or_insert(event.sent_at);
        }
    }

    fn change_member(&mut self, user: UserId, change: MemberChange, at: Timestamp) {
        let known = self.members.get(&user).map(|row| row.joined_at);
        match change {
            MemberChange::Joined { role } => {
                self.members.insert(user, MemberRow { role, joined_at: at });
            }
            MemberChange::Role { role } => {
                let joined_at = known.unwrap_or(at);
                self.members.insert(user, MemberRow { role, joined_at });
            }
            MemberChange::Left | MemberChange::Kicked => {
                self.members.remove(&user);
            }
        }
    }
}
