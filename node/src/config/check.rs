//! What is wrong with a configuration: every fault, each with its place, all at once.
//!
//! Each layer is checked by itself, so that a wrong value is named even where a stronger layer
//! covers it. No fault ever quotes a secret.

mod acme;
mod cluster;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use figment::Figment;
use figment::value::{Dict, Value};
use ipnet::IpNet;

use super::keys::{self, KEYS, Kind, SECTIONS};
use super::secret::masked_url;
use super::show::whole;
use super::sources::{Layer, Place};

/// A quoted value is cut after this many characters.
const QUOTED_CHARS_MAX: usize = 80;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Where it was set.
    place: Place,
    /// The key; empty when it is about the whole place.
    key: String,
    /// What is wrong and what is allowed.
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.place.0.as_str(), self.key.as_str()) {
            (place, "") => write!(f, "{place}: {}", self.what),
            ("", key) => write!(f, "{key}: {}", self.what),
            (place, key) => write!(f, "{key} ({place}): {}", self.what),
        }
    }
}

/// Everything that is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Notes a fault.
    pub(crate) fn add(&mut self, place: Place, key: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault { place, key: key.into(), what: what.into() });
    }

    pub(super) fn add_unknown(&mut self, place: Place, key: &str) {
        let what = match nearest(key) {
            Some(near) => format!("no such key; did you mean {near}?"),
            None => "no such key; `parlance config example` lists all".to_owned(),
        };
        self.add(place, key, what);
    }

    pub(super) fn add_unknown_environment(&mut self, place: Place, name: &str) {
        let names = KEYS.iter().map(|key| keys::environment_name(key.path));
        let near = names
            .map(|known| (strsim::damerau_levenshtein(&known, name), known))
            .min()
            .filter(|(distance, known)| *distance <= near_enough(known.len()));
        let what = match near {
            Some((_, near)) => format!("no such setting; did you mean {near}?"),
            None => "no such setting; names are PARLANCE_SECTION__KEY".to_owned(),
        };
        self.add(place, String::new(), what);
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.0 {
            writeln!(f, "{fault}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 fault in the configuration"),
            n => write!(f, "{n} faults in the configuration"),
        }
    }
}

impl std::error::Error for Faults {}

/// Checks every name and value of one layer.
pub(super) fn layer(layer: &Layer, faults: &mut Faults) {
    table(&layer.values, "", layer, faults);
}

fn table(values: &Dict, above: &str, layer: &Layer, faults: &mut Faults) {
    for (name, value) in values {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        if let Some(key) = keys::find(&path) {
            if let Err(what) = fits(key.kind, value) {
                faults.add(layer.place(&path), path, what);
            }
        } else if keys::is_section(&path) {
            match value {
                Value::Dict(_, inner) => table(inner, &path, layer, faults),
                other => {
                    let found = described(other);
                    let what = format!("is a section, and cannot be {found}");
                    faults.add(layer.place(&path), path, what);
                }
            }
        } else {
            faults.add_unknown(layer.place(&path), &path);
        }
    }
}

/// Checks what no single value shows: keys that belong together, and files that must be there.
pub(super) fn together(figment: &Figment, files_must_be_there: bool, faults: &mut Faults) {
    let place = |key: &str| {
        Place(figment.find_metadata(key).map(|about| about.name.to_string()).unwrap_or_default())
    };
    let set = |key: &str| figment.contains(key);
    for (one, other) in [("http.tls_cert", "http.tls_key"), ("http.tls_key", "http.tls_cert")] {
        if set(one) && !set(other) {
            faults.add(place(one), one, format!("needs {other} beside it"));
        }
    }
    let (redirect, port) = ("http.redirect_listen", "http.redirect_port");
    if set(redirect) && !set("http.tls_cert") && !set("acme.domains") {
        faults.add(place(redirect), redirect, "needs http.tls_cert or acme.domains beside it");
    }
    if set(port) && !set(redirect) {
        faults.add(place(port), port, format!("needs {redirect} beside it"));
    }
    let address = |key: &str| {
        let value = figment.find_value(key).ok()?;
        value.as_str().and_then(|text| text.parse::<SocketAddr>().ok())
    };
    if let Some(from) = address("http.redirect_listen")
        && from.port() != 0
        && Some(from) == address("http.listen")
    {
        let key = "http.redirect_listen";
        faults.add(
            place(key),
            key,
            "is the address of http.listen; plain HTTP needs one of its own",
        );
    }
    if set("auth.cluster_secret") && set("auth.cluster_secret_file") {
        let (one, other) = ("auth.cluster_secret", "auth.cluster_secret_file");
        faults.add(place(one), one, format!("is set, and so is {other}: set only one of them"));
    }
    if set("database.read_url") && !set("database.url") {
        let key = "database.read_url";
        faults.add(place(key), key, "needs database.url beside it");
    }
    acme::together(figment, faults);
    cluster::together(figment, faults);
    if files_must_be_there {
        for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::File)) {
            let Ok(Value::String(_, file)) = figment.find_value(key.path) else { continue };
            let fine = readable(Path::new(&file)).and_then(|()| match key.path {
                "auth.cluster_secret_file" => holds_a_secret(Path::new(&file)),
                _ => Ok(()),
            });
            if let Err(why) = fine {
                faults.add(place(key.path), key.path, format!("{file:?} {why}"));
            }
        }
    }
}

fn readable(file: &Path) -> Result<(), String> {
    let about = std::fs::metadata(file).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is not a file".to_owned());
    }
    std::fs::File::open(file).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(())
}

/// Whether the file's text is a cluster secret at all. What is wrong is said without the text.
fn holds_a_secret(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    crate::assemble::check_secret(&text).map(drop).map_err(|why| format!("is refused: {why}"))
}

/// Whether a value is one that the key takes; if not, what is wrong.
fn fits(kind: Kind, value: &Value) -> Result<(), String> {
    match kind {
        Kind::Switch => match value {
            Value::Bool(..) => Ok(()),
            other => Err(format!("must be true or false, and is {}", described(other))),
        },
        Kind::Number { min, max } => match whole(value) {
            Some(n) if (i128::from(min)..=i128::from(max)).contains(&n) => Ok(()),
            _ => Err(format!(
                "must be a whole number from {min} to {max}, and is {}",
                described(value)
            )),
        },
        Kind::Choice(numbers) => match whole(value) {
            Some(n) if numbers.iter().any(|one| i128::from(*one) == n) => Ok(()),
            _ => {
                let allowed = numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" or ");
                Err(format!("must be {allowed}, and is {}", described(value)))
            }
        },
        Kind::Word(words) => match value.as_str() {
            Some(word) if words.contains(&word) => Ok(()),
            _ => Err(format!("must be one of {}, and is {}", words.join(", "), described(value))),
        },
        Kind::Address => match value.as_str().map(str::parse::<SocketAddr>) {
            Some(Ok(_)) => Ok(()),
            _ => Err(format!(
                "must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080, and is {}",
                described(value)
            )),
        },
        Kind::Directory | Kind::File => match value.as_str() {
            Some(path) if !path.is_empty() => Ok(()),
            _ => Err(format!("must be a path, and is {}", described(value))),
        },
        Kind::Networks => each(value, "an IP address or a network such as 10.0.0.0/8", |text| {
            text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok()
        }),
        Kind::Origins => each(value, "an origin such as https://chat.example.com", is_origin),
        Kind::Domains => acme::domains(value),
        Kind::Emails => each(value, "an e-mail address such as admin@example.com", acme::is_email),
        Kind::HttpsUrl => match value.as_str() {
            Some(text) if acme::is_https_url(text) => Ok(()),
            _ => Err(format!("must be a URL with https://, and is {}", described(value))),
        },
        Kind::Host => match value.as_str() {
            Some(text) if is_host(text) => Ok(()),
            _ => Err(format!(
                "must be a host name or an IP address without a port, and is {}",
                described(value)
            )),
        },
        Kind::Places => each(value, "a host and a port such as 10.0.0.1:7701", is_place),
        Kind::Secret => match value.as_str() {
            Some(text) => crate::assemble::check_secret(text).map(drop),
            None => Err("must be a text".to_owned()),
        },
        Kind::DatabaseUrl => database_url(value),
        Kind::CollectorUrl => collector_url(value),
    }
}

fn each(value: &Value, what: &str, good: impl Fn(&str) -> bool) -> Result<(), String> {
    let Value::Array(_, items) = value else {
        return Err(format!("must be a list, and is {}", described(value)));
    };
    let bad = items.iter().filter(|item| !item.as_str().is_some_and(&good));
    let bad = bad.map(described).collect::<Vec<_>>();
    if bad.is_empty() {
        return Ok(());
    }
    Err(format!("each must be {what}, and one is {}", bad.join(", another ")))
}

/// Scheme, host and perhaps a port; nothing after it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        !host.is_empty() && host.chars().all(allowed)
    })
}

/// A name or an address; nothing after it.
fn is_host(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(allowed))
}

/// A host, a colon and a port; an IPv6 address stands in brackets.
fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_v6 = |host: &str| host.parse::<std::net::Ipv6Addr>().is_ok();
    let host_is_good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => is_v6(inner),
        None => is_host(host) && !is_v6(host),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn database_url(value: &Value) -> Result<(), String> {
    let Some(url) = value.as_str() else {
        return Err("must be a URL in a text".to_owned());
    };
    if url.starts_with("sqlite:") {
        return Err("SQLite needs no URL: leave this out, and the file is in data_dir".to_owned());
    }
    let rest = url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://"));
    match rest {
        Some(rest) if !rest.is_empty() => Ok(()),
        _ => Err(format!(
            "must be postgres://user:password@host:port/database, and is \"{}\"",
            masked_url(url)
        )),
    }
}

/// Plain HTTP, and nothing in it that must not be shown.
fn collector_url(value: &Value) -> Result<(), String> {
    const ALLOWED: &str = "must be http://HOST:PORT or http://HOST:PORT/PATH";
    let Some(url) = value.as_str() else {
        return Err(format!("{ALLOWED}, and is {}", described(value)));
    };
    if url.starts_with("https://") {
        return Err(format!(
            "{ALLOWED}: spans go in the clear to a collector beside the node, which may send them on over TLS"
        ));
    }
    let Some(rest) = url.strip_prefix("http://") else {
        return Err(format!("{ALLOWED}, and is \"{}\"", masked_url(url)));
    };
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    if place.contains('@') {
        return Err(format!(
            "{ALLOWED}, without a user and password: what the collector wants to see goes into \
             OTEL_EXPORTER_OTLP_HEADERS"
        ));
    }
    let path_is_good = path.chars().all(|c| c.is_ascii_graphic() && !"?#".contains(c));
    if path_is_good && (is_place(place) || is_host(place)) {
        return Ok(());
    }
    Err(format!("{ALLOWED}, and is {}", described(value)))
}

/// A value for a fault, not too long.
fn described(value: &Value) -> String {
    match value {
        Value::String(_, text) => {
            let cut = text.chars().take(QUOTED_CHARS_MAX).collect::<String>();
            let more = if cut.len() < text.len() { "…" } else { "" };
            format!("{:?}{more}", cut)
        }
        Value::Char(_, c) => format!("{c:?}"),
        Value::Bool(_, switch) => switch.to_string(),
        Value::Num(_, number) => match (whole(value), number.to_f64()) {
            (Some(n), _) => n.to_string(),
            (None, Some(number)) if number == f64::MAX => "a number too large to read".to_owned(),
            (None, Some(number)) => number.to_string(),
            (None, None) => "a number".to_owned(),
        },
        Value::Empty(..) => "nothing".to_owned(),
        Value::Dict(..) => "a section".to_owned(),
        Value::Array(..) => "a list".to_owned(),
    }
}

/// The key or section that somebody may have meant.
fn nearest(path: &str) -> Option<&'static str> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    // The right name in the wrong section.
    let mut same = KEYS.iter().filter(|key| last(key.path) == last(path));
    if let (Some(only), None) = (same.next(), same.next()) {
        return Some(only.path);
    }
    let sections = SECTIONS.iter().map(|(name, _)| *name).filter(|_| !path.contains('.'));
    let known = KEYS.iter().map(|key| key.path).chain(sections);
    known
        .map(|known| (strsim::damerau_levenshtein(known, path), known))
        .min()
        .filter(|(distance, known)| *distance <= near_enough(known.len()))
        .map(|(_, known)| known)
}

/// How many letters may differ for a name to be worth a hint.
const fn near_enough(length: usize) -> usize {
    if length < 9 { 3 } else { length / 3 }
}
