//! CORS, the IP filter and the body limit.

use serde_json::Value;

use crate::support::{Backend, Gateway, client, code, header, raw, raw_bytes, upstream};

const ORIGIN: &str = "https://app.test";

fn cors(backend: &Backend, more: &str) -> Gateway {
    Gateway::start_with_files(
        &[("secret", "a secret of thirty-two bytes or so")],
        &format!(
            "{}[jwt.idp]\nsecret = {{ file = 'secret' }}\nalgorithm = 'HS256'\n\
             [[route]]\nname = 'api'\nto = 'service'\n\
             cors = {{ origins = ['{ORIGIN}', 'https://*.wide.test'], methods = ['GET', 'PUT'], \
             headers = ['authorization', 'x-a'], expose = ['x-total'], credentials = true, max_age = '5m' }}\n{more}",
            upstream("service", &[backend])
        ),
    )
}

async fn preflight(
    gateway: &Gateway,
    origin: &str,
    method: &str,
    headers: &str,
) -> reqwest::Response {
    client()
        .request(http::Method::OPTIONS, gateway.url("/"))
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", headers)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_preflight_is_answered_here_before_any_credentials_are_asked_for() {
    let backend = Backend::echo("one").await;
    let gateway = cors(&backend, "jwt = 'idp'\nrate_limit = { rate = '1/h', burst = 1 }\n");
    for origin in [ORIGIN, "https://a.wide.test"] {
        let granted = preflight(&gateway, origin, "PUT", "X-A, authorization").await;
        assert_eq!(granted.status(), 204);
        for (name, value) in [
            ("access-control-allow-origin", origin),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "authorization, x-a"),
            ("access-control-allow-credentials", "true"),
            ("access-control-max-age", "300"),
            ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
            ("content-length", ""),
            ("ratelimit", ""),
        ] {
            assert_eq!(header(&granted, name), value, "{name}");
        }
    }
    for (origin, method, headers) in [
        ("https://evil.test", "GET", ""),
        ("null", "GET", ""),
        ("http://app.test", "GET", ""),
        (ORIGIN, "DELETE", ""),
        (ORIGIN, "GET", "x-b"),
    ] {
        let refused = preflight(&gateway, origin, method, headers).await;
        assert_eq!(refused.status(), 403, "{origin} {method} {headers}");
        assert_eq!(code(refused).await, "forbidden");
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn an_address_that_is_not_let_in_gets_no_preflight_either() {
    let backend = Backend::echo("one").await;
    let gateway = cors(&backend, "ip_filter = { deny = ['127.0.0.0/8'] }\n");
    let refused = preflight(&gateway, ORIGIN, "GET", "").await;
    assert_eq!(refused.status(), 403);
    assert_eq!(header(&refused, "access-control-allow-methods"), "");
}

#[tokio::test]
async fn a_preflight_finds_a_route_by_the_method_that_it_asks_for() {
    let backend = Backend::echo("one").await;
    let gateway = cors(&backend, "methods = ['GET', 'PUT']\n");
    assert_eq!(preflight(&gateway, ORIGIN, "PUT", "").await.status(), 204);
    // One that no route takes is refused as the request itself would be.
    assert_eq!(preflight(&gateway, ORIGIN, "DELETE", "").await.status(), 405);
    // Any other OPTIONS is a method like the others.
    let plain = client().request(http::Method::OPTIONS, gateway.url("/")).send().await.unwrap();
    assert_eq!(plain.status(), 405);
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_page_may_read_responses_and_our_own_refusals_alike() {
    let backend = Backend::answering(async |_| {
        http::Response::builder()
            .header("access-control-allow-origin", "*")
            .header("vary", "Accept")
            .body("x".into())
            .unwrap()
    })
    .await;
    let gateway = cors(&backend, "rate_limit = { rate = '1/h', burst = 1 }\n");
    let ask = async |gateway: &Gateway, origin: &str| {
        client().get(gateway.url("/")).header("origin", origin).send().await.unwrap()
    };
    for status in [200, 429] {
        let answer = ask(&gateway, ORIGIN).await;
        assert_eq!(answer.status(), status);
        let origins: Vec<_> =
            answer.headers().get_all("access-control-allow-origin").iter().collect();
        assert_eq!(origins, [ORIGIN], "{status}");
        assert_eq!(header(&answer, "access-control-allow-credentials"), "true");
        assert_eq!(header(&answer, "access-control-expose-headers"), "x-total");
        let vary: Vec<_> = answer.headers().get_all("vary").iter().collect();
        assert!(vary.iter().any(|vary| *vary == "Origin"), "{vary:?}");
    }
    // A stranger's request is served, and its page may not read it.
    let refused = ask(&gateway, "https://evil.test").await;
    assert_eq!(header(&refused, "access-control-allow-origin"), "");
    let closed = cors(&backend, "jwt = 'idp'\n");
    let unauthorized = ask(&closed, ORIGIN).await;
    assert_eq!(unauthorized.status(), 401);
    assert_eq!(header(&unauthorized, "access-control-allow-origin"), ORIGIN);
}

const TRUSTING: &str = "[server]\ndrain_delay = '0'\nthreads = 2\ntrusted_proxies = ['127.0.0.1']\n\
    [listener.http]\naddress = '127.0.0.1:0'\n[admin]\naddress = '127.0.0.1:0'\n[access_log]\noutput = 'off'\n";

const FILTERED: &str = "[[route]]\nname = 'in'\npath = '/in'\nanswer = { body = 'in' }\n\
    ip_filter = { allow = ['10.0.0.0/8', '2001:db8::/32'], deny = ['10.9.0.0/16'] }\n\
    [[route]]\nname = 'out'\npath = '/out'\nanswer = { body = 'out' }\nip_filter = { deny = ['127.0.0.0/8'] }\n";

#[tokio::test]
async fn an_address_that_is_not_let_in_is_403() {
    let trusting = Gateway::start_with(TRUSTING, FILTERED);
    for (client, status) in [
        ("10.1.2.3", 200),
        ("::ffff:10.1.2.3", 200),
        ("2001:db8::7", 200),
        ("10.9.2.3", 403),
        ("192.0.2.1", 403),
        // Only what the trusted proxy itself saw counts.
        ("10.1.2.3, 192.0.2.1", 403),
        ("192.0.2.1, 10.1.2.3", 200),
        ("nonsense", 403),
    ] {
        let line = format!("X-Forwarded-For: {client}");
        let answer = raw(trusting.address(), "GET /in", &[&line]).await;
        assert_eq!(answer.status, status, "{client}");
        assert_eq!(answer.body.contains(r#""code":"forbidden""#), status == 403, "{client}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_claim_another_address() {
    let gateway = Gateway::start(FILTERED);
    for (request, headers) in [
        ("GET /in", &["X-Forwarded-For: 10.1.2.3", "X-Real-IP: 10.1.2.3"][..]),
        ("GET /in", &["Forwarded: for=10.1.2.3"]),
        ("GET /out", &["X-Forwarded-For: 10.1.2.3"]),
    ] {
        assert_eq!(raw(gateway.address(), request, headers).await.status, 403, "{headers:?}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_announced_or_not() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        "{}[[route]]\nname = 'all'\nto = 'service'\nmax_body = '10B'\n",
        upstream("service", &[&backend])
    ));
    let post = async |framing: &str| {
        let head = "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n";
        raw_bytes(gateway.address(), &format!("{head}{framing}")).await
    };
    for framing in [
        "Content-Length: 10\r\n\r\n0123456789",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    ] {
        let answer = post(framing).await;
        assert_eq!(answer.status, 200, "{framing}");
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(echo["body"], "0123456789");
    }
    assert_eq!(backend.served(), 2);
    let announced = post("Content-Length: 11\r\n\r\n0123456789a").await;
    assert_eq!(backend.served(), 2, "the upstream hears nothing of it");
    let streamed = "Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n6\r\n56789a\r\n0\r\n\r\n";
    for answer in [announced, post(streamed).await] {
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains(r#""code":"too_large""#), "{}", answer.body);
    }
}
