//! What threads cost each other: the decision and what is counted with it, from 1, 2 and 16 threads on one snapshot.
//!
//! A part that shares nothing does twice as much on two cores. Rounds of all parts and threads take turns, and the best of
//! each is shown, since whatever else runs on the machine only takes away.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench reports by panicking, and on the standard output"
)]

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Method, header};
use jsonwebtoken::{EncodingKey, Header};
use tollgate::{
    config,
    decision::{self, Act, Decided, Facts, Verdict},
    registry, route,
    snapshot::{Pins, Snapshot},
    telemetry::{
        Outcome,
        metrics::{BuildInfo, FinishedRequest, Metrics},
    },
    upstream::{Ending, InFlight, Tried},
};

const THREADS: [usize; 3] = [1, 2, 16];
const USERS: usize = 1_000;
const SECRET: &str = "a secret of thirty-two bytes or so";
const NOW: u64 = 1_800_000_000;
const TOOK: Duration = Duration::from_millis(3);

const CONFIG: &str = r#"
[jwt.idp]
issuer = "https://idp.example.com/"
audience = "orders-api"
secret = "${SECRET}"

[upstream.orders]
instances = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80"]

[[route]]
name = "orders"
host = "api.example.com"
path = "/orders/**"
to = "orders"
jwt = "idp"
rate_limit = { rate = "1000000/s", per = "jwt.sub" }
circuit_breaker = {}
"#;

/// One thing that requests do.
type Part = fn(&Rig, &mut Turn);

/// What is measured, each step by itself and then all together.
const PARTS: [(&str, Part); 9] = [
    ("one shared hold", one_shared_hold),
    ("pin", pin),
    ("route", route),
    ("jwt and limit", jwt_and_limit),
    ("breaker", breaker),
    ("pick", pick),
    ("metrics", metrics),
    ("decide", decide),
    ("decide and count", decide_and_count),
];

/// What all threads share.
struct Rig {
    snapshot: Arc<Snapshot>,
    pins: Pins,
    shared: ArcSwap<Snapshot>,
    /// The head of each user's request.
    heads: Vec<HeaderMap>,
}

/// What one thread has to itself.
struct Turn {
    rng: Rng,
    user: usize,
    now: Instant,
}

fn main() {
    let rig = Rig::new();
    // `cargo test` runs benches without this.
    let (rounds, time) = match std::env::args().any(|arg| arg == "--bench") {
        true => (9, Duration::from_millis(150)),
        false => (1, Duration::from_millis(2)),
    };
    let mut best = [[0.0_f64; THREADS.len()]; PARTS.len()];
    for _ in 0..rounds {
        for ((_, part), best) in PARTS.iter().zip(&mut best) {
            for (threads, best) in THREADS.iter().zip(best) {
                *best = best.max(throughput(&rig, *part, *threads, time));
            }
        }
    }
    println!("{:<18}{:>12}{:>12}{:>12}{:>10}", "millions/s", "1 thread", "2", "16", "2 to 1");
    for ((name, _), [one, two, sixteen]) in PARTS.iter().zip(best) {
        let ratio = two / one;
        println!("{name:<18}{one:>12.2}{two:>12.2}{sixteen:>12.2}{ratio:>10.2}");
    }
    rig.assert_nothing_was_lost();
}

/// How many millions a second all threads together do.
fn throughput(rig: &Rig, part: Part, threads: usize, time: Duration) -> f64 {
    let (done, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let barrier = Barrier::new(threads + 1);
    let work = |thread: usize| {
        let user = thread * USERS / threads;
        let mut turn = Turn { rng: Rng::with_seed(thread as u64), user, now: Instant::now() };
        let mut own = 0;
        barrier.wait();
        while !done.load(Relaxed) {
            (0..64).for_each(|_| part(rig, &mut turn));
            own += 64;
        }
        count.fetch_add(own, Relaxed);
    };
    let began = thread::scope(|scope| {
        for thread in 0..threads {
            let work = &work;
            scope.spawn(move || work(thread));
        }
        barrier.wait();
        let began = Instant::now();
        thread::sleep(time);
        done.store(true, Relaxed);
        began
    });
    count.load(Relaxed) as f64 / began.elapsed().as_micros() as f64
}

/// For comparison with `pin`: all threads count on one place that they hold the snapshot.
fn one_shared_hold(rig: &Rig, _: &mut Turn) {
    drop(black_box(rig.shared.load_full()));
}

fn pin(rig: &Rig, _: &mut Turn) {
    black_box(rig.pins.pin());
}

fn route(rig: &Rig, turn: &mut Turn) {
    let head = rig.head(turn);
    black_box(rig.snapshot.table().find(&request(head)));
}

fn jwt_and_limit(rig: &Rig, turn: &mut Turn) {
    let route = rig.snapshot.route(0).unwrap();
    let head = rig.head(turn);
    let claims = route.jwt.as_ref().unwrap().policy.check(head, NOW).unwrap();
    let buckets = &route.rate_limit.as_ref().unwrap().policy.buckets;
    let key = buckets.key(IpAddr::V4(Ipv4Addr::LOCALHOST), head, |name| claims.get(name));
    assert!(buckets.take(key, turn.now).allowed);
}

fn breaker(rig: &Rig, turn: &mut Turn) {
    let breaker = rig.target().breaker.as_ref().unwrap();
    let permit = breaker.policy.try_acquire(turn.now).unwrap();
    permit.report(tollgate::upstream::Outcome::Success, TOOK, turn.now);
}

fn pick(rig: &Rig, turn: &mut Turn) {
    let upstream = &rig.target().upstream;
    let instance = upstream.pick(&Tried::default(), turn.now, &mut turn.rng).unwrap();
    drop(black_box(InFlight::new(instance)));
}

fn metrics(rig: &Rig, _: &mut Turn) {
    rig.count_finished();
}

fn decide(rig: &Rig, turn: &mut Turn) {
    black_box(rig.decide(turn));
}

/// Decides, and counts what the gateway counts of a request that is forwarded.
fn decide_and_count(rig: &Rig, turn: &mut Turn) {
    let pin = rig.pins.pin();
    let decided = rig.decide(turn);
    let metrics = &decided.route(&pin).unwrap().metrics;
    let Verdict::Forward(forward) = decided.verdict else { return };
    let target = rig.target();
    let in_flight = metrics.enter();
    let live = target.upstream.retry_budget().request();
    let on_instance = InFlight::new(forward.instance);
    let ending = Ending::Answered(200);
    target.upstream.report(on_instance.instance(), ending.for_ejection(), turn.now);
    target.metrics.record(Some(200), TOOK);
    forward.permit.unwrap().report(ending.for_breaker(), TOOK, turn.now);
    metrics.limit_decision(decided.limited.unwrap());
    metrics.token_result(decided.token.unwrap());
    rig.count_finished();
    drop((on_instance, live, in_flight));
}

fn request(headers: &HeaderMap) -> route::Request<'_> {
    let (host, path) = ("api.example.com", "/orders/17/items");
    route::Request { method: &Method::GET, host, path, query: None, headers }
}

// === impl Rig ===

impl Rig {
    fn new() -> Self {
        tollgate::crypto::install_crypto_provider();
        let env = |_: &str| Some(SECRET.to_owned());
        let checked = config::parse("bench.toml", CONFIG, Path::new(""), &env).ok().unwrap();
        let metrics = Metrics::new(BuildInfo { version: "1.0.0", revision: "", rustc: "" });
        let snapshot = Snapshot::build(checked.config, "1".into(), &metrics, None).unwrap();
        let instance = |number: u8| registry::Instance {
            address: SocketAddr::from(([10, 0, 0, number], 80)),
            weight: 1.0,
            healthy: true,
            enabled: true,
            metadata: Default::default(),
        };
        let view: Vec<_> = (1..5).map(instance).collect();
        for served in snapshot.upstreams().values() {
            served.upstream.apply(&view, Instant::now());
        }
        let snapshot = Arc::new(snapshot);
        Self {
            pins: Pins::new(&snapshot),
            shared: ArcSwap::new(snapshot.clone()),
            snapshot,
            heads: (0..USERS).map(head).collect(),
        }
    }

    /// The head of the thread's next user, who is somebody else's next only much later.
    fn head(&self, turn: &mut Turn) -> &HeaderMap {
        turn.now += Duration::from_nanos(100);
        turn.user = (turn.user + 1) % USERS;
        self.heads.get(turn.user).unwrap()
    }

    fn target(&self) -> &tollgate::snapshot::Target {
        self.snapshot.route(0).unwrap().targets().first().unwrap()
    }

    fn decide(&self, turn: &mut Turn) -> Decided {
        let request = request(self.head(turn));
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let facts = Facts { request, client, now: turn.now, now_unix: NOW };
        decision::decide(&self.snapshot, &facts, Act::Take, &mut turn.rng, &mut ())
    }

    fn count_finished(&self) {
        self.snapshot.route(0).unwrap().metrics.record(&FinishedRequest {
            method: &Method::GET,
            status: 200,
            outcome: Outcome::Ok,
            duration: TOOK,
            overhead: Duration::from_micros(70),
            request_bytes: 0,
            response_bytes: 100,
        });
    }

    fn assert_nothing_was_lost(&self) {
        let target = self.target();
        assert_eq!(target.upstream.retry_budget().load(), (0, 0));
        let instances = target.upstream.status(Instant::now()).instances;
        assert!(instances.iter().all(|instance| instance.in_flight == 0));
    }
}

fn head(user: usize) -> HeaderMap {
    let claims = serde_json::json!({
        "iss": "https://idp.example.com/",
        "aud": "orders-api",
        "sub": format!("user-{user:06}"),
        "exp": NOW + 3_600,
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
    let host = HeaderValue::from_static("api.example.com");
    HeaderMap::from_iter([(header::HOST, host), (header::AUTHORIZATION, bearer)])
}
