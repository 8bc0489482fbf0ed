//! One instance of an upstream: what its registry says of it, and what we have seen of it.
//!
//! Built for each view by the table; tries hold it by `Arc`. What we have seen hangs on the address and outlives views.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use pingora::upstreams::peer::HttpPeer;

use super::{Weight, peer};

/// An instance as one view has it; immutable but for `state`, which it shares with its earlier and later selves.
#[derive(Debug)]
pub struct Instance {
    pub address: SocketAddr,
    pub weight: Weight,
    pub healthy: bool,
    pub enabled: bool,
    pub metadata: BTreeMap<String, String>,
    pub(super) peer: HttpPeer,
    pub(super) state: Arc<InstanceState>,
}

/// Why an instance is used or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Readiness {
    /// By its operator, a weight of zero included: never used.
    Disabled,
    /// By us, for a while.
    Ejected,
    Ready,
    /// By its registry.
    Unhealthy,
}

/// What we have seen of an address, whatever the registry says meanwhile.
#[derive(Debug)]
pub(super) struct InstanceState {
    since: Instant,
    in_flight: AtomicU32,
    /// Failures since the last success or ejection.
    pub(super) failures: AtomicU32,
    /// Ejections in a row, as the next one counts them. Written under the upstream's lock.
    pub(super) times: AtomicU32,
    /// When the last ejection ends, in nanoseconds since `since`; 0 where there was none.
    ejected_until: AtomicU64,
}

/// A try that is under way on an instance; it counts as in flight until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Instance>);

/// The addresses that a request was tried on. Up to four take no heap.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    first: [Option<SocketAddr>; 4],
    more: Vec<SocketAddr>,
}

// === impl Instance ===

impl Instance {
    /// Whether its operator lets it take traffic: what is disabled or weighs nothing is not used, whatever happens.
    pub fn is_eligible(&self) -> bool {
        self.enabled && self.weight.get() > 0.0
    }

    /// A peer for one try, given the time that the request has left for all of them.
    pub fn peer(&self, left: Duration) -> Box<HttpPeer> {
        peer::for_try(&self.peer, left)
    }

    /// A peer for a request to upgrade (WebSocket), which is HTTP/1.1 and may be silent once it is a tunnel.
    pub fn upgrade_peer(&self, left: Duration) -> Box<HttpPeer> {
        peer::for_upgrade(&self.peer, left)
    }

    pub fn in_flight(&self) -> u32 {
        self.state.in_flight.load(Relaxed)
    }

    pub fn is_ejected(&self, now: Instant) -> bool {
        self.state.is_ejected(now)
    }

    pub fn readiness(&self, now: Instant) -> Readiness {
        match () {
            () if !self.is_eligible() => Readiness::Disabled,
            () if !self.healthy => Readiness::Unhealthy,
            () if self.is_ejected(now) => Readiness::Ejected,
            () => Readiness::Ready,
        }
    }
}

// === impl Readiness ===

impl Readiness {
    /// The word of metrics and the status API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Ejected => "ejected",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
        }
    }
}

// === impl InstanceState ===

impl InstanceState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            in_flight: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            times: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
        }
    }

    pub(super) fn is_ejected(&self, now: Instant) -> bool {
        let until = self.ejected_until.load(Acquire);
        until > 0 && self.nanos(now) < until
    }

    /// When its last ejection ends or has ended.
    pub(super) fn ejected_until(&self) -> Option<Instant> {
        match self.ejected_until.load(Acquire) {
            0 => None,
            nanos => self.since.checked_add(Duration::from_nanos(nanos)),
        }
    }

    pub(super) fn eject(&self, until: Instant) {
        self.failures.store(0, Relaxed);
        self.ejected_until.store(self.nanos(until), Release);
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

// === impl InFlight ===

impl InFlight {
    pub fn new(instance: Arc<Instance>) -> Self {
        instance.state.in_flight.fetch_add(1, Relaxed);
        Self(instance)
    }

    pub fn instance(&self) -> &Arc<Instance> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.state.in_flight.fetch_sub(1, Relaxed);
    }
}

// === impl Tried ===

impl Tried {
    pub fn insert(&mut self, address: SocketAddr) {
        match self.first.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(address),
            None => self.more.push(address),
        }
    }

    pub fn contains(&self, address: &SocketAddr) -> bool {
        self.iter().any(|tried| tried == address)
    }

    pub fn is_empty(&self) -> bool {
        matches!(self.first, [None, ..])
    }

    pub fn len(&self) -> usize {
        self.iter().count()
    }

    fn iter(&self) -> impl Iterator<Item = &SocketAddr> {
        self.first.iter().flatten().chain(&self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tried_remembers_all() {
        let address = |n: u16| SocketAddr::from(([10, 0, 0, 1], n));
        let mut tried = Tried::default();
        assert!(tried.is_empty());
        for n in 1..=9 {
            assert!(!tried.contains(&address(n)));
            tried.insert(address(n));
            assert!((1..=n).all(|n| tried.contains(&address(n))));
        }
        assert_eq!((tried.len(), tried.is_empty()), (9, false));
    }
}
