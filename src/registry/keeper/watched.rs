//! One wanted service in the keeper's task: its state machine, and when it is read, written and forgotten.
//!
//! Owned by the driver. It never reads or writes by itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{saver::Saver, service::Service, slot::Slot};
use crate::{config::Graces, registry::Instance};

/// A service that nobody subscribes to is watched this much longer, so that edits of the config do not churn.
const LINGER: Duration = Duration::from_secs(60);

/// A service is read this long after it was first wanted, if the session has not spoken of it.
pub(super) const FIRST_READ: Duration = Duration::from_secs(2);

/// And then each 30 to 60 s.
pub(super) const RELIST: Duration = Duration::from_secs(30);

/// While it has never answered of a service, sooner: each 5 to 10 s.
const UNKNOWN: Duration = Duration::from_secs(5);

/// One wanted service.
pub(super) struct Watched {
    pub(super) service: Service,
    pub(super) slot: Arc<Slot>,
    pub(super) saver: Saver,
    /// When it is read next; `None` while a read waits or runs.
    pub(super) relist_at: Option<Instant>,
    /// Whether the wait for its first read is over.
    settled: bool,
    /// When it is forgotten, if nobody comes back.
    pub(super) idle_until: Option<Instant>,
    pub(super) alarm: Option<Instant>,
    held: bool,
}

// === impl Watched ===

impl Watched {
    pub(super) fn new(graces: Graces, down: bool, slot: Arc<Slot>, now: Instant) -> Self {
        Self {
            service: Service::new(graces, down),
            slot,
            saver: Saver::default(),
            relist_at: Some(now + FIRST_READ),
            settled: false,
            idle_until: None,
            alarm: None,
            held: false,
        }
    }

    /// Says whether the last subscriber has left or the first one come back.
    pub(super) fn follow_subscribers(&mut self, now: Instant) -> bool {
        let deserted = self.slot.is_deserted();
        let changed = deserted != self.idle_until.is_some();
        if changed {
            self.idle_until = deserted.then(|| now + LINGER);
        }
        changed
    }

    /// Where the session has spoken of the service by then, a read right after would only cost.
    pub(super) fn is_first_read_needless(&mut self) -> bool {
        !std::mem::replace(&mut self.settled, true) && self.service.is_known()
    }

    pub(super) fn read_again(&mut self, now: Instant, chance: f64) {
        let wait = if self.service.is_known() { RELIST } else { UNKNOWN };
        self.relist_at = Some(now + wait.mul_f64(1.0 + chance));
    }

    /// Tells the status, and the log when a hold begins or ends.
    pub(super) fn report(&mut self, registry: &str, service: &str, now: Instant) {
        let status = self.service.status(now);
        let (held, instances) = (status.held, status.instances);
        self.slot.set_status(status, now);
        match (std::mem::replace(&mut self.held, held), held) {
            (false, true) => tracing::warn!(
                registry,
                service,
                instances,
                "Instances vanished from the registry; they are kept until a second look agrees"
            ),
            (true, false) => {
                tracing::info!(
                    registry,
                    service,
                    instances,
                    "What the registry says is believed again"
                );
            }
            (false, false) | (true, true) => {}
        }
    }

    /// What is to be written to the disk now, if anything is.
    pub(super) fn save(&mut self, now: Instant) -> Option<Arc<[Instance]>> {
        let view = self.service.to_save()?;
        self.saver.take(now, view).then(|| view.clone())
    }

    pub(super) fn next(&self, saves: bool, now: Instant) -> Option<Instant> {
        let view = self.service.to_save().filter(|_| saves);
        let save = view.and_then(|view| self.saver.due_at(now, view));
        [self.service.deadline(), self.relist_at, self.idle_until, save].into_iter().flatten().min()
    }
}
