//! Membership in memory: the rows that [`MemoryHistory`] writes with its member events, and those of
//! mentions that it writes with messages.

use std::sync::Arc;

use async_trait::async_trait;

use super::history::{Database, Log, MemoryHistory};
use crate::limits;
use crate::ports::HistoryError;
use crate::ports::members::{Member, Members, Membership, Mention, Mentions, Summary};
use crate::vocab::{Content, Event, Role, RoomId, RoomRef, Seq, TenantId, UserId};

impl Database {
    fn summary(&self, room: RoomRef, user: UserId) -> Summary {
        let mark = self.marks.get(&(room.tenant, user, room.room));
        let read = mark.copied().unwrap_or_default();
        let Some(log) = self.rooms.get(&room) else {
            return Summary { read, ..Summary::default() };
        };
        let last = log.events.last();
        let head = last.map_or(Seq(0), |event| event.seq);
        let from = read.0.max(head.0.saturating_sub(limits::UNREAD_EVENTS_MAX));
        let is_unread = |event: &&Event| {
            let said = matches!(event.content, Content::Message { .. });
            event.seq.0 > from && event.sender.id != user && said
        };
        let unread = log.events.iter().filter(is_unread).take(usize::from(limits::UNREAD_MAX));
        Summary {
            role: log.members.get(&user).map(|row| row.role),
            head,
            last_at: last.map(|event| event.sent_at),
            read,
            unread: u16::try_from(unread.count()).unwrap_or(limits::UNREAD_MAX),
            mentions: log.mentions_after(user, read),
            other: log.members.keys().copied().find(|member| *member != user),
        }
    }
}

impl Log {
    fn mentions_after(&self, user: UserId, read: Seq) -> u16 {
        let counted = self.mentions.range((user, read.next())..=(user, Seq(u64::MAX)));
        let count = counted.take(usize::from(limits::UNREAD_MAX)).count();
        u16::try_from(count).unwrap_or(limits::UNREAD_MAX)
    }
}

#[async_trait]
impl Members for MemoryHistory {
    async fn role(&self, room: RoomRef, user: UserId) -> Result<Option<Role>, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let row = database.rooms.get(&room).and_then(|log| log.members.get(&user));
        Ok(row.map(|row| row.role))
    }

    async fn list(
        &self,
        room: RoomRef,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<Vec<Member>, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let Some(log) = database.rooms.get(&room) else { return Ok(Vec::new()) };
        let unknown: Arc<str> = "unknown".into();
        let members = log.members.iter().filter(|(user, _)| after.is_none_or(|a| **user > a));
        let members = members.take(usize::from(limit)).map(|(user, row)| Member {
            user: *user,
            username: database.usernames.get(user).unwrap_or(&unknown).clone(),
            role: row.role,
            joined_at: row.joined_at,
        });
        Ok(members.collect())
    }

    async fn rooms_of(
        &self,
        tenant: TenantId,
        user: UserId,
        after: Option<RoomId>,
        limit: u16,
    ) -> Result<Vec<Membership>, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let rooms = database.rooms.iter().filter(|(at, _)| at.tenant == tenant);
        let rooms = rooms.filter(|(at, _)| after.is_none_or(|after| at.room > after));
        let mut memberships: Vec<_> = rooms
            .filter_map(|(at, log)| {
                let role = log.members.get(&user)?.role;
                let mark = database.marks.get(&(tenant, user, at.room));
                Some(Membership { room: at.room, role, read: mark.copied().unwrap_or_default() })
            })
            .collect();
        memberships.sort_by_key(|membership| membership.room);
        memberships.truncate(usize::from(limit));
        Ok(memberships)
    }

    async fn summaries(
        &self,
        tenant: TenantId,
        user: UserId,
        rooms: &[RoomId],
    ) -> Result<Vec<Summary>, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        Ok(rooms
            .iter()
            .map(|room| database.summary(RoomRef { tenant, room: *room }, user))
            .collect())
    }

    async fn sizes(&self, tenant: TenantId, rooms: &[RoomId]) -> Result<Vec<u32>, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let size = |room: &RoomId| {
            let log = database.rooms.get(&RoomRef { tenant, room: *room });
            let members = log.map_or(0, |log| log.members.len());
            u32::try_from(members).unwrap_or(u32::MAX).min(limits::MEMBERS_COUNTED_MAX)
        };
        Ok(rooms.iter().map(size).collect())
    }

    async fn mentions(
        &self,
        tenant: TenantId,
        user: UserId,
        before: Option<Mention>,
        limit: u16,
    ) -> Result<Mentions, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let mut all: Vec<(Mention, bool)> = Vec::new();
        for (at, log) in database.rooms.iter().filter(|(at, _)| at.tenant == tenant) {
            let is_in = at.room == RoomId::lobby(tenant) || log.members.contains_key(&user);
            let of_user = log.mentions.iter().filter(|((whose, _), _)| *whose == user);
            all.extend(of_user.map(|((_, seq), sent_at)| {
                (Mention { room: at.room, seq: *seq, at: *sent_at }, is_in)
            }));
        }
        let place = |mention: &Mention| (mention.at, mention.room, mention.seq);
        all.retain(|(mention, _)| before.is_none_or(|before| place(mention) < place(&before)));
        all.sort_by_key(|(mention, _)| std::cmp::Reverse(place(mention)));
        let limit = usize::from(limit);
        let more = all.len() > limit;
        all.truncate(limit);
        let next = all.last().filter(|_| more).map(|(mention, _)| *mention);
        let mentions = all.into_iter().filter(|(_, is_in)| *is_in).map(|(one, _)| one).collect();
        Ok(Mentions { mentions, next })
    }

    async fn mark_read(
        &self,
        room: RoomRef,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<u64>, HistoryError> {
        self.present()?;
        let mut database = self.database.lock();
        let mark = database.marks.entry((room.tenant, user, room.room)).or_default();
        if *mark >= seq {
            return Ok(None);
        }
        *mark = seq;
        let revision = database.revisions.entry((room.tenant, user)).or_default();
        *revision += 1;
        Ok(Some(*revision))
    }

    async fn read_mark(&self, room: RoomRef, user: UserId) -> Result<Seq, HistoryError> {
        self.present()?;
        let database = self.database.lock();
        Ok(database.marks.get(&(room.tenant, user, room.room)).copied().unwrap_or(Seq(0)))
    }

    async fn bump(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError> {
        self.present()?;
        let mut database = self.database.lock();
        let revision = database.revisions.entry((tenant, user)).or_default();
        *revision += 1;
        Ok(*revision)
    }

    async fn revision(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError> {
        self.present()?;
        Ok(self.database.lock().revisions.get(&(tenant, user)).copied().unwrap_or_default())
    }
}
