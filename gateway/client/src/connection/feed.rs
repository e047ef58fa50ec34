//! One followed room: which event comes next, and what is missing. Pure. Nothing is buffered:
//! what cannot be delivered now is fetched from history later, so that a hot room or a slow
//! application costs no memory here.

use std::time::Instant;

use parlance_protocol::client::Cursor;

/// Where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one to deliver.
    Next,
    /// Delivered before.
    Known,
    /// There are others between.
    Ahead,
}

/// Of which history something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// Of the one that is followed.
    Present,
    /// Of one that the server lost since: its seqs mean nothing any more.
    Former,
    /// Of another one than was followed so far.
    Later,
}

/// What a subscribe answer means for a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It goes on where it was, or starts.
    Continues,
    /// The server's history is another one: the cursor was worth nothing.
    Reset,
}

/// A followed room.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// The last delivered event; `None` before the first answer when there was no cursor.
    cursor: Option<Cursor>,
    /// There are events up to this one that did not come live.
    ahead: Option<u64>,
    /// A page is on its way.
    asking: bool,
    /// No page before this.
    not_before: Option<Instant>,
}

impl Feed {
    pub(crate) fn new(cursor: Option<Cursor>) -> Self {
        Self { cursor, ..Self::default() }
    }

    pub(crate) const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// The socket is gone, and with it the page that was asked for. The next subscribe replays
    /// from the cursor.
    pub(crate) fn disconnected(&mut self) {
        self.ahead = None;
        self.asking = false;
        self.not_before = None;
    }

    pub(crate) fn subscribed(&mut self, r#gen: u64, head: u64) -> Start {
        match self.cursor {
            Some(cursor) if cursor.r#gen == r#gen => Start::Continues,
            before => {
                self.reset(r#gen, head);
                if before.is_some() { Start::Reset } else { Start::Continues }
            }
        }
    }

    /// Of which history something of this generation is.
    pub(crate) fn era(&self, r#gen: u64) -> Era {
        match self.cursor {
            Some(cursor) if cursor.r#gen < r#gen => Era::Later,
            Some(cursor) if cursor.r#gen > r#gen => Era::Former,
            _ => Era::Present,
        }
    }

    /// Another history begins, of which what comes after `seq` is due.
    pub(crate) const fn reset(&mut self, r#gen: u64, seq: u64) {
        self.cursor = Some(Cursor { r#gen, seq });
        self.ahead = None;
    }

    pub(crate) fn place(&self, seq: u64) -> Place {
        // Before the answer to a subscribe without a cursor nothing is due.
        let Some(cursor) = self.cursor else { return Place::Known };
        match seq {
            _ if seq <= cursor.seq => Place::Known,
            _ if seq == cursor.seq + 1 => Place::Next,
            _ => Place::Ahead,
        }
    }

    /// The event that was [`Place::Next`] is with the application.
    pub(crate) fn delivered(&mut self) {
        let cursor = self.cursor.as_mut().expect("an event has a place only after a cursor");
        cursor.seq += 1;
        if self.ahead.is_some_and(|ahead| ahead <= cursor.seq) {
            self.ahead = None;
        }
    }

    /// Events up to `to` exist and were not delivered.
    pub(crate) fn missed(&mut self, to: u64) {
        if self.cursor.is_some_and(|cursor| to > cursor.seq) {
            self.ahead = Some(self.ahead.map_or(to, |ahead| ahead.max(to)));
        }
    }

    pub(crate) const fn is_behind(&self) -> bool {
        self.ahead.is_some() && !self.asking
    }

    /// When a page may be asked for; `None` when none is wanted.
    pub(crate) fn page_due(&self) -> Option<Option<Instant>> {
        self.is_behind().then_some(self.not_before)
    }

    pub(crate) const fn page_asked(&mut self) {
        self.asking = true;
        self.not_before = None;
    }

    /// The page came, or was refused: the next one not before then.
    pub(crate) const fn page_ended(&mut self, not_before: Option<Instant>) {
        self.asking = false;
        self.not_before = not_before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seq: u64) -> Feed {
        Feed::new(Some(Cursor { r#gen: 1, seq }))
    }

    #[test]
    fn a_gap_is_due_until_it_is_delivered() {
        let mut feed = at(10);
        feed.missed(12);
        assert!(feed.is_behind());
        feed.delivered();
        assert!(feed.is_behind());
        feed.delivered();
        assert!(!feed.is_behind());
    }

    #[test]
    fn a_feed_without_a_cursor_starts_at_the_head() {
        let mut feed = Feed::new(None);
        assert_eq!(feed.place(5), Place::Known);
        assert_eq!(feed.subscribed(1, 7), Start::Continues);
        assert_eq!(
            (feed.place(7), feed.place(8), feed.place(9)),
            (Place::Known, Place::Next, Place::Ahead)
        );
    }

    #[test]
    fn another_generation_resets_the_cursor() {
        let mut feed = at(10);
        assert_eq!(feed.subscribed(1, 20), Start::Continues);
        assert_eq!(feed.cursor().map(|c| c.seq), Some(10));
        assert_eq!(feed.subscribed(2, 4), Start::Reset);
        assert_eq!(feed.cursor(), Some(Cursor { r#gen: 2, seq: 4 }));
    }

    #[test]
    fn what_is_of_another_history_is_told_apart() {
        let mut feed = Feed::new(None);
        assert_eq!(feed.era(7), Era::Present);
        feed = at(10);
        assert_eq!((feed.era(1), feed.era(2)), (Era::Present, Era::Later));
        feed.missed(12);
        feed.reset(2, 4);
        assert!(!feed.is_behind());
        assert_eq!((feed.era(1), feed.era(2)), (Era::Former, Era::Present));
        assert_eq!((feed.place(4), feed.place(5)), (Place::Known, Place::Next));
    }

    proptest! {
        /// Events come in any order, repeated and with losses; a full queue now and then. With
        /// the pages that the feed asks for, the application gets each exactly once and in order.
        #[test]
        fn every_event_is_delivered_once_and_in_order(
            arrivals in proptest::collection::vec((1_u64..40, any::<bool>()), 0..200)
        ) {
            let mut feed = at(0);
            let mut got = Vec::new();
            let mut head = 0;
            for (seq, full) in arrivals {
                head = head.max(seq);
                match feed.place(seq) {
                    Place::Next if !full => { got.push(seq); feed.delivered(); }
                    Place::Next | Place::Ahead => feed.missed(seq),
                    Place::Known => {}
                }
            }
            while feed.is_behind() {
                let next = feed.cursor().expect("a cursor").seq + 1;
                prop_assert_eq!(feed.place(next), Place::Next);
                got.push(next);
                feed.delivered();
            }
            prop_assert_eq!(got, (1..=head).collect::<Vec<_>>());
        }
    }
}
