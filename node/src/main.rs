//! The binary `parlance`: the command line and nothing else. What each command does stands in
//! the file of its name under `commands/`.

mod assemble;
mod commands;
mod config;
mod control;
mod data_dir;
mod failure;
mod first_admin;
mod shutdown;
mod telemetry;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A chat server: one binary, from a laptop to a cluster.
#[derive(Debug, Parser)]
#[command(name = "parlance", version = assemble::VERSION, about, after_help = failure::EXIT_CODES)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node. SIGTERM or SIGINT end it in order, a second one at once.
    Serve(commands::serve::Arguments),
    /// Print the version.
    Version,
    /// Look at the configuration without starting anything.
    #[command(subcommand)]
    Config(commands::config::Action),
    /// The database's schema.
    #[command(subcommand)]
    Migrate(commands::migrate::Action),
    /// The key ring that message bodies are encrypted with.
    #[command(subcommand)]
    Keys(commands::keys::Action),
    /// The certificates by which the nodes of a cluster know one another.
    #[command(subcommand)]
    Cert(commands::cert::Action),
    /// How the cluster stands, and an operator's hand on it, through the running node.
    #[command(subcommand)]
    Cluster(commands::cluster::Action),
    /// Whether the node answers, for the health check of a container.
    Health(commands::health::Arguments),
    /// Administrators and lost passwords.
    #[command(subcommand)]
    Admin(commands::admin::Action),
}

/// Where the configuration comes from, for every command that needs it.
#[derive(Debug, Clone, Default, Args)]
struct Settings {
    /// The TOML file; else PARLANCE_CONFIG, else node.toml in the data directory if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything of this node lives.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// PostgreSQL's URL. Others can read a command line: prefer the file or the environment.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Any other key, such as `--set http.max_connections=500`; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
        None => Err("write it as key=value".to_owned()),
    }
}

impl Settings {
    /// The flags that were given, as keys.
    fn flags(&self) -> Flags {
        let mut values = Vec::new();
        for (key, value) in &self.set {
            values.push((key.clone(), "--set".to_owned(), value.clone()));
        }
        if let Some(dir) = &self.data_dir {
            let dir = dir.to_string_lossy().into_owned();
            values.push(("data_dir".to_owned(), "--data-dir".to_owned(), dir));
        }
        if let Some(url) = &self.database_url {
            values.push(("database.url".to_owned(), "--database-url".to_owned(), url.clone()));
        }
        Flags { config: self.config.clone(), values }
    }
}

fn main() -> ExitCode {
    // Whatever this process makes is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let done = match CommandLine::parse().command {
        Command::Version => commands::print(&format!("parlance {}\n", assemble::VERSION)),
        Command::Config(action) => commands::config::run(&action),
        Command::Migrate(action) => commands::migrate::run(&action),
        Command::Keys(action) => commands::keys::run(&action),
        Command::Cert(action) => commands::cert::run(&action),
        Command::Cluster(action) => commands::cluster::run(&action),
        Command::Health(arguments) => commands::health::run(&arguments),
        Command::Admin(action) => commands::admin::run(&action),
        Command::Serve(arguments) => commands::serve::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
