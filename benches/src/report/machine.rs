//! The machine and the programs of a run, so that a figure is never without them.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::process::Tree;

/// Where a run took place.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Machine {
    /// The processor.
    pub processor: String,
    /// How many of its threads this process may use.
    pub cores: usize,
    /// Main memory.
    pub memory_bytes: u64,
    /// The kernel.
    pub kernel: String,
    /// This program.
    pub generator: String,
    /// What each measured process says about its version.
    pub servers: Vec<String>,
    /// When the run ended, in seconds of Unix time.
    pub ended_unix: u64,
    /// The arguments that it was started with.
    pub arguments: Vec<String>,
}

impl Machine {
    /// Looks at this machine and these processes.
    #[must_use]
    pub fn look(servers: &[Tree]) -> Self {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let processor = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            processor,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            generator: concat!("parlance-load ", env!("CARGO_PKG_VERSION")).to_owned(),
            servers: servers.iter().map(version).collect(),
            ended_unix: now.map_or(0, |now| now.as_secs()),
            arguments: arguments(),
        }
    }
}

/// The arguments, without any that is a secret: there are none, passwords come from files.
fn arguments() -> Vec<String> {
    std::env::args().skip(1).collect()
}

/// The value of the first line with this name.
fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What the program of a process answers to `--version`, if it is one that is known to do so.
fn version(tree: &Tree) -> String {
    let name = tree.name().unwrap_or_default();
    if !matches!(name.as_str(), "parlance" | "postgres") {
        return name;
    }
    let said = Command::new(format!("/proc/{}/exe", tree.pid)).arg("--version").output();
    match said {
        Ok(said) if said.status.success() => {
            String::from_utf8_lossy(&said.stdout).trim().to_owned()
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_what_follows_its_name() {
        let text = "a : 1\nmodel name\t: A processor\nmodel name\t: Another\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A processor"));
        assert_eq!(field(text, "none"), None);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::look(&[]);
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
    }
}
