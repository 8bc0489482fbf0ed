//! Which service is read next, and when: reads go out at a bounded rate, and a bounded number at once.
//!
//! Asked by the keeper's task. It never holds a service twice for the same purpose, since the caller never asks so.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use super::service::Purpose;

/// At most 200 reads a second: a thousand services must not hit a registry that has just come back at once.
const SPACING: Duration = Duration::from_millis(5);

const AT_ONCE: usize = 16;

/// How long reads rest after one failed while the session is lost too: the session's own attempts are probes enough.
const REST: Duration = Duration::from_secs(30);

/// Reads that wait for their turn.
#[derive(Debug, Default)]
pub(super) struct Reads {
    confirm: VecDeque<Arc<str>>,
    relist: VecDeque<Arc<str>>,
    running: usize,
    not_before: Option<Instant>,
}

// === impl Reads ===

impl Reads {
    /// Confirmations go first: instances that may be dead are in use until then.
    pub(super) fn push(&mut self, service: Arc<str>, purpose: Purpose) {
        match purpose {
            Purpose::Confirm => self.confirm.push_back(service),
            Purpose::Relist => self.relist.push_back(service),
        }
    }

    /// The next read that may begin now; the caller says when it [`Self::ended`].
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Arc<str>, Purpose)> {
        if self.running >= AT_ONCE || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let confirm = self.confirm.pop_front().map(|service| (service, Purpose::Confirm));
        let next = confirm.or_else(|| Some((self.relist.pop_front()?, Purpose::Relist)))?;
        self.running += 1;
        self.not_before = Some(now + SPACING);
        Some(next)
    }

    pub(super) fn ended(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    pub(super) fn rest(&mut self, now: Instant) {
        self.not_before = Some(now + REST);
    }

    /// The registry is back: what waits may go.
    pub(super) fn wake(&mut self, now: Instant) {
        self.not_before = self.not_before.map(|at| at.min(now + SPACING));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let possible =
            self.running < AT_ONCE && !(self.confirm.is_empty() && self.relist.is_empty());
        self.not_before.filter(|_| possible)
    }

    /// A service that is wanted no more is not read.
    pub(super) fn forget(&mut self, service: &str) {
        self.confirm.retain(|waiting| **waiting != *service);
        self.relist.retain(|waiting| **waiting != *service);
    }
}
