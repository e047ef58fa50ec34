//! What is done with arbitrary bytes, and what must hold whatever they are: one function for each fuzz
//! target. `fuzz_targets/` hands them to libFuzzer; `tests/corpus.rs` calls them with every input of
//! `corpus/`, in every `make test`.

mod call;
mod envelope;
mod gossip;
mod link;
mod snapshot;

pub use call::call;
pub use envelope::envelope;
pub use gossip::gossip;
pub use link::link;
pub use snapshot::snapshot;

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 5] = [
    ("call", call),
    ("envelope", envelope),
    ("gossip", gossip),
    ("link", link),
    ("snapshot", snapshot),
];
