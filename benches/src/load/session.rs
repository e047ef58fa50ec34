//! One session under load: it does what its agenda says when that is due, receives everything, and
//! ends when it has what it should. How frames are understood is in `hear`, dropping and coming
//! back in `away`.

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use parlance_client::Server;
use parlance_protocol::ServerFrame;
use parlance_protocol::client::{ClientFrame, Hello, Ping};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::agenda::{Agenda, Deed};
use super::ask::{Asks, What, encode_typing};
use super::away::{Away, Told};
use super::clock::{Times, body_of};
use super::follow::Followed;
use super::plan::{Load, Plan, Seat};
use super::tally::{Batch, Tallies};
use crate::checker::{Fate, Sent, Stream, digest};
use crate::lean::Socket;
use crate::limits;
use crate::setup::{Account, Prepared};

/// The last place in each room that a message was acknowledged at.
pub(super) type Heads = HashMap<Uuid, u64>;

/// Where the run is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It goes on.
    Run,
    /// Nothing is sent any more: a session ends when it has everything up to these places.
    Settle(Arc<Heads>),
    /// It ends at once.
    Stop,
}

/// What the sessions of a process share.
pub(super) struct Common {
    pub(super) plan: Plan,
    pub(super) prepared: Prepared,
    pub(super) tallies: Tallies,
    pub(super) heads: Mutex<Heads>,
}

/// How a session fared.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) sent: Vec<Sent>,
    pub(super) streams: Vec<Stream>,
    /// Feeds that the server cut.
    pub(super) gaps: u64,
    /// Frames whose layout was not the usual one.
    pub(super) slow: u64,
    /// Requests other than messages that were refused for good.
    pub(super) refused: u64,
    /// Messages that came while it was catching up.
    pub(super) replayed: u64,
    /// Why the session ended before the run did.
    pub(super) ended: Option<String>,
    /// It got everything.
    pub(super) settled: bool,
    /// How it dropped and came back.
    pub(super) away: Option<Away>,
    /// When each of its messages was due and how long its ack took, in microseconds of the run; kept
    /// where the load compares times before and after something.
    pub(super) acks: Vec<(u64, u64)>,
}

/// What a conversation goes on until.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Every room is followed, and everything that was missed is there.
    UpToDate,
    /// This instant.
    Instant(Instant),
    /// The end of the run.
    End,
}

pub(super) struct Session {
    pub(super) index: usize,
    pub(super) common: Arc<Common>,
    pub(super) server: Server,
    pub(super) account: Account,
    pub(super) socket: Option<Socket>,
    /// The server's name for the last session, which the next one replaces.
    pub(super) name: Option<Uuid>,
    pub(super) times: Times,
    pub(super) rooms: Vec<Followed>,
    /// The rooms' places by their ids, ascending.
    pub(super) places: Vec<(Uuid, usize)>,
    pub(super) asks: Asks,
    pub(super) agenda: Agenda,
    /// It is behind: what comes is a replay and no delivery that is measured.
    pub(super) is_behind: bool,
    pub(super) fetches_gaps: bool,
    keeps_acks: bool,
    is_away_mark: bool,
    said_at: Instant,
    pub(super) batch: Batch,
    pub(super) text: Vec<u8>,
    pub(super) outcome: Outcome,
}

impl Session {
    /// The session of this seat. It opens nothing yet.
    pub(super) fn new(index: usize, seat: &Seat, server: Server, common: Arc<Common>) -> Self {
        let account = common.prepared.accounts[seat.account].clone();
        let rooms: Vec<Followed> =
            seat.rooms.iter().map(|room| Followed::new(common.prepared.rooms[*room])).collect();
        let mut places: Vec<(Uuid, usize)> =
            rooms.iter().enumerate().map(|(place, room)| (room.id, place)).collect();
        places.sort_unstable();
        let load = &common.plan.load;
        let now = Instant::now();
        Self {
            index,
            server,
            account,
            socket: None,
            name: None,
            times: Times { start: now, measure: now, end: now },
            rooms,
            places,
            asks: Asks::default(),
            agenda: Agenda::Free,
            is_behind: false,
            fetches_gaps: matches!(load, Load::Storm(_) | Load::CatchUp(_) | Load::Mixed(_)),
            keeps_acks: matches!(load, Load::Storm(_) | Load::Attack(_)),
            is_away_mark: false,
            said_at: now,
            batch: Batch::default(),
            text: Vec::new(),
            outcome: Outcome::default(),
            common,
        }
    }

    /// Takes its agenda up: the run begins.
    pub(super) fn begin(&mut self, times: Times) {
        self.times = times;
        self.agenda = Agenda::of(&self.common.plan, &times, self.index, self.rooms.len());
    }

    /// Connects, says hello, and asks to follow its rooms. With cursors where it has some.
    ///
    /// # Errors
    /// The socket's, and a refused hello.
    pub(super) async fn open(&mut self) -> io::Result<()> {
        let mut socket = Socket::connect(&self.server).await?;
        let token = Some(self.account.token.as_str().into());
        let hello = Hello { id: Some(0), token, session: self.name };
        socket.put(ClientFrame::Hello(hello).encode().as_bytes());
        socket.flush().await?;
        self.name = Some(welcome(&mut socket).await?);
        self.socket = Some(socket);
        self.said_at = Instant::now();
        let places: Vec<usize> = (0..self.rooms.len()).collect();
        for chunk in places.chunks(limits::SUBSCRIBE_ROOMS) {
            self.ask(0, What::Subscribe { rooms: chunk.to_vec(), opens: false });
        }
        if matches!(self.common.plan.load, Load::Mixed(_)) {
            self.watch();
        }
        Ok(())
    }

    /// Watches the presence of the accounts after its own.
    fn watch(&mut self) {
        let accounts = &self.common.prepared.accounts;
        let others = accounts.iter().cycle().skip(self.index % accounts.len()).take(accounts.len());
        let watch = others.take(limits::WATCHED).map(|account| account.id).collect();
        self.ask(0, What::Presence { away: false, watch: Some(watch) });
    }

    /// Opens and waits until every room is followed.
    ///
    /// # Errors
    /// As [`Session::open`]; also when it takes too long.
    pub(super) async fn ready(&mut self) -> io::Result<()> {
        let (_running, mut phase) = watch::channel(Phase::Run);
        let ready = async {
            self.open().await?;
            self.converse(&mut phase, Until::UpToDate).await
        };
        match timeout(limits::READY_WAIT, ready).await {
            Ok(ready) => ready.map(drop),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "it is not ready for too long")),
        }
    }

    /// Until the run ends, or the socket does.
    pub(super) async fn run(mut self, mut phase: watch::Receiver<Phase>) -> Outcome {
        let ran = match self.leaving() {
            None => self.converse(&mut phase, Until::End).await,
            Some(leaving) => self.be_away(&mut phase, leaving).await,
        };
        match ran {
            Ok(()) => {}
            Err(error) => self.outcome.ended = Some(format!("session {}: {error}", self.index)),
        }
        self.common.tallies.add(self.index, &mut self.batch);
        self.finish()
    }

    /// Does what is due and hears what comes.
    ///
    /// # Errors
    /// The socket's, and a close by the server.
    pub(super) async fn converse(
        &mut self,
        phase: &mut watch::Receiver<Phase>,
        until: Until,
    ) -> io::Result<()> {
        let mut timer = pin!(sleep_until(Instant::now()));
        loop {
            if self.is_done(&phase.borrow(), until) {
                return Ok(());
            }
            self.do_due();
            let wake = self.wake(until);
            if timer.deadline() != wake {
                timer.as_mut().reset(wake);
            }
            let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            socket.flush().await?;
            tokio::select! {
                biased;
                filled = socket.fill() => {
                    filled?;
                    self.take_frames()?;
                }
                () = &mut timer => {}
                changed = phase.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    fn is_done(&mut self, phase: &Phase, until: Until) -> bool {
        match (phase, until) {
            (Phase::Stop, _) => return true,
            (Phase::Settle(heads), Until::End) => {
                let has = |room: &Followed| {
                    !room.is_open || heads.get(&room.id).is_none_or(|head| room.reaches(*head))
                };
                self.outcome.settled = self.rooms.iter().all(has);
                if self.outcome.settled {
                    return true;
                }
            }
            _ => {}
        }
        match until {
            Until::UpToDate => self.rooms.iter().all(Followed::is_up_to_date),
            Until::Instant(at) => Instant::now() >= at,
            Until::End => false,
        }
    }

    /// When there is something to do although nothing is heard.
    fn wake(&self, until: Until) -> Instant {
        let due = self.agenda.due().filter(|due| *due < self.times.end);
        let ping = self.said_at + limits::PING_EVERY;
        let until = match until {
            Until::Instant(at) => Some(at),
            Until::UpToDate | Until::End => None,
        };
        due.into_iter().chain(self.asks.due()).chain(until).fold(ping, Instant::min)
    }

    fn do_due(&mut self) {
        let now = Instant::now();
        while self.agenda.due().is_some_and(|due| due < self.times.end) {
            let Some((due, deed)) = self.agenda.take(now) else { break };
            let due_us = self.times.micros(due);
            self.act(due_us, deed);
        }
        while let Some(id) = self.asks.take_due(now) {
            self.put(id);
        }
        if now >= self.said_at + limits::PING_EVERY {
            self.text.clear();
            ClientFrame::Ping(Ping { id: None }).encode_into(&mut self.text);
            self.say();
        }
    }

    fn act(&mut self, due_us: u64, deed: Deed) {
        match deed {
            Deed::Send(room) => {
                self.common.tallies.opened();
                self.ask(due_us, What::Send { room, key: Uuid::now_v7() });
            }
            Deed::Type(room) => {
                self.text.clear();
                encode_typing(self.rooms[room].id, &mut self.text);
                self.say();
            }
            Deed::Read(room) => {
                if let Some(seq) = self.rooms[room].last().filter(|seq| *seq > 0) {
                    self.ask(due_us, What::Read { room, seq });
                }
            }
            Deed::Presence => {
                self.is_away_mark = !self.is_away_mark;
                let away = self.is_away_mark;
                self.ask(due_us, What::Presence { away, watch: None });
            }
            Deed::Turn(room) if self.rooms[room].is_open => {
                self.ask(due_us, What::Unsubscribe { room });
            }
            Deed::Turn(room) => {
                self.ask(due_us, What::Subscribe { rooms: vec![room], opens: true });
            }
        }
    }

    /// Asks it now.
    pub(super) fn ask(&mut self, due_us: u64, what: What) {
        let id = self.asks.add(due_us, what);
        self.put(id);
    }

    fn put(&mut self, id: u64) {
        let Some(ask) = self.asks.get(id) else { return };
        self.text.clear();
        ask.encode(id, &self.rooms, self.common.plan.body_bytes, &mut self.text);
        self.say();
    }

    fn say(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.put(&self.text);
            self.said_at = Instant::now();
        }
    }

    /// A message has its ack.
    pub(super) fn acked(&mut self, due_us: u64, took_us: u64) {
        if self.keeps_acks {
            self.outcome.acks.push((due_us, took_us));
        }
    }

    /// Keeps a message and how it ended for the checker.
    pub(super) fn keep_sent(&mut self, due_us: u64, room: usize, key: Uuid, fate: Fate) {
        if self.common.plan.check {
            let body = digest(&body_of(due_us, self.common.plan.body_bytes));
            let (room, sender) = (self.rooms[room].id, self.account.id);
            self.outcome.sent.push(Sent { room, sender, key, body, fate, order: None });
        }
    }

    fn finish(mut self) -> Outcome {
        let open: Vec<(u64, usize, Uuid)> =
            self.asks.sends().map(|(ask, room, key)| (ask.due_us, room, key)).collect();
        for (due_us, room, key) in open {
            self.keep_sent(due_us, room, key, Fate::Open);
        }
        if self.common.plan.check {
            let is_whole = self.outcome.settled && self.outcome.ended.is_none();
            for room in std::mem::take(&mut self.rooms) {
                let streams = room.streams.len();
                for (place, (after, received)) in room.streams.into_iter().enumerate() {
                    // What was missed in a gap that nobody fetched was never asked for, so only the
                    // last stretch of a followed room is held to the end.
                    let complete = is_whole && room.is_open && place + 1 == streams;
                    let (client, after) = (format!("session {}", self.index), Some(after));
                    let room = room.id;
                    self.outcome.streams.push(Stream { client, room, after, complete, received });
                }
            }
        }
        self.outcome
    }
}

/// Waits for the server's welcome and answers the session's name.
pub(super) async fn welcome(socket: &mut Socket) -> io::Result<Uuid> {
    loop {
        let text = socket.text().await?;
        let frame = ServerFrame::parse(&text).map_err(io::Error::other)?;
        match frame {
            ServerFrame::Welcome(welcome) => return Ok(welcome.session),
            ServerFrame::Error(error) => return Err(Told::refusal(&error).into()),
            ServerFrame::Bye(bye) => return Err(Told::bye(&bye).into()),
            // The user's own feed may speak before.
            _ => {}
        }
    }
}
