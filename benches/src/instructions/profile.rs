//! One dump of callgrind, as far as it is needed: all instructions, and calls of allocators. The
//! format is valgrind's manual's, "Callgrind Format Specification".

use std::collections::HashMap;

use super::Cost;

/// What a dump holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    /// Instructions in all.
    pub instructions: u64,
    /// Calls of functions that allocate.
    pub allocations: u64,
}

/// The text is no dump of instructions. Nothing was changed; retrying does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a dump of callgrind: {0}")]
pub struct NotAProfile(String);

impl Profile {
    /// Reads a dump.
    ///
    /// # Errors
    /// [`NotAProfile`].
    pub fn read(text: &str) -> Result<Self, NotAProfile> {
        let bad = |line: &str| NotAProfile(format!("the line {line:?}"));
        // A name is written out once, with a number that stands for it from then on.
        let mut allocators: HashMap<&str, bool> = HashMap::new();
        let (mut instructions, mut allocations, mut callee) = (None, 0, None);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(['=', ':']) else { continue };
            match key {
                "fn" | "cfn" => {
                    let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                    if !name.is_empty() {
                        allocators.insert(number, allocates(name));
                    }
                    callee = (key == "cfn").then_some(number);
                }
                "calls" => {
                    let callee = callee.take().ok_or_else(|| bad(line))?;
                    if allocators.get(callee).copied().unwrap_or_default() {
                        let count = value.split(' ').next().and_then(|count| count.parse().ok());
                        allocations += count.unwrap_or(0);
                    }
                }
                "events" if value.trim() != "Ir" => return Err(bad(line)),
                "totals" => {
                    instructions = Some(value.trim().parse::<u64>().map_err(|_| bad(line))?);
                }
                _ => {}
            }
        }
        let instructions = instructions.ok_or_else(|| NotAProfile("no totals".to_owned()))?;
        Ok(Self { instructions, allocations })
    }

    /// The cost of one of so many operations.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts are far under 2^52")]
    pub fn per_operation(self, operations: f64) -> Cost {
        Cost {
            instructions: self.instructions as f64 / operations,
            allocations: self.allocations as f64 / operations,
        }
    }
}

/// Whether a function is one of the allocator's doors: Rust's, or C's for the libraries in C. The
/// server's allocator does not go through C's.
fn allocates(name: &str) -> bool {
    const RUST: [&str; 3] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc"];
    const C: [&str; 6] =
        ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];
    let last = name.rsplit("::").next().unwrap_or(name);
    RUST.contains(&last) || C.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "version: 1\ncreator: callgrind-3.19.0\npart: 2\n\npositions: line\nevents: Ir\n\n\
        fl=(1) hub.rs\nfn=(1) publish\n10 200\ncfn=(2) __rustc::__rust_alloc\ncalls=3 0\n11 60\n\
        cfi=(2) x.rs\ncfn=(3) __rust_alloc_error_handler\ncalls=1 5\n12 9\n\nfn=(2)\n0 60\n\
        cfn=(4) malloc\ncalls=2 0\n0 7\n\nfn=(5) other\n1 3\ncfn=(2)\ncalls=4 0\n1 80\n\ntotals: 419\n";

    #[test]
    fn instructions_are_the_total_and_allocations_are_calls() {
        let profile = Profile::read(DUMP).expect("a dump");
        assert_eq!(profile, Profile { instructions: 419, allocations: 9 });
        let cost = profile.per_operation(2.0);
        assert_eq!(cost, Cost { instructions: 209.5, allocations: 4.5 });
    }

    #[test]
    fn what_is_no_dump_of_instructions_is_refused() {
        assert!(Profile::read("").is_err());
        assert!(Profile::read(&DUMP.replace("events: Ir", "events: Ir Dr")).is_err());
        assert!(Profile::read(&DUMP.replace("totals: 419", "")).is_err());
    }
}
