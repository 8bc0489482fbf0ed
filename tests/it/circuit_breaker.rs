//! The breaker between a route and its upstream: when it opens, what it lets through, and what it never hears of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::{extract::Request, response::IntoResponse};
use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::watch};

use crate::support::{Backend, Gateway, client, code, eventually, header, upstream};

/// A server that answers with the status of the moment, once it is let.
struct Service {
    backend: Backend,
    status: Arc<AtomicU16>,
    held: watch::Sender<bool>,
}

impl Service {
    async fn start() -> Self {
        let (status, (held, holds)) = (Arc::new(AtomicU16::new(200)), watch::channel(false));
        let now = status.clone();
        let backend = Backend::answering(move |_: Request| {
            let (now, mut holds) = (now.clone(), holds.clone());
            async move {
                let _ = holds.wait_for(|held| !held).await;
                http::StatusCode::from_u16(now.load(SeqCst)).unwrap().into_response()
            }
        })
        .await;
        Self { backend, status, held }
    }

    fn answer(&self, status: u16) {
        self.status.store(status, SeqCst);
    }

    /// A gateway before it, whose route `all` has this breaker and whose upstream ejects nobody.
    fn gateway(&self, breaker: &str) -> Gateway {
        Gateway::start(&format!(
            "{}ejection = {{ consecutive_failures = 0 }}\n\
             [[route]]\nname = 'all'\nto = 'service'\ncircuit_breaker = {breaker}\n\
             [[route]]\nname = 'other'\npath = '/other'\nto = 'service'\n",
            upstream("service", &[&self.backend])
        ))
    }
}

async fn status(gateway: &Gateway) -> u16 {
    client().get(gateway.url("/")).send().await.unwrap().status().as_u16()
}

async fn is_in(gateway: &Gateway, state: &str) -> bool {
    let family = "tollgate_circuit_breaker_state";
    let series = format!(r#"{family}{{route="all",upstream="service",state="{state}"}}"#);
    gateway.metric(&series).await == Some(1.0)
}

async fn entered(gateway: &Gateway, state: &str) -> Option<f64> {
    let family = "tollgate_circuit_breaker_transitions_total";
    let series = format!(r#"{family}{{route="all",upstream="service",state="{state}"}}"#);
    gateway.metric(&series).await
}

#[tokio::test]
async fn failures_open_it_and_then_nothing_reaches_the_upstream() {
    let service = Service::start().await;
    let gateway = service.gateway("{ failure_rate = '50%', minimum_calls = 4, open_for = '60s' }");
    service.answer(200);
    assert_eq!([status(&gateway).await, status(&gateway).await], [200, 200]);
    service.answer(500);
    assert_eq!([status(&gateway).await, status(&gateway).await], [500, 500]);
    eventually("open", async || is_in(&gateway, "open").await).await;
    for _ in 0..10 {
        let refused = client().get(gateway.url("/")).send().await.unwrap();
        assert_eq!(refused.status(), 503);
        let wait: u64 = header(&refused, "retry-after").parse().unwrap();
        assert!((40..=60).contains(&wait), "{wait}");
        assert_eq!(header(&refused, "proxy-status"), "tollgate; error=destination_unavailable");
        assert_eq!(code(refused).await, "circuit_breaker_open");
    }
    assert_eq!(service.backend.served(), 4);
    // It is the route's, not the upstream's.
    let other = client().get(gateway.url("/other")).send().await.unwrap();
    assert_eq!((other.status().as_u16(), service.backend.served()), (500, 5));
}

#[tokio::test]
async fn half_open_exactly_so_many_calls_try_and_success_closes_it() {
    let service = Service::start().await;
    let gateway = service.gateway(
        "{ failure_rate = '50%', minimum_calls = 2, open_for = '4s', half_open_calls = 3 }",
    );
    service.answer(500);
    assert_eq!([status(&gateway).await, status(&gateway).await], [500, 500]);
    eventually("open", async || is_in(&gateway, "open").await).await;
    service.answer(200);
    service.held.send(true).unwrap();

    let (client, url, refusals) = (client(), gateway.url("/"), AtomicUsize::new(0));
    let patient = async |_| {
        while client.get(&url).send().await.unwrap().status() != 200 {
            refusals.fetch_add(1, SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let release = async {
        eventually("the trials have begun", async || service.backend.served() >= 5).await;
        let before = refusals.load(SeqCst);
        eventually("all others were refused", async || refusals.load(SeqCst) > before + 97).await;
        assert_eq!(service.backend.served(), 2 + 3, "no more than three try");
        assert!(is_in(&gateway, "half_open").await);
        service.held.send(false).unwrap();
    };
    tokio::join!(join_all((0..100).map(patient)), release);
    assert_eq!(service.backend.served(), 2 + 100);
    assert!(is_in(&gateway, "closed").await);
    for (state, times) in [("open", 1.0), ("half_open", 1.0), ("closed", 1.0)] {
        assert_eq!(entered(&gateway, state).await, Some(times), "{state}");
    }
}

#[tokio::test]
async fn a_trial_that_fails_opens_it_again() {
    let service = Service::start().await;
    let gateway = service.gateway("{ minimum_calls = 1, open_for = '100ms', half_open_calls = 1 }");
    service.answer(503);
    assert_eq!(status(&gateway).await, 503);
    let again =
        async || status(&gateway).await == 503 && entered(&gateway, "open").await > Some(1.0);
    eventually("opened again", again).await;
    assert_eq!(entered(&gateway, "closed").await, Some(0.0));
    service.answer(200);
    eventually("closed", async || status(&gateway).await == 200).await;
    eventually("closed", async || is_in(&gateway, "closed").await).await;
}

#[tokio::test]
async fn a_trial_whose_client_leaves_makes_room_for_another() {
    let service = Service::start().await;
    let gateway = service.gateway("{ minimum_calls = 1, open_for = '1s', half_open_calls = 1 }");
    service.answer(500);
    assert_eq!(status(&gateway).await, 500);
    service.answer(200);
    service.held.send(true).unwrap();
    let trial = async {
        loop {
            let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
            let refused = stream.readable();
            let called = eventually("called", async || service.backend.served() == 2);
            tokio::select! {
                _ = refused => {}
                () = called => return stream,
            }
        }
    };
    let trial = tokio::time::timeout(Duration::from_secs(10), trial).await.unwrap();
    assert_eq!(status(&gateway).await, 503, "the one trial is taken");
    drop(trial);
    service.held.send(false).unwrap();
    eventually("another trial", async || status(&gateway).await == 200).await;
    eventually("closed", async || is_in(&gateway, "closed").await).await;
    assert_eq!(entered(&gateway, "open").await, Some(1.0), "who left is no failure");
}

#[tokio::test]
async fn slow_calls_open_it_too() {
    let service = Service::start().await;
    let breaker = "{ slow_call_rate = '100%', slow_call = '50ms', minimum_calls = 1 }";
    let gateway = service.gateway(breaker);
    service.held.send(true).unwrap();
    let release = async {
        eventually("called", async || service.backend.served() == 1).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        service.held.send(false).unwrap();
    };
    let (answered, ()) = tokio::join!(status(&gateway), release);
    assert_eq!(answered, 200);
    eventually("open", async || is_in(&gateway, "open").await).await;
    assert_eq!(status(&gateway).await, 503);
}

#[tokio::test]
async fn what_clients_do_wrong_never_opens_it() {
    let service = Service::start().await;
    let gateway = service.gateway("{ failure_rate = '1%', minimum_calls = 1, window = 10 }");
    service.answer(404);
    for _ in 0..20 {
        assert_eq!(status(&gateway).await, 404);
    }
    service.held.send(true).unwrap();
    for call in 1..=20 {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        stream.write_all(b"GET /gone HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        eventually("called", async || service.backend.served() == 20 + call).await;
        drop(stream);
    }
    // Bodies that stop in the middle, or that are no bodies.
    for body in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"]
    {
        let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
        let head = format!("POST /cut HTTP/1.1\r\nHost: test\r\n{body}");
        stream.write_all(head.as_bytes()).await.unwrap();
        drop(stream);
    }
    let ended = async || {
        let of = async |outcome| {
            let series = format!(r#"tollgate_outcomes_total{{route="all",outcome="{outcome}"}}"#);
            gateway.metric(&series).await.unwrap()
        };
        of("client_closed").await + of("bad_request").await == 22.0
    };
    eventually("all were noticed", ended).await;
    service.held.send(false).unwrap();
    service.answer(200);
    assert!(is_in(&gateway, "closed").await);
    assert_eq!(entered(&gateway, "open").await, Some(0.0));
    assert_eq!(status(&gateway).await, 200);
}

#[tokio::test]
async fn an_instance_that_refuses_connections_opens_it() {
    let gateway = Gateway::start(
        "[upstream.service]\ninstances = ['127.0.0.1:1']\n\
         [[route]]\nname = 'all'\nto = 'service'\ncircuit_breaker = { minimum_calls = 2 }\n",
    );
    let ask = async || client().get(gateway.url("/")).send().await.unwrap();
    for _ in 0..2 {
        let failed = ask().await;
        assert_eq!(failed.status(), 502);
        assert_eq!(code(failed).await, "connect_failed");
    }
    eventually("open", async || is_in(&gateway, "open").await).await;
    assert_eq!(code(ask().await).await, "circuit_breaker_open");
}

#[tokio::test]
async fn an_open_upstream_is_passed_over_while_another_is_closed() {
    let (bad, good) = (Service::start().await, Backend::echo("good").await);
    bad.answer(500);
    let gateway = Gateway::start(&format!(
        "{}{}[[route]]\nname = 'all'\nto = {{ bad = 1, good = 1 }}\n\
         circuit_breaker = {{ minimum_calls = 1 }}\n",
        upstream("bad", &[&bad.backend]),
        upstream("good", &[&good])
    ));
    eventually("bad was asked", async || status(&gateway).await == 500).await;
    let open = r#"tollgate_circuit_breaker_state{route="all",upstream="bad",state="open"}"#;
    eventually("open", async || gateway.metric(open).await == Some(1.0)).await;
    for _ in 0..50 {
        assert_eq!(status(&gateway).await, 200);
    }
    assert_eq!(bad.backend.served(), 1);
}
