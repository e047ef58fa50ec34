//! The schemas of every frame and body, made from the types themselves (utoipa), and the table of
//! frames that AsyncAPI and the reference are made from. Only servers build it: feature `schema`.
//!
//! It says shapes. Bounds (lengths, ranges) are the domain's, and whoever knows them adds them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, schema::Schema};
use utoipa::{PartialSchema, ToSchema};

mod examples;
mod frames;
mod shapes;

pub use frames::{Frame, client_frames, server_frames, simple_client_frames, simple_server_frames};

/// Where references to named schemas point, in OpenAPI and AsyncAPI alike.
pub const COMPONENTS: &str = "#/components/schemas/";

/// Named types that are one plain value each: they stand where they are used.
const PLAIN: [&str; 7] = ["Text", "Timestamp", "NodeId", "ShardId", "Epoch", "Gen", "Seq"];

/// Schemas by their names. A reference in one of them is to another one of them.
#[derive(Debug, Clone, Default)]
pub struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// Takes in a type and every type that it is made of; gives its name.
    ///
    /// # Panics
    /// When two types of one name differ: a reference could not tell them apart.
    pub fn add<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        self.put(name.clone(), T::schema());
        self.add_parts::<T>();
        name
    }

    /// A type's own schema, with the types that it is made of taken in.
    pub fn describe<T: ToSchema>(&mut self) -> Value {
        self.add_parts::<T>();
        let mut schema = value(&T::schema());
        tidy(&mut schema);
        schema
    }

    fn add_parts<T: ToSchema>(&mut self) {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        for (name, schema) in parts {
            self.put(name, schema);
        }
    }

    fn put(&mut self, name: String, schema: RefOr<Schema>) {
        if PLAIN.contains(&name.as_str()) {
            return;
        }
        let mut schema = value(&schema);
        tidy(&mut schema);
        let known = self.0.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*known, schema, "two types have the name {name}");
    }

    /// The schemas as one JSON object.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0.into_iter().collect())
    }
}

fn value(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

/// Puts plain values where they are used, and says the bounds of Rust's integers.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                tidy(inner);
            }
            plain(fields);
            integer(fields);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn plain(fields: &mut Map<String, Value>) {
    let name = fields.get("$ref").and_then(Value::as_str);
    let Some(name) = name.and_then(|name| name.strip_prefix(COMPONENTS)) else {
        nullable(fields);
        return;
    };
    let schema = match name {
        "Text" => value(&<crate::Text<'_> as PartialSchema>::schema()),
        "Timestamp" => value(&crate::Timestamp::schema()),
        "NodeId" | "Epoch" | "Gen" | "Seq" => json!({"type": "integer", "minimum": 0}),
        "ShardId" => json!({"type": "integer", "minimum": 0, "maximum": 255}),
        _ => return,
    };
    fields.remove("$ref");
    for (key, inner) in schema.as_object().into_iter().flatten() {
        fields.entry(key.clone()).or_insert_with(|| inner.clone());
    }
}

/// "A plain value or null" is said in one schema, and what is said about a field stands beside it.
fn nullable(fields: &mut Map<String, Value>) {
    let Some(Value::Array(either)) = fields.get_mut("oneOf") else { return };
    let is_null = |one: &Value| one.get("type").is_some_and(|kind| kind == "null");
    if either.len() != 2 || !either.iter().any(is_null) {
        return;
    }
    let Some(Value::Object(one)) = either.iter_mut().find(|one| !is_null(one)) else { return };
    let about = one.remove("description");
    let is_plain = one.get("type").is_some_and(|kind| kind == "string" || kind == "integer")
        && !one.contains_key("enum");
    let one = is_plain.then(|| one.clone());
    if let Some(about) = about {
        fields.entry("description").or_insert(about);
    }
    if let Some(mut one) = one {
        let kind = one.remove("type");
        fields.remove("oneOf");
        fields.extend(one);
        fields.insert("type".into(), json!([kind, "null"]));
    }
}

/// utoipa writes `u64` as an int64 from 0 on; what the parser takes is the whole range.
fn integer(fields: &mut Map<String, Value>) {
    let width = fields.get("format").and_then(Value::as_str);
    let is_unsigned = fields.get("minimum").is_some_and(|minimum| minimum == 0);
    let most = match width {
        Some("int64") if is_unsigned => u64::MAX,
        Some("int32") if is_unsigned => u64::from(u32::MAX),
        _ => return,
    };
    fields.remove("format");
    fields.entry("maximum").or_insert_with(|| json!(most));
}

/// A stand-alone JSON Schema (2020-12) for the frames of one direction.
#[must_use]
pub fn json_schema(title: &str, frames: &[Frame], schemas: Schemas) -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "anyOf": frames.iter().map(|frame| frame.schema.clone()).collect::<Vec<_>>(),
        "$defs": schemas.into_value(),
    });
    point_to_defs(&mut schema);
    schema
}

fn point_to_defs(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner {
                    Value::String(to) if key == "$ref" => *to = to.replace(COMPONENTS, "#/$defs/"),
                    inner => point_to_defs(inner),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_defs),
        _ => {}
    }
}
