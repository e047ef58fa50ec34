//! The one place where concrete types meet: settings become the parts of a node, and each part's
//! errors become a message with what to do.

mod alone;
mod load;
mod member;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parlance_actors::chat::{self, Chat};
use parlance_actors::ports::accounts::LockoutRule;
use parlance_actors::ports::{Cluster, History};
use parlance_actors::traces::Traces;
use parlance_cluster::cluster::ClusterNode;
use parlance_cluster::directory::OpenError;
use parlance_gateway::config::{Acme, Lifetimes, PasswordCost, Rates, RedirectFrom, Tls, TlsFiles};
use parlance_gateway::{ClusterSecret, Gateway, GatewayConfig, GatewayError, JsonFrames};
use parlance_storage::{Crypt, Storage, StorageConfig, StorageError};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::alone::Alone;
use self::load::Meter;
use crate::config::Config;
use crate::control::ControlSocket;
use crate::data_dir::DataDir;
use crate::failure::{Cause, Failure};
use crate::traces::{self, Exporting, Whose};
use crate::{first_admin, telemetry};

/// The version that this node runs.
#[cfg(not(feature = "next-version"))]
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the build that the upgrade is tested with: later than every real one.
#[cfg(feature = "next-version")]
pub(crate) const VERSION: &str = "999.0.0-next";
const SECONDS_A_DAY: u64 = 24 * 60 * 60;
const MIB: u64 = 1024 * 1024;
/// Password hashes at once, where nobody says how many: one a core, and never more than this,
/// because each takes its memory.
const ARGON2_AT_ONCE_MAX: usize = 8;

/// A running node.
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Front,
    pub(crate) chat: Arc<Chat>,
    pub(crate) history: Arc<dyn History>,
    /// Its part in the cluster, also if it is alone.
    pub(crate) member: ClusterNode,
    pub(crate) control: ControlSocket,
    /// Where spans are sent.
    pub(crate) exporting: Option<Exporting>,
    /// Tidies the metrics; ends with the node.
    _upkeep: JoinSet<()>,
}

/// Starts every part, from the ground up. What fails leaves nothing running but what was started
/// before it, and the process ends.
pub(crate) async fn start(
    config: &Config,
    data_dir: &DataDir,
    control: &Handle,
) -> Result<Node, Failure> {
    let secret = secret(config, data_dir)?;
    refuse_a_lost_file(config, data_dir)?;
    let storage = open_storage(config, Some(&data_dir.database())).await?;
    let member = member::start(config, &storage, data_dir, control).await?;
    let directory = member.directory();
    data_dir.explain(config)?;
    first_admin::ensure(&*storage.accounts(), password_cost(config)).await?;

    let metrics = if config.metrics.enabled { Some(telemetry::metrics()?) } else { None };
    let mut upkeep = JoinSet::new();
    if let Some(handle) = metrics.clone() {
        upkeep.spawn(telemetry::upkeep(handle));
    }
    let history = storage.history();
    let (traces, exporting) = traces(config, &member, control)?.unzip();
    let chat = Chat::start(chat::Parts {
        history: history.clone(),
        members: storage.members(),
        accounts: storage.accounts(),
        directory: directory.clone(),
        frames: Arc::new(JsonFrames),
        peers: member.peers(),
        traces,
    });
    let chat = chat.await.map_err(|error| Failure::new(Cause::Other, error.to_string()))?;
    let meter = Arc::new(Meter::new(chat.clone()));
    let cluster: Arc<dyn Cluster> = if config.cluster.is_on() {
        member.operations()
    } else {
        Arc::new(Alone { directory: directory.clone(), meter: meter.clone() })
    };
    member.measure_with(Arc::new(move || meter.measure()), load::busiest(&chat));
    let gateway = Gateway::bind(
        gateway_config(config, data_dir.path()),
        parlance_gateway::Parts {
            chat: chat.clone(),
            accounts: storage.accounts(),
            directory,
            cluster: cluster.clone(),
            history: history.clone(),
            secret,
            metrics,
        },
    );
    let gateway = gateway.await.map_err(|error| gateway_failure(&error, config))?;
    let address = gateway.address();
    member::told(&member, address);
    let control = ControlSocket::open(data_dir.path(), cluster)?;
    let gateway = Front::run(gateway);
    Ok(Node { address, gateway, chat, history, member, control, exporting, _upkeep: upkeep })
}

/// What is traced, and who sends it on; `None` where nobody said where to.
fn traces(
    config: &Config,
    member: &ClusterNode,
    control: &Handle,
) -> Result<Option<(Arc<Traces>, Exporting)>, Failure> {
    let Some(endpoint) = &config.traces.endpoint else { return Ok(None) };
    let whose = Whose {
        endpoint: traces::endpoint(endpoint),
        cluster: member.directory().cluster_id().to_string(),
        node: member.node(),
    };
    let (traces, spans) = Traces::new(member.node(), config.traces.one_in.into());
    Ok(Some((traces, Exporting::begin(&whose, spans, control)?)))
}

/// The database with its schema up to date.
pub(crate) async fn open_storage(
    config: &Config,
    folder: Option<&Path>,
) -> Result<Storage, Failure> {
    Storage::open(storage_config(config, folder)?).await.map_err(storage_failure)
}

/// Looks before SQLite would make a missing file anew.
fn refuse_a_lost_file(config: &Config, data_dir: &DataDir) -> Result<(), Failure> {
    let file = data_dir.database().join("main.db");
    if config.database.url.is_some() || file.exists() || data_dir.cluster()?.is_none() {
        return Ok(());
    }
    let what = format!(
        "{} is missing, and it holds what was acknowledged: put it back from a backup, or start \
         with a new data directory",
        file.display()
    );
    Err(Failure::new(Cause::Database, what))
}

fn secret(config: &Config, data_dir: &DataDir) -> Result<ClusterSecret, Failure> {
    let text = match &config.auth.cluster_secret {
        Some(secret) => secret.clone(),
        None => {
            let generate = || format!("{}\n", *ClusterSecret::generate().to_text());
            data_dir.cluster_secret(config.auth.cluster_secret_file.as_deref(), generate)?
        }
    };
    check_secret(text.reveal()).map_err(|why| Failure::new(Cause::Configuration, why))
}

/// A configured secret, if it is one at all.
pub(crate) fn check_secret(text: &str) -> Result<ClusterSecret, String> {
    ClusterSecret::parse(text).map_err(|weak| weak.to_string())
}

/// How to open the database: PostgreSQL where a URL is set, else SQLite in `folder`.
pub(crate) fn storage_config(
    config: &Config,
    folder: Option<&Path>,
) -> Result<StorageConfig, Failure> {
    let url = match (&config.database.url, folder) {
        (Some(url), _) => url.reveal().to_owned(),
        (None, folder) => format!("sqlite:{}", folder.unwrap_or(Path::new("")).display()),
    };
    let crypt = match &config.crypt.keyring {
        Some(ring) => Crypt::from_file(ring)
            .map_err(|error| Failure::new(Cause::Configuration, error.to_string()))?,
        None => Crypt::off(),
    };
    let defaults = StorageConfig::new(url);
    Ok(StorageConfig {
        read_url: config.database.read_url.as_ref().map(|url| url.reveal().to_owned()),
        lanes: Some(config.database.lanes as usize),
        read_connections: config.database.pool_size,
        crypt,
        node: node_name(config).unwrap_or_else(|| defaults.node.clone()),
        ..defaults
    })
}

/// The name in the node's certificate, which the database shows with each of its connections. What
/// is wrong with a certificate is said where the cluster is joined.
fn node_name(config: &Config) -> Option<String> {
    let certificate = std::fs::read_to_string(config.cluster.cert.as_ref()?).ok()?;
    parlance_cluster::cert::describe(&certificate, None).ok()?.node
}

/// What a password hash costs.
pub(crate) fn password_cost(config: &Config) -> PasswordCost {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let at_once = match config.auth.argon2_at_once {
        0 => cores.min(ARGON2_AT_ONCE_MAX),
        n => n as usize,
    };
    PasswordCost {
        memory_kib: config.auth.argon2_memory_kib,
        passes: config.auth.argon2_iterations,
        at_once,
        ..PasswordCost::default()
    }
}

fn gateway_config(config: &Config, data_dir: &Path) -> GatewayConfig {
    let (http, auth) = (&config.http, &config.auth);
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    GatewayConfig {
        listen: http.listen,
        tls: tls(config, data_dir),
        trusted_proxies: networks(&http.trusted_proxies),
        metrics_from: networks(&config.metrics.from),
        proxy_protocol_from: networks(&http.proxy_protocol_from),
        redirect: http
            .redirect_listen
            .map(|listen| RedirectFrom { listen, port: http.redirect_port }),
        allowed_origins: http.allowed_origins.clone(),
        registration: auth.registration,
        simple_chat: config.chat.simple_chat,
        connections_max: http.max_connections as usize,
        connections_per_address_max: http.max_connections_per_address as usize,
        rates: Rates {
            register_per_minute: auth.register_per_minute,
            login_per_minute: auth.login_per_minute,
            http_per_second: http.requests_per_second,
            http_burst: http.requests_burst,
            upgrades_per_second: http.upgrades_per_second,
            upgrades_burst: http.upgrades_burst,
        },
        passwords: password_cost(config),
        lifetimes: Lifetimes {
            access: seconds(auth.access_token_seconds),
            refresh: Duration::from_secs(u64::from(auth.refresh_token_days) * SECONDS_A_DAY),
            ..Lifetimes::default()
        },
        lockout: LockoutRule {
            failures: auth.lockout_failures,
            window: seconds(auth.lockout_window_seconds),
            rest: seconds(auth.lockout_rest_seconds),
        },
        data_dir: Some(data_dir.to_owned()),
        disk_free_min: u64::from(http.disk_free_min_mib) * MIB,
        ..GatewayConfig::default()
    }
}

/// Where the certificate comes from. The check of the configuration let only one of the two through.
fn tls(config: &Config, data_dir: &Path) -> Option<Tls> {
    let (http, acme) = (&config.http, &config.acme);
    if let Some((certificate, key)) = http.tls_cert.clone().zip(http.tls_key.clone()) {
        return Some(Tls::Files(TlsFiles { certificate, key }));
    }
    let domains = acme.domains.as_ref()?.iter().map(|name| name.to_ascii_lowercase());
    Some(Tls::Acme(Acme {
        domains: domains.collect(),
        contact: acme.contact.clone(),
        directory: acme.directory.clone(),
        terms_agreed: acme.terms_agreed,
        authorities: acme.ca.clone(),
        folder: data_dir.join("acme"),
    }))
}

/// An address is a network of itself. The check of the configuration let nothing else through.
fn networks(texts: &[String]) -> Vec<IpNet> {
    let network = |text: &String| {
        text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    texts.iter().filter_map(network).collect()
}

/// A database that does not open, with what to do.
pub(crate) fn storage_failure(error: StorageError) -> Failure {
    let hint = match &error {
        StorageError::Unreachable { .. } => {
            "; check that it runs, and database.url with `parlance config show`"
        }
        StorageError::Altered { .. } => "; run the version of parlance that applied it",
        StorageError::Ahead { .. } => {
            "; run a later version of parlance, or take the migration back with the one that \
             applied it"
        }
        _ => "",
    };
    Failure::new(Cause::Database, format!("{error}{hint}"))
}

pub(crate) fn directory_failure(error: &OpenError) -> Failure {
    let cause = match error {
        OpenError::OtherCluster { .. } | OpenError::DirectoryLost { .. } => Cause::Database,
        OpenError::NotReady(_) => Cause::Other,
        _ => Cause::DataDirectory,
    };
    Failure::new(cause, error.to_string())
}

fn gateway_failure(error: &GatewayError, config: &Config) -> Failure {
    match error {
        GatewayError::Listen(address, why) => {
            let port = address.port();
            let hint = match why.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "; something else listens on port {port}: end it, or choose another address \
                     with --listen (port 0 takes a free one)"
                ),
                std::io::ErrorKind::PermissionDenied => {
                    format!("; port {port} needs more rights: choose one above 1023")
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    "; this machine does not have that address".to_owned()
                }
                _ => String::new(),
            };
            Failure::new(Cause::Address, format!("{error}{hint}"))
        }
        GatewayError::Config(_) | GatewayError::Tls(_) => {
            Failure::new(Cause::Configuration, error.to_string())
        }
        GatewayError::Keys(_) => {
            let source = match (&config.auth.cluster_secret, &config.auth.cluster_secret_file) {
                (Some(_), _) => "auth.cluster_secret",
                (None, Some(_)) => "the file of auth.cluster_secret_file",
                (None, None) => "cluster.secret in the data directory",
            };
            Failure::new(Cause::Database, format!("{error}; the secret in use is {source}"))
        }
    }
}

/// The gateway while it runs.
pub(crate) struct Front {
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Front {
    fn run(gateway: Gateway) -> Self {
        let stop = CancellationToken::new();
        let running = tokio::spawn(gateway.run(stop.clone()));
        Self { stop, running }
    }

    /// No new connection, and no new request on those that are open. Returns at once.
    pub(crate) fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Returns when every connection has ended.
    pub(crate) async fn closed(self) {
        if let Err(error) = self.running.await {
            tracing::error!(%error, "the gateway ended badly");
        }
    }
}
