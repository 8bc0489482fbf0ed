//! Every wait has an end, and the end has the right name.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::support::{
    Backend, Gateway, HEAD, Message, Scripted, Wire, all_to, client, closed_port, eventually,
};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Asserts what an answer of our own says.
fn assert_answer(answer: &Message, status: u16, code: &str, proxy_error: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.json()["code"], code);
    let said = answer.header("proxy-status").unwrap();
    assert!(said.starts_with(&format!("tollgate; error={proxy_error}")), "{said}");
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_504() {
    let backend = Scripted::silent().await;
    let timeouts = "timeouts = { read = \"300ms\" }";
    let gateway = Gateway::start(&all_to(&[backend.address], timeouts));
    let answer = Wire::ask(gateway.address(), GET).await;
    assert_answer(&answer, 504, "timeout", "http_response_timeout");
    // What may have reached an instance is not sent again.
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_connect_that_takes_too_long_is_504() {
    // 192.0.2.0/24 is for documentation (RFC 5737); where the system knows no way there, the connect fails at once.
    let gateway = Gateway::start(&all_to(
        &["192.0.2.1:9".parse().unwrap()],
        "timeouts = { connect = \"300ms\" }\nretries = { tries = 1 }",
    ));
    let began = Instant::now();
    let answer = Wire::ask(gateway.address(), GET).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    match answer.status() {
        504 => assert_answer(&answer, 504, "timeout", "connection_timeout"),
        _ => assert_answer(&answer, 502, "connect_failed", "connection_refused"),
    }
}

#[tokio::test]
async fn refused_connects_are_502_once_every_instance_was_tried() {
    let dead = [closed_port().await, closed_port().await];
    let gateway = Gateway::start(&all_to(&dead, "retries = { tries = 3 }"));
    let answer = Wire::ask(gateway.address(), GET).await;
    assert_answer(&answer, 502, "connect_failed", "connection_refused");
    let failed = "tollgate_upstream_connect_failures_total{upstream=\"service\"}";
    eventually("both connects are counted", async || gateway.metric(failed).await == Some(2.0))
        .await;
}

#[tokio::test]
async fn the_total_time_ends_a_request_whatever_its_upstream_does() {
    let backend = Scripted::silent().await;
    let timeouts = "timeouts = { read = \"60s\", total = \"400ms\" }";
    let gateway = Gateway::start(&all_to(&[backend.address], timeouts));
    let began = Instant::now();
    let answer = Wire::ask(gateway.address(), GET).await;
    assert_answer(&answer, 504, "timeout", "http_response_timeout");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn the_total_time_ends_with_the_head_of_the_response() {
    let backend = Scripted::start(|mut wire| async move {
        wire.head().await;
        wire.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").await;
        for _ in 0..6 {
            sleep(Duration::from_millis(150)).await;
            wire.send("x").await;
        }
    })
    .await;
    let timeouts = "timeouts = { read = \"10s\", total = \"500ms\" }";
    let gateway = Gateway::start(&all_to(&[backend.address], timeouts));
    assert_eq!(Wire::ask(gateway.address(), GET).await.body, b"xxxxxx");
}

/// A listener that does not wait long for its clients.
const IMPATIENT: &str = r#"
[listener.impatient]
address = "127.0.0.1:0"
read_timeout = "300ms"
keep_alive = "1s"
"#;
/// A breaker that opens at the first failure.
const TOUCHY: &str =
    "circuit_breaker = { failure_rate = \"1%\", minimum_calls = 1, open_for = \"60s\" }";

async fn assert_breaker_is_closed(gateway: &Gateway) {
    let state =
        "tollgate_circuit_breaker_state{route=\"all\",upstream=\"service\",state=\"closed\"}";
    assert_eq!(gateway.metric(state).await, Some(1.0));
}

#[tokio::test]
async fn a_client_that_stalls_its_body_is_408_and_harms_nobody() {
    let backend = Backend::echo("one").await;
    let config = format!("{IMPATIENT}{}{TOUCHY}", all_to(&[backend.address], ""));
    let gateway = Gateway::start(&config);
    let address = gateway.listener("impatient");
    let stalled = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhello";
    for _ in 0..7 {
        let answer = Wire::ask(address, stalled).await;
        assert_answer(&answer, 408, "timeout", "http_request_error; status-code=408");
    }
    assert_eq!(Wire::ask(address, GET).await.status(), 200);
    assert_breaker_is_closed(&gateway).await;
}

#[tokio::test]
async fn a_body_that_stalls_longer_than_the_upstream_waits_is_408_too() {
    let backend = Backend::echo("one").await;
    let more = "timeouts = { read = \"300ms\" }";
    let gateway = Gateway::start(&format!("{}{TOUCHY}", all_to(&[backend.address], more)));
    let stalled = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let answer = Wire::ask(gateway.address(), stalled).await;
    assert_answer(&answer, 408, "timeout", "http_request_error; status-code=408");
    assert_eq!(Wire::ask(gateway.address(), GET).await.status(), 200);
}

#[tokio::test]
async fn a_slow_body_that_goes_on_coming_is_no_stalled_one() {
    let backend = Backend::echo("one").await;
    let timeouts = "timeouts = { read = \"1s\" }";
    let gateway = Gateway::start(&all_to(&[backend.address], timeouts));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n").await;
    for _ in 0..10 {
        sleep(Duration::from_millis(200)).await;
        wire.send("x").await;
    }
    assert_eq!(wire.response().await.json()["body"], "xxxxxxxxxx");
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_keep_alive() {
    let gateway = Gateway::start(IMPATIENT);
    let mut wire = Wire::connect(gateway.listener("impatient")).await;
    wire.send(GET).await;
    assert_eq!(wire.response().await.status(), 404);
    let began = Instant::now();
    assert_eq!(wire.rest().await, b"");
    assert!(began.elapsed() > Duration::from_millis(900));
}

#[tokio::test]
async fn a_truncated_body_stays_visibly_truncated() {
    let counted = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let chunked =
        Scripted::saying("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .await;
    for backend in [counted, chunked] {
        let gateway = Gateway::start(&all_to(&[backend.address], ""));
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(GET).await;
        assert_eq!(wire.head().await.status(), 200);
        let rest = String::from_utf8(wire.rest().await).unwrap();
        assert!(["hello", "5\r\nhello\r\n"].contains(&rest.as_str()), "{rest:?}");
        let read = client().get(gateway.url("/")).send().await.unwrap().bytes().await;
        assert!(read.is_err());
        let reset = "tollgate_outcomes_total{route=\"all\",outcome=\"reset\"}";
        eventually("it is counted", async || gateway.metric(reset).await == Some(2.0)).await;
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http_is_502() {
    for garbage in
        ["SSH-2.0-OpenSSH_9.9\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n", "HTTP/1.1 abc\r\n\r\n"]
    {
        let backend = Scripted::saying(garbage).await;
        let gateway = Gateway::start(&all_to(&[backend.address], ""));
        let answer = Wire::ask(gateway.address(), GET).await;
        assert_answer(&answer, 502, "bad_upstream", "http_protocol_error");
    }
}

#[tokio::test]
async fn an_upstream_that_hangs_up_is_502() {
    let backend = Scripted::saying("").await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let answer = Wire::ask(gateway.address(), GET).await;
    assert_answer(&answer, 502, "reset", "connection_terminated");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn what_an_upstream_says_after_its_response_reaches_nobody() {
    let backend = Scripted::start(|mut wire| async move {
        while !wire.head().await.first_line.is_empty() {
            wire.send(format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")).await;
        }
    })
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut wire = Wire::connect(gateway.address()).await;
    for _ in 0..5 {
        wire.send(GET).await;
        assert_eq!(wire.response().await.body, b"ok");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_is_499_in_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let head = HEAD.replace("\"off\"", &format!("{:?}", log.to_str().unwrap()));
    let backend = Scripted::silent().await;
    let gateway =
        Gateway::start_with(&head, &format!("{}{TOUCHY}", all_to(&[backend.address], "")));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(GET).await;
    eventually("the upstream has it", async || backend.connections() == 1).await;
    drop(wire);
    let line = async || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("it is logged", async || line().await.ends_with('\n')).await;
    let line: serde_json::Value = serde_json::from_str(line().await.trim()).unwrap();
    assert_eq!(line["http.response.status_code"], 499);
    assert_eq!(line["tollgate.outcome"], "client_closed");
    assert_breaker_is_closed(&gateway).await;
}
