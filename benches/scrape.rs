//! What a scrape of the metrics costs: a page of 10, 1,000 and 10,000 routes, and ten upstreams. The aim is less than
//! 20 ms at 1,000 routes.

#![allow(clippy::unwrap_used, reason = "a bench reports by panicking")]

use std::{sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::Method;
use tollgate::telemetry::{
    LimitDecision, Outcome, TokenResult,
    metrics::{BuildInfo, FinishedRequest, Metrics, RouteMetrics, UpstreamMetrics},
};

const UPSTREAMS: usize = 10;

/// The handles of so many routes, on which requests were counted as on a gateway that is in use.
fn in_use(metrics: &Metrics, routes: usize) -> (Vec<Arc<RouteMetrics>>, Vec<Arc<UpstreamMetrics>>) {
    let request = FinishedRequest {
        method: &Method::GET,
        status: 200,
        outcome: Outcome::Ok,
        duration: Duration::from_millis(3),
        overhead: Duration::from_micros(70),
        request_bytes: 10,
        response_bytes: 100,
    };
    let route = |number: usize| {
        let route = metrics.route(&format!("route-{number:05}"));
        for status in [200, 201, 404, 503] {
            route.record(&FinishedRequest { status, ..request.clone() });
        }
        route.limit_decision(LimitDecision::Allow);
        route.token_result(TokenResult::Valid);
        route
    };
    let upstream = |number: usize| {
        let upstream = metrics.upstream(&format!("upstream-{number:02}"));
        upstream.record(Some(200), Duration::from_millis(3));
        upstream
    };
    ((0..routes).map(route).collect(), (0..UPSTREAMS).map(upstream).collect())
}

fn scrape(c: &mut Criterion) {
    let mut group = c.benchmark_group("scrape");
    group.sample_size(20);
    for routes in [10, 1_000, 10_000] {
        let metrics = Metrics::new(BuildInfo { version: "1.0.0", revision: "", rustc: "" });
        let _held = in_use(&metrics, routes);
        let page = metrics.gather().render().unwrap();
        assert!(
            page.contains(&format!(
                "tollgate_http_requests_total{{route=\"route-{:05}\"",
                routes - 1
            ))
        );
        group.bench_function(BenchmarkId::new("page", routes), |b| {
            b.iter(|| metrics.gather().render().unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, scrape);
criterion_main!(benches);
