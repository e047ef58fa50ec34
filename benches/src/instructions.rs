//! Instruction counts of the server's parts: runs a program under callgrind, reads what it counted,
//! and compares it with a baseline in the repository. Which parts there are is the program's business.
//!
//! Only the rounds of a part are counted, not what sets it up: counting is on while a function
//! called [`ROUND`] runs, and a dump is written for each part when one called [`END`] begins. The
//! counts depend on the compiler and on what the processor can do (libraries choose code by its
//! features), and not on how busy the machine is. Seeds of hash maps differ from run to run; that
//! is a few instructions in ten thousand.

mod baseline;
mod profile;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

pub use baseline::{Baseline, Origin};
pub use profile::{NotAProfile, Profile};
pub use report::{ALLOCATIONS_MORE, INSTRUCTIONS_MORE_PERCENT, Report, Verdict};

/// The program's first word when it is to run its parts: then it prints a line for each, its name
/// and how many operations were counted.
pub const COUNT: &str = "count";
/// The program's function that runs one round.
pub const ROUND: &str = "counted_round";
/// The program's function that ends a part.
pub const END: &str = "end_of_part";
/// Where the baseline is, beside this crate's manifest.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/baseline.json");

/// What one operation of a part costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Instructions.
    pub instructions: f64,
    /// Allocations and reallocations, of Rust and of C.
    pub allocations: f64,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Write the baseline anew, instead of comparing with it.
    pub write: bool,
    /// Where callgrind's own files go, to be read with `callgrind_annotate`.
    pub keep: Option<PathBuf>,
    /// Only these parts.
    pub only: Vec<String>,
}

impl Request {
    /// Reads `[write] [keep=FOLDER] [PART…]`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(words: &[String]) -> Result<Self, String> {
        let mut request = Self::default();
        for word in words {
            if word == "write" {
                request.write = true;
            } else if let Some(folder) = word.strip_prefix("keep=") {
                request.keep = Some(folder.into());
            } else if word.starts_with('-') || word.contains('=') {
                return Err(format!("{word}: allowed are write, keep=FOLDER and names of parts"));
            } else {
                request.only.push(word.clone());
            }
        }
        if request.write && !request.only.is_empty() {
            return Err("write: a baseline holds every part".to_owned());
        }
        Ok(request)
    }
}

/// Counts the parts of this program, and compares them with the baseline or makes them the new one.
///
/// # Errors
/// When valgrind is missing, the program fails under it, or the baseline cannot be read or written.
pub fn check(request: &Request) -> anyhow::Result<Report> {
    let origin = Origin::here()?;
    let now = count(request)?;
    let path = Path::new(BASELINE);
    if request.write {
        let baseline = Baseline { origin, parts: now };
        baseline.write(path)?;
        return Ok(Report::written(&baseline));
    }
    let mut baseline = Baseline::read(path)?;
    if !request.only.is_empty() {
        baseline.parts.retain(|name, _| now.contains_key(name));
    }
    Ok(Report::compare(&baseline, &origin, &now))
}

/// Runs this program's parts under callgrind.
fn count(request: &Request) -> anyhow::Result<BTreeMap<String, Cost>> {
    let folder = match &request.keep {
        Some(folder) => Folder::kept(folder)?,
        None => Folder::thrown_away()?,
    };
    let dumps = folder.path.join("callgrind.out");
    let program = env::current_exe().context("this program's own file")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--dump-instr=yes", "--compress-pos=no"])
        .arg(format!("--toggle-collect=*{ROUND}*"))
        .arg(format!("--dump-before=*{END}*"))
        .arg(format!("--callgrind-out-file={}", dumps.display()))
        .arg(program)
        .arg(COUNT)
        .args(&request.only)
        .output()
        .context("valgrind does not run; apt install valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "the parts failed under callgrind ({}): {said}",
        output.status
    );
    let lines = String::from_utf8(output.stdout).context("the names of the parts")?;
    let mut costs = BTreeMap::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let (name, operations) = line.split_once(' ').context("a part's name and operations")?;
        let operations: f64 = operations.parse().context("a part's operations")?;
        let dump = format!("{}.{number}", dumps.display());
        let text = fs::read_to_string(&dump).with_context(|| format!("{dump}, of {name}"))?;
        let profile = Profile::read(&text).with_context(|| format!("{dump}, of {name}"))?;
        if request.keep.is_some() {
            fs::rename(&dump, folder.path.join(format!("{name}.callgrind")))?;
        }
        costs.insert(name.to_owned(), profile.per_operation(operations));
    }
    for name in &request.only {
        ensure!(
            costs.contains_key(name),
            "there is no part {name}; the table is in benches/README.md"
        );
    }
    Ok(costs)
}

/// Where callgrind writes.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    fn kept(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        Ok(Self { path: path.to_path_buf(), is_kept: true })
    }

    fn thrown_away() -> anyhow::Result<Self> {
        let path = env::temp_dir().join(format!("parlance-bench-check-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        Ok(Self { path, is_kept: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // What is left in a folder of temporary files hurts nobody.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Request, String> {
        Request::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_request_names_parts_or_renews_the_whole_baseline() {
        assert_eq!(parsed(&[]), Ok(Request::default()));
        let some = parsed(&["hub-push-1", "keep=/tmp/x"]).expect("allowed");
        assert_eq!(some.only, ["hub-push-1"]);
        assert_eq!(some.keep.as_deref(), Some(Path::new("/tmp/x")));
        assert!(parsed(&["write"]).expect("allowed").write);
        assert!(parsed(&["write", "hub-push-1"]).is_err());
        assert!(parsed(&["--wrte"]).is_err());
        assert!(parsed(&["BASELINE=write"]).is_err());
    }

    #[test]
    fn the_baseline_in_the_repository_can_be_read() {
        let baseline = Baseline::read(Path::new(BASELINE)).expect("a baseline");
        assert!(!baseline.parts.is_empty());
    }
}
