//! Reads of rooms' logs, the same on both databases. Pages come from one snapshot each, in a
//! transaction without named statements, so that a pooler may sit between.

use std::collections::HashMap;

use parlance_actors::limits as domain;
use parlance_actors::ports::HistoryError;
use parlance_actors::ports::history::{LogPage, Opened, Range, TimelinePage};
use parlance_actors::room::fold;
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{
    Content, DeviceId, Epoch, Event, EventParts, Key, RoomRef, Sender, Seq, Timestamp, Turn, UserId,
};

use crate::crypt::{Crypt, EventAad};
use crate::error::read_failed;
use crate::lane::column;
use crate::limits;
use crate::postgres::database_id;
use crate::sql::{Arg, Db, For, Row, Transaction};

/// What each event is read with; `$1` is the shard and `$2` the room.
const EVENTS: &str = "SELECT e.seq, e.sender, COALESCE(u.username, 'unknown'), e.device, e.key,
      e.kind, e.target, e.thread, e.enc, e.sent_at, e.crypt_key, e.body
    FROM {t}.event e LEFT JOIN {t}.\"user\" u ON u.id = e.sender
    WHERE e.shard = $1 AND e.room = $2";
/// Served by the partial index on pins.
const PINS: &str = " AND e.kind = 5 ORDER BY e.seq DESC LIMIT $3";
const TIMELINE: &str = " AND e.kind IN (1, 6, 7)";
const EDGES: &str = "SELECT
      COALESCE((SELECT max(e.seq) FROM {t}.event e WHERE e.shard = $1 AND e.room = $2), 0),
      COALESCE((SELECT r.first FROM {t}.room r WHERE r.shard = $1 AND r.id = $2), 1)";
/// What a room learns when it opens, in one statement, so that all of it and the identity of the
/// database come from the same server.
const OPENED: &str = "SELECT
      COALESCE((SELECT max(e.seq) FROM {t}.event e WHERE e.shard = $1 AND e.room = $2), 0),
      COALESCE((SELECT r.first FROM {t}.room r WHERE r.shard = $1 AND r.id = $2), 1),
      COALESCE((SELECT r.version FROM {t}.room r WHERE r.shard = $1 AND r.id = $2), 0),
      (SELECT count(*) FROM {t}.member m WHERE m.shard = $1 AND m.room = $2),
      (SELECT e.seq FROM {t}.event e
       WHERE e.shard = $1 AND e.room = $2 AND e.sender = $3 AND e.key = $4 LIMIT 1),
      COALESCE((SELECT f.epoch FROM {g}.fence f WHERE f.shard = $1), 0),
      COALESCE((SELECT f.turn FROM {g}.fence f WHERE f.shard = $1), 0)";
const KEY: &str = "SELECT seq, sent_at FROM {t}.event
    WHERE shard = $1 AND room = $2 AND sender = $3 AND key = $4";
const LAST_RECENT: &str = "SELECT sent_at FROM {t}.event
    WHERE shard = $1 AND room = $2 AND seq > $4 AND sender = $3 AND kind = 1
    ORDER BY seq DESC LIMIT 1";
const LAST_EVER: &str = "SELECT max(sent_at) FROM {t}.event
    WHERE shard = $1 AND room = $2 AND sender = $3 AND kind = 1";

/// Reads with the database and the keys that they need.
#[derive(Debug, Clone)]
pub(crate) struct Reads {
    pub(crate) db: Db,
    pub(crate) crypt: Crypt,
}

fn at(room: RoomRef) -> Vec<Arg> {
    vec![Arg::Small(i16::from(room.shard().0)), Arg::Id(room.room.0)]
}

fn seq(value: i64) -> Seq {
    Seq(u64::try_from(value).unwrap_or_default())
}

impl Reads {
    /// What a room learns when it opens, after the fence was raised, and the fence as it is stored.
    pub(crate) async fn opened(
        &self,
        room: RoomRef,
        ask: Option<(UserId, Key)>,
    ) -> Result<(Opened, (Epoch, Turn)), HistoryError> {
        let mut args = at(room);
        args.extend([
            Arg::MaybeId(ask.map(|(sender, _)| sender.0)),
            Arg::MaybeId(ask.map(|(_, key)| key.0)),
        ]);
        let identity = match &self.db {
            Db::Postgres(db) => db.servers.identity(),
            Db::Sqlite(_) => "0, 0".to_owned(),
        };
        let rows = self.decide(room, &format!("{OPENED}, {identity}"), args).await?;
        let read = |row: &Row| {
            let opened = Opened {
                head: seq(row.int(0)?),
                first: seq(row.int(1)?),
                projected: u64::try_from(row.int(2)?).unwrap_or_default(),
                members: u64::try_from(row.int(3)?).unwrap_or_default(),
                asked: row.maybe_int(4)?.map(seq),
                database: database_id(row.int(7)?, row.int(8)?),
            };
            let number = |place| row.int(place).map(|n| u64::try_from(n).unwrap_or_default());
            Ok((opened, (Epoch(number(5)?), Turn(number(6)?))))
        };
        rows.first().ok_or(sqlx::Error::RowNotFound).and_then(read).map_err(read_failed)
    }

    pub(crate) async fn event(
        &self,
        room: RoomRef,
        seq: Seq,
    ) -> Result<Option<Event>, HistoryError> {
        let mut args = at(room);
        args.push(Arg::Int(column(seq)));
        let rows = self.decide(room, &format!("{EVENTS} AND e.seq = $3"), args).await?;
        rows.first().map(|row| self.read(room, row)).transpose()
    }

    pub(crate) async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError> {
        let mut args = at(room);
        args.extend([Arg::Id(sender.0), Arg::Id(key.0)]);
        let rows = self.decide(room, KEY, args).await?;
        let read = |row: &Row| Ok((seq(row.int(0)?), Timestamp(row.int(1)?)));
        rows.first().map(read).transpose().map_err(read_failed)
    }

    /// Looks among the newest events first, so that neither a long log nor a busy sender costs.
    pub(crate) async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        let (head, _) = self.edges(room).await?;
        let mut args = at(room);
        args.push(Arg::Id(sender.0));
        let mut recent = args.clone();
        let from = head.0.saturating_sub(limits::LAST_MESSAGE_RECENT);
        recent.push(Arg::Int(column(Seq(from))));
        let rows = self.decide(room, LAST_RECENT, recent).await?;
        if let Some(row) = rows.first() {
            return Ok(Some(Timestamp(row.int(0).map_err(read_failed)?)));
        }
        if from == 0 {
            return Ok(None);
        }
        let rows = self.decide(room, LAST_EVER, args).await?;
        let last = rows.first().map_or(Ok(None), |row| row.maybe_int(0)).map_err(read_failed)?;
        Ok(last.map(Timestamp))
    }

    /// `waiting` is given up when the connection is there and nothing was read yet: the snapshot
    /// is taken by the first statement behind it.
    pub(crate) async fn log(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
        waiting: impl Sized,
    ) -> Result<LogPage, HistoryError> {
        let mut snapshot = self.begin(room).await?;
        drop(waiting);
        let (as_of, first) = edges(&mut snapshot, room).await.map_err(read_failed)?;
        let (events, more) = self.page(&mut snapshot, room, EVENTS, range, limit).await?;
        snapshot.commit().await.map_err(read_failed)?;
        Ok(LogPage { events, more, as_of, first })
    }

    /// As [`Self::log`].
    pub(crate) async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
        waiting: impl Sized,
    ) -> Result<TimelinePage, HistoryError> {
        let mut snapshot = self.begin(room).await?;
        drop(waiting);
        let (as_of, first) = edges(&mut snapshot, room).await.map_err(read_failed)?;
        let wanted = format!("{EVENTS}{TIMELINE}");
        let (entries, more) = self.page(&mut snapshot, room, &wanted, range, limit).await?;
        let notes = match (entries.first(), entries.last()) {
            (Some(low), Some(high)) => self.notes(&mut snapshot, room, low.seq, high.seq).await?,
            _ => Vec::new(),
        };
        snapshot.commit().await.map_err(read_failed)?;
        Ok(TimelinePage { entries, notes, more, as_of, first })
    }

    /// Whether a pin event pins or unpins is in its body, which may be sealed: so they are read, and
    /// decided on here.
    pub(crate) async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError> {
        let mut snapshot = self.begin(room).await?;
        let (as_of, first) = edges(&mut snapshot, room).await.map_err(read_failed)?;
        let mut args = at(room);
        args.push(Arg::Int(i64::from(domain::PIN_EVENTS_MAX)));
        let rows = snapshot.rows(&format!("{EVENTS}{PINS}"), args).await.map_err(read_failed)?;
        let pins: Result<Vec<Event>, _> = rows.iter().map(|row| self.read(room, row)).collect();
        let mut pinned = fold::pinned(pins?.iter());
        // Some of them may be deleted by now.
        let cut =
            pinned.len() > limits::PINS_LOOKED_AT || rows.len() >= domain::PIN_EVENTS_MAX as usize;
        pinned.truncate(limits::PINS_LOOKED_AT);
        let mut found = self.targeted(&mut snapshot, room, "e.seq", &pinned, "e.kind = 1").await?;
        found.retain(|event| matches!(event.content, Content::Message { .. }));
        let place: HashMap<Seq, usize> = pinned.iter().copied().zip(0..).collect();
        found.sort_by_key(|event| place.get(&event.seq).copied());
        let more = cut || found.len() > domain::PINS_MAX;
        found.truncate(domain::PINS_MAX);
        let shown: Vec<Seq> = found.iter().map(|event| event.seq).collect();
        let kinds = "e.kind IN (2, 3, 4, 5)";
        let mut notes = self.targeted(&mut snapshot, room, "e.target", &shown, kinds).await?;
        notes.reverse();
        snapshot.commit().await.map_err(read_failed)?;
        Ok(TimelinePage { entries: found, notes, more, as_of, first })
    }

    /// The newest events of some kinds in which a column is one of these seqs, the newest first. The
    /// list is filled up to a power of two with a seq that no event has, so that there are few
    /// statements.
    async fn targeted(
        &self,
        snapshot: &mut Transaction,
        room: RoomRef,
        column_name: &str,
        seqs: &[Seq],
        kinds: &str,
    ) -> Result<Vec<Event>, HistoryError> {
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = at(room);
        args.push(Arg::Int(i64::from(domain::PAGE_NOTES_MAX)));
        let length = seqs.len().next_power_of_two();
        let padded = seqs.iter().chain(std::iter::repeat(&Seq(0))).take(length);
        args.extend(padded.map(|seq| Arg::Int(column(*seq))));
        let places: Vec<String> = (0..length).map(|place| format!("${}", place + 4)).collect();
        let list = places.join(", ");
        let sql = format!(
            "{EVENTS} AND {kinds} AND {column_name} IN ({list}) ORDER BY e.seq DESC LIMIT $3"
        );
        let rows = snapshot.rows(&sql, args).await.map_err(read_failed)?;
        rows.iter().map(|row| self.read(room, row)).collect()
    }

    /// The newest edits, deletes, reactions and pins on messages between two seqs. A page of the
    /// timeline holds every message between its ends, so this is what targets its entries.
    async fn notes(
        &self,
        snapshot: &mut Transaction,
        room: RoomRef,
        low: Seq,
        high: Seq,
    ) -> Result<Vec<Event>, HistoryError> {
        let sql = format!(
            "{EVENTS} AND e.kind IN (2, 3, 4, 5) AND e.target BETWEEN $3 AND $4
             ORDER BY e.seq DESC LIMIT $5"
        );
        let mut args = at(room);
        let limit = i64::from(domain::PAGE_NOTES_MAX);
        args.extend([Arg::Int(column(low)), Arg::Int(column(high)), Arg::Int(limit)]);
        let rows = snapshot.rows(&sql, args).await.map_err(read_failed)?;
        rows.iter().rev().map(|row| self.read(room, row)).collect()
    }

    async fn page(
        &self,
        snapshot: &mut Transaction,
        room: RoomRef,
        select: &str,
        range: Range,
        limit: u16,
    ) -> Result<(Vec<Event>, bool), HistoryError> {
        let (bound, order, edge) = match range {
            Range::Latest => ("<=", "DESC", i64::MAX),
            Range::Before(seq) => ("<", "DESC", column(seq)),
            Range::After(seq) => (">", "ASC", column(seq)),
        };
        let sql = format!("{select} AND e.seq {bound} $3 ORDER BY e.seq {order} LIMIT $4");
        let mut args = at(room);
        args.extend([Arg::Int(edge), Arg::Int(i64::from(limit) + 1)]);
        let mut rows = snapshot.rows(&sql, args).await.map_err(read_failed)?;
        let more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        if order == "DESC" {
            rows.reverse();
        }
        let events: Result<Vec<Event>, _> = rows.iter().map(|row| self.read(room, row)).collect();
        Ok((events?, more))
    }

    /// An event of [`EVENTS`].
    fn read(&self, room: RoomRef, row: &Row) -> Result<Event, HistoryError> {
        let unreadable = |why: String| HistoryError::Unreadable(format!("{room}: {why}"));
        let columns = || -> Result<_, sqlx::Error> {
            let sender = Sender { id: UserId(row.id(1)?), username: row.text(2)?.into() };
            let device = row.maybe_id(3)?.map(DeviceId);
            let place = (seq(row.int(0)?), sender, device, Key(row.id(4)?));
            let about = (row.maybe_int(6)?.map(seq), row.maybe_int(7)?.map(seq), row.flag(8)?);
            let stored = (row.maybe_whole(10)?, row.maybe_bytes(11)?);
            Ok((place, row.small(5)?, about, Timestamp(row.int(9)?), stored))
        };
        let (place, number, about, sent_at, (crypt_key, stored)) =
            columns().map_err(read_failed)?;
        let (seq, sender, device, key) = place;
        let (target, thread, enc) = about;
        let kind = Kind::from_number(number)
            .ok_or_else(|| unreadable(format!("event {seq} has the unknown kind {number}")))?;
        let at = EventAad::new(room.tenant, room.room, sender.id, key);
        let open = |stored| self.crypt.open(crypt_key, at.as_ref(), stored);
        let body = stored.map(open).transpose().map_err(|e| unreadable(e.to_string()))?;
        let content = Content::from_parts(EventParts { kind, target, thread, enc, body })
            .map_err(|error| unreadable(format!("event {seq}: {error}")))?;
        Ok(Event { seq, sender, device, key, sent_at, content })
    }

    async fn begin(&self, room: RoomRef) -> Result<Transaction, HistoryError> {
        self.db.begin(room.tenant, For::Reading).await.map_err(read_failed)
    }

    /// One statement that sees everything committed before it began.
    async fn decide(
        &self,
        room: RoomRef,
        sql: &str,
        args: Vec<Arg>,
    ) -> Result<Vec<Row>, HistoryError> {
        self.db.rows(room.tenant, For::Deciding, sql, args).await.map_err(read_failed)
    }

    async fn edges(&self, room: RoomRef) -> Result<(Seq, Seq), HistoryError> {
        let rows = self.decide(room, EDGES, at(room)).await?;
        edges_of(&rows).map_err(read_failed)
    }
}

async fn edges(snapshot: &mut Transaction, room: RoomRef) -> Result<(Seq, Seq), sqlx::Error> {
    edges_of(&snapshot.rows(EDGES, at(room)).await?)
}

/// Head and first.
fn edges_of(rows: &[Row]) -> Result<(Seq, Seq), sqlx::Error> {
    let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    Ok((seq(row.int(0)?), seq(row.int(1)?)))
}
