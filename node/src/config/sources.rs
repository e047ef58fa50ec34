//! Where values come from: the file, the environment, the flags. Each becomes a layer of figment
//! values that remembers its name, and for a file the line of each key.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

use super::check::Faults;
use super::keys::{self, Kind};
use super::{Config, show};

/// The prefix of every environment name.
const PREFIX: &str = "PARLANCE_";
/// Names the file; no key.
const CONFIG_NAME: &str = "PARLANCE_CONFIG";
/// The file in the data directory that is read when nobody names another.
const FILE_IN_DATA_DIR: &str = "node.toml";
/// A configuration file larger than this is not one.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What the command line sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
    /// Key, the flag's name, and its text.
    pub(crate) values: Vec<(String, String, String)>,
}

/// Where a value was set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place(pub(crate) String);

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One source's values.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// What figment calls it.
    name: String,
    /// Its values.
    pub(super) values: Dict,
    /// The place of each key that it sets.
    pub(super) places: BTreeMap<String, Place>,
}

impl Layer {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), values: Dict::new(), places: BTreeMap::new() }
    }

    fn insert(&mut self, path: &str, place: String, value: Value) {
        let mut names = path.split('.').collect::<Vec<_>>();
        let last = names.pop().unwrap_or_default().to_owned();
        let mut table = &mut self.values;
        for name in names {
            let inner = table
                .entry(name.to_owned())
                .or_insert_with(|| Value::Dict(Tag::Default, Dict::new()));
            let Value::Dict(_, inner) = inner else { return };
            table = inner;
        }
        table.insert(last, value);
        self.places.insert(path.to_owned(), Place(place));
    }

    /// The place of a key, or the layer's name.
    pub(super) fn place(&self, path: &str) -> Place {
        self.places.get(path).cloned().unwrap_or_else(|| Place(self.name.clone()))
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// Every layer, the weakest first.
pub(super) struct Layers {
    pub(super) all: Vec<Layer>,
    pub(super) file: Option<PathBuf>,
}

impl Layers {
    /// The defaults with every layer above them.
    pub(super) fn merged(&self) -> Figment {
        let mut defaults = Layer::new("default");
        for (path, value) in show::leaves(&Config::default()) {
            defaults.insert(&path, "default".to_owned(), value);
        }
        self.all.iter().fold(Figment::from(defaults), |figment, layer| figment.merge(layer))
    }
}

/// Reads the file, the environment and the flags. What cannot be read is a fault.
pub(super) fn layers(flags: &Flags, faults: &mut Faults) -> Layers {
    let environment = environment(faults);
    let given = given(flags, faults);
    let file = flags
        .config
        .clone()
        .or_else(|| std::env::var_os(CONFIG_NAME).map(PathBuf::from))
        .or_else(|| in_data_dir(&[&environment, &given]));
    let mut all = Vec::new();
    if let Some(path) = &file {
        all.push(read(path, faults));
    }
    all.extend(environment);
    all.extend(given);
    Layers { all, file }
}

/// `<data_dir>/node.toml`, where it is there. The data directory that counts is the one that the
/// environment or a flag names, or the default.
fn in_data_dir(layers: &[&Vec<Layer>]) -> Option<PathBuf> {
    let named = layers.iter().flat_map(|layers| layers.iter()).rev();
    let named = named.filter_map(|layer| layer.values.get("data_dir")).find_map(Value::as_str);
    let data_dir = named.map_or_else(|| Config::default().data_dir, PathBuf::from);
    let file = data_dir.join(FILE_IN_DATA_DIR);
    file.is_file().then_some(file)
}

/// The file as a layer.
fn read(path: &Path, faults: &mut Faults) -> Layer {
    let mut layer = Layer::new(format!("file {}", path.display()));
    let place = layer.place("");
    let text = match readable(path) {
        Ok(text) => text,
        Err(why) => {
            faults.add(place, String::new(), why);
            return layer;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    let broken = !errors.is_empty();
    for error in errors {
        let line = error.span().map_or(1, |span| line_of(&text, span.start));
        let place = Place(format!("{} line {line}", layer.name));
        faults.add(place, String::new(), format!("not TOML: {}", error.message()));
    }
    // What could be read of a broken file says little about its keys.
    if broken {
        return layer;
    }
    let values = take(table.get_ref(), "", &text, &mut layer);
    layer.values = values;
    layer
}

fn readable(path: &Path) -> Result<String, String> {
    let about = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !about.is_file() {
        return Err("is not a file".to_owned());
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(format!("has {} bytes; at most {FILE_BYTES_MAX} are read", about.len()));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The values of a table, with the line of each key noted in `layer`.
fn take(table: &DeTable<'_>, above: &str, text: &str, layer: &mut Layer) -> Dict {
    let mut values = Dict::new();
    for (name, value) in table {
        let path = match above {
            "" => name.get_ref().to_string(),
            above => format!("{above}.{}", name.get_ref()),
        };
        let line = line_of(text, name.span().start);
        layer.places.insert(path.clone(), Place(format!("{} line {line}", layer.name)));
        let value = match value.get_ref() {
            DeValue::Table(inner) => Value::Dict(Tag::Default, take(inner, &path, text, layer)),
            other => plain(other),
        };
        values.insert(name.get_ref().to_string(), value);
    }
    values
}

/// A TOML value that is not a table of its own.
fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(f64::MAX),
        },
        DeValue::Float(number) => Value::from(number.as_str().parse::<f64>().unwrap_or(f64::NAN)),
        DeValue::Boolean(switch) => Value::from(*switch),
        DeValue::Datetime(moment) => Value::from(moment.to_string()),
        DeValue::Array(items) => {
            Value::from(items.iter().map(|item| plain(item.get_ref())).collect::<Vec<_>>())
        }
        DeValue::Table(inner) => Value::from(
            inner
                .iter()
                .map(|(name, item)| (name.get_ref().to_string(), plain(item.get_ref())))
                .collect::<Dict>(),
        ),
    }
}

/// Every `PARLANCE_` name of the environment, one layer each so that each has its own name.
fn environment(faults: &mut Faults) -> Vec<Layer> {
    let mut names = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX) && name != CONFIG_NAME)
        .filter(|(name, _)| !is_service_link(name))
        .collect::<Vec<_>>();
    names.sort();
    let mut layers = Vec::new();
    for (name, value) in names {
        let place = Place(format!("environment {name}"));
        let path = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        let Some(key) = keys::find(&path).filter(|key| keys::environment_name(key.path) == name)
        else {
            faults.add_unknown_environment(place, &name);
            continue;
        };
        let Ok(value) = value.into_string() else {
            faults.add(place, path, "is not UTF-8".to_owned());
            continue;
        };
        layers.push(one(place, key.path, read_text(key.kind, &value)));
    }
    layers
}

/// Kubernetes puts names like `PARLANCE_SERVICE_HOST` and `PARLANCE_PORT_80_TCP` into every
/// container when a service is called `parlance`. They are not ours and not mistakes either.
fn is_service_link(name: &str) -> bool {
    let rest = &name[PREFIX.len()..];
    rest == "PORT"
        || rest.starts_with("PORT_")
        || rest == "SERVICE_HOST"
        || rest == "SERVICE_PORT"
        || rest.starts_with("SERVICE_PORT_")
}

/// The flags, one layer each.
fn given(flags: &Flags, faults: &mut Faults) -> Vec<Layer> {
    let mut layers = Vec::new();
    for (path, flag, text) in &flags.values {
        let place = Place(format!("flag {flag}"));
        match keys::find(path) {
            Some(key) => layers.push(one(place, path, read_text(key.kind, text))),
            None => faults.add_unknown(place, path),
        }
    }
    layers
}

fn one(place: Place, path: &str, value: Value) -> Layer {
    let mut layer = Layer::new(place.0.clone());
    layer.insert(path, place.0, value);
    layer
}

/// What a text from outside a file means for a key. A text that does not fit stays a text, which
/// the check then names; nothing but a number or a switch is ever read as one, so that a password
/// of digits stays what it is.
fn read_text(kind: Kind, text: &str) -> Value {
    match kind {
        Kind::Switch => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
        Kind::Number { .. } | Kind::Choice(_) => {
            text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)
        }
        Kind::Networks | Kind::Origins | Kind::Domains | Kind::Emails | Kind::Places => {
            let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
            let items = inner.split(',').map(|item| item.trim().trim_matches('"'));
            Value::from(items.filter(|item| !item.is_empty()).collect::<Vec<_>>())
        }
        Kind::Word(_)
        | Kind::Address
        | Kind::Directory
        | Kind::File
        | Kind::HttpsUrl
        | Kind::Host
        | Kind::Secret
        | Kind::DatabaseUrl
        | Kind::CollectorUrl => Value::from(text),
    }
}
