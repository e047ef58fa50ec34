//! The schemas of the types whose text is written by hand.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{COMPONENTS, Schemas};
use crate::client::Cursors;
use crate::server::{Page, Posted, RoomAnswer, RoomAnswers};
use crate::{Text, Timestamp};

impl PartialSchema for Text<'_> {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).into()
    }
}

impl ToSchema for Text<'_> {
    fn name() -> Cow<'static, str> {
        "Text".into()
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .into()
    }
}

impl ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        "Timestamp".into()
    }
}

fn read(schema: Value) -> RefOr<Schema> {
    RefOr::T(serde_json::from_value(schema).expect("a schema written in this file"))
}

fn id() -> Value {
    json!({"type": "string", "format": "uuid"})
}

impl PartialSchema for Cursors {
    fn schema() -> RefOr<Schema> {
        read(json!({
            "type": "object",
            "description": "From room to where the client stands in it, or {} for the head.",
            "propertyNames": id(),
            "additionalProperties": {"$ref": format!("{COMPONENTS}Cursor")},
        }))
    }
}

impl ToSchema for Cursors {
    fn name() -> Cow<'static, str> {
        "Cursors".into()
    }

    fn schemas(into: &mut Vec<(String, RefOr<Schema>)>) {
        let cursor = json!({
            "type": "object",
            "description": "The generation and the last event that the client has: both, or neither for the head.",
            "properties": {
                "gen": {"type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX},
                "seq": {"type": ["integer", "null"], "minimum": 0, "maximum": u64::MAX},
            },
            "additionalProperties": false,
        });
        into.push(("Cursor".into(), read(cursor)));
    }
}

impl PartialSchema for RoomAnswers<'_> {
    fn schema() -> RefOr<Schema> {
        read(json!({
            "type": "object",
            "description": "From room to what became of it.",
            "propertyNames": id(),
            "additionalProperties": {"$ref": format!("{COMPONENTS}RoomAnswer")},
        }))
    }
}

impl ToSchema for RoomAnswers<'_> {
    fn name() -> Cow<'static, str> {
        "RoomAnswers".into()
    }

    fn schemas(into: &mut Vec<(String, RefOr<Schema>)>) {
        into.push(("RoomAnswer".into(), RoomAnswer::schema()));
        RoomAnswer::schemas(into);
    }
}

/// The four shapes of `ok`.
pub(super) fn ok(schemas: &mut Schemas) -> Value {
    let reference = |name: String| json!({"$ref": format!("{COMPONENTS}{name}")});
    let posted = reference(schemas.add::<Posted>());
    let page = reference(schemas.add::<Page<'_>>());
    let rooms = reference(schemas.add::<RoomAnswers<'_>>());
    let base = |more: &[&str]| {
        let required = [&["type", "id"], more].concat();
        json!({
            "type": "object",
            "properties": {
                "type": {"const": "ok"},
                "id": {"type": "integer", "minimum": 0, "maximum": u64::MAX, "description": "The client's number."},
            },
            "required": required,
        })
    };
    let mut subscribed = base(&["rooms"]);
    subscribed["properties"]["rooms"] = rooms;
    subscribed["title"] = json!("subscribe");
    let mut done = base(&[]);
    done["title"] = json!("done");
    // A shape without the fields that tell the others apart.
    done["not"] = json!({"anyOf": [
        {"required": ["seq"]}, {"required": ["rooms"]}, {"required": ["messages"]},
    ]});
    json!({
        "description": "The one success for the request with this `id`. Which shape it has follows from the request.",
        "anyOf": [
            {"title": "a change", "allOf": [base(&["seq"]), posted]},
            subscribed,
            {"title": "history", "allOf": [base(&["messages"]), page]},
            done,
        ],
    })
}
