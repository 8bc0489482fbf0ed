//! A changed config: how it is noticed, swapped in whole under load, or refused.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use crate::support::{Backend, Gateway, KeepAlive, client, eventually};

const SWAPS: usize = 200;
const CLIENTS: usize = 8;

/// A route that says which config it is of.
fn saying(version: &str) -> String {
    format!(
        "[[route]]\nname = \"version\"\npath = \"/version\"\nanswer = {{ body = {version:?} }}\n"
    )
}

async fn becomes(gateway: &Gateway, version: &str) {
    eventually(&format!("the config that says {version} is there"), async || {
        gateway.get("/version").await == (200, version.to_owned())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_under_load_lose_no_request_and_close_no_connection() {
    let backends = [Backend::echo("even").await, Backend::echo("odd").await];
    // Each swap has another upstream, another table of the one that stays, and another limit.
    let config = |swap: usize| {
        let (name, backend) = (["even", "odd"][swap % 2], &backends[swap % 2]);
        format!(
            r#"
            [upstream.{name}]
            instances = ["{}"]
            [upstream.stays]
            instances = ["{}"]
            timeouts = {{ connect = "{}s" }}
            [[route]]
            name = "all"
            path = "/**"
            to = {{ {name} = 1, stays = 1 }}
            rate_limit = {{ rate = "{}/s", burst = 1000000 }}
            "#,
            backend.address,
            backends[0].address,
            swap % 5 + 5,
            1_000_000 + swap,
        )
    };
    let gateway = Gateway::start(&config(0)).ready().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(ask_until(stop.clone(), gateway.address()))).collect();
    let admin = client();
    for swap in 1..=SWAPS {
        gateway.write(&config(swap));
        let answer = admin.post(gateway.admin("/api/v1/reload")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "swap {swap}");
    }
    stop.store(true, Ordering::Relaxed);
    let mut seen = std::collections::BTreeSet::new();
    for client in clients {
        let (requests, names) = client.await.unwrap();
        assert!(requests > 20, "a client came to {requests} requests only");
        seen.extend(names);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["even", "odd"]);
    let swapped = gateway.metric("tollgate_config_reloads_total{result=\"applied\"}").await;
    assert!(swapped.unwrap() >= SWAPS as f64, "{swapped:?}");
}

/// Asks over one connection. An end of that connection, or another status, fails the test.
async fn ask_until(stop: Arc<AtomicBool>, address: std::net::SocketAddr) -> (usize, Vec<String>) {
    let mut connection = KeepAlive::open(address).await.unwrap();
    let (mut requests, mut names) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.get("/load").await.expect("the connection stays");
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!reply.head.contains("connection: close"), "{reply:?}");
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        let name = body["name"].as_str().unwrap().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
        requests += 1;
    }
    (requests, names)
}

#[tokio::test]
async fn a_saved_file_is_picked_up_however_it_was_saved() {
    let gateway = Gateway::start(&saying("first"));
    let file = gateway.file();
    let head = fs::read_to_string(&file).unwrap().replace(&saying("first"), "");
    let whole = |version| format!("{head}{}", saying(version));
    becomes(&gateway, "first").await;

    gateway.write(&saying("renamed"));
    becomes(&gateway, "renamed").await;

    fs::write(&file, whole("in place")).unwrap();
    becomes(&gateway, "in place").await;

    // As Kubernetes mounts a ConfigMap: the file is a link into a folder that is a link itself.
    let folder = file.parent().unwrap();
    for version in ["linked", "swapped"] {
        fs::create_dir(folder.join(version)).unwrap();
        fs::write(folder.join(version).join("routes.toml"), whole(version)).unwrap();
    }
    symlink("linked", folder.join("..data")).unwrap();
    symlink("..data/routes.toml", folder.join("link")).unwrap();
    fs::rename(folder.join("link"), &file).unwrap();
    becomes(&gateway, "linked").await;
    symlink("swapped", folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    becomes(&gateway, "swapped").await;
}

#[tokio::test]
async fn a_post_reloads_and_says_what_changed() {
    let gateway = Gateway::start(&saying("first")).ready().await;
    let more = "[[route]]\nname = \"more\"\npath = \"/more\"\nanswer = { body = \"more\" }\n";
    gateway.write(&format!("{}{more}", saying("second")));
    let (status, _) = gateway.reload().await;
    assert_eq!(status, 200);
    assert_eq!(gateway.get("/more").await, (200, "more".into()));
    assert_eq!(gateway.get("/version").await, (200, "second".into()));
    // The watch may have been first; what is there now is the same either way.
    assert_eq!(gateway.reload().await, (200, json!({ "added": [], "changed": [], "removed": [] })));
    let config = gateway.status("config").await;
    assert_eq!(config["last_reload_successful"], true);
    assert_eq!(config["problems"], json!([]));
}

#[tokio::test]
async fn an_emptied_file_takes_no_route_down() {
    // Its head is of defaults alone, so that nothing but the emptiness can refuse the file.
    let gateway = Gateway::start(&saying("first")).ready().await;
    for nothing in ["", " \n\n"] {
        fs::write(gateway.file(), nothing).unwrap();
        let (status, body) = gateway.reload().await;
        assert_eq!(status, 422);
        let problem = body["problems"][0].as_str().unwrap();
        assert!(problem.contains("routes.toml:1:1: the file is empty"), "{problem}");
        assert_eq!(gateway.get("/version").await, (200, "first".into()));
        assert_eq!(gateway.metric("tollgate_config_last_reload_successful").await, Some(0.0));
    }
    gateway.write(&saying("second"));
    becomes(&gateway, "second").await;
    eventually("the metric recovers", async || {
        gateway.metric("tollgate_config_last_reload_successful").await == Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn a_file_that_is_gone_changes_nothing() {
    let gateway = Gateway::start(&saying("first")).ready().await;
    fs::remove_file(gateway.file()).unwrap();
    let (status, body) = gateway.reload().await;
    assert_eq!(status, 422);
    assert!(body["problems"][0].as_str().unwrap().contains("cannot read"), "{body}");
    assert_eq!(gateway.get("/version").await, (200, "first".into()));
}

#[tokio::test]
async fn key_files_that_are_gone_or_garbage_refuse_the_reload() {
    let pem = include_str!("../data/keys/ed25519.pub.pem");
    let config = |tail: &str| {
        format!(
            "[jwt.idp]\nkeys = {{ file = \"key.pem\" }}\n[[route]]\nname = \"closed\"\npath = \"/closed\"\n\
             answer = {{}}\njwt = \"idp\"\n{}{tail}",
            saying("first")
        )
    };
    let gateway = Gateway::start_with_files(&[("key.pem", pem)], &config("")).ready().await;
    let folder = gateway.file().parent().unwrap().to_owned();
    let refused = async |column: &str, why: &str| {
        let (status, body) = gateway.reload().await;
        let problems = body["problems"].to_string();
        assert_eq!(status, 422, "{problems}");
        assert!(problems.contains(column) && problems.contains(why), "{problems}");
        assert_eq!(gateway.get("/version").await, (200, "first".into()));
        assert_eq!(gateway.get("/closed").await.0, 401);
        assert_eq!(gateway.metric("tollgate_config_last_reload_successful").await, Some(0.0));
    };

    fs::write(folder.join("key.pem"), "no key at all").unwrap();
    refused("routes.toml:13:8: ", "[jwt.idp]").await;
    fs::write(folder.join("key.pem"), "").unwrap();
    refused("routes.toml:13:8: ", "[jwt.idp]").await;
    fs::remove_file(folder.join("key.pem")).unwrap();
    refused("routes.toml:13:17: ", "key.pem").await;
    fs::write(folder.join("key.pem"), pem).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(gateway.metric("tollgate_config_last_reload_successful").await, Some(1.0));

    let secure = "[upstream.secure]\ninstances = [\"127.0.0.1:9\"]\ntls = { sni = \"secure.test\", ca = \"ca.pem\" }\n\
                  [[route]]\nname = \"secure\"\npath = \"/secure\"\nto = \"secure\"\n";
    gateway.write(&config(secure));
    refused("routes.toml:", "ca.pem").await;
    for garbage in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fs::write(folder.join("ca.pem"), garbage).unwrap();
        refused("routes.toml", "[upstream.secure]").await;
    }
}

#[tokio::test]
async fn what_is_fixed_at_the_start_cannot_be_reloaded() {
    let head = r#"
        [server]
        threads = 2
        state_dir = "state"
        [listener.http]
        address = "127.0.0.1:0"
        [admin]
        address = "127.0.0.1:0"
        [access_log]
        output = "off"
        [registry.local]
        kind = "embedded"
        listen = "127.0.0.1:0"
    "#;
    let gateway = Gateway::start_with(head, &saying("first")).ready().await;
    for (from, to, place) in [
        (
            "[listener.http]\n        address = \"127.0.0.1:0\"",
            "[listener.http]\n        address = \"127.0.0.2:0\"",
            ":6:19: ",
        ),
        (
            "[listener.http]",
            "[listener.more]\n address = \"127.0.0.3:0\"\n[listener.http]",
            ":6:12: ",
        ),
        ("[listener.http]", "[listener.web]", ":6:19: "),
        (
            "[admin]\n        address = \"127.0.0.1:0\"",
            "[admin]\n        address = \"127.0.0.2:0\"",
            ":8:19: ",
        ),
        ("listen = \"127.0.0.1:0\"", "listen = \"127.0.0.2:0\"", ":13:18: "),
        ("[registry.local]", "[registry.another]", ":13:18: "),
        ("threads = 2", "threads = 3", ": "),
        ("state_dir = \"state\"", "state_dir = \"elsewhere\"", ": "),
        ("output = \"off\"", "output = \"stdout\"", ": "),
    ] {
        assert!(head.contains(from), "{from}");
        gateway.write_whole(&format!("{}{}", head.replace(from, to), saying("second")));
        let (status, body) = gateway.reload().await;
        let problem = body["problems"][0].as_str().unwrap_or_default();
        assert_eq!(status, 422, "{to}");
        assert!(problem.contains("restart") && problem.contains(place), "{to}: {problem}");
        assert_eq!(gateway.get("/version").await, (200, "first".into()));
    }
    gateway.write_whole(&format!("{head}{}", saying("third")));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(gateway.get("/version").await, (200, "third".into()));
}

/// A route to the service `orders` of a registry that is a file.
fn orders(file: &str, more: &str) -> String {
    format!(
        "[registry.files]\nkind = \"file\"\npath = {file:?}\n[upstream.orders]\n{more}\n\
         [[route]]\nname = \"orders\"\npath = \"/orders\"\nto = \"orders\"\n"
    )
}

#[tokio::test]
async fn a_swap_waits_for_the_first_view_of_new_services() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&saying("first")).ready().await;
    gateway.write(&format!("{}{}", saying("second"), orders("later.json", "")));
    let reload = gateway.reload();
    let meanwhile = async {
        // The registry cannot be read yet: what runs goes on, and scrapes do not wait for the reload.
        for _ in 0..20 {
            assert_eq!(gateway.get("/version").await, (200, "first".into()));
            assert!(gateway.metric("tollgate_build_info").await.is_none());
        }
        let instances = json!({ "orders": [backend.address.to_string()] }).to_string();
        let folder = gateway.file().parent().unwrap().to_owned();
        fs::write(folder.join("fresh"), instances).unwrap();
        fs::rename(folder.join("fresh"), folder.join("later.json")).unwrap();
    };
    let ((status, _), ()) = tokio::join!(reload, meanwhile);
    assert_eq!(status, 200);
    assert_eq!(gateway.get("/version").await, (200, "second".into()));
    assert_eq!(gateway.get("/orders").await.0, 200, "the very first request has an instance");
}

#[tokio::test]
async fn an_edited_registry_keeps_its_views_until_the_new_session_delivers() {
    let backends = [Backend::echo("old").await, Backend::echo("new").await];
    let view = |at: usize| json!({ "orders": [backends[at].address.to_string()] }).to_string();
    let head = "[server]\nboot_timeout = \"200ms\"\nthreads = 2\n[listener.http]\naddress = \"127.0.0.1:0\"\n\
                [admin]\naddress = \"127.0.0.1:0\"\n[access_log]\noutput = \"off\"\n";
    let gateway = Gateway::start_with(head, &orders("old.json", ""));
    let folder = gateway.file().parent().unwrap().to_owned();
    let put = |name: &str, at: usize| {
        fs::write(folder.join("fresh"), view(at)).unwrap();
        fs::rename(folder.join("fresh"), folder.join(name)).unwrap();
    };
    let answered = async |name: &str| {
        let (status, body) = gateway.get("/orders").await;
        status == 200 && body.contains(&format!("\"name\":\"{name}\""))
    };
    put("old.json", 0);
    eventually("the old instance is there", async || answered("old").await).await;
    // The registry alone, then the upstream's own table with it.
    for more in ["", "timeouts = { connect = \"3s\" }"] {
        gateway.write(&orders("new.json", more));
        assert_eq!(gateway.reload().await.0, 200);
        for _ in 0..20 {
            assert!(answered("old").await, "{more}");
        }
    }
    put("new.json", 1);
    eventually("the new session's instance is there", async || answered("new").await).await;
}
