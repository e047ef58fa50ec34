//! What each part cost when somebody last looked and was content, in the repository.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use super::Cost;

/// Where counts come from. Counts of another compiler may differ without any change here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The day, in UTC.
    pub date: String,
    /// The compiler.
    pub rustc: String,
    /// The counter.
    pub valgrind: String,
    /// The kind of processor.
    pub processor: String,
}

impl Origin {
    /// This machine, today.
    ///
    /// # Errors
    /// When one of the programs that say it does not run.
    pub fn here() -> anyhow::Result<Self> {
        Ok(Self {
            date: said_by("date", &["-u", "+%F"])?,
            rustc: said_by("rustc", &["--version"])?,
            valgrind: said_by("valgrind", &["--version"]).context("apt install valgrind")?,
            processor: env::consts::ARCH.to_owned(),
        })
    }

    /// What differs from another origin, in words; days do not count.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let pairs = [
            (&self.rustc, &other.rustc),
            (&self.valgrind, &other.valgrind),
            (&self.processor, &other.processor),
        ];
        let different = pairs.into_iter().filter(|(ours, theirs)| ours != theirs);
        different.map(|(ours, theirs)| format!("{ours} instead of {theirs}")).collect()
    }
}

fn said_by(program: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(words).output();
    let output = output.with_context(|| format!("{program} does not run"))?;
    ensure!(output.status.success(), "{program} failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Where its counts come from.
    #[serde(flatten)]
    pub origin: Origin,
    /// The parts by name.
    pub parts: BTreeMap<String, Cost>,
}

impl Baseline {
    /// Reads a baseline.
    ///
    /// # Errors
    /// When the file is missing, or holds something else.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("no baseline in {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    /// Writes it, rounded: what is far under the threshold would only make differences to read.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut rounded = self.clone();
        for cost in rounded.parts.values_mut() {
            cost.instructions = cost.instructions.round();
            cost.allocations = (cost.allocations * 100.0).round() / 100.0;
        }
        let text = serde_json::to_string_pretty(&rounded)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())
    }
}
