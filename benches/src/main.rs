//! The load generator: constant load on a running server, and what it cost. It starts no server.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use parlance_benches::args::{Asked, Flags, Scenario};
use parlance_benches::attack::table::table;
use parlance_benches::load::Load;
use parlance_benches::process::{give_way, raise_open_files};
use parlance_benches::report::html;
use parlance_benches::{across, load};
use tokio::runtime::{Builder, Runtime};

/// Files of a process beside its sockets.
const FILES_BESIDE: u64 = 64;
/// How long a thread that still reads may hold the end up.
const END_WAIT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            if error.kind() == ErrorKind::InvalidSubcommand {
                eprintln!("{error}\nallowed are {}", scenarios().join(", "));
                return ExitCode::from(2);
            }
            error.exit()
        }
    };
    match start(flags.scenario) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("parlance-load: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// The names of what can be asked for.
fn scenarios() -> Vec<String> {
    let command = Flags::command();
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| command.get_name().to_owned()).collect()
}

fn start(scenario: Scenario) -> anyhow::Result<bool> {
    match &scenario {
        Scenario::Compare { one, several } => {
            print!("{}", across::compare(one, several)?);
            return Ok(true);
        }
        Scenario::Attacks { reports } => {
            print!("{}", table(reports)?);
            return Ok(true);
        }
        Scenario::Work { threads, gives_way } => {
            // The conductor has said how many files are needed.
            let _ = raise_open_files();
            if *gives_way {
                give_way()?;
            }
            let runtime = runtime(*threads)?;
            let worked = runtime.block_on(Box::pin(load::child()));
            // The thread that reads orders waits for one more.
            runtime.shutdown_timeout(END_WAIT);
            return worked.map(|()| true);
        }
        _ => {}
    }
    let Some(asked) = scenario.asked()? else { anyhow::bail!("there is nothing to do") };
    has_files(&asked)?;
    let Asked { site, plan, json, html } = &asked;
    let report = runtime(site.threads)?.block_on(Box::pin(load::run(site, plan)))?;
    print!("{}", report.table());
    if let Some(path) = json {
        let json = serde_json::to_vec_pretty(&report).context("writing the report")?;
        write(path, &json)?;
    }
    if let Some(path) = html {
        write(path, html::page(&report).as_bytes())?;
    }
    Ok(report.is_good())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// One thread is the cheapest.
fn runtime(threads: usize) -> anyhow::Result<Runtime> {
    let mut builder = match threads {
        0 | 1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("starting the runtime")
}

fn has_files(asked: &Asked) -> anyhow::Result<()> {
    let files = raise_open_files();
    let attackers = match &asked.plan.load {
        Load::Attack(attack) => attack.connections,
        _ => 0,
    };
    let processes = match &asked.plan.load {
        // The last one has those who stay.
        Load::Storm(_) => asked.site.processes.saturating_sub(1),
        _ => asked.site.processes,
    };
    let sockets = asked.plan.load.sockets().div_ceil(processes.max(1)) + attackers;
    let sockets = sockets as u64;
    anyhow::ensure!(
        files > sockets + FILES_BESIDE,
        "this system lets a process open {files} files, and {sockets} sockets in each process are \
         asked for; ask for more --processes"
    );
    Ok(())
}
