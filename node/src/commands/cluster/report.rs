//! The report of the running node as tables for people. Only what they show is read.

use std::fmt::Write as _;

use parlance_actors::vocab::{Epoch, NodeId, RoomId, RoomKind, ShardId, Timestamp};
use serde::Deserialize;

use crate::commands::migrate::utc;
use crate::failure::{Cause, Failure};

/// Moves that the status shows; the JSON has all.
const MOVES_SHOWN: usize = 10;

/// What `parlance_actors::ports::cluster::ClusterReport` becomes over the socket.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    cluster: String,
    node: NodeId,
    lease: bool,
    raft: Raft,
    nodes: Vec<Node>,
    /// Absent in what an older node says.
    #[serde(default)]
    oldest_version: Option<String>,
    shards: Vec<Shard>,
    links: Vec<Link>,
    moves: Vec<Move>,
}

#[derive(Debug, Deserialize)]
struct Raft {
    leader: Option<NodeId>,
    term: u64,
    last_log: u64,
    applied: u64,
    voters: Vec<NodeId>,
    learners: Vec<NodeId>,
    lag: Vec<(NodeId, u64)>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: NodeId,
    name: String,
    control: String,
    data: String,
    state: String,
    shards: u32,
    rooms: u64,
    sessions: u64,
    events_per_second: f64,
    version: String,
}

#[derive(Debug, Deserialize)]
struct Shard {
    shard: ShardId,
    owner: Option<NodeId>,
    epoch: Epoch,
    r#gen: u64,
    moving_to: Option<NodeId>,
    pinned_to: Option<NodeId>,
}

#[derive(Debug, Deserialize)]
struct Link {
    peer: NodeId,
    kind: String,
    connected: bool,
    /// Absent in what an older node says.
    #[serde(default)]
    version: Option<u16>,
    relayed_by: Option<NodeId>,
    rtt_ms: Option<f64>,
    queued_bytes: u64,
    interruptions: u64,
}

#[derive(Debug, Deserialize)]
struct Move {
    shard: ShardId,
    from: Option<NodeId>,
    to: NodeId,
    epoch: Epoch,
    at: Timestamp,
    cause: String,
}

/// What `parlance_actors::ports::cluster::BusiestRooms` becomes over the socket.
#[derive(Debug, Deserialize)]
pub(super) struct Rooms {
    rooms: Vec<Room>,
    silent: Vec<NodeId>,
}

#[derive(Debug, Deserialize)]
struct Room {
    room: RoomId,
    kind: Option<RoomKind>,
    name: Option<String>,
    shard: ShardId,
    owner: Option<NodeId>,
    events_per_second: f64,
    deliveries_per_second: f64,
    sessions: u64,
}

impl Rooms {
    /// One line a room.
    pub(super) fn rooms(&self) -> String {
        let mut text = table(
            &["ROOM", "NAME", "SHARD", "OWNER", "EVENTS/S", "DELIVERIES/S", "SESSIONS"],
            self.rooms.iter().map(|room| {
                vec![
                    room.room.to_string(),
                    match (&room.name, room.kind) {
                        (Some(name), _) => name.clone(),
                        (None, Some(RoomKind::Direct)) => "(direct)".to_owned(),
                        (None, _) => dash(),
                    },
                    room.shard.to_string(),
                    optional(room.owner),
                    format!("{:.1}", room.events_per_second),
                    format!("{:.1}", room.deliveries_per_second),
                    room.sessions.to_string(),
                ]
            }),
        );
        if !self.silent.is_empty() {
            let _ = writeln!(text, "\nno answer from {}", list(&self.silent));
        }
        text
    }
}

impl Report {
    /// Everything in a few lines.
    pub(super) fn status(&self) -> String {
        let mut text = self.summary();
        text.push('\n');
        text.push_str(&self.nodes());
        if !self.links.is_empty() {
            text.push('\n');
            text.push_str(&self.links());
        }
        if !self.moves.is_empty() {
            text.push('\n');
            text.push_str(&self.moves());
        }
        text
    }

    fn summary(&self) -> String {
        let Raft { leader, term, last_log, applied, voters, learners, lag } = &self.raft;
        let lease = if self.lease { "has a lease" } else { "has NO lease" };
        let behind = lag.iter().filter(|(_, entries)| *entries > 0);
        let behind = behind.map(|(node, entries)| format!("{node} by {entries}"));
        let behind = behind.collect::<Vec<_>>().join(", ");
        let count = |is: fn(&Shard) -> bool| self.shards.iter().filter(|shard| is(shard)).count();
        let mut text = format!(
            "cluster    {}\nthis node  {}, {lease}\n\
             raft       leader {}, term {term}, {applied} of {last_log} entries applied\n\
             voters     {}\nlearners   {}\nversion    every node runs {}\n",
            self.cluster,
            self.called(self.node),
            leader.map_or_else(|| "unknown".to_owned(), |leader| leader.to_string()),
            list(voters),
            list(learners),
            match &self.oldest_version {
                Some(oldest) => format!("{oldest} or later"),
                None => "what one of them has not said".to_owned(),
            },
        );
        if !behind.is_empty() {
            let _ = writeln!(text, "behind     {behind}");
        }
        let _ = writeln!(
            text,
            "shards     {}: {} owned, {} without an owner, {} moving, {} pinned",
            self.shards.len(),
            count(|shard| shard.owner.is_some()),
            count(|shard| shard.owner.is_none()),
            count(|shard| shard.moving_to.is_some()),
            count(|shard| shard.pinned_to.is_some()),
        );
        text
    }

    /// One line a node.
    pub(super) fn nodes(&self) -> String {
        let head = [
            "ID", "NAME", "STATE", "SHARDS", "ROOMS", "SESSIONS", "EVENTS/S", "VERSION", "CONTROL",
            "DATA",
        ];
        table(
            &head,
            self.nodes.iter().map(|node| {
                vec![
                    node.id.to_string(),
                    node.name.clone(),
                    node.state.clone(),
                    node.shards.to_string(),
                    node.rooms.to_string(),
                    node.sessions.to_string(),
                    format!("{:.1}", node.events_per_second),
                    node.version.clone(),
                    node.control.clone(),
                    node.data.clone(),
                ]
            }),
        )
    }

    /// One line a shard.
    pub(super) fn shards(&self) -> String {
        table(
            &["SHARD", "OWNER", "EPOCH", "GEN", "MOVING TO", "PINNED TO"],
            self.shards.iter().map(|shard| {
                vec![
                    shard.shard.to_string(),
                    optional(shard.owner),
                    shard.epoch.to_string(),
                    shard.r#gen.to_string(),
                    optional(shard.moving_to),
                    optional(shard.pinned_to),
                ]
            }),
        )
    }

    fn links(&self) -> String {
        table(
            &["PEER", "LINK", "STATE", "VERSION", "ROUND TRIP", "QUEUED", "INTERRUPTED"],
            self.links.iter().map(|link| {
                let state = match (link.connected, link.relayed_by) {
                    (_, Some(over)) => format!("over {over}"),
                    (true, None) => "connected".to_owned(),
                    (false, None) => "down".to_owned(),
                };
                vec![
                    link.peer.to_string(),
                    link.kind.clone(),
                    state,
                    link.version.map_or_else(dash, |version| version.to_string()),
                    link.rtt_ms.map_or_else(dash, |ms| format!("{ms:.1} ms")),
                    link.queued_bytes.to_string(),
                    link.interruptions.to_string(),
                ]
            }),
        )
    }

    fn moves(&self) -> String {
        table(
            &["MOVED AT", "SHARD", "FROM", "TO", "EPOCH", "CAUSE"],
            self.moves.iter().take(MOVES_SHOWN).map(|one| {
                vec![
                    utc(one.at),
                    one.shard.to_string(),
                    optional(one.from),
                    one.to.to_string(),
                    one.epoch.to_string(),
                    one.cause.clone(),
                ]
            }),
        )
    }

    fn called(&self, id: NodeId) -> String {
        match self.nodes.iter().find(|node| node.id == id) {
            Some(node) => format!("{id} ({})", node.name),
            None => id.to_string(),
        }
    }

    /// The node with this name.
    pub(super) fn node_called(&self, name: &str) -> Result<NodeId, Failure> {
        let mut found = self.nodes.iter().filter(|node| node.name == name);
        match (found.next(), found.next()) {
            (Some(node), None) => Ok(node.id),
            (Some(_), Some(_)) => {
                let what = format!("more than one node was called {name:?}: give the id");
                Err(Failure::new(Cause::Other, what))
            }
            (None, _) => {
                let names = self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>();
                let what = format!("there is no node {name:?}; known nodes: {}", names.join(", "));
                Err(Failure::new(Cause::Other, what))
            }
        }
    }
}

fn optional(node: Option<NodeId>) -> String {
    node.map_or_else(dash, |node| node.to_string())
}

fn dash() -> String {
    "-".to_owned()
}

fn list(nodes: &[NodeId]) -> String {
    if nodes.is_empty() {
        return dash();
    }
    nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(", ")
}

/// Columns as wide as their widest word, two spaces apart.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut lines = vec![head.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|word| word.chars().count()).max()
    };
    let widths = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect::<Vec<_>>();
    let mut text = String::new();
    for line in &lines {
        let words = line.iter().zip(&widths).map(|(word, width)| format!("{word:width$}"));
        text.push_str(words.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_word() {
        let rows =
            [vec!["1".to_owned(), "alpha".to_owned()], vec!["10".to_owned(), "b".to_owned()]];
        assert_eq!(table(&["ID", "NAME"], rows.into_iter()), "ID  NAME\n1   alpha\n10  b\n");
    }
}
