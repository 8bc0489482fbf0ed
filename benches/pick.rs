//! What it costs to pick an instance: alone, from an upstream, and with some of the instances ejected or tried.

#![allow(clippy::unwrap_used, reason = "a bench reports by panicking")]

use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Instant};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::{
    config, registry,
    upstream::{Balancer, InFlight, Outcome, Tried, Upstream},
};

const SIZES: [u32; 3] = [3, 100, 10_000];

fn view(size: u32) -> Vec<registry::Instance> {
    let instance = |n: u32| registry::Instance {
        address: SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 8080)),
        weight: f64::from(n % 5 + 1),
        healthy: true,
        enabled: true,
        metadata: [(String::from("zone"), format!("z{}", n % 3))].into(),
    };
    (0..size).map(instance).collect()
}

fn upstream(size: u32, now: Instant) -> Upstream {
    let upstream = Upstream::new(Arc::new(config::Upstream::default()), now).unwrap();
    upstream.apply(&view(size), now);
    upstream
}

fn pick(c: &mut Criterion) {
    let now = Instant::now();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut group = c.benchmark_group("pick");
    for size in SIZES {
        let balancer = Balancer::new((0..size).map(|n| f64::from(n % 5 + 1))).unwrap();
        group.bench_function(BenchmarkId::new("balancer", size), |b| {
            b.iter(|| balancer.pick(rng.u64(..)));
        });
        let upstream = upstream(size, now);
        let none = Tried::default();
        group.bench_function(BenchmarkId::new("upstream", size), |b| {
            b.iter(|| upstream.pick(&none, now, &mut rng));
        });
        group.bench_function(BenchmarkId::new("upstream_in_flight", size), |b| {
            b.iter(|| upstream.pick(&none, now, &mut rng).map(InFlight::new));
        });
        let mut tried = Tried::default();
        tried.insert(upstream.pick(&none, now, &mut rng).unwrap().address);
        group.bench_function(BenchmarkId::new("second_try", size), |b| {
            b.iter(|| upstream.pick(&tried, now, &mut rng));
        });
        // A third of the instances, which the default cap leaves room for.
        for _ in 0..size / 3 {
            let instance = upstream.pick(&none, now, &mut rng).unwrap();
            (0..5).for_each(|_| upstream.report(&instance, Outcome::Failure, now));
        }
        group.bench_function(BenchmarkId::new("third_ejected", size), |b| {
            b.iter(|| upstream.pick(&none, now, &mut rng));
        });
    }
    group.finish();
}

fn apply(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("apply");
    for size in SIZES {
        let view = view(size);
        group.bench_function(BenchmarkId::new("new", size), |b| {
            let empty = || upstream(0, now);
            b.iter_batched(empty, |upstream| upstream.apply(&view, now), BatchSize::LargeInput);
        });
        let upstream = upstream(size, now);
        group.bench_function(BenchmarkId::new("unchanged", size), |b| {
            b.iter(|| black_box(upstream.apply(&view, now)));
        });
    }
    group.finish();
}

criterion_group!(benches, pick, apply);
criterion_main!(benches);
