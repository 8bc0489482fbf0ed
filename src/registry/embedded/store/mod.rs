//! What has registered, and until when that holds.
//!
//! Called by the API to change it and by the session to read it and to let time pass. It knows no clock of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::SocketAddr,
    time::Duration,
};

use tokio::time::Instant;

use super::service::ServiceKey;
use crate::registry::{self, View};

/// All services and their instances.
#[derive(Default)]
pub(super) struct Store {
    services: BTreeMap<ServiceKey, Service>,
    instances: usize,
    /// Services whose view is no longer what it was.
    changed: BTreeSet<ServiceKey>,
}

/// An instance as its client describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Registered {
    pub(super) address: SocketAddr,
    pub(super) weight: f64,
    pub(super) enabled: bool,
    pub(super) healthy: bool,
    /// Lives by its beats; others stay until they are deregistered.
    pub(super) ephemeral: bool,
    pub(super) cluster: String,
    pub(super) metadata: BTreeMap<String, String>,
}

/// What an operator changes of an instance; the rest stays.
#[derive(Debug, Default)]
pub(super) struct Edit {
    pub(super) weight: Option<f64>,
    pub(super) enabled: Option<bool>,
    pub(super) healthy: Option<bool>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
}

/// How an instance beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pulse {
    pub(super) interval: Duration,
    pub(super) unhealthy_after: Duration,
    pub(super) removed_after: Duration,
}

/// Something that does not fit in any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) &'static str);

#[derive(Default)]
struct Service {
    instances: BTreeMap<SocketAddr, Entry>,
    /// No instance changes by time alone before this.
    next: Option<Instant>,
}

struct Entry {
    registered: Registered,
    pulse: Pulse,
    last_beat: Instant,
}

const MAX_SERVICES: usize = 1000;
const MAX_SERVICE_INSTANCES: usize = 1000;
const MAX_INSTANCES: usize = 10_000;

// === impl Store ===

impl Store {
    /// Takes an instance in, or takes what it says anew.
    pub(super) fn register(
        &mut self,
        key: &ServiceKey,
        registered: Registered,
        now: Instant,
    ) -> Result<(), Full> {
        let known = self.services.get(key);
        if known.is_none_or(|service| !service.instances.contains_key(&registered.address)) {
            let in_service = known.map_or(0, |service| service.instances.len());
            let bounds = [
                (known.is_none() && self.services.len() >= MAX_SERVICES, "services"),
                (in_service >= MAX_SERVICE_INSTANCES, "instances of this service"),
                (self.instances >= MAX_INSTANCES, "instances"),
            ];
            if let Some((_, what)) = bounds.into_iter().find(|(reached, _)| *reached) {
                return Err(Full(what));
            }
            self.instances += 1;
        }
        let entry = Entry { pulse: Pulse::of(&registered), registered, last_beat: now };
        let service = self.services.entry(key.clone()).or_default();
        service.next = earlier(service.next, entry.next());
        let address = entry.registered.address;
        let before = service.instances.insert(address, entry);
        let after = service.instances.get(&address);
        if before.as_ref().map(|entry| &entry.registered) != after.map(|entry| &entry.registered) {
            self.changed.insert(key.clone());
        }
        Ok(())
    }

    /// Removes an instance; one that is not there is removed already.
    pub(super) fn deregister(&mut self, key: &ServiceKey, address: SocketAddr) {
        let Some(service) = self.services.get_mut(key) else { return };
        if service.instances.remove(&address).is_some() {
            self.instances -= 1;
            self.changed.insert(key.clone());
        }
        if service.instances.is_empty() {
            self.services.remove(key);
        }
    }

    /// Changes an instance. False: there is none.
    pub(super) fn edit(&mut self, key: &ServiceKey, address: SocketAddr, edit: Edit) -> bool {
        let Some(service) = self.services.get_mut(key) else { return false };
        let Some(entry) = service.instances.get_mut(&address) else { return false };
        if entry.edit(edit) {
            service.next = earlier(service.next, entry.next());
            self.changed.insert(key.clone());
        }
        true
    }

    /// Takes a beat, and says how often to beat. None: there is no such instance.
    pub(super) fn beat(
        &mut self,
        key: &ServiceKey,
        address: SocketAddr,
        now: Instant,
    ) -> Option<Duration> {
        let service = self.services.get_mut(key)?;
        let entry = service.instances.get_mut(&address)?;
        entry.last_beat = now;
        if !mem::replace(&mut entry.registered.healthy, true) {
            service.next = earlier(service.next, entry.next());
            self.changed.insert(key.clone());
        }
        Some(entry.pulse.interval)
    }

    /// Lets time pass: who has not beaten becomes unhealthy, and later is removed. Says when to come again.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Instant> {
        let (instances, changed) = (&mut self.instances, &mut self.changed);
        self.services.retain(|key, service| {
            if service.next.is_some_and(|next| next <= now) {
                let before = service.instances.len();
                if service.expire(now) {
                    changed.insert(key.clone());
                }
                *instances -= before - service.instances.len();
            }
            !service.instances.is_empty()
        });
        self.services.values().filter_map(|service| service.next).min()
    }

    /// Takes every instance as having beaten now: while nobody listened, no beat could arrive.
    pub(super) fn resume(&mut self, now: Instant) {
        for service in self.services.values_mut() {
            service.instances.values_mut().for_each(|entry| entry.last_beat = now);
        }
    }

    /// The services that changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> BTreeSet<ServiceKey> {
        mem::take(&mut self.changed)
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What a gateway sees of a service.
    pub(super) fn view(&self, key: &ServiceKey) -> View {
        match self.services.get(key) {
            None => View::Absent,
            Some(service) => {
                View::Instances(service.registered().map(Registered::to_instance).collect())
            }
        }
    }

    /// The instances of a service, with the interval at which each beats.
    pub(super) fn instances(&self, key: &ServiceKey) -> impl Iterator<Item = (&Registered, Pulse)> {
        let entries =
            self.services.get(key).into_iter().flat_map(|service| service.instances.values());
        entries.map(|entry| (&entry.registered, entry.pulse))
    }

    /// The services of a namespace and group, in the order of their names.
    pub(super) fn services<'a>(
        &'a self,
        namespace: &'a str,
        group: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let keys = self.services.keys();
        keys.filter(move |key| key.namespace == namespace && key.group == group)
            .map(|key| key.name.as_str())
    }

    /// How many services and instances there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.services.len(), self.instances)
    }
}

// === impl Registered ===

impl Registered {
    fn to_instance(&self) -> registry::Instance {
        registry::Instance {
            address: self.address,
            weight: self.weight,
            healthy: self.healthy,
            enabled: self.enabled,
            metadata: self.metadata.clone(),
        }
    }
}

// === impl Pulse ===

impl Pulse {
    /// Nacos' own.
    pub(super) const DEFAULT: Self = Self {
        interval: Duration::from_secs(5),
        unhealthy_after: Duration::from_secs(15),
        removed_after: Duration::from_secs(30),
    };

    /// The default, unless the instance's metadata asks for other times. They are kept within bounds: too short, and a
    /// busy machine loses healthy instances; too long, and dead ones stay.
    pub(super) fn of(registered: &Registered) -> Self {
        let millis = |name, default, (least, most)| {
            let asked = registered.metadata.get(name).and_then(|millis| millis.parse().ok());
            asked.map_or(default, Duration::from_millis).clamp(least, most)
        };
        let secs = Duration::from_secs;
        let times = (secs(1), secs(3600));
        let Self { interval, unhealthy_after, removed_after } = Self::DEFAULT;
        let unhealthy_after = millis("preserved.heart.beat.timeout", unhealthy_after, times);
        Self {
            interval: millis("preserved.heart.beat.interval", interval, (secs(1), secs(60))),
            unhealthy_after,
            removed_after: millis("preserved.ip.delete.timeout", removed_after, times)
                .max(unhealthy_after),
        }
    }
}

// === impl Service ===

impl Service {
    fn registered(&self) -> impl Iterator<Item = &Registered> {
        self.instances.values().map(|entry| &entry.registered)
    }

    /// True if anything changed.
    fn expire(&mut self, now: Instant) -> bool {
        let mut changed = false;
        self.next = None;
        self.instances.retain(|_, entry| {
            let fate = entry.fate(now);
            changed |= fate != Fate::Stays;
            if fate == Fate::Unhealthy {
                entry.registered.healthy = false;
            }
            if fate != Fate::Removed {
                self.next = earlier(self.next, entry.next());
            }
            fate != Fate::Removed
        });
        changed
    }
}

// === impl Entry ===

/// What becomes of an instance as time passes.
#[derive(PartialEq)]
enum Fate {
    Removed,
    Stays,
    Unhealthy,
}

impl Entry {
    /// True if anything changed.
    fn edit(&mut self, edit: Edit) -> bool {
        let registered = &mut self.registered;
        let before = registered.clone();
        registered.weight = edit.weight.unwrap_or(registered.weight);
        registered.enabled = edit.enabled.unwrap_or(registered.enabled);
        registered.healthy = edit.healthy.unwrap_or(registered.healthy);
        if let Some(metadata) = edit.metadata {
            registered.metadata = metadata;
            self.pulse = Pulse::of(registered);
        }
        *registered != before
    }

    fn fate(&self, now: Instant) -> Fate {
        let silent = now.saturating_duration_since(self.last_beat);
        if !self.registered.ephemeral || silent < self.pulse.unhealthy_after {
            Fate::Stays
        } else if silent >= self.pulse.removed_after {
            Fate::Removed
        } else if self.registered.healthy {
            Fate::Unhealthy
        } else {
            Fate::Stays
        }
    }

    /// When silence next changes something.
    fn next(&self) -> Option<Instant> {
        let after = if self.registered.healthy {
            self.pulse.unhealthy_after
        } else {
            self.pulse.removed_after
        };
        self.registered.ephemeral.then(|| self.last_beat + after)
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests;
