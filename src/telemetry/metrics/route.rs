//! What is counted for one route.
//!
//! Called by `gateway` for each request. Nothing here looks a label up: the snapshot holds the handle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Method;

use super::{
    counts::{Counts, StatusCounts},
    histogram::{Histogram, OVERHEAD, REQUEST, Total},
    names,
    page::Page,
};
use crate::telemetry::{LimitDecision, Outcome, Policy, Shard, Shards, TokenResult};

/// A route's series. They stand on the page for as long as a handle is held.
pub struct RouteMetrics {
    name: Arc<str>,
    shards: Shards<RouteCounts>,
    /// The same for all routes.
    overhead: Arc<Overhead>,
}

/// What one thread has counted of a route.
#[derive(Default)]
struct RouteCounts {
    requests: StatusCounts,
    outcomes: Counts<{ Outcome::COUNT }>,
    duration: Histogram<16>,
    /// Requests that came in on this thread.
    in_flight: AtomicU64,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
    shadow_rejections: Counts<{ Policy::COUNT }>,
    limit_decisions: Counts<{ LimitDecision::COUNT }>,
    token_results: Counts<{ TokenResult::COUNT }>,
}

/// A request that has ended, as metrics see it.
#[derive(Clone, Debug)]
pub struct FinishedRequest<'a> {
    pub method: &'a Method,
    /// The status that the client got; 499 when it went away before one.
    pub status: u16,
    pub outcome: Outcome,
    /// From the first byte of its head to the last byte of its response.
    pub duration: Duration,
    /// The part of it that was not spent waiting for client or upstream.
    pub overhead: Duration,
    pub request_bytes: u64,
    pub response_bytes: u64,
}

/// Counts a request as in flight until it is dropped.
#[must_use = "a request is in flight for as long as this is held"]
pub struct InFlight(Shard<RouteCounts>);

pub(super) type Overhead = Shards<Histogram<8>>;

// === impl RouteMetrics ===

impl RouteMetrics {
    pub(super) fn new(name: Arc<str>, overhead: Arc<Overhead>) -> Self {
        Self { name, shards: Shards::default(), overhead }
    }

    /// Counts a request that has just come in.
    pub fn enter(&self) -> InFlight {
        let counts = self.shards.own();
        counts.in_flight.fetch_add(1, Relaxed);
        InFlight(counts.clone())
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.shards.sum(|counts| counts.in_flight.load(Relaxed))
    }

    /// Counts a request that has ended.
    pub fn record(&self, request: &FinishedRequest<'_>) {
        let counts = self.shards.own();
        counts.requests.add(request.method, request.status);
        counts.outcomes.add(request.outcome as usize);
        counts.duration.observe(&REQUEST, request.duration);
        self.overhead.own().observe(&OVERHEAD, request.overhead);
        // Most requests have no body, and a load is cheaper than an addition.
        if request.request_bytes > 0 {
            counts.request_bytes.fetch_add(request.request_bytes, Relaxed);
        }
        if request.response_bytes > 0 {
            counts.response_bytes.fetch_add(request.response_bytes, Relaxed);
        }
    }

    /// Counts a request that `policy` would have refused were it not in shadow mode.
    pub fn shadow_rejection(&self, policy: Policy) {
        self.shards.own().shadow_rejections.add(policy as usize);
    }

    /// Counts what the route's rate limit said of a request.
    pub fn limit_decision(&self, decision: LimitDecision) {
        self.shards.own().limit_decisions.add(decision as usize);
    }

    /// Counts what was found where the route asks for a token.
    pub fn token_result(&self, result: TokenResult) {
        self.shards.own().token_results.add(result as usize);
    }

    pub(super) fn collect(&self, page: &mut Page) {
        self.collect_policies(page);
        let route = ("route", &*self.name);
        let mut requests = page.counter(&names::HTTP_REQUESTS);
        StatusCounts::for_each(
            self.shards.iter().map(|counts| &counts.requests),
            |labels, count| {
                let (method, code) = labels;
                requests.sample(&[route, ("method", method), ("code", code)], count);
            },
        );
        let mut outcomes = page.counter(&names::OUTCOMES);
        for outcome in Outcome::ALL {
            // Zeros too, or the first of a rare outcome could raise no alert.
            let count = self.shards.sum(|counts| counts.outcomes.load(*outcome as usize));
            outcomes.sample(&[route, ("outcome", outcome.as_str())], count);
        }
        let duration = Total::of(self.shards.iter().map(|counts| &counts.duration));
        page.histogram(&names::HTTP_REQUEST_DURATION).sample(&[route], &REQUEST, &duration);
        let in_flight = self.in_flight() as f64;
        page.gauge(&names::HTTP_REQUESTS_IN_FLIGHT).sample(&[route], in_flight);
        let received = self.shards.sum(|counts| counts.request_bytes.load(Relaxed));
        page.counter(&names::HTTP_REQUEST_BYTES).sample(&[route], received);
        let sent = self.shards.sum(|counts| counts.response_bytes.load(Relaxed));
        page.counter(&names::HTTP_RESPONSE_BYTES).sample(&[route], sent);
    }

    /// Only what the route has: all words of a policy that was ever asked, and none of one that was not.
    fn collect_policies(&self, page: &mut Page) {
        let route = ("route", &*self.name);
        let mut shadow = page.counter(&names::SHADOW_REJECTIONS);
        for policy in Policy::ALL {
            let count = self.shards.sum(|counts| counts.shadow_rejections.load(*policy as usize));
            if count > 0 {
                shadow.sample(&[route, ("policy", policy.as_str())], count);
            }
        }
        if self.shards.iter().any(|counts| !counts.limit_decisions.is_zero()) {
            let mut decisions = page.counter(&names::RATE_LIMIT_DECISIONS);
            for decision in LimitDecision::ALL {
                let count =
                    self.shards.sum(|counts| counts.limit_decisions.load(*decision as usize));
                decisions.sample(&[route, ("decision", decision.as_str())], count);
            }
        }
        if self.shards.iter().any(|counts| !counts.token_results.is_zero()) {
            let mut results = page.counter(&names::JWT_VERIFICATIONS);
            for result in TokenResult::ALL {
                let count = self.shards.sum(|counts| counts.token_results.load(*result as usize));
                results.sample(&[route, ("result", result.as_str())], count);
            }
        }
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_routes_that_nobody_asks_for_take_three_megabytes() {
        assert!(size_of::<RouteMetrics>() <= 300, "{}", size_of::<RouteMetrics>());
        assert!(size_of::<RouteCounts>() <= 640, "{}", size_of::<RouteCounts>());
    }
}
