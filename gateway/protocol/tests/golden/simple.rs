//! The simple chat, in both directions.

use parlance_protocol::simple::{SimpleClientFrame, SimpleMessage, SimpleServerFrame};

use super::{AT, short};

#[test]
fn simple_chat_has_its_text() {
    let said = SimpleClientFrame::parse(br#"{"type":"message","content":"hi"}"#);
    assert_eq!(said, Ok(SimpleClientFrame::Message { content: "hi".into() }));
    for bad in ["", "[]", r#"{"type":"message"}"#, r#"{"type":"message","content":"a","x":1}"#] {
        let why = SimpleClientFrame::parse(bad.as_bytes()).expect_err(bad);
        assert!(why.contains(r#""content""#), "{why}");
    }
    let mut text = Vec::new();
    SimpleServerFrame::Message { username: "ann".into(), content: "hi".into(), timestamp: AT }
        .encode_into(&mut text);
    SimpleServerFrame::System { message: "bob joined".into() }.encode_into(&mut text);
    assert_eq!(
        short(std::str::from_utf8(&text).expect("JSON")),
        r#"{"type":"message","username":"ann","content":"hi","timestamp":"T"}{"type":"system","message":"bob joined"}"#
    );
    let entry = SimpleMessage { username: "ann".into(), content: "hi".into(), created_at: AT };
    assert_eq!(
        short(&serde_json::to_string(&entry).expect("plain")),
        r#"{"username":"ann","content":"hi","created_at":"T"}"#
    );
}
