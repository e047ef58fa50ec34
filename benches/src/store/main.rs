//! What history costs without a server before it: the product's lanes flat out or at a rate, and its
//! reads of rooms with much history. `benches/rows.sh` and `benches/growth-history.sh` run it. It
//! makes no database, and leaves what it wrote.

mod commits;
mod reads;
mod rows;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use parlance_benches::process::Tree;
use parlance_storage::{Storage, StorageConfig};

/// The node's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the lanes and the reads of Parlance's storage on a database. See benches/README.md.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Commits messages through the lanes and tells rows a second and what a row costs.
    Rows(rows::Plan),
    /// Reads and appends in rooms that are there, and tells what each operation costs.
    Reads(reads::Plan),
}

#[derive(Debug, Clone, Args)]
struct Database {
    /// The database, as the server's setting `database.url`.
    #[arg(long)]
    url: String,
    /// Lanes; the product's default unless given.
    #[arg(long)]
    lanes: Option<usize>,
    /// The database server's topmost process, whose time is told too.
    #[arg(long)]
    server_pid: Option<u32>,
}

impl Database {
    async fn open(&self) -> anyhow::Result<Storage> {
        let mut config = StorageConfig::new(&self.url);
        config.lanes = self.lanes;
        Storage::open(config).await.context("opening the storage")
    }

    /// How many lanes the storage will have.
    fn lanes(&self) -> anyhow::Result<usize> {
        let default = match StorageConfig::new(&self.url).is_postgres()? {
            true => parlance_storage::limits::LANES_POSTGRES,
            false => 1,
        };
        Ok(self.lanes.unwrap_or(default))
    }

    /// The processor time of this process and of the database server until now.
    fn cpu(&self) -> anyhow::Result<(Duration, Duration)> {
        let own = Tree { pid: std::process::id() }.used()?.cpu;
        let server = self.server_pid.map(|pid| Tree { pid }.used()).transpose()?;
        Ok((own, server.map_or(Duration::ZERO, |used| used.cpu)))
    }
}

fn main() -> ExitCode {
    match start(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("parlance-store: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: Flags) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match flags.what {
            What::Rows(plan) => rows::run(plan).await,
            What::Reads(plan) => reads::run(plan).await,
        }
    })
}
