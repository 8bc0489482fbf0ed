//! When a changed view is handed out: the first change at once, what follows it in bunches.
//!
//! Called by one service's state machine. It never holds a change longer than [`LONGEST`].

use std::time::{Duration, Instant};

/// A change this soon after another waits until it has been quiet for as long.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// The longest that a change waits, however restless its registry is.
pub(super) const LONGEST: Duration = Duration::from_secs(1);

/// Decides when the next change goes out.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    sent: Option<Instant>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    since: Instant,
    due: Instant,
}

// === impl Outbox ===

impl Outbox {
    pub(super) fn changed(&mut self, now: Instant) {
        let quiet = now + QUIET;
        match &mut self.pending {
            Some(pending) => pending.due = pending.due.max(quiet).min(pending.since + LONGEST),
            None => {
                let restless = self.sent.is_some_and(|sent| now < sent + QUIET);
                let due = if restless { quiet } else { now };
                self.pending = Some(Pending { since: now, due });
            }
        }
    }

    /// Whether the change is to go out now; says so once.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|due| due <= now);
        if due {
            self.pending = None;
            self.sent = Some(now);
        }
        due
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.as_ref().map(|pending| pending.due)
    }
}
