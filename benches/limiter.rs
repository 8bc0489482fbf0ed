//! What one question to a rate limit costs. The aim is less than 60 ns for a caller that is known.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue};
use tollgate::{
    config::{self, LimitKey, Mode, OneOrMany, units::Rate},
    policy::rate_limit::{Key, LimitFields, RateLimit},
};

/// As many callers as are in play where there is more than one.
const CALLERS: u64 = 10_000;

const TICK: Duration = Duration::from_nanos(10);

fn limit(events: u32, per: &str, now: Instant) -> RateLimit {
    let events = NonZeroU32::new(events).unwrap_or(NonZeroU32::MIN);
    let config = config::RateLimit {
        rate: Rate { events, per: Duration::from_secs(1) },
        burst: None,
        per: OneOrMany(per.parse::<LimitKey>().into_iter().collect()),
        max_keys: NonZeroU32::new(65_536).unwrap_or(NonZeroU32::MIN),
        mode: Mode::Enforce,
    };
    RateLimit::new(&config, now)
}

/// Callers spread over the table as their hashes are.
fn key(number: u64) -> Key {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).into()
}

fn known_callers(c: &mut Criterion) {
    let mut now = Instant::now();
    let mut group = c.benchmark_group("known");
    let open = limit(1_000_000_000, "client", now);
    group.bench_function("one caller, allowed", |b| {
        b.iter(|| {
            now += TICK;
            open.take(black_box(key(1)), now)
        });
    });
    let mut number = 0;
    group.bench_function("10,000 callers, allowed", |b| {
        b.iter(|| {
            now += TICK;
            number = (number + 1) % CALLERS;
            open.take(key(number), now)
        });
    });
    let shut = limit(1, "client", now);
    shut.take(key(1), now);
    group.bench_function("refused", |b| b.iter(|| shut.take(black_box(key(1)), now)));
    group.bench_function("peeked", |b| b.iter(|| shut.peek(black_box(key(1)), now)));
    group.finish();
}

fn new_callers(c: &mut Criterion) {
    let mut now = Instant::now();
    let mut random = fastrand::Rng::with_seed(1);
    let mut group = c.benchmark_group("new");
    let open = limit(1_000_000_000, "client", now);
    group.bench_function("buckets are full again", |b| {
        b.iter(|| {
            now += TICK;
            open.take(random.u64(..).into(), now)
        });
    });
    let flooded = limit(1, "client", now);
    group.bench_function("all buckets are in use", |b| {
        b.iter(|| flooded.take(random.u64(..).into(), now));
    });
    group.finish();
}

fn keys_and_fields(c: &mut Criterion) {
    let now = Instant::now();
    let user = HeaderValue::from_static("0190a5c8-7d3e-7c1b-9f4a-2b6d8e0f1a3c");
    let headers = HeaderMap::from_iter([(http::header::FROM, user)]);
    let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    for (name, per, client) in [
        ("key/IPv4", "client", v4),
        ("key/IPv6", "client", v6),
        ("key/header of 36 bytes", "header.from", v4),
    ] {
        let limit = limit(1, per, now);
        c.bench_function(name, |b| {
            b.iter(|| limit.key(black_box(client), black_box(&headers), |_| None));
        });
    }
    let limit = limit(100, "client", now);
    let fields = LimitFields::new("orders", &limit);
    let verdict = limit.take(key(1), now);
    c.bench_function("field RateLimit", |b| b.iter(|| fields.state(black_box(&verdict))));
}

criterion_group!(benches, known_callers, new_callers, keys_and_fields);
criterion_main!(benches);
