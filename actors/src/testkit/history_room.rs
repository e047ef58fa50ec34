//! A stand-in for the room actor: it opens a room, queues drafts, and remembers what it hears.
//! It decides nothing: whatever it is given goes to the lane.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::ports::history::{
    Append, AppendSink, History, HistoryError, NotTaken, Opened, Outcome, RoomHead, Settled,
};
use crate::vocab::{Content, Draft, Epoch, Key, RoomRef, Sender, Timestamp, UserId};

/// A wait that lasts longer than this is a failure. Far above what any commit takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a room heard, batch by batch.
#[derive(Default)]
pub struct Heard {
    batches: Mutex<Vec<Vec<Settled>>>,
    more: Notify,
}

impl AppendSink for Heard {
    fn settled(&self, outcomes: Vec<Settled>) {
        self.batches.lock().push(outcomes);
        self.more.notify_one();
    }
}

/// An open room.
pub struct TestRoom {
    /// Where its events go.
    pub history: Arc<dyn History>,
    /// The room.
    pub at: RoomRef,
    /// The epoch that it was opened under.
    pub epoch: Epoch,
    /// What it learned when it opened.
    pub opened: Opened,
    head: Arc<RoomHead>,
    heard: Arc<Heard>,
    next_ticket: u64,
}

impl TestRoom {
    /// Opens a room.
    ///
    /// # Errors
    /// As [`History::open`].
    pub async fn open(
        history: &Arc<dyn History>,
        at: RoomRef,
        epoch: Epoch,
    ) -> Result<Self, HistoryError> {
        let opened = history.open(at, epoch, None).await?;
        Ok(Self {
            history: history.clone(),
            at,
            epoch,
            head: RoomHead::of(&opened),
            opened,
            heard: Arc::default(),
            next_ticket: 0,
        })
    }

    /// Queues a draft; its ticket.
    ///
    /// # Errors
    /// As [`History::append`].
    pub fn post(&mut self, draft: Draft) -> Result<u64, NotTaken> {
        let ticket = self.next_ticket;
        self.history.append(Append {
            room: self.at,
            epoch: self.epoch,
            head: self.head.clone(),
            ticket,
            draft,
            sink: self.heard.clone(),
        })?;
        self.next_ticket += 1;
        Ok(ticket)
    }

    /// Waits until everything queued is settled; every outcome, in the order heard.
    ///
    /// # Panics
    /// When it takes longer than any commit does.
    pub async fn outcomes(&self) -> Vec<(u64, Outcome)> {
        let settled = async {
            loop {
                let more = self.heard.more.notified();
                let heard = self.heard_so_far();
                if heard.len() as u64 >= self.next_ticket {
                    return heard;
                }
                more.await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, settled).await;
        waited.unwrap_or_else(|_| {
            let heard = self.heard_so_far().len();
            panic!("only {heard} of {} appends were settled", self.next_ticket)
        })
    }

    /// What was heard until now.
    #[must_use]
    pub fn heard_so_far(&self) -> Vec<(u64, Outcome)> {
        let batches = self.heard.batches.lock();
        batches.iter().flatten().map(|s| (s.ticket, s.outcome.clone())).collect()
    }

    /// How many outcomes came in each call.
    #[must_use]
    pub fn batch_sizes(&self) -> Vec<usize> {
        self.heard.batches.lock().iter().map(Vec::len).collect()
    }

    /// Queues a draft and waits for its outcome.
    ///
    /// # Panics
    /// When it is not taken or not settled.
    pub async fn settle(&mut self, draft: Draft) -> Outcome {
        let ticket = self.post(draft).expect("the lane takes it");
        let heard = self.outcomes().await;
        heard.into_iter().find(|(t, _)| *t == ticket).expect("settled").1
    }
}

/// A draft of a user with a new key.
#[must_use]
pub fn draft(user: UserId, content: Content) -> Draft {
    keyed(user, Key::generate(), content)
}

/// A draft of a user with this key.
#[must_use]
pub fn keyed(user: UserId, key: Key, content: Content) -> Draft {
    Draft {
        sender: Sender { id: user, username: "not read".into() },
        device: None,
        key,
        sent_at: Timestamp::now(),
        content,
    }
}

/// A plain message.
#[must_use]
pub fn message(body: &str) -> Content {
    Content::Message { body: body.into(), reply_to: None, thread: None, enc: false }
}
