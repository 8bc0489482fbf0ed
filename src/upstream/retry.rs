//! Bounds the retries of an upstream, so that they cannot multiply the load on one that is failing.
//!
//! Counted on what is live, as Envoy's retry budget is: no clock and no window. Every count is a guard that gives itself
//! back, whatever becomes of the request.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use crate::{config, telemetry::Shards};

/// How many retries may run at once: a share of the live requests, or the floor where that is more.
#[derive(Debug)]
pub struct RetryBudget {
    share: f64,
    floor: u32,
    /// Every request counts here, and only a retry asks how many there are.
    live: Shards<AtomicU64>,
    retrying: AtomicU32,
}

/// One request that is live.
#[derive(Debug)]
pub struct LiveRequest(Arc<RetryBudget>);

/// The right to one retry, held while it runs.
#[derive(Debug)]
pub struct Retry(Arc<RetryBudget>);

// === impl RetryBudget ===

impl RetryBudget {
    pub fn new(retries: &config::Retries) -> Self {
        Self {
            share: retries.budget.0,
            floor: retries.floor,
            live: Shards::default(),
            retrying: AtomicU32::new(0),
        }
    }

    /// Counts a request in, for as long as the guard lives.
    pub fn request(self: &Arc<Self>) -> LiveRequest {
        self.live.own().fetch_add(1, Relaxed);
        LiveRequest(Arc::clone(self))
    }

    /// Requests that are live, and retries among them.
    pub fn load(&self) -> (u64, u32) {
        (self.live.sum(|live| live.load(Relaxed)), self.retrying.load(Relaxed))
    }

    fn allowed(&self) -> u32 {
        // The cast saturates; a share of at most 1 keeps it below the live requests anyhow.
        let (live, _) = self.load();
        let by_share = (live as f64 * self.share) as u32;
        by_share.max(self.floor)
    }
}

// === impl LiveRequest ===

impl LiveRequest {
    /// Takes a retry out of the budget; `None` where it is spent.
    pub fn try_retry(&self) -> Option<Retry> {
        let budget = &self.0;
        let allowed = budget.allowed();
        budget
            .retrying
            .fetch_update(Relaxed, Relaxed, |running| (running < allowed).then_some(running + 1))
            .ok()?;
        Some(Retry(Arc::clone(budget)))
    }
}

impl Drop for LiveRequest {
    fn drop(&mut self) {
        self.0.live.own().fetch_sub(1, Relaxed);
    }
}

// === impl Retry ===

impl Drop for Retry {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::config::units::Percent;

    fn budget(share: f64, floor: u32) -> Arc<RetryBudget> {
        let retries = config::Retries { budget: Percent(share), floor, ..Default::default() };
        Arc::new(RetryBudget::new(&retries))
    }

    #[test]
    fn the_floor_holds_when_little_is_live() {
        let budget = budget(0.2, 3);
        let request = budget.request();
        let retries: Vec<_> = (0..5).filter_map(|_| request.try_retry()).collect();
        assert_eq!(retries.len(), 3);
        drop(retries);
        assert!(request.try_retry().is_some());
    }

    #[test]
    fn the_share_holds_when_much_is_live() {
        let budget = budget(0.2, 3);
        let requests: Vec<_> = (0..100).map(|_| budget.request()).collect();
        let retries: Vec<_> = requests.iter().filter_map(LiveRequest::try_retry).collect();
        assert_eq!(retries.len(), 20);
        assert_eq!(budget.load(), (100, 20));
        drop((retries, requests));
        assert_eq!(budget.load(), (0, 0));
    }

    #[test]
    fn no_share_and_no_floor_is_no_retry() {
        let budget = budget(0.0, 0);
        assert!(budget.request().try_retry().is_none());
    }

    #[test]
    fn threads_do_not_exceed_the_floor() {
        let budget = budget(0.0, 7);
        let requests: Vec<_> = (0..64).map(|_| budget.request()).collect();
        let barrier = std::sync::Barrier::new(64);
        let retries: Vec<_> = thread::scope(|scope| {
            let one = |request| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    LiveRequest::try_retry(request)
                })
            };
            let threads: Vec<_> = requests.iter().map(one).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(retries.len(), 7);
    }
}
