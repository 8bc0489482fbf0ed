//! What a file of instances says, service by service.
//!
//! Parsed by the `file` kind. One bad entry costs that entry, and never the services beside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::Path,
};

use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};

use crate::registry::{Instance, View};

/// Bad entries named in a log line; the rest are counted.
const NAMED: usize = 5;

/// A parsed file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Content {
    services: BTreeMap<String, Vec<Instance>>,
    /// Services whose value is no list.
    malformed: BTreeSet<String>,
    /// What was skipped, and why.
    skipped: Vec<String>,
    /// How much more was skipped.
    more: usize,
}

/// How a file is written, by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Toml,
}

/// One entry: an address, or a table with one.
struct Entry(Instance);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    address: SocketAddr,
    #[serde(default = "one")]
    weight: f64,
    #[serde(default = "yes")]
    healthy: bool,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

// === impl Content ===

impl Content {
    /// Fails when the whole file is not what its extension says, or no table of services.
    pub(super) fn parse(bytes: &[u8], format: Format) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        match format {
            Format::Json => {
                let all: BTreeMap<String, serde_json::Value> =
                    serde_json::from_str(text).map_err(|error| error.to_string())?;
                Ok(Self::collect(all, |value| match value {
                    serde_json::Value::Array(list) => Some(list),
                    _ => None,
                }))
            }
            Format::Toml => {
                let all: BTreeMap<String, toml::Value> =
                    toml::from_str(text).map_err(|error| error.message().to_owned())?;
                Ok(Self::collect(all, |value| match value {
                    toml::Value::Array(list) => Some(list),
                    _ => None,
                }))
            }
        }
    }

    /// `None` when the file says something of the service that is no list.
    pub(super) fn view(&self, service: &str) -> Option<View> {
        if self.malformed.contains(service) {
            return None;
        }
        let instances = self.services.get(service).cloned();
        Some(instances.map_or(View::Absent, View::Instances))
    }

    /// Says once what was skipped.
    pub(super) fn warn(&self, path: &Path) {
        if !self.skipped.is_empty() {
            let (path, skipped, more) = (path.display(), self.skipped.join("; "), self.more);
            tracing::warn!(%path, skipped, more, "Entries of a file of instances are skipped");
        }
    }

    fn collect<V>(all: BTreeMap<String, V>, list: impl Fn(V) -> Option<Vec<V>>) -> Self
    where
        V: for<'de> Deserializer<'de, Error: de::Error>,
    {
        let mut content = Self::default();
        for (service, value) in all {
            let Some(entries) = list(value) else {
                content.skip(format!("`{service}` is no list of instances"));
                content.malformed.insert(service);
                continue;
            };
            let mut instances = Vec::with_capacity(entries.len());
            for (number, entry) in (1..).zip(entries) {
                match Entry::deserialize(entry) {
                    Ok(Entry(instance)) => instances.push(instance),
                    Err(error) => content.skip(format!("`{service}`, entry {number}: {error}")),
                }
            }
            content.services.insert(service, instances);
        }
        content
    }

    fn skip(&mut self, why: String) {
        if self.skipped.len() < NAMED { self.skipped.push(why) } else { self.more += 1 }
    }
}

// === impl Format ===

impl Format {
    /// Anything that is not `.toml` is JSON.
    pub(super) fn of(path: &Path) -> Self {
        let toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if toml { Self::Toml } else { Self::Json }
    }
}

// === impl Entry ===

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Entry;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address such as \"10.0.0.1:8080\", or a table with `address`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Entry, E> {
                let address = text.parse().map_err(|_| {
                    E::invalid_value(de::Unexpected::Str(text), &"an IP address with its port")
                })?;
                let (weight, healthy, enabled) = (one(), yes(), yes());
                let metadata = BTreeMap::new();
                Ok(Entry(Instance { address, weight, healthy, enabled, metadata }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                let Table { address, weight, healthy, enabled, metadata } = table;
                Ok(Entry(Instance { address, weight, healthy, enabled, metadata }))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

fn one() -> f64 {
    1.0
}

const fn yes() -> bool {
    true
}
