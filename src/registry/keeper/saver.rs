//! When a service's disk copy is written again.
//!
//! Asked by the keeper's task for each service. It never asks for two writes of one service at once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::registry::Instance;

/// A service that changes all the time is written this often and no more.
const SPACING: Duration = Duration::from_secs(5);

/// After a write that failed: a full disk does not get better by being asked again.
const SPACING_FAILED: Duration = Duration::from_secs(60);

/// What of one service is on the disk.
#[derive(Debug, Default)]
pub(super) struct Saver {
    saved: Option<Arc<[Instance]>>,
    writing: bool,
    not_before: Option<Instant>,
}

// === impl Saver ===

impl Saver {
    /// Whether `view` is to be written now; the caller does so and says when it [`Self::ended`].
    pub(super) fn take(&mut self, now: Instant, view: &Arc<[Instance]>) -> bool {
        let due = self.due_at(now, view).is_some_and(|at| at <= now);
        if due {
            self.writing = true;
            self.saved = Some(view.clone());
        }
        due
    }

    pub(super) fn ended(&mut self, now: Instant, written: bool) {
        self.writing = false;
        if !written {
            self.saved = None;
        }
        self.not_before = Some(now + if written { SPACING } else { SPACING_FAILED });
    }

    /// When `view` is to be written, if it is not on the disk.
    pub(super) fn due_at(&self, now: Instant, view: &Arc<[Instance]>) -> Option<Instant> {
        let known = self.saved.as_ref().is_some_and(|saved| Arc::ptr_eq(saved, view));
        (!known && !self.writing).then(|| self.not_before.unwrap_or(now))
    }
}
