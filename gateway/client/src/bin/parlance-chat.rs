//! A terminal client: signs in, joins a room by its name, prints what is said and sends each line.
//! Plain lines on purpose, so that it also works in pipes; it draws no screen.

use std::io::Write;
use std::process::ExitCode;

use parlance_client::protocol::{Event, Kind, RoomKind, View, http::Room};
use parlance_client::{Change, ClientError, Connection, Http, Options, Server, Update};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use uuid::Uuid;

const USAGE: &str = "usage: parlance-chat [--register] http://HOST:PORT USERNAME ROOM
The password is read from PARLANCE_PASSWORD, or else from the first line of standard input.
ROOM is a name; a room that does not exist is made. A line is a message; /quit ends.";

/// Messages that are shown on joining.
const SHOWN: u16 = 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let register = arguments.first().is_some_and(|argument| argument == "--register");
    if register {
        arguments.remove(0);
    }
    let [url, username, room] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match Box::pin(chat(url, username, room, register)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance-chat: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn chat(url: &str, username: &str, name: &str, register: bool) -> Result<(), ClientError> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let password = match std::env::var("PARLANCE_PASSWORD") {
        Ok(password) => password,
        Err(_) => line(&mut lines).await.unwrap_or_default(),
    };
    let server = Server::parse(url)?;
    let http = Http::new(server.clone());
    if register {
        http.register(username, &password).await?;
    }
    let tokens = http.login(username, &password).await?;
    let token = tokens.access_token.to_string();
    let room = enter(&http, &token, name).await?;
    let refresh_token = Some(tokens.refresh_token.to_string());
    let mut connection =
        Connection::open(Options { server, token: token.clone(), refresh_token }).await?;
    connection.subscribe(room, None).await?;
    let page = http.history_latest(&token, room, SHOWN, View::Folded).await?;
    for entry in &page.messages {
        show(&entry.event);
    }
    // What came between the subscribe and the page is on the page already.
    let shown = page.as_of;
    println!("* you are in {name} as {}", connection.username());
    loop {
        tokio::select! {
            update = connection.next() => match update {
                Some(Update::Ended { why }) => return Err(why),
                Some(update) => tell(update, shown),
                None => return Ok(()),
            },
            said = line(&mut lines) => match said.as_deref() {
                None | Some("/quit") => return Ok(()),
                Some("") => {}
                Some(body) => say(&mut connection, room, body, shown).await?,
            },
        }
    }
}

/// Sends a line and shows what is said until it is committed, so that piped input is never cut off.
async fn say(
    connection: &mut Connection,
    room: Uuid,
    body: &str,
    shown: u64,
) -> Result<(), ClientError> {
    let change = Change::Send { body: body.to_owned(), reply_to: None };
    let mut answer = connection.sender().begin(room, Uuid::now_v7(), change).await?;
    loop {
        tokio::select! {
            answered = &mut answer => {
                match answered {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => println!("* not sent: {error}"),
                    Err(_) => println!("* not sent: the connection has ended"),
                }
                return Ok(());
            }
            update = connection.next() => match update {
                Some(Update::Ended { why }) => return Err(why),
                Some(update) => tell(update, shown),
                None => return Ok(()),
            },
        }
    }
}

/// Finds the room with this name, among the user's own and the public ones, or makes it, and joins it.
async fn enter(http: &Http, token: &str, name: &str) -> Result<Uuid, ClientError> {
    let is_it = |room: &&Room<'_>| {
        room.name.as_ref().is_some_and(|n| n.to_lowercase() == name.to_lowercase())
    };
    let mut after = None;
    loop {
        let (rooms, more) = http.rooms(token, after).await?;
        if let Some(room) = rooms.iter().find(is_it) {
            return Ok(room.id);
        }
        after = rooms.last().map(|room| room.id);
        if !more || after.is_none() {
            break;
        }
    }
    // Names ascend, so that the room with the whole name comes first of those that begin with it.
    let (public, _) = http.browse(token, name, None).await?;
    if let Some(room) = public.iter().find(is_it) {
        http.join(token, room.id).await?;
        return Ok(room.id);
    }
    Ok(http.create_room(token, Uuid::now_v7(), name, RoomKind::Public).await?.id)
}

async fn line(lines: &mut Lines<BufReader<Stdin>>) -> Option<String> {
    lines.next_line().await.ok().flatten()
}

fn tell(update: Update, shown: u64) {
    match update {
        Update::Event { event, .. } if event.seq > shown => show(&event),
        Update::Disconnected { why, pause } => {
            println!("* disconnected ({why}); again in {} ms", pause.as_millis());
        }
        Update::Connected { .. } => println!("* connected"),
        Update::Reset { .. } => println!("* the server's history of this room has changed"),
        Update::Refused { why, .. } => println!("* the room is closed to you: {why}"),
        _ => {}
    }
}

fn show(event: &Event<'_>) {
    let who = &event.sender.username;
    let target = event.target.unwrap_or_default();
    let text = event.body.as_deref().unwrap_or("(removed)");
    match event.kind {
        Kind::Message => println!("[{}] {who}: {text}", event.seq),
        Kind::Edit => println!("* {who} changed [{target}] to: {text}"),
        Kind::Delete => println!("* {who} removed [{target}]"),
        Kind::Reaction => {
            let emoji = event.emoji.as_deref().unwrap_or_default();
            let verb = if event.on == Some(true) { "reacted to" } else { "took back from" };
            println!("* {who} {verb} [{target}]: {emoji}");
        }
        Kind::Pin => {
            let verb = if event.on == Some(true) { "pinned" } else { "unpinned" };
            println!("* {who} {verb} [{target}]");
        }
        Kind::Member => {
            let user = event.user.as_ref().map_or("somebody", |user| &user.username);
            let change = event.change.map_or_else(String::new, |c| format!("{c:?}").to_lowercase());
            println!("* {user} {change}");
        }
        Kind::Room => println!("* {who} changed the room"),
    }
    // Output that goes to a pipe is line by line as well.
    std::io::stdout().flush().ok();
}
