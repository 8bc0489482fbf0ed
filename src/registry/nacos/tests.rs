use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use super::{
    Nacos,
    fake::{Asked, Fake, Reply, refusal, service, success},
};
use crate::registry::{Registry, RegistryError, Services, Session, SessionEvent, View};

/// A session against a fake, and the keeper's ends of it.
struct Drive {
    nacos: Arc<Nacos>,
    services: watch::Sender<Services>,
    events: mpsc::Receiver<SessionEvent>,
    session: JoinHandle<RegistryError>,
}

impl Drive {
    fn start(nacos: Nacos, services: &[&str]) -> Self {
        let (sender, receiver) = watch::channel(named(services));
        let (events, received) = mpsc::channel(16);
        let nacos = Arc::new(nacos);
        let session = tokio::spawn({
            let nacos = nacos.clone();
            async move { nacos.session(Session::new(receiver, events)).await }
        });
        Self { nacos, services: sender, events: received, session }
    }

    /// The next view, as service and ports.
    async fn view(&mut self) -> (String, Vec<u16>) {
        loop {
            match self.events.recv().await.expect("the session has ended") {
                SessionEvent::Live => {}
                SessionEvent::View(service, view) => return (service.to_string(), ports(view)),
            }
        }
    }

    async fn end(self) -> RegistryError {
        timeout(Duration::from_secs(60), self.session).await.expect("it does not end").unwrap()
    }
}

fn named(services: &[&str]) -> Services {
    Arc::new(services.iter().map(|name| (*name).into()).collect())
}

fn ports(view: View) -> Vec<u16> {
    let View::Instances(instances) = view else { panic!("absent") };
    instances.iter().map(|instance| instance.address.port()).collect()
}

fn nacos(fake: &Fake, more: &str) -> Nacos {
    let text = format!("address = [\"127.0.0.1:1\"]\ngrpc_port = {}\n{more}", fake.grpc_port);
    Nacos::new(&toml::from_str(&text).unwrap(), 0).unwrap()
}

fn seen(name: &str, ports: &[u16]) -> (String, Vec<u16>) {
    (name.into(), ports.to_vec())
}

/// A fake whose subscriptions are answered with what is queued, and then as usual.
async fn subscriptions(answers: impl IntoIterator<Item = Reply>) -> Fake {
    let mut answers: VecDeque<Reply> = answers.into_iter().collect();
    Fake::start(move |asked: &Asked| match asked.kind.as_str() {
        "SubscribeServiceRequest" => answers.pop_front(),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_session_gives_the_first_view_and_every_push() {
    let first = success(json!({ "serviceInfo": service("orders", 5, &[80]) }));
    let fake = subscriptions([first]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["orders"]);
    assert!(matches!(drive.events.recv().await, Some(SessionEvent::Live)));
    assert_eq!(drive.view().await, seen("orders", &[80]));
    fake.push_service("orders", 6, &[80, 81]);
    assert_eq!(drive.view().await, seen("orders", &[80, 81]));
    let answer = fake.asked("NotifySubscriberResponse", 1).await;
    assert_eq!((&answer.body["requestId"], &answer.body["resultCode"]), (&json!("7"), &json!(200)));
    fake.push("ClientDetectionRequest", &json!({ "requestId": "8" }));
    assert_eq!(fake.asked("ClientDetectionResponse", 1).await.body["requestId"], "8");
    let setup = fake.asked("ConnectionSetupRequest", 1).await;
    assert_eq!(
        (&setup.body["tenant"], &setup.body["abilityTable"]),
        (&json!("public"), &json!(null))
    );
}

#[tokio::test]
async fn an_older_push_never_replaces_a_newer_one() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["orders"]);
    assert_eq!(drive.view().await, seen("orders", &[]));
    fake.push_service("orders", 9, &[90]);
    fake.push_service("orders", 8, &[80]);
    fake.push_service("orders", 9, &[91]);
    assert_eq!(drive.view().await, seen("orders", &[90]));
    assert_eq!(drive.view().await, seen("orders", &[91]));
}

#[tokio::test]
async fn garbage_costs_itself_only() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["orders"]);
    drive.view().await;
    for garbage in [b"".as_slice(), b"\xff\xfe", b"[]", b"{\"serviceInfo\":7}", b"null", b"{}"] {
        fake.push_bytes("NotifySubscriberRequest", garbage);
    }
    fake.push("AgentCardRequest", &json!({ "requestId": "1" }));
    fake.push_service("nobody-asked", 9, &[1]);
    fake.push_service("DEFAULT_GROUP@@orders", 9, &[90]);
    assert_eq!(drive.view().await, seen("orders", &[90]));
    let bytes = b"{\"serviceInfo\":{\"name\":\"orders\",\"groupName\":\"DEFAULT_GROUP\",\"lastRefTime\":10,\
        \"hosts\":[{\"ip\":\"127.0.0.1\",\"port\":91,\"metadata\":{\"a\":\"\xff\"}}]}}";
    fake.push_bytes("NotifySubscriberRequest", bytes);
    assert_eq!(drive.view().await, seen("orders", &[91]));
}

#[tokio::test]
async fn a_refused_service_is_asked_for_again_and_costs_the_others_nothing() {
    let fake = subscriptions([refusal(500), Reply::Bytes(b"\xffjunk")]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a", "b", "c"]);
    assert!(drive.view().await.1.is_empty());
    // Six beats later.
    tokio::time::pause();
    drive.view().await;
    drive.view().await;
    assert!(fake.asked("SubscribeServiceRequest", 5).await.body["subscribe"].as_bool().unwrap());
}

#[tokio::test]
async fn services_are_subscribed_and_left_as_they_are_wanted() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    drive.services.send(named(&["b", "other@@b"])).unwrap();
    let mut views = [drive.view().await.0, drive.view().await.0];
    views.sort();
    assert_eq!(views, ["b", "other@@b"]);
    let mut asked = Vec::new();
    for number in 2..=4 {
        let body = fake.asked("SubscribeServiceRequest", number).await.body;
        asked.push(format!("{} {} {}", body["subscribe"], body["groupName"], body["serviceName"]));
    }
    asked.sort();
    let expected =
        [r#"false "DEFAULT_GROUP" "a""#, r#"true "DEFAULT_GROUP" "b""#, r#"true "other" "b""#];
    assert_eq!(asked, expected);
    fake.push_service("a", 100, &[1]);
    fake.push_service("b", 100, &[2]);
    assert_eq!(drive.view().await, seen("b", &[2]));
}

#[tokio::test]
async fn both_names_of_a_service_get_every_view() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["DEFAULT_GROUP@@a", "a"]);
    for ports in [[].as_slice(), &[7]] {
        assert_eq!(drive.view().await, seen("DEFAULT_GROUP@@a", ports));
        assert_eq!(drive.view().await, seen("a", ports));
        fake.push_service("a", 9, &[7]);
    }
}

#[tokio::test]
async fn a_dropped_stream_ends_the_session() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    fake.drop_stream();
    let error = drive.end().await;
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_dropped_session_leaves_the_server() {
    let fake = subscriptions([]).await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    drive.session.abort();
    timeout(Duration::from_secs(5), fake.left()).await.expect("it stays connected");
}

/// The peer's machine has gone without a word: TCP still thinks that it is there.
#[tokio::test]
async fn a_half_open_connection_is_noticed_within_fifteen_seconds() {
    let mut beats = 0;
    let fake = Fake::start(move |asked: &Asked| {
        beats += usize::from(asked.kind == "HealthCheckRequest");
        (beats > 1).then_some(Reply::Silence)
    })
    .await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    tokio::time::pause();
    let since = Instant::now();
    let error = drive.end().await;
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    assert!(since.elapsed() <= Duration::from_secs(15), "{:?}", since.elapsed());
}

#[tokio::test]
async fn the_setup_is_waited_for_and_a_lost_one_ends_the_session() {
    let mut beats = 0;
    let fake = Fake::start(move |asked: &Asked| {
        beats += usize::from(asked.kind == "HealthCheckRequest");
        (asked.kind == "HealthCheckRequest" && beats != 4).then(|| refusal(301))
    })
    .await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    tokio::time::pause();
    let error = drive.end().await;
    assert!(error.to_string().contains("does not know this connection"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_starting_is_unavailable() {
    let fake = Fake::start(|_: &Asked| Some(refusal(300))).await;
    let error = Drive::start(nacos(&fake, ""), &["a"]).end().await;
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_server_that_sends_us_away_is_left_for_the_one_it_names() {
    let fake = subscriptions([]).await;
    let text = format!(
        "address = [\"127.0.0.1:1\", \"127.0.0.1:2\", \"127.0.0.1:3\"]\ngrpc_port = {}",
        fake.grpc_port
    );
    let nacos = Nacos::new(&toml::from_str(&text).unwrap(), 0).unwrap();
    let mut drive = Drive::start(nacos, &["a"]);
    drive.view().await;
    fake.push("ConnectResetRequest", &json!({ "serverIp": "127.0.0.1", "serverPort": "3" }));
    let nacos = drive.nacos.clone();
    drive.end().await;
    assert_eq!(nacos.servers.current().to_string(), "127.0.0.1:3");
}

#[tokio::test]
async fn a_listing_shares_the_session_or_connects_for_itself() {
    let fake = Fake::start(|asked: &Asked| {
        let answer = json!({ "serviceInfo": service("a", 1, &[80]) });
        (asked.kind == "ServiceQueryRequest").then(|| success(answer))
    })
    .await;
    let mut drive = Drive::start(nacos(&fake, ""), &["a"]);
    drive.view().await;
    assert_eq!(ports(drive.nacos.list("g@@a").await.unwrap()), [80]);
    assert_eq!(fake.asked("ServiceQueryRequest", 1).await.body["groupName"], "g");
    fake.drop_stream();
    let nacos = drive.nacos.clone();
    drive.end().await;
    assert_eq!(ports(nacos.list("a").await.unwrap()), [80]);
    fake.asked("ConnectionSetupRequest", 2).await;
}

/// A server that hands out `t0`, `t1`, ... to whoever asks.
async fn logins() -> (u16, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let number = count.clone();
    let answer =
        async move || format!(r#"{{"accessToken":"t{}"}}"#, number.fetch_add(1, Ordering::SeqCst));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (port, count)
}

async fn with_login(fake: &Fake) -> (Nacos, Arc<AtomicUsize>) {
    let (port, count) = logins().await;
    let text = format!(
        "address = [\"127.0.0.1:{port}\"]\ngrpc_port = {}\nusername = \"u\"\npassword = \"p\"",
        fake.grpc_port
    );
    (Nacos::new(&toml::from_str(&text).unwrap(), 0).unwrap(), count)
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let fake = subscriptions([refusal(403)]).await;
    let (nacos, logins) = with_login(&fake).await;
    let mut drive = Drive::start(nacos, &["a"]);
    assert_eq!(drive.view().await, seen("a", &[]));
    assert_eq!(fake.asked("SubscribeServiceRequest", 1).await.token.as_deref(), Some("t0"));
    assert_eq!(fake.asked("SubscribeServiceRequest", 2).await.token.as_deref(), Some("t1"));
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_user_that_may_not_subscribe_is_an_authorisation_error() {
    let fake = Fake::start(|asked: &Asked| {
        (asked.kind == "SubscribeServiceRequest").then(|| refusal(403))
    })
    .await;
    let (nacos, logins) = with_login(&fake).await;
    let error = Drive::start(nacos, &["a"]).end().await;
    assert!(matches!(error, RegistryError::Auth(_)), "{error}");
    assert_eq!(logins.load(Ordering::SeqCst), 2);
}
