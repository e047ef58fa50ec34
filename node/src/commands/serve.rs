//! `parlance serve`: starts a node, says where it listens, and ends it in order.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::runtime::{Builder, Runtime};
use tracing::{error, info};

use super::print;
use crate::Settings;
use crate::assemble::{self, Node};
use crate::config::{self, Config, Flags};
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};
use crate::shutdown::{self, Signals};
use crate::telemetry;

/// What is left of blocking work after a shutdown in order, such as a password hash that nobody
/// waits for, is given this long.
const LEFTOVERS: Duration = Duration::from_millis(100);

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// How a log line looks: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// The least important log lines: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Begin a new cluster with this node. Exactly one node may.
    #[arg(long)]
    bootstrap: bool,
    /// Join the cluster by the control endpoint of one of its nodes; may be given more than once.
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Arguments {
    fn flags(&self) -> Flags {
        let mut flags = self.settings.flags();
        let mut set = |key: &str, flag: &str, value: Option<String>| {
            flags.values.extend(value.map(|value| (key.to_owned(), flag.to_owned(), value)));
        };
        set("http.listen", "--listen", self.listen.map(|address| address.to_string()));
        set("log.format", "--log-format", self.log_format.clone());
        set("log.level", "--log-level", self.log_level.clone());
        set("cluster.bootstrap", "--bootstrap", self.bootstrap.then(|| "true".to_owned()));
        set("cluster.join", "--join", (!self.join.is_empty()).then(|| self.join.join(",")));
        flags
    }
}

/// Runs a node until a signal ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = config::load(&arguments.flags(), true)?.config;
    telemetry::log(&config.log)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    // The directory's clock must tick while the node is busy, so it has a thread of its own.
    let control = runtime(Builder::new_multi_thread().worker_threads(1).thread_name("control"))?;
    let threads = threads(&config);
    let main = runtime(Builder::new_multi_thread().worker_threads(threads).thread_name("main"))?;
    let ended = main.block_on(serve(&config, &data_dir, &control));
    main.shutdown_timeout(LEFTOVERS);
    control.shutdown_timeout(LEFTOVERS);
    ended
}

/// Threads of the main runtime: one a core, so that a room or a client that keeps one busy does not hold up
/// the others, unless the operator says otherwise.
fn threads(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match config.threads {
        0 => cores,
        asked => asked as usize,
    }
}

async fn serve(config: &Config, data_dir: &DataDir, control: &Runtime) -> Result<(), Failure> {
    let mut signals = Signals::take()?;
    let node = tokio::select! {
        // Nothing was promised to anybody yet: the process ends as it would without us.
        signal = signals.next() => shutdown::end_at_once(signal),
        node = assemble::start(config, data_dir, control.handle()) => node?,
    };
    print(&format!("listening on {}\n", url(&node, config)))?;
    info!(address = %node.address, data_dir = %data_dir.path().display(), "ready");
    let ended = tokio::select! {
        signal = signals.next() => {
            info!(signal = signal.as_raw_value(), "ending");
            Ok(())
        }
        why = node.member.failed() => Err(lost(data_dir, &why)),
    };
    if let Err(failure) = &ended {
        error!(%failure, "ending, so that other nodes take over");
    }
    let impatience = control.spawn(async move { shutdown::end_at_once(signals.next().await) });
    shutdown::shut_down(node).await;
    impatience.abort();
    ended
}

/// The directory lives no more. It does not come back within this process: what a write that failed
/// left in memory and on the disk is only known after reading it anew.
fn lost(data_dir: &DataDir, why: &str) -> Failure {
    let what = format!(
        "the directory in {} cannot go on: {why}. Nothing that it acknowledged is lost. Mend the \
         disk, or make room on it, and start the node again",
        data_dir.path().display()
    );
    Failure::new(Cause::DataDirectory, what)
}

/// The address as one opens it: where a node listens on every address, this machine's own is
/// named, for that can be opened.
fn url(node: &Node, config: &Config) -> String {
    let scheme = if config.is_https() { "https" } else { "http" };
    let mut address = node.address;
    if address.ip().is_unspecified() {
        let own = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(own);
    }
    format!("{scheme}://{address}")
}

fn runtime(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Cause::Other, format!("cannot start a runtime: {error}")))
}
