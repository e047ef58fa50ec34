//! Which stream of a channel counts on the receiving side, and when frames may have been lost.
//! Pure: it says what to tell, and tells nobody.

/// Where a stream stands among all that a peer ever opened for a channel: the peer's start, and
/// the stream's number within it.
pub(super) type At = (u64, u64);

/// The receiving side of one channel from one peer.
#[derive(Debug, Default)]
pub(super) struct Inlet {
    /// The newest stream that was seen.
    newest: Option<At>,
    /// Its end was seen and told: nothing more is taken from it.
    over: bool,
}

/// What to do with a new stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    /// A newer one is known. Take nothing from it.
    Stale,
    /// Nothing was lost before it.
    Joined,
    /// Something before it may have been lost: tell that first.
    Lost,
}

impl Inlet {
    /// A stream begins. `after` is the number of the stream before it, 0 for none.
    pub(super) fn open(&mut self, at: At, after: u64) -> Opened {
        if self.newest.is_some_and(|newest| newest >= at) {
            return Opened::Stale;
        }
        let joined = match self.newest {
            None => after == 0,
            Some((start, number)) if start == at.0 => self.over && number == after,
            Some(_) => self.over && after == 0,
        };
        *self = Self { newest: Some(at), over: false };
        if joined { Opened::Joined } else { Opened::Lost }
    }

    /// Whether frames of this stream are taken now.
    pub(super) fn takes(&self, at: At) -> bool {
        self.newest == Some(at) && !self.over
    }

    /// A stream ends in whatever way. Returns whether that is to be told.
    pub(super) fn end(&mut self, at: At) -> bool {
        let tell = self.takes(at);
        self.over |= tell;
        tell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_stream_lost_nothing_and_a_later_one_that_is_seen_first_may_have() {
        assert_eq!(Inlet::default().open((1, 5), 0), Opened::Joined);
        assert_eq!(Inlet::default().open((1, 5), 4), Opened::Lost);
    }

    #[test]
    fn an_end_is_told_once_however_it_is_found() {
        let mut inlet = Inlet::default();
        inlet.open((1, 1), 0);
        assert!(inlet.end((1, 1)));
        assert!(!inlet.end((1, 1)));
        assert!(!inlet.takes((1, 1)));
        // The end was told: its successor joins.
        assert_eq!(inlet.open((1, 2), 1), Opened::Joined);
        // The end was not seen: its successor tells of it, and the end is not told again.
        assert_eq!(inlet.open((1, 3), 2), Opened::Lost);
        assert!(!inlet.end((1, 2)));
        assert!(inlet.takes((1, 3)));
    }

    #[test]
    fn a_stream_that_was_never_seen_is_found_missing() {
        let mut inlet = Inlet::default();
        inlet.open((1, 1), 0);
        assert!(inlet.end((1, 1)));
        assert_eq!(inlet.open((1, 3), 2), Opened::Lost);
    }

    #[test]
    fn an_old_stream_never_counts_again() {
        let mut inlet = Inlet::default();
        inlet.open((2, 7), 0);
        assert_eq!(inlet.open((2, 6), 5), Opened::Stale);
        assert_eq!(inlet.open((1, 9), 8), Opened::Stale);
        assert!(inlet.takes((2, 7)) && !inlet.takes((1, 9)));
    }

    #[test]
    fn a_new_start_joins_only_when_the_end_of_the_old_one_was_told() {
        let mut inlet = Inlet::default();
        inlet.open((1, 1), 0);
        assert_eq!(inlet.open((2, 1), 0), Opened::Lost);
        assert!(inlet.end((2, 1)));
        assert_eq!(inlet.open((3, 1), 0), Opened::Joined);
        assert!(inlet.end((3, 1)));
        assert_eq!(inlet.open((4, 2), 1), Opened::Lost);
    }
}
