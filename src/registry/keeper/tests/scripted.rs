//! A registry that a test tells what to say and how to fail.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::{super::driver::now, numbers};
use crate::registry::{Registry, RegistryError, Session, View};

/// What is true, and what goes wrong in telling it.
#[derive(Clone)]
pub(in crate::registry::keeper) struct Scripted {
    world: Arc<Mutex<World>>,
    orders: broadcast::Sender<Order>,
    pub(in crate::registry::keeper) sessions: Arc<AtomicU64>,
    pub(in crate::registry::keeper) lists: Arc<AtomicU64>,
    /// All that it ever said, and when.
    said: Arc<Mutex<Vec<Said>>>,
    /// Reads that run now, and the most that ever did.
    running: Arc<AtomicUsize>,
    pub(in crate::registry::keeper) most_running: Arc<AtomicUsize>,
}

#[derive(Default)]
pub(in crate::registry::keeper) struct World {
    pub(in crate::registry::keeper) truth: BTreeMap<String, View>,
    /// How sessions fail to begin.
    pub(in crate::registry::keeper) session: Option<Fault>,
    /// How reads fail.
    pub(in crate::registry::keeper) list: Option<Fault>,
    /// What reads take.
    pub(in crate::registry::keeper) latency: Duration,
    /// Whether a new session keeps still until it is told to push.
    pub(in crate::registry::keeper) mute: bool,
}

#[derive(Clone, Debug)]
pub(in crate::registry::keeper) enum Fault {
    Error(RegistryError),
    Hang,
    Panic,
}

/// One answer: the service, its instances, when they were so, and when that was told.
#[derive(Clone)]
pub(in crate::registry::keeper) struct Said {
    pub(in crate::registry::keeper) service: String,
    pub(in crate::registry::keeper) at: Instant,
    pub(in crate::registry::keeper) told: Instant,
    pub(in crate::registry::keeper) numbers: Vec<u16>,
}

/// What a session that lives is told to do.
#[derive(Clone, Debug)]
pub(in crate::registry::keeper) enum Order {
    End(Fault),
    Push(String, View),
}

impl Scripted {
    pub(in crate::registry::keeper) fn new() -> Self {
        Self {
            world: Arc::default(),
            orders: broadcast::Sender::new(1024),
            sessions: Arc::default(),
            lists: Arc::default(),
            said: Arc::default(),
            running: Arc::default(),
            most_running: Arc::default(),
        }
    }

    pub(in crate::registry::keeper) fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock());
    }

    /// Makes a view true without telling anyone.
    pub(in crate::registry::keeper) fn set(&self, service: &str, view: View) {
        self.world.lock().truth.insert(service.into(), view);
    }

    /// Makes a view true and pushes it.
    pub(in crate::registry::keeper) fn tell(&self, service: &str, view: View) {
        self.set(service, view.clone());
        self.order(Order::Push(service.into(), view));
    }

    pub(in crate::registry::keeper) fn order(&self, order: Order) {
        // Nobody listens while no session lives.
        let _ = self.orders.send(order);
    }

    pub(in crate::registry::keeper) fn said(&self) -> Vec<Said> {
        self.said.lock().clone()
    }

    fn note(&self, service: &str, view: &View, at: Instant) {
        let numbers = match view {
            View::Absent => Vec::new(),
            View::Instances(instances) => numbers(instances),
        };
        self.said.lock().push(Said { service: service.into(), at, told: now(), numbers });
    }

    async fn publish(&self, session: &Session, service: Arc<str>, view: View) {
        self.note(&service, &view, now());
        session.publish(service, view).await;
    }

    pub(in crate::registry::keeper) fn truth(&self, service: &str) -> View {
        self.world.lock().truth.get(service).cloned().unwrap_or(View::Absent)
    }
}

#[async_trait]
impl Registry for Scripted {
    async fn session(&self, mut session: Session) -> RegistryError {
        let mut orders = self.orders.subscribe();
        let (fault, mute) = {
            let world = self.world.lock();
            (world.session.clone(), world.mute)
        };
        if let Some(fault) = fault {
            return fail(fault).await;
        }
        self.sessions.fetch_add(1, Ordering::SeqCst);
        session.live().await;
        let mut known = session.services();
        let mut new: Vec<_> = known.iter().cloned().collect();
        loop {
            for service in new.drain(..).filter(|_| !mute) {
                let view = self.truth(&service);
                self.publish(&session, service, view).await;
            }
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Ok(Order::Push(service, view)) => {
                        self.publish(&session, service.into(), view).await;
                    }
                    Ok(Order::End(fault)) => return fail(fault).await,
                    Err(_) => return RegistryError::Protocol("the test is over".into()),
                },
                () = session.services_changed() => {
                    let before = std::mem::replace(&mut known, session.services());
                    new = known.difference(&before).cloned().collect();
                }
            }
        }
    }

    async fn list(&self, service: &str) -> Result<View, RegistryError> {
        self.lists.fetch_add(1, Ordering::SeqCst);
        let (fault, latency) = {
            let world = self.world.lock();
            (world.list.clone(), world.latency)
        };
        if let Some(fault) = fault {
            return Err(fail(fault).await);
        }
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        // What it says is what was true when it was asked.
        let (view, asked) = (self.truth(service), now());
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.note(service, &view, asked);
        Ok(view)
    }
}

async fn fail(fault: Fault) -> RegistryError {
    match fault {
        Fault::Error(error) => error,
        Fault::Hang => std::future::pending().await,
        Fault::Panic => panic!("as the script says"),
    }
}
