//! The keeper's task: runs sessions and reads, and carries what they say through each service's state machine.
//!
//! Spawned by [`Keeper::start`](super::Keeper::start). Whatever a kind does, be it panic or silence, ends here.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
};

use super::{
    Shared,
    disk::{DiskCopy, DiskError, Saved},
    reads::Reads,
    service::{Action, Purpose, ReadStart, Service},
    watched::Watched,
};
use crate::{
    config::Graces,
    registry::{Registry, RegistryError, Services, Session, SessionEvent, View},
};

/// A session that is not accepted by then is given up.
pub(super) const ACCEPT: Duration = Duration::from_secs(30);

/// A read that has no answer by then has failed.
pub(super) const READ: Duration = Duration::from_secs(5);

/// Views that may wait for the keeper; a session that is ahead of it waits in turn.
const EVENTS: usize = 64;

pub(super) struct Driver {
    shared: Arc<Shared>,
    kind: Arc<dyn Registry>,
    graces: Graces,
    disk: Option<Arc<DiskCopy>>,
    disk_fails: bool,
    wanted: watch::Sender<Services>,
    watched: BTreeMap<Arc<str>, Watched>,
    alarms: BTreeSet<(Instant, Arc<str>)>,
    reads: Reads,
    phase: Phase,
    sessions: u64,
    tasks: JoinSet<Done>,
    rng: fastrand::Rng,
}

enum Phase {
    Running { events: mpsc::Receiver<SessionEvent>, task: AbortHandle, give_up: Option<Instant> },
    Waiting(Option<Instant>),
}

/// What a task of ours ended with.
enum Done {
    Loaded(Arc<str>, Result<Saved, DiskError>),
    Read(Arc<str>, ReadStart, Result<View, RegistryError>),
    Saved(Arc<str>, io::Result<()>),
    Session(u64, RegistryError),
}

// === impl Driver ===

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        kind: Arc<dyn Registry>,
        graces: Graces,
        disk: Option<DiskCopy>,
    ) -> Self {
        Self {
            shared,
            kind,
            graces,
            disk: disk.map(Arc::new),
            disk_fails: false,
            wanted: watch::Sender::new(Services::default()),
            watched: BTreeMap::new(),
            alarms: BTreeSet::new(),
            reads: Reads::default(),
            phase: Phase::Waiting(None),
            sessions: 0,
            tasks: JoinSet::new(),
            rng: fastrand::Rng::new(),
        }
    }

    /// Never returns; it is aborted.
    pub(super) async fn run(mut self) {
        self.sync(now());
        loop {
            self.turn(now());
            let wake = self.deadline();
            // In this order, so that tests repeat; what is due is done in each turn, whatever else comes.
            tokio::select! {
                biased;
                () = self.shared.changed.notified() => self.sync(now()),
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    // Only a session that was given up ends without an outcome.
                    if let Ok(done) = done {
                        self.on_done(done);
                    }
                }
                event = self.phase.event() => self.on_event(event),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Does all that is due.
    fn turn(&mut self, now: Instant) {
        match &self.phase {
            Phase::Waiting(until) if until.is_none_or(|until| until <= now) => self.open(now),
            Phase::Running { give_up: Some(at), task, .. } if *at <= now => {
                task.abort();
                let error = RegistryError::Unavailable(format!("no session within {ACCEPT:?}"));
                self.on_lost(&error, now);
            }
            Phase::Running { .. } | Phase::Waiting(_) => {}
        }
        while let Some((_, service)) = self.alarms.first().filter(|(at, _)| *at <= now).cloned() {
            self.alarms.pop_first();
            self.attend(&service, now);
        }
        while let Some((service, purpose)) = self.reads.pop(now) {
            self.read(service, purpose, now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let phase = match &self.phase {
            Phase::Running { give_up, .. } => *give_up,
            Phase::Waiting(until) => *until,
        };
        let alarm = self.alarms.first().map(|(at, _)| *at);
        [phase, alarm, self.reads.deadline()].into_iter().flatten().min()
    }

    /// Starts a session.
    fn open(&mut self, now: Instant) {
        self.sessions += 1;
        let (sender, events) = mpsc::channel(EVENTS);
        let (kind, number) = (self.kind.clone(), self.sessions);
        let session = Session::new(self.wanted.subscribe(), sender);
        let task = self.tasks.spawn(async move {
            let end = guarded(async move { Err::<(), _>(kind.session(session).await) }).await;
            Done::Session(
                number,
                end.err().unwrap_or_else(|| RegistryError::Protocol("ended".into())),
            )
        });
        self.phase = Phase::Running { events, task, give_up: Some(now + ACCEPT) };
    }

    fn on_event(&mut self, event: SessionEvent) {
        let now = now();
        // A kind that speaks of services before it says that it lives lives all the same.
        self.on_live(now);
        let SessionEvent::View(service, view) = event else { return };
        let Some(watched) = self.watched.get_mut(&service) else { return };
        self.shared.health.lock().answered(now);
        watched.service.view(now, view);
        self.attend(&service, now);
    }

    fn on_live(&mut self, now: Instant) {
        let Phase::Running { give_up, .. } = &mut self.phase else { return };
        if give_up.take().is_none() {
            return;
        }
        self.shared.health.lock().live(&self.shared.name, now);
        self.reads.wake(now);
        self.each(now, |service| service.live(now));
    }

    fn on_lost(&mut self, error: &RegistryError, now: Instant) {
        let cap = self.kind.longest_wait();
        let wait = {
            let mut health = self.shared.health.lock();
            health.lost(&self.shared.name, error, now);
            health.wait(error, cap, self.rng.u64(..))
        };
        self.phase = Phase::Waiting(Some(now + wait));
        self.each(now, |service| service.lost(now));
    }

    fn on_done(&mut self, done: Done) {
        match done {
            Done::Session(number, error) if number == self.sessions => self.on_end(&error),
            Done::Session(..) => {}
            Done::Read(service, start, outcome) => self.on_read(&service, start, outcome),
            Done::Loaded(service, outcome) => self.on_loaded(&service, outcome),
            Done::Saved(service, outcome) => self.on_saved(&service, &outcome),
        }
    }

    /// What the session said before its end still counts.
    fn on_end(&mut self, error: &RegistryError) {
        while let Phase::Running { events, .. } = &mut self.phase {
            match events.try_recv() {
                Ok(event) => self.on_event(event),
                Err(_) => return self.on_lost(error, now()),
            }
        }
    }

    fn read(&mut self, service: Arc<str>, purpose: Purpose, now: Instant) {
        let Some(watched) = self.watched.get(&service) else { return self.reads.ended() };
        let start = watched.service.start_read(now, purpose);
        let kind = self.kind.clone();
        self.tasks.spawn(async move {
            let list = async { kind.list(&service).await };
            let outcome = match tokio::time::timeout(READ, guarded(list)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(RegistryError::Unavailable(format!("no answer within {READ:?}"))),
            };
            Done::Read(service, start, outcome)
        });
    }

    fn on_read(
        &mut self,
        service: &Arc<str>,
        start: ReadStart,
        outcome: Result<View, RegistryError>,
    ) {
        let now = now();
        self.reads.ended();
        let Some(watched) = self.watched.get_mut(service) else { return };
        {
            let mut health = self.shared.health.lock();
            health.read(&self.shared.name, service, outcome.as_ref().err(), now);
            if outcome.is_err() && !health.is_live() {
                self.reads.rest(now);
            }
        }
        watched.service.read(now, start, outcome.ok());
        if start.is_relist() {
            watched.read_again(now, self.rng.f64());
        }
        self.attend(service, now);
    }

    fn on_loaded(&mut self, service: &Arc<str>, outcome: Result<Saved, DiskError>) {
        let (now, registry) = (now(), &*self.shared.name);
        match outcome {
            Ok(saved) => {
                let Some(watched) = self.watched.get_mut(service) else { return };
                let written = now.checked_sub(saved.age).unwrap_or(now);
                watched.service.disk(now, saved.instances, written);
                self.attend(service, now);
            }
            Err(DiskError::Absent) => tracing::debug!(registry, %service, "No disk copy yet"),
            Err(error) => tracing::warn!(registry, %service, %error, "A disk copy is not used"),
        }
    }

    fn on_saved(&mut self, service: &Arc<str>, outcome: &io::Result<()>) {
        let registry = &*self.shared.name;
        match outcome {
            Err(error) if !self.disk_fails => {
                tracing::warn!(registry, %service, %error, "A disk copy cannot be written");
            }
            Ok(()) if self.disk_fails => tracing::info!(registry, "Disk copies are written again"),
            Ok(()) | Err(_) => {}
        }
        self.disk_fails = outcome.is_err();
        let now = now();
        let Some(watched) = self.watched.get_mut(service) else { return };
        watched.saver.ended(now, outcome.is_ok());
        self.attend(service, now);
    }

    /// Follows who subscribes to what.
    fn sync(&mut self, now: Instant) {
        let slots = self.shared.slots.lock().clone();
        let down = self.shared.health.lock().is_down();
        let mut added = false;
        for (name, slot) in slots {
            let new = !self.watched.contains_key(&name);
            if new {
                self.watched.insert(name.clone(), Watched::new(self.graces, down, slot, now));
                self.load(name.clone());
                added = true;
            }
            let Some(watched) = self.watched.get_mut(&name) else { continue };
            // Only where something changed: a thousand may subscribe one by one.
            if watched.follow_subscribers(now) || new {
                self.attend(&name, now);
            }
        }
        if added {
            self.publish_wanted();
        }
    }

    fn publish_wanted(&self) {
        self.wanted.send_replace(Arc::new(self.watched.keys().cloned().collect()));
    }

    fn load(&mut self, service: Arc<str>) {
        let Some(disk) = self.disk.clone() else { return };
        self.tasks.spawn_blocking(move || {
            let outcome = disk.load(&service);
            Done::Loaded(service, outcome)
        });
    }

    fn each(&mut self, now: Instant, mut tell: impl FnMut(&mut Service)) {
        let names: Vec<_> = self.watched.keys().cloned().collect();
        for name in names {
            if let Some(watched) = self.watched.get_mut(&name) {
                tell(&mut watched.service);
            }
            self.attend(&name, now);
        }
    }

    /// Does what is due of one service, and sets its alarm for what comes next.
    fn attend(&mut self, name: &Arc<str>, now: Instant) {
        let Some(watched) = self.watched.get_mut(name) else { return };
        if let Some(alarm) = watched.alarm.take() {
            self.alarms.remove(&(alarm, name.clone()));
        }
        if watched.idle_until.is_some_and(|until| until <= now) && self.forget(name, now) {
            return;
        }
        let Some(watched) = self.watched.get_mut(name) else { return };
        if watched.relist_at.is_some_and(|at| at <= now) {
            if watched.is_first_read_needless() {
                watched.read_again(now, self.rng.f64());
            } else {
                watched.relist_at = None;
                self.reads.push(name.clone(), Purpose::Relist);
            }
        }
        while let Some(action) = watched.service.poll(now) {
            match action {
                Action::Confirm => self.reads.push(name.clone(), Purpose::Confirm),
                Action::Publish(instances) => watched.slot.publish(instances),
            }
        }
        watched.report(&self.shared.name, name, now);
        let view = self.disk.as_ref().and_then(|_| watched.save(now));
        if let (Some(disk), Some(view)) = (self.disk.clone(), view) {
            let name = name.clone();
            self.tasks.spawn_blocking(move || {
                let outcome = disk.save(&name, &view);
                Done::Saved(name, outcome)
            });
        }
        watched.alarm = watched.next(self.disk.is_some(), now);
        if let Some(alarm) = watched.alarm {
            self.alarms.insert((alarm, name.clone()));
        }
    }

    /// Drops a service that nobody wants, unless somebody came back this moment.
    fn forget(&mut self, name: &Arc<str>, now: Instant) -> bool {
        let mut slots = self.shared.slots.lock();
        if slots.get(name).is_some_and(|slot| !slot.is_deserted()) {
            return false;
        }
        slots.remove(name);
        drop(slots);
        self.watched.remove(name);
        self.reads.forget(name);
        self.shared.health.lock().forget(&self.shared.name, name, now);
        self.publish_wanted();
        true
    }
}

// === impl Phase ===

impl Phase {
    /// The session's next word. Waits for ever without one: how a session ended is its task's to say.
    async fn event(&mut self) -> SessionEvent {
        if let Self::Running { events, .. } = self
            && let Some(event) = events.recv().await
        {
            return event;
        }
        std::future::pending().await
    }
}

/// The clock that sleeps are measured by.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Runs a call into a kind; its panic is an error like another.
async fn guarded<T>(
    call: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(_) => Err(RegistryError::Protocol("the registry's code panicked".into())),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
