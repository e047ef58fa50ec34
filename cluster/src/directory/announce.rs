//! A node that opens its directory tells the cluster where it is now.

use parlance_actors::ports::directory::DirectoryError;
use tokio::time::Instant;

use super::RaftDirectory;
use super::command::{AdmitNode, Command, Response};
use super::config::{DirectoryOptions, Start};
use super::error::OpenError;
use super::join::{self, NotAdmitted};
use crate::limits;

impl RaftDirectory {
    /// Tells the cluster where this node is now, through any node that it knows.
    pub(super) async fn announce(&self, options: &DirectoryOptions) -> Result<(), OpenError> {
        let (Some(member), Some(node)) = (&options.member, self.core.admission()) else {
            return Ok(());
        };
        let own = self.identity.node;
        let until = Instant::now() + limits::READY_WAIT;
        loop {
            let told = if self.leader() == Some(own) {
                self.announce_here(&node).await
            } else {
                let known = self.view.state.read().nodes().map(|(id, _)| id).collect::<Vec<_>>();
                let others = known.into_iter().filter(|id| *id != own);
                let mut places: Vec<_> =
                    others.filter_map(|id| self.core.network.place(id)).collect();
                if let Start::Join { seeds } = &options.start {
                    places.extend(join::seeds(seeds));
                }
                let cluster = Some(self.identity.cluster);
                join::round(member, cluster, &node, &places).await.map(drop)
            };
            match told {
                Ok(()) => return Ok(()),
                Err(NotAdmitted::Refused(why)) => return Err(OpenError::NotAdmitted(why)),
                Err(NotAdmitted::NotYet(why)) if Instant::now() >= until => {
                    return Err(OpenError::NotReady(why));
                }
                Err(NotAdmitted::NotYet(_)) => tokio::time::sleep(limits::FORWARD_PAUSE).await,
            }
        }
    }

    async fn announce_here(&self, node: &AdmitNode) -> Result<(), NotAdmitted> {
        if let Some(why) = self.core.forgot(node) {
            return Err(NotAdmitted::Refused(why));
        }
        let command = Command::AdmitNode(node.clone());
        match self.core.change(command, limits::FORWARD_WAIT).await {
            Ok(Response::Admitted(_)) => Ok(()),
            Ok(Response::Refused(why)) | Err(DirectoryError::Refused(why)) => {
                Err(NotAdmitted::Refused(why))
            }
            other => Err(NotAdmitted::NotYet(format!("{other:?}"))),
        }
    }
}
