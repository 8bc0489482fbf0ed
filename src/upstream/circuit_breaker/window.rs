//! What a closed circuit breaker remembers: the last calls, or the last seconds.
//!
//! Called by the breaker for each report while closed, by many threads at once. A record takes no lock, but for the one
//! that finds a new second begun.

use std::{collections::VecDeque, time::Duration};

use super::super::sync::{AcqRel, Acquire, AtomicU64, Mutex, Release};
use crate::config::BreakerWindow;

/// How one call counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

/// What a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) slow: u64,
}

/// A sliding window of samples.
#[derive(Debug)]
pub(super) enum Window {
    Calls(CallWindow),
    Time(TimeWindow),
}

/// The moment of a record: which era of the breaker the call belongs to, and the time since the breaker was built.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) era: u64,
    pub(super) since_start: Duration,
}

/// The last N calls: a ring of outcomes beside their sums.
///
/// A sample is added to the sums before it is put into the ring, and taken out of them after it left the ring. So the
/// sums never fall below what the ring holds; while calls run side by side they hold a few of the newest calls too many.
#[derive(Debug)]
pub(super) struct CallWindow {
    size: u64,
    tally: AtomicU64,
    /// Era and sample of each call. What an earlier era left behind counts as empty.
    slots: Box<[AtomicU64]>,
}

/// The last N seconds: the running second, and the sums of those before it.
#[derive(Debug)]
pub(super) struct TimeWindow {
    /// The running second, counted from the breaker's start.
    second: AtomicU64,
    tally: AtomicU64,
    past: Past,
    ring: Mutex<Ring>,
}

/// Sums of the finished seconds, valid while the tally has the tag `of`.
#[derive(Debug, Default)]
struct Past {
    of: AtomicU64,
    calls: AtomicU64,
    failures: AtomicU64,
    slow: AtomicU64,
}

/// The finished seconds of a time window, oldest first.
#[derive(Debug)]
struct Ring {
    seconds: VecDeque<Counts>,
    sums: Counts,
}

/// Three counts of 18 bits and a tag of 10 that changes when they start anew.
///
/// A record takes the tag with the counts and then asks whether its era still runs: a tally that has started anew since
/// then has another tag, and the exchange fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tally(u64);

/// The most calls and seconds that a window may have, as the check of the configuration says too: twice as many calls fit
/// the tally.
const MAX_CALLS: u32 = 100_000;
const MAX_SECONDS: u64 = 3_600;

// === impl Window ===

impl Window {
    pub(super) fn new(config: BreakerWindow) -> Self {
        match config {
            BreakerWindow::Calls(calls) => Self::Calls(CallWindow::new(calls.get().min(MAX_CALLS))),
            BreakerWindow::Time(time) => Self::Time(TimeWindow::new(time.0)),
        }
    }

    /// The calls it can hold; `None` where it has no bound.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Calls(window) => Some(window.size),
            Self::Time(_) => None,
        }
    }

    /// Adds a sample, and says what the window then holds. `None` when the era is not `current` any more, or when another
    /// record is under way that will see this one.
    pub(super) fn record(
        &self,
        sample: Sample,
        at: Moment,
        current: impl Fn() -> bool,
    ) -> Option<Counts> {
        match self {
            Self::Calls(window) => window.record(sample, at.era, current),
            Self::Time(window) => window.record(sample, at.since_start, current),
        }
    }

    /// Empties the window for a new era. Called while no era runs.
    pub(super) fn reset(&self, since_start: Duration) {
        match self {
            Self::Calls(window) => {
                restart(&window.tally);
            }
            Self::Time(window) => window.reset(since_start),
        }
    }
}

// === impl CallWindow ===

impl CallWindow {
    fn new(calls: u32) -> Self {
        let slots = (0..calls).map(|_| AtomicU64::new(0)).collect();
        Self { size: u64::from(calls), tally: AtomicU64::new(0), slots }
    }

    fn record(&self, sample: Sample, era: u64, current: impl Fn() -> bool) -> Option<Counts> {
        let (before, mut after) = update(&self.tally, |tally| {
            current().then(|| tally.with_call_of(self.size).plus(sample))
        })?;
        let slot = self.slots.get((before.calls() % self.size) as usize)?;
        let replaced = replace(slot, era, sample)?;
        if replaced != Sample::default() {
            let same = |tally: Tally| (tally.tag() == before.tag()).then(|| tally.minus(replaced));
            (_, after) = update(&self.tally, same)?;
        }
        let counts = after.counts();
        Some(Counts { calls: counts.calls.min(self.size), ..counts })
    }
}

/// Puts a sample into a slot and says which one of the same era it takes the place of. `None` when a later era is there.
fn replace(slot: &AtomicU64, era: u64, sample: Sample) -> Option<Sample> {
    let mine = (era << 2) | sample.bits();
    let mut seen = slot.load(Acquire);
    // A slot that holds just this already needs no writing: the usual case, a success in the place of a success.
    while seen != mine {
        if seen >> 2 > era {
            return None;
        }
        match slot.compare_exchange_weak(seen, mine, AcqRel, Acquire) {
            Ok(_) => break,
            Err(newer) => seen = newer,
        }
    }
    Some(if seen >> 2 == era { Sample::from_bits(seen) } else { Sample::default() })
}

// === impl TimeWindow ===

impl TimeWindow {
    fn new(time: Duration) -> Self {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let finished = seconds.clamp(1, MAX_SECONDS) as usize - 1;
        let seconds = std::iter::repeat_n(Counts::default(), finished).collect();
        Self {
            second: AtomicU64::new(0),
            tally: AtomicU64::new(0),
            past: Past::default(),
            ring: Mutex::new(Ring { seconds, sums: Counts::default() }),
        }
    }

    fn record(&self, sample: Sample, at: Duration, current: impl Fn() -> bool) -> Option<Counts> {
        if at.as_secs() > self.second.load(Acquire) {
            self.turn(at.as_secs());
        }
        let (_, now) = update(&self.tally, |tally| current().then(|| tally.with_call(sample)))?;
        // Whoever turns the second meanwhile records after this, and judges by both.
        let past = self.past.read(now.tag())?;
        (Tally(self.tally.load(Acquire)).tag() == now.tag()).then(|| past.plus(now.counts()))
    }

    /// Ends the running second and those that passed without a call.
    fn turn(&self, second: u64) {
        let mut ring = self.ring.lock();
        let gone = second.saturating_sub(self.second.load(Acquire));
        if gone == 0 {
            return;
        }
        let (finished, running) = restart(&self.tally);
        ring.push(finished.counts());
        // More empty seconds than the ring is long change nothing more.
        for _ in 1..gone.min(ring.seconds.len() as u64 + 1) {
            ring.push(Counts::default());
        }
        self.past.publish(ring.sums, running.tag());
        self.second.store(second, Release);
    }

    fn reset(&self, at: Duration) {
        let mut ring = self.ring.lock();
        let (_, running) = restart(&self.tally);
        ring.seconds.iter_mut().for_each(|second| *second = Counts::default());
        ring.sums = Counts::default();
        self.past.publish(ring.sums, running.tag());
        self.second.store(at.as_secs(), Release);
    }
}

// === impl Past ===

impl Past {
    fn publish(&self, sums: Counts, tag: u64) {
        self.calls.store(sums.calls, Release);
        self.failures.store(sums.failures, Release);
        self.slow.store(sums.slow, Release);
        self.of.store(tag, Release);
    }

    /// The sums that belong to a tag. The caller checks that the tally still has it afterwards.
    fn read(&self, tag: u64) -> Option<Counts> {
        (self.of.load(Acquire) == tag).then(|| Counts {
            calls: self.calls.load(Acquire),
            failures: self.failures.load(Acquire),
            slow: self.slow.load(Acquire),
        })
    }
}

// === impl Ring ===

impl Ring {
    fn push(&mut self, finished: Counts) {
        self.seconds.push_back(finished);
        let oldest = self.seconds.pop_front().unwrap_or_default();
        self.sums = self.sums.plus(finished);
        self.sums = Counts {
            calls: self.sums.calls.saturating_sub(oldest.calls),
            failures: self.sums.failures.saturating_sub(oldest.failures),
            slow: self.sums.slow.saturating_sub(oldest.slow),
        };
    }
}

// === impl Sample ===

impl Sample {
    const fn bits(self) -> u64 {
        ((self.slow as u64) << 1) | self.failed as u64
    }

    const fn from_bits(bits: u64) -> Self {
        Self { failed: bits & 1 != 0, slow: bits & 2 != 0 }
    }
}

// === impl Counts ===

impl Counts {
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            failures: self.failures + other.failures,
            slow: self.slow + other.slow,
        }
    }
}

// === impl Tally ===

impl Tally {
    const FIELD: u32 = 18;
    const MASK: u64 = (1 << Self::FIELD) - 1;
    const FAILURE: u64 = 1 << Self::FIELD;
    const SLOW: u64 = 1 << (2 * Self::FIELD);
    const TAG: u64 = 1 << (3 * Self::FIELD);

    const fn tag(self) -> u64 {
        self.0 / Self::TAG
    }

    const fn calls(self) -> u64 {
        self.0 & Self::MASK
    }

    const fn counts(self) -> Counts {
        Counts {
            calls: self.calls(),
            failures: (self.0 / Self::FAILURE) & Self::MASK,
            slow: (self.0 / Self::SLOW) & Self::MASK,
        }
    }

    /// One call more. A full tally takes no more: its rates still hold.
    const fn with_call(self, sample: Sample) -> Self {
        if self.calls() == Self::MASK { self } else { Self(self.0 + 1).plus(sample) }
    }

    /// One call more in a ring: the count runs to `size` and then round and round from there to twice that.
    const fn with_call_of(self, size: u64) -> Self {
        let next = self.0 + 1;
        if Self(next).calls() == 2 * size { Self(next - size) } else { Self(next) }
    }

    const fn plus(self, sample: Sample) -> Self {
        let counts = self.counts();
        let failed = sample.failed && counts.failures < Self::MASK;
        let slow = sample.slow && counts.slow < Self::MASK;
        Self(self.0 + failed as u64 * Self::FAILURE + slow as u64 * Self::SLOW)
    }

    const fn minus(self, sample: Sample) -> Self {
        let counts = self.counts();
        let failed = sample.failed && counts.failures > 0;
        let slow = sample.slow && counts.slow > 0;
        Self(self.0 - failed as u64 * Self::FAILURE - slow as u64 * Self::SLOW)
    }
}

/// Changes a tally as long as `change` wants to; the tally before and after.
fn update(tally: &AtomicU64, change: impl Fn(Tally) -> Option<Tally>) -> Option<(Tally, Tally)> {
    let mut seen = tally.load(Acquire);
    loop {
        let next = change(Tally(seen))?;
        match tally.compare_exchange_weak(seen, next.0, AcqRel, Acquire) {
            Ok(_) => return Some((Tally(seen), next)),
            Err(newer) => seen = newer,
        }
    }
}

/// Sets all counts to zero under the next tag; the tally before and after.
fn restart(tally: &AtomicU64) -> (Tally, Tally) {
    let next = |seen: u64| (seen / Tally::TAG).wrapping_add(1).wrapping_mul(Tally::TAG);
    let mut seen = tally.load(Acquire);
    while let Err(newer) = tally.compare_exchange_weak(seen, next(seen), AcqRel, Acquire) {
        seen = newer;
    }
    (Tally(seen), Tally(next(seen)))
}
