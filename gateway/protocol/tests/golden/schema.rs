//! The schemas against the parser: what one takes, the other takes, and both refuse what the
//! server refuses. The golden frames are held against them too.

use jsonschema::Validator;
use parlance_protocol::client::{self, ClientFrame};
use parlance_protocol::schema::{Frame, Schemas, client_frames, json_schema, server_frames};
use parlance_protocol::server::ServerFrame;
use serde_json::{Value, json};

pub(crate) fn client() -> Validator {
    of(client_frames)
}

pub(crate) fn server() -> Validator {
    of(server_frames)
}

fn of(frames: fn(&mut Schemas) -> Vec<Frame>) -> Validator {
    let mut schemas = Schemas::default();
    let frames = frames(&mut schemas);
    let schema = json_schema("frames", &frames, schemas);
    jsonschema::validator_for(&schema).expect("a schema")
}

#[track_caller]
pub(crate) fn fits(schema: &Validator, text: &str) {
    let frame = serde_json::from_str(text).expect("JSON");
    assert!(schema.is_valid(&frame), "the schema refuses {text}");
}

fn examples(frames: fn(&mut Schemas) -> Vec<Frame>) -> Vec<Value> {
    let frames = frames(&mut Schemas::default());
    for frame in &frames {
        assert!(!frame.examples.is_empty(), "{} has no example", frame.name);
    }
    frames.into_iter().flat_map(|frame| frame.examples).collect()
}

#[test]
fn every_type_of_frame_is_described() {
    let names: Vec<_> =
        client_frames(&mut Schemas::default()).iter().map(|frame| frame.name).collect();
    assert_eq!(names, client::TYPES);
    // A frame that the table forgets would be refused by the schema; one that the enum lost is
    // one of a newer server to the parser.
    for frame in server_frames(&mut Schemas::default()) {
        for example in frame.examples {
            let text = example.to_string();
            let read = ServerFrame::parse(text.as_bytes()).expect(&text);
            assert_ne!(read, ServerFrame::Unknown, "{text}");
        }
    }
}

#[test]
fn examples_are_frames() {
    let (of_client, of_server) = (client(), server());
    for example in examples(client_frames) {
        let text = example.to_string();
        fits(&of_client, &text);
        ClientFrame::parse(text.as_bytes()).expect(&text);
    }
    for example in examples(server_frames) {
        fits(&of_server, &example.to_string());
    }
}

#[test]
fn an_unknown_field_is_refused_from_clients_and_left_aside_from_servers() {
    let (of_client, of_server) = (client(), server());
    for mut example in examples(client_frames) {
        example["colour"] = json!(1);
        let text = example.to_string();
        assert!(!of_client.is_valid(&example), "the schema takes {text}");
        let refused = ClientFrame::parse(text.as_bytes()).expect_err(&text);
        assert!(refused.detail.contains("colour"), "{refused}");
    }
    for mut example in examples(server_frames) {
        let known = ServerFrame::parse(example.to_string().as_bytes()).map(|f| format!("{f:?}"));
        example["colour"] = json!(1);
        let text = example.to_string();
        fits(&of_server, &text);
        let read = ServerFrame::parse(text.as_bytes()).map(|frame| format!("{frame:?}"));
        assert_eq!(read.expect(&text), known.expect(&text));
    }
}

#[test]
fn an_unknown_type_is_refused_from_clients_and_left_aside_from_servers() {
    let shout = json!({"type": "shout", "id": 7});
    assert!(!client().is_valid(&shout));
    let refused = ClientFrame::parse(shout.to_string().as_bytes()).expect_err("unknown");
    assert!(refused.id == Some(7) && refused.detail.contains("shout"), "{refused}");
    let text = shout.to_string();
    let read = ServerFrame::parse(text.as_bytes()).expect("of a newer server");
    assert_eq!(read, ServerFrame::Unknown);
}

#[test]
fn what_the_parser_refuses_the_schema_refuses() {
    let schema = client();
    for text in [
        r#"{"id":7}"#,
        r#"{"type":"ping","id":-1}"#,
        r#"{"type":"ping","id":"7"}"#,
        r#"{"type":"send","room":"0190-","body":"b"}"#,
        r#"{"type":"subscribe","rooms":[]}"#,
        r#"{"type":"subscribe","rooms":{"01900000-0000-7000-8000-000000000001":{"at":1}}}"#,
        r#"{"type":"presence","status":"busy"}"#,
        r#"{"type":"history","room":"01900000-0000-7000-8000-000000000001","view":"raw"}"#,
    ] {
        assert!(ClientFrame::parse(text.as_bytes()).is_err(), "the parser takes {text}");
        assert!(!schema.is_valid(&serde_json::from_str(text).expect("JSON")), "{text}");
    }
}
