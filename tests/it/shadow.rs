//! Policies in shadow mode: nothing is refused, and what would have been is counted.

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::{Backend, Gateway, client, eventually, header, raw, raw_bytes, upstream};

/// A gateway whose route `all` has this policy.
fn gateway(backend: &Backend, policy: &str) -> Gateway {
    Gateway::start_with_files(
        &[("secret", "a secret of thirty-two bytes or so")],
        &format!(
            "{}ejection = {{ consecutive_failures = 0 }}\n\
             [jwt.idp]\nsecret = {{ file = 'secret' }}\nalgorithm = 'HS256'\n\
             [[route]]\nname = 'all'\nto = 'service'\n{policy}\n",
            upstream("service", &[backend])
        ),
    )
}

/// Waits until the gateway has counted so many requests that `policy` would have refused.
async fn counted(gateway: &Gateway, policy: &str, count: f64) {
    let series = format!(r#"tollgate_shadow_rejections_total{{route="all",policy="{policy}"}}"#);
    eventually(&series, async || gateway.metric(&series).await == Some(count)).await;
}

#[tokio::test]
async fn an_ip_filter_refuses_nobody() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "ip_filter = { deny = ['127.0.0.0/8'], mode = 'shadow' }");
    assert_eq!(raw(gateway.address(), "GET /", &[]).await.status, 200);
    counted(&gateway, "ip_filter", 1.0).await;
}

#[tokio::test]
async fn cors_leaves_preflights_and_responses_to_the_upstream() {
    let backend = Backend::answering(async |request: axum::extract::Request| {
        let method = request.method().to_string();
        http::Response::builder()
            .header("access-control-allow-origin", "upstream")
            .body(method.into())
            .unwrap()
    })
    .await;
    let gateway = gateway(&backend, "cors = { origins = 'https://app.test', mode = 'shadow' }");
    let preflight = |origin| {
        client()
            .request(http::Method::OPTIONS, gateway.url("/"))
            .header("origin", origin)
            .header("access-control-request-method", "GET")
            .send()
    };
    for origin in ["https://app.test", "https://evil.test"] {
        let answer = preflight(origin).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "access-control-allow-origin"), "upstream");
        assert_eq!(answer.text().await.unwrap(), "OPTIONS");
    }
    counted(&gateway, "cors", 1.0).await;
}

#[tokio::test]
async fn a_token_is_looked_at_and_never_asked_for() {
    let backend = Backend::echo("one").await;
    let policy = "jwt = { issuer = 'idp', scopes = ['a'], headers = { x-user-id = 'sub' }, mode = 'shadow' }";
    let gateway = gateway(&backend, policy);
    let claims = serde_json::json!({ "sub": "ann", "exp": 4_000_000_000_u64, "scope": "a" });
    let key = jsonwebtoken::EncodingKey::from_secret(b"a secret of thirty-two bytes or so");
    tollgate::crypto::install_crypto_provider();
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let valid = format!("Authorization: Bearer {token}");
    for (headers, user) in [
        (&["X-User-Id: root"][..], Value::Null),
        (&["X-User-Id: root", "Authorization: Bearer nonsense"], Value::Null),
        (&["X-User-Id: root", &valid], "ann".into()),
    ] {
        let answer = raw(gateway.address(), "GET /", headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(echo["headers"]["x-user-id"][0], user, "an identity is never the client's own");
    }
    counted(&gateway, "jwt", 2.0).await;
    for (result, count) in [("valid", 1.0), ("missing", 1.0), ("invalid", 1.0), ("forbidden", 0.0)]
    {
        let series =
            format!(r#"tollgate_jwt_verifications_total{{route="all",result="{result}"}}"#);
        assert_eq!(gateway.metric(&series).await, Some(count), "{result}");
    }
}

#[tokio::test]
async fn a_rate_limit_slows_nobody_down() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "rate_limit = { rate = '1/h', burst = 5, mode = 'shadow' }");
    let (client, url) = (client(), gateway.url("/"));
    let ask = |_| async {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!(header(&answer, "ratelimit"), "", "nothing to slow down for");
        answer.status().as_u16()
    };
    assert_eq!(join_all((0..20).map(ask)).await, [200; 20]);
    counted(&gateway, "rate_limit", 15.0).await;
    let denied = r#"tollgate_rate_limit_decisions_total{route="all",decision="shadow_deny"}"#;
    assert_eq!(gateway.metric(denied).await, Some(15.0));
}

#[tokio::test]
async fn a_body_limit_lets_all_of_a_body_through() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "max_body = { size = '4B', mode = 'shadow' }");
    for (framing, body) in [
        ("Content-Length: 6\r\n\r\nabcdef", "abcdef"),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef"),
        ("Content-Length: 4\r\n\r\nabcd", "abcd"),
    ] {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
        let answer = raw_bytes(gateway.address(), &format!("{head}{framing}")).await;
        assert_eq!(answer.status, 200);
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(echo["body"], body, "{framing}");
    }
    counted(&gateway, "max_body", 2.0).await;
}

#[tokio::test]
async fn an_open_circuit_breaker_lets_calls_pass() {
    let backend = Backend::status(500).await;
    let policy = "circuit_breaker = { minimum_calls = 1, window = 1, mode = 'shadow' }";
    let gateway = gateway(&backend, policy);
    let open = r#"tollgate_circuit_breaker_state{route="all",upstream="service",state="open"}"#;
    assert_eq!(raw(gateway.address(), "GET /", &[]).await.status, 500);
    eventually("open", async || gateway.metric(open).await == Some(1.0)).await;
    for _ in 0..3 {
        assert_eq!(raw(gateway.address(), "GET /", &[]).await.status, 500);
    }
    assert_eq!(backend.served(), 4);
    counted(&gateway, "circuit_breaker", 3.0).await;
}
