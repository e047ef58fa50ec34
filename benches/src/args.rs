//! The arguments of `parlance-load`, and the plan that they ask for. What is wrong is said with what is
//! allowed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::load::Site;
use crate::load::plan::{Attack, CatchUp, Churn, History, Load, Mixed, Plan, Rooms, Storm};
use crate::load::site::loopback_sources;
use crate::process::Tree;

mod scenarios;

pub use scenarios::{
    AttackArgs, BigRoomArgs, By, CatchUpArgs, ChurnArgs, DurableArgs, FanoutArgs, HistoryArgs,
    IdleArgs, MixedArgs, StormArgs,
};

/// Puts load on a running Parlance server, measures it, and checks its promises.
///
/// It starts no server. Everything has an instant at which it is due, and its latency counts from that
/// instant however late it was really done, so a server that stalls is charged for it. Every scenario
/// ends by itself; its exit code is 0 when the run is good, 1 when it is not (a broken promise, a lost
/// socket, a refusal for good), and 2 when it could not run.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP)]
pub struct Flags {
    /// What to do.
    #[command(subcommand)]
    pub scenario: Scenario,
}

const AFTER_HELP: &str = "\
Accounts: the generator registers what it needs. Where registration is closed, name accounts that exist with \
--admin USER --password-file FILE, or several with --accounts FILE; an account may have 64 sockets on a node.

Limits of the server: load from a few addresses meets the limits for each address. For load tests switch them \
off (auth.register_per_minute=0, auth.login_per_minute=0, http.requests_per_second=0, \
http.max_connections_per_address=0); all others stay at their defaults.

Examples:
  parlance-load fanout --server-pid $(pidof parlance) --check --html fanout.html
  parlance-load storm --sessions 5000 --processes 2 --url https://chat.example --ca ca.pem --check
  parlance-load SCENARIO --help";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Rooms in which every member sends and hears everything.
    Fanout(FanoutArgs),
    /// One room with many members and few senders.
    BigRoom(BigRoomArgs),
    /// Messages in rooms of two: how long from send to ack.
    Durable(DurableArgs),
    /// Sessions that follow a room and do nothing: memory of each, and what connecting costs.
    Idle(IdleArgs),
    /// Sessions that connect, sign in, follow a room, may send one message, and leave.
    Churn(ChurnArgs),
    /// Sessions that drop all at once and come back with their cursors, beside others that send.
    Storm(StormArgs),
    /// Sessions that were away while much was said, and catch up.
    CatchUp(CatchUpArgs),
    /// Pages of history over HTTP, before and after random places.
    History(HistoryArgs),
    /// A team's day: messages, typing, presence, read marks, rooms opened and closed.
    Mixed(MixedArgs),
    /// Sessions that send while somebody attacks from another address: what they notice of it.
    Attack(AttackArgs),
    /// Sets reports (`--json`) of attacks beside each other. It puts no load on anything.
    Attacks {
        /// Reports of `attack`.
        #[arg(required = true)]
        reports: Vec<PathBuf>,
    },
    /// Compares reports (`--json`) of one load on one node and on several: what a delivery costs in
    /// each, and the ratio. It puts no load on anything.
    Compare {
        /// Reports of runs on one node.
        #[arg(long, required = true, num_args = 1..)]
        one: Vec<PathBuf>,
        /// Reports of runs on several nodes.
        #[arg(long, required = true, num_args = 1..)]
        several: Vec<PathBuf>,
    },
    /// A process of a run with --processes; the first one starts it.
    #[command(hide = true)]
    Work {
        /// Its threads.
        #[arg(long, default_value_t = 1)]
        threads: usize,
        /// It runs at the lowest priority.
        #[arg(long)]
        gives_way: bool,
    },
}

/// What every scenario takes.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The server, as http://HOST:PORT or https://HOST:PORT (ws and wss are the same). Given more
    /// than once, the sockets are spread over the nodes of a cluster, the members of each room in turn.
    #[arg(long = "url", default_value = "http://127.0.0.1:8080", help_heading = "Server")]
    pub urls: Vec<String>,
    /// PEM file with the authority of the server's certificate; without it the system's are trusted.
    #[arg(long, help_heading = "Server")]
    pub ca: Option<PathBuf>,
    /// An account that exists; it makes the rooms. Needs --password-file.
    #[arg(long, requires = "password_file", help_heading = "Server")]
    pub admin: Option<String>,
    /// A file with its password, on one line.
    #[arg(long, requires = "admin", help_heading = "Server")]
    pub password_file: Option<PathBuf>,
    /// A file with accounts that exist: on each line a name, a space, and the password.
    #[arg(long, help_heading = "Server")]
    pub accounts: Option<PathBuf>,
    /// A process on this machine to measure, with its children; can be given more than once (the node
    /// first, then for example PostgreSQL's postmaster).
    #[arg(long = "server-pid", help_heading = "Server")]
    pub server_pids: Vec<u32>,
    /// Count the system calls of these processes with `perf stat`. Costs each call about 0.1 µs.
    #[arg(long, help_heading = "Server")]
    pub syscalls: bool,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 5.0, help_heading = "Run")]
    pub warm_up: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 20.0, help_heading = "Run")]
    pub seconds: f64,
    /// Bytes of a body: 16 to 16384.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(16..=16_384), help_heading = "Run")]
    pub body: u32,
    /// Sockets that share an account: 1 to 64, which is what the server allows on a node.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Run")]
    pub per_account: u32,
    /// What chance begins with: the same seed gives the same load.
    #[arg(long, default_value_t = 1, help_heading = "Run")]
    pub seed: u64,
    /// Check the promises over everything that was sent and received.
    #[arg(long, help_heading = "Run")]
    pub check: bool,
    /// Keep accounts and rooms in this file, and take them from it when it is there: for several runs of
    /// one shape, and for `idle` on a server that was started again after the setup. The access tokens
    /// in it last as long as the server says (30 minutes by default).
    #[arg(long, help_heading = "Run")]
    pub prepared: Option<PathBuf>,
    /// Loopback addresses (127.0.0.1, 127.0.0.2, …) that the sockets come from when the server is on
    /// loopback.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..), help_heading = "Generator")]
    pub sources: u8,
    /// A local address that the sockets come from, in place of those; can be given more than once.
    #[arg(long = "source", help_heading = "Generator")]
    pub source: Vec<std::net::IpAddr>,
    /// Processes that share the load: 1 to 64. A process has one thread and a limit of open files. In `storm` the
    /// last has those who stay, and the others give way to everything else on the machine.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Generator")]
    pub processes: u32,
    /// Threads of each process: 1 to 64.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Generator")]
    pub threads: u32,
    /// Write the report there as JSON.
    #[arg(long, help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write the report there as a page with plots that needs nothing else.
    #[arg(long, help_heading = "Output")]
    pub html: Option<PathBuf>,
}

/// A run that was asked for.
#[derive(Debug)]
pub struct Asked {
    /// On what.
    pub site: Site,
    /// Which load.
    pub plan: Plan,
    /// Where the report goes beside the table.
    pub json: Option<PathBuf>,
    /// And as a page.
    pub html: Option<PathBuf>,
}

impl Scenario {
    /// The run that this asks for; `None` where it asks for none.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn asked(self) -> anyhow::Result<Option<Asked>> {
        let (load, common) = match self {
            Self::Fanout(args) => args.load(),
            Self::BigRoom(args) => args.load(),
            Self::Durable(args) => args.load(),
            Self::Idle(args) => args.load(),
            Self::Churn(args) => args.load(),
            Self::Storm(args) => args.load(),
            Self::CatchUp(args) => args.load(),
            Self::History(args) => args.load(),
            Self::Mixed(args) => args.load(),
            Self::Attack(args) => args.load(),
            Self::Attacks { .. } | Self::Compare { .. } | Self::Work { .. } => return Ok(None),
        }?;
        let site = common.site()?;
        let plan = Plan {
            load,
            body_bytes: usize::try_from(common.body)?,
            warm_up: seconds(common.warm_up, "--warm-up")?,
            duration: seconds(common.seconds, "--seconds")?,
            per_account: usize::try_from(common.per_account)?,
            check: common.check,
            seed: common.seed,
        };
        check(&plan)?;
        Ok(Some(Asked { site, plan, json: common.json, html: common.html }))
    }
}

impl Common {
    /// Whether every door is on loopback.
    fn is_on_loopback(&self) -> bool {
        let doors = Site::at(self.urls.clone()).doors();
        doors.is_ok_and(|doors| !loopback_sources(&doors, 1).is_empty())
    }

    fn site(&self) -> anyhow::Result<Site> {
        let mut site = Site {
            urls: self.urls.clone(),
            ca: self.ca.clone(),
            sources: self.source.clone(),
            known: self.known()?,
            prepared: self.prepared.clone(),
            servers: self.server_pids.iter().map(|pid| Tree { pid: *pid }).collect(),
            syscalls: self.syscalls,
            processes: usize::try_from(self.processes)?,
            program: None,
            threads: usize::try_from(self.threads)?,
        };
        let doors = site.doors().context("--url")?;
        if site.sources.is_empty() {
            site.sources = loopback_sources(&doors, self.sources);
        }
        Ok(site)
    }

    /// The accounts that exist, the one that makes the rooms first.
    fn known(&self) -> anyhow::Result<Vec<(String, String)>> {
        let read = |file: &PathBuf| {
            std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
        };
        let mut known = Vec::new();
        if let (Some(name), Some(file)) = (&self.admin, &self.password_file) {
            let password = read(file)?;
            let password = password.lines().next().unwrap_or_default();
            anyhow::ensure!(!password.is_empty(), "{} holds no password", file.display());
            known.push((name.clone(), password.to_owned()));
        }
        if let Some(file) = &self.accounts {
            for (number, line) in
                read(file)?.lines().enumerate().filter(|(_, line)| !line.is_empty())
            {
                let account = line.split_once(' ').with_context(|| {
                    format!("{}: line {}: write NAME PASSWORD", file.display(), number + 1)
                })?;
                known.push((account.0.to_owned(), account.1.trim().to_owned()));
            }
        }
        Ok(known)
    }
}

/// A time that was given in seconds.
fn seconds(seconds: f64, name: &str) -> anyhow::Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= SECONDS_MAX);
    time.with_context(|| format!("{name} {seconds}: allowed is 0 to {}", SECONDS_MAX.as_secs()))
}

/// Longer runs outlive the access tokens that they begin with.
const SECONDS_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What no single argument can tell.
fn check(plan: &Plan) -> anyhow::Result<()> {
    let load = &plan.load;
    let (rooms, sockets) = (load.rooms(), load.sockets());
    anyhow::ensure!(rooms > 0 && sockets > 0, "at least one room and one socket are needed");
    let rate = |rate: f64, name: &str| {
        let allowed = rate > 0.0 && rate.is_finite();
        anyhow::ensure!(allowed, "{name} {rate}: allowed is anything above 0");
        Ok(())
    };
    match load {
        Load::Rooms(Rooms { members, senders, rate: messages, rooms, .. }) => {
            rate(*messages, "--rate")?;
            anyhow::ensure!(
                (1..=*members).contains(senders),
                "--senders {senders}: allowed is 1 to the members of a room, {members}"
            );
            each_sends(messages / (rooms * senders) as f64)?;
        }
        Load::Idle { .. } | Load::CatchUp(_) => {}
        Load::Churn(churn) => rate(churn.rate, "--rate")?,
        Load::Storm(storm) => {
            rate(storm.rate, "--rate")?;
            let share = storm.share;
            anyhow::ensure!(
                share > 0.0 && share <= 1.0,
                "--share {share}: allowed is above 0 to 1"
            );
            anyhow::ensure!(
                storm.steady > 0,
                "--steady 0: the load beside the storm needs a sender"
            );
            anyhow::ensure!(
                storm.drop_after < plan.duration,
                "--drop-after must be less than --seconds, so that they can come back"
            );
            each_sends(storm.rate / storm.steady as f64)?;
        }
        Load::History(history) => {
            rate(history.rate, "--rate")?;
            anyhow::ensure!(history.length > 0, "--length 0: a page needs something to show");
        }
        Load::Attack(attack) => {
            rate(attack.rate, "--rate")?;
            anyhow::ensure!(
                attack.begins_after + attack.lasts < plan.duration,
                "--begins-after and --lasts must together be less than --seconds, so that there is a \
                 time after the attack"
            );
            anyhow::ensure!(
                attack.over < attack.lasts,
                "--over must be less than --lasts, so that all connections are there for a while"
            );
            each_sends(attack.rate / attack.sessions as f64)?;
        }
        Load::Mixed(mixed) => {
            anyhow::ensure!(
                mixed.everyone <= mixed.rooms && mixed.everyone + mixed.follows > 0,
                "--everyone {}: allowed is 0 to the rooms, {}, and each user needs a room",
                mixed.everyone,
                mixed.rooms
            );
            let rates = [
                mixed.sends_per_minute,
                mixed.typing_per_minute,
                mixed.reads_per_minute,
                mixed.presence_per_minute,
                mixed.opens_per_minute,
            ];
            anyhow::ensure!(
                rates.iter().all(|rate| *rate >= 0.0 && rate.is_finite()) && mixed.zipf >= 0.0,
                "rates a minute and --zipf are 0 or more"
            );
            each_sends(mixed.sends_per_minute / 60.0)?;
        }
    }
    Ok(())
}

/// A session may send 50 messages a second.
fn each_sends(rate: f64) -> anyhow::Result<()> {
    anyhow::ensure!(
        rate <= 50.0,
        "each sender would send {rate:.1} messages a second, and the server allows 50: ask for more \
         senders or a lower rate"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> anyhow::Result<Option<Asked>> {
        Flags::try_parse_from(line.split(' '))?.scenario.asked()
    }

    #[test]
    fn every_scenario_has_defaults_that_make_a_plan() {
        for name in [
            "fanout", "big-room", "durable", "idle", "churn", "storm", "catch-up", "history",
            "mixed", "attack",
        ] {
            let asked = asked(&format!("parlance-load {name}")).expect(name).expect(name);
            assert_eq!(asked.plan.load.name(), name);
            assert!(!asked.plan.seats().is_empty() && asked.site.sources.len() == 4);
        }
    }

    #[test]
    fn bad_arguments_are_told_what_is_allowed() {
        for (line, word) in [
            ("fanout --rate 0", "above 0"),
            ("fanout --body 8", "16..=16384"),
            ("fanout --per-account 65", "1..=64"),
            ("fanout --rate 5000 --rooms 1 --members 2", "allows 50"),
            ("fanout --seconds 90000", "0 to 86400"),
            ("big-room --members 5 --senders 6", "1 to the members"),
            ("storm --share 2", "above 0 to 1"),
            ("storm --seconds 5 --drop-after 5", "less than --seconds"),
            ("mixed --everyone 10 --rooms 5", "0 to the rooms"),
            ("attack --lasts 15", "less than --seconds"),
            ("attack --over 10", "less than --lasts"),
            ("attack --kind nuke", "possible values: slow-headers"),
            ("churn --by password", "possible values: ticket, token"),
            ("fanout --url ftp://a", "http://HOST:PORT"),
            ("fanout --admin root", "--password-file"),
            ("fanout --processes 0", "1..=64"),
        ] {
            let error = asked(&format!("parlance-load {line}")).expect_err(line);
            assert!(format!("{error:#}").contains(word), "{line}: {error:#}");
        }
    }
}
