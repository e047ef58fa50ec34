//! Closing the directory, after another voter leads.

use std::collections::BTreeSet;

use super::{RaftDirectory, driver};
use crate::limits;

impl RaftDirectory {
    /// Ends Raft, makes the log durable, closes the files and gives the data directory back.
    /// Look-ups go on with the last state; changes are `Unavailable`. A second call does nothing.
    pub async fn close(&self) {
        let Some(mut held) = self.held.lock().take() else { return };
        self.hand_over().await;
        held.cancel.cancel();
        while held.tasks.join_next().await.is_some() {}
        if let Some(member) = &self.core.member {
            member.answers.close();
            self.core.lease.send_replace(false);
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the directory's Raft task failed while it ended");
        }
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the directory's log was not closed in order");
        }
        let thread = held.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if let Ok(Err(error)) = joined {
            tracing::error!(error, "the directory's log was not closed in order");
        }
        drop(held.lock);
    }

    /// A leader that ends makes another voter the leader, so that nobody waits for an election.
    async fn hand_over(&self) {
        let metrics = self.core.metrics();
        let own = self.identity.node.0;
        if self.core.member.is_none() || metrics.current_leader != Some(own) {
            return;
        }
        let voters: BTreeSet<u64> = metrics.membership_config.membership().voter_ids().collect();
        let mut lags = driver::lags(&metrics);
        lags.retain(|(node, _)| voters.contains(&node.0));
        let Some((heir, _)) = lags.into_iter().min_by_key(|(node, lag)| (*lag, *node)) else {
            return;
        };
        if self.raft.trigger().transfer_leader(heir.0).await.is_ok() {
            let wait = self.raft.wait(Some(limits::HEALTH_WAIT));
            // Nobody in time: the others elect one by themselves.
            let _ = wait
                .metrics(
                    |metrics| metrics.current_leader.is_some_and(|leader| leader != own),
                    "another leader",
                )
                .await;
        }
    }
}
