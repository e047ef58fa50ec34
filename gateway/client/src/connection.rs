//! One conversation with the server, over as many sockets as it takes. A task of its own holds the
//! socket; this is the application's end of it.

use std::time::Duration;

use parlance_protocol::client::Cursor;
use parlance_protocol::server::Posted;
use parlance_protocol::{Event, PresenceStatus, Role};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::{ClientError, Server, limits};

mod back_off;
mod changes;
mod drive;
mod feed;
mod pulse;
mod socket;

pub use changes::Change;

/// Who connects, and where to.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server.
    pub server: Server,
    /// The access token.
    pub token: String,
    /// Gives new tokens when the access token has run out. It is used up by that, so nobody else
    /// may hold the same one.
    pub refresh_token: Option<String>,
}

/// What the application hears.
#[derive(Debug, Clone)]
pub enum Update {
    /// A socket is up and the session began. Shed when the application is behind.
    Connected {
        /// The session.
        session: Uuid,
    },
    /// The socket is gone; the client connects again. Shed when the application is behind.
    Disconnected {
        /// Why.
        why: String,
        /// How long until the next try.
        pause: Duration,
    },
    /// The next event of a room: in order and exactly once.
    Event {
        /// The room.
        room: Uuid,
        /// The generation of its history.
        r#gen: u64,
        /// The event.
        event: Box<Event<'static>>,
    },
    /// The server's history of this room is another one than before: what the application holds
    /// of it is worth nothing, and events come from the head on.
    Reset {
        /// The room.
        room: Uuid,
        /// The generation from now on.
        r#gen: u64,
        /// Its head.
        head: u64,
    },
    /// A room is followed no more: it is gone, or the user is no longer in it.
    Refused {
        /// The room.
        room: Uuid,
        /// Why.
        why: ClientError,
    },
    /// Somebody is typing. Shed when the application is behind.
    Typing {
        /// Where.
        room: Uuid,
        /// Their name.
        username: String,
    },
    /// A watched user's presence. Shed when the application is behind.
    Presence {
        /// Who.
        user: Uuid,
        /// How they are seen.
        status: PresenceStatus,
    },
    /// The user became a member of a room, or is no longer (`None`). Shed when the application is
    /// behind: the room list has it too.
    Membership {
        /// The room.
        room: Uuid,
        /// Their role.
        role: Option<Role>,
    },
    /// The user read up to here, on whichever device. Shed when the application is behind.
    Read {
        /// The room.
        room: Uuid,
        /// The last event that was read.
        seq: u64,
    },
    /// The conversation is over; nothing follows.
    Ended {
        /// Why.
        why: ClientError,
    },
}

/// What the application asks of the task.
#[derive(Debug)]
enum Command {
    Change { room: Uuid, key: Uuid, change: Change, answer: changes::PostedSender },
    Subscribe { room: Uuid, from: Option<Cursor>, answer: oneshot::Sender<Result<(), ClientError>> },
    Unsubscribe { room: Uuid },
    Read { room: Uuid, seq: u64 },
    Typing { room: Uuid },
    Presence { status: Option<PresenceStatus>, watch: Option<Vec<Uuid>> },
}

/// A conversation. Dropping it ends the socket and the task.
#[derive(Debug)]
pub struct Connection {
    commands: mpsc::Sender<Command>,
    updates: mpsc::Receiver<Update>,
    user: (Uuid, String),
    task: JoinHandle<()>,
}

/// Sends changes; clones of it share the connection and do not keep it alive.
#[derive(Debug, Clone)]
pub struct Sender {
    commands: mpsc::Sender<Command>,
}

impl Connection {
    /// Connects and says hello. From then on the connection is kept up.
    ///
    /// # Errors
    /// See [`ClientError`]: the first try is not repeated.
    pub async fn open(options: Options) -> Result<Self, ClientError> {
        let (commands, from_application) = mpsc::channel(limits::COMMANDS_MAX);
        let (to_application, updates) = mpsc::channel(limits::UPDATES_MAX);
        let (driver, user) =
            Box::pin(drive::Driver::start(options, from_application, to_application)).await?;
        let task = tokio::spawn(driver.run());
        Ok(Self { commands, updates, user, task })
    }

    /// The signed-in user's id.
    #[must_use]
    pub const fn user(&self) -> Uuid {
        self.user.0
    }

    /// The signed-in user's name.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.user.1
    }

    /// The next update; `None` after [`Update::Ended`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        self.updates.recv().await
    }

    /// A handle that sends from other tasks.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender { commands: self.commands.clone() }
    }

    /// Follows a room: from after `from`, or from its head. On every new socket it goes on where
    /// it was.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn subscribe(&self, room: Uuid, from: Option<Cursor>) -> Result<(), ClientError> {
        let (answer, answered) = oneshot::channel();
        command(&self.commands, Command::Subscribe { room, from, answer }).await?;
        answered.await.map_err(|_| ended())?
    }

    /// Follows a room no more.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn unsubscribe(&self, room: Uuid) -> Result<(), ClientError> {
        command(&self.commands, Command::Unsubscribe { room }).await
    }

    /// Moves the user's read mark of a room forward.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn read(&self, room: Uuid, seq: u64) -> Result<(), ClientError> {
        command(&self.commands, Command::Read { room, seq }).await
    }

    /// Tells a room that the user is typing.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn typing(&self, room: Uuid) -> Result<(), ClientError> {
        command(&self.commands, Command::Typing { room }).await
    }

    /// Says the user's own status, and whose presence to watch from now on.
    ///
    /// # Errors
    /// [`ClientError::Ended`].
    pub async fn presence(
        &self,
        status: Option<PresenceStatus>,
        watch: Option<Vec<Uuid>>,
    ) -> Result<(), ClientError> {
        command(&self.commands, Command::Presence { status, watch }).await
    }

    /// Says something in a room, once, and waits until it is committed.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it was not done, [`ClientError::Ended`] when it may have been.
    pub async fn send(&self, room: Uuid, body: &str) -> Result<Posted, ClientError> {
        let change = Change::Send { body: body.to_owned(), reply_to: None };
        self.sender().post(room, Uuid::now_v7(), change).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sender {
    /// Changes a room's log, once, and waits until it is committed, over as many sockets as it
    /// takes.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when it was not done, [`ClientError::Ended`] when it may have been:
    /// the same key finds out.
    pub async fn post(&self, room: Uuid, key: Uuid, change: Change) -> Result<Posted, ClientError> {
        self.begin(room, key, change).await?.await.map_err(|_| ended())?
    }

    /// The same, without waiting for the answer: returns when the change has its place in the
    /// order of this connection's changes.
    ///
    /// # Errors
    /// [`ClientError::Ended`]; nothing was done.
    pub async fn begin(
        &self,
        room: Uuid,
        key: Uuid,
        change: Change,
    ) -> Result<oneshot::Receiver<Result<Posted, ClientError>>, ClientError> {
        let (answer, answered) = oneshot::channel();
        command(&self.commands, Command::Change { room, key, change, answer }).await?;
        Ok(answered)
    }
}

async fn command(commands: &mpsc::Sender<Command>, what: Command) -> Result<(), ClientError> {
    commands.send(what).await.map_err(|_| ended())
}

fn ended() -> ClientError {
    ClientError::Ended("its task has ended".into())
}
