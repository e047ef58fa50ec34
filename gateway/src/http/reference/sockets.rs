//! The sockets: their upgrade in OpenAPI, and their frames in AsyncAPI, JSON Schema and Markdown.

use parlance_actors::limits::{HEARTBEAT, SESSION_IDLE};
use parlance_actors::vocab::Code;
use parlance_protocol::schema::{
    Frame, Schemas, client_frames, json_schema as schema_of, server_frames, simple_client_frames,
    simple_server_frames,
};
use parlance_protocol::{SUBPROTOCOL, close};
use serde_json::{Map, Value, json};

use super::bounds;
use super::call::{Book, need};
use crate::limits::FRAME_BYTES_MAX;

const ABOUT: &str = "One JSON object a text frame, told apart by `type`. A client frame may carry a number `id`; it is then answered by exactly \
one `ok` or `error` with that `id` (`welcome` for `hello`). A client leaves aside types and fields that it does not know: they are a newer server's. \
The server refuses a client's unknown type or field with an `error` that names it.";

pub(super) fn describe(book: &mut Book) {
    book.about("Sockets", "WebSockets (RFC 6455). Their frames are in /api/asyncapi.json.");
    let text = || json!({"type": "string"});
    book.get("/ws", "Open a socket")
        .about("Subprotocol `parlance.v1` (or none). The credential is a bearer token, a ticket, a same-origin cookie, or the token in `hello`.")
        .or_by(need("bearer"))
        .or_by(need("ticket"))
        .or_by(need("cookie"))
        .query("ticket", "Of `POST /api/auth/ws-ticket`, instead of a header.", text())
        .gives_nothing(101, "The socket is open; say `hello`.")
        .refuses(Code::BadRequest, "It is no WebSocket handshake, the subprotocol is unknown, or there are two credentials.")
        .refuses(Code::Unauthenticated, "The token or ticket is wrong, used or has run out.")
        .refuses(Code::Forbidden, "Pages of that origin may not use this sign-in.")
        .served()
        .done();
    book.get("/ws/chat", "Open a socket of simple chat")
        .about("One room, the lobby. Only where simple chat is on (`http.simple_chat`).")
        .or_by(need("bearer"))
        .or_by(need("token"))
        .query("token", "The access token, where headers cannot be set.", text())
        .gives_nothing(101, "The socket is open.")
        .refuses(Code::BadRequest, "It is no WebSocket handshake.")
        .refuses(Code::Unauthenticated, "No access token, or one that is wrong or has run out.")
        .served()
        .done();
}

/// All frames and the schemas that they refer to.
struct All {
    client: Vec<Frame>,
    server: Vec<Frame>,
    simple_client: Vec<Frame>,
    simple_server: Vec<Frame>,
    schemas: Schemas,
}

fn all() -> All {
    let mut schemas = Schemas::default();
    let mut client = client_frames(&mut schemas);
    for frame in &mut client {
        bounds::apply_to_frame(frame.name, &mut frame.schema);
    }
    let server = server_frames(&mut schemas);
    let simple_client = simple_client_frames(&mut schemas);
    let simple_server = simple_server_frames(&mut schemas);
    All { client, server, simple_client, simple_server, schemas }
}

/// `{"client","server"}`: a JSON Schema of each direction.
pub(super) fn json_schema() -> Value {
    let All { client, server, schemas, .. } = all();
    json!({
        "client": schema_of("What a client says", &client, schemas.clone()),
        "server": schema_of("What the server says", &server, schemas),
    })
}

/// The AsyncAPI document.
pub(super) fn asyncapi() -> Value {
    let All { client, server, simple_client, simple_server, schemas } = all();
    let groups = [
        ("v1", "client", "receive", client),
        ("v1", "server", "send", server),
        ("simple", "client", "receive", simple_client),
        ("simple", "server", "send", simple_server),
    ];
    let mut messages = Map::new();
    let mut of_channel = [("v1", Map::new()), ("simple", Map::new())];
    let mut operations = Map::new();
    for (channel, from, action, frames) in groups {
        let mut refs = Vec::new();
        for frame in &frames {
            let key = format!("{channel}.{from}.{}", frame.name);
            messages.insert(key.clone(), message(frame));
            let place = of_channel.iter_mut().find(|(name, _)| *name == channel);
            let (_, known) = place.expect("both channels are there");
            known.insert(key.clone(), json!({"$ref": format!("#/components/messages/{key}")}));
            refs.push(json!({"$ref": format!("#/channels/{channel}/messages/{key}")}));
        }
        let operation = json!({
            "action": action,
            "channel": {"$ref": format!("#/channels/{channel}")},
            "messages": refs,
        });
        operations.insert(format!("{channel}.{from}"), operation);
    }
    let [(_, v1), (_, simple)] = of_channel;
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "Parlance's sockets", "version": super::VERSION, "description": ABOUT},
        "defaultContentType": "application/json",
        "channels": {
            "v1": {
                "address": "/ws",
                "title": SUBPROTOCOL,
                "description": channel_about(),
                "messages": v1,
                "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {
                    "ticket": {"type": "string", "description": "One-time ticket instead of a header."},
                }}}},
            },
            "simple": {
                "address": "/ws/chat",
                "title": "Simple chat",
                "description": "The lobby as plain messages: no keys, no cursors, no answers.",
                "messages": simple,
                "bindings": {"ws": {"method": "GET", "query": {"type": "object", "properties": {
                    "token": {"type": "string", "description": "The access token."},
                }}}},
            },
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas.into_value()},
        "x-close-codes": close::ALL.map(|(number, name, meaning)| {
            json!({"number": number, "name": name, "meaning": meaning})
        }),
        "x-error-codes": super::error_table(),
    })
}

fn channel_about() -> String {
    format!(
        "Subprotocol `{SUBPROTOCOL}`. A frame has at most {FRAME_BYTES_MAX} bytes. Say something every {} s; \
         after {} s of silence the session ends.",
        HEARTBEAT.as_secs(),
        SESSION_IDLE.as_secs(),
    )
}

fn message(frame: &Frame) -> Value {
    let examples = frame.examples.iter().map(|example| json!({"payload": example}));
    json!({
        "name": frame.name,
        "title": frame.name,
        "summary": frame.summary,
        "description": frame.then,
        "contentType": "application/json",
        "payload": frame.schema,
        "examples": examples.collect::<Vec<_>>(),
    })
}

/// The reference of frames, as Markdown.
pub(super) fn markdown() -> String {
    let All { client, server, simple_client, simple_server, .. } = all();
    let mut text = format!(
        "# Frames\n\nMade from the types in this folder; a test keeps it so. The same as JSON Schema: `GET /api/frames.json`, \
         as AsyncAPI: `GET /api/asyncapi.json`.\n\n{ABOUT}\n\n{}\n",
        channel_about()
    );
    for (title, frames) in [
        ("What a client says on /ws", client),
        ("What the server says on /ws", server),
        ("What a client says on /ws/chat", simple_client),
        ("What the server says on /ws/chat", simple_server),
    ] {
        text.push_str(&format!("\n## {title}\n"));
        for frame in &frames {
            text.push_str(&section(frame));
        }
    }
    text
}

fn section(frame: &Frame) -> String {
    let mut text = format!("\n### {}\n\n{}", frame.name, frame.summary);
    if !frame.then.is_empty() {
        text.push_str(&format!(" → {}", frame.then));
    }
    text.push_str("\n\n");
    let rows = fields(&frame.schema);
    if !rows.is_empty() {
        text.push_str("| field | type | |\n| --- | --- | --- |\n");
        text.push_str(&rows.concat());
        text.push('\n');
    }
    text.push_str("```json\n");
    for example in &frame.examples {
        text.push_str(&format!("{example}\n"));
    }
    text.push_str("```\n");
    text
}

/// A row for each field but `type`; of a frame that is put together, those of its own part.
fn fields(schema: &Value) -> Vec<String> {
    let parts = schema["allOf"].as_array();
    let objects = parts.map_or_else(|| vec![schema], |parts| parts.iter().collect());
    let mut rows = Vec::new();
    for object in objects {
        let required = object["required"].as_array().cloned().unwrap_or_default();
        if let Some(name) = object["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
            rows.push(format!("| *and the fields of {name}* | | |\n"));
        }
        for (name, field) in object["properties"].as_object().into_iter().flatten() {
            if name == "type" {
                continue;
            }
            let optional = if required.contains(&json!(name)) { "" } else { "?" };
            let about = field["description"].as_str().unwrap_or_default();
            rows.push(format!("| `{name}`{optional} | {} | {about} |\n", kind(field)));
        }
    }
    rows
}

/// The type in a few words. That an optional field may be null as well is left out.
fn kind(field: &Value) -> String {
    if let Some(name) = field["$ref"].as_str().and_then(|to| to.rsplit('/').next()) {
        return name.to_owned();
    }
    if let Some(either) = field["oneOf"].as_array().or_else(|| field["allOf"].as_array()) {
        let names = either.iter().filter(|one| one["type"] != "null").map(kind);
        return names.collect::<Vec<_>>().join(" or ");
    }
    let name = match &field["type"] {
        Value::Array(names) => names.iter().find(|name| **name != "null").and_then(Value::as_str),
        name => name.as_str(),
    };
    match (name, field["format"].as_str()) {
        (Some("array"), _) => format!("array of {}", kind(&field["items"])),
        (Some(name), Some(format)) => format!("{name} ({format})"),
        (Some(name), None) => name.to_owned(),
        (None, _) => "any".to_owned(),
    }
}
