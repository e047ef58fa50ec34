//! The port [`History`] over the lane and the committed logs.

use std::collections::HashSet;

use async_trait::async_trait;
use tokio::sync::oneshot;

use super::MemoryHistory;
use super::lane::Request;
use crate::limits;
use crate::ports::history::{
    Append, History, HistoryError, LogPage, NotTaken, NotTakenWhy, Opened, Range, TimelinePage,
};
use crate::room::fold::pinned;
use crate::vocab::event::Kind;
use crate::vocab::{Content, Epoch, Event, Key, RoomMeta, RoomRef, Seq, Timestamp, UserId};

#[async_trait]
impl History for MemoryHistory {
    fn append(&self, append: Append) -> Result<(), NotTaken> {
        let mut queue = self.process.queue.lock();
        let why = if queue.closing {
            Some(NotTakenWhy::Closing)
        } else if queue.away {
            Some(NotTakenWhy::Away)
        } else if queue.requests.len() >= limits::LANE_QUEUE_MAX {
            Some(NotTakenWhy::Full)
        } else {
            None
        };
        if let Some(why) = why {
            return Err(NotTaken { append: Box::new(append), why });
        }
        queue.requests.push_back(Request::Append(Box::new(append)));
        drop(queue);
        self.process.changed.notify_one();
        Ok(())
    }

    async fn open(
        &self,
        room: RoomRef,
        epoch: Epoch,
        ask: Option<(UserId, Key)>,
    ) -> Result<Opened, HistoryError> {
        self.present()?;
        let (reply, answer) = oneshot::channel();
        self.change(|queue| {
            if !queue.closing {
                let shard = room.shard();
                queue.requests.push_back(Request::Open { shard, epoch, reply });
            }
        });
        let gone = |_| HistoryError::Unavailable("the lane is closing".to_owned());
        let opened_in = answer.await.map_err(gone)??;
        let mut database = self.database.lock();
        if database.id != opened_in {
            let why = "the database changed while the room opened";
            return Err(HistoryError::Unavailable(why.to_owned()));
        }
        let projected = database.projected.get(&room).map_or(0, |meta| meta.version);
        let log = database.rooms.entry(room).or_default();
        Ok(Opened {
            database: opened_in,
            projected,
            head: log.head(),
            first: Seq(1),
            members: log.members.len() as u64,
            asked: ask.and_then(|asked| log.keys.get(&asked).copied()),
        })
    }

    async fn event(&self, room: RoomRef, seq: Seq) -> Result<Option<Event>, HistoryError> {
        let (page, ..) =
            self.page(room, Range::After(Seq(seq.0.saturating_sub(1))), 1, |_| true)?;
        Ok(page.into_iter().find(|event| event.seq == seq))
    }

    async fn key(
        &self,
        room: RoomRef,
        sender: UserId,
        key: Key,
    ) -> Result<Option<(Seq, Timestamp)>, HistoryError> {
        self.present()?;
        let events = self.committed(room);
        let found = events.iter().find(|event| event.sender.id == sender && event.key == key);
        Ok(found.map(|event| (event.seq, event.sent_at)))
    }

    async fn last_message_at(
        &self,
        room: RoomRef,
        sender: UserId,
    ) -> Result<Option<Timestamp>, HistoryError> {
        self.present()?;
        let events = self.committed(room);
        let mine = |e: &&Event| e.sender.id == sender && e.content.kind() == Kind::Message;
        Ok(events.iter().rev().find(mine).map(|event| event.sent_at))
    }

    async fn log(&self, room: RoomRef, range: Range, limit: u16) -> Result<LogPage, HistoryError> {
        let (events, more, as_of) = self.page(room, range, limit, |_| true)?;
        Ok(LogPage { events, more, as_of, first: Seq(1) })
    }

    async fn timeline(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
    ) -> Result<TimelinePage, HistoryError> {
        let timeline = |kind| matches!(kind, Kind::Message | Kind::Member | Kind::Room);
        let (entries, more, as_of) = self.page(room, range, limit, timeline)?;
        let targets: HashSet<Seq> = entries.iter().map(|event| event.seq).collect();
        let is_note = |event: &Event| {
            !timeline(event.content.kind())
                && event.content.target().is_some_and(|target| targets.contains(&target))
        };
        let mut notes: Vec<Event> =
            self.committed(room).into_iter().filter(|event| is_note(event)).collect();
        let surplus = notes.len().saturating_sub(limits::PAGE_NOTES_MAX as usize);
        notes.drain(..surplus);
        let database = self.database.lock();
        let notes = notes.into_iter().map(|event| database.named(event)).collect();
        Ok(TimelinePage { entries, notes, more, as_of, first: Seq(1) })
    }

    async fn pins(&self, room: RoomRef) -> Result<TimelinePage, HistoryError> {
        self.present()?;
        let log = self.committed(room);
        let pins = log.iter().rev().filter(|event| event.content.kind() == Kind::Pin);
        let pinned = pinned(pins.take(limits::PIN_EVENTS_MAX as usize));
        let message = |target: &Seq| {
            let event = log.get(usize::try_from(target.0.checked_sub(1)?).ok()?)?;
            matches!(event.content, Content::Message { .. }).then(|| event.clone())
        };
        let mut entries: Vec<Event> = pinned.iter().filter_map(message).collect();
        let more = entries.len() > limits::PINS_MAX;
        entries.truncate(limits::PINS_MAX);
        let is_note = |event: &&Event| {
            let target = event.content.target();
            let notes = !matches!(event.content.kind(), Kind::Message | Kind::Member | Kind::Room);
            notes && entries.iter().any(|entry| Some(entry.seq) == target)
        };
        let notes: Vec<Event> = log.iter().filter(is_note).cloned().collect();
        let database = self.database.lock();
        let named = |events: Vec<Event>| events.into_iter().map(|e| database.named(e)).collect();
        let as_of = log.last().map_or(Seq(0), |event| event.seq);
        let (entries, notes) = (named(entries), named(notes));
        Ok(TimelinePage { entries, notes, more, as_of, first: Seq(1) })
    }

    async fn project_room(&self, meta: &RoomMeta) -> Result<(), HistoryError> {
        self.present()?;
        let mut database = self.database.lock();
        let stored = database.projected.get(&meta.at()).map_or(0, |known| known.version);
        if meta.version > stored {
            database.projected.insert(meta.at(), meta.clone());
        }
        Ok(())
    }

    async fn healthy(&self) -> Result<(), HistoryError> {
        self.present()
    }

    async fn close(&self) {
        self.change(|queue| queue.closing = true);
        let lane = self.lane.lock().take();
        if let Some(lane) = lane {
            // An aborted lane has nothing left to settle.
            let _ = lane.await;
        }
    }
}

impl MemoryHistory {
    fn page(
        &self,
        room: RoomRef,
        range: Range,
        limit: u16,
        wanted: impl Fn(Kind) -> bool,
    ) -> Result<(Vec<Event>, bool, Seq), HistoryError> {
        self.present()?;
        let database = self.database.lock();
        let Some(log) = database.rooms.get(&room) else { return Ok((Vec::new(), false, Seq(0))) };
        let head = log.head();
        let events = log.events.iter().filter(|event| wanted(event.content.kind()));
        let limit = usize::from(limit);
        let (page, more) = match range {
            Range::After(after) => {
                let mut page: Vec<_> =
                    events.filter(|e| e.seq > after).take(limit + 1).cloned().collect();
                let more = page.len() > limit;
                page.truncate(limit);
                (page, more)
            }
            Range::Before(_) | Range::Latest => {
                let end = if let Range::Before(end) = range { end } else { head.next() };
                let mut page: Vec<_> =
                    events.rev().filter(|e| e.seq < end).take(limit + 1).cloned().collect();
                let more = page.len() > limit;
                page.truncate(limit);
                page.reverse();
                (page, more)
            }
        };
        let page = page.into_iter().map(|event| database.named(event)).collect();
        Ok((page, more, head))
    }
}
