//! Messages: sending, history, and what becomes of them.

use parlance_actors::limits::{EMOJI_BYTES_MAX, PAGE_MAX};
use parlance_actors::vocab::Code;
use parlance_protocol::View;
use parlance_protocol::http::{Page, Pins, Posted, SendMessage};
use parlance_protocol::simple::SimpleMessage;
use serde_json::{Value, json};
use utoipa::ToSchema as _;

use super::accounts::ada;
use super::call::{Book, Call, JSON, need, raw};
use super::rooms::{ROOM, change, of_room, posted};
use crate::http::messages::Edit;

fn seq() -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": u64::MAX, "example": 58})
}

/// A change of one message.
fn of_message(call: Call<'_>) -> Call<'_> {
    change(call)
        .path_part("seq", "The message's place in the room's log.", seq())
        .refuses(Code::NotFound, "There is no such message, or it was deleted.")
        .gives::<Posted>(200, "The event that says so.", posted())
}

fn of_reaction(call: Call<'_>) -> Call<'_> {
    let emoji =
        json!({"type": "string", "minLength": 1, "maxLength": EMOJI_BYTES_MAX, "example": "👍"});
    of_message(call).path_part("emoji", "The emoji or its short name.", emoji).no_body()
}

pub(super) fn describe(book: &mut Book) {
    book.about(
        "Messages",
        "The log of a room. A message is `seq` in it; so is everything that happens to one.",
    );
    change(book.post("/api/rooms/{room}/messages", "Send a message"))
        .about("Answered after the commit. Repeat it with the same key until there is an answer.")
        .takes::<SendMessage<'_>>(
            json!({"key": "0b6f0a3e-3f6e-4f0e-9b52-0d8a4f1c2a11", "body": "hello"}),
        )
        .gives::<Posted>(201, "It is committed.", posted())
        .done();
    history(book);
    of_room(book.get("/api/rooms/{room}/pins", "What is pinned in a room"))
        .about("The newest pin first, at most 100, in their latest state.")
        .gives::<Pins<'_>>(200, "The messages.", json!({"messages": [entry()]}))
        .refuses(Code::Forbidden, "Join the room first.")
        .done();
    of_message(
        book.patch("/api/rooms/{room}/messages/{seq}", "Replace the body of one's own message"),
    )
    .takes::<Edit<'_>>(json!({"body": "hello, all"}))
    .done();
    of_message(book.delete("/api/rooms/{room}/messages/{seq}", "Take a message away"))
        .about("One's own; a moderator's right for those of others.")
        .no_body()
        .done();
    let path = "/api/rooms/{room}/messages/{seq}/reactions/{emoji}";
    of_reaction(book.put(path, "Put an emoji on a message")).done();
    of_reaction(book.delete(path, "Take an emoji off a message")).done();
    let path = "/api/rooms/{room}/messages/{seq}/pin";
    of_message(book.put(path, "Pin a message")).no_body().done();
    of_message(book.delete(path, "Unpin a message")).no_body().done();
    lobby(book);
}

fn entry() -> Value {
    json!({
        "seq": 58, "kind": "message", "sender": ada(), "sent_at": "2026-06-21T00:00:00.000Z",
        "key": "0b6f0a3e-3f6e-4f0e-9b52-0d8a4f1c2a11", "body": "hello",
        "reactions": [{"emoji": "👍", "users": [ada()]}],
    })
}

fn history(book: &mut Book) {
    let view = book.schema::<View>();
    let limit = json!({"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 50});
    let example = json!({
        "room": ROOM, "gen": 1, "more": false, "as_of": 58, "first": 1,
        "messages": [entry()],
    });
    of_room(book.get("/api/rooms/{room}/messages", "A page of history"))
        .about("The last entries, or those right before or right after a seq; always ascending.")
        .query("before", "The ones right before this seq.", seq())
        .query("after", "The ones right after this seq. Not together with `before`.", seq())
        .query("limit", "How many at most.", limit)
        .query("view", &format!("`folded` (the default): messages in their latest state. `log`: every event. See {}.", View::name()), json!({"$ref": view.ref_location}))
        .gives::<Page<'_>>(200, "The page.", example)
        .refuses(Code::Forbidden, "Join the room first.")
        .done();
}

/// Simple chat's one HTTP call.
fn lobby(book: &mut Book) {
    let item = book.schema::<SimpleMessage<'_>>();
    let schema = raw(json!({"type": "array", "items": {"$ref": item.ref_location}}));
    let example =
        json!([{"username": "ada", "content": "hi", "created_at": "2026-06-21T00:00:00.000Z"}]);
    let limit = json!({"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": 50});
    book.get("/api/chat/messages", "The last messages of the lobby, for simple chat")
        .about("Oldest first. Only where simple chat is on (`http.simple_chat`).")
        .or_by(need("bearer"))
        .or_by(need("token"))
        .query("limit", "How many at most.", limit)
        .query("token", "The access token, where headers cannot be set.", json!({"type": "string"}))
        .answer(200, "The messages.", JSON, schema, Some(example))
        .refuses(Code::Unauthenticated, "No access token, or one that is wrong or has run out.")
        .served()
        .done();
}
