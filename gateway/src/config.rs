//! How the gateway is set up: every setting with its default, and the check that names what is
//! wrong with one. It reads no file and no environment; the node does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use parlance_actors::ports::accounts::LockoutRule;

use crate::limits::SIGN_IN_CACHE_MAX;
use crate::web::Web;

/// This machine and private networks (RFC 1918, RFC 4193, link-local ones): where those are who watch a node.
pub const OWN_NETWORKS: [&str; 8] = [
    "127.0.0.0/8",
    "::1/128",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

fn own_networks() -> Vec<IpNet> {
    OWN_NETWORKS.iter().map(|network| network.parse().expect("a network")).collect()
}

/// All settings of the gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the certificate comes from; without one plain HTTP is spoken.
    pub tls: Option<Tls>,
    /// Networks whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Networks that may read `/metrics`.
    pub metrics_from: Vec<IpNet>,
    /// Networks whose connections begin with a header of the PROXY protocol, version 2.
    pub proxy_protocol_from: Vec<IpNet>,
    /// A plain address that sends everybody to the one above; needs `tls`.
    pub redirect: Option<RedirectFrom>,
    /// Origins, as `https://host`, that may use ambient credentials beside the server's own.
    pub allowed_origins: Vec<String>,
    /// Anybody may register an account.
    pub registration: bool,
    /// Simple chat is served.
    pub simple_chat: bool,
    /// Connections in all; 0 is off.
    pub connections_max: usize,
    /// Connections of one address (of one /64 with IPv6); 0 is off. Trusted proxies are exempt,
    /// and the sockets behind them are counted by their clients' addresses.
    pub connections_per_address_max: usize,
    /// How long things may take.
    pub deadlines: Deadlines,
    /// How often an address may do things.
    pub rates: Rates,
    /// What a password hash costs.
    pub passwords: PasswordCost,
    /// How long tokens and keys last.
    pub lifetimes: Lifetimes,
    /// When failed sign-ins of one name from one address lock it there.
    pub lockout: LockoutRule,
    /// The folder whose disk must have room, if that is checked.
    pub data_dir: Option<PathBuf>,
    /// With less free space than this, in bytes, the node is not ready.
    pub disk_free_min: u64,
    /// The web client that is served.
    pub web: Web,
}

/// Where the certificate of the front door comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Files, which are read again when they change.
    Files(TlsFiles),
    /// Orders at an ACME server (RFC 8555).
    Acme(Acme),
}

/// Certificates that are ordered at an ACME server, and renewed when a third of their time is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acme {
    /// The names that the certificate is for, in lower case. At port 443 each must lead to `listen`.
    pub domains: Vec<String>,
    /// E-mail addresses that the server may write to.
    pub contact: Vec<String>,
    /// The URL of the server's directory, `https://…`.
    pub directory: String,
    /// Somebody agreed to the server's terms of service.
    pub terms_agreed: bool,
    /// Authorities that the server itself may be signed by, beside those of the web: PEM.
    pub authorities: Option<PathBuf>,
    /// Where the account's key and the certificate are kept. Made with mode 700.
    pub folder: PathBuf,
}

/// The files of a TLS identity, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where plain HTTP is answered with the way to HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectFrom {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The port of HTTPS as clients reach it, where that is another one than is listened on.
    pub port: Option<u16>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// The TLS handshake.
    pub handshake: Duration,
    /// All headers of a request, and the pause before the next one on the same connection.
    pub header: Duration,
    /// The whole body of a request.
    pub body: Duration,
    /// The first frame of a socket, which is `hello`.
    pub hello: Duration,
    /// A client that takes no byte for this long is cut off.
    pub write: Duration,
    /// A socket whose client says nothing, not even a pong, is closed.
    pub idle: Duration,
    /// How often an open socket's sign-in is looked up again: two small reads for each socket. What
    /// this node revokes is told to its sockets at once.
    pub recheck: Duration,
    /// Requests in flight when the server stops.
    pub shutdown: Duration,
    /// After this long without a lease the node asks its sockets to move.
    pub lease: Duration,
}

/// How often an address may do things, and the node all together; 0 is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Registrations a minute.
    pub register_per_minute: u32,
    /// Sign-ins a minute.
    pub login_per_minute: u32,
    /// Requests a second, sustained.
    pub http_per_second: u32,
    /// Requests in a burst.
    pub http_burst: u32,
    /// Sockets that this node opens a second, sustained, all addresses together.
    pub upgrades_per_second: u32,
    /// Sockets that it opens in a burst.
    pub upgrades_burst: u32,
}

/// What argon2id costs, and how much of it is done at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory of one hash.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
    /// Hashes at the same time.
    pub at_once: usize,
    /// Sign-ins that wait for their turn. One more is refused with `busy`.
    pub waiting_max: usize,
}

/// How long tokens and keys last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// An access token.
    pub access: Duration,
    /// A refresh token; each refresh begins anew.
    pub refresh: Duration,
    /// A socket ticket.
    pub ticket: Duration,
    /// A new signing key is made this often.
    pub signing_key: Duration,
    /// A new signing key is published this long before it signs.
    pub key_ahead: Duration,
    /// Signing keys are read again this often.
    pub key_reload: Duration,
    /// For how long a sign-in is taken to live without asking the database, at most
    /// [`SIGN_IN_CACHE_MAX`]: after a logout on another node its tokens work this long.
    pub sign_in_cache: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: None,
            trusted_proxies: Vec::new(),
            metrics_from: own_networks(),
            proxy_protocol_from: Vec::new(),
            redirect: None,
            allowed_origins: Vec::new(),
            registration: true,
            simple_chat: true,
            connections_max: 100_000,
            connections_per_address_max: 1_000,
            deadlines: Deadlines::default(),
            rates: Rates::default(),
            passwords: PasswordCost::default(),
            lifetimes: Lifetimes::default(),
            lockout: LockoutRule {
                failures: 5,
                window: Duration::from_secs(15 * 60),
                rest: Duration::from_secs(15 * 60),
            },
            data_dir: None,
            disk_free_min: 256 * 1024 * 1024,
            web: Web::embedded(),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(15),
            body: Duration::from_secs(30),
            hello: Duration::from_secs(10),
            write: parlance_actors::limits::SLOW_CONSUMER,
            idle: parlance_actors::limits::SESSION_IDLE,
            recheck: Duration::from_secs(30),
            shutdown: parlance_actors::limits::DRAIN,
            lease: Duration::from_secs(5),
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            register_per_minute: 5,
            login_per_minute: 10,
            http_per_second: 100,
            http_burst: 400,
            upgrades_per_second: 1_000,
            upgrades_burst: 100,
        }
    }
}

impl Default for PasswordCost {
    /// OWASP's recommendation for argon2id: 19 MiB, two passes, one lane.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            memory_kib: 19 * 1024,
            passes: 2,
            lanes: 1,
            at_once: cores.clamp(1, 8),
            waiting_max: 64,
        }
    }
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(30 * 60),
            refresh: Duration::from_secs(30 * 24 * 60 * 60),
            ticket: Duration::from_secs(30),
            signing_key: Duration::from_secs(7 * 24 * 60 * 60),
            key_ahead: Duration::from_secs(10 * 60),
            key_reload: Duration::from_secs(60),
            sign_in_cache: SIGN_IN_CACHE_MAX,
        }
    }
}

impl GatewayConfig {
    /// Everything that is wrong with the settings, each with its name and what is allowed.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut need = |fine: bool, what: &str| {
            if !fine {
                problems.push(what.to_owned());
            }
        };
        let Deadlines { handshake, header, body, hello, write, idle, recheck, shutdown, lease } =
            self.deadlines;
        for (name, deadline) in [
            ("handshake", handshake),
            ("header", header),
            ("body", body),
            ("hello", hello),
            ("write", write),
            ("idle", idle),
            ("recheck", recheck),
            ("shutdown", shutdown),
            ("lease", lease),
        ] {
            need(!deadline.is_zero(), &format!("deadlines.{name} is 0; give it some time"));
        }
        need(
            self.redirect.is_none() || self.tls.is_some(),
            "redirect is set, but there is no TLS to send anybody to",
        );
        if let Some(Tls::Acme(acme)) = &self.tls {
            need(!acme.domains.is_empty(), "acme.domains is empty; name at least one host");
            need(
                acme.directory.starts_with("https://"),
                "acme.directory must be a URL with https://",
            );
            need(
                acme.terms_agreed,
                "acme.terms_agreed is false; an order needs the agreement to the terms of service",
            );
        }
        let rates = self.rates;
        need(
            rates.http_per_second == 0 || rates.http_burst > 0,
            "rates.http_burst is 0, which would refuse everything; set http_per_second to 0 to turn the limit off",
        );
        need(
            rates.upgrades_per_second == 0 || rates.upgrades_burst > 0,
            "rates.upgrades_burst is 0, which would refuse every socket; set upgrades_per_second to 0 to turn the limit off",
        );
        let cost = self.passwords;
        need(
            cost.memory_kib >= 8 * cost.lanes && cost.passes > 0 && cost.lanes > 0,
            "passwords: memory_kib must be at least 8 a lane, passes and lanes at least 1",
        );
        need(cost.at_once > 0, "passwords.at_once is 0; at least 1 is needed to sign in");
        let life = self.lifetimes;
        need(
            life.access >= Duration::from_secs(1) && life.ticket >= Duration::from_secs(1),
            "lifetimes.access and lifetimes.ticket must be at least a second",
        );
        need(life.refresh > life.access, "lifetimes.refresh must be longer than lifetimes.access");
        need(
            life.signing_key > life.key_ahead,
            "lifetimes.signing_key must be longer than lifetimes.key_ahead",
        );
        need(
            life.key_ahead >= 2 * life.key_reload && !life.key_reload.is_zero(),
            "lifetimes.key_ahead must be at least twice lifetimes.key_reload, so that every node knows a key before it signs",
        );
        need(
            life.sign_in_cache <= SIGN_IN_CACHE_MAX,
            "lifetimes.sign_in_cache is over 10 seconds, for which a revoked sign-in would go on",
        );
        need(self.lockout.failures > 0, "lockout.failures is 0, which would lock everybody out");
        for origin in &self.allowed_origins {
            need(
                origin.starts_with("https://") || origin.starts_with("http://"),
                &format!("allowed_origins: {origin:?} is not an origin; write it as https://host"),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problems() {
        assert_eq!(GatewayConfig::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let mut config = GatewayConfig::default();
        config.deadlines.body = Duration::ZERO;
        config.passwords.at_once = 0;
        config.redirect = Some(RedirectFrom { listen: config.listen, port: None });
        config.allowed_origins = vec!["example.org".into()];
        let problems = config.problems().join("\n");
        for name in ["deadlines.body", "passwords.at_once", "example.org", "redirect"] {
            assert!(problems.contains(name), "{problems}");
        }
        config.tls = Some(Tls::Acme(Acme {
            domains: Vec::new(),
            contact: Vec::new(),
            directory: "http://acme.example".to_owned(),
            terms_agreed: false,
            authorities: None,
            folder: PathBuf::new(),
        }));
        let problems = config.problems().join("\n");
        for name in ["acme.domains", "acme.directory", "acme.terms_agreed"] {
            assert!(problems.contains(name), "{problems}");
        }
    }
}
