//! Folding: a page of the timeline and the notes on it become messages in their latest state.
//! Pure; the database hands over events and this says what a reader sees.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ports::history::{LogPage, Range, TimelinePage};
use crate::vocab::{Content, Event, Sender, Seq, Timestamp, Tombstone};

/// A page as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// What it holds.
    pub entries: Entries,
    /// There are more in the direction of reading.
    pub more: bool,
    /// The head that this page reflects.
    pub as_of: Seq,
    /// The lowest seq that still has its content.
    pub first: Seq,
}

/// The two views of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entries {
    /// Every event, ascending.
    Log(Vec<Event>),
    /// Messages in their latest state, and member and room events, ascending.
    Folded(Vec<Folded>),
}

/// One entry of the folded view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The event; a message carries its latest body.
    pub event: Event,
    /// When the body was last replaced.
    pub edited_at: Option<Timestamp>,
    /// Set when the message was deleted; its body is gone.
    pub deleted: Option<Tombstone>,
    /// Who put which emoji on it, in the order of the first of each.
    pub reactions: Vec<Reactions>,
    /// It is pinned.
    pub pinned: bool,
}

/// An emoji and who put it on a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reactions {
    /// The emoji.
    pub emoji: Arc<str>,
    /// Who, in the order in which they did.
    pub users: Vec<Sender>,
}

impl From<LogPage> for HistoryPage {
    fn from(page: LogPage) -> Self {
        let LogPage { events, more, as_of, first } = page;
        Self { entries: Entries::Log(events), more, as_of, first }
    }
}

impl From<TimelinePage> for HistoryPage {
    fn from(page: TimelinePage) -> Self {
        let TimelinePage { entries, notes, more, as_of, first } = page;
        Self { entries: Entries::Folded(fold(entries, notes)), more, as_of, first }
    }
}

impl HistoryPage {
    /// Leaves what is over `bytes` for the next page in the direction of reading. One entry stays.
    #[must_use]
    pub fn cut_to(mut self, range: Range, bytes: usize) -> Self {
        let cut = match &mut self.entries {
            Entries::Log(events) => cut(events, range, bytes, cost),
            Entries::Folded(entries) => cut(entries, range, bytes, |entry| {
                let users = entry.reactions.iter().map(|reaction| reaction.users.len());
                cost(&entry.event) + users.sum::<usize>() * USER_BYTES
            }),
        };
        self.more |= cut;
        self
    }
}

/// About what a user takes in a page.
const USER_BYTES: usize = 80;
/// About what an event takes in a page beside its content.
const EVENT_BYTES: usize = 330;

fn cost(event: &Event) -> usize {
    EVENT_BYTES + event.content.weight()
}

/// Cuts a list at the far end of the direction of reading; whether anything was cut.
fn cut<T>(list: &mut Vec<T>, range: Range, bytes: usize, cost: impl Fn(&T) -> usize) -> bool {
    let mut left = bytes;
    let fits = |entry: &T| {
        let fits = cost(entry) <= left;
        left = left.saturating_sub(cost(entry));
        fits
    };
    let before = list.len();
    let kept = match range {
        Range::After(_) => list.iter().map(fits).take_while(|fits| *fits).count(),
        Range::Latest | Range::Before(_) => list.iter().rev().map(fits).take_while(|f| *f).count(),
    };
    let kept = kept.max(1).min(before);
    match range {
        Range::After(_) => list.truncate(kept),
        Range::Latest | Range::Before(_) => drop(list.drain(..before - kept)),
    }
    kept < before
}

/// Folds notes, ascending by seq, into the entries that they target.
#[must_use]
pub fn fold(entries: Vec<Event>, notes: Vec<Event>) -> Vec<Folded> {
    let mut folded: Vec<Folded> = entries.into_iter().map(Folded::plain).collect();
    let place: HashMap<Seq, usize> =
        folded.iter().enumerate().map(|(index, entry)| (entry.event.seq, index)).collect();
    for note in notes {
        let target = note.content.target().and_then(|target| place.get(&target));
        if let Some(&index) = target {
            folded[index].take(note);
        }
    }
    folded
}

/// The messages that these pin events, the newest first, leave pinned, the newest pin first.
pub fn pinned<'a>(pins: impl Iterator<Item = &'a Event>) -> Vec<Seq> {
    let mut decided = HashSet::new();
    let mut pinned = Vec::new();
    for pin in pins {
        if let Content::Pin { target, on } = pin.content
            && decided.insert(target)
            && on
        {
            pinned.push(target);
        }
    }
    pinned
}

impl Folded {
    const fn plain(event: Event) -> Self {
        Self { event, edited_at: None, deleted: None, reactions: Vec::new(), pinned: false }
    }

    fn take(&mut self, note: Event) {
        let Event { sender, sent_at, content, .. } = note;
        match content {
            Content::Edit { body: new, enc: new_enc, .. } if self.deleted.is_none() => {
                if let Content::Message { body, enc, .. } = &mut self.event.content {
                    *body = new;
                    *enc = new_enc;
                    self.edited_at = Some(sent_at);
                }
            }
            Content::Delete { .. } => {
                self.event = self.event.blanked();
                self.deleted = Some(Tombstone { by: sender, at: sent_at });
                self.edited_at = None;
                self.reactions.clear();
                self.pinned = false;
            }
            Content::Reaction { emoji, on, .. } if self.deleted.is_none() => {
                self.react(emoji, sender, on);
            }
            Content::Pin { on, .. } if self.deleted.is_none() => self.pinned = on,
            _ => {}
        }
    }

    fn react(&mut self, emoji: Arc<str>, sender: Sender, on: bool) {
        let place = self.reactions.iter().position(|r| r.emoji == emoji);
        if !on {
            if let Some(place) = place {
                self.reactions[place].users.retain(|user| user.id != sender.id);
                if self.reactions[place].users.is_empty() {
                    self.reactions.remove(place);
                }
            }
            return;
        }
        let Some(place) = place else {
            self.reactions.push(Reactions { emoji, users: vec![sender] });
            return;
        };
        let users = &mut self.reactions[place].users;
        if users.iter().all(|user| user.id != sender.id) {
            users.push(sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocab::{Key, UserId};

    fn event(seq: u64, name: &str, id: u128, content: Content) -> Event {
        Event {
            seq: Seq(seq),
            sender: Sender { id: UserId(uuid::Uuid::from_u128(id)), username: name.into() },
            device: None,
            key: Key(uuid::Uuid::from_u128(seq.into())),
            sent_at: Timestamp(i64::try_from(seq).expect("small")),
            content,
        }
    }

    fn message(seq: u64) -> Event {
        let content =
            Content::Message { body: "one".into(), reply_to: None, thread: None, enc: false };
        event(seq, "ann", 1, content)
    }

    fn react(seq: u64, name: &str, id: u128, on: bool) -> Event {
        event(seq, name, id, Content::Reaction { target: Seq(1), emoji: "+".into(), on })
    }

    fn seqs(page: &HistoryPage) -> Vec<u64> {
        let Entries::Log(events) = &page.entries else { panic!("a log") };
        events.iter().map(|event| event.seq.0).collect()
    }

    #[test]
    fn a_heavy_page_is_cut_at_its_far_end_and_says_that_there_is_more() {
        let page = || HistoryPage {
            entries: Entries::Log((1..=5).map(message).collect()),
            more: false,
            as_of: Seq(5),
            first: Seq(1),
        };
        let two = 2 * cost(&message(1));
        let forward = page().cut_to(Range::After(Seq(0)), two);
        assert_eq!((seqs(&forward), forward.more), (vec![1, 2], true));
        let backward = page().cut_to(Range::Latest, two);
        assert_eq!((seqs(&backward), backward.more), (vec![4, 5], true));
        assert_eq!(seqs(&page().cut_to(Range::Before(Seq(6)), 0)), [5]);
        let whole = page().cut_to(Range::Latest, 5 * two);
        assert_eq!((seqs(&whole).len(), whole.more), (5, false));
    }

    #[test]
    fn the_last_edit_wins() {
        let edit = |seq, body: &str| {
            event(seq, "ann", 1, Content::Edit { target: Seq(1), body: body.into(), enc: false })
        };
        let folded = fold(vec![message(1)], vec![edit(2, "two"), edit(3, "three")]);
        assert!(
            matches!(&folded[0].event.content, Content::Message { body, .. } if &**body == "three")
        );
        assert_eq!(folded[0].edited_at, Some(Timestamp(3)));
    }

    #[test]
    fn a_deleted_message_is_a_tombstone_without_body_and_reactions() {
        let delete = event(4, "mod", 2, Content::Delete { target: Seq(1) });
        let folded = fold(vec![message(1)], vec![react(2, "bob", 3, true), delete]);
        assert!(matches!(folded[0].event.content, Content::Blank { .. }));
        assert_eq!(folded[0].deleted.as_ref().map(|t| &*t.by.username), Some("mod"));
        assert!(folded[0].reactions.is_empty());
    }

    #[test]
    fn a_reaction_counts_once_for_a_user_and_goes_when_taken_off() {
        let notes = vec![
            react(2, "bob", 3, true),
            react(3, "bob", 3, true),
            react(4, "cat", 4, true),
            react(5, "bob", 3, false),
        ];
        let folded = fold(vec![message(1)], notes);
        let names: Vec<_> = folded[0].reactions[0].users.iter().map(|u| &*u.username).collect();
        assert_eq!(names, ["cat"]);
    }
}
