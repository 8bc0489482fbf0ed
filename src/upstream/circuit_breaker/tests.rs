use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Barrier, atomic::AtomicUsize},
    thread,
};

use proptest::prelude::*;

use super::*;
use crate::config::{
    BreakerWindow,
    units::{Interval, Percent},
};

const OPEN_FOR: Duration = Duration::from_secs(5);
const QUICK: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_secs(2);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn config(window: BreakerWindow, minimum: u32, half_open: u32) -> config::CircuitBreaker {
    config::CircuitBreaker {
        failure_rate: Percent(0.5),
        slow_call_rate: Some(Percent(0.75)),
        slow_call: Interval(SLOW),
        minimum_calls: count(minimum),
        window,
        open_for: Interval(OPEN_FOR),
        half_open_calls: count(half_open),
        ..Default::default()
    }
}

fn calls(n: u32) -> BreakerWindow {
    BreakerWindow::Calls(count(n))
}

/// A breaker and a clock that only moves when told.
struct Bench {
    breaker: Arc<CircuitBreaker>,
    now: Instant,
}

impl Bench {
    fn new(config: &config::CircuitBreaker) -> Self {
        let now = Instant::now();
        Self { breaker: Arc::new(CircuitBreaker::new(config, now)), now }
    }

    fn acquire(&self) -> Result<Permit, Open> {
        self.breaker.try_acquire(self.now)
    }

    fn report(&self, permit: Permit, outcome: Outcome) {
        permit.report(outcome, QUICK, self.now);
    }

    /// One call for each letter: `.` succeeds, `x` fails, `s` is slow, `-` is neutral.
    fn call(&self, outcomes: &str) -> State {
        for letter in outcomes.chars() {
            let permit = self.acquire().unwrap();
            match letter {
                '.' => permit.report(Outcome::Success, QUICK, self.now),
                'x' => permit.report(Outcome::Failure, QUICK, self.now),
                's' => permit.report(Outcome::Success, SLOW, self.now),
                _ => permit.report(Outcome::Neutral, SLOW, self.now),
            }
        }
        self.breaker.state()
    }

    fn advance(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn no_rate_is_judged_below_the_minimum() {
    let bench = Bench::new(&config(calls(10), 4, 2));
    assert_eq!(bench.call("xxx"), State::Closed);
    assert_eq!(bench.call("x"), State::Open);
    assert_eq!(bench.acquire().unwrap_err(), Open { retry_after: OPEN_FOR });
}

#[test]
fn equality_opens_whichever_call_completes_it() {
    assert_eq!(Bench::new(&config(calls(10), 4, 2)).call("x..x"), State::Open);
    assert_eq!(Bench::new(&config(calls(10), 4, 2)).call("xx.."), State::Open);
    assert_eq!(Bench::new(&config(calls(10), 4, 2)).call("x..."), State::Closed);
    for percent in 1..=100u32 {
        let mut config = config(calls(100), 100, 1);
        config.failure_rate = format!("{percent}%").parse().unwrap();
        let bench = Bench::new(&config);
        let below = "x".repeat(percent as usize - 1) + &".".repeat(100 - percent as usize);
        assert_eq!(bench.call(&below), State::Closed, "{percent}");
        assert_eq!(bench.call("x"), State::Open, "{percent}");
    }
}

#[test]
fn slow_calls_open_at_their_own_rate() {
    assert_eq!(Bench::new(&config(calls(4), 4, 2)).call("sss."), State::Open);
    assert_eq!(Bench::new(&config(calls(4), 4, 2)).call("ss.."), State::Closed);
    let never = config::CircuitBreaker { slow_call_rate: None, ..config(calls(4), 4, 2) };
    assert_eq!(Bench::new(&never).call("ssssssss"), State::Closed);
}

#[test]
fn neutral_calls_do_not_count() {
    let bench = Bench::new(&config(calls(10), 2, 2));
    assert_eq!(bench.call("----x--"), State::Closed);
    assert_eq!(bench.call("x"), State::Open);
}

#[test]
fn a_minimum_above_the_window_is_the_window() {
    assert_eq!(Bench::new(&config(calls(2), 100, 2)).call("xx"), State::Open);
    assert_eq!(Bench::new(&config(calls(1), 1, 1)).call("...x"), State::Open);
}

#[test]
fn only_the_last_calls_count() {
    let bench = Bench::new(&config(calls(4), 4, 2));
    assert_eq!(bench.call("...x...x...x...x...x"), State::Closed);
    assert_eq!(bench.call("x"), State::Open);
}

#[test]
fn a_time_window_forgets_second_by_second() {
    let mut bench = Bench::new(&config(BreakerWindow::Time(Interval::secs(3)), 4, 2));
    assert_eq!(bench.call("xxx"), State::Closed);
    bench.advance(Duration::from_secs(3));
    assert_eq!(bench.call("x"), State::Closed);
    bench.advance(Duration::from_secs(2));
    assert_eq!(bench.call("xx"), State::Closed);
    assert_eq!(bench.call("x"), State::Open);
}

#[test]
fn a_time_window_outlives_a_long_silence() {
    let mut bench = Bench::new(&config(BreakerWindow::Time(Interval::secs(3)), 4, 2));
    bench.call("xxx");
    bench.advance(Duration::from_secs(u64::from(u32::MAX)));
    assert_eq!(bench.call("x"), State::Closed);
    assert_eq!(bench.call("xxx"), State::Open);
}

#[test]
fn trials_close_it_or_open_it_again() {
    let mut bench = Bench::new(&config(calls(4), 4, 3));
    bench.call("xxxx");
    bench.advance(OPEN_FOR - QUICK);
    assert_eq!(bench.breaker.peek(bench.now), Err(Open { retry_after: QUICK }));
    assert_eq!(bench.acquire().unwrap_err(), Open { retry_after: QUICK });
    bench.advance(QUICK);
    assert_eq!(bench.breaker.peek(bench.now), Ok(()));
    assert_eq!(bench.breaker.state(), State::Open);
    assert_eq!(bench.call("x"), State::HalfOpen);
    assert_eq!(bench.call(".x"), State::Open);
    bench.advance(OPEN_FOR);
    assert_eq!(bench.call(".x."), State::Closed);
    assert_eq!(bench.call("xxx"), State::Closed, "the window begins empty");
    assert_eq!(bench.call("."), State::Open);
    assert_eq!(bench.breaker.transitions(), Transitions { closed: 1, half_open: 2, open: 3 });
}

#[test]
fn a_trial_that_does_not_report_is_given_back() {
    let mut bench = Bench::new(&config(calls(4), 4, 1));
    bench.call("xxxx");
    bench.advance(OPEN_FOR);
    for _ in 0..10 {
        drop(bench.acquire().unwrap());
        bench.report(bench.acquire().unwrap(), Outcome::Neutral);
    }
    assert_eq!(bench.breaker.state(), State::HalfOpen);
    assert_eq!(bench.call("."), State::Closed);
}

#[test]
fn late_results_are_ignored() {
    let mut bench = Bench::new(&config(calls(4), 2, 2));
    let from_closed: Vec<_> = (0..20).map(|_| bench.acquire().unwrap()).collect();
    let mut from_closed = from_closed.into_iter();
    bench.call("xx");
    bench.report(from_closed.next().unwrap(), Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Open);
    bench.advance(OPEN_FOR);
    let [first, second] = [bench.acquire().unwrap(), bench.acquire().unwrap()];
    from_closed.by_ref().take(5).for_each(|permit| bench.report(permit, Outcome::Failure));
    drop(from_closed.next());
    assert!(bench.acquire().is_err(), "a late drop gave a trial away");
    bench.report(first, Outcome::Success);
    bench.report(second, Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Closed);
    from_closed.for_each(|permit| bench.report(permit, Outcome::Failure));
    assert_eq!(bench.breaker.state(), State::Closed);
    assert_eq!(bench.call(".."), State::Closed);
}

#[test]
fn hung_trials_cannot_keep_it_half_open() {
    let mut bench = Bench::new(&config(calls(4), 4, 4));
    bench.call("xxxx");
    bench.advance(OPEN_FOR);
    let mut hung: Vec<_> = (0..4).map(|_| bench.acquire().unwrap()).collect();
    bench.advance(OPEN_FOR - QUICK);
    assert_eq!(bench.acquire().unwrap_err(), Open { retry_after: QUICK });
    bench.advance(QUICK);
    assert_eq!(bench.breaker.peek(bench.now), Err(Open { retry_after: OPEN_FOR }));
    assert_eq!(bench.acquire().unwrap_err(), Open { retry_after: OPEN_FOR });
    assert_eq!(bench.breaker.state(), State::Open);

    bench.advance(OPEN_FOR);
    hung.truncate(1);
    bench.call("...");
    let last = bench.acquire().unwrap();
    bench.advance(OPEN_FOR);
    assert_eq!(bench.breaker.peek(bench.now), Ok(()));
    drop(bench.acquire().unwrap());
    assert_eq!(bench.breaker.state(), State::Closed, "one hung call of four is no half");
    bench.report(last, Outcome::Failure);
    assert_eq!(bench.call("x.."), State::Closed);
}

#[test]
fn a_quiet_half_open_state_waits_for_its_calls() {
    let mut bench = Bench::new(&config(calls(4), 4, 4));
    bench.call("xxxx");
    for _ in 0..4 {
        bench.advance(OPEN_FOR * 10);
        bench.call(".");
    }
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn half_open_permits_are_exact_among_threads() {
    const PERMITS: u32 = 7;
    let mut bench = Bench::new(&config(calls(4), 4, PERMITS));
    bench.call("xxxx");
    for _ in 0..50 {
        bench.advance(OPEN_FOR);
        let granted = AtomicUsize::new(0);
        let (before, after) = (Barrier::new(100), Barrier::new(100));
        let one = || {
            before.wait();
            let permit = bench.acquire();
            granted.fetch_add(permit.is_ok().into(), Relaxed);
            after.wait();
            permit.into_iter().for_each(|permit| bench.report(permit, Outcome::Failure));
        };
        thread::scope(|scope| (0..100).for_each(|_| drop(scope.spawn(one))));
        assert_eq!(granted.into_inner(), PERMITS as usize);
        assert_eq!(bench.breaker.state(), State::Open);
    }
}

#[test]
fn no_call_is_lost_when_seconds_turn() {
    const CALLS: u64 = 20_000;
    for _ in 0..5 {
        let window = Window::new(BreakerWindow::Time(Interval::secs(10)));
        let record = |micros| {
            let at = Moment { era: 1, since_start: Duration::from_micros(micros) };
            window.record(Sample { failed: true, slow: micros % 2 == 0 }, at, || true)
        };
        let one = || {
            for call in 0..CALLS {
                let _ = record(call * 400);
            }
        };
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(one))));
        let counts = record(CALLS * 400).unwrap();
        let calls = 8 * CALLS + 1;
        assert_eq!(counts, Counts { calls, failures: calls, slow: calls });
    }
}

#[test]
fn failures_that_race_are_all_taken_out_again() {
    for size in [1, 2, 7, 100, 100_000] {
        let window = Window::new(calls(size));
        let record = |failed, slow| {
            let at = Moment { era: 1, since_start: Duration::ZERO };
            window.record(Sample { failed, slow }, at, || true).unwrap()
        };
        let one = |seed| {
            let record = &record;
            move || {
                let mut rng = fastrand::Rng::with_seed(seed);
                for _ in 0..20_000 {
                    let counts = record(rng.bool(), rng.bool());
                    assert!(counts.failures <= u64::from(size) + 8, "{counts:?}");
                    assert!(counts.slow <= u64::from(size) + 8, "{counts:?}");
                }
            }
        };
        thread::scope(|scope| (0..8).for_each(|n| drop(scope.spawn(one(n)))));
        for _ in 1..size {
            record(true, false);
        }
        assert_eq!(
            record(true, false),
            Counts { calls: size.into(), failures: size.into(), slow: 0 }
        );
        for _ in 1..size {
            record(false, false);
        }
        assert_eq!(record(false, false), Counts { calls: size.into(), failures: 0, slow: 0 });
    }
}

/// The breaker as one would write it with a list and without threads.
struct Model {
    window: BreakerWindow,
    minimum: usize,
    trials: usize,
    state: State,
    generation: u64,
    calls: VecDeque<(u64, Sample)>,
    granted: usize,
    since: u64,
}

impl Model {
    fn trips(&self) -> bool {
        let count = |wanted: fn(&Sample) -> bool| {
            self.calls.iter().filter(|(_, sample)| wanted(sample)).count() as f64
        };
        let all = self.calls.len() as f64;
        count(|s| s.failed) / all >= 0.5 || count(|s| s.slow) / all >= 0.75
    }

    fn enter(&mut self, state: State, now: u64) {
        (self.state, self.generation, self.since) = (state, self.generation + 1, now);
        self.calls.clear();
        self.granted = 0;
    }

    fn acquire(&mut self, now: u64) -> Option<u64> {
        let waited = now - self.since >= OPEN_FOR.as_millis() as u64;
        if self.state == State::Open && waited {
            self.enter(State::HalfOpen, now);
        } else if self.state == State::HalfOpen && self.granted == self.trials && waited {
            let hung = (now, Sample { failed: true, slow: true });
            self.calls.resize(self.trials, hung);
            self.enter(if self.trips() { State::Open } else { State::Closed }, now);
        }
        match self.state {
            State::Closed => {}
            State::HalfOpen if self.granted < self.trials => {
                (self.granted, self.since) = (self.granted + 1, now);
            }
            State::HalfOpen | State::Open => return None,
        }
        Some(self.generation)
    }

    fn report(&mut self, generation: u64, sample: Option<Sample>, now: u64) {
        if generation != self.generation {
            return;
        }
        let half_open = self.state == State::HalfOpen;
        let Some(sample) = sample else {
            self.granted -= usize::from(half_open);
            return;
        };
        self.calls.push_back((now, sample));
        match self.window {
            _ if half_open => {}
            BreakerWindow::Calls(n) => {
                drop(self.calls.drain(..self.calls.len().saturating_sub(n.get() as usize)))
            }
            BreakerWindow::Time(t) => {
                self.calls.retain(|(at, _)| at / 1000 + t.0.as_secs() > now / 1000)
            }
        }
        let enough = if half_open { self.trials } else { self.minimum };
        if self.calls.len() >= enough && self.trips() {
            self.enter(State::Open, now);
        } else if half_open && self.calls.len() >= enough {
            self.enter(State::Closed, now);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Acquire,
    Report { which: usize, sample: Option<Sample> },
    Advance(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let sample = (any::<bool>(), prop::bool::weighted(0.3))
        .prop_map(|(failed, slow)| Sample { failed, slow });
    prop_oneof![
        5 => Just(Step::Acquire),
        5 => (any::<usize>(), prop::option::weighted(0.9, sample)).prop_map(|(which, sample)| Step::Report { which, sample }),
        1 => (0u64..1500).prop_map(Step::Advance),
        1 => prop_oneof![Just(4_999u64), Just(5_000), Just(12_345)].prop_map(Step::Advance),
    ]
}

fn any_window() -> impl Strategy<Value = BreakerWindow> {
    prop_oneof![
        (1u32..8).prop_map(calls),
        (1u64..5).prop_map(|n| BreakerWindow::Time(Interval::secs(n))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn it_does_what_the_model_does(
        window in any_window(),
        (minimum, trials) in (1u32..6, 1u32..5),
        steps in prop::collection::vec(any_step(), 1..80),
    ) {
        let mut bench = Bench::new(&config(window, minimum, trials));
        let minimum = if let BreakerWindow::Calls(n) = window { minimum.min(n.get()) } else { minimum };
        let mut model = Model {
            window, minimum: minimum as usize, trials: trials as usize,
            state: State::Closed, generation: 1, calls: VecDeque::new(), granted: 0, since: 0,
        };
        let mut permits = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Acquire => {
                    let peeked = bench.breaker.peek(bench.now);
                    let permit = bench.acquire();
                    prop_assert_eq!(peeked.err(), permit.as_ref().err().copied());
                    let modelled = model.acquire(now);
                    prop_assert_eq!(permit.is_ok(), modelled.is_some());
                    permits.extend(permit.ok().zip(modelled));
                }
                Step::Report { which, sample } if !permits.is_empty() => {
                    let (permit, generation) = permits.swap_remove(which % permits.len());
                    model.report(generation, sample, now);
                    if let Some(sample) = sample {
                        let outcome = if sample.failed { Outcome::Failure } else { Outcome::Success };
                        permit.report(outcome, if sample.slow { SLOW } else { QUICK }, bench.now);
                    }
                }
                Step::Report { .. } => {}
                Step::Advance(millis) => {
                    now += millis;
                    bench.advance(Duration::from_millis(millis));
                }
            }
            prop_assert_eq!(bench.breaker.state(), model.state);
        }
    }
}
