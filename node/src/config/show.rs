//! Printing a configuration: the effective one with where each value came from, and the example
//! file. Secrets never appear: they are masked before a line is made.

use figment::value::{Dict, Value};

use super::keys::{KEYS, Key, Kind, SECTIONS, environment_name};
use super::secret::{MASK, masked_url};
use super::{Config, Loaded};

/// The column at which the source of a value stands.
const SOURCE_COLUMN: usize = 48;

/// Every key with its value and its source; keys without a value are named as such.
pub(crate) fn show(loaded: &Loaded) -> String {
    let mut text = String::new();
    for key in KEYS {
        let line = match loaded.figment.find_value(key.path) {
            Ok(value) => {
                let about = loaded.figment.find_metadata(key.path);
                let source = about.map(|about| about.name.to_string()).unwrap_or_default();
                let setting = format!("{} = {}", key.path, shown(key, &value));
                format!("{setting:SOURCE_COLUMN$} # {source}\n")
            }
            Err(_) => {
                let name = format!("# {}", key.path);
                format!("{name:SOURCE_COLUMN$} # not set\n")
            }
        };
        text.push_str(&line);
    }
    text
}

/// The example file: every key with its default and what it does.
pub(crate) fn example() -> String {
    let defaults = leaves(&Config::default());
    let mut text = String::from(
        "# The configuration of a Parlance node. Everything here is the default; keys without one\n\
         # are commented out. Any key can also be set in the environment, as PARLANCE_ and its name in\n\
         # capitals with two underscores for the dot (PARLANCE_HTTP__LISTEN), or by a flag of\n\
         # `parlance serve`. The later wins: default, file, environment, flag.\n\
         # `parlance config check` names everything that is wrong at once; `parlance config show`\n\
         # prints the effective values and where each came from.\n",
    );
    let mut section = "";
    for key in KEYS {
        let (above, name) = key.path.split_once('.').unwrap_or(("", key.path));
        if above != section {
            section = above;
            let about = SECTIONS.iter().find(|(name, _)| *name == above).map_or("", |(_, a)| *a);
            text.push('\n');
            for line in about.lines() {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("[{above}]\n"));
        }
        text.push('\n');
        for line in key.about.lines() {
            text.push_str(&format!("# {line}\n"));
        }
        match defaults.iter().find(|(path, _)| path == key.path) {
            Some((_, value)) => text.push_str(&format!("{name} = {}\n", toml(value))),
            None => text.push_str(&format!("# {name} = {}\n", key.example.unwrap_or("\"\""))),
        }
    }
    text
}

/// The names that the environment may set, one a line with its key.
pub(crate) fn environment_names() -> String {
    KEYS.iter().map(|key| format!("{} {}\n", environment_name(key.path), key.path)).collect()
}

/// A value as it may be shown.
fn shown(key: &Key, value: &Value) -> String {
    match key.kind {
        Kind::Secret => format!("\"{MASK}\""),
        Kind::DatabaseUrl => toml(&Value::from(masked_url(value.as_str().unwrap_or_default()))),
        _ => toml(value),
    }
}

/// A value in TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(_, items) => {
            format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_, switch) => switch.to_string(),
        number @ Value::Num(..) => whole(number).unwrap_or_default().to_string(),
        other => toml::Value::String(other.as_str().unwrap_or_default().to_owned()).to_string(),
    }
}

/// A whole number, however figment holds it: signed and unsigned ones are apart.
pub(super) fn whole(value: &Value) -> Option<i128> {
    value.to_i128().or_else(|| value.to_u128().and_then(|n| i128::try_from(n).ok()))
}

/// Every value of a configuration with its path.
pub(super) fn leaves(config: &Config) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    if let Ok(Value::Dict(_, values)) = Value::serialize(config) {
        collect(&values, "", &mut found);
    }
    found
}

fn collect(values: &Dict, above: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in values {
        let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        match value {
            Value::Dict(_, inner) => collect(inner, &path, found),
            leaf => found.push((path, leaf.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flags, load};

    #[test]
    fn the_table_of_keys_and_the_typed_sections_name_the_same_things() {
        let typed = leaves(&Config::default());
        for (path, _) in &typed {
            assert!(KEYS.iter().any(|key| key.path == path), "{path} is not in the table");
        }
        for key in KEYS {
            let has_default = typed.iter().any(|(path, _)| path == key.path);
            assert_eq!(has_default, key.example.is_none(), "{} and its example", key.path);
        }
    }

    fn value_of(path: &str) -> Value {
        let found = leaves(&Config::default()).into_iter().find(|(key, _)| key == path);
        found.expect("it has a default").1
    }

    #[test]
    fn every_key_in_the_table_can_be_set() {
        for key in KEYS.iter().filter(|key| !matches!(key.kind, Kind::File)) {
            let value = match key.kind {
                Kind::Switch => "true",
                // The ones of a cluster belong in an order.
                Kind::Number { .. } if key.path.starts_with("cluster.") => {
                    &whole(&value_of(key.path)).expect("a number").saturating_add(1).to_string()
                }
                Kind::Number { max, .. } => &max.to_string(),
                Kind::Word(words) => words[0],
                Kind::Choice(numbers) => &numbers[0].to_string(),
                Kind::Host => "node-1.example",
                Kind::Places => "10.0.0.1:7701,[::1]:1,chat.example:7701",
                Kind::Address => "[::1]:0",
                Kind::Directory => "/nowhere",
                Kind::Networks => "10.0.0.0/8, ::1",
                Kind::Domains => "a.example, b.example",
                Kind::Emails => "a@b.example",
                Kind::HttpsUrl => "https://ca.example/directory",
                Kind::Origins => "https://a.example,http://b.example:81",
                Kind::Secret => "kTqPzv0cX3m8yJrN5bLwQfHs7uGdEi2oAaVxZ1K9RtY=",
                Kind::DatabaseUrl => "postgres://u:p@h/d",
                Kind::CollectorUrl => "http://collector:4318",
                Kind::File => continue,
            };
            let set = |path: &str, text: &str| (path.into(), "--set".into(), text.into());
            let mut values = vec![set(key.path, value)];
            if key.path == "database.read_url" {
                values.push(set("database.url", value));
            }
            if key.path.starts_with("http.redirect_") {
                for (path, text) in [
                    ("http.redirect_listen", "[::1]:0"),
                    ("http.tls_cert", "tls.crt"),
                    ("http.tls_key", "tls.key"),
                ] {
                    values.insert(0, set(path, text));
                }
            }
            if key.path.starts_with("acme.") {
                values.insert(0, set("acme.domains", "a.example"));
                values.insert(0, set("acme.terms_agreed", "true"));
            }
            if key.path.starts_with("cluster.") {
                let secret = "kTqPzv0cX3m8yJrN5bLwQfHs7uGdEi2oAaVxZ1K9RtY=";
                for (path, text) in [
                    ("cluster.ca", "ca.pem"),
                    ("cluster.cert", "node.pem"),
                    ("cluster.key", "node.key"),
                    ("cluster.advertise", "node-1"),
                    ("database.url", "postgres://u:p@h/d"),
                    ("auth.cluster_secret", secret),
                ] {
                    values.insert(0, set(path, text));
                }
                if key.path == "cluster.expect" {
                    values.push(set("cluster.join", "a:1"));
                }
            }
            let loaded = load(&Flags { config: None, values }, false);
            assert!(loaded.is_ok(), "{}: {}", key.path, loaded.err().unwrap_or_default());
        }
    }
}
