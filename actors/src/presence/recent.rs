//! The latest words of users' own feeds that passed through a home. A node whose first session of
//! a user has just begun may have read what the user's feed stands at before such a word, and be
//! known here only after it: it is told the word then. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use super::state::Who;
use crate::limits;
use crate::vocab::NodeId;
use crate::wire::presence::WireWord;

#[derive(Debug)]
struct Passed {
    at: Duration,
    from: NodeId,
    word: WireWord,
}

/// Words of the last [`limits::PRESENCE_RECENT`], oldest first.
#[derive(Debug, Default)]
pub(crate) struct Recent(VecDeque<Passed>);

impl Recent {
    pub(crate) fn push(&mut self, now: Duration, from: NodeId, word: &WireWord) {
        self.forget(now);
        if self.0.len() >= limits::PRESENCE_WORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Passed { at: now, from, word: word.clone() });
    }

    /// What a node missed of a user. What came from it it knows.
    pub(crate) fn missed_by(
        &self,
        now: Duration,
        node: NodeId,
        who: Who,
    ) -> impl Iterator<Item = &WireWord> {
        let is_young = move |passed: &&Passed| passed.at + limits::PRESENCE_RECENT > now;
        let of_user = move |passed: &&Passed| passed.from != node && passed.word.who() == who;
        self.0.iter().filter(is_young).filter(of_user).map(|passed| &passed.word)
    }

    pub(crate) fn forget(&mut self, now: Duration) {
        while self.next_due().is_some_and(|due| due <= now) {
            self.0.pop_front();
        }
    }

    /// When there is something to forget next.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.0.front().map(|passed| passed.at + limits::PRESENCE_RECENT)
    }
}
