//! From nothing to a socket that follows a room.

use anyhow::{Context, bail};
use parlance_client::Server;
use parlance_protocol::ServerFrame;
use parlance_protocol::client::{ClientFrame, Cursors, Hello, Subscribe};
use parlance_protocol::server::{Answer, RoomAnswer};
use uuid::Uuid;

use crate::lean::Socket;

/// Connects, says hello, follows `room` from its head, and answers that head.
pub(super) async fn open(
    server: &Server,
    token: &str,
    room: Uuid,
) -> anyhow::Result<(Socket, u64)> {
    let mut socket = Socket::connect(server).await.context("connecting")?;
    let hello = Hello { id: Some(1), token: Some(token.into()), session: None };
    socket.put(ClientFrame::Hello(hello).encode().as_bytes());
    socket.flush().await?;
    loop {
        let text = socket.text().await.context("waiting for the welcome")?;
        match ServerFrame::parse(&text)? {
            ServerFrame::Welcome(_) => break,
            ServerFrame::Error(error) => bail!("hello: {}: {}", error.code, error.detail),
            ServerFrame::Bye(bye) => bail!("hello: {}: {}", bye.code, bye.detail),
            // The user's own feed may speak before.
            _ => {}
        }
    }
    let subscribe = Subscribe { id: Some(2), rooms: Cursors(vec![(room, None)]) };
    socket.put(ClientFrame::Subscribe(subscribe).encode().as_bytes());
    socket.flush().await?;
    loop {
        let text = socket.text().await.context("waiting for the subscribe's answer")?;
        match ServerFrame::parse(&text)? {
            ServerFrame::Ok(ok) => match &ok.answer {
                Answer::Subscribed(rooms) => match rooms.0.as_slice() {
                    [(_, RoomAnswer::Following { head, .. })] => return Ok((socket, *head)),
                    other => bail!("the room was not followed: {other:?}"),
                },
                other => bail!("{other:?} in place of a subscribe's answer"),
            },
            ServerFrame::Error(error) => bail!("subscribe: {}: {}", error.code, error.detail),
            // The user's own feed and presence may speak in between.
            _ => {}
        }
    }
}
