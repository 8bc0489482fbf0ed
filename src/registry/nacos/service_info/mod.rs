//! A service as Nacos writes it, turned into a view.
//!
//! Called for every answer and push. Never fails for one instance's sake: what cannot be used is left out and counted.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;

use crate::registry::{Instance, View};

/// What of an instance's metadata is kept; the rest is left out. A gateway holds these for as long as it runs.
const METADATA_KEYS: usize = 64;
const METADATA_BYTES: usize = 8 * 1024;
/// Nacos' own default, of an instance that says no weight.
const DEFAULT_WEIGHT: f64 = 1.0;

/// Nacos' `ServiceInfo`, as far as tollgate reads it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceInfo {
    pub(super) name: String,
    pub(super) group_name: String,
    hosts: Option<Vec<Host>>,
    /// The answering server's wall clock in milliseconds: comparable within one session only.
    pub(super) last_ref_time: i64,
    /// Too few instances are healthy, and the server pretends that all are (its `protectThreshold`).
    reach_protection_threshold: bool,
}

/// An entry of the list, or something else that stands in its place.
#[derive(Deserialize)]
#[serde(untagged)]
enum Host {
    Instance(RawInstance),
    Other(IgnoredAny),
}

/// An instance with every value as it came, so that one bad value spoils one instance and not the list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawInstance {
    ip: Value,
    port: Value,
    weight: Value,
    healthy: bool,
    enabled: bool,
    cluster_name: Option<String>,
    metadata: Value,
}

/// What was wrong with a service, for one line in the log.
#[derive(Default)]
struct Complaints {
    protection: bool,
    skipped: usize,
    first: Option<String>,
    trimmed: usize,
}

// === impl ServiceInfo ===

impl ServiceInfo {
    /// The instances of the given clusters (of all, when none is given), by address and each address once; and what
    /// was wrong, when something was.
    pub(super) fn into_view(self, clusters: &[String]) -> (View, Option<String>) {
        let mut complaints =
            Complaints { protection: self.reach_protection_threshold, ..Complaints::default() };
        let mut instances = BTreeMap::new();
        for host in self.hosts.unwrap_or_default() {
            match host.into_instance(clusters, &mut complaints) {
                Ok(Some(instance)) => keep_better(&mut instances, instance),
                Ok(None) => {}
                Err(reason) => complaints.skip(reason),
            }
        }
        (View::Instances(instances.into_values().collect()), complaints.into_text())
    }
}

// === impl Host ===

impl Host {
    /// `None` for an instance of a cluster that is not wanted.
    fn into_instance(
        self,
        clusters: &[String],
        complaints: &mut Complaints,
    ) -> Result<Option<Instance>, String> {
        let Self::Instance(raw) = self else {
            return Err("an entry is no instance".into());
        };
        let cluster = raw.cluster_name.as_deref().filter(|name| !name.is_empty());
        let cluster = cluster.unwrap_or("DEFAULT");
        if !clusters.is_empty() && !clusters.iter().any(|wanted| wanted == cluster) {
            return Ok(None);
        }
        let (metadata, trimmed) = metadata(raw.metadata);
        complaints.trimmed += usize::from(trimmed);
        Ok(Some(Instance {
            address: address(&raw.ip, &raw.port)?,
            weight: weight(&raw.weight),
            healthy: raw.healthy,
            enabled: raw.enabled,
            metadata,
        }))
    }
}

// === impl RawInstance ===

impl Default for RawInstance {
    /// What the Java class has where the text is silent.
    fn default() -> Self {
        Self {
            ip: Value::Null,
            port: Value::Null,
            weight: Value::Null,
            healthy: true,
            enabled: true,
            cluster_name: None,
            metadata: Value::Null,
        }
    }
}

// === impl Complaints ===

impl Complaints {
    fn skip(&mut self, reason: String) {
        self.skipped += 1;
        self.first.get_or_insert(reason);
    }

    fn into_text(self) -> Option<String> {
        let mut parts = Vec::new();
        if self.protection {
            parts.push(
                "the protection threshold is reached: unhealthy instances look healthy".into(),
            );
        }
        if let Some(first) = self.first {
            parts.push(format!("{} instances left out, the first because {first}", self.skipped));
        }
        if self.trimmed > 0 {
            parts.push(format!("metadata of {} instances cut short", self.trimmed));
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// Registered over two connections, an address stands in the list twice. The better one wins, whatever the order.
fn keep_better(instances: &mut BTreeMap<SocketAddr, Instance>, instance: Instance) {
    match instances.entry(instance.address) {
        Entry::Vacant(free) => {
            free.insert(instance);
        }
        Entry::Occupied(mut taken) => {
            if rank(&instance).gt(&rank(taken.get())) {
                taken.insert(instance);
            }
        }
    }
}

/// Total over everything that differs, so that the same list in another order gives the same view.
fn rank(instance: &Instance) -> (bool, bool, i64, &BTreeMap<String, String>) {
    // The bits of a non-negative float order as the float does; what is negative or no number loses.
    let weight = if instance.weight > 0.0 { instance.weight.to_bits().cast_signed() } else { -1 };
    (instance.enabled, instance.healthy, weight, &instance.metadata)
}

fn address(ip: &Value, port: &Value) -> Result<SocketAddr, String> {
    let text = ip.as_str().unwrap_or_default();
    let ip: IpAddr = text.parse().map_err(|_| format!("{:?} is no IP address", shortened(text)))?;
    let number = port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    let port = number.ok_or_else(|| format!("{} is no port", shortened(&port.to_string())))?;
    Ok(SocketAddr::new(ip, port))
}

/// As it comes: what to make of a strange weight is the balancer's business. Jackson writes NaN as a string.
fn weight(value: &Value) -> f64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_f64().or_else(text).unwrap_or(DEFAULT_WEIGHT)
}

/// The first keys in their order that fit, and whether some did not.
fn metadata(value: Value) -> (BTreeMap<String, String>, bool) {
    let Value::Object(all) = value else {
        return (BTreeMap::new(), false);
    };
    let mut room = METADATA_BYTES;
    let mut kept = BTreeMap::new();
    let mut trimmed = false;
    let all: BTreeMap<String, Value> = all.into_iter().collect();
    for (key, value) in all {
        let Some(text) = plain(value) else { continue };
        let size = key.len() + text.len();
        if kept.len() < METADATA_KEYS && size <= room {
            room -= size;
            kept.insert(key, text);
        } else {
            trimmed = true;
        }
    }
    (kept, trimmed)
}

fn plain(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests;
