use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use proptest::prelude::*;

use super::{
    seen::{LINGER, MOST_GONE},
    *,
};
use crate::config::units::Interval;

fn address(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 8080))
}

fn told(n: usize, weight: f64) -> registry::Instance {
    let metadata = BTreeMap::new();
    registry::Instance { address: address(n), weight, healthy: true, enabled: true, metadata }
}

/// An upstream, its clock and its chance.
struct Bench {
    upstream: Upstream,
    now: Instant,
    rng: fastrand::Rng,
}

impl Bench {
    fn new(view: &[registry::Instance]) -> Self {
        let config = config::Upstream {
            ejection: config::Ejection {
                consecutive_failures: 3,
                base_time: Interval::secs(10),
                ..Default::default()
            },
            ..Default::default()
        };
        let now = Instant::now();
        let upstream = Upstream::new(Arc::new(config), now).unwrap();
        upstream.apply(view, now);
        Self { upstream, now, rng: fastrand::Rng::with_seed(5) }
    }

    fn pick(&mut self, tried: &Tried) -> Option<Arc<Instance>> {
        self.upstream.pick(tried, self.now, &mut self.rng)
    }

    /// Who is picked at all, in a thousand picks.
    fn picked(&mut self) -> BTreeSet<SocketAddr> {
        let picks = (0..1000).filter_map(|_| self.pick(&Tried::default()));
        picks.map(|instance| instance.address).collect()
    }

    fn instance(&self, n: usize) -> Arc<Instance> {
        self.upstream.table.load().member(&address(n)).cloned().unwrap()
    }

    fn fail(&self, n: usize, times: usize) {
        let instance = self.instance(n);
        (0..times).for_each(|_| self.upstream.report(&instance, Outcome::Failure, self.now));
    }

    fn readiness(&self, n: usize) -> Readiness {
        self.instance(n).readiness(self.now)
    }
}

fn addresses(of: impl IntoIterator<Item = usize>) -> BTreeSet<SocketAddr> {
    of.into_iter().map(address).collect()
}

#[test]
fn nothing_to_pick_is_none() {
    let mut bench = Bench::new(&[]);
    assert!(bench.pick(&Tried::default()).is_none());
    bench.upstream.apply(&[told(1, 0.0), told(2, 0.0)], bench.now);
    assert!(bench.pick(&Tried::default()).is_none());
}

#[test]
fn a_bad_payload_is_cleaned_and_counted() {
    let mut portless = told(9, 1.0);
    portless.address.set_port(0);
    let disabled = registry::Instance { enabled: false, ..told(2, 9.0) };
    let sick = registry::Instance { healthy: false, ..told(3, 9.0) };
    let view =
        [portless, disabled, told(2, 1.0), told(2, 3.0), sick, told(3, f64::NAN), told(4, 1e9)];
    let mut bench = Bench::new(&[]);
    let applied = bench.upstream.apply(&view, bench.now);
    let expected =
        Applied { instances: 3, eligible: 3, duplicates: 3, odd_weights: 1, without_port: 1 };
    assert_eq!(applied, expected);
    let weight = |n| bench.instance(n).weight.get();
    assert_eq!([weight(2), weight(3), weight(4)], [3.0, 1.0, 10_000.0]);
    assert!((2..=4).all(|n| bench.readiness(n) == Readiness::Ready));
    assert!(bench.picked().contains(&address(4)));
}

#[test]
fn what_the_operator_disabled_is_never_used_not_even_in_panic() {
    let disabled = registry::Instance { enabled: false, ..told(1, 1.0) };
    let sick = |n| registry::Instance { healthy: false, ..told(n, 1.0) };
    let mut bench = Bench::new(&[disabled.clone(), told(2, 0.0), sick(3), sick(4)]);
    assert!(bench.upstream.status(bench.now).panic);
    assert_eq!(bench.picked(), addresses([3, 4]));
    assert_eq!(bench.readiness(2), Readiness::Disabled);
    assert_eq!(bench.readiness(3), Readiness::Unhealthy);
    bench.upstream.apply(&[disabled, told(2, 0.0)], bench.now);
    assert_eq!(bench.picked(), addresses([]));
}

#[test]
fn unhealthy_instances_are_used_below_the_threshold_only() {
    let sick = |n| registry::Instance { healthy: false, ..told(n, 1.0) };
    let mut bench = Bench::new(&[told(1, 1.0), told(2, 1.0), sick(3), sick(4)]);
    assert_eq!(bench.picked(), addresses([1, 2]));
    bench.upstream.apply(&[told(1, 1.0), sick(2), sick(3), sick(4)], bench.now);
    assert_eq!(bench.picked(), addresses(1..=4));
}

#[test]
fn an_ejected_instance_is_left_out_until_its_time_is_over() {
    let mut bench = Bench::new(&[told(1, 1.0), told(2, 1.0), told(3, 1.0)]);
    bench.fail(1, 2);
    assert_eq!(bench.picked(), addresses(1..=3));
    bench.fail(1, 1);
    assert_eq!(bench.readiness(1), Readiness::Ejected);
    assert_eq!(bench.picked(), addresses(2..=3));
    assert_eq!(bench.upstream.ejections(), 1);
    bench.now += Duration::from_secs(10) - Duration::from_nanos(1);
    assert_eq!(bench.picked(), addresses(2..=3));
    bench.now += Duration::from_nanos(1);
    assert_eq!(bench.picked(), addresses(1..=3));
    assert_eq!(bench.upstream.table.load().ejected(), 0);
}

#[test]
fn ejections_stop_at_their_share() {
    let mut bench = Bench::new(&[1, 2, 3, 4].map(|n| told(n, 1.0)));
    (1..=4).for_each(|n| bench.fail(n, 10));
    assert_eq!(bench.picked(), addresses([3, 4]));
    bench.now += Duration::from_secs(10);
    bench.fail(3, 1);
    assert_eq!(bench.picked(), addresses([1, 2, 4]), "the third was due and had no room");
    let mut alone = Bench::new(&[told(1, 1.0)]);
    alone.fail(1, 100);
    assert_eq!(alone.picked(), addresses([1]));
}

#[test]
fn ejection_and_ill_health_together_panic() {
    let sick = |n| registry::Instance { healthy: false, ..told(n, 1.0) };
    let mut bench = Bench::new(&[told(1, 1.0), told(2, 1.0), sick(3)]);
    bench.fail(1, 3);
    assert_eq!(bench.picked(), addresses([1, 2, 3]));
    bench.now += Duration::from_secs(10);
    assert_eq!(bench.picked(), addresses([1, 2]));
}

#[test]
fn what_was_seen_outlives_views_and_edits() {
    let mut bench = Bench::new(&[told(1, 1.0), told(2, 1.0)]);
    let held = InFlight::new(bench.instance(1));
    bench.fail(1, 3);
    bench.upstream.apply(&[told(1, 7.0), told(2, 1.0)], bench.now);
    assert_eq!(bench.readiness(1), Readiness::Ejected);
    assert_eq!(bench.instance(1).in_flight(), 1);
    bench.upstream.apply(&[told(2, 1.0)], bench.now);
    bench.upstream.apply(&[told(1, 1.0), told(2, 1.0)], bench.now);
    assert_eq!(bench.picked(), addresses([2]));
    drop(held);
    assert_eq!(bench.instance(1).in_flight(), 0);

    let edited = Upstream::new(bench.upstream.config.clone(), bench.now).unwrap();
    edited.inherit(&bench.upstream, bench.now);
    edited.apply(&[told(1, 1.0), told(2, 1.0)], bench.now);
    bench.upstream = edited;
    assert_eq!(bench.picked(), addresses([2]));
}

#[test]
fn an_unchanged_instance_is_not_built_again() {
    let bench = Bench::new(&[told(1, 1.0), told(2, 1.0)]);
    let (one, two) = (bench.instance(1), bench.instance(2));
    bench.upstream.apply(&[told(1, 1.0), told(2, 2.0)], bench.now);
    assert!(Arc::ptr_eq(&one, &bench.instance(1)));
    assert!(!Arc::ptr_eq(&two, &bench.instance(2)));
}

#[test]
fn who_is_gone_is_forgotten_in_time_and_in_number() {
    let mut bench = Bench::new(&[told(1, 1.0), told(2, 1.0)]);
    bench.upstream.apply(&[told(2, 1.0)], bench.now);
    bench.now += LINGER - Duration::from_nanos(1);
    bench.upstream.apply(&[told(2, 1.0)], bench.now);
    assert_eq!(bench.upstream.seen.lock().len(), 2);
    bench.now += Duration::from_nanos(1);
    bench.upstream.apply(&[told(2, 1.0)], bench.now);
    assert_eq!(bench.upstream.seen.lock().len(), 1);
    for round in 0..40 {
        let view: Vec<_> = (0..1000)
            .map(|n| {
                let mut one = told(n, 1.0);
                one.address.set_port(round + 1);
                one
            })
            .collect();
        bench.now += Duration::from_secs(1);
        bench.upstream.apply(&view, bench.now);
    }
    let remembered = bench.upstream.seen.lock().len();
    assert!((10_000..=MOST_GONE + 1000).contains(&remembered), "{remembered}");
}

#[test]
fn picks_and_views_and_reports_race() {
    let bench = Bench::new(&[1, 2, 3].map(|n| told(n, 1.0)));
    let upstream = &bench.upstream;
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let mut now = bench.now;
            let mut rng = fastrand::Rng::with_seed(seed);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    now += Duration::from_millis(1);
                    let instance = upstream.pick(&Tried::default(), now, &mut rng).unwrap();
                    upstream.report(&instance, Outcome::Failure, now);
                }
            });
        }
        for round in 1..500 {
            upstream.apply(&[1, 2, 3].map(|n| told(n, f64::from(round))), bench.now);
        }
    });
    let table = upstream.table.load();
    let end = bench.now + Duration::from_secs(3600);
    table.recount(end);
    assert_eq!((table.ejected(), table.is_panicking()), (0, false));
    assert!(upstream.ejections() > 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn a_try_never_repeats_and_every_usable_instance_is_tried(
        weights in proptest::collection::vec(prop_oneof![Just(0.0), 0.001..1000.0, Just(f64::NAN)], 0..9),
        healthy in any::<u16>(),
        enabled in any::<u16>(),
        ejected in any::<u16>(),
        seed in any::<u64>(),
    ) {
        let view: Vec<_> = weights.iter().enumerate().map(|(n, weight)| registry::Instance {
            healthy: healthy >> n & 1 == 1,
            enabled: enabled >> n & 1 == 1,
            ..told(n, *weight)
        }).collect();
        let mut bench = Bench::new(&view);
        bench.rng.seed(seed);
        (0..view.len()).filter(|n| ejected >> n & 1 == 1).for_each(|n| bench.fail(n, 3));
        let panic = bench.upstream.status(bench.now).panic;
        let usable: BTreeSet<_> = (0..view.len()).filter(|n| match bench.readiness(*n) {
            Readiness::Disabled => false,
            Readiness::Ejected | Readiness::Unhealthy => panic,
            Readiness::Ready => true,
        }).collect();
        let (mut tried, mut seen) = (Tried::default(), BTreeSet::new());
        while let Some(instance) = bench.pick(&tried) {
            prop_assert!(seen.insert(instance.address), "tried twice");
            tried.insert(instance.address);
        }
        prop_assert_eq!(seen, addresses(usable));
    }
}
