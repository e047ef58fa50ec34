//! `parlance cluster …`: how the cluster stands, and an operator's hand on it, through the running
//! node's control socket. It needs no other sign-in than the right to read the data directory.

mod recover;
mod report;

use clap::{Args, Subcommand};
use parlance_actors::vocab::{NodeId, ShardId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::recover::Recover;
use self::report::{Report, Rooms};
use super::print;
use crate::Settings;
use crate::config;
use crate::control::{Answer, Ask, call};
use crate::failure::{Cause, Failure};

/// What to see or do.
#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Nodes, agreement, shards, links and the last moves.
    Status(Seeing),
    /// One line a node.
    Nodes(Seeing),
    /// One line a shard.
    Shards(Seeing),
    /// The busiest rooms, one line each. It asks the other nodes.
    Rooms(Seeing),
    /// Move a shard to a node as a planned move.
    Move {
        /// The shard, 0 to 255.
        shard: u8,
        #[command(flatten)]
        to: OneNode,
    },
    /// Move a shard to a node and keep it there, whatever the load.
    Pin {
        /// The shard, 0 to 255.
        shard: u8,
        #[command(flatten)]
        to: OneNode,
    },
    /// Let a pinned shard go where the load says.
    Unpin {
        /// The shard, 0 to 255.
        shard: u8,
        #[command(flatten)]
        settings: Settings,
    },
    /// Have a node give its shards away and take no new ones.
    Drain(OneNode),
    /// End that.
    Undrain(OneNode),
    /// Take a node out for good. Its data directory is of no use afterwards.
    Remove(OneNode),
    /// On a stopped node: begin the directory anew when most of its voters are lost for good. Says
    /// what it will do; does it with --yes.
    Recover(Recover),
}

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct Seeing {
    /// All of it as JSON, the same as `GET /api/cluster` or `GET /api/cluster/rooms`.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct OneNode {
    /// The node's id, or the name in its certificate.
    node: String,
    #[command(flatten)]
    settings: Settings,
}

/// Does it.
pub(crate) fn run(action: &Action) -> Result<(), Failure> {
    match action {
        Action::Status(seeing) => see(seeing, Report::status),
        Action::Nodes(seeing) => see(seeing, Report::nodes),
        Action::Shards(seeing) => see(seeing, Report::shards),
        Action::Rooms(seeing) => rooms(seeing),
        Action::Move { shard, to } => {
            let (node, shard) = (Node::of(&to.settings)?, ShardId(*shard));
            let id = node.find(&to.node)?;
            node.tell(&Ask::Move { shard, to: id })?;
            print(&format!("shard {shard} moves to node {id}\n"))
        }
        Action::Pin { shard, to } => {
            let (node, shard) = (Node::of(&to.settings)?, ShardId(*shard));
            let id = node.find(&to.node)?;
            node.tell(&Ask::Pin { shard, to: Some(id) })?;
            print(&format!("shard {shard} is pinned to node {id}\n"))
        }
        Action::Unpin { shard, settings } => {
            let shard = ShardId(*shard);
            Node::of(settings)?.tell(&Ask::Pin { shard, to: None })?;
            print(&format!("shard {shard} is not pinned any more\n"))
        }
        Action::Drain(one) => {
            let id = with(one, |node| Ask::Drain { node, on: true })?;
            print(&format!(
                "node {id} gives its shards away; `parlance cluster nodes` counts them\n"
            ))
        }
        Action::Undrain(one) => {
            let id = with(one, |node| Ask::Drain { node, on: false })?;
            print(&format!("node {id} takes shards again\n"))
        }
        Action::Recover(arguments) => recover::run(arguments),
        Action::Remove(one) => {
            let id = with(one, |node| Ask::Remove { node })?;
            print(&format!("node {id} is removed\n"))
        }
    }
}

fn see(seeing: &Seeing, words: fn(&Report) -> String) -> Result<(), Failure> {
    let report = Node::of(&seeing.settings)?.report()?;
    if seeing.json {
        return print(&format!("{report:#}\n"));
    }
    print(&words(&read(report)?))
}

fn rooms(seeing: &Seeing) -> Result<(), Failure> {
    let rooms = Node::of(&seeing.settings)?.tell(&Ask::Rooms)?;
    if seeing.json {
        return print(&format!("{rooms:#}\n"));
    }
    print(&read::<Rooms>(rooms)?.rooms())
}

/// Finds the node that is meant and tells the running one; gives the id.
fn with(one: &OneNode, ask: impl FnOnce(NodeId) -> Ask) -> Result<NodeId, Failure> {
    let node = Node::of(&one.settings)?;
    let id = node.find(&one.node)?;
    node.tell(&ask(id))?;
    Ok(id)
}

/// The node that runs on the configured data directory.
struct Node {
    config: config::Config,
}

impl Node {
    fn of(settings: &Settings) -> Result<Self, Failure> {
        Ok(Self { config: config::load(&settings.flags(), false)?.config })
    }

    fn tell(&self, ask: &Ask) -> Result<Value, Failure> {
        match call(&self.config.data_dir, ask)? {
            Answer::Ok(value) => Ok(value),
            Answer::Error(what) => Err(Failure::new(Cause::Other, what)),
        }
    }

    fn report(&self) -> Result<Value, Failure> {
        self.tell(&Ask::Report)
    }

    /// A number is an id, whether the cluster knows it or not: it says so itself.
    fn find(&self, text: &str) -> Result<NodeId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(NodeId(id));
        }
        read::<Report>(self.report()?)?.node_called(text)
    }
}

fn read<T: DeserializeOwned>(report: Value) -> Result<T, Failure> {
    serde_json::from_value(report).map_err(|error| {
        let what = format!("the node's report is of another version of parlance: {error}");
        Failure::new(Cause::Other, what)
    })
}
