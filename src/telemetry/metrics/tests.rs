use std::time::{Duration, UNIX_EPOCH};

use http::Method;

use super::*;
use crate::telemetry::{LimitDecision, Outcome, Policy, RetryReason, TokenResult};

fn metrics() -> Metrics {
    Metrics::new(BuildInfo { version: "1.2.3", revision: "abc", rustc: "1.95" })
}

fn finished(outcome: Outcome, status: u16) -> FinishedRequest<'static> {
    FinishedRequest {
        method: &Method::GET,
        status,
        outcome,
        duration: Duration::from_millis(3),
        overhead: Duration::from_micros(70),
        request_bytes: 10,
        response_bytes: 100,
    }
}

fn page(metrics: &Metrics) -> String {
    metrics.gather().render().unwrap()
}

#[track_caller]
fn has(page: &str, line: &str) {
    assert!(page.lines().any(|l| l == line), "no line `{line}` in:\n{page}");
}

#[test]
fn a_finished_request_is_seen_in_every_family_of_its_route() {
    let metrics = metrics();
    let orders = metrics.route("orders");
    orders.record(&finished(Outcome::Ok, 200));
    orders.record(&finished(Outcome::RateLimited, 429));
    orders.shadow_rejection(Policy::Jwt);
    let page = page(&metrics);
    has(&page, r#"tollgate_http_requests_total{route="orders",method="GET",code="200"} 1"#);
    has(&page, r#"tollgate_http_requests_total{route="orders",method="GET",code="429"} 1"#);
    has(&page, r#"tollgate_outcomes_total{route="orders",outcome="rate_limited"} 1"#);
    has(&page, r#"tollgate_outcomes_total{route="orders",outcome="internal"} 0"#);
    has(&page, r#"tollgate_http_request_duration_seconds_bucket{route="orders",le="0.0025"} 0"#);
    has(&page, r#"tollgate_http_request_duration_seconds_bucket{route="orders",le="0.005"} 2"#);
    has(&page, r#"tollgate_http_request_duration_seconds_bucket{route="orders",le="+Inf"} 2"#);
    has(&page, r#"tollgate_http_request_duration_seconds_sum{route="orders"} 0.006"#);
    has(&page, r#"tollgate_http_request_bytes_total{route="orders"} 20"#);
    has(&page, r#"tollgate_http_response_bytes_total{route="orders"} 200"#);
    has(&page, r#"tollgate_shadow_rejections_total{route="orders",policy="jwt"} 1"#);
    has(&page, r#"tollgate_http_overhead_duration_seconds_bucket{le="0.0001"} 2"#);
    assert!(!page.contains(r#"policy="cors""#));
}

#[test]
fn what_policies_say_is_counted_on_routes_that_have_them() {
    let metrics = metrics();
    let (orders, plain) = (metrics.route("orders"), metrics.route("plain"));
    orders.limit_decision(LimitDecision::Deny);
    orders.token_result(TokenResult::Valid);
    orders.token_result(TokenResult::Valid);
    plain.record(&finished(Outcome::Ok, 200));
    let page = page(&metrics);
    has(&page, r#"tollgate_rate_limit_decisions_total{route="orders",decision="deny"} 1"#);
    has(&page, r#"tollgate_rate_limit_decisions_total{route="orders",decision="allow"} 0"#);
    has(&page, r#"tollgate_jwt_verifications_total{route="orders",result="valid"} 2"#);
    has(&page, r#"tollgate_jwt_verifications_total{route="orders",result="missing"} 0"#);
    assert!(!page.contains(r#"{route="plain",decision"#));
    assert!(!page.contains(r#"{route="plain",result"#));
}

#[test]
fn a_request_is_in_flight_while_its_guard_is_held() {
    let metrics = metrics();
    let guard = metrics.unmatched().enter();
    let also = metrics.unmatched().enter();
    has(&page(&metrics), r#"tollgate_http_requests_in_flight{route="(none)"} 2"#);
    drop((guard, also));
    has(&page(&metrics), r#"tollgate_http_requests_in_flight{route="(none)"} 0"#);
}

#[test]
fn tries_are_counted_by_class_of_status() {
    let metrics = metrics();
    let orders = metrics.upstream("orders");
    for status in [Some(200), Some(204), Some(503), None, Some(999), Some(7)] {
        orders.record(status, Duration::from_millis(1));
    }
    orders.connect_failed();
    orders.retried(RetryReason::ConnectFailed);
    orders.retry_refused();
    let page = page(&metrics);
    has(&page, r#"tollgate_upstream_requests_total{upstream="orders",code_class="2xx"} 2"#);
    has(&page, r#"tollgate_upstream_requests_total{upstream="orders",code_class="5xx"} 1"#);
    has(&page, r#"tollgate_upstream_requests_total{upstream="orders",code_class="none"} 3"#);
    has(&page, r#"tollgate_upstream_request_duration_seconds_count{upstream="orders"} 6"#);
    has(&page, r#"tollgate_upstream_connect_failures_total{upstream="orders"} 1"#);
    has(&page, r#"tollgate_upstream_retries_total{upstream="orders",reason="connect_failed"} 1"#);
    has(&page, r#"tollgate_upstream_retries_refused_total{upstream="orders"} 1"#);
}

#[test]
fn series_go_with_the_last_handle_and_stay_with_any_other() {
    let metrics = metrics();
    let old = metrics.route("orders");
    old.record(&finished(Outcome::Ok, 200));
    let kept = metrics.route("orders");
    drop(old);
    has(
        &page(&metrics),
        r#"tollgate_http_requests_total{route="orders",method="GET",code="200"} 1"#,
    );
    drop(kept);
    assert!(!page(&metrics).contains("orders"));
    let _again = metrics.route("orders");
    has(&page(&metrics), r#"tollgate_http_request_bytes_total{route="orders"} 0"#);
}

#[test]
fn reloads_are_visible_with_their_result() {
    let metrics = metrics();
    metrics.config_started("ab12", UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    metrics.config_refused();
    let refused = page(&metrics);
    has(&refused, "tollgate_config_last_reload_successful 0");
    has(&refused, "tollgate_config_last_reload_success_timestamp_seconds 1700000000");
    has(&refused, r#"tollgate_config_reloads_total{result="refused"} 1"#);
    metrics.config_reloaded(
        "cd34",
        UNIX_EPOCH + Duration::from_secs(1_700_000_060),
        Duration::from_millis(40),
    );
    let reloaded = page(&metrics);
    has(&reloaded, "tollgate_config_last_reload_successful 1");
    has(&reloaded, r#"tollgate_config_info{hash="cd34"} 1"#);
    has(&reloaded, r#"tollgate_config_reloads_total{result="applied"} 1"#);
    has(&reloaded, "tollgate_config_reload_duration_seconds_sum 0.04");
    assert!(!reloaded.contains("ab12"));
    has(&reloaded, r#"tollgate_build_info{version="1.2.3",revision="abc",rustc="1.95"} 1"#);
    #[cfg(target_os = "linux")]
    assert!(reloaded.contains("process_open_fds "));
}

#[test]
fn no_series_stands_twice_and_every_family_is_a_known_one() {
    let metrics = metrics();
    let _routes = [metrics.route("a"), metrics.route("b"), metrics.route("a")];
    let _upstreams = [metrics.upstream("a"), metrics.upstream("b")];
    let page = page(&metrics);
    let mut seen = std::collections::BTreeSet::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        assert!(seen.insert(line.rsplit_once(' ').unwrap().0), "{line}");
    }
    for family in page.lines().filter_map(|line| line.strip_prefix("# TYPE tollgate_")) {
        let name = format!("tollgate_{}", family.split(' ').next().unwrap());
        assert!(names::ALL.iter().any(|known| known.0 == name), "{name}");
    }
}

/// One name that all threads share, and one that only this round holds.
fn take_count_and_drop(metrics: &Metrics, thread: u64, round: u64) {
    let _shared = metrics.route("churn");
    let name = format!("own-{thread}-{round}");
    let own = metrics.route(&name);
    for _ in 0..round {
        own.record(&finished(Outcome::Ok, 200));
    }
    let page = page(metrics);
    assert!(page.contains(r#"route="churn""#));
    has(&page, &format!(r#"tollgate_outcomes_total{{route="{name}",outcome="ok"}} {round}"#));
}

#[test]
fn a_held_handle_is_always_on_the_page_while_others_of_its_name_go() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let metrics = &metrics;
            scope.spawn(move || {
                (0..100).for_each(|round| take_count_and_drop(metrics, thread, round))
            });
        }
    });
    let page = page(&metrics);
    assert!(!page.contains("churn") && !page.contains("own-"), "{page}");
}
