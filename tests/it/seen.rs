//! What is seen from outside: the metrics page and the access log.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::{Backend, Gateway, client, eventually, header, raw, raw_bytes, upstream};

const ROUTES: &str = "[[route]]\nname = 'shop'\npath = '/shop/{id}'\nto = 'service'\n\
    rate_limit = { rate = '1/h', burst = 2 }\ncircuit_breaker = {}\n\
    [[route]]\nname = 'gone'\npath = '/gone'\nanswer = {}\n";

async fn page(gateway: &Gateway) -> String {
    let answer = client().get(gateway.admin("/metrics")).send().await.unwrap();
    assert_eq!(header(&answer, "content-type"), "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test]
async fn each_request_and_try_is_counted_under_names_of_the_config() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!("{}{ROUTES}", upstream("service", &[&backend])));
    for (request, status) in [
        ("POST /shop/1", 200),
        ("GET /shop/2?q", 200),
        ("GET /shop/3", 429),
        ("GET /gone", 200),
        ("BREW /none", 404),
        ("GET /%2f", 400),
    ] {
        assert_eq!(raw(gateway.address(), request, &[]).await.status, status, "{request}");
    }
    for (series, value) in [
        (r#"tollgate_http_requests_total{route="shop",method="POST",code="200"}"#, 1.0),
        (r#"tollgate_http_requests_total{route="shop",method="GET",code="200"}"#, 1.0),
        (r#"tollgate_http_requests_total{route="shop",method="GET",code="429"}"#, 1.0),
        (r#"tollgate_http_requests_total{route="gone",method="GET",code="200"}"#, 1.0),
        (r#"tollgate_http_requests_total{route="(none)",method="_OTHER",code="404"}"#, 1.0),
        (r#"tollgate_http_requests_total{route="(none)",method="GET",code="400"}"#, 1.0),
        (r#"tollgate_outcomes_total{route="shop",outcome="ok"}"#, 2.0),
        (r#"tollgate_outcomes_total{route="shop",outcome="rate_limited"}"#, 1.0),
        (r#"tollgate_outcomes_total{route="shop",outcome="timeout"}"#, 0.0),
        (r#"tollgate_outcomes_total{route="(none)",outcome="no_route"}"#, 1.0),
        (r#"tollgate_outcomes_total{route="(none)",outcome="bad_request"}"#, 1.0),
        (r#"tollgate_http_request_duration_seconds_count{route="shop"}"#, 3.0),
        (r#"tollgate_http_overhead_duration_seconds_count"#, 6.0),
        (r#"tollgate_http_requests_in_flight{route="shop"}"#, 0.0),
        (r#"tollgate_http_request_bytes_total{route="shop"}"#, 0.0),
        (r#"tollgate_upstream_requests_total{upstream="service",code_class="2xx"}"#, 2.0),
        (r#"tollgate_upstream_request_duration_seconds_count{upstream="service"}"#, 2.0),
        (r#"tollgate_upstream_connect_failures_total{upstream="service"}"#, 0.0),
        (r#"tollgate_upstream_retries_total{upstream="service",reason="connect_failed"}"#, 0.0),
        (r#"tollgate_upstream_retries_total{upstream="service",reason="dead_connection"}"#, 0.0),
        (r#"tollgate_upstream_retries_refused_total{upstream="service"}"#, 0.0),
        (r#"tollgate_upstream_instances{upstream="service",state="ready"}"#, 1.0),
        (r#"tollgate_upstream_ejections_total{upstream="service"}"#, 0.0),
        (r#"tollgate_circuit_breaker_state{route="shop",upstream="service",state="closed"}"#, 1.0),
        (r#"tollgate_rate_limit_decisions_total{route="shop",decision="allow"}"#, 2.0),
        (r#"tollgate_rate_limit_decisions_total{route="shop",decision="deny"}"#, 1.0),
        (r#"tollgate_rate_limit_keys{route="shop"}"#, 1.0),
        (r#"tollgate_rate_limit_evictions_total{route="shop"}"#, 0.0),
        (r#"tollgate_config_last_reload_successful"#, 1.0),
    ] {
        let counted = async || gateway.metric(series).await == Some(value);
        eventually(&format!("{series} {value}"), counted).await;
    }
    let names: BTreeSet<_> = tollgate::telemetry::metrics::names::ALL.iter().map(|n| n.0).collect();
    for line in page(&gateway).await.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(names.contains(name) || name.starts_with("process_"), "{name}");
    }
}

#[tokio::test]
async fn every_name_of_the_list_stands_on_the_page_of_a_gateway_with_everything() {
    let gateway = Gateway::start_with_files(
        &[("secret", "a secret of thirty-two bytes or so")],
        "[registry.local]\nkind = 'embedded'\nlisten = '127.0.0.1:0'\n\
         [jwt.idp]\nsecret = { file = 'secret' }\nalgorithm = 'HS256'\n\
         [[route]]\nname = 'all'\nto = 'hello'\njwt = { issuer = 'idp', mode = 'shadow' }\n\
         rate_limit = { rate = '1/s' }\ncircuit_breaker = {}\n",
    );
    assert_eq!(raw(gateway.address(), "GET /", &[]).await.status, 503);
    let mut missing = Vec::new();
    let all_there = async || {
        let page = page(&gateway).await;
        let names = tollgate::telemetry::metrics::names::ALL.iter();
        let types =
            names.map(|(name, kind, _)| format!("# TYPE {name} {}", kind.to_ascii_lowercase()));
        types.filter(|line| !page.contains(line.as_str())).collect::<Vec<_>>()
    };
    for _ in 0..50 {
        missing = all_there().await;
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    // No access log is written here, so that none of its lines can be lost.
    assert_eq!(missing, ["# TYPE tollgate_access_log_dropped_total counter"]);
}

#[tokio::test]
async fn series_of_a_route_go_with_it_and_those_that_stay_go_on() {
    let backend = Backend::echo("one").await;
    let upstreams = upstream("service", &[&backend]);
    let gateway = Gateway::start(&format!("{upstreams}{ROUTES}"));
    for target in ["/shop/1", "/gone"] {
        let answer = client().get(gateway.url(target)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let gone = r#"tollgate_http_requests_total{route="gone",method="GET",code="200"}"#;
    eventually("counted", async || gateway.metric(gone).await == Some(1.0)).await;
    let (kept, _) = ROUTES.split_at(ROUTES.rfind("[[route]]").unwrap());
    gateway.write(&format!("{upstreams}{kept}"));
    assert_eq!(gateway.reload().await.0, 200);
    // The last request that still sees the old config may hold it for a moment.
    eventually("gone", async || !page(&gateway).await.contains("\"gone\"")).await;
    let stays = r#"tollgate_http_requests_total{route="shop",method="GET",code="200"}"#;
    assert_eq!(gateway.metric(stays).await, Some(1.0));
    gateway.write(&format!("{upstreams}[[route]]\nname = 'bare'\nanswer = {{}}\n"));
    assert_eq!(gateway.reload().await.0, 200);
    eventually("gone", async || !page(&gateway).await.contains("\"shop\"")).await;
    assert!(!page(&gateway).await.contains("tollgate_circuit_breaker"));
}

/// A gateway whose access log is a file.
struct Logged {
    gateway: Gateway,
    backend: Backend,
    folder: tempfile::TempDir,
}

impl Logged {
    async fn start() -> Self {
        let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::echo("one").await);
        let head = format!(
            "[server]\ndrain_delay = '0'\nthreads = 2\n[listener.http]\naddress = '127.0.0.1:0'\n\
             [admin]\naddress = '127.0.0.1:0'\n[access_log]\noutput = '{}/access.log'\n",
            folder.path().display()
        );
        let config = format!(
            "{}[upstream.dead]\ninstances = ['127.0.0.1:1']\n{ROUTES}\
             [[route]]\nname = 'dead'\npath = '/dead'\nto = 'dead'\n\
             ip_filter = {{ deny = ['127.0.0.1'], mode = 'shadow' }}\n",
            upstream("service", &[&backend])
        );
        Self { gateway: Gateway::start_with(&head, &config), backend, folder }
    }

    /// The lines of so many requests, none of which shows what is secret.
    async fn lines(&self, count: usize) -> Vec<Value> {
        let read = || fs::read_to_string(self.folder.path().join("access.log")).unwrap();
        eventually("all lines", async || read().lines().count() == count).await;
        let text = read();
        assert!(!text.contains("secret"), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn has(line: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        assert_eq!(&line[*name], value, "{name} of {line}");
    }
}

#[tokio::test]
async fn a_forwarded_request_is_one_line_that_says_where_it_went() {
    let logged = Logged::start().await;
    let answer = raw_bytes(
        logged.gateway.address(),
        "POST /shop/7?token=secret HTTP/1.1\r\nHost: Shop.test:80\r\nConnection: close\r\n\
         Content-Length: 5\r\nUser-Agent: it\"s\r\nAuthorization: Bearer secret\r\n\r\nhello",
    )
    .await;
    assert_eq!(answer.status, 200);
    let line = &logged.lines(1).await[0];
    has(
        line,
        &[
            ("http.request.method", "POST".into()),
            ("url.path", "/shop/7".into()),
            ("url.scheme", "http".into()),
            ("server.address", "Shop.test".into()),
            ("network.protocol.version", "1.1".into()),
            ("client.address", "127.0.0.1".into()),
            ("network.peer.address", "127.0.0.1".into()),
            ("user_agent.original", "it\"s".into()),
            ("http.request.body.size", 5.into()),
            ("http.response.status_code", 200.into()),
            ("http.response.body.size", answer.body.len().into()),
            ("error.type", Value::Null),
            ("http.route", "/shop/{id}".into()),
            ("tollgate.route", "shop".into()),
            ("tollgate.upstream", "service".into()),
            ("tollgate.instance", logged.backend.address.to_string().into()),
            ("tollgate.outcome", "ok".into()),
            ("tollgate.attempts", 1.into()),
            ("tollgate.shadow", Value::Null),
        ],
    );
    for name in ["timestamp", "trace_id", "span_id", "tollgate.request_id", "tollgate.config"] {
        assert!(line[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    let id = format!("x-request-id: {}", line["tollgate.request_id"].as_str().unwrap());
    assert!(answer.head.to_lowercase().contains(&id), "{}", answer.head);
    let millis = |name: &str| line[name].as_f64().unwrap();
    assert!(millis("duration_ms") >= millis("tollgate.upstream_ms"), "{line}");
    assert!(millis("duration_ms") >= millis("tollgate.overhead_ms"), "{line}");
}

#[tokio::test]
async fn a_request_of_our_own_answer_is_one_line_that_says_why() {
    let logged = Logged::start().await;
    for (request, status) in [("GET /nowhere", 404), ("GET /dead", 502)] {
        assert_eq!(raw(logged.gateway.address(), request, &[]).await.status, status);
    }
    let lines = logged.lines(2).await;
    has(
        &lines[0],
        &[
            ("http.response.status_code", 404.into()),
            ("error.type", "no_route".into()),
            ("tollgate.outcome", "no_route".into()),
            ("tollgate.route", Value::Null),
            ("tollgate.upstream", Value::Null),
            ("tollgate.upstream_ms", Value::Null),
            ("tollgate.attempts", 0.into()),
        ],
    );
    has(
        &lines[1],
        &[
            ("http.response.status_code", 502.into()),
            ("error.type", "connect_failed".into()),
            ("tollgate.outcome", "connect_failed".into()),
            ("tollgate.route", "dead".into()),
            ("tollgate.instance", "127.0.0.1:1".into()),
            ("tollgate.attempts", 1.into()),
            ("tollgate.shadow", serde_json::json!(["ip_filter"])),
        ],
    );
}
