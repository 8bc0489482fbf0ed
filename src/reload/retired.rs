//! Snapshots that run no more, until no request sees them any more.
//!
//! Whoever drops a snapshot last frees all that only that one had. Kept here, that is never a request's thread.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::snapshot::Snapshot;

/// What was swapped out and may still be seen.
#[derive(Default)]
pub(super) struct Retired(Mutex<Vec<Arc<Snapshot>>>);

// === impl Retired ===

impl Retired {
    /// Takes a snapshot that is not given to any request from now on.
    pub(super) fn keep(&self, snapshot: Arc<Snapshot>) {
        self.0.lock().push(snapshot);
        self.forget();
    }

    /// Drops those that nobody else has.
    pub(super) fn forget(&self) {
        let mut retired = self.0.lock();
        // Who has the only one gives it to nobody: what is alone stays alone.
        let alone: Vec<_> =
            retired.extract_if(.., |snapshot| Arc::strong_count(snapshot) == 1).collect();
        drop(retired);
        drop(alone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        telemetry::metrics::{BuildInfo, Metrics},
    };

    #[test]
    fn a_snapshot_is_kept_until_nobody_else_has_it() {
        let metrics = Metrics::new(BuildInfo { version: "", revision: "", rustc: "" });
        let snapshot = Snapshot::build(Config::default(), "1".into(), &metrics, None).unwrap();
        let seen = Arc::new(snapshot);
        let retired = Retired::default();
        retired.keep(seen.clone());
        assert_eq!(Arc::strong_count(&seen), 2);
        let weak = Arc::downgrade(&seen);
        drop(seen);
        assert!(weak.upgrade().is_some());
        retired.forget();
        assert!(weak.upgrade().is_none());
    }
}
