//! The node's configuration: typed sections, and how they are loaded.
//!
//! Defaults < TOML file < environment < flags. Each layer is checked whole against the table of
//! keys before anything is used, so that one run names everything that is wrong. This module
//! reads files and the environment; it changes nothing.

mod check;
mod keys;
mod secret;
mod show;
mod sources;

use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use parlance_gateway::config::OWN_NETWORKS;
use serde::{Deserialize, Serialize};

pub(crate) use check::Faults;
pub(crate) use secret::{Secret, SecretUrl};
pub(crate) use show::{environment_names, example, show};
pub(crate) use sources::{Flags, Place};

/// Everything that an operator may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Where everything of this node lives.
    pub(crate) data_dir: PathBuf,
    pub(crate) threads: u32,
    pub(crate) http: Http,
    pub(crate) acme: Acme,
    pub(crate) auth: Auth,
    pub(crate) database: Database,
    #[serde(default)]
    pub(crate) crypt: Crypt,
    pub(crate) chat: Chat,
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
    pub(crate) metrics: Metrics,
    pub(crate) traces: Traces,
}

impl Config {
    /// Whether the front door speaks HTTPS.
    pub(crate) const fn is_https(&self) -> bool {
        self.http.tls_cert.is_some() || self.acme.domains.is_some()
    }
}

/// The front door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_listen: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redirect_port: Option<u16>,
    pub(crate) trusted_proxies: Vec<String>,
    pub(crate) proxy_protocol_from: Vec<String>,
    pub(crate) allowed_origins: Vec<String>,
    pub(crate) max_connections: u32,
    pub(crate) max_connections_per_address: u32,
    pub(crate) requests_per_second: u32,
    pub(crate) requests_burst: u32,
    pub(crate) upgrades_per_second: u32,
    pub(crate) upgrades_burst: u32,
    pub(crate) disk_free_min_mib: u32,
}

/// A certificate that the node orders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acme {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domains: Option<Vec<String>>,
    pub(crate) terms_agreed: bool,
    pub(crate) contact: Vec<String>,
    pub(crate) directory: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
}

/// Signing in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auth {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_secret: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cluster_secret_file: Option<PathBuf>,
    pub(crate) registration: bool,
    pub(crate) register_per_minute: u32,
    pub(crate) login_per_minute: u32,
    pub(crate) access_token_seconds: u32,
    pub(crate) refresh_token_days: u32,
    pub(crate) lockout_failures: u32,
    pub(crate) lockout_window_seconds: u32,
    pub(crate) lockout_rest_seconds: u32,
    pub(crate) argon2_memory_kib: u32,
    pub(crate) argon2_iterations: u32,
    pub(crate) argon2_at_once: u32,
}

/// Where history is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<SecretUrl>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_url: Option<SecretUrl>,
    pub(crate) lanes: u32,
    pub(crate) pool_size: u32,
}

/// Encryption at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Crypt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keyring: Option<PathBuf>,
}

/// What clients may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chat {
    pub(crate) simple_chat: bool,
}

/// The other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cluster {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<PathBuf>,
    pub(crate) control_listen: SocketAddr,
    pub(crate) data_listen: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advertise: Option<String>,
    pub(crate) bootstrap: bool,
    pub(crate) join: Vec<String>,
    pub(crate) expect: u32,
    pub(crate) voters: u32,
    pub(crate) lease_ms: u32,
    pub(crate) renew_ms: u32,
    pub(crate) heartbeat_ms: u32,
    pub(crate) election_min_ms: u32,
    pub(crate) election_max_ms: u32,
}

impl Cluster {
    /// Whether this node is one of several. Without a certificate it is alone.
    pub(crate) const fn is_on(&self) -> bool {
        self.cert.is_some()
    }
}

/// What the node says about itself, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: LogLevel,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The least important lines that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// What the node counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Metrics {
    pub(crate) enabled: bool,
    pub(crate) from: Vec<String>,
}

/// Spans for a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traces {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    pub(crate) one_in: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("parlance-data"),
            threads: 0,
            http: Http {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                tls_cert: None,
                tls_key: None,
                redirect_listen: None,
                redirect_port: None,
                trusted_proxies: Vec::new(),
                proxy_protocol_from: Vec::new(),
                allowed_origins: Vec::new(),
                max_connections: 100_000,
                max_connections_per_address: 1_000,
                requests_per_second: 100,
                requests_burst: 400,
                upgrades_per_second: 1_000,
                upgrades_burst: 100,
                disk_free_min_mib: 256,
            },
            acme: Acme {
                domains: None,
                terms_agreed: false,
                contact: Vec::new(),
                directory: "https://acme-v02.api.letsencrypt.org/directory".to_owned(),
                ca: None,
            },
            auth: Auth {
                cluster_secret: None,
                cluster_secret_file: None,
                registration: true,
                register_per_minute: 5,
                login_per_minute: 10,
                access_token_seconds: 1_800,
                refresh_token_days: 30,
                lockout_failures: 5,
                lockout_window_seconds: 900,
                lockout_rest_seconds: 900,
                argon2_memory_kib: 19_456,
                argon2_iterations: 2,
                argon2_at_once: 0,
            },
            database: Database { url: None, read_url: None, lanes: 1, pool_size: 8 },
            crypt: Crypt { keyring: None },
            chat: Chat { simple_chat: true },
            cluster: Cluster {
                ca: None,
                cert: None,
                key: None,
                control_listen: SocketAddr::from(([0, 0, 0, 0], 7701)),
                data_listen: SocketAddr::from(([0, 0, 0, 0], 7702)),
                advertise: None,
                bootstrap: false,
                join: Vec::new(),
                expect: 0,
                voters: 3,
                lease_ms: 3_000,
                renew_ms: 500,
                heartbeat_ms: 250,
                election_min_ms: 1_000,
                election_max_ms: 2_000,
            },
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
            metrics: Metrics {
                enabled: true,
                from: OWN_NETWORKS.iter().map(|network| (*network).to_owned()).collect(),
            },
            traces: Traces { endpoint: None, one_in: 100 },
        }
    }
}

/// A checked configuration with where each value came from.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The values.
    pub(crate) config: Config,
    /// The layers, for `config show`.
    figment: Figment,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
}

/// Reads every layer, checks all of them, and gives the configuration or everything that is
/// wrong with it.
///
/// `files_must_be_there` is off for commands that make such a file.
pub(crate) fn load(flags: &Flags, files_must_be_there: bool) -> Result<Loaded, Faults> {
    let mut faults = Faults::default();
    let layers = sources::layers(flags, &mut faults);
    for layer in &layers.all {
        check::layer(layer, &mut faults);
    }
    let figment = layers.merged();
    check::together(&figment, files_must_be_there, &mut faults);
    match figment.extract::<Config>() {
        Ok(config) if faults.is_empty() => {
            return Ok(Loaded { config, figment, file: layers.file });
        }
        Ok(_) => {}
        // A fault of a value was named already, by its place; anything else must not be lost.
        Err(error) if faults.is_empty() => {
            for one in error {
                faults.add(Place::default(), one.path.join("."), one.kind.to_string());
            }
        }
        Err(_) => {}
    }
    Err(faults)
}
