//! What a keeper says of itself, for the admin API and for metrics when they are scraped.
//!
//! Read by `admin` and `telemetry`'s collector. Ages are in seconds, and it never holds a secret.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

/// One registry, as its keeper sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegistryStatus {
    pub name: Arc<str>,
    pub state: LinkState,
    /// How long it has been in this state.
    pub since_seconds: f64,
    /// How long ago the registry last answered in any way.
    pub last_success_seconds: Option<f64>,
    pub last_error: Option<String>,
    /// Sessions that the registry has accepted.
    pub sessions: u64,
    pub services: BTreeMap<Arc<str>, ServiceStatus>,
}

/// How the keeper stands with its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// No session has been accepted yet, and none has failed.
    Connecting,
    /// The session lives, but a read of some service failed.
    Degraded,
    /// The session is lost. Endpoints stay as they were.
    Down,
    Live,
}

/// One service of a registry.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServiceStatus {
    pub state: ViewState,
    /// How long ago the registry last said anything of it; for a disk copy, how old that is.
    pub age_seconds: Option<f64>,
    /// How long ago it became stale.
    pub stale_seconds: Option<f64>,
    pub origin: Option<Origin>,
    pub instances: usize,
    /// Whether instances are kept that the registry no longer names.
    pub held: bool,
    pub held_seconds: Option<f64>,
    pub views: ViewCounts,
}

/// How much of what the registry says of a service is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// Nothing at all.
    Never,
    /// All, as far as the session tells.
    Fresh,
    /// What it said before the session was lost, or what lay on the disk.
    Stale,
}

/// Where the instances in use come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The copy of an earlier run.
    Disk,
    /// The registry.
    Live,
}

/// What became of the views of a service. Each view counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ViewCounts {
    /// Changed something, and was believed whole.
    pub applied: u64,
    /// Said what was known.
    pub unchanged: u64,
    /// Missed instances that are kept for now.
    pub held: u64,
    /// Too large to be true.
    pub refused: u64,
}
