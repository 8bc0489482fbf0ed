//! Sixteen threads on one snapshot: what they count is exact, and what they hold is let go.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use tollgate::{
    config,
    decision::{self, Act, Decided, Facts, Verdict},
    registry, route,
    snapshot::{Pins, Snapshot, Target},
    telemetry::{
        Outcome,
        metrics::{BuildInfo, FinishedRequest, Metrics},
    },
    upstream::{self, InFlight, State},
};

const THREADS: usize = 16;
const EACH: usize = 1_000;
/// Of all that the threads ask for, which is at one moment, the limit lets through just this.
const BURST: usize = 3_000;

const CONFIG: &str = r#"
[upstream.orders]
instances = ["10.0.0.1:80", "10.0.0.2:80"]

[[route]]
name = "orders"
path = "/orders/**"
to = "orders"
rate_limit = { rate = "1/h", burst = 3000, per = "client" }
circuit_breaker = { window = 100000, minimum_calls = 100000 }
"#;

fn snapshot(metrics: &Metrics, now: Instant) -> Arc<Snapshot> {
    let checked = config::parse("contention.toml", CONFIG, Path::new(""), &|_| None).unwrap();
    let snapshot = Snapshot::build(checked.config, "1".into(), metrics, None).unwrap();
    let instance = |number| registry::Instance {
        address: SocketAddr::from(([10, 0, 0, number], 80)),
        weight: 1.0,
        healthy: true,
        enabled: true,
        metadata: Default::default(),
    };
    snapshot.upstreams()["orders"].upstream.apply(&[1, 2].map(instance), now);
    Arc::new(snapshot)
}

fn target(snapshot: &Snapshot) -> &Target {
    &snapshot.routes()[0].targets()[0]
}

fn decide(snapshot: &Snapshot, now: Instant, rng: &mut fastrand::Rng) -> Decided {
    let (method, headers) = (&Method::GET, &HeaderMap::new());
    let (host, path) = ("api.example.com", "/orders/17");
    let request = route::Request { method, host, path, query: None, headers };
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let facts = Facts { request, client, now, now_unix: 0 };
    decision::decide(snapshot, &facts, Act::Take, rng, &mut ())
}

/// One request, with what is counted and held of it. True when it was forwarded.
fn request(pins: &Pins, now: Instant, rng: &mut fastrand::Rng) -> bool {
    let pin = pins.pin();
    let decided = decide(&pin, now, rng);
    let _in_flight = decided.route(&pin).unwrap().metrics.enter();
    let forwarded = matches!(decided.verdict, Verdict::Forward(_));
    if let Verdict::Forward(forward) = decided.verdict {
        let _live = target(&pin).upstream.retry_budget().request();
        let _on_instance = InFlight::new(forward.instance);
        target(&pin).metrics.record(Some(200), Duration::from_millis(1));
        forward.permit.unwrap().report(upstream::Outcome::Success, Duration::ZERO, now);
    }
    pin.routes()[0].metrics.record(&FinishedRequest {
        method: &Method::GET,
        status: if forwarded { 200 } else { 429 },
        outcome: if forwarded { Outcome::Ok } else { Outcome::RateLimited },
        duration: Duration::from_millis(1),
        overhead: Duration::ZERO,
        request_bytes: 0,
        response_bytes: 0,
    });
    forwarded
}

#[test]
fn sixteen_threads_lose_no_count_and_leave_nothing_behind() {
    let (metrics, now) =
        (Metrics::new(BuildInfo { version: "", revision: "", rustc: "" }), Instant::now());
    let snapshot = snapshot(&metrics, now);
    let (pins, barrier) = (Pins::new(&snapshot), Barrier::new(THREADS));
    let held = || {
        let breaker = &target(&snapshot).breaker.as_ref().unwrap().policy;
        [
            Arc::strong_count(&snapshot),
            Arc::strong_count(&snapshot.routes()[0]),
            Arc::strong_count(breaker),
        ]
    };
    let before = held();
    let requests = |thread: usize| {
        let mut rng = fastrand::Rng::with_seed(thread as u64);
        barrier.wait();
        (0..EACH).filter(|_| request(&pins, now, &mut rng)).count()
    };
    let forwarded: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let requests = &requests;
                scope.spawn(move || requests(thread))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(forwarded, BURST);
    let page = metrics.gather().render().unwrap();
    for line in [
        r#"tollgate_http_requests_total{route="orders",method="GET",code="200"} 3000"#,
        r#"tollgate_http_requests_total{route="orders",method="GET",code="429"} 13000"#,
        r#"tollgate_http_request_duration_seconds_count{route="orders"} 16000"#,
        r#"tollgate_http_overhead_duration_seconds_count 16000"#,
        r#"tollgate_http_requests_in_flight{route="orders"} 0"#,
        r#"tollgate_upstream_requests_total{upstream="orders",code_class="2xx"} 3000"#,
    ] {
        assert!(page.lines().any(|found| found == line), "no {line} in\n{page}");
    }
    assert_eq!(held(), before);
    let target = target(&snapshot);
    assert_eq!(target.upstream.retry_budget().load(), (0, 0));
    assert_eq!(target.breaker.as_ref().unwrap().policy.state(), State::Closed);
    assert!(target.upstream.status(now).instances.iter().all(|one| one.in_flight == 0));
}
