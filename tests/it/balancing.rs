//! Which instance: shares, changes of the registry, ejection, retries, canaries.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::response::IntoResponse;
use futures_util::future::join_all;
use http::Method;

use crate::support::{Backend, Gateway, client, code, eventually, header, upstream};

const EMBEDDED: &str = "[registry.local]\nkind = 'embedded'\nlisten = '127.0.0.1:0'\n\
    [[route]]\nname = 'all'\nto = 'hello'\n";

/// Calls the embedded registry about one instance of `hello`, as instances and operators do.
async fn tell(gateway: &Gateway, method: Method, instance: SocketAddr, more: &str) {
    let (registry, port) = (gateway.embedded("local"), instance.port());
    let url = format!(
        "http://{registry}/nacos/v1/ns/instance?serviceName=hello&ip=127.0.0.1&port={port}&ephemeral=false{more}"
    );
    let answer = client().request(method, url).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

/// How many of `count` requests each server got.
async fn shares<const N: usize>(
    gateway: &Gateway,
    backends: [&Backend; N],
    count: usize,
) -> [usize; N] {
    let before = backends.map(Backend::served);
    let (client, url) = (client(), gateway.url("/"));
    for _ in 0..count / 20 {
        let ask = |_| async { client.get(&url).send().await.unwrap().status() };
        assert_eq!(join_all((0..20).map(ask)).await, [200; 20]);
    }
    let mut shares = backends.map(Backend::served);
    shares.iter_mut().zip(before).for_each(|(after, before)| *after -= before);
    shares
}

/// Waits until requests are shared so, and says how long that took.
async fn shared<const N: usize>(
    gateway: &Gateway,
    backends: [&Backend; N],
    fits: impl Fn([usize; N]) -> bool,
) -> Duration {
    let began = Instant::now();
    eventually("shares", async || fits(shares(gateway, backends, 40).await)).await;
    began.elapsed()
}

#[tokio::test]
async fn instances_share_by_weight_as_the_registry_says_it_now() {
    let (a, b) = (Backend::echo("a").await, Backend::echo("b").await);
    let gateway = Gateway::start(EMBEDDED);
    tell(&gateway, Method::POST, a.address, "").await;
    let ask = async || client().get(gateway.url("/")).send().await.unwrap();
    eventually("registered", async || ask().await.status() == 200).await;
    assert_eq!(shares(&gateway, [&a, &b], 20).await, [20, 0]);

    tell(&gateway, Method::POST, b.address, "").await;
    shared(&gateway, [&a, &b], |[_, b]| b > 0).await;
    let [_, even] = shares(&gateway, [&a, &b], 400).await;
    assert!((140..=260).contains(&even), "{even} of 400, six deviations allowed");

    tell(&gateway, Method::PUT, b.address, "&weight=9").await;
    shared(&gateway, [&a, &b], |[a, _]| a < 12).await;
    let [a_tenth, _] = shares(&gateway, [&a, &b], 400).await;
    assert!((4..=80).contains(&a_tenth), "{a_tenth} of 400, six deviations allowed");

    for (off, on) in [("&weight=0", "&weight=1"), ("&enabled=false", "&enabled=true")] {
        tell(&gateway, Method::PUT, b.address, off).await;
        let took = shared(&gateway, [&a, &b], |[_, b]| b == 0).await;
        assert!(took < Duration::from_secs(2), "{off} took {took:?}");
        assert_eq!(shares(&gateway, [&a, &b], 200).await, [200, 0], "{off}");
        tell(&gateway, Method::PUT, b.address, on).await;
        shared(&gateway, [&a, &b], |[_, b]| b > 0).await;
    }

    tell(&gateway, Method::DELETE, b.address, "").await;
    shared(&gateway, [&a, &b], |[_, b]| b == 0).await;
    assert_eq!(shares(&gateway, [&a, &b], 200).await, [200, 0]);
}

#[tokio::test]
async fn an_upstream_without_instances_is_503_and_never_404() {
    let a = Backend::echo("a").await;
    let gateway = Gateway::start(EMBEDDED);
    let ask = async || client().get(gateway.url("/")).send().await.unwrap();
    let never = ask().await;
    assert_eq!((never.status().as_u16(), header(&never, "retry-after")), (503, "1"));
    assert_eq!(code(never).await, "no_instance");
    tell(&gateway, Method::POST, a.address, "").await;
    eventually("registered", async || ask().await.status() == 200).await;
    let off = [(Method::PUT, "&weight=0"), (Method::PUT, "&enabled=false"), (Method::DELETE, "")];
    for (method, more) in off {
        tell(&gateway, method, a.address, more).await;
        let gone = async || {
            let answer = ask().await;
            assert!([200, 503].contains(&answer.status().as_u16()), "{}", answer.status());
            answer.status() == 503 && code(answer).await == "no_instance"
        };
        eventually("gone", gone).await;
        tell(&gateway, Method::POST, a.address, "&weight=1&enabled=true").await;
        eventually("back", async || ask().await.status() == 200).await;
    }
}

#[tokio::test]
async fn an_instance_that_fails_is_ejected_and_comes_back() {
    let status = Arc::new(AtomicU16::new(503));
    let now = status.clone();
    let bad = Backend::answering(move |_| {
        let status = http::StatusCode::from_u16(now.load(SeqCst)).unwrap();
        async move { status.into_response() }
    })
    .await;
    let good = Backend::echo("good").await;
    let gateway = Gateway::start(&format!(
        "{}ejection = {{ consecutive_failures = 3, base_time = '2s' }}\n\
         [[route]]\nname = 'all'\nto = 'service'\n",
        upstream("service", &[&bad, &good])
    ));
    let ask = async || client().get(gateway.url("/")).send().await.unwrap().status().as_u16();
    let began = Instant::now();
    let ejections = r#"tollgate_upstream_ejections_total{upstream="service"}"#;
    eventually("ejected", async || {
        ask().await == 503 && gateway.metric(ejections).await > Some(0.0)
    })
    .await;
    assert_eq!(bad.served(), 3);
    let ejected = r#"tollgate_upstream_instances{upstream="service",state="ejected"}"#;
    let mut served = 0;
    while began.elapsed() < Duration::from_millis(1500) && served < 50 {
        assert_eq!(ask().await, 200);
        served += 1;
    }
    if began.elapsed() < Duration::from_millis(1800) {
        assert_eq!(bad.served(), 3);
        assert_eq!(gateway.metric(ejected).await, Some(1.0));
    }
    status.store(200, SeqCst);
    eventually("back", async || ask().await == 200 && bad.served() > 3).await;
    assert_eq!(gateway.metric(ejected).await, Some(0.0));
}

#[tokio::test]
async fn one_dead_instance_of_three_costs_no_client_anything() {
    let (a, b) = (Backend::echo("a").await, Backend::echo("b").await);
    let gateway = Gateway::start(&format!(
        "[upstream.service]\ninstances = ['127.0.0.1:1', '{}', '{}']\n\
         [[route]]\nname = 'all'\nto = 'service'\n",
        a.address, b.address
    ));
    let client = client();
    for _ in 0..100 {
        let post = client.post(gateway.url("/")).body("once").send().await.unwrap();
        assert_eq!(post.status(), 200);
    }
    assert_eq!(a.served() + b.served(), 100);
    // Five in a row eject it: from then on not even a try is lost.
    let counters = [
        r#"tollgate_upstream_retries_total{upstream="service",reason="connect_failed"}"#,
        r#"tollgate_upstream_connect_failures_total{upstream="service"}"#,
        r#"tollgate_upstream_requests_total{upstream="service",code_class="none"}"#,
    ];
    for series in counters {
        assert_eq!(gateway.metric(series).await, Some(5.0), "{series}");
    }
    let answered = r#"tollgate_upstream_requests_total{upstream="service",code_class="2xx"}"#;
    assert_eq!(gateway.metric(answered).await, Some(100.0));
}

#[tokio::test]
async fn without_retries_left_the_client_hears_of_the_failure() {
    let gateway = Gateway::start(
        "[upstream.service]\ninstances = ['127.0.0.1:1', '127.0.0.1:2', '127.0.0.1:3']\n\
         retries = { tries = 3 }\nejection = { consecutive_failures = 0 }\n\
         [[route]]\nname = 'all'\nto = 'service'\n",
    );
    let answer = client().get(gateway.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(code(answer).await, "connect_failed");
    let tries = r#"tollgate_upstream_connect_failures_total{upstream="service"}"#;
    assert_eq!(gateway.metric(tries).await, Some(3.0));
}

#[tokio::test]
async fn a_canary_gets_its_share() {
    let (stable, canary) = (Backend::echo("stable").await, Backend::echo("canary").await);
    let off = Backend::echo("off").await;
    let gateway = Gateway::start(&format!(
        "{}{}{}[[route]]\nname = 'all'\nto = {{ stable = 90, canary = 10, off = 0 }}\n",
        upstream("stable", &[&stable]),
        upstream("canary", &[&canary]),
        upstream("off", &[&off])
    ));
    let [_, tenth, nothing] = shares(&gateway, [&stable, &canary, &off], 1000).await;
    assert!((43..=157).contains(&tenth), "{tenth} of 1000, six deviations allowed");
    assert_eq!(nothing, 0);
}

#[tokio::test]
async fn an_upstream_without_instances_is_passed_over_while_another_has_some() {
    let full = Backend::echo("full").await;
    let gateway = Gateway::start(&format!(
        "[registry.local]\nkind = 'embedded'\nlisten = '127.0.0.1:0'\n{}\
         [[route]]\nname = 'all'\nto = {{ hello = 90, full = 10 }}\n",
        upstream("full", &[&full])
    ));
    assert_eq!(shares(&gateway, [&full], 100).await, [100]);
    let hello = Backend::echo("hello").await;
    tell(&gateway, Method::POST, hello.address, "").await;
    shared(&gateway, [&hello], |[hello]| hello > 20).await;
    tell(&gateway, Method::DELETE, hello.address, "").await;
    shared(&gateway, [&full], |[full]| full == 40).await;
}
