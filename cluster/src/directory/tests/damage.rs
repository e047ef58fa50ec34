//! Damaged files: a start either gives exactly the state that was there, or refuses and names the
//! file. It never gives another state, never begins anew, and never panics.
