//! Rooms, their members and read marks.

use parlance_actors::limits::{LIST_MAX, ROOM_NAME_CHARS_MAX};
use parlance_actors::vocab::Code;
use parlance_protocol::http::{ChangeRoom, CreateRoom, Members, Posted, PutMember, Room, Rooms};
use serde_json::{Value, json};

use super::accounts::{ada, uuid};
use super::call::{Book, Call};
use crate::http::rooms::{Direct, Read};

pub(super) const ROOM: &str = "0198a0c1-5e00-7000-8000-000000000001";
const AT: &str = "2026-06-21T00:00:00.000Z";

fn room() -> Value {
    json!({
        "id": ROOM, "name": "engines", "kind": "public", "topic": "steam", "slow_mode_seconds": 0,
        "created_at": AT, "role": "owner", "read": 57, "head": 58, "unread": 1, "mentions": 1, "last_at": AT,
    })
}

pub(super) fn posted() -> Value {
    json!({"seq": 58, "sent_at": AT})
}

/// A call about one room.
pub(super) fn of_room(call: Call<'_>) -> Call<'_> {
    call.signed()
        .path_part("room", "The room's id.", uuid())
        .refuses(Code::NotFound, "There is no such room, or none that the caller may know of.")
}

/// A change of a room's log.
pub(super) fn change(call: Call<'_>) -> Call<'_> {
    of_room(call)
        .keyed()
        .refuses(Code::Forbidden, "The caller's role does not allow it, or they are not a member.")
        .refuses(Code::Conflict, "The room or the message is not in a state for it, or the key was used for something else.")
        .refuses(Code::RateLimited, "More changes than a session may make in a time, or the room's slow mode.")
}

fn paged(call: Call<'_>) -> Call<'_> {
    let limit = json!({"type": "integer", "minimum": 1, "maximum": LIST_MAX, "default": LIST_MAX});
    call.query("after", "The last id of the page before.", uuid()).query(
        "limit",
        "How many at most.",
        limit,
    )
}

pub(super) fn describe(book: &mut Book) {
    book.about("Rooms", "Rooms, who is in them, and how far they are read.");
    rooms(book);
    members(book);
}

fn rooms(book: &mut Book) {
    book.post("/api/rooms", "Make a room")
        .about("The caller owns it. The same key makes one room, however often it is sent.")
        .signed()
        .keyed()
        .takes::<CreateRoom<'_>>(json!({"name": "engines", "kind": "public", "topic": "steam"}))
        .gives::<Room<'_>>(201, "The room.", room())
        .refuses(Code::NameTaken, "Another public room has the name, or it is the lobby's.")
        .refuses(Code::Conflict, "The key was used for something else.")
        .done();
    paged(book.get("/api/rooms", "The caller's rooms and the lobby").signed())
        .about("Ascending by id, in pages: ask again with `after` while there is `more`.")
        .gives::<Rooms<'_>>(200, "A page.", json!({"rooms": [room()], "more": false}))
        .done();
    let prefix = json!({"type": "string", "maxLength": ROOM_NAME_CHARS_MAX, "example": "eng"});
    let mut shown = room();
    shown["members"] = json!(3);
    paged(book.get("/api/rooms/browse", "Public rooms, joined or not").signed())
        .about("Ascending by name, in pages: ask again with `after` and the last id while there is `more`.")
        .query("prefix", "Only names that begin so; upper and lower case are the same.", prefix)
        .gives::<Rooms<'_>>(200, "A page.", json!({"rooms": [shown], "more": false}))
        .done();
    of_room(book.get("/api/rooms/{room}", "One room"))
        .gives::<Room<'_>>(200, "The room.", room())
        .done();
    of_room(book.patch("/api/rooms/{room}", "Change a room"))
        .about("What is absent stays. Setting the same state twice changes it once.")
        .takes::<ChangeRoom<'_>>(json!({"topic": "steam and coal"}))
        .gives::<Room<'_>>(200, "The room from now on.", room())
        .refuses(Code::Forbidden, "Only a moderator changes a room.")
        .refuses(Code::NameTaken, "Another public room has the name, or it is the lobby's.")
        .refuses(Code::Conflict, "Rooms of this kind do not change so.")
        .done();
    book.post("/api/direct", "Open the conversation with another user")
        .about("The same room from either side. Give `user` or `username`.")
        .signed()
        .takes::<Direct<'_>>(json!({"username": "ada"}))
        .gives::<Room<'_>>(
            200,
            "The room.",
            json!({
                "id": ROOM, "name": null, "kind": "direct", "topic": "", "slow_mode_seconds": 0,
                "role": "member", "read": 0, "head": 0, "unread": 0, "mentions": 0, "last_at": null, "with": ada(),
            }),
        )
        .refuses(Code::NotFound, "There is no such user.")
        .done();
    of_room(book.put("/api/rooms/{room}/read", "Move the caller's read mark forward"))
        .takes::<Read>(json!({"seq": 58}))
        .gives_nothing(204, "It is there, or was further.")
        .refuses(Code::Forbidden, "Join the room first.")
        .done();
}

fn members(book: &mut Book) {
    change(book.post("/api/rooms/{room}/join", "Become a member of a public room"))
        .no_body()
        .gives::<Posted>(200, "The event that says so.", posted())
        .done();
    change(book.post("/api/rooms/{room}/leave", "Stop being a member"))
        .no_body()
        .gives::<Posted>(200, "The event that says so.", posted())
        .done();
    let example = json!({"members": [{"user": ada(), "role": "owner"}], "more": false});
    paged(of_room(book.get("/api/rooms/{room}/members", "Who is in a room")))
        .about("Ascending by id, in pages.")
        .gives::<Members<'_>>(200, "A page.", example)
        .refuses(Code::Forbidden, "Join the room first.")
        .done();
    change(book.put("/api/rooms/{room}/members/{user}", "Add a member, or change their role"))
        .about(
            "Without a role somebody who is in the room already keeps theirs: that is a conflict.",
        )
        .path_part("user", "The user's id.", uuid())
        .takes::<PutMember>(json!({"role": "moderator"}))
        .gives::<Posted>(200, "The event that says so.", posted())
        .done();
    change(book.delete("/api/rooms/{room}/members/{user}", "Remove a member"))
        .path_part("user", "The user's id.", uuid())
        .no_body()
        .gives::<Posted>(200, "The event that says so.", posted())
        .done();
}
