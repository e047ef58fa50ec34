//! The task behind a connection: connect, say hello, follow the rooms, repeat what has no answer,
//! and do it all again when the socket ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use parlance_protocol::client::{self, ClientFrame, Cursors};
use parlance_protocol::close;
use parlance_protocol::server::{ServerFrame, Welcome};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep_until, timeout};
use uuid::Uuid;

use super::back_off::BackOff;
use super::changes::Changes;
use super::feed::Feed;
use super::pulse::{Beat, Pulse};
use super::socket::{Heard, Socket, parse};
use super::{Command, Options, Update};
use crate::{ClientError, Http, limits};

mod hear;

/// Why a socket is over, and what follows.
pub(super) enum Over {
    /// Connect again, after this long or after the back-off.
    Again { why: String, pause: Option<Duration> },
    /// Get a new access token and connect again.
    Unauthenticated { why: String },
    /// Never again.
    Ended(ClientError),
    /// The application dropped the connection.
    Dropped,
}

/// What a request that is not a change was for.
pub(super) enum Call {
    Subscribe(Vec<Uuid>),
    Page(Uuid),
}

pub(super) type Subscribed = oneshot::Sender<Result<(), ClientError>>;

/// A followed room and what the application waits for in it.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) feed: Feed,
    /// On the present socket: asked for or answered.
    pub(super) asked: bool,
    /// Not to be asked for before this.
    pub(super) not_before: Option<Instant>,
    pub(super) waiting: Option<Subscribed>,
}

pub(super) struct Driver {
    options: Options,
    commands: mpsc::Receiver<Command>,
    pub(super) updates: mpsc::Sender<Update>,
    /// News that must not be shed and found no room; at most two for each followed room.
    pub(super) notices: VecDeque<Update>,
    pub(super) rooms: BTreeMap<Uuid, Followed>,
    pub(super) changes: Changes,
    pub(super) calls: HashMap<u64, Call>,
    /// Frames that nobody waits for, to be written with the next flush.
    fire: VecDeque<String>,
    next_id: u64,
    session: Option<Uuid>,
    heartbeat: Duration,
    back_off: BackOff,
    first: Option<Socket>,
}

impl Driver {
    /// Connects for the first time; its failure is the caller's.
    pub(super) async fn start(
        options: Options,
        commands: mpsc::Receiver<Command>,
        updates: mpsc::Sender<Update>,
    ) -> Result<(Self, (Uuid, String)), ClientError> {
        let mut driver = Self {
            options,
            commands,
            updates,
            notices: VecDeque::new(),
            rooms: BTreeMap::new(),
            changes: Changes::default(),
            calls: HashMap::new(),
            fire: VecDeque::new(),
            next_id: 1,
            session: None,
            heartbeat: Duration::from_secs(30),
            back_off: BackOff::default(),
            first: None,
        };
        let (socket, user) = match driver.greet().await {
            Ok(greeted) => greeted,
            Err(Over::Unauthenticated { why }) => {
                driver.renew(why).await?;
                driver.greet().await.map_err(failure)?
            }
            Err(over) => return Err(failure(over)),
        };
        driver.first = Some(socket);
        Ok((driver, user))
    }

    pub(super) async fn run(mut self) {
        let why = loop {
            let over = match self.first.take() {
                Some(socket) => self.converse(socket).await,
                None => match Box::pin(self.greet()).await {
                    Ok((socket, _)) => self.converse(socket).await,
                    Err(over) => over,
                },
            };
            self.changes.disconnected();
            self.calls.clear();
            for room in self.rooms.values_mut() {
                room.feed.disconnected();
                room.asked = false;
                room.not_before = None;
            }
            let (why, pause) = match over {
                Over::Again { why, pause } => (why, pause.unwrap_or_else(|| self.back_off.next())),
                Over::Unauthenticated { why } => match Box::pin(self.renew(why.clone())).await {
                    Ok(()) => (why, self.back_off.next()),
                    Err(error) if error.can_repeat() => (error.to_string(), self.back_off.next()),
                    Err(error) => break error,
                },
                Over::Ended(why) => break why,
                Over::Dropped => return,
            };
            tracing::debug!(%why, ?pause, "the socket is gone");
            self.shed(Update::Disconnected { why, pause });
            if !self.rest(pause).await {
                return;
            }
        };
        self.changes.fail(&why);
        for (_, room) in std::mem::take(&mut self.rooms) {
            if let Some(waiting) = room.waiting {
                // A caller that went away does not want to know.
                let _ = waiting.send(Err(why.clone()));
            }
        }
        // The last update waits for its place; when the receiver is gone there is nobody to tell.
        let _ = self.updates.send(Update::Ended { why }).await;
    }

    /// Opens a socket and begins a session on it.
    async fn greet(&mut self) -> Result<(Socket, (Uuid, String)), Over> {
        let again = |why: String| Over::Again { why, pause: None };
        let mut socket = match Socket::connect(&self.options.server).await {
            Ok(socket) => socket,
            Err(ClientError::BadAddress(why)) => {
                return Err(Over::Ended(ClientError::BadAddress(why)));
            }
            Err(ClientError::Refused { code, detail, retry_after }) => {
                let pause = retry_after.map(|pause| pause.min(limits::BYE_MAX));
                return Err(Over::Again { why: format!("{code}: {detail}"), pause });
            }
            Err(error) => return Err(again(error.to_string())),
        };
        let id = self.take_id();
        let hello = ClientFrame::Hello(client::Hello {
            id: Some(id),
            token: Some(self.options.token.as_str().into()),
            session: self.session,
        });
        socket.feed(hello.encode()).await.map_err(again)?;
        socket.flush().await.map_err(again)?;
        let greeted = timeout(limits::ANSWER_WAIT, self.welcomed(&mut socket)).await;
        let user = greeted.unwrap_or_else(|_| Err(again("no welcome".into())))?;
        Ok((socket, user))
    }

    /// Waits for the answer to the hello. The user's own feed may speak before it.
    async fn welcomed(&mut self, socket: &mut Socket) -> Result<(Uuid, String), Over> {
        let again = |why: String| Over::Again { why, pause: None };
        loop {
            let text = match socket.hear().await {
                Heard::Text(text) => text,
                Heard::End(code, why) => return Err(over(code, why)),
                Heard::Life => continue,
            };
            match parse(&text).map_err(again)? {
                ServerFrame::Welcome(Welcome { session, user, heartbeat_ms, .. }) => {
                    self.session = Some(session);
                    self.heartbeat = Duration::from_millis(heartbeat_ms.max(1_000));
                    self.shed(Update::Connected { session });
                    return Ok((user.id, user.username.0.into_owned()));
                }
                ServerFrame::Error(error) => return Err(not_welcome(&error)),
                ServerFrame::Bye(bye) if &*bye.code == "unauthenticated" => {
                    return Err(Over::Unauthenticated { why: bye.detail.to_string() });
                }
                ServerFrame::Bye(bye) => {
                    let pause = bye.retry_after_ms.map(hear::bye_pause);
                    return Err(Over::Again { why: bye.detail.to_string(), pause });
                }
                other => {
                    // What it tells comes again, or is in the room list.
                    tracing::debug!(?other, "before the welcome");
                }
            }
        }
    }

    /// Gives the refresh token back for new tokens.
    async fn renew(&mut self, why: String) -> Result<(), ClientError> {
        let unauthenticated = || ClientError::Refused {
            code: "unauthenticated".into(),
            detail: why,
            retry_after: None,
        };
        let refresh = self.options.refresh_token.clone().ok_or_else(unauthenticated)?;
        let tokens = Http::new(self.options.server.clone()).refresh(&refresh).await?;
        self.options.token = tokens.access_token.0.into_owned();
        self.options.refresh_token = Some(tokens.refresh_token.0.into_owned());
        Ok(())
    }

    /// Waits for the next try; takes commands meanwhile. False when the application went away.
    async fn rest(&mut self, pause: Duration) -> bool {
        let until = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                command = self.commands.recv(), if self.changes.has_room() => match command {
                    Some(command) => self.take(command),
                    None => return false,
                },
            }
        }
    }

    /// One socket, from the welcome to its end.
    async fn converse(&mut self, mut socket: Socket) -> Over {
        let mut pulse = Pulse::new(Instant::now());
        let mut said_at = Instant::now();
        loop {
            self.tell_notices();
            match self.say(&mut socket).await {
                Ok(true) => said_at = Instant::now(),
                Ok(false) => {}
                Err(why) => return Over::Again { why, pause: None },
            }
            let now = Instant::now();
            if self.changes.is_overdue(now) {
                return Over::Again { why: "an answer is overdue".into(), pause: None };
            }
            if now.duration_since(pulse.heard_at()) > 2 * self.heartbeat + limits::ANSWER_WAIT {
                return Over::Again { why: "the server is silent".into(), pause: None };
            }
            let beat = pulse.beat(now, self.changes.oldest_sent());
            if beat == Beat::Dead {
                return Over::Again { why: "the server gives no sign of life".into(), pause: None };
            }
            if beat == Beat::Ask || now.duration_since(said_at) >= self.heartbeat {
                let id = self.take_id();
                let ping = ClientFrame::Ping(client::Ping { id: Some(id) });
                self.fire.push_back(ping.encode());
                continue;
            }
            let wake = self.deadline(now).unwrap_or(said_at + self.heartbeat);
            let mut wake = wake.min(said_at + self.heartbeat);
            if let Beat::Wait(Some(until)) = beat {
                wake = wake.min(until);
            }
            let full = !self.notices.is_empty() || self.rooms.values().any(|r| r.feed.is_behind());
            let full = full && self.updates.capacity() < usize::from(limits::PAGE_EVENTS);
            let updates = self.updates.clone();
            tokio::select! {
                heard = socket.hear() => {
                    pulse.heard(Instant::now());
                    match heard {
                        Heard::Life => {}
                        Heard::End(code, why) => return over(code, why),
                        Heard::Text(text) => {
                            let heard = parse(&text)
                                .map_err(|why| Over::Again { why, pause: None })
                                .and_then(|frame| self.hear(frame));
                            if let Err(over) = heard {
                                return over;
                            }
                        }
                    }
                }
                command = self.commands.recv(), if self.changes.has_room() => match command {
                    Some(command) => self.take(command),
                    None => return Over::Dropped,
                },
                room = updates.reserve_many(usize::from(limits::PAGE_EVENTS)), if full => {
                    if room.is_err() {
                        return Over::Dropped;
                    }
                }
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    /// Takes a command; what it makes is written by the next [`Driver::say`].
    fn take(&mut self, command: Command) {
        match command {
            Command::Change { room, key, change, answer } => {
                let id = self.take_id();
                self.changes.add(id, room, key, change, answer);
            }
            Command::Subscribe { room, from, answer } => {
                let followed = Followed {
                    feed: Feed::new(from),
                    waiting: Some(answer),
                    ..Followed::default()
                };
                self.rooms.insert(room, followed);
            }
            Command::Unsubscribe { room } => {
                if self.rooms.remove(&room).is_some_and(|followed| followed.asked) {
                    let rooms = vec![room];
                    let frame = client::Unsubscribe { id: None, rooms };
                    self.fire.push_back(ClientFrame::Unsubscribe(frame).encode());
                }
            }
            Command::Read { room, seq } => {
                let frame = ClientFrame::Read(client::Read { id: None, room, seq });
                self.fire.push_back(frame.encode());
            }
            Command::Typing { room } => {
                let frame = ClientFrame::Typing(client::Typing { id: None, room });
                self.fire.push_back(frame.encode());
            }
            Command::Presence { status, watch } => {
                let frame = client::Presence { id: None, status, watch };
                self.fire.push_back(ClientFrame::Presence(frame).encode());
            }
        }
        // What nobody waits for is not kept over a long absence.
        while self.fire.len() > limits::COMMANDS_MAX {
            self.fire.pop_front();
        }
    }

    /// Writes everything that is due, with one flush. True when there was something.
    async fn say(&mut self, socket: &mut Socket) -> Result<bool, String> {
        let now = Instant::now();
        let mut said = false;
        while let Some(text) = self.fire.pop_front() {
            socket.feed(text).await?;
            said = true;
        }
        while let Some(text) = self.next_subscribe(now) {
            socket.feed(text).await?;
            said = true;
        }
        for id in self.changes.due(now) {
            let waiting = self.changes.get(id).expect("a due change waits");
            let frame = waiting.change.frame(id, waiting.room, waiting.key);
            socket.feed(frame.encode()).await?;
            said = true;
        }
        while let Some(text) = self.next_page(now) {
            socket.feed(text).await?;
            said = true;
        }
        if said {
            socket.flush().await?;
        }
        Ok(said)
    }

    /// A subscribe frame for the rooms that are not followed on this socket yet.
    fn next_subscribe(&mut self, now: Instant) -> Option<String> {
        let due = |followed: &Followed| {
            !followed.asked && followed.not_before.is_none_or(|not_before| not_before <= now)
        };
        let mut rooms = Vec::new();
        for (room, followed) in &mut self.rooms {
            if rooms.len() < limits::SUBSCRIBE_ROOMS_MAX && due(followed) {
                followed.asked = true;
                rooms.push((*room, followed.feed.cursor()));
            }
        }
        if rooms.is_empty() {
            return None;
        }
        let id = self.take_id();
        self.calls.insert(id, Call::Subscribe(rooms.iter().map(|(room, _)| *room).collect()));
        let subscribe = client::Subscribe { id: Some(id), rooms: Cursors(rooms) };
        Some(ClientFrame::Subscribe(subscribe).encode())
    }

    /// A history frame for a room that is behind. One page at a time, so that what is fetched
    /// always finds room in the queue.
    fn next_page(&mut self, now: Instant) -> Option<String> {
        let asking = self.calls.values().any(|call| matches!(call, Call::Page(_)));
        if asking || self.updates.capacity() < usize::from(limits::PAGE_EVENTS) {
            return None;
        }
        let due = |followed: &Followed| {
            followed.feed.page_due().is_some_and(|at| at.is_none_or(|at| at <= now))
        };
        let (room, followed) = self.rooms.iter_mut().find(|(_, followed)| due(followed))?;
        followed.feed.page_asked();
        let (room, cursor) = (*room, followed.feed.cursor());
        let id = self.take_id();
        self.calls.insert(id, Call::Page(room));
        let history = client::History {
            id: Some(id),
            room,
            before: None,
            after: cursor.map(|cursor| cursor.seq),
            limit: Some(limits::PAGE_EVENTS),
            view: parlance_protocol::View::Log,
        };
        Some(ClientFrame::History(history).encode())
    }

    /// When something is due without anything heard.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let rooms = self.rooms.values().flat_map(|followed| {
            let subscribe = followed.not_before.filter(|_| !followed.asked);
            subscribe.into_iter().chain(followed.feed.page_due().flatten())
        });
        // What is due already waits for an answer or for room in the queue, which wake by themselves.
        rooms.filter(|at| *at > now).chain(self.changes.deadline(now)).min()
    }

    fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

fn over(code: Option<u16>, why: String) -> Over {
    match code {
        Some(close::UNAUTHENTICATED) => Over::Unauthenticated { why },
        Some(close::REPLACED) => {
            Over::Ended(ClientError::Ended("another connection took the session's place".into()))
        }
        _ => Over::Again { why, pause: None },
    }
}

fn not_welcome(error: &parlance_protocol::server::Error<'_>) -> Over {
    match &*error.code {
        "unauthenticated" => Over::Unauthenticated { why: error.detail.to_string() },
        code if crate::error::is_passing(code) => Over::Again {
            why: error.detail.to_string(),
            pause: error.retry_after_ms.map(Duration::from_millis),
        },
        _ => Over::Ended(refused(error)),
    }
}

fn refused(error: &parlance_protocol::server::Error<'_>) -> ClientError {
    ClientError::Refused {
        code: error.code.to_string(),
        detail: error.detail.to_string(),
        retry_after: error.retry_after_ms.map(Duration::from_millis),
    }
}

fn failure(over: Over) -> ClientError {
    match over {
        Over::Again { why, pause: None } => ClientError::Unreachable(why),
        Over::Again { why, pause } => {
            ClientError::Refused { code: "unavailable".into(), detail: why, retry_after: pause }
        }
        Over::Unauthenticated { why } => {
            ClientError::Refused { code: "unauthenticated".into(), detail: why, retry_after: None }
        }
        Over::Ended(why) => why,
        Over::Dropped => ClientError::Ended("the application dropped it".into()),
    }
}
