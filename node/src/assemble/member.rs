//! This node's part in its cluster: what the settings and the database say becomes what
//! `parlance_cluster` is told, and its errors become a message with what to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parlance_cluster::cluster::{ClusterNode, ClusterOptions, Membership, Runtimes, StartError};
use parlance_cluster::directory::{ClusterId, LeaseTiming, RaftTiming, Start};
use parlance_cluster::link::{BindError, IdentityFiles};
use parlance_storage::Storage;
use tokio::runtime::Handle;
use uuid::Uuid;

use super::{VERSION, directory_failure, storage_failure};
use crate::config::{Cluster, Config};
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};

/// Takes this node's part, which must be of the database's cluster. A database without a cluster
/// becomes this one's.
pub(super) async fn start(
    config: &Config,
    storage: &Storage,
    data_dir: &DataDir,
    control: &Handle,
) -> Result<ClusterNode, Failure> {
    let known = storage.known_cluster().await.map_err(storage_failure)?;
    if let (None, Some(cluster)) = (known, data_dir.cluster()?) {
        let what = format!(
            "the database is empty, but {} has used one of cluster {cluster}: put that database \
             back, or start with a new data directory",
            data_dir.path().display()
        );
        return Err(Failure::new(Cause::Database, what));
    }
    let settings = &config.cluster;
    let membership = match (&settings.ca, &settings.cert, &settings.key) {
        (Some(ca), Some(cert), Some(key)) => {
            let identity = IdentityFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() };
            let start = beginning(settings, data_dir, storage).await?;
            Some(membership(settings, identity, start))
        }
        _ => None,
    };
    // What begins a cluster together may have claimed it just now.
    let known = storage.known_cluster().await.map_err(storage_failure)?;
    let options = ClusterOptions {
        data_dir: data_dir.path().to_owned(),
        known_cluster: known.map(ClusterId),
        epoch_floor: storage.highest_epoch().await.map_err(storage_failure)?,
        timing: timing(settings),
        membership,
    };
    let on = Runtimes { control: control.clone(), data: Handle::current() };
    let node = ClusterNode::start(options, on).await.map_err(|error| failure(&error))?;
    let own = node.directory().cluster_id();
    let claimed = storage.cluster_id(own.0).await.map_err(storage_failure)?;
    if claimed != own.0 {
        let what = format!(
            "the database belongs to cluster {claimed}, and {} to cluster {own}; \
             pair each data directory with the database that it was started with",
            data_dir.path().display()
        );
        return Err(Failure::new(Cause::Database, what));
    }
    data_dir.remember(claimed)?;
    Ok(node)
}

/// How a node finds its cluster. A data directory that knows it goes on with it, whatever is said
/// here.
async fn beginning(
    settings: &Cluster,
    data_dir: &DataDir,
    storage: &Storage,
) -> Result<Start, Failure> {
    let seeds: Vec<Arc<str>> = settings.join.iter().map(|place| place.as_str().into()).collect();
    if settings.bootstrap {
        return Ok(Start::Bootstrap { cluster: None });
    }
    if settings.expect > 0 {
        // Kept before it is proposed: a node that wins and then crashes is still the one to begin.
        let proposed = data_dir.proposed_cluster(Uuid::new_v4)?;
        let won = storage.cluster_id(proposed).await.map_err(storage_failure)?;
        if won == proposed {
            return Ok(Start::Bootstrap { cluster: Some(ClusterId(won)) });
        }
        return Ok(Start::Join { seeds });
    }
    if seeds.is_empty() && !data_dir.knows_its_node() {
        let what = format!(
            "{} knows no cluster yet: begin one with --bootstrap on exactly one node, or join one \
             with --join HOST:PORT of a node's control endpoint",
            data_dir.path().display()
        );
        return Err(Failure::new(Cause::Configuration, what));
    }
    Ok(Start::Join { seeds })
}

fn membership(settings: &Cluster, identity: IdentityFiles, start: Start) -> Membership {
    Membership {
        identity,
        control_listen: settings.control_listen,
        data_listen: settings.data_listen,
        advertise: settings.advertise.as_deref().map(Arc::from),
        start,
        voters: u8::try_from(settings.voters).expect("the check let 3 and 5 through"),
        leases: leases(settings),
        version: VERSION.into(),
    }
}

const fn millis(number: u32) -> Duration {
    Duration::from_millis(number as u64)
}

fn leases(settings: &Cluster) -> LeaseTiming {
    let usual = LeaseTiming::default();
    let lease = millis(settings.lease_ms);
    LeaseTiming {
        renew: millis(settings.renew_ms),
        lease,
        // Gossip's word makes it shorter, by as much as it usually does.
        lease_if_doubted: lease
            .mul_f64(usual.lease_if_doubted.as_secs_f64() / usual.lease.as_secs_f64()),
        ..usual
    }
}

fn timing(settings: &Cluster) -> RaftTiming {
    RaftTiming {
        heartbeat: millis(settings.heartbeat_ms),
        election_min: millis(settings.election_min_ms),
        election_max: millis(settings.election_max_ms),
        ..RaftTiming::default()
    }
}

fn failure(error: &StartError) -> Failure {
    let (cause, hint) = match error {
        StartError::Open(error) => return directory_failure(error),
        StartError::Identity(_) => {
            (Cause::Configuration, "; `parlance cert show FILE --ca FILE` says what it is")
        }
        StartError::Bind(BindError::Socket { .. }) => {
            (Cause::Address, "; choose others with cluster.control_listen and cluster.data_listen")
        }
        StartError::NoAdvertise(_) | StartError::NotFound { .. } | StartError::Bind(_) => {
            (Cause::Configuration, "")
        }
        StartError::Draining(_) => (Cause::Other, ""),
    };
    Failure::new(cause, format!("{error}{hint}"))
}

/// Where others reach this node, for the log.
pub(super) fn told(node: &ClusterNode, listens: SocketAddr) {
    if let Some(addresses) = node.addresses() {
        let (control, data) = (&*addresses.control, &*addresses.data);
        tracing::info!(node = %node.node(), control, data, http = %listens, "in the cluster");
    }
}
