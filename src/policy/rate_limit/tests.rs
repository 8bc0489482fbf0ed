//! The promises of a limit: against a second, simpler model of a bucket, from many threads, and under a flood of keys.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{FOREVER, Key, RateLimit, Verdict};
use crate::config::{self, LimitKey, Mode, OneOrMany};

/// A bucket as one explains it: it holds time, an admission costs an interval of it.
struct Model {
    interval: u128,
    capacity: u128,
    level: u128,
    last: u128,
}

impl Model {
    fn new(interval: u64, burst: u32) -> Self {
        let capacity = u128::from(interval) * u128::from(burst);
        Self { interval: interval.into(), capacity, level: capacity, last: 0 }
    }

    fn take(&mut self, now: u64) -> Verdict {
        self.level = self.capacity.min(self.level + u128::from(now) - self.last);
        self.last = now.into();
        let allowed = self.level >= self.interval;
        if allowed {
            self.level -= self.interval;
        }
        let next = if allowed { self.level / self.interval + 1 } else { 1 } * self.interval;
        Verdict {
            allowed,
            remaining: (self.level / self.interval) as u32,
            reset: Duration::from_nanos((next - self.level) as u64),
        }
    }
}

pub(super) fn config(rate: &str, burst: u32, max_keys: u32) -> config::RateLimit {
    config::RateLimit {
        rate: rate.parse().unwrap(),
        burst: burst.try_into().ok(),
        per: OneOrMany(vec![LimitKey::Client]),
        max_keys: max_keys.try_into().unwrap(),
        mode: Mode::Enforce,
    }
}

/// One request each `interval` nanoseconds.
fn limit(interval: u64, burst: u32, max_keys: u32) -> (RateLimit, Instant) {
    let mut config = config("1/s", burst, max_keys);
    config.rate.per = Duration::from_nanos(interval);
    let epoch = Instant::now();
    (RateLimit::new(&config, epoch), epoch)
}

fn key(number: u64) -> Key {
    // Spread over the sets as hashes are.
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).into()
}

fn nanos(time: u64) -> Duration {
    Duration::from_nanos(time)
}

/// Bursts, intervals and the waits between requests, of the order of the interval.
fn scenes() -> impl Strategy<Value = (u64, u32, Vec<u64>)> {
    let interval = prop_oneof![1..5_u64, 1..1_000_000_u64, 1..3_600_000_000_000_u64];
    (interval, 1..20_u32).prop_flat_map(|(interval, burst)| {
        let wait = prop_oneof![Just(0), Just(interval), 0..=2 * interval, 0..=30 * interval];
        (Just(interval), Just(burst), prop::collection::vec(wait, 1..150))
    })
}

fn times(waits: &[u64]) -> Vec<u64> {
    waits
        .iter()
        .scan(0, |now, wait| {
            *now += wait;
            Some(*now)
        })
        .collect()
}

proptest! {
    #[test]
    fn a_limit_says_what_the_model_says((interval, burst, waits) in scenes()) {
        let (limit, epoch) = limit(interval, burst, 100);
        let mut model = Model::new(interval, burst);
        for now in times(&waits) {
            prop_assert_eq!(limit.take(key(1), epoch + nanos(now)), model.take(now));
        }
    }

    #[test]
    fn no_window_admits_more_than_burst_and_rate((interval, burst, waits) in scenes(), back in 0..5_u64) {
        // Neither an earlier clock nor other keys that push it out of the table gain it anything.
        let (limit, epoch) = limit(interval, burst, 1);
        let mut admitted = Vec::new();
        for (step, now) in times(&waits).into_iter().enumerate() {
            limit.take(key(step as u64 % 3), epoch + nanos(now));
            let now = if step % 2 == 0 { now } else { now.saturating_sub(back * interval) };
            if limit.take(key(9), epoch + nanos(now)).allowed {
                admitted.push(now);
            }
        }
        admitted.sort_unstable();
        for (i, from) in admitted.iter().enumerate() {
            for (j, until) in admitted.iter().enumerate().skip(i) {
                let most = u64::from(burst) + (until - from) / interval;
                prop_assert!(((j - i) as u64) < most);
            }
        }
    }

    #[test]
    fn who_asks_at_the_rate_is_never_refused(interval in 1..3_600_000_000_000_u64, burst in 1..20_u32) {
        let (limit, epoch) = limit(interval, burst, 100);
        for step in 0..100 {
            prop_assert!(limit.take(key(1), epoch + nanos(step * interval)).allowed);
        }
    }

    #[test]
    fn the_wait_after_a_no_is_exact((interval, burst, waits) in scenes()) {
        let (limit, epoch) = limit(interval, burst, 100);
        for now in times(&waits).into_iter().map(|now| epoch + nanos(now)) {
            let no = limit.take(key(1), now);
            if !no.allowed {
                prop_assert!(!limit.peek(key(1), now + no.reset - nanos(1)).allowed);
                prop_assert!(limit.peek(key(1), now + no.reset).allowed);
            }
        }
    }

    #[test]
    fn peeks_and_refusals_change_nothing((interval, burst, waits) in scenes()) {
        let (asked, epoch) = limit(interval, burst, 100);
        let (left_alone, _) = limit(interval, burst, 100);
        for now in times(&waits) {
            let at = epoch + nanos(now);
            let peeked = asked.peek(key(1), at);
            let taken = asked.take(key(1), at);
            prop_assert_eq!(peeked, taken);
            if taken.allowed {
                prop_assert_eq!(left_alone.take(key(1), left_alone.epoch + nanos(now)), taken);
            }
        }
    }

    #[test]
    fn no_time_rate_or_burst_overflows(
        events in 1..=u32::MAX,
        per in any::<Duration>(),
        burst in 1..=u32::MAX,
        times in prop::collection::vec(any::<Duration>(), 1..20),
    ) {
        let mut config = config("1/s", burst, 10);
        config.rate.events = events.try_into().unwrap();
        config.rate.per = per.max(nanos(1));
        let epoch = Instant::now();
        let limit = RateLimit::new(&config, epoch);
        for time in times {
            let Some(now) = epoch.checked_add(time) else { continue };
            let verdict = limit.take(key(1), now);
            prop_assert!(verdict.remaining < limit.burst());
            prop_assert!(verdict.reset <= nanos(FOREVER + FOREVER));
        }
    }
}

#[test]
fn time_that_goes_back_is_harmless() {
    let (limit, epoch) = limit(10, 2, 100);
    let later = epoch + nanos(100);
    assert!(limit.take(key(1), later).allowed);
    assert!(limit.take(key(1), later).allowed);
    let before = limit.take(key(1), epoch);
    assert_eq!(before, Verdict { allowed: false, remaining: 0, reset: nanos(110) });
    assert_eq!(limit.take(key(1), epoch.checked_sub(nanos(50)).unwrap()), before);
    assert!(limit.take(key(1), later + nanos(10)).allowed);
}

/// How many of 16 threads' requests, all at once, are let pass.
fn admitted_at_once(limit: &RateLimit, now: Instant, keys: impl Fn(usize) -> Key + Sync) -> u32 {
    let (admitted, start) = (AtomicU32::new(0), Barrier::new(16));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                start.wait();
                for step in 0..200 {
                    admitted.fetch_add(limit.take(keys(step), now).allowed.into(), Relaxed);
                }
            });
        }
    });
    admitted.into_inner()
}

#[test]
fn threads_of_one_key_are_admitted_exactly_the_burst() {
    for burst in [1, 7, 1000] {
        let (limit, epoch) = limit(1_000_000, burst, 100);
        assert_eq!(admitted_at_once(&limit, epoch, |_| key(1)), burst);
        assert_eq!(limit.keys(), 1);
    }
}

#[test]
fn threads_of_a_full_set_are_admitted_exactly_what_its_buckets_hold() {
    // Seven buckets and the overflow bucket, for a hundred keys.
    let (limit, epoch) = limit(1_000_000, 5, 7);
    assert_eq!(admitted_at_once(&limit, epoch, |step| key(step as u64 % 100)), 8 * 5);
    assert_eq!((limit.keys(), limit.evictions()), (7, 0));
    // The requests of the 93 keys without a bucket, in two rounds of each thread.
    assert_eq!(limit.crowded(), 16 * 2 * 93);
}

#[test]
fn threads_that_evict_each_other_never_gain_a_burst() {
    // Each round finds all seven buckets full and owned by other keys; a key returns in every third round.
    let (limit, epoch) = limit(1_000, 3, 7);
    for round in 0..300 {
        let now = epoch + nanos(3_000 * round);
        let first = round % 3 * 7;
        let admitted = admitted_at_once(&limit, now, |step| key(first + step as u64 % 7));
        assert_eq!(admitted, 7 * 3, "round {round}");
    }
    assert_eq!((limit.keys(), limit.evictions(), limit.crowded()), (7, 299 * 7, 0));
}

#[test]
fn a_key_that_is_evicted_while_it_asks_gains_nothing() {
    // One bucket that is full at each tick, one thread that takes it away and one that spends it.
    const TICKS: u64 = 20_000;
    let (limit, epoch) = limit(1, 1, 1);
    let (clock, asked) = (AtomicU64::new(1), AtomicU64::new(0));
    let mut admitted = vec![0_u8; TICKS as usize];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for tick in 1..TICKS {
                limit.take(key(2), epoch + nanos(tick));
                // The other gets to ask once more in this tick.
                let before = asked.load(Relaxed);
                while asked.load(Relaxed) < before + 2 {
                    std::thread::yield_now();
                }
                clock.store(tick + 1, Relaxed);
            }
        });
        while let tick = clock.load(Relaxed)
            && tick < TICKS
        {
            admitted[tick as usize] += u8::from(limit.take(key(1), epoch + nanos(tick)).allowed);
            asked.fetch_add(1, Relaxed);
        }
    });
    assert!(admitted.contains(&1));
    assert!(admitted.iter().all(|count| *count <= 1));
}

#[test]
fn an_evicted_key_with_an_earlier_clock_finds_its_bucket_as_it_was() {
    let (limit, epoch) = limit(10, 1, 1);
    assert!(limit.take(key(1), epoch + nanos(100)).allowed);
    assert!(limit.take(key(2), epoch + nanos(110)).allowed);
    assert_eq!(limit.evictions(), 1);
    assert_eq!(limit.take(key(1), epoch + nanos(105)).reset, nanos(5));
    assert!(limit.take(key(1), epoch + nanos(110)).allowed);
}

#[test]
fn a_flood_of_keys_stays_within_capacity_and_frees_nobody() {
    // The victim's bucket takes longer to fill than the flood lasts: 1 M requests, a microsecond apart.
    let (limit, epoch) = limit(1_000_000_000, 2, 1000);
    let victim = key(u64::MAX / 3);
    assert!(limit.take(victim, epoch).allowed);
    assert!(limit.take(victim, epoch).allowed);
    let mut random = fastrand::Rng::with_seed(1);
    for step in 0..1_000_000 {
        let now = epoch + nanos(step * 1_000);
        limit.take(random.u64(..).into(), now);
        if step % 100 == 0 && step > 0 {
            assert!(!limit.take(victim, now).allowed);
        }
    }
    assert_eq!(limit.keys(), 1000);
    assert!(limit.crowded() > 0);
    assert_eq!(limit.evictions(), 0, "no bucket was full again");
}

#[test]
fn full_buckets_make_room_and_keys_come_back_whole() {
    let (limit, epoch) = limit(1_000, 1, 100);
    for step in 0..100_000 {
        // At two intervals between requests every bucket but one is full at any time.
        assert!(limit.take(key(step), epoch + nanos(step * 2_000)).allowed);
    }
    assert_eq!(limit.keys(), 100);
    assert_eq!(limit.evictions(), 100_000 - 100);
    assert_eq!(limit.crowded(), 0);
}

#[test]
fn a_key_that_finds_no_place_starts_from_what_is_shared() {
    let (limit, epoch) = limit(1_000, 2, 1);
    assert!(limit.take(key(1), epoch).allowed);
    // The only bucket is in use: the others share one, and whoever moves into a bucket of its own brings the debt along.
    assert!(limit.take(key(2), epoch).allowed);
    assert!(limit.take(key(3), epoch).allowed);
    assert!(!limit.take(key(2), epoch).allowed);
    let free = epoch + nanos(1_000);
    assert!(limit.take(key(2), free).allowed);
    assert_eq!(limit.evictions(), 1);
    assert!(!limit.take(key(2), free).allowed);
}

#[test]
fn capacity_is_as_configured() {
    for max_keys in [1, 6, 7, 8, 100, 1000] {
        let (limit, epoch) = limit(1_000_000, 1, max_keys);
        for number in 0..20 * u64::from(max_keys) {
            limit.take(key(number), epoch);
        }
        assert_eq!(limit.keys(), u64::from(max_keys));
    }
}

#[test]
fn a_limit_is_the_same_unless_its_buckets_would_differ() {
    let base = config("10/s", 5, 10);
    let limit = RateLimit::new(&base, Instant::now());
    let check = |same, change: fn(&mut config::RateLimit)| {
        let mut config = base.clone();
        change(&mut config);
        assert_eq!(limit.same(&config), same, "{config:?}");
    };
    check(true, |_| ());
    check(true, |config| config.mode = Mode::Shadow);
    check(true, |config| config.rate = "20/2s".parse().unwrap());
    check(false, |config| config.rate = "11/s".parse().unwrap());
    check(false, |config| config.burst = None);
    check(false, |config| config.max_keys = 11.try_into().unwrap());
    check(false, |config| config.per = OneOrMany(vec![LimitKey::Route]));
}

#[test]
fn burst_is_the_events_of_the_rate_by_default() {
    let mut config = config("30/m", 1, 1);
    config.burst = None;
    let limit = RateLimit::new(&config, Instant::now());
    assert_eq!((limit.burst(), limit.window()), (30, Duration::from_secs(60)));
}
