//! The load generator: constant load on a running server, and what it cost. It starts no server.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use parlance_benches::across;
use parlance_benches::load::{self, Plan};
use parlance_benches::process::{Tree, raise_open_files};
use parlance_client::Server;

/// Puts constant load on a running Parlance server and measures it. See benches/README.md.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Rooms in which every member hears everything.
    Fanout {
        /// Rooms.
        #[arg(long, default_value_t = 100)]
        rooms: usize,
        /// Sockets in each room.
        #[arg(long, default_value_t = 10)]
        members: usize,
        /// Messages a second in each room.
        #[arg(long, default_value_t = 10.0)]
        rate: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Messages in rooms of two: how long from send to ack.
    Durable {
        /// Rooms of two.
        #[arg(long, default_value_t = 250)]
        rooms: usize,
        /// Messages a second, all rooms together.
        #[arg(long, default_value_t = 5_000.0)]
        rate: f64,
        #[command(flatten)]
        common: Common,
    },
    /// Sessions that follow a room and do nothing: memory of each.
    Idle {
        /// Sessions.
        #[arg(long, default_value_t = 1_000)]
        sessions: usize,
        /// Rooms that they are spread over.
        #[arg(long, default_value_t = 100)]
        rooms: usize,
        #[command(flatten)]
        common: Common,
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
}

#[derive(Debug, Clone, Args)]
struct Common {
    /// The server, as http://HOST:PORT. Given more than once, the sockets are spread over the nodes
    /// of a cluster, the members of each room in turn.
    #[arg(long = "url", default_value = "http://127.0.0.1:8080")]
    urls: Vec<String>,
    /// A process to measure, with its children; can be given more than once (the node first, then
    /// for example PostgreSQL's postmaster).
    #[arg(long = "server-pid")]
    server_pids: Vec<u32>,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 5.0)]
    warm_up: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Bytes of a body; at least 16.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Sockets that share an account; the server allows a user 64.
    #[arg(long, default_value_t = 32)]
    per_account: usize,
    /// Loopback addresses (127.0.0.1, 127.0.0.2, …) that the sockets come from.
    #[arg(long, default_value_t = 4)]
    sources: u8,
    /// Threads of the generator.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Check the promises over everything that was sent and received.
    #[arg(long)]
    check: bool,
    /// Keep accounts and rooms in this file, and take them from it when it is there: for several
    /// runs of one shape, and for `idle` on a server that was started again after the setup. The
    /// access tokens in it last as long as the server says (30 minutes by default).
    #[arg(long)]
    prepared: Option<PathBuf>,
    /// Write the report there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match start(Flags::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("parlance-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<bool> {
    if let Scenario::Compare { one, several } = &flags.scenario {
        print!("{}", across::compare(one, several)?);
        return Ok(true);
    }
    let (common, plan) = plan(flags.scenario)?;
    let doors: Result<Vec<Server>, _> = common.urls.iter().map(|url| Server::parse(url)).collect();
    let doors = doors?;
    let files = raise_open_files();
    let sockets = plan.rooms * plan.members;
    anyhow::ensure!(
        files > sockets as u64 + 64,
        "this system lets a process open {files} files, and {sockets} sockets are asked for"
    );
    let runtime = if common.threads <= 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(common.threads)
            .enable_all()
            .build()
    }
    .context("starting the runtime")?;
    let report = runtime.block_on(async {
        if plan.scenario == "idle" {
            Box::pin(load::idle::run(&doors, &plan)).await
        } else {
            Box::pin(load::run(&doors, &plan)).await
        }
    })?;
    print!("{}", report.table());
    if let Some(path) = &common.json {
        let json = serde_json::to_vec_pretty(&report).context("writing the report")?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.is_good())
}

fn plan(scenario: Scenario) -> anyhow::Result<(Common, Plan)> {
    let (name, rooms, members, rate, common) = match scenario {
        Scenario::Fanout { rooms, members, rate, common } => {
            ("fanout", rooms, members, rate * rooms as f64, common)
        }
        Scenario::Durable { rooms, rate, common } => ("durable", rooms, 2, rate, common),
        Scenario::Idle { sessions, rooms, common } => {
            let rooms = rooms.min(sessions);
            ("idle", rooms, sessions / rooms.max(1), 1.0, common)
        }
        Scenario::Compare { .. } => anyhow::bail!("a comparison is no load"),
    };
    anyhow::ensure!(rooms > 0 && members > 0, "at least one room and one member are needed");
    anyhow::ensure!(rate > 0.0 && rate.is_finite(), "the rate must be above 0");
    anyhow::ensure!(common.body >= 16, "a body holds the instant it was due: at least 16 bytes");
    anyhow::ensure!((1..=64).contains(&common.per_account), "--per-account is 1 to 64");
    let seconds = |seconds: f64, name| {
        Duration::try_from_secs_f64(seconds).with_context(|| format!("{name} is no time"))
    };
    let plan = Plan {
        scenario: name,
        rooms,
        members,
        rate,
        body_bytes: common.body,
        warm_up: seconds(common.warm_up, "--warm-up")?,
        duration: seconds(common.seconds, "--seconds")?,
        accounts: (rooms * members).div_ceil(common.per_account),
        sources: common.sources,
        check: common.check,
        servers: common.server_pids.iter().map(|pid| Tree { pid: *pid }).collect(),
        prepared: common.prepared.clone(),
    };
    Ok((common, plan))
}
