//! Stops calls of a route to an upstream that fails, with the semantics of Resilience4j.
//!
//! `decision` asks it for a permit before each call, and the permit carries the one report back. It never judges a call
//! that began in an earlier state, and in shadow mode it is the caller who lets a refused call pass.

mod window;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::window::{Counts, Moment, Sample, Window};
use super::{
    Outcome,
    sync::{Acquire, Arc, AtomicU64, Mutex, Relaxed, Release},
};
use crate::config;

/// A circuit breaker, one for each (route, upstream).
///
/// Closed, it counts calls in its window and opens when, of at least the minimum, the share of failed or of slow ones
/// reaches its rate. Open, it refuses calls for a time. Half open, it lets exactly so many calls try, and when all of them
/// have ended it closes or opens again by the same rates.
///
/// While closed, a call costs no lock: one word says the state, and the window is atomic. All changes of state, and all of
/// half open, are under a mutex.
#[derive(Debug)]
pub struct CircuitBreaker {
    settings: Settings,
    start: Instant,
    /// A [`Word`]; changed only under `half_open`.
    state: AtomicU64,
    /// When an open breaker lets calls try, in nanoseconds since `start`. Written before `state` says open.
    open_until: AtomicU64,
    window: Window,
    half_open: Mutex<HalfOpen>,
    entered: [AtomicU64; 3],
}

/// What a circuit breaker does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Closed,
    HalfOpen,
    Open,
}

/// The right to one call. Dropped without a report it is given back, and the call does not count.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once permits nothing"]
pub struct Permit {
    breaker: Arc<CircuitBreaker>,
    word: Word,
    reported: bool,
}

/// No call is permitted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("circuit breaker is open for another {retry_after:?}")]
pub struct Open {
    /// When to ask again, at the earliest.
    pub retry_after: Duration,
}

/// How often a breaker has entered each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    pub closed: u64,
    pub half_open: u64,
    pub open: u64,
}

/// What the configuration comes to.
#[derive(Debug)]
struct Settings {
    failure_rate: PerMillion,
    slow_rate: Option<PerMillion>,
    slow_call: Duration,
    minimum: u64,
    open_for: Duration,
    trials: u64,
}

/// The calls that try while half open.
#[derive(Debug, Default)]
struct HalfOpen {
    /// Permits given out and not given back; those that have reported are among them.
    granted: u64,
    reported: Counts,
    last_grant: Duration,
}

/// A share in whole millionths, so that a rate that equals its limit is seen to: 7 of 100 calls are exactly `"7%"`.
#[derive(Clone, Copy, Debug)]
struct PerMillion(u64);

/// State and generation in one word; each change of state begins the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word(u64);

/// The longest wait that a half-open breaker names: its trials may end at any moment.
const HALF_OPEN_RETRY: Duration = Duration::from_secs(1);

// === impl CircuitBreaker ===

impl CircuitBreaker {
    /// A closed breaker.
    pub fn new(config: &config::CircuitBreaker, now: Instant) -> Self {
        let window = Window::new(config.window);
        Self {
            settings: Settings::new(config, &window),
            start: now,
            state: AtomicU64::new(Word::FIRST.0),
            open_until: AtomicU64::new(0),
            window,
            half_open: Mutex::default(),
            entered: Default::default(),
        }
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// [`Open`] while open, and while as many calls try as may when half open.
    pub fn try_acquire(self: &Arc<Self>, now: Instant) -> Result<Permit, Open> {
        let word = self.word();
        if word.state() == State::Closed {
            return Ok(self.permit(word));
        }
        // What an open breaker is for is to refuse cheaply.
        if word.state() == State::Open {
            self.still_open(self.since_start(now))?;
        }
        self.acquire_trial(self.since_start(now))
    }

    /// Whether [`Self::try_acquire`] would permit a call; changes nothing.
    ///
    /// # Errors
    /// [`Open`] where it would refuse.
    pub fn peek(&self, now: Instant) -> Result<(), Open> {
        let at = self.since_start(now);
        match self.word().state() {
            State::Closed => Ok(()),
            State::Open => self.still_open(at),
            State::HalfOpen => {
                let trials = self.half_open.lock();
                let hung = self.hung(&trials, at);
                // Once hung trials are judged, the breaker either closes or opens for its whole time.
                match (trials.granted < self.settings.trials, hung) {
                    (true, _) => Ok(()),
                    (false, Err(open)) => Err(open),
                    (false, Ok(counts)) if self.settings.trips(counts) => {
                        Err(Open { retry_after: self.settings.open_for })
                    }
                    (false, Ok(_)) => Ok(()),
                }
            }
        }
    }

    /// The state as it was last left. An open breaker stays open until somebody calls, however long ago its time ran out.
    pub fn state(&self) -> State {
        self.word().state()
    }

    /// How often each state was entered since the breaker was built.
    pub fn transitions(&self) -> Transitions {
        let [closed, half_open, open] = self.entered.each_ref().map(|count| count.load(Relaxed));
        Transitions { closed, half_open, open }
    }

    fn word(&self) -> Word {
        Word(self.state.load(Acquire))
    }

    fn since_start(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    fn permit(self: &Arc<Self>, word: Word) -> Permit {
        Permit { breaker: Arc::clone(self), word, reported: false }
    }

    fn still_open(&self, at: Duration) -> Result<(), Open> {
        let until = Duration::from_nanos(self.open_until.load(Acquire));
        match until.checked_sub(at) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(retry_after) => Err(Open { retry_after }),
        }
    }

    /// Permits a trial, opening the half-open state or judging hung trials first where it is time.
    fn acquire_trial(self: &Arc<Self>, at: Duration) -> Result<Permit, Open> {
        let mut trials = self.half_open.lock();
        if self.word().state() == State::Open {
            self.still_open(at)?;
            *trials = HalfOpen::default();
            self.enter(State::HalfOpen, at);
        }
        let exhausted = trials.granted >= self.settings.trials;
        if self.word().state() == State::HalfOpen && exhausted {
            let counts = self.hung(&trials, at)?;
            self.judge_trials(counts, at);
        }
        match self.word().state() {
            State::Closed => {}
            State::HalfOpen => {
                trials.granted += 1;
                trials.last_grant = trials.last_grant.max(at);
            }
            State::Open => return Err(Open { retry_after: self.settings.open_for }),
        }
        Ok(self.permit(self.word()))
    }

    /// The trials' counts once nobody waits for the rest of them any more: a trial that has run for as long as the breaker
    /// stays open is as good as failed. Without this, one that never ends would leave the breaker half open for ever.
    fn hung(&self, trials: &HalfOpen, at: Duration) -> Result<Counts, Open> {
        let deadline = trials.last_grant.saturating_add(self.settings.open_for);
        match deadline.checked_sub(at) {
            None | Some(Duration::ZERO) => {
                let hung = trials.granted - trials.reported.calls;
                Ok(trials.reported.plus(Counts { calls: hung, failures: hung, slow: hung }))
            }
            Some(left) => Err(Open { retry_after: left.min(HALF_OPEN_RETRY) }),
        }
    }

    /// Leaves half open, by what its trials came to. The caller holds the lock.
    fn judge_trials(&self, counts: Counts, at: Duration) {
        let trips = self.settings.trips(counts);
        self.enter(if trips { State::Open } else { State::Closed }, at);
    }

    /// Begins the next generation. The caller holds the lock.
    fn enter(&self, state: State, at: Duration) {
        match state {
            State::Closed => self.window.reset(at),
            State::HalfOpen => {}
            State::Open => {
                let until = at.saturating_add(self.settings.open_for).as_nanos();
                self.open_until.store(u64::try_from(until).unwrap_or(u64::MAX), Release);
            }
        }
        if let Some(count) = self.entered.get(state as usize) {
            count.fetch_add(1, Relaxed);
        }
        self.state.store(self.word().next(state).0, Release);
    }

    fn record_call(&self, word: Word, sample: Sample, at: Duration) {
        let moment = Moment { era: word.generation(), since_start: at };
        let current = || self.word() == word;
        let Some(counts) = self.window.record(sample, moment, current) else { return };
        if counts.calls >= self.settings.minimum && self.settings.trips(counts) {
            let _changing = self.half_open.lock();
            if current() {
                self.enter(State::Open, at);
            }
        }
    }

    fn record_trial(&self, word: Word, sample: Sample, at: Duration) {
        let mut trials = self.half_open.lock();
        if self.word() != word {
            return;
        }
        trials.reported = trials.reported.plus(Counts {
            calls: 1,
            failures: sample.failed.into(),
            slow: sample.slow.into(),
        });
        if trials.reported.calls >= self.settings.trials {
            self.judge_trials(trials.reported, at);
        }
    }

    fn give_back_trial(&self, word: Word) {
        let mut trials = self.half_open.lock();
        if self.word() == word {
            trials.granted = trials.granted.saturating_sub(1);
        }
    }
}

// === impl Permit ===

impl Permit {
    /// Says how the call ended and how long it took. A neutral outcome counts as no call.
    pub fn report(mut self, outcome: Outcome, took: Duration, now: Instant) {
        let failed = match outcome {
            Outcome::Neutral => return,
            Outcome::Failure => true,
            Outcome::Success => false,
        };
        let breaker = &self.breaker;
        let sample = Sample { failed, slow: took >= breaker.settings.slow_call };
        let at = breaker.since_start(now);
        match self.word.state() {
            State::HalfOpen => breaker.record_trial(self.word, sample, at),
            State::Closed | State::Open => breaker.record_call(self.word, sample, at),
        }
        self.reported = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.reported && self.word.state() == State::HalfOpen {
            self.breaker.give_back_trial(self.word);
        }
    }
}

// === impl State ===

impl State {
    /// The word of metrics, logs and the status API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

// === impl Settings ===

impl Settings {
    fn new(config: &config::CircuitBreaker, window: &Window) -> Self {
        let minimum = u64::from(config.minimum_calls.get());
        Self {
            failure_rate: PerMillion::new(config.failure_rate.0),
            slow_rate: config.slow_call_rate.map(|rate| PerMillion::new(rate.0)),
            slow_call: config.slow_call.0,
            // A minimum above the window would never be reached.
            minimum: window.size().map_or(minimum, |size| minimum.min(size)),
            open_for: config.open_for.0,
            trials: config.half_open_calls.get().into(),
        }
    }

    fn trips(&self, counts: Counts) -> bool {
        self.failure_rate.reached(counts.failures, counts.calls)
            || self.slow_rate.is_some_and(|rate| rate.reached(counts.slow, counts.calls))
    }
}

// === impl PerMillion ===

impl PerMillion {
    /// A rate of zero would open on success; the smallest one opens on any failure.
    fn new(share: f64) -> Self {
        Self(((share * 1e6).round() as u64).max(1))
    }

    const fn reached(self, part: u64, whole: u64) -> bool {
        part * 1_000_000 >= self.0 * whole
    }
}

// === impl Word ===

impl Word {
    /// Closed, in generation 1: the window's empty slots are of generation 0.
    const FIRST: Self = Self(1 << 2 | State::Closed as u64);

    const fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Closed,
            1 => State::HalfOpen,
            _ => State::Open,
        }
    }

    const fn generation(self) -> u64 {
        self.0 >> 2
    }

    const fn next(self, state: State) -> Self {
        Self((self.generation() + 1) << 2 | state as u64)
    }
}
