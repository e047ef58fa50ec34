//! One room as one client follows it: how far it is, what it received, and what it still has to fetch.

use uuid::Uuid;

use parlance_protocol::client::Cursor;

use crate::checker::Received;

/// A followed room.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) id: Uuid,
    /// The server says that it is followed.
    pub(super) is_open: bool,
    r#gen: u64,
    /// Everything up to here was received, or is in a gap that nobody fetches. `None` before the
    /// first answer.
    last: Option<u64>,
    /// The head in the last subscribe's answer.
    head: u64,
    /// Up to here the server left events out, and the client fetches them.
    hole: Option<u64>,
    /// What came behind the hole; only kept for the checker.
    held: Vec<Received>,
    /// The last place behind the hole.
    held_to: u64,
    /// What was received, as stretches without a gap: the seq before each, and its events.
    pub(super) streams: Vec<(u64, Vec<Received>)>,
}

/// One event on its way in.
pub(super) struct Arrival<F> {
    pub(super) seq: u64,
    /// Makes what the checker keeps; called only when it keeps something.
    pub(super) received: F,
}

impl Followed {
    pub(super) const fn new(id: Uuid) -> Self {
        Self {
            id,
            is_open: false,
            r#gen: 0,
            last: None,
            head: 0,
            hole: None,
            held: Vec::new(),
            held_to: 0,
            streams: Vec::new(),
        }
    }

    /// How far it is.
    pub(super) const fn last(&self) -> Option<u64> {
        self.last
    }

    /// Where the client goes on after a pause.
    pub(super) fn cursor(&self) -> Option<Cursor> {
        self.last.map(|seq| Cursor { r#gen: self.r#gen, seq })
    }

    /// Has everything that the server said there is.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.is_open && self.hole.is_none() && self.last.is_some_and(|last| last >= self.head)
    }

    /// Has everything up to this place.
    pub(super) fn reaches(&self, seq: u64) -> bool {
        self.hole.is_none() && self.last.is_some_and(|last| last >= seq)
    }

    /// The server follows it for the client, from its cursor or from the head.
    pub(super) fn opened(&mut self, r#gen: u64, head: u64) {
        self.is_open = true;
        self.r#gen = r#gen;
        self.head = head;
        if self.last.is_none() {
            self.last = Some(head);
            self.streams.push((head, Vec::new()));
        }
    }

    /// The server does so no more; what was not fetched yet comes again with the cursor.
    pub(super) fn closed(&mut self) {
        self.is_open = false;
        self.hole = None;
        self.held.clear();
        self.held_to = 0;
    }

    /// An event came.
    pub(super) fn take(&mut self, arrival: Arrival<impl FnOnce() -> Received>, keep: bool) {
        let Arrival { seq, received } = arrival;
        if self.hole.is_some() {
            self.held_to = seq;
            if keep {
                self.held.push(received());
            }
            return;
        }
        if self.last.is_none() {
            // It came before the answer to its subscribe.
            self.streams.push((seq.saturating_sub(1), Vec::new()));
        }
        self.last = Some(seq);
        if keep {
            self.streams.last_mut().expect("one begins with the first event").1.push(received());
        }
    }

    /// Events up to `to` were left out. They are fetched (then `true` says that asking begins now),
    /// or counted as received.
    pub(super) fn gap(&mut self, to: u64, fetch: bool) -> bool {
        if fetch {
            // A second gap takes what was held behind the first with it: all of it is fetched.
            self.held.clear();
            self.held_to = 0;
            return self.hole.replace(to).is_none();
        }
        self.last = Some(to);
        self.streams.push((to, Vec::new()));
        false
    }

    /// A page of what was left out, ascending. Says whether more has to be fetched.
    pub(super) fn fetched(
        &mut self,
        page: impl Iterator<Item = Received>,
        more: bool,
        keep: bool,
    ) -> bool {
        let Some(to) = self.hole else { return false };
        let mut last = self.last.unwrap_or_default();
        for received in page.filter(|received| received.seq <= to) {
            last = received.seq;
            if keep {
                let stream = self.streams.last_mut().expect("a gap comes after an answer");
                stream.1.push(received);
            }
        }
        self.last = Some(last);
        if more && last < to {
            return true;
        }
        self.hole = None;
        self.last = Some(last.max(self.held_to));
        if let Some(stream) = self.streams.last_mut() {
            stream.1.append(&mut self.held);
        }
        self.held_to = 0;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64) -> Received {
        Received { seq, key: Uuid::nil(), sender: Uuid::nil(), body: None }
    }

    fn take(room: &mut Followed, seq: u64) {
        room.take(Arrival { seq, received: || event(seq) }, true);
    }

    fn seqs(room: &Followed) -> Vec<u64> {
        room.streams.iter().flat_map(|(_, events)| events.iter().map(|event| event.seq)).collect()
    }

    #[test]
    fn what_comes_behind_a_gap_waits_until_the_gap_is_fetched() {
        let mut room = Followed::new(Uuid::nil());
        room.opened(1, 3);
        take(&mut room, 4);
        assert!(room.gap(8, true), "asking begins");
        take(&mut room, 9);
        assert!(room.fetched([5, 6].map(event).into_iter(), true, true), "there is more");
        assert!(!room.reaches(6) && room.cursor().is_some_and(|cursor| cursor.seq == 6));
        assert!(!room.fetched([7, 8, 9].map(event).into_iter(), true, true));
        assert_eq!(seqs(&room), [4, 5, 6, 7, 8, 9]);
        assert!(room.reaches(9) && room.is_up_to_date());
    }

    #[test]
    fn a_second_gap_has_everything_behind_the_first_fetched() {
        let mut room = Followed::new(Uuid::nil());
        room.opened(1, 0);
        assert!(room.gap(2, true));
        take(&mut room, 3);
        assert!(!room.gap(5, true), "it is being asked already");
        take(&mut room, 6);
        assert!(!room.fetched([1, 2, 3, 4, 5, 6].map(event).into_iter(), false, true));
        assert_eq!(seqs(&room), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_gap_that_nobody_fetches_begins_another_stretch() {
        let mut room = Followed::new(Uuid::nil());
        room.opened(1, 3);
        assert!(!room.gap(7, false));
        take(&mut room, 8);
        assert_eq!(room.streams.iter().map(|stream| stream.0).collect::<Vec<_>>(), [3, 7]);
        assert!(room.reaches(8));
    }

    #[test]
    fn a_room_that_is_closed_goes_on_at_its_cursor() {
        let mut room = Followed::new(Uuid::nil());
        room.opened(1, 3);
        assert!(room.gap(7, true));
        room.closed();
        assert_eq!(room.cursor().map(|cursor| cursor.seq), Some(3));
        room.opened(1, 4);
        assert!(!room.is_up_to_date());
        take(&mut room, 4);
        assert!(room.is_up_to_date());
        assert_eq!(room.streams.len(), 1);
    }
}
