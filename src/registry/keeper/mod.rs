//! The keeper: one registry's sessions, what to believe of them, and who is told.
//!
//! Started by [`Keepers`](super::Keepers), subscribed to by `snapshot`. It never lets the loss of its registry change
//! an endpoint, and no request ever waits for it.

mod backoff;
mod disk;
mod driver;
mod instances;
mod link;
mod outbox;
mod reads;
mod saver;
mod service;
mod slot;
mod status;
#[cfg(test)]
mod tests;
mod watched;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle};

pub use disk::DiskCopy;
pub use status::{LinkState, Origin, RegistryStatus, ServiceStatus, ViewCounts, ViewState};

pub(in crate::registry) use disk::fingerprint;

use super::{Instance, Registry};
use crate::config::Graces;
use driver::Driver;
use link::Health;
use slot::{Slot, SubscriberId};

/// Keeps the services of one registry. Its task ends when it is dropped, which its subscriptions keep from happening.
pub struct Keeper {
    shared: Arc<Shared>,
    task: AbortHandle,
}

/// Someone who is told of one service, until this is dropped. A call that has begun by then may still finish.
pub struct Subscription {
    // First: its end has to be known before the keeper's.
    _cancel: Cancel,
    slot: Arc<Slot>,
    _keeper: Arc<Keeper>,
}

struct Cancel {
    slot: Arc<Slot>,
    id: SubscriberId,
    shared: Arc<Shared>,
}

/// What a keeper and its task have in common.
struct Shared {
    name: Arc<str>,
    /// Changed only under its lock: who finds a slot without subscribers here may remove it.
    slots: Mutex<BTreeMap<Arc<str>, Arc<Slot>>>,
    /// Somebody came or went.
    changed: Notify,
    health: Mutex<Health>,
}

// === impl Keeper ===

impl Keeper {
    /// Starts to keep the registry `name` on the given runtime.
    pub fn start(
        handle: &Handle,
        name: Arc<str>,
        kind: Arc<dyn Registry>,
        graces: Graces,
        disk: Option<DiskCopy>,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            name,
            slots: Mutex::default(),
            changed: Notify::new(),
            health: Mutex::new(Health::new(driver::now())),
        });
        let driver = Driver::new(shared.clone(), kind, graces, disk);
        let task = handle.spawn(driver.run()).abort_handle();
        Arc::new(Self { shared, task })
    }

    /// Tells `on_view` of each view of a service, in order and never two at once; of the last one before this returns.
    ///
    /// It runs on the caller's thread first and on the keeper's task then, so it must not block. What it captures
    /// lives as long as the subscription: do not capture what owns that.
    pub fn subscribe(
        self: &Arc<Self>,
        service: &str,
        on_view: impl Fn(&[Instance]) + Send + Sync + 'static,
    ) -> Subscription {
        let (slot, id) = {
            let mut slots = self.shared.slots.lock();
            let slot = match slots.get(service) {
                Some(slot) => slot.clone(),
                None => slots.entry(service.into()).or_default().clone(),
            };
            let id = slot.join(Box::new(on_view));
            (slot, id)
        };
        self.shared.changed.notify_one();
        slot.replay(id);
        let cancel = Cancel { slot: slot.clone(), id, shared: self.shared.clone() };
        Subscription { _cancel: cancel, slot, _keeper: self.clone() }
    }

    /// How it stands with the registry and each service, now.
    pub fn status(&self) -> RegistryStatus {
        let now = driver::now();
        let slots = self.shared.slots.lock().clone();
        let services = slots.iter().map(|(name, slot)| (name.clone(), slot.status(now))).collect();
        self.shared.health.lock().status(self.shared.name.clone(), services, now)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Subscription ===

impl Subscription {
    /// Waits until there is a view, from the registry or from the disk. Without bound: the caller sets one.
    pub async fn first_view(&self) {
        self.slot.first_view().await;
    }

    pub fn has_view(&self) -> bool {
        self.slot.has_view()
    }
}

// === impl Cancel ===

impl Drop for Cancel {
    fn drop(&mut self) {
        self.slot.leave(self.id);
        self.shared.changed.notify_one();
    }
}
