//! Broken builds for tests: the append without one of the things that make it safe. Each must be
//! caught by a test. Exists only with the feature `sabotage`, which no build of the node enables.

use std::borrow::Cow;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sabotage {
    /// Nothing: the append as it is.
    #[default]
    None,
    /// The fence is neither matched nor locked.
    #[cfg(any(test, feature = "sabotage"))]
    NoFence,
    /// The fence is locked in a mode that a takeover does not wait for.
    #[cfg(any(test, feature = "sabotage"))]
    KeyShare,
    /// Keys are not probed.
    #[cfg(any(test, feature = "sabotage"))]
    NoDedupe,
}

impl Sabotage {
    /// The append in this form.
    pub(crate) fn of_append(self, append: &'static str) -> Cow<'static, str> {
        match self {
            Self::None => append.into(),
            #[cfg(any(test, feature = "sabotage"))]
            Self::NoFence => broken(
                &broken(append, " AND f.epoch = w.epoch AND f.turn = w.turn", ""),
                "FOR SHARE OF f",
                "",
            )
            .into(),
            #[cfg(any(test, feature = "sabotage"))]
            Self::KeyShare => broken(append, "FOR SHARE OF f", "FOR KEY SHARE OF f").into(),
            #[cfg(any(test, feature = "sabotage"))]
            // The other append looks nothing up.
            Self::NoDedupe => append.replace("AND e.key = i.key) AS", "AND false) AS").into(),
        }
    }
}

#[cfg(any(test, feature = "sabotage"))]
fn broken(append: &str, good: &str, bad: &str) -> String {
    assert!(append.contains(good), "the append no longer holds {good:?}");
    append.replace(good, bad)
}
