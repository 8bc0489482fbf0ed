//! How it stands with the registry itself: sessions, failures, and the one log line for each change.
//!
//! Kept by the keeper's task, read for the status. It never looks at a view.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff::Backoff,
    status::{LinkState, RegistryStatus, ServiceStatus},
};
use crate::registry::RegistryError;

/// A session that lived this long has proved itself: the next failure starts from the shortest wait.
const PROVEN: Duration = Duration::from_secs(60);

const RETRY: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));

/// A refusal is no hiccup, and many tries in a row lock an account.
const RETRY_REFUSED: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(60));

const LONGEST_ERROR: usize = 300;

/// The state of the link to one registry.
#[derive(Debug)]
pub(super) struct Health {
    state: LinkState,
    since: Instant,
    live_since: Option<Instant>,
    last_success: Option<Instant>,
    last_error: Option<String>,
    sessions: u64,
    /// Failures in a row.
    failures: u32,
    /// Services whose last read failed.
    unreadable: BTreeSet<Arc<str>>,
}

// === impl Health ===

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: LinkState::Connecting,
            since: now,
            live_since: None,
            last_success: None,
            last_error: None,
            sessions: 0,
            failures: 0,
            unreadable: BTreeSet::new(),
        }
    }

    pub(super) fn is_down(&self) -> bool {
        self.state == LinkState::Down
    }

    pub(super) fn is_live(&self) -> bool {
        self.live_since.is_some()
    }

    /// The registry has accepted a session.
    pub(super) fn live(&mut self, name: &str, now: Instant) {
        self.answered(now);
        self.sessions += 1;
        self.live_since = Some(now);
        self.unreadable.clear();
        self.enter(LinkState::Live, name, now);
    }

    /// The session is lost, or an attempt at one has failed.
    pub(super) fn lost(&mut self, name: &str, error: &RegistryError, now: Instant) {
        let proven = |live| now.saturating_duration_since(live) >= PROVEN;
        if self.live_since.take().is_some_and(proven) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.set_error(error);
        self.unreadable.clear();
        self.enter(LinkState::Down, name, now);
    }

    /// How long to wait after such an error before the next attempt; no longer than `cap`, where the kind asks for it.
    pub(super) fn wait(
        &self,
        error: &RegistryError,
        cap: Option<Duration>,
        chance: u64,
    ) -> Duration {
        let backoff = match error {
            RegistryError::Auth(_) => RETRY_REFUSED,
            RegistryError::Protocol(_) | RegistryError::Unavailable(_) => RETRY,
        };
        backoff.capped(cap).after(self.failures, chance)
    }

    /// The registry has said something.
    pub(super) fn answered(&mut self, now: Instant) {
        self.last_success = Some(now);
    }

    /// A read of a service has ended.
    pub(super) fn read(
        &mut self,
        name: &str,
        service: &Arc<str>,
        error: Option<&RegistryError>,
        now: Instant,
    ) {
        match error {
            Some(error) => {
                self.set_error(error);
                self.unreadable.insert(service.clone());
            }
            None => {
                self.answered(now);
                self.unreadable.remove(service);
            }
        }
        self.settle(name, now);
    }

    /// A service is wanted no more.
    pub(super) fn forget(&mut self, name: &str, service: &str, now: Instant) {
        self.unreadable.remove(service);
        self.settle(name, now);
    }

    pub(super) fn status(
        &self,
        name: Arc<str>,
        services: BTreeMap<Arc<str>, ServiceStatus>,
        now: Instant,
    ) -> RegistryStatus {
        let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        RegistryStatus {
            name,
            state: self.state,
            since_seconds: age(self.since),
            last_success_seconds: self.last_success.map(age),
            last_error: self.last_error.clone(),
            sessions: self.sessions,
            services,
        }
    }

    fn settle(&mut self, name: &str, now: Instant) {
        if self.is_live() {
            let whole = self.unreadable.is_empty();
            self.enter(if whole { LinkState::Live } else { LinkState::Degraded }, name, now);
        }
    }

    fn enter(&mut self, state: LinkState, name: &str, now: Instant) {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return;
        }
        let lasted = now.saturating_duration_since(self.since);
        self.since = now;
        let error = self.last_error.as_deref().unwrap_or_default();
        match state {
            LinkState::Connecting => {}
            LinkState::Degraded => {
                tracing::warn!(
                    registry = name,
                    error,
                    "A service of the registry cannot be read; its endpoints stay"
                );
            }
            LinkState::Down => {
                tracing::warn!(
                    registry = name,
                    error,
                    ?before,
                    "The registry is lost; endpoints stay as they are"
                );
            }
            LinkState::Live => {
                tracing::info!(registry = name, ?before, ?lasted, "The registry answers");
            }
        }
    }

    /// Kept short and on one line: a registry chooses its own words.
    fn set_error(&mut self, error: &RegistryError) {
        let text = error.to_string();
        let printable = |c: char| if c.is_control() { ' ' } else { c };
        self.last_error = Some(text.chars().map(printable).take(LONGEST_ERROR).collect());
    }
}
