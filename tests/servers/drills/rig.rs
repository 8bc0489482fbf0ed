//! A real gateway between real upstream servers, a real registry and a stream of requests.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    beats::Beats,
    traffic::{Lap, Traffic},
};
use crate::{
    api::Record,
    server::{Kind, Server},
    support::{Backend, Gateway, client},
};

/// How long a change may take: Nacos gathers changes for half a second, and machines of tests are busy.
pub(super) const SOON: Duration = Duration::from_secs(5);

/// How long it may take until a registry that is back is asked again: the longest wait between two sessions, and one
/// session's time to open.
pub(super) const BACK: Duration = Duration::from_secs(40);

pub(super) const SERVICE: &str = "orders";

/// The weight of an instance that nobody has changed.
pub(super) const USUAL: f64 = 2.0;

/// What a drill runs on.
pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) beats: Beats,
    pub(super) backends: Vec<Backend>,
    gateway: Option<Gateway>,
    traffic: Option<Traffic>,
    folder: TempDir,
    login: String,
}

/// How long a drill leaves a registry broken, and how patient the gateway is with it.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub(super) outage: Duration,
    pub(super) empty_grace: Duration,
    pub(super) reconnect_grace: Duration,
}

pub(super) fn instance(port: u16) -> Record {
    Record { weight: USUAL, ..Record::new(SERVICE, port) }
}

// === impl Timing ===

impl Timing {
    /// Short, unless `TOLLGATE_DRILL_SECONDS` says for how long a registry is away; then the defaults hold.
    pub(super) fn of_this_run() -> Self {
        let [outage, empty_grace, reconnect_grace] =
            match std::env::var("TOLLGATE_DRILL_SECONDS") {
                Ok(seconds) => [seconds.parse().unwrap(), 15, 30],
                Err(_) => [10, 5, 8],
            }
            .map(Duration::from_secs);
        Self { outage, empty_grace, reconnect_grace }
    }
}

// === impl Rig ===

impl Rig {
    /// A server with three instances, a gateway that has seen them, and requests that run.
    pub(super) async fn start(kind: Kind) -> Self {
        let mut rig = Self::without_gateway(Server::start(kind).await, String::new()).await;
        for port in rig.ports() {
            rig.add(instance(port)).await;
        }
        rig.gateway();
        rig.settled(SOON).await;
        rig.traffic().await;
        rig
    }

    /// `login` are keys of the registry's table.
    pub(super) async fn without_gateway(server: Server, login: String) -> Self {
        let mut backends = Vec::new();
        for _ in 0..3 {
            backends.push(Backend::status(200).await);
        }
        let beats = Beats::start(server.api.clone());
        let folder = TempDir::new().unwrap();
        Self { server, beats, backends, gateway: None, traffic: None, folder, login }
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.backends.iter().map(|backend| backend.address.port()).collect()
    }

    /// Starts a gateway, on what the last one has left on the disk.
    pub(super) fn gateway(&mut self) -> &Gateway {
        self.stop_gateway();
        let head = format!(
            "[server]\nthreads = 2\ndrain_delay = \"0\"\nboot_timeout = \"3s\"\nstate_dir = {:?}\n\
             [listener.http]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [access_log]\noutput = \"off\"\n",
            self.state_dir()
        );
        self.gateway.insert(Gateway::start_with(&head, &self.config()))
    }

    pub(super) fn gateway_with(&mut self, login: String) {
        self.login = login;
        self.gateway();
    }

    pub(super) fn stop_gateway(&mut self) {
        self.traffic = None;
        self.gateway = None;
    }

    fn config(&self) -> String {
        let Timing { empty_grace, reconnect_grace, .. } = Timing::of_this_run();
        format!(
            "[registry.main]\nkind = \"nacos\"\naddress = {:?}\nempty_grace = {:?}\nreconnect_grace = {:?}\n{}\n\
             [[route]]\nname = \"all\"\npath = \"/**\"\nto = {SERVICE:?}\n",
            self.server.address(),
            format!("{}s", empty_grace.as_secs()),
            format!("{}s", reconnect_grace.as_secs()),
            self.login,
        )
    }

    /// Reloads with other keys of the registry's table.
    pub(super) async fn log_in_with(&mut self, login: String) {
        self.login = login;
        self.running().write(&self.config());
        assert_eq!(self.running().reload().await.0, 200);
    }

    pub(super) fn state_dir(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A file that a config may name.
    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(super) fn running(&self) -> &Gateway {
        self.gateway.as_ref().unwrap()
    }

    /// Lets requests run, and waits for the first ones.
    pub(super) async fn traffic(&mut self) -> &Traffic {
        let traffic = Traffic::start(self.running().url("/"));
        traffic.more(20).await;
        self.traffic.insert(traffic)
    }

    pub(super) fn load(&self) -> &Traffic {
        self.traffic.as_ref().unwrap()
    }

    // What instances do.

    pub(super) async fn add(&self, record: Record) {
        let mut alive = self.beats.hold().await;
        self.server.api.register(&record).await;
        alive.records.push(record);
    }

    pub(super) async fn remove(&self, port: u16) {
        let mut alive = self.beats.hold().await;
        let record = alive.records.iter().position(|record| record.port == port).unwrap();
        let record = alive.records.remove(record);
        self.server.api.deregister(&record).await;
    }

    pub(super) async fn change(&self, port: u16, change: impl FnOnce(&mut Record)) {
        let mut alive = self.beats.hold().await;
        let record = alive.records.iter_mut().find(|record| record.port == port).unwrap();
        change(record);
        let record = record.clone();
        self.server.api.change(&record).await;
    }

    // What the gateway says.

    /// The only registry's state.
    pub(super) async fn registry(&self) -> Value {
        self.status("/api/v1/registries").await[0].take()
    }

    async fn status(&self, path: &str) -> Value {
        client().get(self.running().admin(path)).send().await.unwrap().json().await.unwrap()
    }

    /// The instances that it may use: ports with weights, in the order of ports.
    pub(super) async fn view(&self) -> Vec<(u16, f64)> {
        let upstreams = self.status("/api/v1/upstreams").await;
        let used = |one: &&Value| one["state"] != "disabled" && one["state"] != "unhealthy";
        let instances = upstreams[0]["instances"].as_array().unwrap().iter().filter(used);
        let mut view: Vec<_> = instances
            .map(|one| {
                let address = one["address"].as_str().unwrap();
                let (_, port) = address.rsplit_once(':').unwrap();
                (port.parse().unwrap(), one["weight"].as_f64().unwrap())
            })
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        view.sort_by_key(|(port, _)| *port);
        view
    }

    /// What the instances say of themselves.
    async fn expected(&self) -> Vec<(u16, f64)> {
        let alive = self.beats.hold().await;
        let used = alive.records.iter().filter(|record| record.enabled && record.weight > 0.0);
        let mut expected: Vec<_> = used.map(|record| (record.port, record.weight)).collect();
        expected.sort_by_key(|(port, _)| *port);
        expected
    }

    /// Waits until the gateway's view is what the instances say of themselves, and makes sure that the registry's list
    /// is the same. Gives the time that the gateway took.
    pub(super) async fn settled(&self, within: Duration) -> Duration {
        let since = Instant::now();
        let expected = self.expected().await;
        let mut view = self.view().await;
        while view != expected {
            if since.elapsed() > within {
                let listed = self.server.api.list(SERVICE).await;
                panic!("{view:?} is not {expected:?} within {within:?}; listed are {listed:?}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            view = self.view().await;
        }
        let took = since.elapsed();
        let mut listed = self.server.api.list(SERVICE).await;
        while listed != expected {
            assert!(since.elapsed() < within, "the registry lists {listed:?}, not {expected:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
            listed = self.server.api.list(SERVICE).await;
        }
        assert_eq!(self.view().await, expected, "and stays so");
        took
    }

    /// Waits until the registry is in this state: `live`, `down`.
    pub(super) async fn is(&self, state: &str, within: Duration) -> Duration {
        let since = Instant::now();
        loop {
            let registry = self.registry().await;
            if registry["state"] == state {
                return since.elapsed();
            }
            assert!(since.elapsed() < within, "not {state} within {within:?}: {registry}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Requests that each backend has served while `requests` more were answered.
    pub(super) async fn shares(&self, requests: u64) -> Vec<usize> {
        // What is on its way was sent by an older view.
        self.load().more(40).await;
        let before: Vec<_> = self.backends.iter().map(Backend::served).collect();
        self.load().more(requests).await;
        self.backends.iter().zip(before).map(|(one, before)| one.served() - before).collect()
    }

    // What a drill says.

    /// Ends a drill in which nothing may have failed.
    pub(super) fn done(&self, drill: &str) {
        let lap = self.load().lap();
        self.report(drill, &lap);
        assert_eq!(lap.failed, 0, "{drill}: {:?}", lap.failures);
        assert!(lap.requests > 0, "{drill}: no request ran");
    }

    /// A line of the table, printed and kept in the file that `make drills` shows.
    pub(super) fn report(&self, drill: &str, lap: &Lap) {
        let version = self.server.api.kind.version();
        let line =
            format!("| {version:<14} | {drill:<66} | {:>8} | {:>6} |", lap.requests, lap.failed);
        println!("{line}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("drills.md");
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        if file.metadata().unwrap().len() == 0 {
            writeln!(file, "| server | drill | requests | failed |\n|---|---|---|---|").unwrap();
        }
        writeln!(file, "{line}").unwrap();
    }
}
