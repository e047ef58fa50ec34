//! The floor that chat servers are measured against: it writes each frame that it reads to every
//! connection of the room, one write each, and does nothing else. It is no chat server: it knows no
//! users, keeps nothing, orders nothing and checks nothing.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anyhow::Context;
use clap::Parser;
use parlance_benches::buffer::Buffer;
use parlance_benches::limits::FLOOR_PENDING_BYTES_MAX;
use parlance_benches::others::floor::{put, split};
use parlance_benches::process::raise_open_files;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Writes each frame to every connection of its room. No chat server. See benches/README.md.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// One connection.
struct Seat {
    stream: TcpStream,
    /// What it did not take yet.
    pending: Mutex<Vec<u8>>,
    /// Something is pending now.
    is_pending: Notify,
}

type Room = Arc<RwLock<Vec<Arc<Seat>>>>;
type Rooms = Arc<Mutex<HashMap<u32, Room>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let _ = raise_open_files();
    let listener = TcpListener::bind(flags.listen).await.context("listening")?;
    println!("listening on {}", listener.local_addr()?);
    let (rooms, mut connections) = (Rooms::default(), JoinSet::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting")?;
                stream.set_nodelay(true)?;
                connections.spawn(serve(stream, rooms.clone()));
            }
            // A connection that ended has left its room.
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, rooms: Rooms) {
    let seat = Seat { stream, pending: Mutex::default(), is_pending: Notify::new() };
    let (seat, mut joined) = (Arc::new(seat), None);
    // How a connection ends does not matter here: the generator counts those that it loses.
    let _ = converse(&seat, &rooms, &mut joined).await;
    if let Some(room) = joined {
        room.write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|other| !Arc::ptr_eq(other, &seat));
    }
}

async fn converse(seat: &Arc<Seat>, rooms: &Rooms, joined: &mut Option<Room>) -> io::Result<()> {
    let mut buffer = Buffer::default();
    loop {
        tokio::select! {
            readable = seat.stream.readable() => {
                readable?;
                match seat.stream.try_read(buffer.space()) {
                    Ok(0) => return Ok(()),
                    Ok(count) => buffer.add(count),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                }
                while let Some(payload) = buffer.take(split)? {
                    take(seat, payload, rooms, joined)?;
                }
            }
            written = seat.write_pending() => written?,
        }
    }
}

/// A connection's first frame is its room, every other one a message.
fn take(
    seat: &Arc<Seat>,
    payload: &[u8],
    rooms: &Rooms,
    joined: &mut Option<Room>,
) -> io::Result<()> {
    let mut frame = Vec::with_capacity(payload.len() + 4);
    if let Some(room) = joined {
        put(payload, &mut frame);
        for other in &*room.read().unwrap_or_else(PoisonError::into_inner) {
            other.write(&frame);
        }
        return Ok(());
    }
    let number = payload.first_chunk::<4>().ok_or(io::ErrorKind::InvalidData)?;
    let mut rooms = rooms.lock().unwrap_or_else(PoisonError::into_inner);
    let room = rooms.entry(u32::from_be_bytes(*number)).or_default();
    room.write().unwrap_or_else(PoisonError::into_inner).push(seat.clone());
    *joined = Some(room.clone());
    put(&[], &mut frame);
    seat.write(&frame);
    Ok(())
}

impl Seat {
    /// Writes what the connection takes now; its own task writes the rest. A frame over the bound is lost.
    fn write(&self, frame: &[u8]) {
        let mut pending = self.pending();
        let written =
            if pending.is_empty() { self.stream.try_write(frame).unwrap_or(0) } else { 0 };
        if written < frame.len() && pending.len() < FLOOR_PENDING_BYTES_MAX {
            pending.extend_from_slice(&frame[written..]);
            self.is_pending.notify_one();
        }
    }

    /// Waits until something is pending and the connection takes some of it. Cancel-safe.
    async fn write_pending(&self) -> io::Result<()> {
        while self.pending().is_empty() {
            self.is_pending.notified().await;
        }
        self.stream.writable().await?;
        let mut pending = self.pending();
        match self.stream.try_write(&pending) {
            Ok(count) => drop(pending.drain(..count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn pending(&self) -> MutexGuard<'_, Vec<u8>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
