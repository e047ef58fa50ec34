//! The rooms of a `subscribe`: an object from room to cursor, in the order of the frame.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Where a client stands in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cursor {
    /// The generation that `seq` belongs to.
    pub r#gen: u64,
    /// The last event that the client has.
    pub seq: u64,
}

/// Rooms, each once, with a cursor or from the head.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursors(pub Vec<(Uuid, Option<Cursor>)>);

impl Serialize for Cursors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(room, cursor)| (room, Written(*cursor))))
    }
}

struct Written(Option<Cursor>);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(cursor) => cursor.serialize(serializer),
            None => serializer.collect_map(std::iter::empty::<((), ())>()),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadCursor {
    #[serde(default)]
    r#gen: Option<u64>,
    #[serde(default)]
    seq: Option<u64>,
}

impl<'de> Deserialize<'de> for Cursors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(CursorsVisitor)
    }
}

struct CursorsVisitor;

impl<'de> Visitor<'de> for CursorsVisitor {
    type Value = Cursors;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"an object from room to {"gen":…,"seq":…} or {}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cursors, A::Error> {
        // A frame's size is bounded before it is parsed, so this is too.
        let mut rooms = Vec::new();
        let mut seen = HashSet::new();
        while let Some(room) = map.next_key::<Uuid>()? {
            if !seen.insert(room) {
                return Err(A::Error::custom(format!("room {room} is there twice")));
            }
            let cursor = match map.next_value::<ReadCursor>()? {
                ReadCursor { r#gen: Some(r#gen), seq: Some(seq) } => Some(Cursor { r#gen, seq }),
                ReadCursor { r#gen: None, seq: None } => None,
                _ => {
                    let why = format!("room {room}: gen and seq go together, or {{}} for the head");
                    return Err(A::Error::custom(why));
                }
            };
            rooms.push((room, cursor));
        }
        Ok(Cursors(rooms))
    }
}
