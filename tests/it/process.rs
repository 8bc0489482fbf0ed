//! The process: signals, drain, and starts that fail.

use std::{fs, net::TcpListener, path::Path, sync::Arc};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::support::{Backend, KeepAlive, Process, client, eventually, run};

/// A folder with a config: ports of the system's choice, an access log that can be read.
fn folder(server: &str, config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), server, config);
    folder
}

fn put(folder: &Path, server: &str, config: &str) {
    let text = format!(
        "[server]\nthreads = 2\n{server}\n[listener.http]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [access_log]\noutput = \"access.jsonl\"\n[[route]]\nname = \"quick\"\npath = \"/quick\"\nanswer = {{ body = \"quick\" }}\n{config}"
    );
    fs::write(folder.join("fresh"), text).unwrap();
    fs::rename(folder.join("fresh"), folder.join("routes.toml")).unwrap();
}

/// An instance that answers once it is told to.
async fn slow(told: Arc<Notify>) -> Backend {
    Backend::answering(move |_| {
        let told = told.clone();
        async move {
            told.notified().await;
            axum::response::IntoResponse::into_response("slow")
        }
    })
    .await
}

fn slow_route(backend: &Backend) -> String {
    format!(
        "[upstream.slow]\ninstances = [\"{}\"]\n[[route]]\nname = \"slow\"\npath = \"/slow\"\nto = \"slow\"\n",
        backend.address
    )
}

/// The answers that the access log has of a path.
fn logged(folder: &Path, path: &str) -> Vec<u64> {
    let lines = fs::read_to_string(folder.join("access.jsonl")).unwrap();
    assert!(lines.ends_with('\n'), "the last line is whole: {lines}");
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines
        .filter(|line| line["url.path"] == path)
        .map(|line| line["http.response.status_code"].as_u64().unwrap())
        .collect()
}

async fn asks(gateway: &Process, path: &str) -> (u16, String) {
    let answer = client().get(gateway.admin(path)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn ready(gateway: &Process) {
    eventually("it is ready", async || asks(gateway, "/readyz").await.0 == 200).await;
}

#[tokio::test]
async fn a_sighup_reloads_what_no_watch_sees() {
    let key = include_str!("../data/keys/ed25519.pub.pem");
    let folder = folder("", "[jwt.idp]\nkeys = { file = \"key.pem\" }\n");
    fs::write(folder.path().join("key.pem"), key).unwrap();
    let gateway = Process::serving(folder.path()).await;
    ready(&gateway).await;
    let successful = async || {
        let (_, config) = asks(&gateway, "/api/v1/config").await;
        serde_json::from_str::<serde_json::Value>(&config).unwrap()["last_reload_successful"]
            .clone()
    };
    fs::write(folder.path().join("key.pem"), "garbage").unwrap();
    gateway.signal("HUP");
    eventually("the garbage is refused", async || successful().await == json!(false)).await;
    fs::write(folder.path().join("key.pem"), key).unwrap();
    gateway.signal("HUP");
    eventually("the key is taken", async || successful().await == json!(true)).await;
    put(folder.path(), "", "[[route]]\nname = \"more\"\npath = \"/more\"\nanswer = {}\n");
    gateway.signal("HUP");
    let mut connection = KeepAlive::open(gateway.listener("http")).await.unwrap();
    eventually_status(&mut connection, "/more", 200).await;
}

async fn eventually_status(connection: &mut KeepAlive, path: &str, status: u16) {
    let connection = tokio::sync::Mutex::new(connection);
    eventually(&format!("{path} answers {status}"), async || {
        connection.lock().await.get(path).await.unwrap().status == status
    })
    .await;
}

#[tokio::test]
async fn a_sigterm_drains_and_loses_no_request() {
    let told = Arc::new(Notify::new());
    let backend = slow(told.clone()).await;
    let folder = folder("drain_delay = \"3s\"", &slow_route(&backend));
    let mut gateway = Process::serving(folder.path()).await;
    ready(&gateway).await;
    let address = gateway.listener("http");
    let mut idle = KeepAlive::open(address).await.unwrap();
    let reply = idle.get("/quick").await.unwrap();
    assert!(reply.status == 200 && !reply.head.contains("connection: close"), "{reply:?}");
    let mut busy = KeepAlive::open(address).await.unwrap();
    busy.send("/slow").await.unwrap();
    eventually("the slow request is with its instance", async || backend.served() == 1).await;

    gateway.signal("TERM");
    gateway.says("Draining").await;
    assert_eq!(asks(&gateway, "/readyz").await, (503, "draining\n".into()));
    assert_eq!(asks(&gateway, "/livez").await.0, 200);
    let mut late = KeepAlive::open(address).await.expect("it still accepts");
    let reply = late.get("/quick").await.unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("connection: close"), "{reply:?}");
    assert!(late.is_closed().await);
    assert_eq!(
        idle.get("/quick").await.unwrap().status,
        200,
        "an idle connection may ask once more"
    );
    assert!(idle.is_closed().await);

    eventually("new connections are refused", async || KeepAlive::open(address).await.is_err())
        .await;
    assert!(gateway.is_running(), "it waits for the slow request");
    told.notify_one();
    let reply = busy.reply().await.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (200, "slow"));
    assert_eq!(gateway.exit().await, 0);
    assert_eq!(logged(folder.path(), "/slow"), [200]);
    assert_eq!(logged(folder.path(), "/quick"), [200, 200, 200]);
    assert!(gateway.stderr().contains("Drained in"), "{}", gateway.stderr());
}

#[tokio::test]
async fn an_idle_gateway_ends_as_soon_as_its_drain_delay_is_over() {
    let folder = folder("drain_delay = \"0\"\ndrain_timeout = \"1h\"", "");
    let mut gateway = Process::serving(folder.path()).await;
    let mut idle = KeepAlive::open(gateway.listener("http")).await.unwrap();
    idle.get("/quick").await.unwrap();
    gateway.signal("TERM");
    assert_eq!(gateway.exit().await, 0);
    assert!(idle.is_closed().await);
}

#[tokio::test]
async fn a_second_sigterm_cuts_the_drain_short() {
    let backend = slow(Arc::new(Notify::new())).await;
    for delay in ["1h", "0"] {
        let server = format!("drain_delay = {delay:?}\ndrain_timeout = \"1h\"");
        let folder = folder(&server, &slow_route(&backend));
        let mut gateway = Process::serving(folder.path()).await;
        ready(&gateway).await;
        let mut busy = KeepAlive::open(gateway.listener("http")).await.unwrap();
        assert_eq!(busy.get("/quick").await.unwrap().status, 200);
        let before = backend.served();
        busy.send("/slow").await.unwrap();
        eventually("the slow request is there", async || backend.served() > before).await;
        gateway.signal("TERM");
        gateway.says("Draining").await;
        assert!(gateway.is_running());
        gateway.signal("TERM");
        assert_eq!(gateway.exit().await, 0);
        assert_eq!(logged(folder.path(), "/quick"), [200], "the access log is written");
    }
}

#[tokio::test]
async fn a_sigint_ends_it_at_once() {
    let backend = slow(Arc::new(Notify::new())).await;
    let server = "drain_delay = \"1h\"\ndrain_timeout = \"1h\"";
    let folder = folder(server, &slow_route(&backend));
    let mut gateway = Process::serving(folder.path()).await;
    ready(&gateway).await;
    let mut busy = KeepAlive::open(gateway.listener("http")).await.unwrap();
    for _ in 0..100 {
        assert_eq!(busy.get("/quick").await.unwrap().status, 200);
    }
    busy.send("/slow").await.unwrap();
    eventually("the slow request is there", async || backend.served() == 1).await;
    gateway.signal("INT");
    assert_eq!(gateway.exit().await, 0);
    assert_eq!(logged(folder.path(), "/quick").len(), 100, "the access log is written");
}

#[tokio::test]
async fn it_is_ready_once_every_service_was_heard_of() {
    let backend = Backend::echo("one").await;
    let service = "[registry.files]\nkind = \"file\"\npath = \"instances.json\"\n\
                   [[route]]\nname = \"orders\"\npath = \"/orders\"\nto = \"orders\"\n";
    let folder = folder("boot_timeout = \"1h\"", service);
    let gateway = Process::serving(folder.path()).await;
    let (status, why) = asks(&gateway, "/readyz").await;
    assert_eq!((status, why.as_str()), (503, "waiting for the first view of every service\n"));
    assert_eq!(asks(&gateway, "/livez").await.0, 200);
    assert_eq!(asks(&gateway, "/metrics").await.0, 200, "a scrape waits for no registry");
    let instances = json!({ "orders": [backend.address.to_string()] }).to_string();
    fs::write(folder.path().join("fresh"), instances).unwrap();
    fs::rename(folder.path().join("fresh"), folder.path().join("instances.json")).unwrap();
    ready(&gateway).await;
    let mut connection = KeepAlive::open(gateway.listener("http")).await.unwrap();
    assert_eq!(connection.get("/orders").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_sigterm_does_not_wait_for_a_reload() {
    let server = "drain_delay = \"0\"\nboot_timeout = \"1h\"";
    let folder = folder(server, "");
    let mut gateway = Process::serving(folder.path()).await;
    ready(&gateway).await;
    let service = "[registry.never]\nkind = \"file\"\npath = \"never.json\"\n\
                   [[route]]\nname = \"orders\"\npath = \"/orders\"\nto = \"orders\"\n";
    put(folder.path(), server, service);
    gateway.signal("HUP");
    // The keeper that the reload has begun says that it cannot read its file.
    gateway.says("never").await;
    gateway.signal("TERM");
    assert_eq!(gateway.exit().await, 0);
}

#[tokio::test]
async fn a_taken_port_ends_the_start_with_the_name_of_its_table() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for table in ["listener.web", "admin", "registry.local"] {
        let folder = tempfile::tempdir().unwrap();
        let at =
            |this: &str| if this == table { address.to_string() } else { "127.0.0.1:0".into() };
        let text = format!(
            "[listener.web]\naddress = \"{}\"\n[admin]\naddress = \"{}\"\n[registry.local]\nkind = \"embedded\"\nlisten = \"{}\"\n",
            at("listener.web"),
            at("admin"),
            at("registry.local"),
        );
        fs::write(folder.path().join("routes.toml"), text).unwrap();
        let (code, _, said) = run(&["run"], folder.path());
        assert_eq!(code, 1, "{said}");
        let error = format!("tollgate: cannot listen on {address} ([{table}]): ");
        assert!(said.contains(&error) && said.contains("choose another address"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}
