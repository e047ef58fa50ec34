//! A committed event between nodes: the same parts that databases keep.

use crate::ports::peers::Malformed;
use crate::vocab::event::{EventParts, Kind};
use crate::vocab::{Content, DeviceId, Event, Key, Sender, Seq, Timestamp, UserId};

#[derive(Debug, Clone, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub(crate) struct WireEvent {
    seq: Seq,
    sender: UserId,
    username: String,
    device: Option<DeviceId>,
    key: Key,
    sent_at: Timestamp,
    kind: i16,
    target: Option<Seq>,
    thread: Option<Seq>,
    enc: bool,
    body: Option<Vec<u8>>,
}

impl From<&Event> for WireEvent {
    fn from(event: &Event) -> Self {
        let EventParts { kind, target, thread, enc, body } = event.content.to_parts();
        Self {
            seq: event.seq,
            sender: event.sender.id,
            username: event.sender.username.as_ref().into(),
            device: event.device,
            key: event.key,
            sent_at: event.sent_at,
            kind: kind.number(),
            target,
            thread,
            enc,
            body,
        }
    }
}

impl WireEvent {
    pub(crate) fn into_event(self) -> Result<Event, Malformed> {
        let kind = Kind::from_number(self.kind);
        let kind = kind.ok_or_else(|| Malformed(format!("there is no kind {}", self.kind)))?;
        let parts = EventParts {
            kind,
            target: self.target,
            thread: self.thread,
            enc: self.enc,
            body: self.body,
        };
        let content = Content::from_parts(parts).map_err(|error| Malformed(error.to_string()))?;
        Ok(Event {
            seq: self.seq,
            sender: Sender { id: self.sender, username: self.username.into() },
            device: self.device,
            key: self.key,
            sent_at: self.sent_at,
            content,
        })
    }
}
