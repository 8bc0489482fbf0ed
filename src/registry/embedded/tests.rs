use std::{collections::BTreeSet, time::Duration};

use tokio::sync::{mpsc, watch};

use super::{
    store::{Edit, Registered},
    *,
};
use crate::registry::SessionEvent;

fn embedded() -> Arc<Embedded> {
    Embedded::new(TcpListener::bind("127.0.0.1:0").unwrap())
}

fn services(names: &[&str]) -> Services {
    Arc::new(names.iter().map(|name| Arc::from(*name)).collect::<BTreeSet<_>>())
}

fn instance(port: u16) -> Registered {
    Registered {
        address: ([127, 0, 0, 1], port).into(),
        weight: 1.0,
        enabled: true,
        healthy: true,
        ephemeral: true,
        cluster: "DEFAULT".into(),
        metadata: Default::default(),
    }
}

/// A running session, with the keeper's ends of its line.
struct Running {
    wanted: watch::Sender<Services>,
    events: mpsc::Receiver<SessionEvent>,
    _session: tokio::task::JoinSet<RegistryError>,
}

impl Running {
    async fn start(embedded: &Arc<Embedded>, names: &[&str]) -> Self {
        let (wanted, services) = watch::channel(services(names));
        let (sender, events) = mpsc::channel(64);
        let embedded = embedded.clone();
        let mut session = tokio::task::JoinSet::new();
        session.spawn(async move { embedded.session(Session::new(services, sender)).await });
        let mut running = Self { wanted, events, _session: session };
        assert!(matches!(running.events.recv().await, Some(SessionEvent::Live)));
        running
    }

    /// The next view: of which service, and the port, health and enablement of each instance.
    async fn view(&mut self) -> (String, Vec<(u16, bool, bool)>) {
        match self.events.recv().await {
            Some(SessionEvent::View(service, View::Absent)) => (service.to_string(), vec![]),
            Some(SessionEvent::View(service, View::Instances(instances))) => {
                let seen = |i: &crate::registry::Instance| (i.address.port(), i.healthy, i.enabled);
                (service.to_string(), instances.iter().map(seen).collect())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn register(embedded: &Embedded, service: &str, instance: Registered) {
    let key = ServiceKey::of_route(service);
    let now = Instant::now();
    embedded.shared.change(|store| store.register(&key, instance, now)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_view_follows_every_change_and_every_expiry() {
    let embedded = embedded();
    let mut running = Running::start(&embedded, &["hello"]).await;
    assert_eq!(running.view().await, ("hello".into(), vec![]));
    register(&embedded, "hello", instance(1));
    assert_eq!(running.view().await.1, [(1, true, true)]);
    let registered = Instant::now();
    let (key, address) = (ServiceKey::of_route("hello"), instance(1).address);
    let edit = Edit { enabled: Some(false), ..Edit::default() };
    embedded.shared.change(|store| store.edit(&key, address, edit));
    assert_eq!(running.view().await.1, [(1, true, false)]);
    assert_eq!(running.view().await.1, [(1, false, false)]);
    assert_eq!(registered.elapsed().as_secs(), 15);
    assert_eq!(running.view().await.1, []);
    assert_eq!(registered.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn beats_hold_an_instance_over_time() {
    let embedded = embedded();
    let mut running = Running::start(&embedded, &["hello"]).await;
    running.view().await;
    register(&embedded, "hello", instance(1));
    running.view().await;
    let (key, address) = (ServiceKey::of_route("hello"), instance(1).address);
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(5)).await;
        embedded.shared.change(|store| store.beat(&key, address, Instant::now()));
        tokio::task::yield_now().await;
    }
    assert!(running.events.is_empty());
    let silent = Instant::now();
    assert_eq!(running.view().await.1, [(1, false, true)]);
    assert_eq!(silent.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn only_wanted_services_are_published_and_others_once_they_are() {
    let embedded = embedded();
    register(&embedded, "other", instance(1));
    let mut running = Running::start(&embedded, &["hello"]).await;
    assert_eq!(running.view().await, ("hello".into(), vec![]));
    register(&embedded, "other", instance(2));
    running.wanted.send(services(&["hello", "other", "G@@hello"])).unwrap();
    assert_eq!(running.view().await, ("G@@hello".into(), vec![]));
    assert_eq!(running.view().await.1, [(1, true, true), (2, true, true)]);
}

#[tokio::test(start_paused = true)]
async fn what_registered_outlives_the_session_and_the_time_without_one() {
    let embedded = embedded();
    let mut running = Running::start(&embedded, &["hello"]).await;
    running.view().await;
    register(&embedded, "hello", instance(1));
    running.view().await;
    drop(running);
    tokio::time::advance(Duration::from_secs(600)).await;
    let list = embedded.list("hello").await.unwrap();
    assert!(matches!(list, View::Instances(instances) if instances.len() == 1));
    let mut again = Running::start(&embedded, &["hello"]).await;
    assert_eq!(again.view().await.1, [(1, true, true)]);
    let back = Instant::now();
    assert_eq!(again.view().await.1, [(1, false, true)]);
    assert_eq!(back.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn it_serves_on_its_listener_while_a_session_runs() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let embedded = embedded();
    let address = embedded.listener.local_addr().unwrap();
    let mut running = Running::start(&embedded, &["hello"]).await;
    running.view().await;
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "POST /nacos/v1/ns/instance?serviceName=hello&ip=127.0.0.1&port=7 HTTP/1.1\r\n\
                   Host: h\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"),
        "{answer}"
    );
    assert_eq!(running.view().await.1, [(7, true, true)]);
}
