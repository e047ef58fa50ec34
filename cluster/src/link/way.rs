//! Which way to take to a node: the direct one, else one over another node, and back to the direct
//! one once it works again and goes on working.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::time::{sleep, timeout};

use super::endpoint::{Close, DialError, LinkEndpoint, Linked};
use super::hello::Purpose;
use super::line::pause;
use crate::limits::{CALL_SERVE_WAIT, DIRECT_PROVEN, RELAY_AFTER, RELAY_HOLD};
use crate::transport::PeerName;

impl LinkEndpoint {
    /// Dials a node, and over another node as well when that does not succeed soon: the first
    /// connection wins. One that is not who it should be is not looked for elsewhere. After a
    /// connection that fell `silent` both are dialled at once.
    pub(crate) async fn find_way(
        self: &Arc<Self>,
        address: &str,
        expected: &PeerName,
        purpose: Purpose,
        silent: bool,
    ) -> Result<Linked, DialError> {
        let alone = if silent { Duration::ZERO } else { RELAY_AFTER };
        let direct = self.dial(address, Some(expected), purpose);
        tokio::pin!(direct);
        let early = timeout(alone, &mut direct).await;
        if let Ok(found @ (Ok(_) | Err(DialError::WrongPeer(_)))) = early {
            return found;
        }
        let over = self.dial_over(expected, purpose);
        tokio::pin!(over);
        let missed = |direct, over| match (direct, over) {
            (DialError::Unreachable(direct), DialError::Unreachable(over)) => {
                DialError::Unreachable(format!("{direct}; {over}"))
            }
            (direct, _) => direct,
        };
        if let Ok(Err(unreachable)) = early {
            return over.await.map_err(|error| missed(unreachable, error));
        }
        tokio::select! {
            found = &mut direct => match found {
                Err(unreachable @ DialError::Unreachable(_)) => {
                    over.await.map_err(|error| missed(unreachable, error))
                }
                found => found,
            },
            found = &mut over => match found {
                Ok(linked) => Ok(linked),
                Err(error) => direct.await.map_err(|unreachable| missed(unreachable, error)),
            },
        }
    }

    /// Waits for a direct way beside a relayed one that is in use: not before that was held for a
    /// while, and not before the direct one has stood for longer than a dead one would, so that a
    /// way that comes and goes does not interrupt what flows. `address` is asked for at each dial.
    pub(crate) async fn direct_again(
        &self,
        address: impl Fn() -> Arc<str>,
        expected: &PeerName,
        purpose: Purpose,
    ) -> Linked {
        sleep(RELAY_HOLD).await;
        let mut failures = 0;
        loop {
            if let Ok(linked) = self.dial(&address(), Some(expected), purpose).await
                && timeout(DIRECT_PROVEN, linked.connection.closed()).await.is_err()
            {
                return linked;
            }
            sleep(pause(failures)).await;
            failures = failures.saturating_add(1);
        }
    }

    /// Ends a connection that is used no more, once every call on it has its answer.
    pub(super) fn retire(&self, connection: Connection) {
        let closing = self.closing.clone();
        self.spawn(async move {
            closing.run_until_cancelled(sleep(CALL_SERVE_WAIT)).await;
            connection.close(Close::Done.code(), b"there is a better way");
        });
    }
}
