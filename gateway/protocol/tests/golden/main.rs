//! The text of every frame, to the letter: clients in other languages are written against it. A
//! change here is a change of the protocol.

mod client;
mod http;
#[cfg(feature = "schema")]
mod schema;
mod server;
mod simple;

use parlance_protocol::Timestamp;
use uuid::Uuid;

const ROOM: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);
const KEY: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0002);
const ANN: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0003);
const AT: Timestamp = Timestamp(1_767_225_599_999);

/// Writes the ids in a golden text as R, K and A, so that the lines stay readable.
fn short(text: &str) -> String {
    text.replace(&ROOM.to_string(), "R")
        .replace(&KEY.to_string(), "K")
        .replace(&ANN.to_string(), "A")
        .replace(&AT.to_string(), "T")
}

fn long(text: &str) -> String {
    text.replace("\"R\"", &format!("\"{ROOM}\""))
        .replace("\"K\"", &format!("\"{KEY}\""))
        .replace("\"A\"", &format!("\"{ANN}\""))
        .replace("\"T\"", &format!("\"{AT}\""))
}
