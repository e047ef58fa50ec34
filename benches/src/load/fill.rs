//! Fills rooms with messages before anything is measured, at the rate that a session may send.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context, bail};
use parlance_client::{Http, Server};
use parlance_protocol::View;
use parlance_protocol::client::{ClientFrame, Hello, Send};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};
use uuid::Uuid;

use super::clock::body_of;
use super::plan::{Load, Plan};
use super::session::welcome;
use super::site::Site;
use crate::checker::{Fate, Sent, digest};
use crate::glance::{Seen, glance};
use crate::lean::Socket;
use crate::limits;
use crate::setup::{Account, Prepared, patiently};

/// What filling did.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) sent: Vec<Sent>,
    /// The last place in each room.
    pub(super) heads: HashMap<Uuid, u64>,
}

/// One session that fills one room.
struct Filler {
    server: Server,
    account: Account,
    room: Uuid,
    count: usize,
    body_bytes: usize,
    /// Tells its messages from those of the others.
    first: u64,
}

/// Sends what the plan wants to be there, if it wants something: catching up wants as many new
/// messages, history wants rooms of a length.
pub(super) async fn fill(
    site: &Site,
    doors: &[Server],
    plan: &Plan,
    prepared: &Prepared,
) -> anyhow::Result<Filled> {
    let wanted = match &plan.load {
        Load::CatchUp(catch_up) => vec![catch_up.messages; catch_up.rooms],
        Load::History(history) => {
            let server = doors.first().context("a server needs a door")?;
            missing(server, prepared, history.rooms, history.length).await?
        }
        _ => return Ok(Filled::default()),
    };
    let total: usize = wanted.iter().sum();
    if total == 0 {
        return Ok(Filled::default());
    }
    // As many as their accounts may have sessions, and each with enough to do.
    let most = prepared.accounts.len() * limits::SESSIONS_OF_AN_ACCOUNT;
    let count = total.div_ceil(limits::FILL_EACH).clamp(1, most).max(1);
    eprintln!("filling {} rooms with {total} messages by {count} sessions", wanted.len());
    let mut filling = JoinSet::new();
    for filler in fillers(site, doors, plan, prepared, &wanted, count) {
        filling.spawn(filler.run());
    }
    let mut filled = Filled::default();
    while let Some(done) = filling.join_next().await {
        let sent = done.context("a filler ended by itself")?.context("filling rooms")?;
        for sent in sent {
            if let Fate::Acked(seq) = sent.fate {
                let head = filled.heads.entry(sent.room).or_default();
                *head = seq.max(*head);
            }
            if plan.check {
                filled.sent.push(sent);
            }
        }
    }
    Ok(filled)
}

/// Rooms in turn, each with accounts that are in it; `count` sessions or one a room.
fn fillers(
    site: &Site,
    doors: &[Server],
    plan: &Plan,
    prepared: &Prepared,
    wanted: &[usize],
    count: usize,
) -> Vec<Filler> {
    let mut inside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (room, account) in &prepared.joined {
        inside.entry(*room).or_default().push(*account);
    }
    let each = count.div_ceil(wanted.len().max(1)).max(1);
    let mut fillers = Vec::new();
    for (room, wanted) in wanted.iter().enumerate() {
        let Some(accounts) = inside.get(&room) else { continue };
        for place in 0..each {
            let share = wanted / each + usize::from(place < wanted % each);
            if share == 0 {
                continue;
            }
            let index = fillers.len();
            fillers.push(Filler {
                server: site.from_source(&doors[index % doors.len()], index),
                account: prepared.accounts[accounts[index % accounts.len()]].clone(),
                room: prepared.rooms[room],
                count: share,
                body_bytes: plan.body_bytes,
                first: (index * limits::FILL_NUMBERS) as u64,
            });
        }
    }
    fillers
}

/// How many messages each room lacks.
async fn missing(
    server: &Server,
    prepared: &Prepared,
    rooms: usize,
    length: usize,
) -> anyhow::Result<Vec<usize>> {
    let http = Http::new(server.clone());
    let token = &prepared.accounts.first().context("a run needs an account")?.token;
    let mut missing = Vec::new();
    for room in &prepared.rooms[..rooms] {
        let page = patiently(|| http.history_latest(token, *room, 1, View::Log)).await?;
        let there = usize::try_from(page.as_of).context("a length of this system")?;
        missing.push(length.saturating_sub(there));
    }
    Ok(missing)
}

impl Filler {
    async fn run(self) -> anyhow::Result<Vec<Sent>> {
        let mut socket = self.open().await?;
        let mut pace = interval(Duration::from_secs(1) / limits::FILL_RATE);
        let mut open: BTreeMap<u64, (Uuid, u64)> = BTreeMap::new();
        let mut again: Vec<(Instant, u64)> = Vec::new();
        let mut sent = Vec::new();
        let mut next = 0;
        while sent.len() < self.count {
            tokio::select! {
                biased;
                _ = pace.tick(), if open.len() < limits::FILL_IN_FLIGHT => {
                    let now = Instant::now();
                    let id = match again.iter().position(|(at, _)| *at <= now) {
                        Some(place) => again.swap_remove(place).1,
                        None if next < self.count => {
                            next += 1;
                            open.insert(next as u64, (Uuid::now_v7(), self.first + next as u64));
                            next as u64
                        }
                        None => continue,
                    };
                    if let Some((key, number)) = open.get(&id) {
                        self.put(&mut socket, id, *key, *number);
                        socket.flush().await?;
                    }
                }
                filled = timeout(limits::READY_WAIT, socket.fill()) => {
                    filled.context("the server says nothing")??;
                    self.hear(&mut socket, &mut open, &mut again, &mut sent).await?;
                }
            }
        }
        Ok(sent)
    }

    async fn open(&self) -> anyhow::Result<Socket> {
        let mut repeats = 0;
        loop {
            let opened = async {
                let mut socket = Socket::connect(&self.server).await?;
                let token = Some(self.account.token.as_str().into());
                let hello = Hello { id: Some(0), token, session: None };
                socket.put(ClientFrame::Hello(hello).encode().as_bytes());
                socket.flush().await?;
                welcome(&mut socket).await?;
                std::io::Result::Ok(socket)
            };
            match opened.await {
                Ok(socket) => return Ok(socket),
                Err(error) => match super::away::retry_after(&error) {
                    Some(pause) if repeats < limits::SETUP_REPEATS_MAX => {
                        repeats += 1;
                        tokio::time::sleep(pause).await;
                    }
                    _ => bail!("opening a filler's socket: {error}"),
                },
            }
        }
    }

    fn put(&self, socket: &mut Socket, id: u64, key: Uuid, number: u64) {
        let body = body_of(number, self.body_bytes);
        let body = std::str::from_utf8(&body).expect("digits and letters").into();
        let (room, reply_to, thread, enc) = (self.room, None, None, false);
        let send = Send { id: Some(id), room, key, body, reply_to, thread, enc };
        socket.put(ClientFrame::Send(send).encode().as_bytes());
    }

    async fn hear(
        &self,
        socket: &mut Socket,
        open: &mut BTreeMap<u64, (Uuid, u64)>,
        again: &mut Vec<(Instant, u64)>,
        sent: &mut Vec<Sent>,
    ) -> anyhow::Result<()> {
        let mut pongs = Vec::new();
        while let Some(frame) = socket.frame()? {
            let text = match frame {
                crate::lean::Frame::Text(text) => text,
                crate::lean::Frame::Ping(payload) => {
                    pongs.push(payload.to_vec());
                    continue;
                }
                crate::lean::Frame::Pong => continue,
                crate::lean::Frame::Close(code) => bail!("closed by the server with {code:?}"),
            };
            match glance(text, &mut 0) {
                Some(Seen::Posted { id, seq }) => {
                    let Some((key, number)) = open.remove(&id) else { continue };
                    let body = digest(&body_of(number, self.body_bytes));
                    let (room, sender, fate) = (self.room, self.account.id, Fate::Acked(seq));
                    sent.push(Sent { room, sender, key, body, fate, order: None });
                }
                Some(Seen::Refused { id: Some(id), again_ms: Some(ms) }) => {
                    again.push((Instant::now() + Duration::from_millis(ms), id));
                }
                Some(Seen::Refused { id: Some(_), .. }) => {
                    bail!("refused: {}", String::from_utf8_lossy(text));
                }
                _ => {}
            }
        }
        for pong in pongs {
            socket.pong(&pong);
        }
        socket.flush().await?;
        Ok(())
    }
}
