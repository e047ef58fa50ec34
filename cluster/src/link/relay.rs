//! One-hop relay: a way to a node over another one, where there is no direct way. Asking for a
//! passage, carrying the passages of others, and being the far end of one.
//!
//! On a connection of its own purpose the asker opens a stream to the relay and names its target.
//! The relay opens a stream to the target and names the asker. Both streams carry packets of QUIC,
//! each behind its length, and the relay passes them on. So a connection over a relay is a
//! connection like any other: the two ends see each other's certificates and hellos, and the relay
//! can read nothing and pretend nothing. It can only lose what it carries.
//!
//! There is never a second hop: relays are reached on direct connections only, and no connection
//! that itself is relayed speaks the relay's protocol.

mod ask;
mod carry;
mod counts;
mod opening;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use quinn::{RecvStream, SendStream};

use self::counts::{Counted, Counts};
#[cfg(feature = "fuzzing")]
pub(super) use self::opening::recode_opening;
use super::endpoint::{DialError, LinkEndpoint, Linked};
use super::hello::Purpose;
use super::line::{Line, oldest_down};
use super::passages::{self, Passage};
use crate::limits::LINES_MAX;
use crate::transport::PeerName;

/// Whom the owner of an endpoint reaches.
pub(crate) trait Neighbours: Send + Sync + 'static {
    /// The nodes to which there is a direct connection now, and where each is, `host:port`.
    fn direct(&self) -> Vec<(PeerName, Arc<str>)>;
}

/// What one endpoint knows of relays.
#[derive(Default)]
pub(super) struct Relay {
    neighbours: OnceLock<Weak<dyn Neighbours>>,
    /// The connections on which this node asks for passages and leads on those of others.
    lines: Mutex<HashMap<PeerName, Arc<Line>>>,
    /// How many passages are carried for each origin.
    carried: Arc<Counts>,
    /// How many passages of others end here, for each relay.
    far_ends: Arc<Counts>,
}

impl LinkEndpoint {
    /// Says whom the owner reaches: over them this node finds a way to others, and to them it leads
    /// others. Only the first call counts; before it nothing is relayed.
    pub(crate) fn set_neighbours(&self, neighbours: Weak<dyn Neighbours>) {
        let _ = self.relay.neighbours.set(neighbours);
    }

    /// The line on which this node asks another one for passages, or leads some on to it.
    fn relay_line(
        self: &Arc<Self>,
        name: &PeerName,
        address: &Arc<str>,
    ) -> Result<Arc<Line>, DialError> {
        let mut lines = self.relay.lines.lock();
        if let Some(line) = lines.get(name) {
            // Its passages are worth more than another spelling of where the node is.
            if line.address == *address || line.up().is_some() {
                return Ok(Arc::clone(line));
            }
            line.end();
        } else if lines.len() >= LINES_MAX {
            let oldest = oldest_down(&lines);
            let oldest = oldest.and_then(|name| lines.remove(&name)).ok_or_else(|| {
                DialError::Unreachable("there are connections to too many places".to_owned())
            })?;
            oldest.end();
        }
        let line = Line::start(self, Arc::clone(address), Some(name.clone()), Purpose::Relay);
        lines.insert(name.clone(), Arc::clone(&line));
        Ok(line)
    }

    /// This node is one end of a passage whose streams are open. It counts until it ends.
    fn begin_passage(
        self: &Arc<Self>,
        over: &Linked,
        mut send: SendStream,
        mut recv: RecvStream,
        counted: Option<Counted>,
    ) -> Passage {
        let ended = self.closing.child_token();
        let relay_at = over.connection.remote_address();
        let (passage, waiting) = self.passages.begin(over.name.clone(), relay_at, ended);
        let (here, this) = (Arc::clone(self), passage.clone());
        self.spawn(async move {
            let carried = async {
                tokio::select! {
                    () = passages::read(&mut recv, |packet| here.passages.arrive(&this, packet)) => {}
                    () = passages::write(&mut send, waiting) => {}
                }
            };
            this.ended.run_until_cancelled(carried).await;
            here.passages.end(&this);
            drop(counted);
        });
        passage
    }
}

impl Relay {
    fn direct(&self) -> Vec<(PeerName, Arc<str>)> {
        let neighbours = self.neighbours.get().and_then(Weak::upgrade);
        neighbours.map(|neighbours| neighbours.direct()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::super::endpoint::transport;
    use super::super::hello::Hello;
    use super::super::protocols::Protocols;
    use super::super::tests::{PATIENCE, Town, options};
    use super::*;

    fn name(name: &str) -> PeerName {
        PeerName(name.into())
    }

    #[tokio::test]
    async fn a_line_that_is_up_is_used_however_its_address_is_spelled() {
        let town = Town::new();
        let bound = |node: &str| {
            let options = options(town.identity(node), Hello::default());
            LinkEndpoint::bind(options, &[], Protocols::NOW, transport()).expect("bound")
        };
        let (one, two) = (bound("n1"), bound("n2"));
        two.accept_with(|_| async {});
        let (here, other): (Arc<str>, Arc<str>) =
            (two.local_addr().to_string().into(), "elsewhere:1".into());
        let line = one.relay_line(&name("n2"), &here).expect("a line");
        line.linked().await.expect("linked");
        let same = one.relay_line(&name("n2"), &other).expect("a line");
        assert!(Arc::ptr_eq(&line, &same));
        two.close().await;
        let up = line.up();
        if let Some(up) = up {
            timeout(PATIENCE, up.connection.closed()).await.expect("lost");
        }
        let another = one.relay_line(&name("n2"), &other).expect("a line");
        assert_eq!(another.address, other);
        one.close().await;
    }
}
