//! The configuration from the outside: the binary, its files, its environment and its flags.

use std::path::Path;
use std::process::Output;

use crate::support::{folder, parlance as binary, said as text};

fn parlance(dir: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = binary();
    command.current_dir(dir).args(arguments).envs(environment.iter().copied());
    command.output().expect("the binary runs")
}

fn write(dir: &Path, name: &str, content: &str) {
    std::fs::write(dir.join(name), content).expect("a file");
}

#[test]
fn the_example_file_is_exactly_the_defaults() {
    let dir = folder();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/node.example.toml");
    let example = std::fs::read_to_string(&file).expect("deploy/node.example.toml");
    let printed = parlance(dir.path(), &["config", "example"], &[]);
    assert_eq!(String::from_utf8_lossy(&printed.stdout), example, "print it anew into {file:?}");

    let file = file.to_string_lossy().into_owned();
    let values = |output: Output| {
        assert!(output.status.success(), "{}", text(&output));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        lines.lines().map(|l| l.split('#').next().unwrap_or("").to_owned()).collect::<Vec<_>>()
    };
    let by_file = values(parlance(dir.path(), &["config", "show", "--config", &file], &[]));
    let by_default = values(parlance(dir.path(), &["config", "show"], &[]));
    assert_eq!(by_file, by_default);
    assert!(by_default.iter().any(|line| line.starts_with("http.listen = ")), "{by_default:?}");
}

#[test]
fn an_example_with_every_comment_removed_is_a_file_that_names_only_known_keys() {
    let dir = folder();
    let printed = parlance(dir.path(), &["config", "example"], &[]);
    let open = String::from_utf8_lossy(&printed.stdout)
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split(' ').nth(1) == Some("=") => setting.to_owned(),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    write(dir.path(), "all.toml", &open);
    let checked = text(&parlance(dir.path(), &["config", "check", "--config", "all.toml"], &[]));
    assert!(!checked.contains("no such key"), "{checked}");
    assert!(checked.contains("/etc/parlance/tls.crt"), "{checked}");
}

#[test]
fn every_wrong_name_and_value_is_named_at_once() {
    let dir = folder();
    write(
        dir.path(),
        "bad.toml",
        r#"data_dri = "x"
log = 5
[http]
listn = "1"
listen = 80
trusted_proxies = ["a", 5, "10.0.0.0/8"]
allowed_origins = ["https://a.example/path"]
tls_cert = "/nowhere/tls.crt"
max_connections = 0
max_connections_per_address = 99999999999999999999999999
[databse]
url = "x"
[database]
url = "mysql://u:hunter2@h/d"
lanes = 3.5
pool_size = "many"
[auth]
cluster_secret = "hunter2"
cluster_secret_file = "/nowhere/secret"
registration = "yes"
[chat]
simple_chat = 1
"#,
    );
    let output = parlance(
        dir.path(),
        &["config", "check", "--config", "bad.toml", "--set", "nope.x=1", "--set", "lanes=2"],
        &[("PARLANCE_HTTP_LISTEN", "1"), ("PARLANCE_LOG__FORMAT", "xml"), ("PARLANCE_X", "")],
    );
    assert_eq!(output.status.code(), Some(1));
    let named = text(&output);
    for fault in [
        "environment PARLANCE_HTTP_LISTEN: no such setting; did you mean PARLANCE_HTTP__LISTEN?",
        "environment PARLANCE_X: no such setting",
        "log.format (environment PARLANCE_LOG__FORMAT): must be one of text, json, and is \"xml\"",
        "nope.x (flag --set): no such key",
        "lanes (flag --set): no such key; did you mean database.lanes?",
        "data_dri (file bad.toml line 1): no such key; did you mean data_dir?",
        "log (file bad.toml line 2): is a section, and cannot be 5",
        "http.listn (file bad.toml line 4): no such key; did you mean http.listen?",
        "http.listen (file bad.toml line 5): must be an IP address and a port",
        "http.trusted_proxies (file bad.toml line 6): each must be an IP address or a network",
        "one is \"a\", another 5",
        "http.allowed_origins (file bad.toml line 7)",
        "http.tls_cert (file bad.toml): needs http.tls_key beside it",
        "http.tls_cert (file bad.toml): \"/nowhere/tls.crt\" cannot be read",
        "http.max_connections (file bad.toml line 9): must be a whole number from 1 to 10000000",
        "http.max_connections_per_address (file bad.toml line 10)",
        "databse (file bad.toml line 11): no such key; did you mean database?",
        "database.url (file bad.toml line 14): must be postgres://",
        "database.lanes (file bad.toml line 15): must be a whole number from 1 to 256, and is 3.5",
        "database.pool_size (file bad.toml line 16)",
        "auth.cluster_secret (file bad.toml): is set, and so is auth.cluster_secret_file",
        "auth.cluster_secret (file bad.toml line 18): the cluster secret ",
        "auth.cluster_secret_file (file bad.toml): \"/nowhere/secret\" cannot be read",
        "auth.registration (file bad.toml line 20): must be true or false, and is \"yes\"",
        "chat.simple_chat (file bad.toml line 22): must be true or false, and is 1",
        "faults in the configuration",
    ] {
        assert!(named.contains(fault), "{fault:?} is missing in:\n{named}");
    }
    assert!(!named.contains("hunter2"), "a secret is shown:\n{named}");
    assert!(!named.contains("\n: "), "a fault without a place:\n{named}");
}

#[test]
fn a_collectors_url_that_cannot_be_used_is_refused_with_what_is_allowed() {
    let dir = folder();
    for (url, why) in [
        ("collector:4318", "must be http://HOST:PORT or http://HOST:PORT/PATH, and is"),
        ("https://collector", "a collector beside the node, which may send them on over TLS"),
        ("http://ann:hunter2@collector", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("grpc://ann:hunter2@collector", "must be http://HOST:PORT"),
        ("http://collector:4318/a?b", "must be http://HOST:PORT"),
        ("http://", "must be http://HOST:PORT"),
    ] {
        let setting = format!("traces.endpoint={url}");
        let output = parlance(dir.path(), &["config", "check", "--set", &setting], &[]);
        let named = text(&output);
        assert_eq!(output.status.code(), Some(1), "{url}: {named}");
        assert!(named.contains("traces.endpoint (flag --set)") && named.contains(why), "{named}");
        assert!(!named.contains("hunter2"), "a secret is shown:\n{named}");
    }
    for url in ["http://127.0.0.1:4318", "http://[::1]:4318/", "http://collector/v1/traces"] {
        let setting = format!("traces.endpoint={url}");
        let output = parlance(dir.path(), &["config", "check", "--set", &setting], &[]);
        assert!(output.status.success(), "{url}: {}", text(&output));
    }
}

#[test]
fn an_order_that_can_come_to_nothing_is_named() {
    let dir = folder();
    let check = |lines: &str| {
        write(dir.path(), "node.toml", lines);
        text(&parlance(dir.path(), &["config", "check", "--config", "node.toml"], &[]))
    };
    let named = check(
        "[acme]\nterms_agreed = true\ncontact = [\"a@b.example\"]\nca = \"/nowhere/ca.pem\"\n",
    );
    for key in ["acme.terms_agreed", "acme.contact", "acme.ca"] {
        let fault = format!("{key} (file node.toml): needs acme.domains beside it");
        assert!(named.contains(&fault), "{fault:?} is missing in:\n{named}");
    }
    for (domains, fault) in [
        ("[]", "must name 1 to 100 hosts, and names 0"),
        ("[\"a.example\", \"A.example\"]", "names \"a.example\" twice"),
        ("[\"*.example.com\"]", "neither wildcards nor IP addresses, and one is \"*.example.com\""),
        ("[\"192.0.2.1\"]", "neither wildcards nor IP addresses, and one is \"192.0.2.1\""),
        ("\"a.example\"", "must be a list, and is \"a.example\""),
    ] {
        let named = check(&format!("[acme]\ndomains = {domains}\nterms_agreed = true\n"));
        assert!(named.contains("acme.domains (file node.toml line 2): "), "{named}");
        assert!(named.contains(fault), "{fault:?} is missing in:\n{named}");
    }
    let named = check(
        "[http]\ntls_cert = \"/nowhere/a\"\ntls_key = \"/nowhere/b\"\n\
         [acme]\ndomains = [\"a.example\"]\ncontact = [\"mailto:a@b\"]\ndirectory = \"http://ca.example\"\n\
         [cluster]\ncert = \"/nowhere/node.pem\"\n",
    );
    for fault in [
        "acme.domains (file node.toml): needs acme.terms_agreed = true beside it",
        "http.tls_cert (file node.toml): is set, and so is acme.domains",
        "http.tls_key (file node.toml): is set, and so is acme.domains",
        "acme.domains (file node.toml): is for a node that is alone",
        "acme.contact (file node.toml line 6): each must be an e-mail address",
        "acme.directory (file node.toml line 7): must be a URL with https://",
    ] {
        assert!(named.contains(fault), "{fault:?} is missing in:\n{named}");
    }
    let fine = "[http]\nredirect_listen = \"127.0.0.1:8081\"\n\
                [acme]\ndomains = [\"chat.example.com\"]\nterms_agreed = true\n";
    let checked = check(fine);
    assert!(!checked.contains("fault"), "{checked}");
}

#[test]
fn a_redirect_without_tls_or_to_itself_is_named() {
    let dir = folder();
    let check = |lines: &str| {
        write(dir.path(), "node.toml", &format!("[http]\n{lines}"));
        let output = parlance(dir.path(), &["config", "check", "--config", "node.toml"], &[]);
        assert_eq!(output.status.code(), Some(1));
        text(&output)
    };
    let named = check("redirect_listen = \"127.0.0.1:8080\"\nredirect_port = 0\n");
    assert!(
        named.contains("http.redirect_listen (file node.toml): needs http.tls_cert"),
        "{named}"
    );
    assert!(named.contains("is the address of http.listen"), "{named}");
    assert!(
        named.contains("http.redirect_port (file node.toml line 3): must be a whole"),
        "{named}"
    );
    let named = check("redirect_port = 443\nproxy_protocol_from = [\"all\"]\n");
    assert!(
        named.contains("http.redirect_port (file node.toml): needs http.redirect_listen"),
        "{named}"
    );
    assert!(
        named.contains("http.proxy_protocol_from (file node.toml line 3): each must be"),
        "{named}"
    );
}

#[test]
fn a_wrong_value_is_named_even_where_a_stronger_source_covers_it() {
    let dir = folder();
    write(dir.path(), "bad.toml", "[http]\nlisten = \"here\"\n");
    let output = parlance(
        dir.path(),
        &["config", "check", "--config", "bad.toml"],
        &[("PARLANCE_HTTP__LISTEN", "127.0.0.1:1")],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("http.listen (file bad.toml line 2)"), "{}", text(&output));
}

#[test]
fn a_file_that_is_not_toml_is_named_with_its_lines() {
    let dir = folder();
    write(dir.path(), "bad.toml", "[http]\na = = b\nc = \"\n");
    let output = parlance(dir.path(), &["config", "check", "--config", "bad.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let named = text(&output);
    assert!(named.contains("file bad.toml line 2: not TOML"), "{named}");
    assert!(named.contains("file bad.toml line 3: not TOML"), "{named}");
    let output = parlance(dir.path(), &["config", "check", "--config", "none.toml"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("file none.toml: cannot be read"), "{}", text(&output));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let dir = folder();
    write(
        dir.path(),
        "node.toml",
        "[http]\nlisten = \"127.0.0.1:1\"\nmax_connections = 11\n[log]\nlevel = \"warn\"\n",
    );
    let output = parlance(
        dir.path(),
        &["config", "show", "--config", "node.toml", "--set", "http.listen=127.0.0.1:3"],
        &[
            ("PARLANCE_HTTP__LISTEN", "127.0.0.1:2"),
            ("PARLANCE_HTTP__MAX_CONNECTIONS", "12"),
            ("PARLANCE_HTTP__TRUSTED_PROXIES", "10.0.0.0/8, ::1"),
        ],
    );
    let shown = text(&output);
    for (setting, source) in [
        ("http.listen = \"127.0.0.1:3\"", "flag --set"),
        ("http.max_connections = 12", "environment PARLANCE_HTTP__MAX_CONNECTIONS"),
        ("http.trusted_proxies = [\"10.0.0.0/8\", \"::1\"]", "PARLANCE_HTTP__TRUSTED_PROXIES"),
        ("log.level = \"warn\"", "file node.toml"),
        ("log.format = \"text\"", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_default();
        assert!(line.ends_with(source), "{setting} from {source}:\n{shown}");
    }
}

#[test]
fn the_file_in_the_data_directory_is_read_unless_another_is_named() {
    let dir = folder();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    write(&data, "node.toml", "[log]\nlevel = \"warn\"\n");
    write(dir.path(), "other.toml", "[log]\nlevel = \"error\"\n");
    let shown = |arguments: &[&str], environment: &[(&str, &str)]| {
        let arguments = [&["config", "show"], arguments].concat();
        text(&parlance(dir.path(), &arguments, environment))
    };
    assert!(shown(&[], &[]).contains("log.level = \"info\""));
    assert!(shown(&["--data-dir", "data"], &[]).contains("log.level = \"warn\""));
    assert!(shown(&[], &[("PARLANCE_DATA_DIR", "data")]).contains("log.level = \"warn\""));
    let named = &[("PARLANCE_DATA_DIR", "data"), ("PARLANCE_CONFIG", "other.toml")];
    assert!(shown(&[], named).contains("log.level = \"error\""));
}

#[test]
fn no_secret_is_ever_printed() {
    let dir = folder();
    let secret = "kTqPzv0cX3m8yJrN5bLwQfHs7uGdEi2oAaVxZ1K9RtY=";
    let url = |host: &str| format!("postgres://parlance:{secret}@{host}/p?sslpassword={secret}");
    write(
        dir.path(),
        "node.toml",
        &format!(
            "[auth]\ncluster_secret = \"{secret}\"\n[database]\nurl = \"{}\"\nread_url = \"{}\"\n",
            url("a"),
            url("b")
        ),
    );
    let by_file = parlance(dir.path(), &["config", "show", "--config", "node.toml"], &[]);
    assert!(by_file.status.success(), "{}", text(&by_file));
    let (one, other) = (url("a"), url("b"));
    let by_environment = parlance(
        dir.path(),
        &["config", "show"],
        &[
            ("PARLANCE_AUTH__CLUSTER_SECRET", secret),
            ("PARLANCE_DATABASE__URL", &one),
            ("PARLANCE_DATABASE__READ_URL", &other),
        ],
    );
    assert!(by_environment.status.success(), "{}", text(&by_environment));
    for shown in [text(&by_file), text(&by_environment)] {
        assert!(!shown.contains("QfHs7uGd"), "{shown}");
        assert!(shown.contains("auth.cluster_secret = \"***\""), "{shown}");
        assert!(shown.contains("postgres://parlance:***@a/p?sslpassword=***"), "{shown}");
    }
    // In every wrong place, too.
    for (name, value) in [
        ("PARLANCE_HTTP__LISTEN_SECRET", secret),
        ("PARLANCE_DATABASE__URL", secret),
        ("PARLANCE_DATABASE__URL", &format!("mysql://u:{secret}@h/d")),
    ] {
        let output = parlance(dir.path(), &["config", "check"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(!text(&output).contains("QfHs7uGd"), "{}", text(&output));
    }
}

#[test]
fn a_weak_cluster_secret_is_refused_wherever_it_stands() {
    let dir = folder();
    write(dir.path(), "secret", "changeme\n");
    let file = dir.path().join("secret").to_string_lossy().into_owned();
    for (name, value) in [
        ("PARLANCE_AUTH__CLUSTER_SECRET", "changeme"),
        ("PARLANCE_AUTH__CLUSTER_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("PARLANCE_AUTH__CLUSTER_SECRET_FILE", &file),
    ] {
        let output = parlance(dir.path(), &["config", "check"], &[(name, value)]);
        assert_eq!(output.status.code(), Some(1), "{name}={value}");
        assert!(text(&output).contains("cluster secret"), "{}", text(&output));
    }
}

#[test]
fn names_that_kubernetes_makes_for_a_service_are_no_faults() {
    let dir = folder();
    let output = parlance(
        dir.path(),
        &["config", "check"],
        &[
            ("PARLANCE_PORT", "tcp://10.0.0.1:80"),
            ("PARLANCE_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("PARLANCE_SERVICE_HOST", "10.0.0.1"),
            ("PARLANCE_SERVICE_PORT_HTTP", "80"),
        ],
    );
    assert!(output.status.success(), "{}", text(&output));
}

/// A node of a cluster whose every part is there.
fn of_a_cluster(dir: &Path) -> Vec<(&'static str, String)> {
    let secret = "kTqPzv0cX3m8yJrN5bLwQfHs7uGdEi2oAaVxZ1K9RtY=";
    for name in ["ca.pem", "node.pem", "node.key"] {
        write(dir, name, "");
    }
    vec![
        ("PARLANCE_CLUSTER__CA", "ca.pem".to_owned()),
        ("PARLANCE_CLUSTER__CERT", "node.pem".to_owned()),
        ("PARLANCE_CLUSTER__KEY", "node.key".to_owned()),
        ("PARLANCE_CLUSTER__ADVERTISE", "10.0.0.1".to_owned()),
        ("PARLANCE_CLUSTER__JOIN", "10.0.0.2:7701,chat.example:7701,[::1]:7701".to_owned()),
        ("PARLANCE_DATABASE__URL", "postgres://p@h/d".to_owned()),
        ("PARLANCE_AUTH__CLUSTER_SECRET", secret.to_owned()),
    ]
}

fn check(dir: &Path, settings: &[(&str, String)]) -> (bool, String) {
    let settings = settings.iter().map(|(name, value)| (*name, &**value)).collect::<Vec<_>>();
    let output = parlance(dir, &["config", "check"], &settings);
    (output.status.success(), text(&output))
}

#[test]
fn what_a_cluster_needs_is_named() {
    let dir = folder();
    let whole = of_a_cluster(dir.path());
    let (fine, said) = check(dir.path(), &whole);
    assert!(fine, "{said}");
    let without = |missing: &str| {
        whole.iter().filter(|(name, _)| *name != missing).cloned().collect::<Vec<_>>()
    };
    for (missing, fault) in [
        ("PARLANCE_CLUSTER__CA", "needs cluster.ca beside it"),
        ("PARLANCE_CLUSTER__KEY", "needs cluster.key beside it"),
        (
            "PARLANCE_CLUSTER__CERT",
            "cluster.join (environment PARLANCE_CLUSTER__JOIN): means nothing",
        ),
        ("PARLANCE_CLUSTER__ADVERTISE", "set cluster.advertise to the host"),
        ("PARLANCE_DATABASE__URL", "a cluster needs PostgreSQL"),
        ("PARLANCE_AUTH__CLUSTER_SECRET", "a cluster needs auth.cluster_secret_file"),
    ] {
        let (fine, said) = check(dir.path(), &without(missing));
        assert!(
            !fine && said.contains(fault),
            "without {missing}: {fault:?} is missing in:\n{said}"
        );
    }
    for (name, value, fault) in [
        ("PARLANCE_CLUSTER__BOOTSTRAP", "true", "cluster.bootstrap (environment"),
        ("PARLANCE_CLUSTER__VOTERS", "4", "must be 3 or 5, and is 4"),
        ("PARLANCE_CLUSTER__RENEW_MS", "3000", "must be less than cluster.lease_ms, 3000"),
        ("PARLANCE_CLUSTER__HEARTBEAT_MS", "1500", "must be less than cluster.election_min_ms"),
        ("PARLANCE_CLUSTER__ELECTION_MIN_MS", "2000", "less than cluster.election_max_ms, 2000"),
        ("PARLANCE_CLUSTER__ADVERTISE", "10.0.0.1:7701", "without a port"),
        ("PARLANCE_CLUSTER__JOIN", "10.0.0.2", "each must be a host and a port"),
        ("PARLANCE_CLUSTER__JOIN", "::1:7701", "each must be a host and a port"),
        ("PARLANCE_CLUSTER__DATA_LISTEN", "0.0.0.0:7701", "they must differ"),
    ] {
        let mut settings = without(name);
        settings.push((name, value.to_owned()));
        let (fine, said) = check(dir.path(), &settings);
        assert!(!fine && said.contains(fault), "{name}={value}: {fault:?} is missing in:\n{said}");
    }
    let mut expecting = without("PARLANCE_CLUSTER__JOIN");
    expecting.push(("PARLANCE_CLUSTER__EXPECT", "3".to_owned()));
    let (fine, said) = check(dir.path(), &expecting);
    assert!(!fine && said.contains("needs cluster.join beside it"), "{said}");
}

#[test]
fn flags_of_serve_begin_or_join_a_cluster() {
    let dir = folder();
    let output =
        parlance(dir.path(), &["serve", "--bootstrap", "--join", "a:1", "--join", "b:x"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    for fault in [
        "cluster.bootstrap (flag --bootstrap): means nothing to a node that is alone",
        "cluster.join (flag --join): each must be a host and a port such as 10.0.0.1:7701, and one is \"b:x\"",
    ] {
        assert!(said.contains(fault), "{fault:?} is missing in:\n{said}");
    }
}
