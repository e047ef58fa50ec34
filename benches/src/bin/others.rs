//! The load of `parlance-load fanout` and `idle` on other servers, and the table of all of them. It starts
//! no server: benches/others.sh does.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use parlance_benches::load::Site;
use parlance_benches::load::site::loopback_sources;
use parlance_benches::others::{self, Plan, Protocol, table};
use parlance_benches::process::{Tree, raise_open_files};

/// Puts the load generator's load on another server. See benches/README.md.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes what the server needs before its first member, once for its data: accounts, or a stream.
    Prepare(Load),
    /// Constant load: rooms in which every member hears everything.
    Fanout(Load),
    /// Members of rooms who do nothing: memory of each.
    Idle(Load),
    /// Puts a folder of reports into a table, in Markdown.
    Table {
        /// Where benches/others.sh keeps the reports of a run.
        folder: PathBuf,
    },
}

#[derive(Debug, Clone, Args)]
struct Load {
    /// What the server speaks.
    #[arg(long)]
    protocol: Protocol,
    /// The server, as http://HOST:PORT, whatever it speaks.
    #[arg(long)]
    url: String,
    /// A process to measure, with its children; can be given more than once (the server first, then
    /// for example PostgreSQL's postmaster).
    #[arg(long = "server-pid")]
    server_pids: Vec<u32>,
    /// Rooms.
    #[arg(long, default_value_t = 100)]
    rooms: usize,
    /// Connections in each room.
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Numbers of connections and rooms begin after so many connections: for two runs beside each other.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Messages a second in each room.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 5.0)]
    warm_up: f64,
    /// Measured seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Bytes of a body; at least 16.
    #[arg(long, default_value_t = 128)]
    body: usize,
    /// Loopback addresses (127.0.0.1, 127.0.0.2, …) that the connections come from.
    #[arg(long, default_value_t = 4)]
    sources: u8,
    /// Write the report there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Load {
    fn plan(&self, has_rate: bool) -> anyhow::Result<Plan> {
        anyhow::ensure!(self.rooms > 0 && self.members > 0, "at least one room and member");
        anyhow::ensure!(self.rate > 0.0 && self.rate.is_finite(), "the rate must be above 0");
        anyhow::ensure!(self.body >= 16, "a body holds the instant it was due: at least 16 bytes");
        Ok(Plan {
            rooms: self.rooms,
            members: self.members,
            first: self.first,
            rate: has_rate.then_some(self.rate * self.rooms as f64),
            body_bytes: self.body,
            warm_up: Duration::try_from_secs_f64(self.warm_up).context("--warm-up is no time")?,
            duration: Duration::try_from_secs_f64(self.seconds).context("--seconds is no time")?,
        })
    }

    fn site(&self) -> anyhow::Result<Site> {
        let mut site = Site::at(vec![self.url.clone()]);
        site.sources = loopback_sources(&site.doors()?, self.sources);
        site.servers = self.server_pids.iter().map(|pid| Tree { pid: *pid }).collect();
        Ok(site)
    }
}

fn main() -> ExitCode {
    match start(Flags::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("parlance-others: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn start(task: Task) -> anyhow::Result<bool> {
    let (load, prepares, has_rate) = match task {
        Task::Table { folder } => {
            print!("{}", table::of(&folder)?);
            return Ok(true);
        }
        Task::Prepare(load) => (load, true, false),
        Task::Fanout(load) => (load, false, true),
        Task::Idle(load) => (load, false, false),
    };
    let (plan, site) = (load.plan(has_rate)?, load.site()?);
    let (files, connections) = (raise_open_files(), plan.connections());
    anyhow::ensure!(
        files > connections as u64 + 64,
        "this system lets a process open {files} files, and {connections} connections are asked for"
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("starting the runtime")?;
    if prepares {
        runtime.block_on(Box::pin(others::prepare(load.protocol, &site, &plan)))?;
        return Ok(true);
    }
    let report = runtime.block_on(Box::pin(others::run(load.protocol, &site, &plan)))?;
    print!("{}", report.table());
    if let Some(path) = &load.json {
        let json = serde_json::to_vec_pretty(&report).context("writing the report")?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.is_good())
}
