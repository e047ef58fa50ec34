//! Sends with retries over HTTP: the same key until there is an answer, and the room holds it once.
//!
//! `cargo run -p parlance-client --example retry -- http://127.0.0.1:8080 ada Correct-Horse-1`

use std::time::Duration;

use parlance_client::protocol::http::Posted;
use parlance_client::protocol::{RoomKind, View};
use parlance_client::{ClientError, Http, Server};
use uuid::Uuid;

/// Tries before it gives up.
const TRIES_MAX: u32 = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), ClientError> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = || arguments.next().unwrap_or_default();
    let (url, username, password) = (argument(), argument(), argument());

    let http = Http::new(Server::parse(&url)?);
    let token = http.login(&username, &password).await?.access_token.to_string();
    let name = format!("retry-{}", Uuid::now_v7());
    let room = http.create_room(&token, Uuid::now_v7(), &name, RoomKind::Public).await?.id;

    let key = Uuid::now_v7();
    let first = send(&http, &token, room, key, "once").await?;
    // As if the answer had been lost.
    let again = send(&http, &token, room, key, "once").await?;
    println!("first: seq {}, repeated: {}", first.seq, first.repeated);
    println!("again: seq {}, repeated: {}", again.seq, again.repeated);

    let page = http.history_latest(&token, room, 50, View::Folded).await?;
    let count = page.messages.iter().filter(|entry| entry.event.key == key).count();
    println!("the room holds it {count} time");
    Ok(())
}

async fn send(
    http: &Http,
    token: &str,
    room: Uuid,
    key: Uuid,
    body: &str,
) -> Result<Posted, ClientError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match http.send(token, room, key, body).await {
            Err(error) if error.can_repeat() && tries < TRIES_MAX => {
                let pause = match &error {
                    ClientError::Refused { retry_after: Some(pause), .. } => *pause,
                    _ => Duration::from_millis(100) * 2_u32.pow(tries),
                };
                println!("{error}; again in {} ms", pause.as_millis());
                tokio::time::sleep(pause).await;
            }
            answered => return answered,
        }
    }
}
