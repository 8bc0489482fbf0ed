//! Which instance: upstreams, their instances, and who of them may be called.
//!
//! Views come in from `registry`, tries from `gateway`. A pick never waits and never asks a registry: it reads the table
//! built from the last view.

mod balancer;
mod circuit_breaker;
mod ejection;
mod instance;
mod instances;
mod outcome;
mod peer;
mod retry;
mod seen;
mod sync;
mod targets;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

pub use self::{
    balancer::{Balancer, Weight},
    circuit_breaker::{CircuitBreaker, Open, Permit, State, Transitions},
    instance::{InFlight, Instance, Readiness, Tried},
    outcome::{Ending, Outcome},
    peer::PeerError,
    retry::{LiveRequest, Retry, RetryBudget},
    targets::Targets,
};
use self::{
    ejection::Ejection,
    instance::InstanceState,
    instances::{Cleaned, Table},
    peer::Peers,
    seen::Seen,
};
use crate::{config, registry};

/// A service that routes forward to: how it is called, and the instances of its last view.
#[derive(Debug)]
pub struct Upstream {
    config: Arc<config::Upstream>,
    peers: Peers,
    ejection: Ejection,
    retries: Arc<RetryBudget>,
    table: ArcSwap<Table>,
    /// Held to build a table, to eject and to count; never to pick.
    seen: Mutex<Seen>,
    ejections: AtomicU64,
}

/// What a view came to, for the log line that says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub instances: usize,
    /// Those that may take traffic at all: enabled, with a weight above zero.
    pub eligible: usize,
    /// Instances dropped because another of the same address was told too.
    pub duplicates: usize,
    /// Instances whose weight made no sense and was read as 1.
    pub odd_weights: usize,
    /// Instances dropped because their port is 0.
    pub without_port: usize,
}

/// What an upstream is like at a moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// By address.
    pub instances: Vec<InstanceStatus>,
    /// So few instances are usable that all eligible ones are used.
    pub panic: bool,
}

/// One instance of a [`Status`].
#[derive(Clone, Debug)]
pub struct InstanceStatus {
    pub instance: Arc<Instance>,
    pub readiness: Readiness,
    pub in_flight: u32,
}

// === impl Upstream ===

impl Upstream {
    /// An upstream without instances, until a view is applied.
    ///
    /// # Errors
    /// [`PeerError`] when its TLS settings cannot be used.
    pub fn new(config: Arc<config::Upstream>, now: Instant) -> Result<Self, PeerError> {
        let table = Table::new(Vec::new(), config.ejection.panic_threshold.0, now);
        Ok(Self {
            peers: Peers::load(&config)?,
            ejection: Ejection::new(&config.ejection),
            retries: Arc::new(RetryBudget::new(&config.retries)),
            table: ArcSwap::from_pointee(table),
            seen: Mutex::default(),
            ejections: AtomicU64::new(0),
            config,
        })
    }

    /// Takes over what an upstream of the same name has seen of its instances, before the first view is applied: an
    /// edited time-out does not bring ejected instances back.
    pub fn inherit(&self, older: &Self, now: Instant) {
        let inherited = older.seen.lock().clone();
        self.seen.lock().inherit(inherited, now);
    }

    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    pub fn retry_budget(&self) -> &Arc<RetryBudget> {
        &self.retries
    }

    /// Builds the table of a view and puts it in the place of the last one. Requests that picked from that keep what they
    /// have.
    pub fn apply(&self, view: &[registry::Instance], now: Instant) -> Applied {
        let cleaned = Cleaned::new(view);
        let mut seen = self.seen.lock();
        let last = self.table.load_full();
        seen.begin_view(now);
        let members: Vec<_> = cleaned
            .instances
            .iter()
            .map(|(told, weight)| self.member(&last, seen.state(told.address, now), told, *weight))
            .collect();
        seen.forget(now);
        let table = Table::new(members, self.config.ejection.panic_threshold.0, now);
        let applied = Applied {
            instances: cleaned.instances.len(),
            eligible: table.eligible(),
            duplicates: cleaned.duplicates,
            odd_weights: cleaned.odd_weights,
            without_port: cleaned.without_port,
        };
        self.table.store(Arc::new(table));
        applied
    }

    /// Picks an instance by weight among those that were not tried; `None` where none is left, or none is usable.
    pub fn pick(
        &self,
        tried: &Tried,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Option<Arc<Instance>> {
        let table = self.table.load();
        self.recount_if_due(&table, now);
        table.pick(tried, now, rng).cloned()
    }

    /// Whether any instance may take traffic at all, ejected and unhealthy ones included.
    pub fn has_instances(&self) -> bool {
        self.table.load().eligible() > 0
    }

    /// Counts how a try on an instance ended, and ejects it where that is one failure too many.
    pub fn report(&self, instance: &Instance, outcome: Outcome, now: Instant) {
        if self.ejection.count(&instance.state, outcome, now) {
            self.try_eject(instance, now);
        }
    }

    /// Ejections since the upstream was built.
    pub fn ejections(&self) -> u64 {
        self.ejections.load(Relaxed)
    }

    /// Every instance and why it is used or not, for the status API and for gauges.
    pub fn status(&self, now: Instant) -> Status {
        let table = self.table.load_full();
        self.recount_if_due(&table, now);
        let status = |instance: &Arc<Instance>| InstanceStatus {
            instance: Arc::clone(instance),
            readiness: instance.readiness(now),
            in_flight: instance.in_flight(),
        };
        Status {
            instances: table.members().iter().map(status).collect(),
            panic: table.is_panicking(),
        }
    }

    /// An instance of the table to be: the one of the last table where nothing about it changed.
    fn member(
        &self,
        last: &Table,
        state: Arc<InstanceState>,
        told: &registry::Instance,
        weight: Weight,
    ) -> Arc<Instance> {
        let unchanged = |known: &Arc<Instance>| {
            known.weight == weight
                && known.healthy == told.healthy
                && known.enabled == told.enabled
                && known.metadata == told.metadata
                && Arc::ptr_eq(&known.state, &state)
        };
        if let Some(known) = last.member(&told.address).filter(|known| unchanged(known)) {
            return Arc::clone(known);
        }
        Arc::new(Instance {
            address: told.address,
            weight,
            healthy: told.healthy,
            enabled: told.enabled,
            metadata: told.metadata.clone(),
            peer: self.peers.peer(told.address),
            state,
        })
    }

    fn recount_if_due(&self, table: &Table, now: Instant) {
        // Whoever holds the lock counts; until it has, the last count is as good.
        if table.is_recount_due(now)
            && let Some(_counting) = self.seen.try_lock()
        {
            table.recount(now);
        }
    }

    fn try_eject(&self, instance: &Instance, now: Instant) {
        let table = self.table.load();
        // Asked first, so that one that fails on and may not be ejected costs next to nothing.
        let room = || self.ejection.has_room(table.ejected(), table.eligible());
        if !room() && !table.is_recount_due(now) {
            return;
        }
        // The next failure comes here again: no request waits for the lock.
        let Some(_changing) = self.seen.try_lock() else { return };
        let table = self.table.load();
        table.recount(now);
        // Another thread may have been first, and an instance that is not in use is not worth one of the few ejections.
        let in_use = table.member(&instance.address).is_some_and(|member| member.is_eligible());
        if in_use
            && !instance.is_ejected(now)
            && self.ejection.has_room(table.ejected(), table.eligible())
        {
            self.ejection.eject(&instance.state, now);
            self.ejections.fetch_add(1, Relaxed);
            table.recount(now);
        }
    }
}
