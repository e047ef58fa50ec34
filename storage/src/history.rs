//! The history port over lanes and reads: an append goes to the lane of its shard, everything
//! else is a read.

use async_trait::async_trait;
use parlance_actors::ports::HistoryError;
use parlance_actors::ports::history::{
    Append, History, LogPage, NotTaken, Opened, Range, TimelinePage,
};
use parlance_actors::vocab::{
    Epoch, Event, Key, RoomMeta, RoomRef, Seq, ShardId, TenantId, Timestamp, UserId,
};

use crate::flights::Flights;
use crate::lane::LaneHandle;
use crate::limits;
use crate::reads::Reads;
use crate::rooms;
use crate::sql::{Db, For};

/// Rooms' logs in a database.
#[derive(Debug)]
pub(crate) struct SqlHistory {
    lanes: Vec<LaneHandle>,
    reads: Reads,
    logs: Flights<Asked, LogPage>,
    timelines: Flights<Asked, TimelinePage>,
}

/// What a page is asked for with.
type Asked = (RoomRef, Range, u16);

impl SqlHistory {
    pub(crate) fn new(lanes: Vec<LaneHandle>, reads: Reads) -> Self {
        Self { lanes, reads, logs: Flights::new(), timelines: Flights::new() }
    }

    fn lane(&self, shard: ShardId) -> &LaneHandle {
        &self.lanes[usize::from(shard.0) % self.lanes.len()]
    }

    #[cfg(any(test, feature = "testkit"))]
    pub(crate) fn kill(&self) {
        for lane in &self.lanes {
            lane.kill();
        }
    }

    /// Reads of the log that wait for a connection and may be joined.
    #[cfg(test)]
    pub(crate) fn waiting_reads(&self) -> usize {
        self.logs.waiting()
    }

    /// Whether the primary takes writes: it is no standby, and a file can be locked for writing.
    async fn takes_writes(&self) -> Result<(), sqlx::Error> {
        match &self.reads.db {
            Db::Postgres(db) => {
                let sql = "SELECT pg_is_in_recovery()
                    OR current_setting('default_transaction_read_only')::boolean";
                let refuses: bool = sqlx::query_scalar(sql).fetch_one(&db.primary).await?;
                if refuses {
                    return Err(sqlx::Error::Protocol("the server takes no writes".to_owned()));
                }
            }
            Db::Sqlite(_) => {
                let transaction = self.reads.db.begin(TenantId::MAIN, For::Writing).await?;
                transaction.commit().await?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl History for SqlHistory {
    fn append(&self, append: Append) -> Result<(), NotTaken> {
        self.lane(append.room.shard()).append(append)
    }

    async fn open(
        &self,
        room: RoomRef,
        epoch: Epoch,
        ask: Option<(UserId, Key)>,
    ) -> Result<Opened, HistoryError> {
        let lane = self.lane(room.shard());
        for _ in 0..limits::OPEN_TRIES {
            let hold = lane.open(room, epoch).await?;
            let (opened, stored) = self.reads.opened(room, ask).await?;
            if opened.database != hold.database {
                lane.doubt();
            } else if stored == (epoch, hold.turn) {
                return Ok(opened);
            } else if stored.0 > epoch {
                // The lane has not appended since another owner was here.
                return Err(HistoryError::Fenced);
            }
            // The lane connected again in between, or another process has the same epoch.
            if stored < (epoch, hold.turn) {
                // The database was put back to an older state; the lane finds out for certain.
                lane.doubt();
            }
        }
        let why = "reads and writes do not agree on who owns the shard, or in which database";
        Err(HistoryError::Unavailable(why.to_owned()))
    }

    async fn event(&self, room: RoomRef, seq: Seq) -> Result<Option<Event>, HistoryError> {
        self.reads.event(room, seq).await
    }

    async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError> {
        self.reads.key(room, sender, key).await
    }

    async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        self.reads.last_message_at(room, sender).await
    }

    async fn log(&self, room: RoomRef, range: Range, limit: u16) -> Result<LogPage, HistoryError> {
        let reads = self.reads.clone();
        let read = async move |boarding| reads.log(room, range, limit, boarding).await;
        self.logs.read((room, range, limit), read).await
    }

    async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
    ) -> Result<TimelinePage, HistoryError> {
        let reads = self.reads.clone();
        let read = async move |boarding| reads.timeline(room, range, limit, boarding).await;
        self.timelines.read((room, range, limit), read).await
    }

    async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError> {
        self.reads.pins(room).await
    }

    async fn project_room(&self, meta: &RoomMeta) -> Result<(), HistoryError> {
        rooms::project(&self.reads.db, meta).await
    }

    async fn healthy(&self) -> Result<(), HistoryError> {
        if self.lanes.iter().any(LaneHandle::is_away) {
            let why = "a lane is connecting again".to_owned();
            return Err(HistoryError::Unavailable(why));
        }
        match tokio::time::timeout(limits::HEALTH_WAIT, self.takes_writes()).await {
            Ok(answer) => answer.map_err(|error| HistoryError::Unavailable(error.to_string())),
            Err(_) => {
                let why = format!("no answer in {:?}", limits::HEALTH_WAIT);
                Err(HistoryError::Unavailable(why))
            }
        }
    }

    async fn close(&self) {
        for lane in &self.lanes {
            lane.begin_close();
        }
        for lane in &self.lanes {
            lane.ended().await;
        }
    }
}
