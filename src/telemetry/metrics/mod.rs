//! Metrics: handles that requests count with, and the page that a scrape gets.
//!
//! Called by `snapshot` for handles, by `gateway` through them, by `admin` for the page. No label ever comes from a
//! request, and a series lives exactly as long as its handle.

mod counts;
mod handles;
mod histogram;
pub mod names;
mod page;
mod process;
mod route;
mod upstream;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use self::{handles::Handles, process::Process};
pub use self::{
    page::{Labels, Page, Samples},
    process::{BuildInfo, NO_ROUTE},
    route::{FinishedRequest, InFlight, RouteMetrics},
    upstream::UpstreamMetrics,
};

/// All metrics of one gateway. A clone is the same metrics.
#[derive(Clone)]
pub struct Metrics {
    live: Arc<Live>,
    /// What prometheus counts by itself.
    registry: prometheus::Registry,
    unmatched: Arc<RouteMetrics>,
}

/// What is live now.
struct Live {
    routes: Handles<RouteMetrics>,
    upstreams: Handles<UpstreamMetrics>,
    process: Process,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics of their own: two gateways in one process share none.
    pub fn new(build: BuildInfo) -> Self {
        let process = Process::new(build);
        let live =
            Arc::new(Live { routes: Handles::default(), upstreams: Handles::default(), process });
        let registry = prometheus::Registry::new();
        #[cfg(target_os = "linux")]
        {
            use prometheus::process_collector::ProcessCollector;
            if let Err(error) = registry.register(Box::new(ProcessCollector::for_self())) {
                tracing::error!(%error, "Metrics of the process will be missing");
            }
        }
        let unmatched = live.route(NO_ROUTE);
        Self { live, registry, unmatched }
    }

    /// The handle of a route: the live one of that name, so that its counts go on, or else a new one.
    pub fn route(&self, name: &str) -> Arc<RouteMetrics> {
        self.live.route(name)
    }

    /// The handle for requests that no route matched.
    pub fn unmatched(&self) -> &Arc<RouteMetrics> {
        &self.unmatched
    }

    /// The handle of an upstream: the live one of that name, so that its counts go on, or else a new one.
    pub fn upstream(&self, name: &str) -> Arc<UpstreamMetrics> {
        self.live.upstreams.resolve(name, UpstreamMetrics::new)
    }

    /// Requests that are being answered now, on routes of any config that some request still sees.
    pub fn in_flight(&self) -> u64 {
        self.live.routes.live().iter().map(|route| route.in_flight()).sum()
    }

    /// Says with which config the process starts.
    pub fn config_started(&self, hash: &str, now: SystemTime) {
        self.live.process.config_in_use(hash, now);
    }

    /// Says that a reload brought this config into use, and how long that took.
    pub fn config_reloaded(&self, hash: &str, now: SystemTime, took: Duration) {
        self.live.process.config_in_use(hash, now);
        self.live.process.reload_applied(took);
    }

    /// Says that a reload was refused, and the config in use stays.
    pub fn config_refused(&self) {
        self.live.process.reload_refused();
    }

    /// A page with everything that is counted here, to which the caller adds what it reads elsewhere.
    pub fn gather(&self) -> Page {
        let mut page = Page::default();
        page.add(self.registry.gather());
        for route in self.live.routes.live() {
            route.collect(&mut page);
        }
        for upstream in self.live.upstreams.live() {
            upstream.collect(&mut page);
        }
        self.live.process.collect(&mut page);
        page
    }
}

// === impl Live ===

impl Live {
    fn route(&self, name: &str) -> Arc<RouteMetrics> {
        let overhead = self.process.overhead.clone();
        self.routes.resolve(name, |name| RouteMetrics::new(name, overhead))
    }
}

#[cfg(test)]
mod tests;
