//! Lengths and ranges in the schemas, from the constants that the server checks with. Where it
//! counts bytes, the schema's characters are an upper bound.

use parlance_actors::limits::{
    ABOUT_CHARS_MAX, BODY_BYTES_MAX, DISPLAY_NAME_CHARS_MAX, EMOJI_BYTES_MAX, ENC_BODY_BYTES_MAX,
    PAGE_MAX, ROOM_NAME_CHARS_MAX, SLOW_MODE_SECONDS_MAX, SUBSCRIBE_ROOMS_MAX, TOPIC_CHARS_MAX,
    USERNAME_CHARS_MAX, USERNAME_CHARS_MIN, WATCH_USERS_MAX,
};
use serde_json::{Value, json};

use crate::limits::{NAME_BYTES_MAX, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, TOKEN_BYTES_MAX};

/// In bodies: schema, field, keyword, value.
const BODIES: &[(&str, &str, &str, u64)] = &[
    ("Credentials", "username", "minLength", USERNAME_CHARS_MIN as u64),
    ("Credentials", "username", "maxLength", USERNAME_CHARS_MAX as u64),
    ("Credentials", "password", "minLength", PASSWORD_CHARS_MIN as u64),
    ("Credentials", "password", "maxLength", PASSWORD_CHARS_MAX as u64),
    ("Login", "username", "minLength", 1),
    ("Login", "username", "maxLength", NAME_BYTES_MAX as u64),
    ("ChangePassword", "new_password", "minLength", PASSWORD_CHARS_MIN as u64),
    ("ChangePassword", "new_password", "maxLength", PASSWORD_CHARS_MAX as u64),
    ("Refresh", "refresh_token", "maxLength", TOKEN_BYTES_MAX as u64),
    ("ChangeProfile", "name", "maxLength", DISPLAY_NAME_CHARS_MAX as u64),
    ("ChangeProfile", "about", "maxLength", ABOUT_CHARS_MAX as u64),
    ("CreateRoom", "name", "minLength", 1),
    ("CreateRoom", "name", "maxLength", ROOM_NAME_CHARS_MAX as u64),
    ("CreateRoom", "topic", "maxLength", TOPIC_CHARS_MAX as u64),
    ("ChangeRoom", "name", "minLength", 1),
    ("ChangeRoom", "name", "maxLength", ROOM_NAME_CHARS_MAX as u64),
    ("ChangeRoom", "topic", "maxLength", TOPIC_CHARS_MAX as u64),
    ("ChangeRoom", "slow_mode_seconds", "maximum", SLOW_MODE_SECONDS_MAX as u64),
    ("SendMessage", "body", "minLength", 1),
    ("SendMessage", "body", "maxLength", ENC_BODY_BYTES_MAX as u64),
    ("EditMessage", "body", "minLength", 1),
    ("EditMessage", "body", "maxLength", ENC_BODY_BYTES_MAX as u64),
];

/// In client frames: type, field, keyword, value.
const FRAMES: &[(&str, &str, &str, u64)] = &[
    ("subscribe", "rooms", "maxProperties", SUBSCRIBE_ROOMS_MAX as u64),
    ("unsubscribe", "rooms", "maxItems", SUBSCRIBE_ROOMS_MAX as u64),
    ("send", "body", "minLength", 1),
    ("send", "body", "maxLength", ENC_BODY_BYTES_MAX as u64),
    ("edit", "body", "minLength", 1),
    ("edit", "body", "maxLength", ENC_BODY_BYTES_MAX as u64),
    ("react", "emoji", "minLength", 1),
    ("react", "emoji", "maxLength", EMOJI_BYTES_MAX as u64),
    ("unreact", "emoji", "minLength", 1),
    ("unreact", "emoji", "maxLength", EMOJI_BYTES_MAX as u64),
    ("history", "limit", "minimum", 1),
    ("history", "limit", "maximum", PAGE_MAX as u64),
    ("presence", "watch", "maxItems", WATCH_USERS_MAX as u64),
];

/// Puts them into the named schemas of bodies.
pub(super) fn apply(schemas: &mut Value) {
    for (schema, field, keyword, bound) in BODIES {
        put(&mut schemas[*schema], field, keyword, *bound);
    }
    for schema in ["SendMessage", "EditMessage"] {
        note_body(&mut schemas[schema]);
    }
    // Rooms are made public or private; the other two kinds make themselves.
    schemas["CreateRoom"]["properties"]["kind"] = json!({"type": "string", "enum": ["public", "private"], "description": "Who may find and join it."});
}

/// Puts them into the schema of a client frame.
pub(super) fn apply_to_frame(name: &str, schema: &mut Value) {
    for (frame, field, keyword, bound) in FRAMES {
        if *frame == name {
            put(schema, field, keyword, *bound);
        }
    }
    if matches!(name, "send" | "edit") {
        note_body(schema);
    }
}

fn put(schema: &mut Value, field: &str, keyword: &str, bound: u64) {
    let field = &mut schema["properties"][field];
    assert!(field.is_object(), "a bound of a field that there is not");
    field[keyword] = json!(bound);
}

fn note_body(schema: &mut Value) {
    schema["properties"]["body"]["description"] = json!(format!(
        "The text, 1 to {BODY_BYTES_MAX} bytes, or ciphertext with `enc`, 1 to {ENC_BODY_BYTES_MAX} bytes."
    ));
}
