//! The subscribers of one service, and the last view that they were told.
//!
//! Written by the keeper's task, read by whoever subscribes. No lock is held while a subscriber is called but that
//! subscriber's own, so that it may subscribe, leave or ask for the status.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::status::{ServiceStatus, ViewState};
use crate::registry::Instance;

/// One service's place in a keeper.
pub(super) struct Slot {
    state: Mutex<State>,
    has_view: watch::Sender<bool>,
    /// The status, and when it was so: ages grow until it is asked for.
    facts: Mutex<Option<(ServiceStatus, Instant)>>,
}

/// Names one subscriber of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriberId(u64);

pub(super) type OnView = Box<dyn Fn(&[Instance]) + Send + Sync>;

#[derive(Default)]
struct State {
    last: Option<Numbered>,
    subscribers: Vec<(SubscriberId, Arc<Subscriber>)>,
    next_id: u64,
}

/// A view and its number, from 1 on.
#[derive(Clone)]
struct Numbered {
    number: u64,
    instances: Arc<[Instance]>,
}

struct Subscriber {
    on_view: OnView,
    /// The number of the view it was told last; locked while it is told, or a replay could come after a newer view.
    told: Mutex<u64>,
    gone: AtomicBool,
}

// === impl Slot ===

impl Default for Slot {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            has_view: watch::Sender::new(false),
            facts: Mutex::default(),
        }
    }
}

impl Slot {
    pub(super) fn join(&self, on_view: OnView) -> SubscriberId {
        let mut state = self.state.lock();
        let id = SubscriberId(state.next_id);
        state.next_id += 1;
        let subscriber = Subscriber { on_view, told: Mutex::new(0), gone: AtomicBool::new(false) };
        state.subscribers.push((id, Arc::new(subscriber)));
        id
    }

    pub(super) fn leave(&self, id: SubscriberId) {
        let mut state = self.state.lock();
        let Some(at) = state.subscribers.iter().position(|(other, _)| *other == id) else { return };
        let (_, subscriber) = state.subscribers.remove(at);
        drop(state);
        // What it captures is dropped outside of the lock.
        subscriber.gone.store(true, Ordering::Release);
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.state.lock().subscribers.is_empty()
    }

    /// Tells one subscriber the last view, if there is one.
    pub(super) fn replay(&self, id: SubscriberId) {
        let found = {
            let state = self.state.lock();
            let subscriber = state.subscribers.iter().find(|(other, _)| *other == id);
            state.last.clone().zip(subscriber.map(|(_, subscriber)| subscriber.clone()))
        };
        if let Some((view, subscriber)) = found {
            subscriber.tell(&view);
        }
    }

    /// Tells all subscribers. One that panics is left alone with it: the others and the keeper go on.
    pub(super) fn publish(&self, instances: Arc<[Instance]>) {
        let (view, subscribers) = {
            let mut state = self.state.lock();
            let number = state.last.as_ref().map_or(1, |last| last.number + 1);
            let view = Numbered { number, instances };
            state.last = Some(view.clone());
            let all: Vec<_> = state.subscribers.iter().map(|(_, one)| one.clone()).collect();
            (view, all)
        };
        for subscriber in subscribers {
            subscriber.tell(&view);
        }
        self.has_view.send_replace(true);
    }

    pub(super) fn has_view(&self) -> bool {
        *self.has_view.borrow()
    }

    pub(super) async fn first_view(&self) {
        // The sender lives in `self`, so this cannot end without a view.
        let _ = self.has_view.subscribe().wait_for(|has| *has).await;
    }

    pub(super) fn set_status(&self, status: ServiceStatus, now: Instant) {
        *self.facts.lock() = Some((status, now));
    }

    pub(super) fn status(&self, now: Instant) -> ServiceStatus {
        let Some((mut status, at)) = self.facts.lock().clone() else {
            return ServiceStatus::UNKNOWN;
        };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        for age in [&mut status.age_seconds, &mut status.stale_seconds, &mut status.held_seconds] {
            *age = age.map(|age| age + passed);
        }
        status
    }
}

// === impl Subscriber ===

impl Subscriber {
    fn tell(&self, view: &Numbered) {
        let mut told = self.told.lock();
        if *told >= view.number || self.gone.load(Ordering::Acquire) {
            return;
        }
        *told = view.number;
        if catch_unwind(AssertUnwindSafe(|| (self.on_view)(&view.instances))).is_err() {
            tracing::error!("A subscriber of a registry's view panicked; it keeps the view it had");
        }
    }
}

// === impl ServiceStatus ===

impl ServiceStatus {
    /// Nobody has looked yet.
    const UNKNOWN: Self = Self {
        state: ViewState::Never,
        age_seconds: None,
        stale_seconds: None,
        origin: None,
        instances: 0,
        held: false,
        held_seconds: None,
        views: super::ViewCounts { applied: 0, unchanged: 0, held: 0, refused: 0 },
    };
}
