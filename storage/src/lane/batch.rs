//! A batch in the making: the appends, what became of each, and how they become rows. No I/O.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parlance_actors::ports::history::{Append, AppendSink, Outcome, Settled};
use parlance_actors::vocab::event::Kind;
use parlance_actors::vocab::{Content, Key, RoomId, RoomRef, Seq, TenantId, UserId};

use super::writer::{EventRow, Lookup, MemberRow};
use crate::crypt::{Crypt, EventAad};

/// The appends of one batch, all of one tenant, and their outcomes so far.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) tenant: TenantId,
    appends: Vec<Append>,
    outcomes: Vec<Option<Outcome>>,
    /// The place of the first append with the same key, for those that repeat one of the batch.
    repeats: Vec<Option<usize>>,
}

impl Work {
    pub(super) fn new(tenant: TenantId, appends: Vec<Append>) -> Self {
        let mut first: HashMap<(RoomId, UserId, Key), usize> = HashMap::new();
        let mut repeats = Vec::with_capacity(appends.len());
        for (place, append) in appends.iter().enumerate() {
            let key = (append.room.room, append.draft.sender.id, append.draft.key);
            let known = *first.entry(key).or_insert(place);
            repeats.push((known != place).then_some(known));
        }
        Self { tenant, outcomes: vec![None; appends.len()], appends, repeats }
    }

    pub(super) fn append(&self, place: usize) -> &Append {
        &self.appends[place]
    }

    pub(super) fn len(&self) -> usize {
        self.appends.len()
    }

    /// The places that go to the database.
    pub(super) fn places(&self) -> Vec<usize> {
        (0..self.appends.len()).filter(|place| self.repeats[*place].is_none()).collect()
    }

    pub(super) fn settle(&mut self, place: usize, outcome: Outcome) {
        self.outcomes[place] = Some(outcome);
    }

    pub(super) fn is_settled(&self, place: usize) -> bool {
        self.outcomes[place].is_some()
    }

    /// What to look up for these places.
    pub(super) fn lookups(&self, places: &[usize]) -> Vec<Lookup> {
        let lookup = |place: &usize| {
            let append = &self.appends[*place];
            let (sender, key) = (append.draft.sender.id, append.draft.key);
            Lookup { room: append.room.room, sender, key }
        };
        places.iter().map(lookup).collect()
    }

    /// The rows of these places, their bodies sealed.
    pub(super) fn rows(&self, places: &[usize], crypt: &Crypt) -> Vec<EventRow> {
        let mut deleted: HashSet<(RoomId, Seq)> = HashSet::new();
        let mut rows: Vec<EventRow> = Vec::with_capacity(places.len());
        // From the back, so that an edit knows of the deletes behind it.
        for place in places.iter().rev() {
            let append = &self.appends[*place];
            let mut row = row(append, crypt);
            match append.draft.content {
                Content::Delete { target } => {
                    deleted.insert((append.room.room, target));
                }
                Content::Edit { target, .. } => {
                    row.doomed = deleted.contains(&(append.room.room, target));
                }
                _ => {}
            }
            rows.push(row);
        }
        rows.reverse();
        rows
    }

    /// Tells every room once, in the order of the queue. What has no outcome gets `rest`.
    pub(super) fn tell(mut self, rest: &Outcome) {
        for place in 0..self.appends.len() {
            let Some(first) = self.repeats[place] else { continue };
            let sent_at = self.appends[first].draft.sent_at;
            self.outcomes[place] = match &self.outcomes[first] {
                Some(Outcome::Committed { seq }) => Some(Outcome::Repeated { seq: *seq, sent_at }),
                other => other.clone(),
            };
        }
        let batch = self.appends.len();
        let mut rooms: Vec<(Arc<dyn AppendSink>, Vec<Settled>)> = Vec::new();
        let mut places: HashMap<(RoomRef, *const ()), usize> = HashMap::new();
        for (append, outcome) in self.appends.into_iter().zip(self.outcomes) {
            let Append { room, ticket, draft, sink, .. } = append;
            // A room that was opened anew within one batch has another sink.
            let whose = (room, Arc::as_ptr(&sink).cast::<()>());
            let place = *places.entry(whose).or_insert_with(|| {
                rooms.push((sink, Vec::new()));
                rooms.len() - 1
            });
            let outcome = outcome.unwrap_or_else(|| rest.clone());
            rooms[place].1.push(Settled { ticket, draft, outcome, batch });
        }
        for (sink, outcomes) in rooms {
            sink.settled(outcomes);
        }
    }
}

fn row(append: &Append, crypt: &Crypt) -> EventRow {
    let draft = &append.draft;
    let parts = draft.content.to_parts();
    let at = EventAad::new(append.room.tenant, append.room.room, draft.sender.id, draft.key);
    let seal = |body: Vec<u8>| crypt.seal(at.as_ref(), &body);
    let (crypt_key, body) = match parts.body.map(seal) {
        Some((crypt_key, sealed)) => (crypt_key, Some(sealed)),
        None => (None, None),
    };
    let lobby = || append.room.room == RoomId::lobby(append.room.tenant);
    let member = match &draft.content {
        Content::Member { user, change, .. } if !lobby() => Some(MemberRow {
            user: *user,
            role: change.role().map(|role| role.number()),
            joined: matches!(change, parlance_actors::vocab::MemberChange::Joined { .. }),
        }),
        _ => None,
    };
    EventRow {
        room: append.room.room,
        head: append.head.get(),
        kind: Kind::number(parts.kind),
        sender: draft.sender.id,
        device: draft.device.map(|device| device.0),
        key: draft.key,
        target: parts.target.map(column),
        thread: parts.thread.map(column),
        enc: parts.enc,
        sent_at: draft.sent_at,
        crypt_key,
        body,
        doomed: false,
        member,
        names: names(&draft.content),
    }
}

/// Found here, before the body is sealed.
fn names(content: &Content) -> Option<String> {
    let names = content.names();
    if names.is_empty() {
        return None;
    }
    Some(serde_json::to_string(&names).expect("texts are JSON"))
}

/// A seq as databases keep it. A seq that no log can reach stays one.
pub(crate) fn column(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// About how many bytes an append takes in a statement.
pub(super) fn weight(append: &Append) -> usize {
    append.draft.content.weight() + 128
}
