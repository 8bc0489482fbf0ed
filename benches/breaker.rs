//! What a circuit breaker costs a call: a permit and its report, alone and with other threads at the same breaker.

#![allow(clippy::unwrap_used, reason = "a bench reports by panicking")]

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use tollgate::{
    config::{self, BreakerWindow, units::Interval},
    upstream::{CircuitBreaker, Outcome},
};

const TOOK: Duration = Duration::from_millis(3);

fn breaker(window: BreakerWindow, now: Instant) -> Arc<CircuitBreaker> {
    let config = config::CircuitBreaker { window, ..Default::default() };
    Arc::new(CircuitBreaker::new(&config, now))
}

fn call(breaker: &Arc<CircuitBreaker>, outcome: Outcome, now: Instant) {
    if let Ok(permit) = breaker.try_acquire(black_box(now)) {
        permit.report(outcome, TOOK, now);
    }
}

fn windows() -> [(&'static str, BreakerWindow); 2] {
    let hundred = NonZeroU32::new(100).unwrap();
    [("calls", BreakerWindow::Calls(hundred)), ("time", BreakerWindow::Time(Interval::secs(10)))]
}

fn alone(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("breaker");
    for (name, window) in windows() {
        let closed = breaker(window, now);
        group.bench_function(format!("closed/{name}"), |b| {
            b.iter(|| call(&closed, Outcome::Success, now));
        });
        let mixed = breaker(window, now);
        let mut n = 0u32;
        group.bench_function(format!("one_in_four_fails/{name}"), |b| {
            b.iter(|| {
                n = n.wrapping_add(1);
                let failed = n.is_multiple_of(4);
                call(&mixed, if failed { Outcome::Failure } else { Outcome::Success }, now);
            });
        });
    }
    let open = breaker(windows()[0].1, now);
    (0..100).for_each(|_| call(&open, Outcome::Failure, now));
    group.bench_function("open", |b| b.iter(|| call(&open, Outcome::Success, now)));
    group.finish();
}

/// The measured thread among fifteen others that do nothing but call: far worse than any traffic.
fn crowded(c: &mut Criterion) {
    let now = Instant::now();
    let mut group = c.benchmark_group("breaker");
    for (name, window) in windows() {
        let breaker = breaker(window, now);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let others = || {
                while !done.load(Relaxed) {
                    call(&breaker, Outcome::Success, now);
                }
            };
            (0..15).for_each(|_| drop(scope.spawn(others)));
            group.bench_function(format!("sixteen_threads/{name}"), |b| {
                b.iter(|| call(&breaker, Outcome::Success, now));
            });
            done.store(true, Relaxed);
        });
    }
    group.finish();
}

criterion_group!(benches, alone, crowded);
criterion_main!(benches);
