//! The part of the metrics page that is read when it is asked for: states of what runs now.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::status::{breaker_word, readiness_word};
use crate::{
    registry::{LinkState, RegistryStatus, ViewState},
    snapshot::{Route, Snapshot, Target},
    telemetry::metrics::{Page, names},
    upstream::{Readiness, State, Upstream},
};

/// Adds the states of everything that the current snapshot and its registries have.
pub(super) fn add(page: &mut Page, snapshot: &Snapshot, registries: &[RegistryStatus]) {
    let now = Instant::now();
    for (name, served) in snapshot.upstreams() {
        upstream(page, name, &served.upstream, now);
    }
    for route in snapshot.routes() {
        rate_limit(page, route);
        for target in route.targets() {
            circuit_breaker(page, route, target);
        }
    }
    for status in registries {
        registry(page, status);
    }
}

fn upstream(page: &mut Page, name: &str, upstream: &Upstream, now: Instant) {
    let status = upstream.status(now);
    let mut gauge = page.gauge(&names::UPSTREAM_INSTANCES);
    for state in [Readiness::Disabled, Readiness::Ejected, Readiness::Ready, Readiness::Unhealthy] {
        let count = status.instances.iter().filter(|instance| instance.readiness == state).count();
        gauge.sample(&[("upstream", name), ("state", readiness_word(state))], count as f64);
    }
    page.counter(&names::UPSTREAM_EJECTIONS).sample(&[("upstream", name)], upstream.ejections());
}

fn rate_limit(page: &mut Page, route: &Route) {
    let Some(limit) = &route.rate_limit else { return };
    let (name, buckets) = (&*route.name, &limit.policy.buckets);
    page.gauge(&names::RATE_LIMIT_KEYS).sample(&[("route", name)], buckets.keys() as f64);
    page.counter(&names::RATE_LIMIT_EVICTIONS).sample(&[("route", name)], buckets.evictions());
}

/// Always there, closed too: a series that begins with the trouble shows nothing on a dashboard.
fn circuit_breaker(page: &mut Page, route: &Route, target: &Target) {
    let Some(breaker) = &target.breaker else { return };
    let (now, moved) = (breaker.policy.state(), breaker.policy.transitions());
    let labels = |state| {
        [("route", &*route.name), ("upstream", &*target.name), ("state", breaker_word(state))]
    };
    for (state, entered) in [
        (State::Closed, moved.closed),
        (State::HalfOpen, moved.half_open),
        (State::Open, moved.open),
    ] {
        page.gauge(&names::CIRCUIT_BREAKER_STATE)
            .sample(&labels(state), f64::from(u8::from(now == state)));
        page.counter(&names::CIRCUIT_BREAKER_TRANSITIONS).sample(&labels(state), entered);
    }
}

fn registry(page: &mut Page, status: &RegistryStatus) {
    let label = ("registry", &*status.name);
    let up = matches!(status.state, LinkState::Live | LinkState::Degraded);
    page.gauge(&names::REGISTRY_UP).sample(&[label], f64::from(u8::from(up)));
    if let (Some(age), Ok(now)) =
        (status.last_success_seconds, SystemTime::now().duration_since(UNIX_EPOCH))
    {
        page.gauge(&names::REGISTRY_LAST_SUCCESS).sample(&[label], now.as_secs_f64() - age);
    }
    let stale =
        status.services.values().filter(|service| service.state == ViewState::Stale).count();
    page.gauge(&names::REGISTRY_STALE_SERVICES).sample(&[label], stale as f64);
    page.counter(&names::REGISTRY_SESSIONS).sample(&[label], status.sessions);
    let views = status.services.values().map(|service| service.views);
    let total = |count: fn(&crate::registry::ViewCounts) -> u64| {
        views.clone().map(|views| count(&views)).sum()
    };
    let mut counter = page.counter(&names::REGISTRY_VIEWS);
    counter.sample(&[label, ("result", "applied")], total(|views| views.applied));
    counter.sample(&[label, ("result", "unchanged")], total(|views| views.unchanged));
    counter.sample(&[label, ("result", "held")], total(|views| views.held));
    counter.sample(&[label, ("result", "refused")], total(|views| views.refused));
}
