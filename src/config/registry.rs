//! `[registry.NAME]`: where instances come from.

use std::{net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    At, OneOrMany, Secret,
    units::{Interval, Percent},
};

/// A registry: its `kind` with that kind's keys, and the graces that every kind has.
#[derive(Clone, Debug, PartialEq)]
pub struct Registry {
    pub kind: RegistryKind,
    pub graces: Graces,
}

/// The kinds, by the word that stands after `kind =`.
#[derive(Clone, Debug, PartialEq, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum RegistryKind {
    /// tollgate itself, as a small registry for one machine (Nacos v1 open API).
    Embedded(EmbeddedRegistry),
    /// A JSON or TOML file that lists instances and is read again when it changes.
    File(FileRegistry),
    /// Nacos 2.x or 3.x, by gRPC push.
    Nacos(NacosRegistry),
}

/// How suspicious tollgate is of instances that disappear. Additions are believed at once.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema)]
pub struct Graces {
    /// An empty or sharply shrunken list is held this long, read again, and then believed. 0 believes at once.
    pub empty_grace: Interval,
    /// After our own session was lost and is back, removals wait this long.
    pub reconnect_grace: Interval,
    /// The share of a service's instances gone at once, without others in their place, that is sharply shrunken.
    pub shrink_threshold: Percent,
}

/// The graces as they were written: each may be left out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct WrittenGraces {
    empty_grace: Option<Interval>,
    reconnect_grace: Option<Interval>,
    shrink_threshold: Option<Percent>,
}

/// A small registry of our own, for one machine.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedRegistry {
    /// Where it listens for instances that register.
    #[schemars(with = "String")]
    pub listen: At<SocketAddr>,
}

/// Instances in a file that something else writes.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileRegistry {
    /// A `.json` or `.toml` file: each service's name with its list of instances.
    pub path: At<PathBuf>,
    /// How often the file is looked at.
    #[serde(default = "two_seconds")]
    pub poll: Interval,
}

/// A Nacos server or cluster.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NacosRegistry {
    /// `HOST:PORT` of the HTTP port of each server.
    pub address: OneOrMany<At<String>>,
    /// Port of the gRPC service. Default: the HTTP port plus 1000, as Nacos has it.
    pub grpc_port: Option<std::num::NonZeroU16>,
    /// Namespace id.
    #[serde(default = "public")]
    pub namespace: String,
    /// Group of the services. An upstream's `service = "GROUP@@SERVICE"` overrides it.
    #[serde(default = "default_group")]
    pub group: String,
    /// Take only instances of these clusters. Default: all.
    #[serde(default)]
    pub clusters: Vec<String>,
    /// Log in as this user; needs `password`.
    pub username: Option<At<String>>,
    /// The user's password.
    pub password: Option<Secret>,
}

// === impl RegistryKind ===

impl RegistryKind {
    /// The kind's word in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::File(_) => "file",
            Self::Nacos(_) => "nacos",
        }
    }

    /// What the kind's own behaviour asks for where the file says nothing.
    pub fn default_graces(&self) -> Graces {
        let (empty, reconnect) = match self {
            // We are this registry ourselves: what it says is so.
            Self::Embedded(_) => (0, 0),
            // A file that is being rewritten in place is empty for a moment.
            Self::File(_) => (15, 0),
            // Ephemeral instances come back one by one after a restart of the server.
            Self::Nacos(_) => (15, 30),
        };
        Graces {
            empty_grace: Interval::secs(empty),
            reconnect_grace: Interval::secs(reconnect),
            shrink_threshold: Percent(0.7),
        }
    }
}

// === impl WrittenGraces ===

impl WrittenGraces {
    /// The keys of every registry that are not its kind's own.
    pub(super) const KEYS: [&str; 3] = ["empty_grace", "reconnect_grace", "shrink_threshold"];

    pub(super) fn over(self, defaults: Graces) -> Graces {
        Graces {
            empty_grace: self.empty_grace.unwrap_or(defaults.empty_grace),
            reconnect_grace: self.reconnect_grace.unwrap_or(defaults.reconnect_grace),
            shrink_threshold: self.shrink_threshold.unwrap_or(defaults.shrink_threshold),
        }
    }
}

// === impl EmbeddedRegistry ===

impl Default for EmbeddedRegistry {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8848)).into() }
    }
}

const fn two_seconds() -> Interval {
    Interval::secs(2)
}

fn public() -> String {
    "public".into()
}

fn default_group() -> String {
    "DEFAULT_GROUP".into()
}
