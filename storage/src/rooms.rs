//! The projection of rooms: what the directory knows of each, stored beside the history. Nothing
//! reads it while there is a directory; `recover` makes a lost one again from it.

use parlance_actors::ports::HistoryError;
use parlance_actors::vocab::{
    Key, RoomId, RoomKind, RoomMeta, RoomName, RoomSettings, TenantId, Timestamp, Topic, UserId,
};
use uuid::Uuid;

use crate::error::read_failed;
use crate::limits;
use crate::sql::{Arg, Db, For, Row};

/// The guard is the version: a repeat and a late owner's older one change nothing.
const PROJECT: &str = "INSERT INTO {t}.room AS r (shard, id, name, kind, topic, settings, version,
      key, created_by, created_at, changed_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (shard, id) DO UPDATE SET name = excluded.name, kind = excluded.kind,
      topic = excluded.topic, settings = excluded.settings, version = excluded.version,
      key = excluded.key, created_by = excluded.created_by, created_at = excluded.created_at,
      changed_by = excluded.changed_by
    WHERE r.version < excluded.version";
const PAGE: &str = "SELECT id, name, kind, topic, settings, version, key, created_by, created_at,
      changed_by
    FROM {t}.room WHERE version > 0 AND (shard > $1 OR (shard = $1 AND id > $2))
    ORDER BY shard, id LIMIT $3";

/// Stores a room's entry unless the same or a later version is there.
pub(crate) async fn project(db: &Db, meta: &RoomMeta) -> Result<(), HistoryError> {
    if meta.version == 0 {
        return Ok(());
    }
    let unreadable = |what: &str| HistoryError::Unreadable(format!("{}: {what}", meta.at()));
    let kind = number(meta.kind).ok_or_else(|| unreadable("this kind has no entry"))?;
    let settings =
        serde_json::to_string(&meta.settings).map_err(|error| unreadable(&error.to_string()))?;
    let args = vec![
        Arg::Small(i16::from(meta.at().shard().0)),
        Arg::Id(meta.id.0),
        Arg::MaybeText(meta.name.as_ref().map(|name| name.as_str().to_owned())),
        Arg::Small(kind),
        Arg::Text(meta.topic.as_str().to_owned()),
        Arg::Text(settings),
        Arg::Int(i64::try_from(meta.version).unwrap_or(i64::MAX)),
        Arg::Id(meta.key.0),
        Arg::Id(meta.created_by.0),
        Arg::Int(meta.created_at.0),
        Arg::Id(meta.changed_by.0),
    ];
    db.rows(meta.tenant, For::Writing, PROJECT, args).await.map_err(read_failed)?;
    Ok(())
}

/// Every room of a tenant that was projected, page by page.
pub(crate) async fn projected(db: &Db, tenant: TenantId) -> Result<Vec<RoomMeta>, sqlx::Error> {
    let mut rooms: Vec<RoomMeta> = Vec::new();
    loop {
        let (shard, id) = rooms
            .last()
            .map_or((-1, Uuid::nil()), |last| (i16::from(last.at().shard().0), last.id.0));
        let page = limits::PROJECTED_ROOMS_AT_ONCE;
        let args = vec![Arg::Small(shard), Arg::Id(id), Arg::Int(page)];
        let rows = db.rows(tenant, For::Deciding, PAGE, args).await?;
        for row in &rows {
            rooms.push(meta(tenant, row)?);
        }
        if rows.len() as i64 != page {
            return Ok(rooms);
        }
    }
}

fn meta(tenant: TenantId, row: &Row) -> Result<RoomMeta, sqlx::Error> {
    let id = RoomId(row.id(0)?);
    let bad = |what: String| sqlx::Error::Decode(format!("room {id}: {what}").into());
    let name = row.maybe_text(1)?.map(|name| RoomName::parse(&name)).transpose();
    let kind = row.small(2)?;
    let settings: RoomSettings =
        serde_json::from_str(&row.text(4)?).map_err(|error| bad(error.to_string()))?;
    Ok(RoomMeta {
        tenant,
        id,
        kind: kind_of(kind).ok_or_else(|| bad(format!("unknown kind {kind}")))?,
        name: name.map_err(|refusal| bad(refusal.to_string()))?,
        topic: Topic::parse(&row.text(3)?).map_err(|refusal| bad(refusal.to_string()))?,
        settings,
        version: u64::try_from(row.int(5)?).unwrap_or_default(),
        key: Key(row.id(6)?),
        created_by: UserId(row.id(7)?),
        created_at: Timestamp(row.int(8)?),
        changed_by: UserId(row.id(9)?),
    })
}

/// The number that the table stores; only kinds with an entry in the directory have one.
const fn number(kind: RoomKind) -> Option<i16> {
    match kind {
        RoomKind::Public => Some(1),
        RoomKind::Private => Some(2),
        RoomKind::Direct | RoomKind::Lobby => None,
    }
}

const fn kind_of(number: i16) -> Option<RoomKind> {
    match number {
        1 => Some(RoomKind::Public),
        2 => Some(RoomKind::Private),
        _ => None,
    }
}
