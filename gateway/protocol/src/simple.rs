//! Simple chat, for small clients: the lobby as plain messages. No keys, no cursors, no answers.

use serde::{Deserialize, Serialize};

use crate::client::shortened;
use crate::{Text, Timestamp};

/// What a simple client says.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum SimpleClientFrame<'a> {
    /// Say something in the lobby.
    Message {
        /// The text.
        #[serde(borrow)]
        content: Text<'a>,
    },
}

/// What a simple client hears.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum SimpleServerFrame<'a> {
    /// Somebody said something in the lobby.
    Message {
        /// Who.
        #[serde(borrow)]
        username: Text<'a>,
        /// The text.
        #[serde(borrow)]
        content: Text<'a>,
        /// When.
        timestamp: Timestamp,
    },
    /// A note of the server: who came or went, and what was refused.
    System {
        /// The note.
        #[serde(borrow)]
        message: Text<'a>,
    },
}

/// One entry of `GET /api/chat/messages`, which is an array of these, oldest first.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimpleMessage<'a> {
    /// Who.
    #[serde(borrow)]
    pub username: Text<'a>,
    /// The text.
    #[serde(borrow)]
    pub content: Text<'a>,
    /// When.
    pub created_at: Timestamp,
}

impl<'a> SimpleClientFrame<'a> {
    /// Reads one frame.
    ///
    /// # Errors
    /// What is wrong, in words for the client.
    pub fn parse(text: &'a [u8]) -> Result<Self, String> {
        const SHAPE: &str = r#"a frame is {"type":"message","content":"…"}"#;
        if !text.trim_ascii_start().starts_with(b"{") {
            return Err(SHAPE.into());
        }
        serde_json::from_slice(text)
            .map_err(|error| format!("{}; {SHAPE}", shortened(&error.to_string())))
    }
}

impl SimpleServerFrame<'_> {
    /// Appends the frame's text.
    pub fn encode_into(&self, into: &mut Vec<u8>) {
        serde_json::to_writer(into, self).expect("frames hold strings, numbers and booleans only");
    }
}
