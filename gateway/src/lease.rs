//! The node's lease as the gateway sees it: without one the node is not ready, opens no more
//! sockets, and after a while asks those that it has to move. Whether there is a lease is the
//! directory's to say.

use std::time::Duration;

use parlance_actors::ports::Directory;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// Whether the node has a lease.
pub(crate) struct Lease(watch::Receiver<bool>);

impl Lease {
    pub(crate) fn of(directory: &dyn Directory) -> Self {
        Self(directory.lease())
    }

    pub(crate) fn is_lost(&self) -> bool {
        !*self.0.borrow()
    }
}

/// Until `stop`: once for each loss that lasts, asks the sockets to move. A short loss moves
/// nobody, because moving costs every one of them a reconnect.
pub(crate) async fn move_sessions(app: &App, stop: CancellationToken) {
    let mut lease = app.lease.0.clone();
    let watching = async {
        while lease.wait_for(|has| !has).await.is_ok() {
            if is_back_within(&mut lease, app.config.deadlines.lease).await {
                continue;
            }
            tracing::warn!(sessions = app.chat.sessions(), "no lease; asking the sockets to move");
            metrics::counter!("parlance_lease_moves_total").increment(1);
            app.chat.move_sessions_away();
            if lease.wait_for(|has| *has).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        // The directory has ended, and the node with it.
        () = watching => {}
    }
}

async fn is_back_within(lease: &mut watch::Receiver<bool>, patience: Duration) -> bool {
    tokio::time::timeout(patience, lease.wait_for(|has| *has)).await.is_ok()
}
