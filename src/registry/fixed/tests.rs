//! The `fixed` kind against a resolver that is told what to answer, on paused time.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

use super::{
    Fixed,
    resolver::{Answer, Family, Resolve, ResolveError, SystemResolver},
};
use crate::{
    config::FixedInstance,
    registry::{Registry, RegistryError, Services, Session, SessionEvent, View},
};

const SECOND: Duration = Duration::from_secs(1);

/// What each name is answered with: addresses and TTL, or a failure; names that are not here never are.
#[derive(Clone, Default)]
struct Names {
    answers: Arc<Mutex<BTreeMap<String, Scripted>>>,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

type Scripted = Result<(Vec<IpAddr>, u64), String>;

impl Names {
    fn set(&self, name: &str, addresses: &[&str], ttl: u64) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().insert(name.into(), Ok((addresses, ttl)));
    }

    fn fail(&self, name: &str) {
        self.answers.lock().insert(name.into(), Err("SERVFAIL".into()));
    }

    /// The times between two questions for the A records of a name.
    fn gaps(&self, name: &str) -> Vec<Duration> {
        let asked = self.asked.lock();
        let times: Vec<_> = asked.iter().filter(|(asked, _)| asked == name).collect();
        times.windows(2).map(|pair| pair[1].1 - pair[0].1).collect()
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str, family: Family) -> Result<Answer, ResolveError> {
        if family == Family::V4 {
            self.asked.lock().push((name.into(), Instant::now()));
        }
        let answer = self.answers.lock().get(name).cloned();
        let (addresses, ttl) = match answer {
            Some(answer) => answer.map_err(ResolveError)?,
            None => std::future::pending().await,
        };
        let of_family = |ip: &IpAddr| ip.is_ipv4() == (family == Family::V4);
        let addresses = addresses.into_iter().filter(of_family).collect();
        Ok(Answer { addresses, ttl: Duration::from_secs(ttl) })
    }
}

/// A session of the kind, with what it said last of each service.
struct Bench {
    fixed: Arc<Fixed>,
    names: Names,
    wanted: watch::Sender<Services>,
    events: mpsc::Receiver<SessionEvent>,
    views: BTreeMap<String, Vec<String>>,
    session: tokio::task::JoinHandle<RegistryError>,
}

impl Bench {
    fn new(services: &[(&str, &[&str])], names: Names) -> Self {
        let parse = |text: &&str| {
            let address = text.parse().unwrap();
            FixedInstance { address, weight: 2.0, metadata: BTreeMap::new() }
        };
        let all: BTreeMap<String, Vec<_>> = services
            .iter()
            .map(|(name, list)| ((*name).into(), list.iter().map(parse).collect()))
            .collect();
        let wanted: BTreeSet<Arc<str>> = all.keys().map(|name| name.as_str().into()).collect();
        let (wanted, services) = watch::channel(Arc::new(wanted));
        let (sender, events) = mpsc::channel(64);
        let fixed = Arc::new(Fixed::with_resolver(all, Arc::new(names.clone())));
        let kind = fixed.clone();
        let session =
            tokio::spawn(async move { kind.session(Session::new(services, sender)).await });
        Self { fixed, names, wanted, events, views: BTreeMap::new(), session }
    }

    /// What is known of a service, after what was said until now.
    async fn view(&mut self, service: &str) -> Option<Vec<String>> {
        sleep(Duration::from_millis(1)).await;
        while let Ok(event) = self.events.try_recv() {
            if let SessionEvent::View(service, view) = event {
                self.views.insert(service.as_ref().into(), addresses(view));
            }
        }
        self.views.get(service).cloned()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.session.abort();
    }
}

fn addresses(view: View) -> Vec<String> {
    match view {
        View::Absent => vec!["absent".into()],
        View::Instances(all) => all.iter().map(|instance| instance.address.to_string()).collect(),
    }
}

fn some(addresses: &[&str]) -> Option<Vec<String>> {
    Some(addresses.iter().map(|address| (*address).into()).collect())
}

#[tokio::test(start_paused = true)]
async fn addresses_are_there_at_once_and_names_hold_nobody_back() {
    let names = Names::default();
    names.fail("broken.example");
    let services: [(&str, &[&str]); 3] = [
        ("plain", &["10.0.0.1:80", "[::1]:81"]),
        ("mixed", &["10.0.0.1:80", "slow.example:80", "broken.example:80"]),
        ("named", &["broken.example:80"]),
    ];
    let mut bench = Bench::new(&services, names);
    assert_eq!(bench.view("plain").await, some(&["10.0.0.1:80", "[::1]:81"]));
    assert_eq!(bench.view("mixed").await, some(&["10.0.0.1:80"]));
    assert_eq!(bench.view("named").await, None, "that nobody knows is not that it is empty");
    let list = bench.fixed.list("named").await;
    assert!(matches!(list, Err(RegistryError::Unavailable(_))), "{list:?}");
    assert_eq!(bench.fixed.list("nothing").await.unwrap(), View::Absent);

    bench.names.set("slow.example", &["10.0.0.2", "2001:db8::2"], 30);
    sleep(12 * SECOND).await;
    let all = ["10.0.0.1:80", "10.0.0.2:80", "[2001:db8::2]:80"];
    assert_eq!(bench.view("mixed").await, some(&all));
    assert_eq!(addresses(bench.fixed.list("mixed").await.unwrap()), all);
}

#[tokio::test(start_paused = true)]
async fn failures_keep_what_was_known_and_absence_does_not() {
    let names = Names::default();
    names.set("a.example", &["10.0.0.1"], 5);
    let mut bench = Bench::new(&[("a", &["a.example:80"])], names);
    assert_eq!(bench.view("a").await, some(&["10.0.0.1:80"]));
    bench.names.fail("a.example");
    sleep(600 * SECOND).await;
    assert_eq!(bench.view("a").await, some(&["10.0.0.1:80"]));
    assert_eq!(addresses(bench.fixed.list("a").await.unwrap()), ["10.0.0.1:80"]);

    bench.names.set("a.example", &[], 5);
    sleep(70 * SECOND).await;
    assert_eq!(bench.view("a").await, some(&[]));
    assert_eq!(addresses(bench.fixed.list("a").await.unwrap()), Vec::<String>::new());

    bench.names.fail("a.example");
    let list = bench.fixed.list("a").await;
    assert!(list.is_err(), "a failure does not confirm that it is gone: {list:?}");

    bench.names.set("a.example", &["10.0.0.3"], 5);
    sleep(70 * SECOND).await;
    assert_eq!(bench.view("a").await, some(&["10.0.0.3:80"]));
}

#[tokio::test(start_paused = true)]
async fn names_are_asked_for_by_their_ttl_within_bounds() {
    let names = Names::default();
    let ttls =
        [("zero.example", 0), ("one.example", 1), ("ten.example", 10), ("day.example", 86_400)];
    for (name, ttl) in ttls {
        names.set(name, &["10.0.0.1"], ttl);
    }
    names.fail("broken.example");
    let hosts = ttls.map(|(name, _)| format!("{name}:80"));
    let mut list: Vec<&str> = hosts.iter().map(String::as_str).collect();
    list.push("broken.example:80");
    let mut bench = Bench::new(&[("all", &list)], names);
    for _ in 0..600 {
        sleep(SECOND).await;
        bench.view("all").await;
    }
    for (name, expected) in
        [("zero.example", 5.0), ("one.example", 1.0), ("ten.example", 10.0), ("day.example", 60.0)]
    {
        let gaps = bench.names.gaps(name);
        assert!(gaps.len() > 7, "{name}: {gaps:?}");
        let fits = |gap: &Duration| (0.89..1.11).contains(&(gap.as_secs_f64() / expected));
        assert!(gaps.iter().all(fits), "{name}: {gaps:?}");
        assert!(gaps.iter().any(|gap| *gap != gaps[0]), "{name}: no jitter");
    }
    let retries = bench.names.gaps("broken.example");
    assert!(retries[0] < 2 * SECOND && retries.iter().all(|gap| *gap <= 67 * SECOND));
    assert!((10..25).contains(&retries.len()), "{retries:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_resolver_is_a_failure() {
    let names = Names::default();
    let fixed = Fixed::with_resolver(
        [(
            "a".into(),
            vec![FixedInstance {
                address: "silent.example:80".parse().unwrap(),
                weight: 1.0,
                metadata: BTreeMap::new(),
            }],
        )]
        .into(),
        Arc::new(names),
    );
    let list = timeout(5 * SECOND, fixed.list("a")).await.unwrap();
    assert!(matches!(list, Err(RegistryError::Unavailable(_))), "{list:?}");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_wanted_is_asked_for() {
    let names = Names::default();
    names.set("a.example", &["10.0.0.1"], 1);
    names.set("b.example", &["10.0.0.2"], 1);
    let services: [(&str, &[&str]); 2] = [("a", &["a.example:80"]), ("b", &["b.example:80"])];
    let mut bench = Bench::new(&services, names);
    assert_eq!(bench.view("b").await, some(&["10.0.0.2:80"]));
    bench.wanted.send_replace(Arc::new(["a".into()].into()));
    sleep(2 * SECOND).await;
    bench.view("a").await;
    let asked = bench.names.gaps("b.example").len();
    for _ in 0..60 {
        sleep(SECOND).await;
        bench.view("a").await;
    }
    assert_eq!(bench.names.gaps("b.example").len(), asked);
    assert!(bench.names.gaps("a.example").len() > 50);
    bench.views.clear();
    bench.wanted.send_replace(Arc::new(["a".into(), "b".into(), "c".into()].into()));
    assert_eq!(bench.view("b").await, some(&["10.0.0.2:80"]));
    assert_eq!(bench.view("c").await, some(&["absent"]));
}

#[tokio::test]
async fn localhost_and_the_hosts_file_need_no_server() {
    let system = SystemResolver::default();
    for name in ["localhost", "localhost.", "app.localhost"] {
        let v4 = system.resolve(name, Family::V4).await.unwrap();
        assert_eq!(v4.addresses, ["127.0.0.1".parse::<IpAddr>().unwrap()], "{name}");
        let v6 = system.resolve(name, Family::V6).await.unwrap();
        assert_eq!(v6.addresses, ["::1".parse::<IpAddr>().unwrap()], "{name}");
    }
    // Whatever else stands in this machine's file is known too.
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let mut entries = hosts.lines().filter_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        address.is_ipv4().then_some((address, words.next()?))
    });
    let Some((address, name)) = entries.find(|(_, name)| !name.starts_with("localhost")) else {
        return;
    };
    let answer = system.resolve(name, Family::V4).await.unwrap();
    assert!(answer.addresses.contains(&address), "{name}: {answer:?}");
}
