//! The embedded registry, as clients written for Nacos use it.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    process::Command,
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tollgate::registry::{Registry, Session, SessionEvent, View, embedded::Embedded};

/// Installing a client takes most of it.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::test]
#[ignore = "needs pip and npm packages: make test-real"]
async fn the_python_client_registers_beats_edits_expires_and_leaves() {
    let home = install("nacos-python").await;
    let views = views_while(|address| {
        let mut client = Command::new(home.join("bin/python"));
        client.arg(clients().join("nacos_client.py")).arg(address);
        client
    })
    .await;
    assert_eq!(
        views,
        [
            "hello absent",
            "blue@@hello absent",
            "hello 127.0.0.1:7001 weight 2.5",
            "hello 127.0.0.1:7001 weight 0",
            "hello 127.0.0.1:7001 weight 0 unhealthy",
            "hello absent",
            "hello 127.0.0.1:7001 weight 3.5",
            "hello absent",
            "blue@@hello 127.0.0.1:7001 weight 1",
            "blue@@hello absent",
        ]
    );
}

#[tokio::test]
#[ignore = "needs pip and npm packages: make test-real"]
async fn the_npm_client_registers_beats_comes_back_and_leaves() {
    let home = install("nacos-npm").await;
    let views = views_while(|address| {
        let mut client = Command::new("node");
        client.env("NODE_PATH", home.join("node_modules"));
        client.arg(clients().join("nacos_client.js")).arg(address);
        client
    })
    .await;
    assert_eq!(
        views,
        [
            "hello absent",
            "blue@@hello absent",
            "hello 127.0.0.1:7001 weight 2.5",
            "hello 127.0.0.1:7001 weight 2.5 unhealthy",
            "hello absent",
            "hello 127.0.0.1:7001 weight 2.5",
            "hello absent",
            "blue@@hello 127.0.0.1:7001 weight 1",
            "blue@@hello absent",
        ]
    );
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Installs a client, and says where it is.
async fn install(client: &str) -> PathBuf {
    let mut script = Command::new(clients().join("install.sh"));
    let output = timeout(PATIENCE, script.arg(client).kill_on_drop(true).output());
    let output = output.await.expect("installed in time").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// Runs a client against an embedded registry, and tells all views that a gateway got meanwhile.
async fn views_while(client: impl FnOnce(String) -> Command) -> Vec<String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let embedded = Embedded::new(listener);
    let wanted = ["hello", "blue@@hello"].map(Arc::from).into_iter().collect();
    let (_wanted, services) = watch::channel(Arc::new(wanted));
    let (sender, mut events) = mpsc::channel(1000);
    let mut session = JoinSet::new();
    session.spawn(async move { embedded.session(Session::new(services, sender)).await });

    let output = timeout(PATIENCE, client(address).kill_on_drop(true).output());
    let output = output.await.expect("the client ends in time").unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    session.shutdown().await;
    let mut views = Vec::new();
    while let Some(event) = events.recv().await {
        if let SessionEvent::View(service, view) = event {
            views.push(format!("{service} {}", described(&view)));
        }
    }
    // `blue@@hello` sorts before `hello`, but which view of the first two comes first is not promised.
    views[..2].sort_by_key(|view| std::cmp::Reverse(view.clone()));
    views
}

fn described(view: &View) -> String {
    let View::Instances(instances) = view else { return "absent".into() };
    let described = instances.iter().map(|instance| {
        let health = if instance.healthy { "" } else { " unhealthy" };
        format!("{} weight {}{health}", instance.address, instance.weight)
    });
    described.collect::<Vec<_>>().join(", ")
}
