//! Goes away and comes back: what was said meanwhile arrives, in order, without a gap or a repeat.
//!
//! `cargo run -p parlance-client --example resume -- http://127.0.0.1:8080 ada Correct-Horse-1`

use parlance_client::protocol::client::Cursor;
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
    let token = http.login(&username, &password).await?.access_token.to_string();
    let name = format!("resume-{}", Uuid::now_v7());
    let room = http.create_room(&token, Uuid::now_v7(), &name, RoomKind::Public).await?.id;
    let options = Options { server, token: token.clone(), refresh_token: None };

    let mut connection = Connection::open(options.clone()).await?;
    connection.subscribe(room, None).await?;
    connection.send(room, "before").await?;
    // What a program keeps of each room: the generation and the last seq that it has seen.
    let (cursor, body) = next_message(&mut connection).await?;
    println!("seq {}: {body}", cursor.seq);
    drop(connection);

    for body in ["one", "two"] {
        http.send(&token, room, Uuid::now_v7(), body).await?;
    }

    let mut connection = Connection::open(options).await?;
    connection.subscribe(room, Some(cursor)).await?;
    for _ in 0..2 {
        let (cursor, body) = next_message(&mut connection).await?;
        println!("seq {}: {body}", cursor.seq);
    }
    Ok(())
}

async fn next_message(connection: &mut Connection) -> Result<(Cursor, String), ClientError> {
    while let Some(update) = connection.next().await {
        match update {
            Update::Event { r#gen, event, .. } if event.kind == Kind::Message => {
                let body = event.body.as_deref().unwrap_or_default().to_owned();
                return Ok((Cursor { r#gen, seq: event.seq }, body));
            }
            Update::Ended { why } => return Err(why),
            _ => {}
        }
    }
    Err(ClientError::Ended("no more updates".into()))
}
