//! Counts the system calls of processes with `perf stat`, where the machine has it and allows it. Each
//! counted call costs its process about a tenth of a microsecond, so this is done only when asked for.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::Tree;

/// A count that goes on: one `perf` for each process tree.
pub struct Syscalls(Vec<Result<Child, String>>);

impl Syscalls {
    /// Begins to count the calls of these trees. Processes that a tree starts later count with it.
    #[must_use]
    pub fn count(servers: &[Tree], wanted: bool) -> Self {
        let count = |tree: &Tree| {
            if !wanted {
                return Err("not measured: --syscalls was not given".to_owned());
            }
            let pids = tree.pids().map_err(|error| format!("not measured: {error}"))?;
            let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
            Command::new("perf")
                .args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &pids.join(",")])
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .map_err(|error| format!("not measured: perf: {error}"))
        };
        Self(servers.iter().map(count).collect())
    }

    /// Ends the count: the calls of each tree, or why they are not known.
    #[must_use]
    pub fn end(mut self) -> Vec<Result<u64, String>> {
        std::mem::take(&mut self.0).into_iter().map(|counting| counting.and_then(finish)).collect()
    }
}

/// A run that fails must not leave a count behind.
impl Drop for Syscalls {
    fn drop(&mut self) {
        for perf in self.0.iter_mut().flatten() {
            // One that has ended cannot be killed, and is only waited for.
            let _ = perf.kill();
            let _ = perf.wait();
        }
    }
}

fn finish(mut perf: Child) -> Result<u64, String> {
    let unknown = |why: &dyn std::fmt::Display| format!("not measured: perf: {why}");
    let pid = i32::try_from(perf.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| unknown(&"it has no id"))?;
    // It prints its count when it is interrupted. One that has ended says why below.
    let _ = kill_process(pid, Signal::INT);
    let mut said = String::new();
    if let Some(mut stderr) = perf.stderr.take() {
        stderr.read_to_string(&mut said).map_err(|error| unknown(&error))?;
    }
    perf.wait().map_err(|error| unknown(&error))?;
    read(&said).ok_or_else(|| unknown(&said.lines().next().unwrap_or("it said nothing")))
}

/// The count in `perf stat -x ,`'s output.
fn read(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_field_of_its_line() {
        assert_eq!(read("23095,,raw_syscalls:sys_enter,188757182,100.00,,\n"), Some(23_095));
        assert_eq!(read("<not counted>,,raw_syscalls:sys_enter,0,100.00,,"), None);
        assert_eq!(read("perf: Permission denied"), None);
    }

    #[test]
    fn what_nobody_asked_for_is_said_to_be_unmeasured() {
        let own = Tree { pid: std::process::id() };
        let counted = Syscalls::count(&[own], false).end();
        assert!(counted[0].as_ref().is_err_and(|why| why.contains("not measured")));
    }
}
