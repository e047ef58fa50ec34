//! Other servers under the load that Parlance is measured with: the same rooms, members, instants and
//! bodies, and the same report. Each protocol is one `Wire`, as small as it can be: it becomes a member
//! of a room, posts, and knows a message when it hears one. None of them is a client for other use.

use std::io;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use parlance_client::Server;

use crate::load::Site;
use crate::report::Report;

mod drive;
pub mod floor;
mod member;
mod nats;
mod pipe;
mod socketio;
pub mod table;
mod xmpp;

use nats::{Core, Nats, Stored, Streamed};
use pipe::Pipe;
use socketio::SocketIo;
use xmpp::Xmpp;

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    /// The floor's frames: no chat server, only the writes.
    Floor,
    /// NATS core: nothing is kept, nothing is acknowledged.
    Nats,
    /// NATS with a stream that keeps every message; members hear them as in NATS core.
    Jetstream,
    /// NATS with a stream that keeps every message; each member is an ordered consumer of it.
    JetstreamConsumers,
    /// XMPP with rooms of XEP-0045.
    Xmpp,
    /// Socket.IO over WebSocket; posts are not acknowledged.
    Socketio,
    /// Socket.IO over WebSocket; each post is acknowledged.
    SocketioAcked,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rooms.
    pub rooms: usize,
    /// Members of each room; all post in turn and hear everything.
    pub members: usize,
    /// Numbers of members and rooms begin after so many members: for two runs beside each other.
    pub first: usize,
    /// Messages a second, all rooms together; `None` for members who do nothing.
    pub rate: Option<f64>,
    /// A body's size; at least 16, for the instant in it.
    pub body_bytes: usize,
    /// Time before anything is measured.
    pub warm_up: Duration,
    /// Measured time.
    pub duration: Duration,
}

impl Plan {
    /// Members in all.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.rooms * self.members
    }
}

/// Which member of which room a connection is.
#[derive(Debug, Clone, Copy)]
struct Seat {
    index: usize,
    room: usize,
    place: usize,
}

/// What a member heard.
#[derive(Debug, PartialEq, Eq)]
enum Heard<'a> {
    /// A message of the room, by its body.
    Message(&'a [u8]),
    /// The member's own post with this number is accepted.
    Posted(u64),
    /// The member's own post with this number is refused for good.
    Refused(u64),
    /// Something that needs nothing more.
    Other,
}

/// A protocol, as one member of one room speaks it.
trait Wire: Sized + Send + 'static {
    /// Whether the server acknowledges a post.
    const ACKNOWLEDGES: bool;

    /// What the server needs before its first member, once for its data.
    fn prepare(server: &Server, plan: &Plan) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Makes a new connection a member of its room: the answers have been heard.
    fn join(
        server: &Server,
        pipe: &mut Pipe,
        seat: Seat,
    ) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// Writes a message for the room.
    fn post(&mut self, id: u64, body: &[u8], out: &mut Vec<u8>);

    /// Splits what is first in `held` off, with how many bytes it took; `None` when it is not whole.
    /// Answers that the protocol asks for are written at once.
    fn hear<'a>(
        &mut self,
        held: &'a [u8],
        out: &mut Vec<u8>,
    ) -> io::Result<Option<(Heard<'a>, usize)>>;
}

fn broken(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

/// Makes what a server needs before its first member: accounts, or a stream.
///
/// # Errors
/// When the server is not reached, or refuses.
pub async fn prepare(protocol: Protocol, site: &Site, plan: &Plan) -> anyhow::Result<()> {
    let doors = site.doors()?;
    let server = doors.first().context("a server needs a door")?;
    let prepared = match protocol {
        Protocol::Floor => floor::Framed::prepare(server, plan).await,
        Protocol::Nats => Nats::<Core>::prepare(server, plan).await,
        Protocol::Jetstream => Nats::<Stored>::prepare(server, plan).await,
        Protocol::JetstreamConsumers => Nats::<Streamed>::prepare(server, plan).await,
        Protocol::Xmpp => Xmpp::prepare(server, plan).await,
        Protocol::Socketio => SocketIo::<false>::prepare(server, plan).await,
        Protocol::SocketioAcked => SocketIo::<true>::prepare(server, plan).await,
    };
    prepared.context("preparing the server")
}

/// Runs a plan against a server that was prepared.
///
/// # Errors
/// When a connection cannot become a member, or the server's processes cannot be read.
pub async fn run(protocol: Protocol, site: &Site, plan: &Plan) -> anyhow::Result<Report> {
    match protocol {
        Protocol::Floor => drive::run::<floor::Framed>(site, plan).await,
        Protocol::Nats => drive::run::<Nats<Core>>(site, plan).await,
        Protocol::Jetstream => drive::run::<Nats<Stored>>(site, plan).await,
        Protocol::JetstreamConsumers => drive::run::<Nats<Streamed>>(site, plan).await,
        Protocol::Xmpp => drive::run::<Xmpp>(site, plan).await,
        Protocol::Socketio => drive::run::<SocketIo<false>>(site, plan).await,
        Protocol::SocketioAcked => drive::run::<SocketIo<true>>(site, plan).await,
    }
}
