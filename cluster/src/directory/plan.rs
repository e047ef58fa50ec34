//! Between the directory's state and placement. Pure: what placement sees of the state, and the
//! commands that do what it decides. Every command names the epochs that were seen.

use std::collections::BTreeMap;

use parlance_actors::vocab::{Epoch, NodeId, ShardId, Timestamp};

use super::command::{Assign, BeginMove, Cause, Command, Duty};
use super::state::{ShardRecord, State};
use crate::placement::{Board, Decision, Host, Placed};

/// What a decision is about.
pub(super) struct Plan {
    pub(super) board: Board,
    rows: BTreeMap<ShardId, ShardRecord>,
}

impl Plan {
    /// The state as placement sees it.
    pub(super) fn of(
        state: &State,
        live: impl Fn(NodeId) -> bool,
        load: impl Fn(NodeId, ShardId) -> u32,
    ) -> Self {
        let hosts = state.nodes().map(|(id, record)| {
            (id, Host { live: live(id), draining: record.state == Duty::Draining })
        });
        let rows: BTreeMap<ShardId, ShardRecord> =
            state.shards().map(|(shard, row)| (shard, *row)).collect();
        let shards = rows.iter().map(|(shard, row)| {
            let moving_to = row.moving_to.map(|(to, _)| to);
            let (owner, pinned_to) = (row.owner, row.pinned_to);
            (*shard, Placed { owner, moving_to, pinned_to, load: load(owner, *shard) })
        });
        Self { board: Board { hosts: hosts.collect(), shards: shards.collect() }, rows }
    }

    /// The moves that are under way, each with the epoch in which it began.
    pub(super) fn moving(&self) -> impl Iterator<Item = (ShardId, Epoch)> {
        let moving = self.rows.iter().filter(|(_, row)| row.moving_to.is_some());
        moving.map(|(shard, row)| (*shard, row.epoch))
    }

    /// What does what was decided, and ends the moves that took too long.
    pub(super) fn commands(
        &self,
        decision: &Decision,
        overdue: &[ShardId],
        at: Timestamp,
    ) -> Vec<Command> {
        let mut commands = Vec::new();
        if !decision.takeovers.is_empty() {
            let moves = decision.takeovers.iter();
            let moves = moves.map(|(id, to)| (*id, self.rows[id].epoch, *to)).collect();
            commands.push(Command::Assign(Assign { moves, cause: Cause::Takeover, at }));
        }
        for id in &decision.cancels {
            // To the owner itself: the move ends, and the epoch stays.
            let row = self.rows[id];
            commands.push(begin(*id, row.epoch, row.owner, Cause::Rebalance));
        }
        commands.extend(self.forced(overdue, at));
        for (id, to, cause) in &decision.moves {
            commands.push(begin(*id, self.rows[id].epoch, *to, *cause));
        }
        commands
    }

    fn forced(&self, overdue: &[ShardId], at: Timestamp) -> Vec<Command> {
        let lives = |node| self.board.hosts.get(&node).is_some_and(|host| host.live);
        let mut forced: BTreeMap<Cause, Vec<(ShardId, Epoch, NodeId)>> = BTreeMap::new();
        for id in overdue {
            let row = self.rows[id];
            // A dead owner's shards are taken over, and a move to a dead node is given up.
            let Some((to, cause)) = row.moving_to else { continue };
            if lives(row.owner) && lives(to) {
                forced.entry(cause).or_default().push((*id, row.epoch, to));
            }
        }
        let forced = forced.into_iter();
        forced.map(|(cause, moves)| Command::Assign(Assign { moves, cause, at })).collect()
    }
}

fn begin(shard: ShardId, epoch: Epoch, to: NodeId, cause: Cause) -> Command {
    Command::BeginMove(BeginMove { shard, epoch, to, cause })
}
