//! How long to wait before the next try.
//!
//! Called by the keeper after each failure. It never waits less than its first step, nor the same for a whole fleet.

use std::time::Duration;

/// Doubling waits with jitter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    cap: Duration,
}

// === impl Backoff ===

impl Backoff {
    pub(super) const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap }
    }

    /// No wait is longer than this, where a kind asks for less than the usual.
    pub(super) fn capped(self, cap: Option<Duration>) -> Self {
        let cap = cap.map_or(self.cap, |cap| cap.min(self.cap));
        Self { first: self.first.min(cap), cap }
    }

    /// The wait after `failures` failures in a row, from 1 on: between half and all of `first * 2^failures`, so that
    /// the first lies in `first..2 * first` and the longest in `cap / 2..cap`.
    pub(super) fn after(&self, failures: u32, chance: u64) -> Duration {
        let factor = 1_u32.checked_shl(failures.clamp(1, 16)).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(factor).min(self.cap);
        let share = 0.5 + 0.5 * (chance >> 11) as f64 / (1_u64 << 53) as f64;
        longest.mul_f64(share).max(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

    #[test]
    fn waits_double_up_to_the_cap_and_never_fall_below_the_first() {
        let range = |n| (RETRY.after(n, 0).as_millis(), RETRY.after(n, u64::MAX).as_millis());
        assert_eq!(range(0), (500, 1000), "a failure that was not counted yet");
        assert_eq!(range(1), (500, 1000));
        assert_eq!(range(2), (1000, 2000));
        assert_eq!(range(6), (15_000, 30_000));
        assert_eq!(range(u32::MAX), (15_000, 30_000));
    }

    #[test]
    fn a_kind_may_ask_for_shorter_waits_only() {
        let file = RETRY.capped(Some(Duration::from_secs(2)));
        assert!(file.after(9, u64::MAX) <= Duration::from_secs(2));
        assert!(RETRY.capped(Some(Duration::from_secs(90))).after(9, u64::MAX) <= RETRY.cap);
        let quick = RETRY.capped(Some(Duration::from_millis(100)));
        assert_eq!(quick.after(1, 7), Duration::from_millis(100));
    }
}
