//! What is counted for one upstream.
//!
//! Called by `gateway` for each try. Nothing here looks a label up: the snapshot holds the handle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    counts::Counts,
    histogram::{Histogram, REQUEST, Total},
    names,
    page::Page,
};
use crate::telemetry::{RetryReason, Shards};

/// An upstream's series. They stand on the page for as long as a handle is held.
pub struct UpstreamMetrics {
    name: Arc<str>,
    shards: Shards<Tries>,
    connect_failures: AtomicU64,
    retries: Counts<{ RetryReason::COUNT }>,
    retries_refused: AtomicU64,
}

/// What one thread has counted of an upstream's tries.
#[derive(Default)]
struct Tries {
    requests: Counts<{ CLASSES.len() }>,
    duration: Histogram<16>,
}

/// What a try can end in: no answer (also a status outside 100 to 599), or an answer of a class.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

// === impl UpstreamMetrics ===

impl UpstreamMetrics {
    pub(super) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            shards: Shards::default(),
            connect_failures: AtomicU64::new(0),
            retries: Counts::default(),
            retries_refused: AtomicU64::new(0),
        }
    }

    /// Counts a try that has ended, with the status that the instance answered, if it did.
    pub fn record(&self, status: Option<u16>, duration: Duration) {
        let class = status.map_or(0, |status| usize::from(status / 100));
        let tries = self.shards.own();
        tries.requests.add(if class < CLASSES.len() { class } else { 0 });
        tries.duration.observe(&REQUEST, duration);
    }

    /// Counts a connection that could not be made.
    pub fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    /// Counts a request that is tried again.
    pub fn retried(&self, reason: RetryReason) {
        self.retries.add(reason as usize);
    }

    /// Counts a request that is not tried again because the retry budget is spent.
    pub fn retry_refused(&self) {
        self.retries_refused.fetch_add(1, Relaxed);
    }

    pub(super) fn collect(&self, page: &mut Page) {
        let upstream = ("upstream", &*self.name);
        let mut requests = page.counter(&names::UPSTREAM_REQUESTS);
        for (index, class) in CLASSES.iter().enumerate() {
            let count = self.shards.sum(|tries| tries.requests.load(index));
            requests.sample(&[upstream, ("code_class", class)], count);
        }
        let duration = Total::of(self.shards.iter().map(|tries| &tries.duration));
        page.histogram(&names::UPSTREAM_REQUEST_DURATION).sample(&[upstream], &REQUEST, &duration);
        page.counter(&names::UPSTREAM_CONNECT_FAILURES)
            .sample(&[upstream], self.connect_failures.load(Relaxed));
        let mut retries = page.counter(&names::UPSTREAM_RETRIES);
        for reason in RetryReason::ALL {
            let count = self.retries.load(*reason as usize);
            retries.sample(&[upstream, ("reason", reason.as_str())], count);
        }
        page.counter(&names::UPSTREAM_RETRIES_REFUSED)
            .sample(&[upstream], self.retries_refused.load(Relaxed));
    }
}
