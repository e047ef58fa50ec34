//! Follows a room as a stream of events, and says something in it.
//!
//! `cargo run -p parlance-client --example stream -- http://127.0.0.1:8080 ada Correct-Horse-1`

use parlance_client::protocol::{Kind, RoomKind};
use parlance_client::{ClientError, Connection, Http, Options, Server, Update};
use uuid::Uuid;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let (url, username, password) = (argument(), argument(), argument());

    let server = Server::parse(&url)?;
    let http = Http::new(server.clone());
    let tokens = http.login(&username, &password).await?;
    let token = tokens.access_token.to_string();
    // The key makes repeating harmless: one room, however often this is sent.
    let name = format!("stream-{}", Uuid::now_v7());
    let room = http.create_room(&token, Uuid::now_v7(), &name, RoomKind::Public).await?.id;

    let refresh_token = Some(tokens.refresh_token.to_string());
    let mut connection = Connection::open(Options { server, token, refresh_token }).await?;
    connection.subscribe(room, None).await?;
    let posted = connection.send(room, "hello").await?;
    println!("committed as seq {}", posted.seq);

    while let Some(update) = connection.next().await {
        match update {
            Update::Event { event, .. } if event.kind == Kind::Message => {
                let body = event.body.as_deref().unwrap_or_default();
                println!("[{}] {}: {body}", event.seq, event.sender.username);
                if event.seq == posted.seq {
                    return Ok(());
                }
            }
            Update::Ended { why } => return Err(why),
            // The client connects again by itself, and goes on where it was.
            Update::Disconnected { why, .. } => println!("disconnected: {why}"),
            _ => {}
        }
    }
    Ok(())
}
