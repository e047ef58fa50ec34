//! Rows of membership, read marks, mentions and revisions, the same on both databases. Rows of
//! membership and of mentions are written by the append alone.

use std::sync::Arc;

use async_trait::async_trait;
use parlance_actors::ports::HistoryError;
use parlance_actors::ports::members::{Member, Members, Membership, Mention, Mentions, Summary};
use parlance_actors::vocab::{Role, RoomId, RoomRef, Seq, TenantId, Timestamp, UserId};
use uuid::Uuid;

use crate::error::read_failed;
use crate::lane::column;
use crate::lists::Lists;
use crate::sql::{Arg, Db, For, Row};
use crate::summaries;

const ROLE: &str = "SELECT role FROM {t}.member WHERE shard = $1 AND room = $2 AND \"user\" = $3";
const LIST: &str = "SELECT m.\"user\", COALESCE(u.username, 'unknown'), m.role, m.joined_at
    FROM {t}.member m LEFT JOIN {t}.\"user\" u ON u.id = m.\"user\"
    WHERE m.shard = $1 AND m.room = $2 AND m.\"user\" >= $3 AND m.\"user\" <> $4
    ORDER BY m.\"user\" LIMIT $5";
const ROOMS: &str = "SELECT m.room, m.role, COALESCE(r.seq, 0)
    FROM {t}.member m LEFT JOIN {t}.read_mark r ON r.\"user\" = m.\"user\" AND r.room = m.room
    WHERE m.\"user\" = $1 AND m.room >= $2 AND m.room <> $3
    ORDER BY m.room LIMIT $4";
/// Along the index of a user's mentions; rows of rooms that the user is not in count as looked at.
const MENTIONS: &str = "SELECT n.room, n.seq, n.sent_at,
      (n.room = $6 OR EXISTS (SELECT 1 FROM {t}.member m
        WHERE m.shard = n.shard AND m.room = n.room AND m.\"user\" = $1))
    FROM {t}.mention n
    WHERE n.\"user\" = $1 AND (n.sent_at, n.room, n.seq) < ($2, $3, $4)
    ORDER BY n.sent_at DESC, n.room DESC, n.seq DESC LIMIT $5";
const MARK: &str = "INSERT INTO {t}.read_mark AS r (\"user\", room, seq) VALUES ($1, $2, $3)
    ON CONFLICT (\"user\", room) DO UPDATE SET seq = excluded.seq WHERE r.seq < excluded.seq
    RETURNING seq";
const MARKED: &str = "SELECT seq FROM {t}.read_mark WHERE \"user\" = $1 AND room = $2";
const BUMP: &str = "UPDATE {t}.\"user\" SET rev = rev + 1 WHERE id = $1 RETURNING rev";
const REVISION: &str = "SELECT rev FROM {t}.\"user\" WHERE id = $1";

/// Rows of membership in a database.
#[derive(Debug)]
pub(crate) struct SqlMembers {
    pub(crate) db: Db,
    pub(crate) lists: Arc<Lists>,
}

/// "After this id", as "at least this id, and not it", which also says "from the first".
fn after(id: Option<Uuid>) -> [Arg; 2] {
    let (from, not) = id.map_or((Uuid::nil(), Uuid::max()), |id| (id, id));
    [Arg::Id(from), Arg::Id(not)]
}

fn role(row: &Row, place: usize) -> Result<Role, HistoryError> {
    let number = row.small(place).map_err(read_failed)?;
    let unknown = || HistoryError::Unreadable(format!("a member has the unknown role {number}"));
    Role::from_number(number).ok_or_else(unknown)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

impl SqlMembers {
    async fn read(
        &self,
        tenant: TenantId,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, HistoryError> {
        self.db.rows(tenant, For::Deciding, sql, args).await.map_err(read_failed)
    }
}

#[async_trait]
impl Members for SqlMembers {
    async fn role(&self, room: RoomRef, user: UserId) -> Result<Option<Role>, HistoryError> {
        let shard = Arg::Small(i16::from(room.shard().0));
        let args = vec![shard, Arg::Id(room.room.0), Arg::Id(user.0)];
        let rows = self.read(room.tenant, ROLE, args).await?;
        rows.first().map(|row| role(row, 0)).transpose()
    }

    async fn list(
        &self,
        room: RoomRef,
        past: Option<UserId>,
        limit: u16,
    ) -> Result<Vec<Member>, HistoryError> {
        let mut args = vec![Arg::Small(i16::from(room.shard().0)), Arg::Id(room.room.0)];
        args.extend(after(past.map(|user| user.0)));
        args.push(Arg::Int(i64::from(limit)));
        let _turn = self.lists.turn().await?;
        let rows = self.read(room.tenant, LIST, args).await?;
        let member = |row: &Row| {
            Ok(Member {
                user: UserId(row.id(0).map_err(read_failed)?),
                username: row.text(1).map_err(read_failed)?.into(),
                role: role(row, 2)?,
                joined_at: Timestamp(row.int(3).map_err(read_failed)?),
            })
        };
        rows.iter().map(member).collect()
    }

    async fn rooms_of(
        &self,
        tenant: TenantId,
        user: UserId,
        past: Option<RoomId>,
        limit: u16,
    ) -> Result<Vec<Membership>, HistoryError> {
        let mut args = vec![Arg::Id(user.0)];
        args.extend(after(past.map(|room| room.0)));
        args.push(Arg::Int(i64::from(limit)));
        let _turn = self.lists.turn().await?;
        let rows = self.read(tenant, ROOMS, args).await?;
        let membership = |row: &Row| {
            Ok(Membership {
                room: RoomId(row.id(0).map_err(read_failed)?),
                role: role(row, 1)?,
                read: Seq(unsigned(row.int(2).map_err(read_failed)?)),
            })
        };
        rows.iter().map(membership).collect()
    }

    async fn summaries(
        &self,
        tenant: TenantId,
        user: UserId,
        rooms: &[RoomId],
    ) -> Result<Vec<Summary>, HistoryError> {
        // One room is no list: who opens or makes it is not held up by those who list theirs.
        let _turn = if rooms.len() > 1 { Some(self.lists.turn().await?) } else { None };
        summaries::read(&self.db, tenant, user, rooms).await
    }

    async fn sizes(&self, tenant: TenantId, rooms: &[RoomId]) -> Result<Vec<u32>, HistoryError> {
        let _turn = self.lists.turn().await?;
        summaries::sizes(&self.db, tenant, rooms).await
    }

    async fn mentions(
        &self,
        tenant: TenantId,
        user: UserId,
        before: Option<Mention>,
        limit: u16,
    ) -> Result<Mentions, HistoryError> {
        let (at, room, seq) = before.map_or((i64::MAX, Uuid::max(), i64::MAX), |one| {
            (one.at.0, one.room.0, column(one.seq))
        });
        let mut args = vec![Arg::Id(user.0), Arg::Int(at), Arg::Id(room), Arg::Int(seq)];
        // One more tells whether there are more.
        args.extend([Arg::Int(i64::from(limit) + 1), Arg::Id(RoomId::lobby(tenant).0)]);
        let _turn = self.lists.turn().await?;
        let rows = self.read(tenant, MENTIONS, args).await?;
        let mention = |row: &Row| {
            let (room, seq) = (RoomId(row.id(0)?), Seq(unsigned(row.int(1)?)));
            Ok((Mention { room, seq, at: Timestamp(row.int(2)?) }, row.flag(3)?))
        };
        let seen: Result<Vec<(Mention, bool)>, sqlx::Error> = rows.iter().map(mention).collect();
        let mut seen = seen.map_err(read_failed)?;
        let more = seen.len() > usize::from(limit);
        seen.truncate(usize::from(limit));
        let next = seen.last().filter(|_| more).map(|(mention, _)| *mention);
        let mentions = seen.into_iter().filter(|(_, is_in)| *is_in).map(|(one, _)| one).collect();
        Ok(Mentions { mentions, next })
    }

    async fn mark_read(
        &self,
        room: RoomRef,
        user: UserId,
        seq: Seq,
    ) -> Result<Option<u64>, HistoryError> {
        let mut change = self.db.begin(room.tenant, For::Writing).await.map_err(read_failed)?;
        let args = vec![Arg::Id(user.0), Arg::Id(room.room.0), Arg::Int(column(seq))];
        let moved = change.rows(MARK, args).await.map_err(read_failed)?;
        if moved.is_empty() {
            change.commit().await.map_err(read_failed)?;
            return Ok(None);
        }
        let rows = change.rows(BUMP, vec![Arg::Id(user.0)]).await.map_err(read_failed)?;
        let revision = revision_in(&rows)?;
        change.commit().await.map_err(read_failed)?;
        Ok(Some(revision))
    }

    async fn read_mark(&self, room: RoomRef, user: UserId) -> Result<Seq, HistoryError> {
        let args = vec![Arg::Id(user.0), Arg::Id(room.room.0)];
        let rows = self.read(room.tenant, MARKED, args).await?;
        let seq = rows.first().map_or(Ok(0), |row| row.int(0)).map_err(read_failed)?;
        Ok(Seq(unsigned(seq)))
    }

    async fn bump(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError> {
        let rows = self.db.rows(tenant, For::Writing, BUMP, vec![Arg::Id(user.0)]).await;
        revision_in(&rows.map_err(read_failed)?)
    }

    async fn revision(&self, tenant: TenantId, user: UserId) -> Result<u64, HistoryError> {
        let rows = self.read(tenant, REVISION, vec![Arg::Id(user.0)]).await?;
        let revision = rows.first().map_or(Ok(0), |row| row.int(0)).map_err(read_failed)?;
        Ok(unsigned(revision))
    }
}

fn revision_in(rows: &[Row]) -> Result<u64, HistoryError> {
    let missing = || HistoryError::Unreadable("there is no such user".to_owned());
    let row = rows.first().ok_or_else(missing)?;
    Ok(unsigned(row.int(0).map_err(read_failed)?))
}
