//! An attack on a running server, from one address: connections that do one thing that a server could
//! suffer from, opened anew when the server ends them. Its connections, its rate and its time are bounded.
//! It runs on a thread of its own, so that those who send beside it are not held up by it here.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use parlance_client::{Http, Server, Stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use uuid::Uuid;

use crate::lean::{upgrade_request, upgraded};
use crate::limits;
use crate::process::give_way;
use crate::setup::{PASSWORD, patiently};

mod kind;
pub mod table;

use kind::Act;
pub use kind::Kind;

/// What is attacked, and how.
#[derive(Debug, Clone)]
pub struct Attack {
    /// The server, from the attacker's address.
    pub server: Server,
    /// What is done.
    pub kind: Kind,
    /// Connections at the same time.
    pub connections: usize,
    /// How long it takes to open them, at even distances: a machine elsewhere is not as near as this one, and what it
    /// costs to open them is not the server's.
    pub over: Duration,
    /// It takes only the processor that nobody else wants, as a machine elsewhere takes none of this one's.
    pub gives_way: bool,
}

/// An attack that may begin.
pub struct Prepared {
    attack: Attack,
    act: Act,
    token: String,
}

/// What became of an attack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What was done.
    pub kind: String,
    /// Connections that were opened.
    pub opened: u64,
    /// Connections that could not be.
    pub not_opened: u64,
    /// Connections that the server ended.
    pub ended: u64,
    /// Pieces that were written: requests, frames or drops.
    pub written: u64,
    /// Answers of HTTP, by their status.
    pub answers: BTreeMap<String, u64>,
}

/// An attack that goes on.
pub struct Running {
    thread: JoinHandle<anyhow::Result<Told>>,
}

/// What its connections count together.
#[derive(Default)]
struct Counts {
    opened: AtomicU64,
    not_opened: AtomicU64,
    ended: AtomicU64,
    written: AtomicU64,
    answers: Mutex<BTreeMap<String, u64>>,
}

/// What each connection needs.
struct Plot {
    attack: Attack,
    act: Act,
    /// Of the attacker's own account; empty where none is needed.
    token: String,
    counts: Counts,
    until: Instant,
}

impl Attack {
    /// Makes everything that is needed before it begins, which may take a while.
    ///
    /// # Errors
    /// When the server refuses the attacker an account.
    pub async fn prepare(self) -> anyhow::Result<Prepared> {
        let token = self.sign_up().await?;
        let (kind, of_account) = (self.kind, token.clone());
        let act = spawn_blocking(move || kind.act(&of_account)).await;
        Ok(Prepared { attack: self, act: act.context("preparing what is written")?, token })
    }

    /// The access token of an account that the attacker makes; empty where the attack needs none.
    async fn sign_up(&self) -> anyhow::Result<String> {
        if !self.kind.is_signed_in() {
            return Ok(String::new());
        }
        let http = Http::new(self.server.clone());
        let name = format!("mallory-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let made = patiently(|| http.register(&name, PASSWORD)).await;
        made.context("making the attacker's account")?;
        let tokens = patiently(|| http.login(&name, PASSWORD)).await;
        Ok(tokens.context("signing the attacker in")?.access_token.to_string())
    }
}

impl Prepared {
    /// Begins and ends at these instants.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, from: Instant, until: Instant) -> anyhow::Result<Running> {
        let Self { attack, act, token } = self;
        let (connections, over, gives_way) = (attack.connections, attack.over, attack.gives_way);
        let plot = Arc::new(Plot { attack, act, token, counts: Counts::default(), until });
        let attack = async move {
            sleep_until(from).await;
            let mut running = JoinSet::new();
            for number in 0..connections {
                sleep_until(from + over.mul_f64(number as f64 / connections as f64)).await;
                running.spawn(connection(plot.clone(), number));
            }
            while let Some(ended) = running.join_next().await {
                ended.context("a connection's task ended by itself")?;
            }
            Ok(plot.told())
        };
        let run = move || {
            if gives_way {
                give_way()?;
            }
            Builder::new_current_thread().enable_all().build()?.block_on(attack)
        };
        let thread = std::thread::Builder::new().name("attack".into()).spawn(run);
        Ok(Running { thread: thread.context("starting a thread")? })
    }
}

impl Running {
    /// Waits for the end, which is bounded.
    ///
    /// # Errors
    /// When the attack could not take place.
    pub fn end(self) -> anyhow::Result<Told> {
        self.thread.join().map_err(|_| anyhow::anyhow!("the attack's thread failed"))?
    }
}

impl Plot {
    fn told(&self) -> Told {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        Told {
            kind: self.attack.kind.name(),
            opened: count(&counts.opened),
            not_opened: count(&counts.not_opened),
            ended: count(&counts.ended),
            written: count(&counts.written),
            answers: counts.answers.lock().expect("nothing panics while it is held").clone(),
        }
    }

    /// Opens a connection and does what the attack does, until the server ends it.
    async fn once(&self, number: usize) -> io::Result<()> {
        let opened = timeout(limits::ATTACK_CONNECT_WAIT, self.attack.server.connect()).await;
        let Ok(Ok(mut stream)) = opened else {
            self.counts.not_opened.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        if self.act.is_socket {
            self.upgrade(&mut stream).await?;
        }
        self.pour(stream, number).await
    }

    async fn upgrade(&self, stream: &mut Stream) -> io::Result<()> {
        let bearer = match self.token.as_str() {
            "" => String::new(),
            token => format!("Authorization: Bearer {token}\r\n"),
        };
        let header =
            format!("Sec-WebSocket-Protocol: {}\r\n{bearer}", parlance_protocol::SUBPROTOCOL);
        let request = upgrade_request(&self.attack.server, "/ws", &header);
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut held = Vec::new();
        while upgraded(&held)?.is_none() {
            if stream.read_buf(&mut held).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Writes the beginning and then piece after piece at their distance, and drops what comes.
    async fn pour(&self, stream: Stream, number: usize) -> io::Result<()> {
        let (mut read, mut write) = tokio::io::split(stream);
        let writing = async {
            write.write_all(&self.act.first).await?;
            write.flush().await?;
            for place in 0_u64.. {
                let piece = (self.act.piece)(number, place);
                if piece.is_empty() {
                    break;
                }
                write.write_all(&piece).await?;
                write.flush().await?;
                self.counts.written.fetch_add(self.act.pieces, Ordering::Relaxed);
                sleep(self.act.every).await;
            }
            std::future::pending::<io::Result<()>>().await
        };
        let reading = async {
            let mut heard = Heard::default();
            let mut bytes = vec![0; 16 * 1024];
            loop {
                let count = read.read(&mut bytes).await?;
                if count == 0 {
                    return Ok(());
                }
                if !self.act.is_socket {
                    heard.take(&bytes[..count], |status| self.answered(status));
                }
            }
        };
        tokio::select! {
            written = writing => written,
            read = reading => read,
        }
    }

    fn answered(&self, status: &str) {
        let mut answers = self.counts.answers.lock().expect("nothing panics while it is held");
        *answers.entry(status.to_owned()).or_default() += 1;
    }
}

/// One of the connections, again and again.
async fn connection(plot: Arc<Plot>, number: usize) {
    while Instant::now() < plot.until {
        if timeout_at(plot.until, plot.once(number)).await.is_err() {
            return;
        }
        plot.counts.ended.fetch_add(1, Ordering::Relaxed);
        sleep(plot.act.again).await;
    }
}

/// Finds the status lines in what comes, however it is cut.
#[derive(Default)]
struct Heard {
    rest: Vec<u8>,
}

impl Heard {
    fn take(&mut self, bytes: &[u8], mut answered: impl FnMut(&str)) {
        const START: &[u8] = b"HTTP/1.1 ";
        const WHOLE: usize = START.len() + 3;
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) =
            self.rest[from..].windows(WHOLE).position(|line| line.starts_with(START))
        {
            let status = &self.rest[from + at + START.len()..from + at + WHOLE];
            answered(&String::from_utf8_lossy(status));
            from += at + WHOLE;
        }
        let keep = self.rest.len().saturating_sub(WHOLE - 1).max(from);
        self.rest.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_however_they_are_cut() {
        let text =
            b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 429 Too Many\r\nx: HTTP/1.1\r\n\r\nHTTP/1.1 503";
        for size in 1..=text.len() {
            let (mut heard, mut statuses) = (Heard::default(), Vec::new());
            for piece in text.chunks(size) {
                heard.take(piece, |status| statuses.push(status.to_owned()));
            }
            assert_eq!(statuses, ["200", "429", "503"], "in pieces of {size}");
        }
    }
}
