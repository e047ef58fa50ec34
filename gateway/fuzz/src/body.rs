//! The body of an HTTP call, taken and read as every type that a call has.

use axum::body::Body as HttpBody;
use http::{Request, header};
use parlance_actors::vocab::{Code, Refusal};
use parlance_gateway::fuzzing::Body;
use parlance_protocol::http::{
    ChangeRoom, CreateRoom, Credentials, Login, OpenDirect, PutMember, Refresh, SendMessage,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{block_on, check_reason};

/// Reads a body as one type, and writes that again.
type Reader = fn(&Body) -> Result<String, Refusal>;

const READERS: [Reader; 8] = [
    |body| written::<Credentials<'_>>(body),
    |body| written::<Login<'_>>(body),
    |body| written::<Refresh<'_>>(body),
    |body| written::<CreateRoom<'_>>(body),
    |body| written::<ChangeRoom<'_>>(body),
    |body| written::<OpenDirect>(body),
    |body| written::<PutMember>(body),
    |body| written::<SendMessage<'_>>(body),
];

/// The bytes are a body that says that it is JSON. Only objects are read; what is read is written and
/// read back the same; everything else is a bad request.
pub fn body(bytes: &[u8]) {
    let body = take(bytes);
    for read in READERS {
        match read(&body) {
            Ok(text) => {
                let json: Value = serde_json::from_slice(bytes).expect("only JSON is read");
                assert!(json.is_object(), "{json} was read");
                assert_eq!(read(&take(text.as_bytes())).as_ref(), Ok(&text));
            }
            Err(refusal) => {
                assert_eq!(refusal.code, Code::BadRequest);
                check_reason(&refusal.detail);
            }
        }
    }
}

fn take(bytes: &[u8]) -> Body {
    let request = Request::builder().method("POST").uri("/api/rooms");
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let request = request.body(HttpBody::from(bytes.to_vec())).expect("a request");
    block_on(Body::take(request)).expect("it is short and says that it is JSON")
}

fn written<'a, T: Deserialize<'a> + Serialize>(body: &'a Body) -> Result<String, Refusal> {
    let value: T = body.read()?;
    Ok(serde_json::to_string(&value).expect("a body is written"))
}
