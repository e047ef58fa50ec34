//! A client's frames: `parlance.v1` up to what is asked of the session, and simple chat.

use parlance_actors::ports::Frames as _;
use parlance_actors::ports::frames::Dialect;
use parlance_actors::session::Output;
use parlance_actors::vocab::Refusal;
use parlance_gateway::{JsonFrames, fuzzing};
use parlance_protocol::simple::SimpleClientFrame;
use parlance_protocol::{BadFrame, ClientFrame, ServerFrame};
use serde_json::Value;

use crate::check_reason;

/// The bytes are the text of a frame.
pub fn frame(bytes: &[u8]) {
    v1(bytes);
    simple(bytes);
}

/// What is read is written and read back the same; only JSON is read; the client's number is found in
/// every frame that has one, and in its refusal.
fn v1(bytes: &[u8]) {
    let json: Option<Value> = serde_json::from_slice(bytes).ok();
    let number = json.as_ref().and_then(|json| json.get("id")?.as_u64());
    match ClientFrame::parse(bytes) {
        Ok(frame) => {
            assert!(json.is_some_and(|json| json.is_object()), "a frame that is no JSON object");
            assert_eq!(frame.id(), number);
            let text = frame.encode();
            let again = ClientFrame::parse(text.as_bytes()).expect("what was written is read");
            assert_eq!(again, frame);
            assert_eq!(again.encode(), text);
        }
        Err(BadFrame { id, .. }) => assert_eq!(id, number),
    }
    match fuzzing::request(bytes) {
        Ok(request) => assert_eq!(request.id, number),
        Err((id, refusal)) => {
            assert_eq!(id, number);
            check_reason(&refusal.detail);
            check_refusal(id, &refusal);
        }
    }
}

/// The refusal reaches the client as a frame that says the same.
fn check_refusal(id: Option<u64>, refusal: &Refusal) {
    let output = Output::Error { id, refusal };
    let frame = JsonFrames.encode(Dialect::V1, &output).expect("an error has a frame");
    let header = if frame[1] < 126 { 2 } else { 4 };
    match ServerFrame::parse(&frame[header..]).expect("the server's own frame") {
        ServerFrame::Error(error) => {
            assert_eq!((error.id, error.detail.as_str()), (id, refusal.detail.as_ref()));
        }
        other => panic!("another frame: {other:?}"),
    }
}

fn simple(bytes: &[u8]) {
    match SimpleClientFrame::parse(bytes) {
        Ok(frame) => {
            let text = serde_json::to_vec(&frame).expect("a frame is written");
            assert_eq!(SimpleClientFrame::parse(&text).as_ref(), Ok(&frame));
        }
        Err(detail) => check_reason(&detail),
    }
}
