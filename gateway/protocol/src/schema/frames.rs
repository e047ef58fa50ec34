//! The table of frames: each with its schema, what it is for, and examples that are the text of
//! real values.

use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Schemas, examples, shapes};
use crate::simple::{SimpleClientFrame, SimpleServerFrame};
use crate::{client, server};

/// One frame of the protocol.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Its `type`.
    pub name: &'static str,
    /// What it is for.
    pub summary: &'static str,
    /// What comes back for it, or what to do on it.
    pub then: &'static str,
    /// Its JSON Schema; references are to [`super::COMPONENTS`].
    pub schema: Value,
    /// Whole frames.
    pub examples: Vec<Value>,
}

const POSTED: &str = "`ok` with `seq` and `sent_at` after the commit. The same `key` again gives the same answer, with `repeated`.";
const DONE: &str = "`ok`";

/// Every client frame, in the order of [`client::TYPES`].
pub fn client_frames(schemas: &mut Schemas) -> Vec<Frame> {
    use client::{
        Delete, Edit, Hello, History, Membership, Pin, Ping, Presence, React, Read, Send,
        Subscribe, Typing, Unsubscribe,
    };
    let mut all = examples::client();
    let mut frame = |name, summary, then, schema: fn(&mut Schemas) -> Value| {
        let examples = take(&mut all, name);
        Frame { name, summary, then, schema: tagged(schema(schemas), name), examples }
    };
    vec![
        frame("hello", "The first frame: who is there.", "`welcome`", own::<Hello<'_>>),
        frame(
            "subscribe",
            "Follow rooms, from a cursor or from the head.",
            "`ok` with `rooms`; then the missing events or a `gap` for each room, and what comes live",
            own::<Subscribe>,
        ),
        frame("unsubscribe", "Follow rooms no more.", DONE, own::<Unsubscribe>),
        frame("send", "Say something.", POSTED, own::<Send<'_>>),
        frame("edit", "Replace the body of one's own message.", POSTED, own::<Edit<'_>>),
        frame("delete", "Take a message away.", POSTED, own::<Delete>),
        frame("react", "Put an emoji on a message.", POSTED, own::<React<'_>>),
        frame("unreact", "Take an emoji off a message.", POSTED, own::<React<'_>>),
        frame("pin", "Pin a message, or unpin it.", POSTED, own::<Pin>),
        frame("join", "Become a member of a public room.", POSTED, own::<Membership>),
        frame("leave", "Stop being a member.", POSTED, own::<Membership>),
        frame("history", "Read a page of history.", "`ok` with the page", own::<History>),
        frame("read", "Move the read mark forward.", DONE, own::<Read>),
        frame("typing", "Tell the room that the user is typing.", DONE, own::<Typing>),
        frame(
            "presence",
            "Say one's own status, and whose presence to watch (replaces the earlier list).",
            "`ok`, and a `presence` for each watched user",
            own::<Presence>,
        ),
        frame("ping", "Nothing: keeps the session alive.", DONE, own::<Ping>),
    ]
}

/// Every server frame.
pub fn server_frames(schemas: &mut Schemas) -> Vec<Frame> {
    use server::{Bye, Error, Gap, Me, Presence, RoomEvent, Typing, Welcome};
    let mut all = examples::server();
    let mut frame = |name, summary, then, schema: fn(&mut Schemas) -> Value| {
        let examples = take(&mut all, name);
        let schema = match name {
            "ok" => schema(schemas),
            _ => tagged(schema(schemas), name),
        };
        Frame { name, summary, then, schema, examples }
    };
    vec![
        frame(
            "welcome",
            "The session began.",
            "Send something at least every `heartbeat_ms`.",
            own::<Welcome<'_>>,
        ),
        frame("ok", "The one success for the request with this `id`.", "", shapes::ok),
        frame(
            "error",
            "The one refusal for the request with this `id`, or of a frame that had none.",
            "The error-code table says whether repeating helps.",
            own::<Error<'_>>,
        ),
        frame(
            "event",
            "A room's event, after its commit, in the order of `seq` without gaps.",
            "Remember `gen` and `seq`: they are the cursor.",
            own::<RoomEvent<'_>>,
        ),
        frame(
            "gap",
            "Events that were not sent.",
            "Page them from history with `view: log`.",
            own::<Gap>,
        ),
        frame("me", "The user's own feed, on all of their devices.", "", own::<Me>),
        frame("typing", "Somebody is typing.", "Show it for some seconds.", own::<Typing<'_>>),
        frame("presence", "A watched user's presence.", "", own::<Presence>),
        frame(
            "bye",
            "The session ends; the close code follows.",
            "Come back after `retry_after_ms`, if it is there.",
            own::<Bye<'_>>,
        ),
    ]
}

/// What a client of simple chat says.
pub fn simple_client_frames(schemas: &mut Schemas) -> Vec<Frame> {
    vec![Frame {
        name: "message",
        summary: "Say something in the lobby.",
        then: "Nothing; it comes back as a `message` to everybody.",
        schema: schemas.describe::<SimpleClientFrame<'_>>(),
        examples: vec![json!({"type": "message", "content": "hi"})],
    }]
}

/// What a client of simple chat hears.
pub fn simple_server_frames(schemas: &mut Schemas) -> Vec<Frame> {
    let whole = schemas.describe::<SimpleServerFrame<'_>>();
    let of = |name: &str| {
        let shapes = whole["oneOf"].as_array().into_iter().flatten();
        let mut fitting = shapes.filter(|shape| tag(shape) == Some(name)).cloned();
        fitting.next().expect("a variant of the frame")
    };
    let mut all = examples::simple_server();
    let mut frame = |name, summary| {
        let examples = take(&mut all, name);
        Frame { name, summary, then: "", schema: of(name), examples }
    };
    vec![
        frame("message", "Somebody said something in the lobby."),
        frame("system", "A note of the server: who came or went, and what was refused."),
    ]
}

fn own<T: ToSchema>(schemas: &mut Schemas) -> Value {
    schemas.describe::<T>()
}

fn tag(shape: &Value) -> Option<&str> {
    let kind = &shape["properties"]["type"];
    kind["const"].as_str().or_else(|| kind["enum"][0].as_str())
}

/// The schema of a frame's fields with its `type`.
fn tagged(mut schema: Value, name: &str) -> Value {
    let kind = json!({"const": name});
    if let Some(parts) = schema.get_mut("allOf").and_then(Value::as_array_mut) {
        parts.push(json!({"type": "object", "properties": {"type": kind}, "required": ["type"]}));
        return schema;
    }
    schema["properties"]["type"] = kind;
    match schema.get_mut("required").and_then(Value::as_array_mut) {
        Some(required) => required.insert(0, json!("type")),
        None => schema["required"] = json!(["type"]),
    }
    schema
}

/// The examples of one type.
fn take(all: &mut Vec<Value>, name: &str) -> Vec<Value> {
    let (of_name, others) = all.drain(..).partition(|example| example["type"] == name);
    *all = others;
    of_name
}
