//! Files that are written, broken, replaced and taken away.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};

use super::{
    File,
    content::{Content, Format},
};
use crate::{
    config::{FileRegistry, units::Interval},
    registry::{Instance, Registry, RegistryError, Services, Session, SessionEvent, View},
};

const POLL: Duration = Duration::from_millis(10);

fn file(path: &Path) -> File {
    File::new(&FileRegistry { path: path.to_path_buf().into(), poll: Interval(POLL) })
}

fn instance(address: &str) -> Instance {
    Instance {
        address: address.parse().unwrap(),
        weight: 1.0,
        healthy: true,
        enabled: true,
        metadata: BTreeMap::new(),
    }
}

fn content(text: &str, format: Format) -> Content {
    Content::parse(text.as_bytes(), format).unwrap()
}

#[test]
fn json_and_toml_say_the_same() {
    let json = r#"{"orders": ["10.0.0.1:80", {"address": "[::1]:81", "weight": 2, "healthy": false,
        "enabled": false, "metadata": {"zone": "a"}}], "none": []}"#;
    let toml = r#"orders = ["10.0.0.1:80", { address = "[::1]:81", weight = 2, healthy = false,
        enabled = false, metadata = { zone = "a" } }]
        none = []"#;
    let full = Instance {
        weight: 2.0,
        healthy: false,
        enabled: false,
        metadata: [("zone".into(), "a".into())].into(),
        ..instance("[::1]:81")
    };
    for content in [content(json, Format::Json), content(toml, Format::Toml)] {
        let expected = View::Instances(vec![instance("10.0.0.1:80"), full.clone()]);
        assert_eq!(content.view("orders"), Some(expected));
        assert_eq!(content.view("none"), Some(View::Instances(vec![])));
        assert_eq!(content.view("others"), Some(View::Absent));
    }
}

#[test]
fn a_bad_entry_costs_itself_and_a_bad_service_itself() {
    let json = r#"{"orders": ["10.0.0.1:80", "db:80", "10.0.0.1", 7, null, {"weight": 1},
        {"address": "10.0.0.2:80", "wieght": 1}, {"address": "10.0.0.3:80", "weight": "much"}, []],
        "users": {"a": 1}, "stock": ["10.0.0.9:80"]}"#;
    let content = content(json, Format::Json);
    assert_eq!(content.view("orders"), Some(View::Instances(vec![instance("10.0.0.1:80")])));
    assert_eq!(content.view("users"), None);
    assert_eq!(content.view("stock"), Some(View::Instances(vec![instance("10.0.0.9:80")])));
}

#[test]
fn absurd_weights_are_the_upstreams_to_judge() {
    let weights = |content: Content| match content.view("a") {
        Some(View::Instances(all)) => all.iter().map(|i| i.weight.to_bits()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let json = r#"{"a": [{"address": "10.0.0.1:80", "weight": -1e9}, {"address": "10.0.0.2:80", "weight": 1e308}]}"#;
    assert_eq!(weights(content(json, Format::Json)), [(-1e9_f64).to_bits(), 1e308_f64.to_bits()]);
    let toml = r#"a = [{ address = "10.0.0.1:80", weight = nan }, { address = "10.0.0.2:80", weight = -inf }]"#;
    let all = weights(content(toml, Format::Toml));
    assert!(f64::from_bits(all[0]).is_nan() && f64::from_bits(all[1]) == f64::NEG_INFINITY);
}

#[test]
fn what_is_no_table_of_services_is_an_error() {
    for text in ["", "[]", "7", "null", "{", r#"{"a": ["10.0.0.1:80"]"#, "a = ["] {
        assert!(Content::parse(text.as_bytes(), Format::Json).is_err(), "{text}");
    }
    for text in ["a = [", "{}", "[[["] {
        assert!(Content::parse(text.as_bytes(), Format::Toml).is_err(), "{text}");
    }
    assert!(Content::parse(b"\xff\xfe", Format::Json).is_err());
    let deep = "[".repeat(100_000);
    assert!(Content::parse(deep.as_bytes(), Format::Json).is_err());
    assert!(Content::parse(format!("a = {deep}").as_bytes(), Format::Toml).is_err());
    assert_eq!(Format::of(Path::new("a.TOML")), Format::Toml);
    assert_eq!(Format::of(Path::new("a")), Format::Json);
}

/// A session over a file in a directory of its own.
struct Bench {
    directory: tempfile::TempDir,
    events: mpsc::Receiver<SessionEvent>,
    wanted: watch::Sender<Services>,
    session: JoinHandle<RegistryError>,
}

impl Bench {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("instances.json");
        fs::write(&path, text).unwrap();
        let (wanted, services) = watch::channel(Arc::new(["a".into()].into()));
        let (sender, events) = mpsc::channel(64);
        let kind = file(&path);
        let session =
            tokio::spawn(async move { kind.session(Session::new(services, sender)).await });
        Self { directory, events, wanted, session }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("instances.json")
    }

    /// The next view, which has to come.
    async fn view(&mut self) -> (String, View) {
        loop {
            let event = timeout(Duration::from_secs(10), self.events.recv()).await.unwrap();
            if let SessionEvent::View(service, view) = event.unwrap() {
                return (service.as_ref().into(), view);
            }
        }
    }

    async fn end(self) -> RegistryError {
        timeout(Duration::from_secs(10), self.session).await.unwrap().unwrap()
    }
}

fn says(addresses: &[&str]) -> (String, View) {
    ("a".into(), View::Instances(addresses.iter().map(|address| instance(address)).collect()))
}

#[tokio::test]
async fn changes_are_seen_however_they_are_made() {
    let mut bench = Bench::new(r#"{"a": ["10.0.0.1:80"]}"#);
    assert_eq!(bench.view().await, says(&["10.0.0.1:80"]));
    fs::write(bench.path(), r#"{"a": ["10.0.0.2:80"]}"#).unwrap();
    assert_eq!(bench.view().await, says(&["10.0.0.2:80"]), "of the same length");
    let beside = bench.directory.path().join("beside");
    fs::write(&beside, r#"{"a": ["10.0.0.3:80"]}"#).unwrap();
    fs::rename(&beside, bench.path()).unwrap();
    assert_eq!(bench.view().await, says(&["10.0.0.3:80"]), "put in its place");
    fs::write(&beside, r#"{"a": ["10.0.0.4:80"]}"#).unwrap();
    let link = bench.directory.path().join("link");
    std::os::unix::fs::symlink(&beside, &link).unwrap();
    fs::rename(&link, bench.path()).unwrap();
    assert_eq!(bench.view().await, says(&["10.0.0.4:80"]), "behind a symbolic link");
    fs::write(bench.path(), "{}").unwrap();
    assert_eq!(bench.view().await, ("a".into(), View::Absent));
}

#[tokio::test]
async fn a_newly_wanted_service_is_told_without_a_change() {
    let mut bench = Bench::new(r#"{"a": ["10.0.0.1:80"], "b": ["10.0.0.2:80"]}"#);
    assert_eq!(bench.view().await, says(&["10.0.0.1:80"]));
    bench.wanted.send_replace(Arc::new(["a".into(), "b".into()].into()));
    let (service, view) = bench.view().await;
    assert_eq!((service.as_str(), view), ("b", View::Instances(vec![instance("10.0.0.2:80")])));
}

#[tokio::test]
async fn a_file_that_breaks_or_goes_is_an_error_and_no_view() {
    for broken in [None, Some(""), Some("{"), Some("[]")] {
        let mut bench = Bench::new(r#"{"a": ["10.0.0.1:80"]}"#);
        assert_eq!(bench.view().await, says(&["10.0.0.1:80"]));
        match broken {
            Some(text) => fs::write(bench.path(), text).unwrap(),
            None => fs::remove_file(bench.path()).unwrap(),
        }
        let kind = file(&bench.path());
        let path = bench.path();
        assert!(bench.events.try_recv().is_err(), "no view");
        let error = bench.end().await;
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert!(kind.list("a").await.is_err());
        assert_eq!(kind.longest_wait(), Some(POLL));
    }
}

#[tokio::test]
async fn a_read_sees_the_file_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("instances.toml");
    fs::write(&path, "a = [\"10.0.0.1:80\"]\nb = 7").unwrap();
    let kind = file(&path);
    assert_eq!(("a".into(), kind.list("a").await.unwrap()), says(&["10.0.0.1:80"]));
    assert_eq!(kind.list("c").await.unwrap(), View::Absent);
    assert!(matches!(kind.list("b").await, Err(RegistryError::Protocol(_))));
}

#[tokio::test]
async fn a_file_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("instances.json");
    fs::File::create(&path).unwrap().set_len(super::MAX_FILE + 1).unwrap();
    let error = file(&path).list("a").await.unwrap_err();
    assert!(matches!(&error, RegistryError::Protocol(text) if text.contains("larger")), "{error}");
}
