//! A session's mailbox: its messages are handled one after the other, by a task that is there only
//! while there are any. An idle session is a small struct without a task and without a channel; most
//! sessions are idle, and an actor of ractor costs each of them 4 to 5 KB.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::actor::{Session, SessionMsg};

/// The session ended; nobody handles its messages any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Over;

/// The tasks of a node's sessions. They end with it.
pub(crate) struct Tasks {
    set: Mutex<JoinSet<()>>,
    /// Messages come from everywhere.
    runtime: Handle,
}

impl Tasks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { set: Mutex::default(), runtime: Handle::current() })
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.spawn_on(task, &self.runtime);
    }

    pub(crate) fn stop(&self) {
        self.set.lock().abort_all();
    }
}

/// The way to a session.
pub(crate) struct Mailbox {
    desk: Mutex<Desk>,
    tasks: Arc<Tasks>,
}

struct Desk {
    messages: VecDeque<SessionMsg>,
    /// Not here while a task works with it.
    session: Option<Box<Session>>,
    over: bool,
}

impl Mailbox {
    pub(crate) fn new(session: Session, tasks: Arc<Tasks>) -> Arc<Self> {
        let session = Some(Box::new(session));
        let desk = Desk { messages: VecDeque::new(), session, over: false };
        Arc::new(Self { desk: Mutex::new(desk), tasks })
    }

    /// Has the session handle a message, after those before it. What comes after its end is dropped.
    pub(crate) fn tell(self: &Arc<Self>, message: SessionMsg) -> Result<(), Over> {
        let mut desk = self.desk.lock();
        if desk.over {
            return Err(Over);
        }
        desk.messages.push_back(message);
        let idle = desk.session.take();
        drop(desk);
        if let Some(session) = idle {
            self.tasks.spawn(Work { mailbox: self.clone(), session: Some(session) }.run());
        }
        Ok(())
    }

    /// The same after a pause, if the session is there then.
    pub(crate) fn tell_after(self: &Arc<Self>, pause: Duration, message: SessionMsg) {
        let mailbox = Arc::downgrade(self);
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            // One that ended meanwhile has nothing to ask.
            if let Some(mailbox) = mailbox.upgrade() {
                let _ = mailbox.tell(message);
            }
        });
    }

    /// Does something after a pause, beside what the session does.
    pub(crate) fn after(&self, pause: Duration, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            work.await;
        });
    }

    /// Ends the session: at once, or after the message that is being handled. Its end takes it out of
    /// the books, so the caller holds none of their locks.
    pub(crate) fn stop(&self) {
        let mut desk = self.desk.lock();
        desk.over = true;
        let left = (desk.session.take(), std::mem::take(&mut desk.messages));
        drop(desk);
        drop(left);
    }
}

/// A task with the session.
struct Work {
    mailbox: Arc<Mailbox>,
    session: Option<Box<Session>>,
}

impl Work {
    async fn run(mut self) {
        while let Some(message) = self.next() {
            if let Some(session) = &mut self.session {
                session.handle(&self.mailbox, message).await;
            }
        }
    }

    /// The next message; without one the session goes back, unless it is over.
    fn next(&mut self) -> Option<SessionMsg> {
        let mut desk = self.mailbox.desk.lock();
        if desk.over {
            return None;
        }
        let message = desk.messages.pop_front();
        if message.is_none() {
            desk.messages = VecDeque::new();
            desk.session = self.session.take();
        }
        message
    }
}

impl Drop for Work {
    /// A session that did not go back is over: it was stopped, it panicked, or the runtime ends.
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            if std::thread::panicking() {
                tracing::error!("a session panicked");
            }
            self.mailbox.stop();
            drop(session);
        }
    }
}
