//! What a server process and its children have used, from /proc. Children that ended are counted
//! through what their parent inherited, so PostgreSQL's backends may come and go.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use std::{fs, io};

use anyhow::Context;

/// The lowest priority (setpriority(2)).
const LOWEST: i32 = 19;

/// A process and everything below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tree {
    /// The process at its top.
    pub pid: u32,
}

/// What a tree has used up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Used {
    /// User and system time together.
    pub cpu: Duration,
    /// Resident memory, in bytes; memory that processes share counts once for each.
    pub rss_bytes: u64,
    /// Processes in the tree.
    pub processes: usize,
}

/// One line of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own_ticks: u64,
    inherited_ticks: u64,
    rss_pages: u64,
}

impl Stat {
    /// Parses the fields after the name, which may itself hold spaces and brackets (proc(5)).
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(number(4)?).ok()?,
            own_ticks: number(14)? + number(15)?,
            inherited_ticks: number(16)? + number(17)?,
            rss_pages: number(24)?,
        })
    }
}

impl Tree {
    /// The top process's command name, for the report.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn name(self) -> io::Result<String> {
        fs::read_to_string(format!("/proc/{}/comm", self.pid)).map(|name| name.trim().to_owned())
    }

    /// What it has used up to now.
    ///
    /// # Errors
    /// When the top process is gone.
    pub fn used(self) -> io::Result<Used> {
        Ok(sum(self.pid, &self.stats()?))
    }

    /// The processes that belong to it now.
    ///
    /// # Errors
    /// When the top process is gone.
    pub fn pids(self) -> io::Result<Vec<u32>> {
        Ok(members(self.pid, &self.stats()?).into_iter().collect())
    }

    fn stats(self) -> io::Result<HashMap<u32, Stat>> {
        let mut stats = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process that ended since the listing is not there to be counted.
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if let Some(stat) = Stat::parse(&line) {
                stats.insert(pid, stat);
            }
        }
        if !stats.contains_key(&self.pid) {
            let why = format!("there is no process {}", self.pid);
            return Err(io::Error::new(io::ErrorKind::NotFound, why));
        }
        Ok(stats)
    }
}

/// The top and everything below it.
fn members(top: u32, stats: &HashMap<u32, Stat>) -> BTreeSet<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in stats {
        children.entry(stat.parent).or_default().push(*pid);
    }
    let mut members = BTreeSet::new();
    let mut open = vec![top];
    while let Some(pid) = open.pop() {
        if members.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    members
}

fn sum(top: u32, stats: &HashMap<u32, Stat>) -> Used {
    let (mut ticks, mut pages) = (0, 0);
    let members = members(top, stats);
    for stat in members.iter().filter_map(|pid| stats.get(pid)) {
        ticks += stat.own_ticks + stat.inherited_ticks;
        pages += stat.rss_pages;
    }
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Used {
        cpu: Duration::from_millis(ticks * 1_000 / per_second),
        rss_bytes: pages * rustix::param::page_size() as u64,
        processes: members.len(),
    }
}

/// Lets this process open as many files as the system allows, and answers how many that is.
#[must_use]
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // When it cannot be raised, the answer says how many there are.
    let _ = setrlimit(Resource::Nofile, raised);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Runs at the lowest priority from now on: on Linux this thread and those that it starts, elsewhere the process.
///
/// # Errors
/// When the system refuses it.
pub fn give_way() -> anyhow::Result<()> {
    rustix::process::setpriority_process(None, LOWEST).context("lowering the priority")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let line =
            "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 5 6 20 0 1 0 99 1000 250 18";
        let stat = Stat::parse(line).expect("a line of proc");
        let expected = Stat { parent: 7, own_ticks: 120, inherited_ticks: 11, rss_pages: 250 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn children_and_their_children_count() {
        let stat = |parent, own_ticks| Stat { parent, own_ticks, inherited_ticks: 0, rss_pages: 1 };
        let stats = [
            (1, stat(0, 1_000)),
            (5, stat(1, 100)),
            (6, stat(5, 10)),
            (7, stat(6, 1)),
            (8, stat(1, 5)),
        ];
        let used = sum(5, &stats.into());
        assert_eq!(used.processes, 3);
        let per_second = rustix::param::clock_ticks_per_second();
        assert_eq!(used.cpu, Duration::from_millis(111_000 / per_second));
    }

    #[test]
    fn this_process_uses_memory() {
        let used = Tree { pid: std::process::id() }.used().expect("this process lives");
        assert!(used.rss_bytes > 100_000 && used.processes >= 1);
        assert!(Tree { pid: u32::MAX }.used().is_err());
    }
}
