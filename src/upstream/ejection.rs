//! Leaves out an instance that fails several times in a row, for a while (outlier detection).
//!
//! Each try's outcome comes here from `gateway`. Nothing runs in the background: an ejection ends when its time is over,
//! and whoever picks next finds it so.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{Outcome, instance::InstanceState};
use crate::config;

/// When an instance is ejected, and for how long.
#[derive(Debug)]
pub(super) struct Ejection {
    /// 0 ejects nobody.
    failures: u32,
    base_time: Duration,
    max_time: Duration,
    max_share: f64,
}

// === impl Ejection ===

impl Ejection {
    pub(super) fn new(config: &config::Ejection) -> Self {
        Self {
            failures: config.consecutive_failures,
            base_time: config.base_time.0,
            max_time: config.max_time.0,
            max_share: config.max_share.0,
        }
    }

    /// Counts an outcome, and says whether the instance should now be ejected.
    pub(super) fn count(&self, state: &InstanceState, outcome: Outcome, now: Instant) -> bool {
        match outcome {
            Outcome::Neutral => false,
            Outcome::Success => {
                // Read first: a healthy instance's line is then shared by all threads and written by none.
                if state.failures.load(Relaxed) != 0 {
                    state.failures.store(0, Relaxed);
                }
                false
            }
            // What fails while ejected began before it, and is punished already.
            Outcome::Failure if self.failures == 0 || state.is_ejected(now) => false,
            Outcome::Failure => {
                state.failures.fetch_add(1, Relaxed).saturating_add(1) >= self.failures
            }
        }
    }

    /// Whether one more of `eligible` instances may be ejected when `ejected` are.
    pub(super) fn has_room(&self, ejected: usize, eligible: usize) -> bool {
        let share = (eligible as f64 * self.max_share) as usize;
        let least = usize::from(eligible >= 2);
        // All of them at once would be no choice but an outage.
        ejected < share.max(least).min(eligible.saturating_sub(1))
    }

    /// Ejects, for longer each time; every `base_time` in service since the last ejection makes one good. The caller holds
    /// the upstream's lock.
    pub(super) fn eject(&self, state: &InstanceState, now: Instant) {
        let served = state.ejected_until().map(|until| now.saturating_duration_since(until));
        let forgiven = match served {
            None => u32::MAX,
            Some(served) => {
                let times = served.as_nanos() / self.base_time.as_nanos().max(1);
                u32::try_from(times).unwrap_or(u32::MAX)
            }
        };
        let times = state.times.load(Relaxed).saturating_sub(forgiven).saturating_add(1);
        state.times.store(times, Relaxed);
        let time = self.base_time.saturating_mul(times).min(self.max_time);
        state.eject(now.checked_add(time).unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::{Interval, Percent};

    fn ejection() -> Ejection {
        Ejection::new(&config::Ejection {
            consecutive_failures: 3,
            base_time: Interval::secs(10),
            max_time: Interval::secs(25),
            max_share: Percent(0.5),
            ..Default::default()
        })
    }

    /// Fails until ejected, and says how long that lasts.
    fn ejected_for(state: &InstanceState, now: Instant) -> Duration {
        let ejection = ejection();
        while !ejection.count(state, Outcome::Failure, now) {}
        ejection.eject(state, now);
        assert!(state.is_ejected(now));
        state.ejected_until().unwrap() - now
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_resets_the_row() {
        let (ejection, now) = (ejection(), Instant::now());
        let state = InstanceState::new(now);
        use Outcome::{Failure, Neutral, Success};
        let row = [Failure, Failure, Success, Failure, Neutral, Failure, Neutral];
        assert!(row.iter().all(|outcome| !ejection.count(&state, *outcome, now)));
        assert!(ejection.count(&state, Failure, now));
        ejection.eject(&state, now);
        assert!((0..9).all(|_| !ejection.count(&state, Failure, now)));
        let back = now + Duration::from_secs(10);
        assert!(!state.is_ejected(back));
        assert!(!ejection.count(&state, Failure, back), "failures while ejected do not count");
    }

    #[test]
    fn each_ejection_is_longer_up_to_the_longest_and_good_service_shortens_it() {
        let mut now = Instant::now();
        let state = InstanceState::new(now);
        for seconds in [10, 20, 25, 25] {
            let time = ejected_for(&state, now);
            assert_eq!(time, Duration::from_secs(seconds));
            now += time;
        }
        now += Duration::from_secs(25);
        assert_eq!(ejected_for(&state, now), Duration::from_secs(25));
        now += Duration::from_secs(25 + 40);
        assert_eq!(ejected_for(&state, now), Duration::from_secs(10));
    }

    #[test]
    fn the_share_is_capped_and_one_stays() {
        let ejection = ejection();
        let most = |eligible| (0..=eligible).find(|n| !ejection.has_room(*n, eligible)).unwrap();
        let caps: Vec<_> = [0, 1, 2, 3, 4, 5, 10].into_iter().map(most).collect();
        assert_eq!(caps, [0, 0, 1, 1, 2, 2, 5]);
        let all = Ejection { max_share: 1.0, ..ejection };
        assert!(all.has_room(2, 4) && !all.has_room(3, 4));
    }

    #[test]
    fn no_failures_configured_ejects_nobody() {
        let never = Ejection { failures: 0, ..ejection() };
        let now = Instant::now();
        let state = InstanceState::new(now);
        assert!((0..1000).all(|_| !never.count(&state, Outcome::Failure, now)));
    }
}
