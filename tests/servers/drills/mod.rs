//! What happens to requests when a registry changes, fails, lies or comes back: a real gateway under load.
//!
//! `TOLLGATE_DRILL_SECONDS` makes outages as long as it says, and the graces what they are by default (`make drills`).

mod beats;
mod rig;
mod traffic;

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    api::Record,
    server::{Kind, Server},
    support::Backend,
};
use rig::{BACK, Rig, SERVICE, SOON, Timing, USUAL, instance};

/// One test for each server of every function named.
macro_rules! on_every_server {
    ($($test:ident),+ $(,)?) => {
        mod r_nacos { on_every_server!(@ RNacos, $($test),+); }
        mod nacos_2 { on_every_server!(@ Nacos2, $($test),+); }
        mod nacos_3 { on_every_server!(@ Nacos3, $($test),+); }
    };
    (@ $kind:ident, $($test:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs a real Nacos: make test-real"]
            async fn $test() {
                super::$test(crate::server::Kind::$kind).await;
            }
        )+
    };
}

on_every_server!(
    an_outage_costs_no_request_and_changes_are_followed,
    a_refused_login_is_shown_and_mended,
);

/// One server and one gateway for all, since servers take long to start.
async fn an_outage_costs_no_request_and_changes_are_followed(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    weights_are_followed(&rig).await;
    what_is_disabled_or_gone_gets_nothing(&rig).await;
    odd_instances_are_taken_or_left_out(&rig).await;
    a_frozen_server_costs_nothing(&rig).await;
    a_killed_server_costs_nothing(&mut rig).await;
    an_empty_server_is_given_time(&mut rig).await;
    what_is_really_gone_is_believed(&rig).await;
    a_start_needs_no_registry(&mut rig).await;
}

async fn weights_are_followed(rig: &Rig) {
    let ports = rig.ports();
    rig.load().lap();
    rig.change(ports[1], |record| record.weight = 8.0 * USUAL).await;
    let took = rig.settled(SOON).await;
    let shares = rig.shares(600).await;
    let share = shares[1] as f64 / shares.iter().sum::<usize>() as f64;
    assert!((0.7..0.9).contains(&share), "8 of 10, and not {share} of {shares:?}");
    rig.done(&format!("weight 8 of 10 takes {:.0} % after {}", share * 100.0, secs(took)));

    rig.change(ports[1], |record| record.weight = 0.0).await;
    let took = rig.settled(SOON).await;
    assert_eq!(rig.shares(200).await[1], 0);
    rig.done(&format!("weight 0 takes nothing after {}", secs(took)));

    rig.change(ports[1], |record| record.weight = USUAL).await;
    let took = rig.settled(SOON).await;
    assert!(rig.shares(200).await[1] > 20);
    rig.done(&format!("the usual weight again after {}", secs(took)));
}

async fn what_is_disabled_or_gone_gets_nothing(rig: &Rig) {
    let port = rig.ports()[2];
    rig.change(port, |record| record.enabled = false).await;
    let took = rig.settled(SOON).await;
    assert_eq!(rig.shares(200).await[2], 0);
    rig.change(port, |record| record.enabled = true).await;
    let back = rig.settled(SOON).await;
    assert!(rig.shares(200).await[2] > 20);
    rig.done(&format!("disabled after {}, enabled after {}", secs(took), secs(back)));

    rig.remove(port).await;
    let took = rig.settled(SOON).await;
    assert_eq!(rig.shares(200).await[2], 0);
    rig.add(instance(port)).await;
    let back = rig.settled(SOON).await;
    assert!(rig.shares(200).await[2] > 20);
    rig.done(&format!("deregistered after {}, registered after {}", secs(took), secs(back)));
}

/// As far as the servers themselves take them.
async fn odd_instances_are_taken_or_left_out(rig: &Rig) {
    let ports = rig.ports();
    for weight in [0.01, 10_000.0, USUAL] {
        rig.change(ports[1], |record| record.weight = weight).await;
        rig.settled(SOON).await;
        let shares = rig.shares(200).await;
        let percent = shares[1] * 100 / shares.iter().sum::<usize>();
        let expected = if weight < 1.0 {
            0..10
        } else if weight > USUAL {
            95..101
        } else {
            10..60
        };
        assert!(expected.contains(&percent), "weight {weight}: {percent} % of {shares:?}");
    }
    rig.done("weights 0.01 and 10000");

    rig.change(ports[1], |record| record.note = "x".repeat(800)).await;
    rig.change(ports[1], |record| record.weight = 4.0).await;
    rig.settled(SOON).await;
    rig.change(ports[1], |record| (record.weight, record.note) = (USUAL, String::new())).await;
    rig.settled(SOON).await;
    rig.done("metadata of 900 bytes, which is near what Nacos 3 takes");
    if rig.server.api.kind != Kind::RNacos {
        a_double_is_one_instance(rig).await;
    }
}

/// r-nacos does not tell instances apart by their cluster.
async fn a_double_is_one_instance(rig: &Rig) {
    let ports = rig.ports();
    let double = Record { cluster: "east".into(), ..instance(ports[0]) };
    rig.server.api.register(&double).await;
    rig.change(ports[1], |record| record.weight = 3.0).await;
    let since = Instant::now();
    while rig.view().await.iter().all(|(_, weight)| *weight < 3.0) {
        assert!(since.elapsed() < SOON, "{:?}", rig.view().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(rig.view().await.len(), 3, "an address that stands twice is one instance");
    rig.server.api.deregister(&double).await;
    rig.change(ports[1], |record| record.weight = USUAL).await;
    rig.settled(SOON).await;
    rig.done("an address in two clusters");
}

async fn a_frozen_server_costs_nothing(rig: &Rig) {
    rig.server.freeze();
    let noticed = rig.is("down", Duration::from_secs(15)).await;
    tokio::time::sleep(Timing::of_this_run().outage).await;
    assert_eq!(rig.view().await.len(), 3);
    rig.server.thaw();
    let back = rig.is("live", BACK).await;
    rig.settled(SOON).await;
    still_follows(rig).await;
    rig.done(&format!("frozen: noticed after {}, live again after {}", secs(noticed), secs(back)));
}

async fn a_killed_server_costs_nothing(rig: &mut Rig) {
    rig.server.kill();
    let noticed = rig.is("down", SOON).await;
    tokio::time::sleep(Timing::of_this_run().outage).await;
    rig.server.start_again().await;
    rig.beats.hold().await.api = rig.server.api.clone();
    let back = rig.is("live", BACK).await;
    settled_after_grace(rig).await;
    still_follows(rig).await;
    rig.done(&format!("killed: noticed after {}, live again after {}", secs(noticed), secs(back)));
}

/// Two instances come back, and one never does: it has died while the registry was away.
async fn an_empty_server_is_given_time(rig: &mut Rig) {
    let ports = rig.ports();
    {
        let mut alive = rig.beats.hold().await;
        alive.paused = true;
        alive.records.retain(|record| record.port != ports[2]);
    }
    rig.server.kill();
    rig.is("down", SOON).await;
    rig.backends[2] = Backend::status(200).await;
    tokio::time::sleep(Timing::of_this_run().outage).await;
    rig.server.start_empty().await;
    rig.is("live", BACK).await;
    rig.load().more(200).await;
    let all = rig.view().await;
    assert_eq!(all.len(), 3, "an empty list is not believed at once: {all:?}");
    {
        let mut alive = rig.beats.hold().await;
        (alive.api, alive.paused) = (rig.server.api.clone(), false);
    }
    let took = settled_after_grace(rig).await;
    rig.done(&format!(
        "killed, back empty: two register, the dead third goes after {}",
        secs(took)
    ));
    rig.add(instance(rig.ports()[2])).await;
    rig.settled(SOON).await;
}

async fn what_is_really_gone_is_believed(rig: &Rig) {
    let grace = Timing::of_this_run().empty_grace;
    rig.load().lap();
    for port in rig.ports() {
        rig.remove(port).await;
    }
    let since = Instant::now();
    while rig.load().failed() == 0 {
        assert!(since.elapsed() < grace + SOON, "still served: {:?}", rig.view().await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = since.elapsed();
    assert!(took + Duration::from_secs(1) > grace, "believed after {took:?}");
    assert_eq!(rig.view().await, []);
    rig.load().lap();
    rig.load().more(200).await;
    let lap = rig.load().lap();
    assert_eq!(lap.failed, lap.requests);
    assert!(lap.failures.iter().all(|failure| failure == "503 no_instance"), "{:?}", lap.failures);
    rig.report(&format!("all gone: 503 no_instance after {} (as it should)", secs(took)), &lap);

    rig.add(instance(rig.ports()[0])).await;
    let took = rig.settled(SOON).await;
    rig.load().more(20).await;
    rig.load().lap();
    rig.load().more(200).await;
    rig.done(&format!("one is back: served after {}", secs(took)));
}

async fn a_start_needs_no_registry(rig: &mut Rig) {
    let port = rig.ports()[0];
    let copy = copy_naming(rig, port).await;
    rig.stop_gateway();
    rig.server.kill();

    rig.gateway();
    let took = served(rig, SOON).await;
    rig.traffic().await;
    rig.load().more(400).await;
    let registry = rig.registry().await;
    assert_eq!(registry["services"][SERVICE]["origin"], "disk", "{registry}");
    rig.done(&format!("started without registry: served from the disk after {}", secs(took)));

    rig.stop_gateway();
    rig.beats.hold().await.paused = true;
    rig.server.start_empty().await;
    rig.gateway();
    served(rig, SOON).await;
    rig.is("live", SOON).await;
    rig.traffic().await;
    rig.load().more(200).await;
    {
        let mut alive = rig.beats.hold().await;
        (alive.api, alive.paused) = (rig.server.api.clone(), false);
    }
    rig.settled(SOON).await;
    rig.load().more(200).await;
    rig.done("started together with an empty registry: served from the disk");
    rig.stop_gateway();
    rig.server.kill();

    let bytes = fs::read(&copy).unwrap();
    fs::write(&copy, &bytes[..bytes.len() - 3]).unwrap();
    rig.gateway();
    refused(rig, "copy cut short").await;

    fs::remove_file(&copy).unwrap();
    rig.gateway();
    refused(rig, "no copy").await;
    rig.server.start_again().await;
    rig.beats.hold().await.api = rig.server.api.clone();
    let took = served(rig, BACK).await;
    rig.load().more(40).await;
    rig.load().lap();
    rig.load().more(200).await;
    rig.settled(SOON).await;
    rig.done(&format!("the registry comes: served after {}", secs(took)));
}

/// Waits until the copy on the disk is of one instance, and says where it lies.
async fn copy_naming(rig: &Rig, port: u16) -> std::path::PathBuf {
    let since = Instant::now();
    loop {
        let files: Vec<_> = fs::read_dir(rig.state_dir()).into_iter().flatten().flatten().collect();
        if let [file] = &files[..] {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            if text.contains(&format!(":{port}\"")) && text.matches("\"address\"").count() == 1 {
                return file.path();
            }
        }
        assert!(since.elapsed() < Duration::from_secs(15), "{files:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn refused(rig: &mut Rig, why: &str) {
    rig.is("down", SOON).await;
    rig.traffic().await.more(200).await;
    let lap = rig.load().lap();
    assert_eq!(lap.failed, lap.requests, "{why}");
    assert!(lap.failures.iter().all(|failure| failure == "503 no_instance"), "{:?}", lap.failures);
    rig.report(&format!("started without registry, {why}: 503 (as it should)"), &lap);
}

/// Waits until a request is served.
async fn served(rig: &Rig, within: Duration) -> Duration {
    let since = Instant::now();
    let client = crate::support::client();
    loop {
        let status = client.get(rig.running().url("/")).send().await.unwrap().status();
        if status == 200 {
            return since.elapsed();
        }
        assert!(since.elapsed() < within, "{status} after {within:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Removals wait for the grace after a reconnect, and a read then.
async fn settled_after_grace(rig: &Rig) -> Duration {
    rig.settled(Timing::of_this_run().reconnect_grace + SOON * 2).await
}

async fn still_follows(rig: &Rig) {
    let port = rig.ports()[0];
    for weight in [4.0, USUAL] {
        rig.change(port, |record| record.weight = weight).await;
        rig.settled(SOON).await;
    }
}

async fn a_refused_login_is_shown_and_mended(kind: Kind) {
    let settings = vec![kind.login(), kind.token_lifetime(5)];
    let server = Server::start_with(kind, settings).await;
    let mut rig = Rig::without_gateway(server, String::new()).await;
    let right = rig.file("right", kind.password());
    let wrong = rig.file("wrong", "not-the-password");
    let login = |file| format!("username = {:?}\npassword = {{ file = {file:?} }}\n", Kind::USER);
    // These need no beats, which would need a token.
    rig.beats.hold().await.paused = true;
    rig.add(instance(rig.ports()[0])).await;

    for refused in [login(&wrong), String::new()] {
        rig.gateway_with(refused);
        rig.is("down", Duration::from_secs(15)).await;
        let registry = rig.registry().await;
        let error = registry["last_error"].as_str().unwrap_or_default();
        assert!(error.starts_with("refused: "), "{registry}");
        assert!(!error.contains("not-the-password"), "{error}");
    }
    rig.log_in_with(login(&right)).await;
    rig.is("live", SOON).await;
    let took = served(&rig, SOON).await;
    rig.traffic().await;
    rig.load().lap();
    // Longer than a token lives, and than a read of every service is apart.
    rig.load().more(1600).await;
    assert_eq!(rig.registry().await["state"], "live");
    rig.done(&format!("a login that is mended: served after {}; tokens of 5 s", secs(took)));

    rig.server.kill();
    rig.is("down", SOON).await;
    if kind != Kind::RNacos {
        // What was signed before is refused.
        let key = "b3RoZXItdGVzdHMtb3RoZXItdGVzdHMtb3RoZXItdGVzdHMtb3RoZXItdGVzdHMt";
        let setting = format!("nacos.core.auth.plugin.nacos.token.secret.key={key}");
        rig.server.settings.push(setting);
    }
    rig.server.settings.push(kind.token_lifetime(3600));
    rig.server.start_empty().await;
    rig.server.api.register(&instance(rig.ports()[0])).await;
    let back = rig.is("live", BACK).await;
    settled_after_grace(&rig).await;
    rig.done(&format!("a server that knows no token of before: live after {}", secs(back)));
}

fn secs(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
