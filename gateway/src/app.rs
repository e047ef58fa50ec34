//! What every handler can reach, and the parts that a node hands over.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;
use parlance_actors::chat::Chat;
use parlance_actors::ports::{Accounts, Cluster, Directory, History};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admission::{Buckets, Connections, Upgrades};
use crate::auth::{Auth, ClusterSecret};
use crate::config::GatewayConfig;
use crate::frames::JsonFrames;
use crate::http::health::Ready;
use crate::lease::Lease;
use crate::proxies::Proxies;
use crate::socket::{Turnstile, Writers};

/// What a gateway is put together from.
#[derive(Clone)]
pub struct Parts {
    /// The domain.
    pub chat: Arc<Chat>,
    /// Users and what signing in needs.
    pub accounts: Arc<dyn Accounts>,
    /// Asked for its health and the node's lease.
    pub directory: Arc<dyn Directory>,
    /// What administrators see and may do.
    pub cluster: Arc<dyn Cluster>,
    /// Asked for its health.
    pub history: Arc<dyn History>,
    /// Seals the signing keys.
    pub secret: ClusterSecret,
    /// What `/metrics` renders; without it the path does not exist.
    pub metrics: Option<PrometheusHandle>,
}

/// The state behind the router.
pub(crate) struct App {
    pub(crate) config: GatewayConfig,
    pub(crate) chat: Arc<Chat>,
    pub(crate) auth: Auth,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) lease: Lease,
    pub(crate) history: Arc<dyn History>,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) frames: JsonFrames,
    pub(crate) proxies: Proxies,
    /// The networks whose connections begin with a PROXY header.
    pub(crate) preambles: Proxies,
    pub(crate) buckets: Buckets,
    pub(crate) upgrades: Upgrades,
    pub(crate) connections: Arc<Connections>,
    /// Upgraded sockets: one task each.
    pub(crate) sockets: TaskTracker,
    /// Before what a connection says first.
    pub(crate) arrivals: Turnstile,
    /// Before the ends of sockets whose clients went.
    pub(crate) partings: Turnstile,
    pub(crate) writers: Arc<Writers>,
    /// Ends what is still there when the time to stop is up.
    pub(crate) kill: CancellationToken,
    /// Cancelled when the server begins to stop.
    pub(crate) closing: CancellationToken,
    pub(crate) ready: Mutex<Option<Ready>>,
}
