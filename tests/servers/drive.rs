//! Runs one session of a registry kind and holds the keeper's ends of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tollgate::registry::{
    Instance, Registry, RegistryError, Services, Session, SessionEvent, View,
};

/// How long a change may take to arrive: servers gather changes for half a second, and CI machines are slow.
const ARRIVAL: Duration = Duration::from_secs(20);

/// A running session, and the last view of each service.
pub(crate) struct Drive {
    services: watch::Sender<Services>,
    events: mpsc::Receiver<SessionEvent>,
    session: JoinHandle<RegistryError>,
    views: BTreeMap<String, Vec<Instance>>,
}

impl Drive {
    pub(crate) fn start(registry: Arc<impl Registry>, services: &[&str]) -> Self {
        let (sender, receiver) = watch::channel(named(services));
        let (events, received) = mpsc::channel(16);
        let session =
            tokio::spawn(async move { registry.session(Session::new(receiver, events)).await });
        Self { services: sender, events: received, session, views: BTreeMap::new() }
    }

    pub(crate) fn want(&self, services: &[&str]) {
        self.services.send(named(services)).unwrap();
    }

    /// Waits until a service is seen as `expected`: ports with weights, in the order of ports.
    pub(crate) async fn sees(&mut self, service: &str, expected: &[(u16, f64)]) {
        let deadline = Instant::now() + ARRIVAL;
        while self.seen(service).as_deref() != Some(expected) {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(SessionEvent::Live)) => {}
                Ok(Some(SessionEvent::View(name, view))) => {
                    self.views.insert(name.to_string(), instances(view));
                }
                Ok(None) => panic!("the session ended while {expected:?} was awaited"),
                Err(_) => panic!("{service} is {:?}, not {expected:?}", self.views.get(service)),
            }
        }
    }

    /// The last view, as it was sent.
    pub(crate) fn last(&self, service: &str) -> &[Instance] {
        &self.views[service]
    }

    fn seen(&self, service: &str) -> Option<Vec<(u16, f64)>> {
        self.views.get(service).map(|view| usable(view))
    }

    /// Waits until the session is lost, and says why.
    pub(crate) async fn end(mut self, within: Duration) -> RegistryError {
        let deadline = Instant::now() + within;
        let drain = async { while self.events.recv().await.is_some() {} };
        timeout_at(deadline, drain)
            .await
            .unwrap_or_else(|_| panic!("still there after {within:?}"));
        self.session.await.unwrap()
    }
}

/// The instances that traffic may go to: ports with weights, in the order of ports.
pub(crate) fn usable(instances: &[Instance]) -> Vec<(u16, f64)> {
    let usable = instances.iter().filter(|one| one.enabled && one.healthy && one.weight > 0.0);
    let mut list: Vec<_> = usable.map(|one| (one.address.port(), one.weight)).collect();
    list.sort_by_key(|(port, _)| *port);
    list
}

pub(crate) fn instances(view: View) -> Vec<Instance> {
    match view {
        View::Absent => Vec::new(),
        View::Instances(instances) => instances,
    }
}

fn named(services: &[&str]) -> Services {
    Arc::new(services.iter().map(|name| (*name).into()).collect())
}
