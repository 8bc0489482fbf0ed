//! The registry kind `nacos` against real servers: every test runs on each of them.

use std::{net::TcpListener, sync::Arc, time::Duration};

use tokio::time::Instant;
use tollgate::registry::{Registry, RegistryError, nacos::Nacos};

use crate::{
    api::Record,
    drive::{Drive, instances, usable},
    server::{Kind, Server},
};

/// One test for each server of every function named.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        mod r_nacos { on_every_server!(@ RNacos, $($test),+); }
        mod nacos_2 { on_every_server!(@ Nacos2, $($test),+); }
        mod nacos_3 { on_every_server!(@ Nacos3, $($test),+); }
    };
    (@ $kind:ident, $($test:ident),+) => {
        $(
            #[tokio::test]
            #[ignore = "needs a real Nacos: make test-real"]
            async fn $test() {
                super::$test(crate::server::Kind::$kind).await;
            }
        )+
    };
}

on_every_server!(
    a_view_follows_every_change,
    groups_and_clusters_are_told_apart,
    wanted_services_come_and_go,
    a_restarted_server_is_read_anew,
    a_silent_server_is_lost_within_fifteen_seconds,
    a_login_is_made_renewed_and_refused,
);

fn registry(server: &Server, more: &str) -> Arc<Nacos> {
    let text = format!("address = [{:?}]\n{more}", server.address());
    Arc::new(Nacos::new(&toml::from_str(&text).unwrap(), 0).unwrap())
}

fn login(password: &str) -> String {
    format!("username = {:?}\npassword = {password:?}\n", Kind::USER)
}

async fn a_view_follows_every_change(kind: Kind) {
    let server = Server::start(kind).await;
    let (first, mut second) = (Record::new("orders", 8001), Record::new("orders", 8002));
    server.api.register(&first).await;
    let nacos = registry(&server, "");
    let mut drive = Drive::start(nacos.clone(), &["orders"]);
    drive.sees("orders", &[(8001, 1.0)]).await;
    assert_eq!(drive.last("orders")[0].metadata["version"], "v1");

    server.api.register(&second).await;
    drive.sees("orders", &[(8001, 1.0), (8002, 1.0)]).await;
    let listed = instances(nacos.list("orders").await.unwrap());
    assert_eq!(usable(&listed), [(8001, 1.0), (8002, 1.0)]);

    for weight in [2.5, 0.0, 100.0] {
        second.weight = weight;
        server.api.change(&second).await;
        let both = [(8001, 1.0), (8002, weight)];
        drive.sees("orders", if weight > 0.0 { &both } else { &both[..1] }).await;
    }
    second.enabled = false;
    server.api.change(&second).await;
    drive.sees("orders", &[(8001, 1.0)]).await;
    second.enabled = true;
    server.api.change(&second).await;
    drive.sees("orders", &[(8001, 1.0), (8002, 100.0)]).await;

    server.api.deregister(&second).await;
    drive.sees("orders", &[(8001, 1.0)]).await;
    server.api.deregister(&first).await;
    drive.sees("orders", &[]).await;
}

async fn groups_and_clusters_are_told_apart(kind: Kind) {
    let server = Server::start(kind).await;
    let other_group = Record { group: "blue".into(), ..Record::new("orders", 8002) };
    let other_cluster = Record { cluster: "east".into(), ..Record::new("orders", 8003) };
    for record in [&Record::new("orders", 8001), &other_group, &other_cluster] {
        server.api.register(record).await;
    }
    let names = ["orders", "blue@@orders"];
    let mut all = Drive::start(registry(&server, ""), &names);
    all.sees("orders", &[(8001, 1.0), (8003, 1.0)]).await;
    all.sees("blue@@orders", &[(8002, 1.0)]).await;

    let mut east = Drive::start(registry(&server, "clusters = [\"east\"]"), &names);
    east.sees("orders", &[(8003, 1.0)]).await;
    east.sees("blue@@orders", &[]).await;
    let mut blue = Drive::start(registry(&server, "group = \"blue\""), &["orders"]);
    blue.sees("orders", &[(8002, 1.0)]).await;

    // What is pushed is filtered like what is asked for.
    server.api.register(&Record { cluster: "east".into(), ..Record::new("orders", 8004) }).await;
    server.api.register(&Record::new("orders", 8005)).await;
    all.sees("orders", &[(8001, 1.0), (8003, 1.0), (8004, 1.0), (8005, 1.0)]).await;
    east.sees("orders", &[(8003, 1.0), (8004, 1.0)]).await;
}

async fn wanted_services_come_and_go(kind: Kind) {
    let server = Server::start(kind).await;
    let mut drive = Drive::start(registry(&server, ""), &[]);
    let names: Vec<String> = (0..50).map(|number| format!("service-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    drive.want(&names);
    for name in &names {
        drive.sees(name, &[]).await;
    }
    drive.want(&names[40..]);
    server.api.register(&Record::new("service-45", 8001)).await;
    drive.sees("service-45", &[(8001, 1.0)]).await;
    drive.want(&names);
    server.api.register(&Record::new("service-5", 8002)).await;
    drive.sees("service-5", &[(8002, 1.0)]).await;
}

async fn a_restarted_server_is_read_anew(kind: Kind) {
    let mut server = Server::start(kind).await;
    // Persistent instances are probed by the server, so this one has to be there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    server.api.register(&Record { ephemeral: false, ..Record::new("kept", port) }).await;
    server.api.register(&Record::new("orders", 8001)).await;
    let nacos = registry(&server, "");
    let mut drive = Drive::start(nacos.clone(), &["kept", "orders"]);
    drive.sees("orders", &[(8001, 1.0)]).await;
    drive.sees("kept", &[(port, 1.0)]).await;

    server.kill();
    let error = drive.end(Duration::from_secs(5)).await;
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    let error = nacos.list("kept").await.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");

    server.start_again().await;
    let mut drive = Drive::start(nacos.clone(), &["kept", "orders"]);
    drive.sees("kept", &[(port, 1.0)]).await;
    server.kill();
    drive.end(Duration::from_secs(5)).await;

    server.start_empty().await;
    let mut drive = Drive::start(nacos, &["kept", "orders"]);
    drive.sees("kept", &[]).await;
    drive.sees("orders", &[]).await;
    server.api.register(&Record::new("orders", 8001)).await;
    drive.sees("orders", &[(8001, 1.0)]).await;
}

async fn a_silent_server_is_lost_within_fifteen_seconds(kind: Kind) {
    let server = Server::start(kind).await;
    server.api.register(&Record::new("orders", 8001)).await;
    let nacos = registry(&server, "");
    let mut drive = Drive::start(nacos.clone(), &["orders"]);
    drive.sees("orders", &[(8001, 1.0)]).await;
    let since = Instant::now();
    server.freeze();
    let error = drive.end(Duration::from_secs(15)).await;
    println!("lost after {:.1} s: {error}", since.elapsed().as_secs_f32());
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    let error = Drive::start(nacos.clone(), &["orders"]).end(Duration::from_secs(15)).await;
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    server.thaw();
    Drive::start(nacos, &["orders"]).sees("orders", &[(8001, 1.0)]).await;
}

async fn a_login_is_made_renewed_and_refused(kind: Kind) {
    let settings = vec![kind.login(), kind.token_lifetime(5)];
    let mut server = Server::start_with(kind, settings).await;
    server.api.register(&Record::new("orders", 8001)).await;
    let nacos = registry(&server, &login(kind.password()));
    let mut drive = Drive::start(nacos.clone(), &["orders"]);
    drive.sees("orders", &[(8001, 1.0)]).await;

    // Longer than a token lives.
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        nacos.list("orders").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for password in ["wrong", ""] {
        let intruder = registry(&server, &login(password));
        let error = Drive::start(intruder, &["orders"]).end(Duration::from_secs(10)).await;
        println!("with a wrong password: {error}");
        assert!(matches!(error, RegistryError::Auth(_)), "{error}");
    }
    let error = Drive::start(registry(&server, ""), &["orders"]).end(Duration::from_secs(10)).await;
    println!("without a login: {error}");
    assert!(matches!(error, RegistryError::Auth(_)), "{error}");

    // A server that knows no token of before: what is kept is refused, and renewed.
    server.kill();
    drive.end(Duration::from_secs(5)).await;
    if kind != Kind::RNacos {
        let key = "b3RoZXItdGVzdHMtb3RoZXItdGVzdHMtb3RoZXItdGVzdHMtb3RoZXItdGVzdHMt";
        server.settings.push(format!("nacos.core.auth.plugin.nacos.token.secret.key={key}"));
    }
    server.settings.push(kind.token_lifetime(3600));
    server.start_empty().await;
    server.api.register(&Record::new("orders", 8001)).await;
    let mut drive = Drive::start(nacos, &["orders"]);
    drive.sees("orders", &[(8001, 1.0)]).await;
}
