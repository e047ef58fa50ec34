//! The one task of a socket: first the hello, then reading frames and draining the outbox until
//! either side ends it.

use std::sync::Arc;
use std::time::Duration;

use hyper::upgrade::OnUpgrade;
use parlance_actors::chat::OpenSession;
use parlance_actors::outbox::{CloseCode, Closing, Outbox};
use parlance_actors::ports::Frames as _;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::session::{Change, Command, Output, Request, SessionHandle};
use parlance_actors::vocab::{Code, Key, Refusal, RoomId, SessionId};
use parlance_protocol::simple::SimpleClientFrame;
use parlance_protocol::{BadFrame, ClientFrame};
use tokio::time::Instant;

use super::commands;
use super::line::{Heard, Line, NotWritten, PING};
use super::writers::Attached;
use crate::admission::Admitted;
use crate::app::App;
use crate::auth::{Bearer, Watched};
use crate::limits::{LINGER, MALFORMED_FRAMES_MAX};

/// What a client speaks, and who it is where the upgrade said so.
pub(super) enum Speaks {
    /// `parlance.v1`; without a bearer the hello carries a token.
    V1 { bearer: Option<Bearer> },
    /// Simple chat.
    Simple { bearer: Bearer },
}

/// A socket before its first frame.
pub(super) struct Socket {
    app: Arc<App>,
    on_upgrade: OnUpgrade,
    speaks: Speaks,
    /// Its places among the connections, given back when it ends.
    admitted: (Arc<Admitted>, Option<Admitted>),
}

/// Whom a session is for.
struct Greeted {
    bearer: Bearer,
    dialect: Dialect,
    hello: Option<u64>,
    previous: Option<SessionId>,
}

/// Why there is no session.
enum NotGreeted {
    Closed(CloseCode, Refusal),
    Gone,
}

impl From<NotWritten> for NotGreeted {
    fn from(_: NotWritten) -> Self {
        Self::Gone
    }
}

impl Socket {
    pub(super) const fn new(
        app: Arc<App>,
        on_upgrade: OnUpgrade,
        speaks: Speaks,
        admitted: (Arc<Admitted>, Option<Admitted>),
    ) -> Self {
        Self { app, on_upgrade, speaks, admitted }
    }

    pub(super) async fn run(self) {
        let Self { app, on_upgrade, speaks, admitted } = self;
        let kill = app.kill.clone();
        tokio::select! {
            () = kill.cancelled() => {}
            () = serve(app, on_upgrade, speaks) => {}
        }
        drop(admitted);
    }
}

async fn serve(app: Arc<App>, on_upgrade: OnUpgrade, speaks: Speaks) {
    let deadline = Instant::now() + app.config.deadlines.hello;
    let Ok(Ok(upgraded)) = tokio::time::timeout_at(deadline, on_upgrade).await else { return };
    let Some(mut line) = Line::new(upgraded, app.config.deadlines.write).await else { return };
    let dialect = match speaks {
        Speaks::V1 { .. } => Dialect::V1,
        Speaks::Simple { .. } => Dialect::Simple,
    };
    let greeted = match speaks {
        Speaks::V1 { bearer } => {
            let greeting = Box::pin(greet(&app, &mut line, bearer, deadline));
            tokio::select! {
                greeted = greeting => greeted,
                () = app.closing.cancelled() => {
                    Err(NotGreeted::Closed(CloseCode::GoingAway, going_away()))
                }
            }
        }
        Speaks::Simple { bearer } => Ok(Greeted { bearer, dialect, hello: None, previous: None }),
    };
    let opened = greeted.and_then(|greeted| {
        let Greeted { bearer, dialect, hello, previous } = greeted;
        app.chat
            .open_session(bearer.caller.clone(), dialect, hello, previous)
            .map(|open| (bearer, open))
            .map_err(|refusal| NotGreeted::Closed(CloseCode::GoingAway, refusal))
    });
    match opened {
        Ok((bearer, open)) => Talk::new(app, line, bearer, dialect, open).run().await,
        Err(NotGreeted::Gone) => line.part().await,
        Err(NotGreeted::Closed(code, refusal)) => {
            let mut frames = Vec::new();
            frames.extend(app.frames.encode(dialect, &Output::Bye { refusal: &refusal }));
            // It is closed either way.
            if let Ok(Ok(())) = tokio::time::timeout(LINGER, line.say(&mut frames)).await {
                line.close(Vec::new(), code, &refusal).await;
            }
        }
    }
}

/// Waits for `hello`. Everything else is refused, and too much of it ends the socket.
async fn greet(
    app: &App,
    line: &mut Line,
    bearer: Option<Bearer>,
    deadline: Instant,
) -> Result<Greeted, NotGreeted> {
    let mut bearer = bearer;
    let mut malformed = 0;
    loop {
        let Ok(heard) = tokio::time::timeout_at(deadline, line.hear()).await else {
            let refusal = Refusal::new(Code::Timeout, "no hello came in time");
            return Err(NotGreeted::Closed(CloseCode::Unauthenticated, refusal));
        };
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Life => continue,
            Heard::Closed | Heard::Gone => return Err(NotGreeted::Gone),
            Heard::Bad(refusal) => {
                say_error(app, line, None, &refusal).await?;
                return Err(NotGreeted::Closed(CloseCode::BadFrame, refusal));
            }
        };
        let (id, refusal) = match ClientFrame::parse(text.as_bytes()) {
            Ok(ClientFrame::Hello(hello)) => {
                if let Some(token) = &hello.token {
                    match app.auth.bearer(token).await {
                        Ok(of_token) => bearer = Some(of_token),
                        Err(refusal) => {
                            say_error(app, line, hello.id, &refusal).await?;
                            return Err(NotGreeted::Closed(CloseCode::Unauthenticated, refusal));
                        }
                    }
                }
                let Some(bearer) = bearer else {
                    let detail = "hello needs a token; the upgrade carried no credential";
                    let refusal = Refusal::new(Code::Unauthenticated, detail);
                    say_error(app, line, hello.id, &refusal).await?;
                    return Err(NotGreeted::Closed(CloseCode::Unauthenticated, refusal));
                };
                let (hello, previous) = (hello.id, hello.session.map(SessionId));
                return Ok(Greeted { bearer, dialect: Dialect::V1, hello, previous });
            }
            Ok(frame) => {
                let detail = "the first frame is hello; nothing else is heard before it";
                (frame.id(), Refusal::new(Code::Unauthenticated, detail))
            }
            Err(BadFrame { id, detail }) => (id, Refusal::bad_request(detail)),
        };
        say_error(app, line, id, &refusal).await?;
        malformed += 1;
        if malformed >= MALFORMED_FRAMES_MAX {
            return Err(NotGreeted::Closed(CloseCode::BadFrame, too_many_malformed()));
        }
    }
}

async fn say_error(
    app: &App,
    line: &mut Line,
    id: Option<u64>,
    refusal: &Refusal,
) -> Result<(), NotWritten> {
    let mut frames = Vec::new();
    frames.extend(app.frames.encode(Dialect::V1, &Output::Error { id, refusal }));
    line.say(&mut frames).await
}

fn too_many_malformed() -> Refusal {
    Refusal::bad_request("too many malformed frames in a row")
}

/// A socket with its session.
struct Talk {
    app: Arc<App>,
    line: Line,
    writer: Attached,
    bearer: Bearer,
    watched: Watched,
    dialect: Dialect,
    session: SessionHandle,
    outbox: Arc<Outbox>,
    malformed: u32,
    heard_at: Instant,
    /// The client was asked whether it is there, and has not said so.
    asked: bool,
    recheck_at: Instant,
    /// Nothing can be read any more; what is queued is still written.
    deaf: bool,
}

/// How a turn of the loop ended.
enum Turn {
    On,
    /// The client is told why, and the socket closed.
    Close(Closing),
    /// The client has closed in order.
    Closed,
    /// The connection is over.
    Gone,
}

impl Talk {
    fn new(app: Arc<App>, line: Line, bearer: Bearer, dialect: Dialect, open: OpenSession) -> Self {
        let OpenSession { session, outbox } = open;
        let mut line = line;
        let writer = line.attach(outbox.clone(), app.writers.clone());
        let now = Instant::now();
        let watched = app.auth.watch(&bearer);
        // Sockets that came at the same time, after a restart, are not looked up at the same time.
        let spread = f32::from(session.id().0.as_bytes()[15]) / 512.0;
        let recheck_at = now + app.config.deadlines.recheck.mul_f32(1.0 - spread);
        Self {
            app,
            line,
            writer,
            bearer,
            watched,
            dialect,
            session,
            outbox,
            malformed: 0,
            heard_at: now,
            asked: false,
            recheck_at,
            deaf: false,
        }
    }

    async fn run(mut self) {
        if self.dialect == Dialect::Simple {
            self.session.attach(RoomId::lobby(self.bearer.caller.tenant));
        }
        let over = self.watched.over();
        tokio::pin!(over);
        // Reset only when it fires: a timer for each frame would cost more than the frame.
        let clock = tokio::time::sleep_until(self.wake_at());
        tokio::pin!(clock);
        let mut is_over = false;
        loop {
            // What runs seldom is boxed: every idle socket pays for the largest arm.
            let turn = tokio::select! {
                heard = self.line.hear(), if !self.deaf => self.heard(heard),
                () = self.writer.handed() => self.drain().await,
                () = over.as_mut(), if !is_over => {
                    is_over = true;
                    self.end(CloseCode::Unauthenticated, signed_out());
                    Turn::On
                }
                () = clock.as_mut() => {
                    Box::pin(self.tick()).await;
                    clock.as_mut().reset(self.wake_at());
                    Turn::On
                }
            };
            match turn {
                Turn::On => {}
                Turn::Close(closing) => {
                    let left = self.writer.left();
                    return Box::pin(self.line.close(left, closing.code, &closing.refusal)).await;
                }
                Turn::Closed => return Box::pin(self.part(true)).await,
                Turn::Gone => return Box::pin(self.part(false)).await,
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let idle = self.app.config.deadlines.idle;
        let silence = if self.asked { idle } else { idle / 2 };
        (self.heard_at + silence).min(self.recheck_at)
    }

    fn heard(&mut self, heard: Heard) -> Turn {
        self.heard_at = Instant::now();
        self.asked = false;
        match heard {
            Heard::Text(text) if self.dialect == Dialect::V1 => self.take(text.as_bytes()),
            Heard::Text(text) => self.take_simple(text.as_bytes()),
            Heard::Life => {}
            Heard::Closed => return Turn::Closed,
            Heard::Gone => return Turn::Gone,
            Heard::Bad(refusal) => {
                self.deaf = true;
                self.session.refuse(None, &refusal);
                self.end(CloseCode::BadFrame, refusal);
            }
        }
        Turn::On
    }

    fn take(&mut self, text: &[u8]) {
        match ClientFrame::parse(text) {
            Ok(frame) => {
                self.malformed = 0;
                match commands::request(frame) {
                    Ok(request) => self.session.submit(request),
                    Err((id, refusal)) => self.session.refuse(id, &refusal),
                }
            }
            Err(BadFrame { id, detail }) => self.malformed(id, detail),
        }
    }

    fn take_simple(&mut self, text: &[u8]) {
        match SimpleClientFrame::parse(text) {
            Ok(SimpleClientFrame::Message { content }) => {
                self.malformed = 0;
                let change = Change::Send {
                    body: (&*content).into(),
                    reply_to: None,
                    thread: None,
                    enc: false,
                };
                let room = RoomId::lobby(self.bearer.caller.tenant);
                let command = Command::Post { room, key: Key::generate(), change };
                self.session.submit(Request { id: None, command });
            }
            Err(detail) => self.malformed(None, detail),
        }
    }

    fn malformed(&mut self, id: Option<u64>, detail: String) {
        self.session.refuse(id, &Refusal::bad_request(detail));
        self.malformed += 1;
        if self.malformed >= MALFORMED_FRAMES_MAX {
            self.deaf = true;
            self.end(CloseCode::BadFrame, too_many_malformed());
        }
    }

    /// Ends the session in order: what is queued goes out, then `bye`, then the close code.
    fn end(&self, code: CloseCode, refusal: Refusal) {
        let bye = self.app.frames.encode(self.dialect, &Output::Bye { refusal: &refusal });
        self.outbox.close(Closing { code, refusal }, bye);
    }

    /// Writes what could not be written without waiting.
    async fn drain(&mut self) -> Turn {
        let begun = Instant::now();
        let drained = Box::pin(self.writer.drain(self.app.config.deadlines.write)).await;
        // Nothing was heard meanwhile, which is not the client's fault.
        self.heard_at += begun.elapsed();
        match drained {
            Ok(None) => Turn::On,
            Ok(Some(closing)) => {
                if closing.code == CloseCode::SlowConsumer {
                    slow_consumer();
                }
                Turn::Close(closing)
            }
            Err(NotWritten::Gone) => Turn::Gone,
            Err(NotWritten::Slow) => {
                tracing::info!(session = %self.session.id(), "closing a slow consumer");
                slow_consumer();
                Turn::Close(Closing::slow_consumer())
            }
        }
    }

    /// The client went. What is not written yet is written all the same, and its close frame answered if
    /// it `closed` in order.
    async fn part(self, closed: bool) {
        self.app.partings.pass().await;
        if !closed && self.writer.has_nothing() {
            return self.line.leave();
        }
        self.outbox.close(Closing { code: CloseCode::GoingAway, refusal: going_away() }, None);
        let rest = async {
            loop {
                self.writer.handed().await;
                match self.writer.drain(LINGER).await {
                    Ok(None) => {}
                    Ok(Some(_)) => return true,
                    Err(_) => return false,
                }
            }
        };
        if let Ok(true) = tokio::time::timeout(LINGER, rest).await {
            self.line.part().await;
        }
    }

    async fn tick(&mut self) {
        let now = Instant::now();
        let idle = self.app.config.deadlines.idle;
        let silent = now.saturating_duration_since(self.heard_at);
        if silent >= idle {
            let detail = format!("nothing was heard of you for {} s", idle.as_secs_f32());
            let refusal = Refusal::new(Code::Timeout, detail).retry_after(Duration::ZERO);
            self.deaf = true;
            self.heard_at = now;
            self.end(CloseCode::GoingAway, refusal);
        } else if silent >= idle / 2 && !self.asked {
            self.asked = true;
            self.outbox.push_answer(PING);
        }
        if now >= self.recheck_at {
            self.recheck_at = now + self.app.config.deadlines.recheck;
            match self.app.auth.recheck(&self.bearer).await {
                Ok(_) => {}
                Err(refusal) if refusal.code == Code::Unauthenticated => {
                    self.end(CloseCode::Unauthenticated, refusal);
                }
                // The database is away: nobody is thrown out for that.
                Err(error) => tracing::debug!(%error, "a sign-in could not be looked up"),
            }
        }
    }
}

fn slow_consumer() {
    metrics::counter!("parlance_slow_consumers_total").increment(1);
}

fn going_away() -> Refusal {
    Refusal::unavailable("the node is going away; connect again")
}

fn signed_out() -> Refusal {
    Refusal::new(Code::Unauthenticated, "you were signed out")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that an async function of one argument gives.
    fn size_of_future<A, F: Future>(_: impl Fn(A) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn the_task_of_an_idle_socket_is_small() {
        let bytes = size_of_future(Socket::run);
        assert!(bytes <= 3 * 1024, "{bytes} bytes");
    }
}
