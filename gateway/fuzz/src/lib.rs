//! What is done with arbitrary bytes, and what must hold whatever they are: one function for each fuzz
//! target. `fuzz_targets/` hands them to libFuzzer; `tests/corpus.rs` calls them with every input of
//! `corpus/`, in every `make test`.

mod body;
mod frame;
mod head;
mod preamble;
mod socket;
mod token;

pub use body::body;
pub use frame::frame;
pub use head::head;
pub use preamble::preamble;
pub use socket::socket;
pub use token::{SECRET, signed, token};

/// A target by its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 6] = [
    ("body", body),
    ("frame", frame),
    ("head", head),
    ("preamble", preamble),
    ("socket", socket),
    ("token", token),
];

/// The longest reason that a client gets, in characters: at most 300 of what it sent, of a path to it, and
/// what is allowed.
const REASON_CHARS_MAX: usize = 1_000;

/// A reason says something, and does not give back what was sent at full length.
fn check_reason(detail: &str) {
    let chars = detail.chars().count();
    assert!((1..=REASON_CHARS_MAX).contains(&chars), "a reason of {chars} characters: {detail}");
}

/// Runs what is asynchronous, on a runtime that lasts as long as the thread.
fn block_on<F: Future>(what: F) -> F::Output {
    use tokio::runtime::{Builder, Runtime};
    thread_local! {
        static RUNTIME: Runtime =
            Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    }
    RUNTIME.with(|runtime| runtime.block_on(what))
}
