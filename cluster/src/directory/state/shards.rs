//! The shard table of the state: who serves what at which epoch, moves, pins and generations.
//! A command that names an epoch does nothing once that epoch is over, so repeating it is safe.

use parlance_actors::ports::directory::Ownership;
use parlance_actors::ports::history::DatabaseId;
use parlance_actors::vocab::{Epoch, Gen, NodeId, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

use super::State;
use crate::directory::command::{Assign, BeginMove, Cause, FindHistory, Pin, Release, Response};
use crate::limits;

/// One row of the shard table. On disk: see the rules of the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct ShardRecord {
    pub(in crate::directory) owner: NodeId,
    pub(in crate::directory) epoch: Epoch,
    pub(in crate::directory) r#gen: Gen,
    pub(super) state: ShardState,
    /// Where its owner gives it, and why.
    pub(in crate::directory) moving_to: Option<(NodeId, Cause)>,
    pub(in crate::directory) pinned_to: Option<NodeId>,
    /// The database that its history was last found in.
    pub(super) database: Option<DatabaseId>,
}

/// Whether a shard's owner serves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ShardState {
    /// Nobody serves it; owner and epoch are those of the last one.
    Vacant,
    /// Its owner serves it.
    Serving,
}

/// A change of an owner that happened. On disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct MoveRecord {
    pub(in crate::directory) shard: ShardId,
    pub(in crate::directory) from: NodeId,
    pub(in crate::directory) to: NodeId,
    pub(in crate::directory) epoch: Epoch,
    pub(in crate::directory) at: Timestamp,
    pub(in crate::directory) cause: Cause,
}

impl ShardRecord {
    pub(super) fn serving(owner: NodeId, epoch: Epoch, r#gen: Gen) -> Self {
        let state = ShardState::Serving;
        Self { owner, epoch, r#gen, state, moving_to: None, pinned_to: None, database: None }
    }

    /// A node is gone: nothing is kept for it. The shards that it owns wait for a takeover.
    pub(super) fn forget(&mut self, node: NodeId) {
        self.moving_to = self.moving_to.filter(|(to, _)| *to != node);
        self.pinned_to = self.pinned_to.filter(|to| *to != node);
    }
}

impl State {
    /// The row of a shard while its epoch is this one.
    fn row_at(&mut self, shard: ShardId, epoch: Epoch) -> Option<&mut ShardRecord> {
        self.shards.get_mut(usize::from(shard.0)).filter(|row| row.epoch == epoch)
    }

    pub(super) fn assign(&mut self, index: u64, assign: &Assign) -> Response {
        for &(shard, from_epoch, to) in &assign.moves {
            if self.nodes.contains_key(&to) {
                self.give(index, shard, from_epoch, to, assign.cause, assign.at);
            }
        }
        Response::Done
    }

    fn give(
        &mut self,
        index: u64,
        shard: ShardId,
        from_epoch: Epoch,
        to: NodeId,
        cause: Cause,
        at: Timestamp,
    ) {
        let epoch = self.epoch_at(index);
        let Some(row) = self.row_at(shard, from_epoch) else { return };
        let from = row.owner;
        row.owner = to;
        row.epoch = epoch;
        row.state = ShardState::Serving;
        row.moving_to = None;
        self.moves.push_back(MoveRecord { shard, from, to, epoch, at, cause });
        if self.moves.len() > limits::MOVES_KEPT {
            self.moves.pop_front();
        }
    }

    pub(super) fn begin_move(&mut self, begin: &BeginMove) -> Response {
        if !self.nodes.contains_key(&begin.to) {
            return Response::Refused(format!("there is no node {}", begin.to));
        }
        let (to, cause) = (begin.to, begin.cause);
        if let Some(row) = self.row_at(begin.shard, begin.epoch) {
            row.moving_to = (row.owner != to).then_some((to, cause));
        }
        Response::Done
    }

    pub(super) fn release(&mut self, index: u64, release: &Release) -> Response {
        let row = self.row_at(release.shard, release.epoch);
        if let Some((to, cause)) = row.and_then(|row| row.moving_to) {
            self.give(index, release.shard, release.epoch, to, cause, release.at);
        }
        Response::Done
    }

    pub(super) fn pin(&mut self, pin: &Pin) -> Response {
        if let Some(to) = pin.to.filter(|to| !self.nodes.contains_key(to)) {
            return Response::Refused(format!("there is no node {to}"));
        }
        if let Some(row) = self.shards.get_mut(usize::from(pin.shard.0)) {
            row.pinned_to = pin.to;
        }
        Response::Done
    }

    pub(super) fn find_history(&mut self, found: &FindHistory) -> Response {
        if let Some(row) = self.row_at(found.shard, found.epoch) {
            row.r#gen = row.r#gen.max(found.r#gen);
            row.database = Some(found.database);
        }
        Response::Done
    }

    pub(in crate::directory) fn ownership(&self, shard: ShardId) -> Option<Ownership> {
        let row = self.shards.get(usize::from(shard.0))?;
        let ShardRecord { owner, epoch, r#gen, state, moving_to, database, .. } = *row;
        let moving_to = moving_to.map(|(to, _)| to);
        let owned = Ownership { owner, epoch, r#gen, moving_to, database };
        (state == ShardState::Serving).then_some(owned)
    }

    /// Every row, ascending by shard; none before the cluster began.
    pub(in crate::directory) fn shards(&self) -> impl Iterator<Item = (ShardId, &ShardRecord)> {
        ShardId::all().zip(&self.shards)
    }

    /// The last changes of owners, newest first.
    pub(in crate::directory) fn moves(&self) -> impl Iterator<Item = &MoveRecord> {
        self.moves.iter().rev()
    }
}
