//! The instances of one view, ready to be drawn from.
//!
//! Built by `Upstream::apply`, read by each pick. A table never changes but for the count of its ejected members, and it
//! never draws what the operator disabled.

use std::{
    cmp::Ordering,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Release},
        },
    },
    time::Instant,
};

use super::{
    Balancer, Weight,
    instance::{Instance, Tried},
};
use crate::registry;

/// The instances of a view, by address, and the tables to draw from.
#[derive(Debug)]
pub(super) struct Table {
    members: Box<[Arc<Instance>]>,
    /// Over the members that are eligible and healthy.
    healthy: Option<Balancer>,
    /// Over all that are eligible, where these are more.
    every: Option<Balancer>,
    eligible: usize,
    /// Usable members below which all eligible ones are used.
    panic_below: f64,
    since: Instant,
    /// Ejected members, of those that are eligible and healthy, as last counted.
    ejected: AtomicUsize,
    /// When the next of them is back, in nanoseconds from `since`.
    recount_at: AtomicU64,
}

/// A view without what cannot be: one instance for each address, with a weight that can be drawn by.
#[derive(Debug)]
pub(super) struct Cleaned<'a> {
    /// By address.
    pub(super) instances: Vec<(&'a registry::Instance, Weight)>,
    pub(super) duplicates: usize,
    pub(super) odd_weights: usize,
    pub(super) without_port: usize,
}

// === impl Table ===

impl Table {
    /// A table of members, which are sorted by address.
    pub(super) fn new(members: Vec<Arc<Instance>>, panic_threshold: f64, now: Instant) -> Self {
        let eligible = members.iter().filter(|member| member.is_eligible()).count();
        let weights = |used: fn(&Instance) -> bool| {
            let weight = move |m: &Arc<Instance>| if used(m) { m.weight.get() } else { 0.0 };
            Balancer::new(members.iter().map(weight))
        };
        let healthy = weights(is_healthy);
        let all_healthy = healthy.as_ref().map_or(0, Balancer::len) == eligible;
        let every = if all_healthy { None } else { weights(Instance::is_eligible) };
        let table = Self {
            healthy,
            every,
            eligible,
            panic_below: panic_threshold * eligible as f64,
            since: now,
            ejected: AtomicUsize::new(0),
            recount_at: AtomicU64::new(u64::MAX),
            members: members.into(),
        };
        table.recount(now);
        table
    }

    pub(super) fn members(&self) -> &[Arc<Instance>] {
        &self.members
    }

    pub(super) fn member(&self, address: &SocketAddr) -> Option<&Arc<Instance>> {
        let index = self.members.binary_search_by(|member| member.address.cmp(address)).ok()?;
        self.members.get(index)
    }

    pub(super) fn eligible(&self) -> usize {
        self.eligible
    }

    pub(super) fn ejected(&self) -> usize {
        self.ejected.load(Acquire)
    }

    /// Whether so few members are usable that all eligible ones are used.
    pub(super) fn is_panicking(&self) -> bool {
        self.panics_with(self.ejected())
    }

    fn panics_with(&self, ejected: usize) -> bool {
        let healthy = self.healthy.as_ref().map_or(0, Balancer::len);
        (healthy.saturating_sub(ejected) as f64) < self.panic_below
    }

    /// Draws a member that was not tried, and is not ejected unless in panic.
    pub(super) fn pick(
        &self,
        tried: &Tried,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Instance>> {
        let ejected = self.ejected();
        let panics = self.panics_with(ejected);
        let balancer = if panics {
            self.every.as_ref().or(self.healthy.as_ref())
        } else {
            self.healthy.as_ref()
        }?;
        // All but always, nothing is tried and nobody is ejected.
        let index = if tried.is_empty() && (panics || ejected == 0) {
            balancer.pick(rng.u64(..))?
        } else {
            balancer.pick_where(rng, |index| {
                self.members.get(index).is_some_and(|member| {
                    (panics || !member.is_ejected(now)) && !tried.contains(&member.address)
                })
            })?
        };
        self.members.get(index)
    }

    /// Whether an ejection has ended since the last count.
    pub(super) fn is_recount_due(&self, now: Instant) -> bool {
        self.ejected() > 0 && self.nanos(now) >= self.recount_at.load(Acquire)
    }

    /// Counts the ejected anew. Called under the upstream's lock, or an older count could be written over a newer one.
    pub(super) fn recount(&self, now: Instant) {
        let ejected = self.members.iter().filter(|m| is_healthy(m) && m.is_ejected(now));
        let (mut count, mut next) = (0, u64::MAX);
        for member in ejected {
            count += 1;
            next = member.state.ejected_until().map_or(next, |until| next.min(self.nanos(until)));
        }
        self.recount_at.store(next, Release);
        self.ejected.store(count, Release);
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn is_healthy(instance: &Instance) -> bool {
    instance.is_eligible() && instance.healthy
}

// === impl Cleaned ===

impl<'a> Cleaned<'a> {
    pub(super) fn new(view: &'a [registry::Instance]) -> Self {
        let mut odd_weights = 0;
        let mut instances: Vec<_> = view
            .iter()
            .filter(|instance| instance.address.port() != 0)
            .map(|instance| {
                let (weight, odd) = Weight::from_registry(instance.weight);
                odd_weights += usize::from(odd);
                (instance, weight)
            })
            .collect();
        let without_port = view.len() - instances.len();
        instances.sort_by(by_address_then_best);
        let told = instances.len();
        instances.dedup_by_key(|(instance, _)| instance.address);
        let duplicates = told - instances.len();
        Self { instances, duplicates, odd_weights, without_port }
    }
}

/// Of the same address told twice, the enabled one is believed, then the healthy, then the heavier.
fn by_address_then_best(
    (a, a_weight): &(&registry::Instance, Weight),
    (b, b_weight): &(&registry::Instance, Weight),
) -> Ordering {
    let rank = |instance: &registry::Instance| (instance.enabled, instance.healthy);
    (a.address.cmp(&b.address))
        .then_with(|| rank(b).cmp(&rank(a)))
        .then_with(|| b_weight.get().total_cmp(&a_weight.get()))
}
