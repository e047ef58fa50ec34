//! The table of keys: each one's name, what its values may be, and what it does. Checks, hints,
//! `config show` and the example file are all made from it.

/// One key.
pub(super) struct Key {
    /// Its place, with a dot between section and name.
    pub(super) path: &'static str,
    /// What a value may be.
    pub(super) kind: Kind,
    /// What it does, line by line, for the example file.
    pub(super) about: &'static str,
    /// An example for a key that has no value by default.
    pub(super) example: Option<&'static str>,
}

/// What a value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number in a range.
    Number { min: u64, max: u64 },
    /// One of these numbers.
    Choice(&'static [u64]),
    /// One of these words.
    Word(&'static [&'static str]),
    /// An IP address and a port.
    Address,
    /// A directory that the node makes.
    Directory,
    /// A file that must be readable.
    File,
    /// IP addresses and networks.
    Networks,
    /// Web origins.
    Origins,
    /// Host names, as a certificate has them.
    Domains,
    /// E-mail addresses.
    Emails,
    /// A URL with `https://`.
    HttpsUrl,
    /// A host name or an IP address, without a port.
    Host,
    /// Host names or IP addresses, each with a port.
    Places,
    /// A text that is never shown.
    Secret,
    /// A database's URL; the password in it is never shown.
    DatabaseUrl,
    /// The URL of a collector, without a password.
    CollectorUrl,
}

/// The key of this path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether this path is a section.
pub(super) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|(name, _)| *name == path)
}

/// The environment name of a key.
pub(super) fn environment_name(path: &str) -> String {
    format!("PARLANCE_{}", path.replace('.', "__").to_uppercase())
}

/// The sections and what each is about.
pub(super) const SECTIONS: [(&str, &str); 10] = [
    ("http", "The front door: HTTP and WebSocket."),
    (
        "acme",
        "Instead of tls_cert and tls_key: a certificate that the node orders and renews, proven at\n\
         port 443 of each name, which must lead to http.listen (TLS-ALPN-01). For a node that is alone.",
    ),
    ("auth", "Signing in."),
    ("database", "Where history is kept."),
    ("crypt", "Encryption of message bodies at rest."),
    ("chat", "What clients may use."),
    (
        "cluster",
        "The other nodes. A node is alone until cert is set. A cluster needs PostgreSQL; the\n\
         database, the cluster secret and the key ring are the same on every node.",
    ),
    ("log", "What the node says about itself, on standard error."),
    ("metrics", "What the node counts."),
    (
        "traces",
        "The way of single changes through the nodes, for an OpenTelemetry collector (OTLP).",
    ),
];

/// Every key, in the order of the example file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "data_dir",
        kind: Kind::Directory,
        about: "Where everything of this node lives: the directory's log, the SQLite database and\n\
                the cluster secret. Made with mode 700. Relative to the working directory.",
        example: None,
    },
    Key {
        path: "threads",
        kind: Kind::Number { min: 0, max: 1_024 },
        about: "Threads that serve clients and rooms. 0 for one a core. On two cores that the database\n\
                shares, 1 costs a sixth less for each message while there are few.",
        example: None,
    },
    Key {
        path: "http.listen",
        kind: Kind::Address,
        about: "The address to listen on. Port 0 takes a free one, which is printed at the start.",
        example: None,
    },
    Key {
        path: "http.tls_cert",
        kind: Kind::File,
        about: "The certificate chain, PEM. Set with tls_key, the node speaks HTTPS only. Both files are\n\
                read again when they change.",
        example: Some("\"/etc/parlance/tls.crt\""),
    },
    Key {
        path: "http.tls_key",
        kind: Kind::File,
        about: "The certificate's private key, PEM.",
        example: Some("\"/etc/parlance/tls.key\""),
    },
    Key {
        path: "http.redirect_listen",
        kind: Kind::Address,
        about: "A second address, plain, that answers everything with the way to HTTPS.",
        example: Some("\"0.0.0.0:80\""),
    },
    Key {
        path: "http.redirect_port",
        kind: Kind::Number { min: 1, max: 65_535 },
        about: "The port of HTTPS as clients reach it, where that is not the port of listen.",
        example: Some("443"),
    },
    Key {
        path: "http.trusted_proxies",
        kind: Kind::Networks,
        about: "Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are\n\
                believed, for example [\"10.0.0.0/8\"]. From anybody else these headers change nothing.",
        example: None,
    },
    Key {
        path: "http.proxy_protocol_from",
        kind: Kind::Networks,
        about: "Addresses or networks of balancers that pass bytes and begin each connection with a\n\
                header of the PROXY protocol, version 2. From them it must come; from anybody else it\n\
                is not understood.",
        example: None,
    },
    Key {
        path: "http.allowed_origins",
        kind: Kind::Origins,
        about: "Web pages of other origins that may call this server from a browser, also with its cookies, for example\n\
                [\"https://chat.example.com\"]. The server's own origin always may.",
        example: None,
    },
    Key {
        path: "http.max_connections",
        kind: Kind::Number { min: 1, max: 10_000_000 },
        about: "Connections at the same time, all together; more are refused.",
        example: None,
    },
    Key {
        path: "http.max_connections_per_address",
        kind: Kind::Number { min: 0, max: 10_000_000 },
        about: "Connections at the same time from one address; more are refused. 0 for no bound.",
        example: None,
    },
    Key {
        path: "http.requests_per_second",
        kind: Kind::Number { min: 0, max: 1_000_000 },
        about: "Requests a second from one address, sustained; more get 429. 0 for no bound.",
        example: None,
    },
    Key {
        path: "http.requests_burst",
        kind: Kind::Number { min: 1, max: 1_000_000 },
        about: "Requests from one address in a burst.",
        example: None,
    },
    Key {
        path: "http.upgrades_per_second",
        kind: Kind::Number { min: 0, max: 1_000_000 },
        about: "Sockets that this node opens a second, sustained, all addresses together; more get 503\n\
                and a time to come back, before the database is asked anything. 0 for no bound.",
        example: None,
    },
    Key {
        path: "http.upgrades_burst",
        kind: Kind::Number { min: 1, max: 1_000_000 },
        about: "Sockets that this node opens in a burst.",
        example: None,
    },
    Key {
        path: "http.disk_free_min_mib",
        kind: Kind::Number { min: 0, max: 1_048_576 },
        about: "With less free space in the data directory the node reports not ready.",
        example: None,
    },
    Key {
        path: "acme.domains",
        kind: Kind::Domains,
        about: "The names that the certificate is for. Set, the node speaks HTTPS only; it refuses connections\n\
                until it has a certificate.",
        example: Some("[\"chat.example.com\"]"),
    },
    Key {
        path: "acme.terms_agreed",
        kind: Kind::Switch,
        about: "Whether you agree to the terms of service of the server that signs. Needed to order. Let's\n\
                Encrypt's are at https://letsencrypt.org/repository/.",
        example: None,
    },
    Key {
        path: "acme.contact",
        kind: Kind::Emails,
        about: "E-mail addresses that the server may write to, for example [\"admin@example.com\"].",
        example: None,
    },
    Key {
        path: "acme.directory",
        kind: Kind::HttpsUrl,
        about: "The directory of the server that signs (RFC 8555). To try things out, with certificates that\n\
                browsers refuse: https://acme-staging-v02.api.letsencrypt.org/directory.",
        example: None,
    },
    Key {
        path: "acme.ca",
        kind: Kind::File,
        about: "Authorities, PEM, that this server's own HTTPS may be signed by, beside those of the web: for\n\
                one of your own network.",
        example: Some("\"/etc/parlance/acme-ca.pem\""),
    },
    Key {
        path: "auth.cluster_secret",
        kind: Kind::Secret,
        about: "The secret that seals signing keys in the database; the same on every node of a\n\
                cluster. Without it and cluster_secret_file the first start makes one in\n\
                <data_dir>/cluster.secret; a cluster needs one that is set. Prefer the file to the\n\
                environment.",
        example: Some("\"…\""),
    },
    Key {
        path: "auth.cluster_secret_file",
        kind: Kind::File,
        about: "A file that holds the cluster secret, readable by its owner alone.",
        example: Some("\"/run/secrets/parlance-cluster\""),
    },
    Key {
        path: "auth.registration",
        kind: Kind::Switch,
        about: "Whether anybody may make an account.",
        example: None,
    },
    Key {
        path: "auth.register_per_minute",
        kind: Kind::Number { min: 0, max: 1_000_000 },
        about: "Registrations a minute from one address; more get 429. 0 for no bound.",
        example: None,
    },
    Key {
        path: "auth.login_per_minute",
        kind: Kind::Number { min: 0, max: 1_000_000 },
        about: "Sign-ins a minute from one address; more get 429. 0 for no bound.",
        example: None,
    },
    Key {
        path: "auth.access_token_seconds",
        kind: Kind::Number { min: 60, max: 86_400 },
        about: "How long an access token is good.",
        example: None,
    },
    Key {
        path: "auth.refresh_token_days",
        kind: Kind::Number { min: 1, max: 3_650 },
        about: "How long a refresh token is good, counted from its last use.",
        example: None,
    },
    Key {
        path: "auth.lockout_failures",
        kind: Kind::Number { min: 1, max: 1_000 },
        about: "Wrong passwords in a row, for one name from one address, after which it rests.",
        example: None,
    },
    Key {
        path: "auth.lockout_window_seconds",
        kind: Kind::Number { min: 1, max: 86_400 },
        about: "A wrong password is forgotten after this long.",
        example: None,
    },
    Key {
        path: "auth.lockout_rest_seconds",
        kind: Kind::Number { min: 1, max: 86_400 },
        about: "How long it rests.",
        example: None,
    },
    Key {
        path: "auth.argon2_memory_kib",
        kind: Kind::Number { min: 8_192, max: 1_048_576 },
        about: "Memory of one password hash (argon2id). The defaults are those that OWASP advises.",
        example: None,
    },
    Key {
        path: "auth.argon2_iterations",
        kind: Kind::Number { min: 1, max: 100 },
        about: "Passes over that memory.",
        example: None,
    },
    Key {
        path: "auth.argon2_at_once",
        kind: Kind::Number { min: 0, max: 256 },
        about: "Password hashes at the same time; more wait, and too many are told busy. 0 for one a\n\
                core, and at most 8.",
        example: None,
    },
    Key {
        path: "database.url",
        kind: Kind::DatabaseUrl,
        about: "postgres://user:password@host:5432/database for PostgreSQL 15 or newer, connected to\n\
                directly and not through a pooler. Several servers, as libpq has it (a:5432,b:5432), are\n\
                all asked, and the primary is taken. Without it: SQLite in the data directory.",
        example: Some("\"postgres://parlance:…@localhost:5432/parlance\""),
    },
    Key {
        path: "database.read_url",
        kind: Kind::DatabaseUrl,
        about: "Where plain reads go, for example a PgBouncer in transaction mode. Without it: url.",
        example: Some("\"postgres://parlance:…@localhost:6432/parlance\""),
    },
    Key {
        path: "database.lanes",
        kind: Kind::Number { min: 1, max: 256 },
        about: "Writers of history on PostgreSQL, each with a connection of its own. One makes the fewest\n\
                commits; more help where its process in PostgreSQL is busy all the time. SQLite has one.",
        example: None,
    },
    Key {
        path: "database.pool_size",
        kind: Kind::Number { min: 2, max: 1_000 },
        about: "Connections for reads and accounts, to url and to read_url each.",
        example: None,
    },
    Key {
        path: "crypt.keyring",
        kind: Kind::File,
        about: "The key ring that bodies are encrypted with; `parlance keys generate` makes one.\n\
                Without it bodies are stored as they are. In a cluster: the same ring on every node.",
        example: Some("\"/etc/parlance/keyring\""),
    },
    Key {
        path: "chat.simple_chat",
        kind: Kind::Switch,
        about: "Simple chat: /ws/chat and /api/chat/messages, with the token in the URL.",
        example: None,
    },
    Key {
        path: "cluster.ca",
        kind: Kind::File,
        about: "The certificates of the cluster's own authority, PEM: `parlance cert ca` makes one. All in\n\
                the file are trusted. This file and the two below are read again when they change.",
        example: Some("\"/etc/parlance/ca.pem\""),
    },
    Key {
        path: "cluster.cert",
        kind: Kind::File,
        about: "This node's certificate, PEM, which names node and cluster: `parlance cert node` makes\n\
                it. Set, the node is one of a cluster.",
        example: Some("\"/etc/parlance/node.pem\""),
    },
    Key {
        path: "cluster.key",
        kind: Kind::File,
        about: "The certificate's private key, PEM, readable by its owner alone.",
        example: Some("\"/etc/parlance/node.key\""),
    },
    Key {
        path: "cluster.control_listen",
        kind: Kind::Address,
        about: "Where gossip and agreement listen, UDP.",
        example: None,
    },
    Key {
        path: "cluster.data_listen",
        kind: Kind::Address,
        about: "Where rooms and sessions of other nodes come in, UDP.",
        example: None,
    },
    Key {
        path: "cluster.advertise",
        kind: Kind::Host,
        about: "The host by which other nodes reach this one: a name or an IP address, without a port.\n\
                Needed where the node listens on every address; else it is the address above.",
        example: Some("\"10.0.0.1\""),
    },
    Key {
        path: "cluster.bootstrap",
        kind: Kind::Switch,
        about: "This node begins the cluster, if its data directory is empty. Exactly one node may.",
        example: None,
    },
    Key {
        path: "cluster.join",
        kind: Kind::Places,
        about: "Control endpoints of nodes to join by, for example [\"10.0.0.1:7701\"]; one that answers is\n\
                enough. A name that resolves to many addresses stands for all of them.",
        example: None,
    },
    Key {
        path: "cluster.expect",
        kind: Kind::Number { min: 0, max: 1_000 },
        about: "Instead of bootstrap: how many nodes begin the cluster together, all with the same\n\
                settings and all of them in join; the database lets one of them win. 0 for off.",
        example: None,
    },
    Key {
        path: "cluster.voters",
        kind: Kind::Choice(&[3, 5]),
        about: "How many nodes agree on the directory, 3 or 5; the others learn from them. Half of\n\
                them, rounded down, may be lost at the same time.",
        example: None,
    },
    Key {
        path: "cluster.lease_ms",
        kind: Kind::Number { min: 500, max: 60_000 },
        about: "A node that is not heard for this long loses its shards to others.",
        example: None,
    },
    Key {
        path: "cluster.renew_ms",
        kind: Kind::Number { min: 50, max: 10_000 },
        about: "How often a node renews its lease. Less than lease_ms.",
        example: None,
    },
    Key {
        path: "cluster.heartbeat_ms",
        kind: Kind::Number { min: 20, max: 10_000 },
        about: "How often the leader says that it is there. Less than election_min_ms.",
        example: None,
    },
    Key {
        path: "cluster.election_min_ms",
        kind: Kind::Number { min: 100, max: 60_000 },
        about: "A leader that is silent for this long may be replaced. Less than election_max_ms.",
        example: None,
    },
    Key {
        path: "cluster.election_max_ms",
        kind: Kind::Number { min: 200, max: 120_000 },
        about: "Each node waits a time of its own between the two before it asks to lead.",
        example: None,
    },
    Key {
        path: "log.format",
        kind: Kind::Word(&["text", "json"]),
        about: "text or json.",
        example: None,
    },
    Key {
        path: "log.level",
        kind: Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        about: "error, warn, info, debug or trace.",
        example: None,
    },
    Key {
        path: "metrics.enabled",
        kind: Kind::Switch,
        about: "Whether /metrics answers.",
        example: None,
    },
    Key {
        path: "metrics.from",
        kind: Kind::Networks,
        about: "Addresses or networks that may read it: this machine and private networks, unless you say otherwise.\n\
                Behind a trusted proxy it is the client's address that counts.",
        example: None,
    },
    Key {
        path: "traces.endpoint",
        kind: Kind::CollectorUrl,
        about: "Where spans go: an OTLP collector that takes HTTP with protobuf, in the clear. Run one beside the\n\
                node, which sends them on over TLS. Without a path it is /v1/traces. Headers that it wants are taken from\n\
                OTEL_EXPORTER_OTLP_HEADERS in the environment. Without an endpoint nothing is traced.",
        example: Some("\"http://127.0.0.1:4318\""),
    },
    Key {
        path: "traces.one_in",
        kind: Kind::Number { min: 0, max: 1_000_000_000 },
        about: "One change in so many is traced: 1 for all, 0 for none. The same on every node of a cluster, so that\n\
                all of them choose the same ones.",
        example: None,
    },
];
