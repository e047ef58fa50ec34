//! The four shapes of `ok`. Which one it is follows from the fields that are there.

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{Page, Posted};
use crate::{Entry, Text, Timestamp};

/// A success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ok<'a> {
    /// The client's number.
    pub id: u64,
    /// What it brought.
    pub answer: Answer<'a>,
}

/// What a success brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Done: no more fields.
    Done,
    /// `seq` and `sent_at`.
    Posted(Posted),
    /// `rooms`.
    Subscribed(RoomAnswers<'a>),
    /// `room`, `gen`, `messages`, `more`, `as_of` and `first`.
    History(Page<'a>),
}

/// What became of each room of a subscribe, in the order of its frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RoomAnswers<'a>(pub Vec<(Uuid, RoomAnswer<'a>)>);

/// What became of one room of a subscribe.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RoomAnswer<'a> {
    /// It is followed.
    Following {
        /// The generation of its history.
        r#gen: u64,
        /// The lowest seq that still has its content.
        first: u64,
        /// Everything up to it is replayed or in a gap, everything after it comes live.
        head: u64,
    },
    /// It is not.
    Refused {
        /// The machine-readable reason.
        #[serde(borrow)]
        error: Text<'a>,
        /// The reason for a person.
        #[serde(borrow, default)]
        detail: Text<'a>,
        /// When repeating it can help, in milliseconds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl Serialize for RoomAnswers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (room, answer) in &self.0 {
            map.serialize_entry(room, answer)?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RoomAnswers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RoomAnswersVisitor)
    }
}

struct RoomAnswersVisitor;

impl<'de> serde::de::Visitor<'de> for RoomAnswersVisitor {
    type Value = RoomAnswers<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object from room to what became of it")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(
        self,
        mut map: A,
    ) -> Result<RoomAnswers<'de>, A::Error> {
        let mut rooms = Vec::new();
        while let Some(entry) = map.next_entry()? {
            rooms.push(entry);
        }
        Result::Ok(RoomAnswers(rooms))
    }
}

impl Serialize for Ok<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = match &self.answer {
            Answer::Done => 1,
            Answer::Posted(_) => 4,
            Answer::Subscribed(_) => 2,
            Answer::History(page) => 7 + usize::from(page.stale),
        };
        let mut ok = serializer.serialize_struct("Ok", fields)?;
        ok.serialize_field("id", &self.id)?;
        match &self.answer {
            Answer::Done => {}
            Answer::Posted(posted) => {
                ok.serialize_field("seq", &posted.seq)?;
                ok.serialize_field("sent_at", &posted.sent_at)?;
                if posted.repeated {
                    ok.serialize_field("repeated", &true)?;
                }
            }
            Answer::Subscribed(rooms) => ok.serialize_field("rooms", rooms)?,
            Answer::History(page) => {
                ok.serialize_field("room", &page.room)?;
                ok.serialize_field("gen", &page.r#gen)?;
                ok.serialize_field("messages", &page.messages)?;
                ok.serialize_field("more", &page.more)?;
                ok.serialize_field("as_of", &page.as_of)?;
                ok.serialize_field("first", &page.first)?;
                if page.stale {
                    ok.serialize_field("stale", &true)?;
                }
            }
        }
        ok.end()
    }
}

/// Every field that an `ok` can have.
#[derive(Deserialize)]
struct Fields<'a> {
    id: u64,
    seq: Option<u64>,
    sent_at: Option<Timestamp>,
    #[serde(default)]
    repeated: bool,
    #[serde(borrow)]
    rooms: Option<RoomAnswers<'a>>,
    room: Option<Uuid>,
    r#gen: Option<u64>,
    #[serde(borrow)]
    messages: Option<Vec<Entry<'a>>>,
    more: Option<bool>,
    as_of: Option<u64>,
    first: Option<u64>,
    #[serde(default)]
    stale: bool,
}

impl<'de: 'a, 'a> Deserialize<'de> for Ok<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        let missing = serde::de::Error::missing_field;
        let answer = if let Some(messages) = fields.messages {
            Answer::History(Page {
                room: fields.room.ok_or_else(|| missing("room"))?,
                r#gen: fields.r#gen.ok_or_else(|| missing("gen"))?,
                messages,
                more: fields.more.ok_or_else(|| missing("more"))?,
                as_of: fields.as_of.ok_or_else(|| missing("as_of"))?,
                first: fields.first.ok_or_else(|| missing("first"))?,
                stale: fields.stale,
            })
        } else if let Some(rooms) = fields.rooms {
            Answer::Subscribed(rooms)
        } else if let Some(seq) = fields.seq {
            let sent_at = fields.sent_at.ok_or_else(|| missing("sent_at"))?;
            Answer::Posted(Posted { seq, sent_at, repeated: fields.repeated })
        } else {
            Answer::Done
        };
        Result::Ok(Self { id: fields.id, answer })
    }
}
