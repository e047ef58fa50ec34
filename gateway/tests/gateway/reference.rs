//! The API's description against the API: routes, examples, codes, the page and the generated files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use parlance_actors::ports::cluster::RoomLoad;
use parlance_actors::vocab::{Code, NodeId, RoomId, RoomRef, TenantId};
use parlance_gateway::{asyncapi_document, errors_markdown, frames_markdown, openapi_document};
use serde_json::{Value, json};

use crate::cluster::administrator;
use crate::harness::{Server, text};

/// Paths that stand in the document and are there only when they are switched on.
const OPTIONAL: [&str; 1] = ["/metrics"];

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// A path with its parameters filled in.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{room}" | "{user}" => "01900000-0000-7000-8000-000000000001",
        "{file}" => "docs.css",
        part if part.starts_with('{') => "1",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let document = openapi_document();
    let methods = |item: &Value| object(item).map(|(method, _)| method.to_uppercase()).collect();
    object(&document["paths"]).map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn every_route_is_described_and_every_description_has_its_route() {
    let server = Server::start().await;
    let mut described = documented();
    for path in &server.paths {
        // The router itself says which methods a path has.
        let reply = server.call("TRACE", &filled(path), "", None).await;
        assert_eq!(reply.status, 405, "{path}");
        let allow = reply.headers["allow"].to_str().expect("text");
        let routed: BTreeSet<String> =
            allow.split(',').filter(|method| *method != "HEAD").map(str::to_owned).collect();
        let found = described.remove(*path).unwrap_or_default();
        assert_eq!(found, routed, "{path}: the document has the first, the router the second");
    }
    let left: Vec<_> = described.keys().filter(|path| !OPTIONAL.contains(&&***path)).collect();
    assert!(left.is_empty(), "described and not routed: {left:?}");
}

#[tokio::test]
async fn the_short_page_names_every_call() {
    let page = Server::start().await.get("/api", "").await;
    let page = String::from_utf8(page.body.to_vec()).expect("text");
    let (_, list) = page.split_once("<pre>").expect("a list");
    let named: BTreeSet<(&str, &str)> = list
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(method, rest)| Some((method, rest.split_whitespace().next()?)))
        .map(|(method, path)| (method, path.split('?').next().unwrap_or(path)))
        .collect();
    let all = documented();
    let all =
        all.iter().flat_map(|(path, methods)| methods.iter().map(move |one| (&**one, &**path)));
    // Not itself, nor other pages.
    let expected: BTreeSet<(&str, &str)> = all
        .filter(|(_, path)| path.matches('/').count() > 1 && !path.starts_with("/docs"))
        .collect();
    let missing: Vec<_> = expected.difference(&named).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let others =
        named.difference(&expected).filter(|(_, path)| !["/ws", "/metrics"].contains(path));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&(&str, &str)>::new());
}

/// Every schema with the examples that stand beside it.
fn examples(at: &Value, found: &mut Vec<(Value, Value)>) {
    if at["schema"].is_object() {
        let one = at.get("example").cloned();
        let more = object(&at["examples"]).map(|(_, example)| example["value"].clone());
        found.extend(one.into_iter().chain(more).map(|example| (at["schema"].clone(), example)));
    }
    match at {
        Value::Object(fields) => fields.values().for_each(|inner| examples(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| examples(inner, found)),
        _ => {}
    }
}

#[test]
fn examples_of_bodies_match_their_schemas() {
    let document = openapi_document();
    let mut found = Vec::new();
    examples(&document["paths"], &mut found);
    assert!(found.len() > 100, "only {} examples", found.len());
    for (schema, example) in found {
        let root = json!({"allOf": [schema], "components": document["components"]});
        let validator = jsonschema::validator_for(&root).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(&example).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{example}: {errors:?}");
    }
}

fn references(at: &Value, found: &mut BTreeSet<String>) {
    match at {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

#[test]
fn no_reference_dangles_and_no_named_schema_is_left_over() {
    for document in [openapi_document(), asyncapi_document()] {
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let place = reference.strip_prefix('#').expect("within the document");
            assert!(document.pointer(place).is_some(), "{reference} leads nowhere");
        }
        for (name, _) in object(&document["components"]["schemas"]) {
            let reference = format!("#/components/schemas/{name}");
            assert!(found.contains(&reference), "{name} is used nowhere");
        }
    }
}

#[test]
fn every_call_says_what_it_does_and_how_it_refuses() {
    let document = openapi_document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, item) in object(&document["paths"]) {
        for (method, call) in object(item) {
            assert!(ids.insert(text(&call["operationId"])), "{method} {path}: its id is taken");
            assert!(call["summary"].is_string() && call["tags"][0].is_string(), "{method} {path}");
            for name in path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                let told = call["parameters"].as_array().expect("parameters");
                assert!(told.iter().any(|one| one["name"] == name), "{method} {path}: {name}");
            }
            let answers: Vec<_> = object(&call["responses"]).map(|(status, _)| status).collect();
            assert!(answers.iter().any(|status| status.as_str() < "400"), "{method} {path}");
            let is_signed = call["security"].as_array().is_some_and(|needs| !needs.is_empty());
            assert!(!is_signed || answers.iter().any(|status| *status == "401"), "{method} {path}");
        }
    }
}

#[test]
fn the_table_of_codes_has_every_code_and_calls_tell_of_no_other() {
    let document = openapi_document();
    let known: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    let rows = document["x-error-codes"].as_array().expect("a table");
    let table: BTreeSet<String> = rows.iter().map(|row| text(&row["code"])).collect();
    assert_eq!(table, known);
    let mut told = BTreeSet::new();
    for (_, item) in object(&document["paths"]) {
        for (_, call) in object(item) {
            for (status, answer) in object(&call["responses"]) {
                for (code, _) in object(&answer["content"]["application/json"]["examples"]) {
                    let row = rows.iter().find(|row| row["code"] == **code).expect("a known code");
                    assert_eq!(row["status"].to_string(), *status, "{code}");
                    told.insert(code.clone());
                }
            }
        }
    }
    // A wrong method is no call that is described.
    told.insert("method_not_allowed".to_owned());
    assert_eq!(told, known, "codes that calls tell of");
}

#[tokio::test]
async fn the_documents_and_the_page_are_served_without_anything_from_elsewhere() {
    let server = Server::start().await;
    assert_eq!(server.get("/api/openapi.json", "").await.expect(200), openapi_document());
    assert_eq!(server.get("/api/asyncapi.json", "").await.expect(200), asyncapi_document());
    let frames = server.get("/api/frames.json", "").await.expect(200);
    for direction in ["client", "server"] {
        jsonschema::validator_for(&frames[direction]).expect("a schema");
    }
    let page = server.get("/docs", "").await;
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(page.body.to_vec()).expect("text");
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("onclick"));
    let mut files = Vec::new();
    for part in html.split('"').filter(|part| part.starts_with("/docs/")) {
        files.push(part.to_owned());
    }
    assert_eq!(files, ["/docs/docs.css", "/docs/docs.js"]);
    files.extend(["/docs/schema.js".to_owned(), "/docs/try.js".to_owned()]);
    for file in files {
        let reply = server.get(&file, "").await;
        assert_eq!(reply.status, 200, "{file}");
        let kind = if file.ends_with("css") { "text/css" } else { "text/javascript" };
        assert!(reply.headers["content-type"].to_str().expect("text").starts_with(kind));
        let body = String::from_utf8(reply.body.to_vec()).expect("text");
        assert!(!body.contains("https://") && !body.contains("innerHTML"), "{file}");
    }
    assert_eq!(server.get("/docs/secret.js", "").await.code(), (404, "not_found".into()));
}

#[tokio::test]
async fn what_the_cluster_reports_is_what_the_schema_says() {
    let server = Server::start().await;
    let admin = administrator(&server).await;
    let room = RoomRef { tenant: TenantId::MAIN, room: RoomId::lobby(TenantId::MAIN) };
    let load = RoomLoad { room, events_per_second: 0.5, deliveries_per_second: 2.0, sessions: 3 };
    server.cluster.set_loads(NodeId(1), Some(vec![load]));
    server.cluster.set_loads(NodeId(2), None);
    let document = openapi_document();
    let mut components = document["components"].clone();
    for (_, schema) in components["schemas"].as_object_mut().expect("schemas") {
        if schema["properties"].is_object() {
            schema["additionalProperties"] = json!(false);
        }
    }
    for (path, schema) in
        [("/api/cluster", "ClusterReport"), ("/api/cluster/rooms", "BusiestRooms")]
    {
        let report = server.get(path, &admin).await.expect(200);
        let schema = format!("#/components/schemas/{schema}");
        let root = json!({"$ref": schema, "components": components});
        let validator = jsonschema::validator_for(&root).expect("a schema");
        let errors: Vec<_> =
            validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {errors:?}");
    }
}

/// Holds a generated file against what it would be now. `REWRITE_DOCS=1` writes it anew.
fn fresh(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("protocol").join(name);
    if std::env::var_os("REWRITE_DOCS").is_some() {
        std::fs::write(&path, text).expect("written");
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{name} is stale: run this test with REWRITE_DOCS=1, and commit it");
}

#[test]
fn generated_files_are_fresh() {
    fresh("ERRORS.md", &errors_markdown());
    fresh("FRAMES.md", &frames_markdown());
}
