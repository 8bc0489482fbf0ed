//! A token bucket for each caller of a route (GCRA, by governor, over a table of our own).
//!
//! `decision` takes from it, `explain` peeks. It reads no clock, and never refuses or admits by more than the bucket
//! says: what it cannot keep apart it counts together.

mod buckets;
mod fields;
mod key;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::{StateInformationMiddleware, StateSnapshot},
    nanos::Nanos,
};
use http::HeaderMap;
use serde_json::Value;

use self::{
    buckets::{Buckets, Call},
    key::Caller,
};
pub use self::{
    fields::{LimitFields, RATE_LIMIT, RATE_LIMIT_POLICY},
    key::Key,
};
use crate::config;

/// A limit that runs. Whether its "no" counts is not its business: a change of `mode` keeps it.
pub struct RateLimit {
    limiter: RateLimiter<Call, Buckets, CallTime, StateInformationMiddleware>,
    buckets: Buckets,
    caller: Caller,
    epoch: Instant,
    quota: Quota,
    /// Nanoseconds that a request costs, as in `quota`.
    interval: u64,
    max_keys: NonZeroU32,
}

/// What a limit says of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub allowed: bool,
    /// How many more requests would pass at once.
    pub remaining: u32,
    /// How long until one more would pass; after a no, exactly how long until the next is admitted.
    pub reset: Duration,
}

/// governor's clock: every call happens at zero, and the table tells governor how far off its times are from there.
struct CallTime;

/// The longest time that counts, 146 years in nanoseconds: for a bucket to fill, and for the gateway to run.
const FOREVER: u64 = 1 << 62;

/// More buckets than this are not made, whatever is asked for: they take 300 MB.
const MOST_KEYS: u32 = 1 << 24;

// === impl RateLimit ===

impl RateLimit {
    /// All buckets are full. `epoch` is any time not later than the first request.
    pub fn new(config: &config::RateLimit, epoch: Instant) -> Self {
        let buckets = Buckets::new(config.max_keys.get().min(MOST_KEYS) as usize);
        let quota = quota(config);
        Self {
            limiter: RateLimiter::new(quota, buckets.clone(), CallTime),
            buckets,
            caller: Caller::new(&config.per),
            epoch,
            quota,
            interval: nanos(quota.replenish_interval()),
            max_keys: config.max_keys,
        }
    }

    /// Whether a limit of this config would be the same, so that its buckets may live on.
    pub fn same(&self, config: &config::RateLimit) -> bool {
        self.quota == quota(config)
            && self.caller.parts() == &*config.per
            && self.max_keys == config.max_keys
    }

    /// The bucket that a request takes from. `claim` looks into its verified token.
    pub fn key<'a>(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        claim: impl Fn(&str) -> Option<&'a Value>,
    ) -> Key {
        self.caller.key(client, headers, claim)
    }

    /// Takes one request from the bucket, if it is in there. A no changes nothing.
    pub fn take(&self, key: Key, now: Instant) -> Verdict {
        self.ask(&Call::take(key, self.since_epoch(now)))
    }

    /// What [`Self::take`] would say. Changes nothing.
    pub fn peek(&self, key: Key, now: Instant) -> Verdict {
        self.ask(&Call::peek(key, self.since_epoch(now)))
    }

    /// How many requests a full bucket holds.
    pub fn burst(&self) -> u32 {
        self.quota.burst_size().get()
    }

    /// How long an empty bucket takes to fill.
    pub fn window(&self) -> Duration {
        self.quota.burst_size_replenished_in()
    }

    /// How many buckets have an owner.
    pub fn keys(&self) -> u64 {
        self.buckets.keys()
    }

    /// How many full buckets were given to another key.
    pub fn evictions(&self) -> u64 {
        self.buckets.evictions()
    }

    /// How many requests were decided by a bucket shared for want of free ones: `max_keys` is too small for the callers.
    pub fn crowded(&self) -> u64 {
        self.buckets.crowded()
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.epoch))
    }

    fn ask(&self, call: &Call) -> Verdict {
        match self.limiter.check_key(call) {
            Ok(after) => self.allowed(&after, call.owed.get()),
            Err(until) => Verdict {
                allowed: false,
                remaining: 0,
                reset: until.wait_time_from(CallTime.now()),
            },
        }
    }

    /// `owed` is the time until the bucket is full: a part of an interval for the request that comes back next, and
    /// whole ones for the others.
    fn allowed(&self, after: &StateSnapshot, owed: u64) -> Verdict {
        let remaining = after.remaining_burst_capacity();
        let others = u64::from(self.burst().saturating_sub(remaining).saturating_sub(1));
        let reset = owed.saturating_sub(others.saturating_mul(self.interval));
        Verdict { allowed: true, remaining, reset: Duration::from_nanos(reset) }
    }
}

/// At most [`FOREVER`].
fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(time.subsec_nanos().into()).min(FOREVER)
}

/// Both the interval and the burst are cut so that a bucket fills within [`FOREVER`]; an interval is whole
/// nanoseconds, rounded down.
fn quota(config: &config::RateLimit) -> Quota {
    let events = config.rate.events;
    let interval = config.rate.per.as_nanos() / u128::from(events.get());
    let interval = u64::try_from(interval).unwrap_or(FOREVER).clamp(1, FOREVER);
    let burst = u64::from(config.burst.unwrap_or(events).get()).min(FOREVER / interval);
    let burst = u32::try_from(burst).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    // The interval is not zero, so the first choice is never empty.
    Quota::with_period(Duration::from_nanos(interval))
        .unwrap_or(Quota::per_second(burst))
        .allow_burst(burst)
}

// === impl CallTime ===

impl Clock for CallTime {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::new(0)
    }
}
