//! One dump of callgrind, as far as it is needed: all instructions, and calls of allocators. The
//! format is valgrind's manual's, "Callgrind Format Specification".

use std::collections::{BTreeMap, HashMap};

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
    /// Reads a dump, made with `--dump-instr=yes --compress-pos=no`.
    ///
    /// # Errors
    /// [`NotAProfile`].
    pub fn read(text: &str) -> Result<Self, NotAProfile> {
        let bad = |line: &str| NotAProfile(format!("the line {line:?}"));
        // A name is written out once, with a number that stands for it from then on.
        let mut allocators: HashMap<&str, bool> = HashMap::new();
        // How often each instruction of an allocator ran, by function and address. Not what callgrind
        // says of calls: it counts those also while nothing is to be counted.
        let mut ran: HashMap<&str, BTreeMap<u64, u64>> = HashMap::new();
        let (mut instructions, mut function, mut is_of_call) = (None, "", false);
        for line in text.lines() {
            if line.starts_with("0x") {
                // The line after `calls` is what the called function took.
                let is_own = !std::mem::take(&mut is_of_call);
                if is_own && allocators.get(function).copied().unwrap_or_default() {
                    let (address, count) = cost_line(line).ok_or_else(|| bad(line))?;
                    *ran.entry(function).or_default().entry(address).or_default() += count;
                }
                continue;
            }
            let Some((key, value)) = line.split_once(['=', ':']) else { continue };
            match key {
                "fn" | "cfn" => {
                    let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                    if !name.is_empty() {
                        allocators.insert(number, allocates(name));
                    }
                    if key == "fn" {
                        function = number;
                    }
                }
                "calls" => is_of_call = true,
                "positions" if value.trim() != "instr line" => return Err(bad(line)),
                "events" if value.trim() != "Ir" => return Err(bad(line)),
                "totals" => {
                    instructions = Some(value.trim().parse::<u64>().map_err(|_| bad(line))?);
                }
                _ => {}
            }
        }
        let instructions = instructions.ok_or_else(|| NotAProfile("no totals".to_owned()))?;
        // A function is called as often as its first instruction runs.
        let entries = ran.values().filter_map(|places| places.first_key_value());
        let allocations = entries.map(|(_, count)| *count).sum();
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

/// An instruction's address and how often it ran.
fn cost_line(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split(' ');
    let address = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    let count = words.nth(1)?.parse().ok()?;
    Some((address, count))
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

    const DUMP: &str = "version: 1\npart: 2\n\npositions: instr line\nevents: Ir\n\n\
        fl=(1) hub.rs\nfn=(1) publish\n0x10 1 200\ncfn=(2) __rustc::__rust_alloc\ncalls=30 0x50 0\n\
        0x11 1 60\ncfi=(2) x.rs\ncfn=(3) __rust_alloc_error_handler\ncalls=1 0x90 5\n0x12 1 9\n\n\
        fn=(2)\n0x50 0 3\n0x51 0 3\ncfn=(4) malloc\ncalls=20 0x70 0\n0x52 0 7\n\n\
        fn=(4)\n0x70 1 2\n0x72 1 5\n\nfn=(2)\n0x50 0 4\n\nfn=(3)\n0x90 0 1\n\ntotals: 419\n";

    #[test]
    fn instructions_are_the_total_and_allocations_are_entries_while_counting() {
        let profile = Profile::read(DUMP).expect("a dump");
        assert_eq!(profile, Profile { instructions: 419, allocations: 9 });
        let cost = profile.per_operation(2.0);
        assert_eq!(cost, Cost { instructions: 209.5, allocations: 4.5 });
    }

    #[test]
    fn what_is_no_dump_of_instructions_is_refused() {
        assert!(Profile::read("").is_err());
        assert!(Profile::read(&DUMP.replace("events: Ir", "events: Ir Dr")).is_err());
        assert!(Profile::read(&DUMP.replace("instr line", "line")).is_err());
        assert!(Profile::read(&DUMP.replace("totals: 419", "")).is_err());
    }
}
