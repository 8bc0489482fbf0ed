//! What is sent again, and what never is.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use crate::support::{Backend, Gateway, Message, Scripted, Wire, all_to, closed_port, eventually};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn request(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
}

async fn ask(gateway: &Gateway, method: &str) -> Message {
    Wire::ask(gateway.address(), &request(method)).await
}

/// Answers the first request of each connection; reads the second and then resets the connection, as a server does
/// that dies or whose idle time ends just then. Counts the requests that it read after the first of all.
async fn dies_on_reuse() -> (Scripted, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let backend = Scripted::start(move |mut wire| {
        let count = count.clone();
        async move {
            wire.response().await;
            count.fetch_add(1, Ordering::SeqCst);
            wire.send(OK).await;
            if !wire.response().await.first_line.is_empty() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    (backend, seen)
}

#[tokio::test]
async fn a_post_is_never_sent_twice_when_a_reused_connection_dies() {
    for _ in 0..20 {
        let (backend, seen) = dies_on_reuse().await;
        let gateway = Gateway::start(&all_to(&[backend.address], "retries = { tries = 3 }"));
        assert_eq!(ask(&gateway, "POST").await.status(), 200);
        let second = ask(&gateway, "POST").await;
        if second.status() == 502 {
            assert_eq!(second.json()["code"], "reset");
            assert_eq!(seen.load(Ordering::SeqCst), 2);
        } else {
            // It went out on a connection of another thread's pool.
            assert_eq!((second.status(), backend.connections()), (200, 2));
        }
    }
}

#[tokio::test]
async fn a_get_is_sent_again_when_a_reused_connection_dies() {
    let (backend, _) = dies_on_reuse().await;
    // More than one idle connection may be there, each of which dies under a try.
    let gateway = Gateway::start(&all_to(&[backend.address], "retries = { tries = 10 }"));
    for _ in 0..10 {
        assert_eq!(ask(&gateway, "GET").await.status(), 200);
    }
    let failed = gateway.metric("tollgate_outcomes_total{route=\"all\",outcome=\"reset\"}").await;
    assert_eq!(failed, Some(0.0));
}

#[tokio::test]
async fn a_get_that_a_dead_connection_swallowed_goes_to_another_instance() {
    let (dying, _) = dies_on_reuse().await;
    let healthy = Backend::echo("healthy").await;
    let gateway = Gateway::start(&all_to(&[dying.address, healthy.address], ""));
    for _ in 0..30 {
        assert_eq!(ask(&gateway, "GET").await.status(), 200);
    }
    assert!(healthy.served() > 0);
}

#[tokio::test]
async fn a_refused_connect_is_tried_on_another_instance_whatever_the_method() {
    let healthy = Backend::echo("healthy").await;
    let gateway = Gateway::start(&all_to(
        &[closed_port().await, healthy.address],
        "ejection = { consecutive_failures = 0 }",
    ));
    for method in ["GET", "POST", "PATCH"].repeat(10) {
        let answer = ask(&gateway, method).await;
        assert_eq!((answer.status(), &answer.json()["body"]), (200, &"hi".into()));
    }
    assert_eq!(healthy.served(), 30);
    let retries = "tollgate_upstream_retries_total{upstream=\"service\",reason=\"connect_failed\"}";
    assert!(gateway.metric(retries).await.unwrap() > 0.0);
}

#[tokio::test]
async fn one_try_means_no_retry() {
    let healthy = Backend::echo("healthy").await;
    let gateway = Gateway::start(&all_to(
        &[closed_port().await, healthy.address],
        "retries = { tries = 1 }\nejection = { consecutive_failures = 0 }",
    ));
    let mut failed = 0;
    for _ in 0..40 {
        failed += usize::from(ask(&gateway, "GET").await.status() == 502);
    }
    assert_eq!((failed + healthy.served(), failed > 0), (40, true));
}

#[tokio::test]
async fn a_spent_budget_allows_no_retry() {
    let healthy = Backend::echo("healthy").await;
    let gateway = Gateway::start(&all_to(
        &[closed_port().await, healthy.address],
        "retries = { budget = \"0%\", floor = 0 }\nejection = { consecutive_failures = 0 }",
    ));
    let mut failed = 0.0;
    for _ in 0..40 {
        failed += f64::from(u8::from(ask(&gateway, "GET").await.status() == 502));
    }
    assert!(failed > 0.0);
    let refused = "tollgate_upstream_retries_refused_total{upstream=\"service\"}";
    eventually("refusals are counted", async || gateway.metric(refused).await == Some(failed))
        .await;
}

#[tokio::test]
async fn an_error_that_an_upstream_answers_is_not_retried() {
    let failing = Backend::status(503).await;
    let gateway = Gateway::start(&all_to(&[failing.address], "retries = { tries = 3 }"));
    assert_eq!(ask(&gateway, "GET").await.status(), 503);
    assert_eq!(failing.served(), 1);
}

#[tokio::test]
async fn a_first_connection_that_dies_is_no_reason_to_send_again() {
    let dead = Scripted::saying("").await;
    let gateway = Gateway::start(&all_to(&[dead.address], "retries = { tries = 3 }"));
    assert_eq!(ask(&gateway, "GET").await.status(), 502);
    assert_eq!(dead.connections(), 1);
}
