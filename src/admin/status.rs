//! What the status API says of routes and upstreams, as JSON.

use std::{collections::BTreeMap, net::SocketAddr, time::Instant};

use serde::{Deserialize, Serialize};

use crate::{
    config::Mode,
    registry,
    snapshot::{Action, Origin, Route, Served, Snapshot, Target},
    upstream::{self, Readiness, State},
};

/// One `[[route]]`.
#[derive(Debug, Serialize)]
pub(super) struct RouteStatus {
    name: String,
    hosts: Vec<String>,
    path: String,
    action: &'static str,
    to: Vec<TargetStatus>,
    /// The policies that it has, and their modes.
    policies: BTreeMap<&'static str, &'static str>,
}

/// One upstream of a route.
#[derive(Debug, Serialize)]
struct TargetStatus {
    upstream: String,
    /// None where the route has no circuit breaker.
    circuit_breaker: Option<&'static str>,
}

/// One upstream with its instances. `explain` reads it too.
#[derive(Debug, Deserialize, Serialize)]
pub struct UpstreamStatus {
    pub name: String,
    /// The registry and the service in it; none for fixed instances.
    pub registry: Option<String>,
    pub service: Option<String>,
    /// So few instances are usable that all are used that are not disabled.
    pub panic: bool,
    pub instances: Vec<InstanceStatus>,
}

/// One instance.
#[derive(Debug, Deserialize, Serialize)]
pub struct InstanceStatus {
    pub address: SocketAddr,
    pub weight: f64,
    /// `ready`, `ejected`, `unhealthy` or `disabled`.
    pub state: String,
    pub in_flight: u32,
    pub metadata: BTreeMap<String, String>,
}

pub(super) fn routes(snapshot: &Snapshot) -> Vec<RouteStatus> {
    snapshot.routes().iter().map(|route| RouteStatus::of(route)).collect()
}

pub(super) fn upstreams(snapshot: &Snapshot) -> Vec<UpstreamStatus> {
    let now = Instant::now();
    snapshot
        .upstreams()
        .iter()
        .map(|(name, served)| UpstreamStatus::of(name, served, now))
        .collect()
}

// === impl RouteStatus ===

impl RouteStatus {
    fn of(route: &Route) -> Self {
        let config = route.config();
        let action = match &route.action {
            Action::Answer(_) => "answer",
            Action::Forward(_) => "forward",
            Action::Redirect(_) => "redirect",
        };
        let modes = [
            ("ip_filter", route.ip_filter.as_ref().map(|policy| policy.mode)),
            ("cors", route.cors.as_ref().map(|policy| policy.mode)),
            ("jwt", route.jwt.as_ref().map(|policy| policy.mode)),
            ("rate_limit", route.rate_limit.as_ref().map(|policy| policy.mode)),
            ("max_body", route.max_body.as_ref().map(|policy| policy.mode)),
            ("circuit_breaker", config.circuit_breaker.as_ref().map(|policy| policy.mode)),
        ];
        let policies =
            modes.into_iter().filter_map(|(name, mode)| Some((name, mode_word(mode?)))).collect();
        Self {
            name: route.name.to_string(),
            hosts: config.host.iter().map(|host| host.to_string()).collect(),
            path: route.pattern().to_owned(),
            action,
            to: route.targets().iter().map(TargetStatus::of).collect(),
            policies,
        }
    }
}

const fn mode_word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Shadow => "shadow",
    }
}

// === impl TargetStatus ===

impl TargetStatus {
    fn of(target: &Target) -> Self {
        let circuit_breaker =
            target.breaker.as_ref().map(|breaker| breaker_word(breaker.policy.state()));
        Self { upstream: target.name.to_string(), circuit_breaker }
    }
}

/// The word for a breaker's state, here and on the metrics page.
pub(super) const fn breaker_word(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::HalfOpen => "half_open",
        State::Open => "open",
    }
}

// === impl UpstreamStatus ===

impl UpstreamStatus {
    fn of(name: &str, served: &Served, now: Instant) -> Self {
        let status = served.upstream.status(now);
        let (registry, service) = match &served.origin {
            Origin::Fixed => (None, None),
            Origin::Registry { registry, service } => {
                (Some(registry.clone()), Some(service.clone()))
            }
        };
        let instances = status.instances.iter().map(InstanceStatus::of).collect();
        Self { name: name.to_owned(), registry, service, panic: status.panic, instances }
    }
}

// === impl InstanceStatus ===

impl InstanceStatus {
    fn of(status: &upstream::InstanceStatus) -> Self {
        Self {
            address: status.instance.address,
            weight: status.instance.weight.get(),
            state: readiness_word(status.readiness).to_owned(),
            in_flight: status.in_flight,
            metadata: status.instance.metadata.clone(),
        }
    }

    /// The instance as its registry told it, as far as that can be seen from here.
    pub fn as_registered(&self) -> registry::Instance {
        registry::Instance {
            address: self.address,
            weight: self.weight,
            healthy: self.state != readiness_word(Readiness::Unhealthy),
            enabled: self.state != readiness_word(Readiness::Disabled),
            metadata: self.metadata.clone(),
        }
    }
}

/// The word for an instance's state, here and on the metrics page.
pub(super) const fn readiness_word(readiness: Readiness) -> &'static str {
    match readiness {
        Readiness::Disabled => "disabled",
        Readiness::Ejected => "ejected",
        Readiness::Ready => "ready",
        Readiness::Unhealthy => "unhealthy",
    }
}
