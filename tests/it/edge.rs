//! What the gateway says to requests that are wrong, and what it adds to those that are right.

use crate::support::{Backend, Gateway, HEAD, Scripted, Wire, all_to, client};

/// A gateway in front of one echo server.
async fn gateway() -> (Gateway, Backend) {
    let backend = Backend::echo("one").await;
    (Gateway::start(&all_to(&[backend.address], "")), backend)
}

/// The status of each request's answer, asked for on a connection of its own.
async fn assert_statuses(expected: u16, code: &str, requests: &[&str]) {
    let (gateway, backend) = gateway().await;
    for request in requests {
        let shown: String = request.chars().take(200).collect();
        let answer = Wire::ask(gateway.address(), request).await;
        assert_eq!(answer.status(), expected, "{shown:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown:?}");
        let problem = answer.json();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &expected.into()));
        let status = format!("tollgate; error=http_request_error; status-code={expected}");
        assert_eq!(answer.header("proxy-status"), Some(status.as_str()));
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_missing_or_odd_host_is_400() {
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a/admin\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:80:81\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:x\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a:99999\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: [::1\r\n\r\n",
    ];
    assert_statuses(400, "bad_request", &requests).await;
}

#[tokio::test]
async fn two_hosts_are_400() {
    let (gateway, backend) = gateway().await;
    for request in [
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\n\r\n",
    ] {
        assert_eq!(Wire::ask(gateway.address(), request).await.status(), 400, "{request:?}");
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_path_that_can_be_read_in_two_ways_is_400() {
    let paths = ["/%2fa", "/a%5cb", "/a%00", "/a\\b", "/%zz", "/..;/a", "/a/%2"];
    let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_statuses(400, "bad_request", &requests.each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn a_target_that_is_neither_path_nor_url_is_400() {
    let targets = ["*", "a", "foo:bar://host/admin", "ftp://a/b", "a:80"];
    let requests = targets.map(|target| format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
    assert_statuses(400, "bad_request", &requests.each_ref().map(String::as_str)).await;
}

/// pingora escapes what may not stand in a target; so escaped it is looked at and forwarded.
#[tokio::test]
async fn blanks_in_the_target_never_split_the_request_line() {
    let (gateway, backend) = gateway().await;
    for (sent, seen) in [("/a /admin", "/a%20/admin"), ("/a\u{1}b", "/a%01b")] {
        let request = format!("GET {sent} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(Wire::ask(gateway.address(), &request).await.json()["target"], seen);
    }
    assert_eq!(backend.served(), 2);
}

#[tokio::test]
async fn a_header_name_with_an_underscore_is_400() {
    assert_statuses(400, "bad_request", &["GET / HTTP/1.1\r\nhost: a\r\nX_User_Id: admin\r\n\r\n"])
        .await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_431_and_a_long_target_414() {
    let many: String = (0..200).map(|n| format!("x-{n}: {}\r\n", "v".repeat(200))).collect();
    let large = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "v".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n");
    assert_statuses(431, "too_large", &[&large, &many]).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(20_000));
    let query = format!("GET /?{} HTTP/1.1\r\nhost: a\r\n\r\n", "p".repeat(20_000));
    assert_statuses(414, "too_large", &[&long, &query]).await;
}

#[tokio::test]
async fn paths_are_forwarded_in_their_normal_form() {
    let (gateway, _backend) = gateway().await;
    for (sent, seen) in [
        ("/a//b/./c/../d", "/a/b/d"),
        ("/%61dmin", "/admin"),
        ("/x/%2e%2e/y?q=/../%61", "/y?q=/../%61"),
        ("http://a/b?c", "/b?c"),
    ] {
        let request = format!("GET {sent} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(Wire::ask(gateway.address(), &request).await.json()["target"], seen);
    }
}

#[tokio::test]
async fn a_host_that_no_route_has_is_404_and_the_connection_lives_on() {
    let gateway = Gateway::start(
        r#"
        [[route]]
        name = "shop"
        host = "shop.test"
        path = "/**"
        answer = { status = 200, body = "shop" }
        "#,
    );
    let mut wire = Wire::connect(gateway.address()).await;
    for _ in 0..3 {
        wire.send("GET / HTTP/1.1\r\nhost: other.test\r\n\r\n").await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), &answer.json()["code"]), (404, &"no_route".into()));
        wire.send("POST / HTTP/1.1\r\nhost: other.test\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(wire.response().await.status(), 404);
        wire.send("GET / HTTP/1.1\r\nhost: SHOP.test:80\r\n\r\n").await;
        assert_eq!(wire.response().await.body, b"shop");
    }
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (gateway, _backend) = gateway().await;
    for (request, closes) in [
        ("GET /old HTTP/1.0\r\n\r\n", true),
        ("GET /old HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", true),
        ("GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", false),
    ] {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(request).await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), &answer.json()["target"]), (200, &"/old".into()));
        if closes {
            assert_eq!(wire.rest().await, b"");
        } else {
            wire.send("GET /second HTTP/1.0\r\n\r\n").await;
            assert_eq!(wire.response().await.json()["target"], "/second");
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let backend = Scripted::saying(chunked).await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.0\r\n\r\n").await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.header("transfer-encoding")), (200, None));
    assert_eq!(wire.rest().await, b"hi");
}

#[tokio::test]
async fn answers_come_in_the_form_that_accept_asks_for() {
    let gateway = Gateway::start("");
    for (accept, kind) in [
        ("application/json", "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
    ] {
        let request = client().get(gateway.url("/")).header("accept", accept);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 404);
        assert_eq!(answer.headers()["content-type"], kind, "{accept}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert!(answer.text().await.unwrap().contains(&id), "{accept}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let (gateway, _backend) = gateway().await;
    let mut wire = Wire::connect(gateway.address()).await;
    for (path, status) in [("/", 200), ("/%00", 400), ("/", 200)] {
        wire.send(format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = wire.head().await;
        assert_eq!(answer.status(), status);
        let length: usize = answer.header("content-length").unwrap().parse().unwrap();
        assert!(length > 0);
    }
    wire.send("GET /after HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(wire.response().await.json()["target"], "/after");
}

#[tokio::test]
async fn forwarding_headers_of_strangers_are_replaced() {
    let (gateway, _backend) = gateway().await;
    let answer = Wire::ask(
        gateway.address(),
        "GET / HTTP/1.1\r\nhost: shop.test\r\nx-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\n\
         x-forwarded-host: evil\r\nforwarded: for=1.2.3.4\r\nx-real-ip: 1.2.3.4\r\n\
         x-request-id: mine\r\nconnection: close, x-secret\r\nx-secret: 1\r\n\r\n",
    )
    .await;
    let headers = &answer.json()["headers"];
    let one = |value: &str| serde_json::json!([value]);
    assert_eq!(headers["x-forwarded-for"], one("127.0.0.1"));
    assert_eq!(headers["x-forwarded-proto"], one("http"));
    assert_eq!(headers["x-forwarded-host"], one("shop.test"));
    assert_eq!(headers["via"], one("1.1 tollgate"));
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(headers["x-request-id"], one(id));
    assert_ne!(id, "mine");
    assert_eq!(headers["traceparent"][0].as_str().unwrap().len(), 55);
    for gone in ["forwarded", "x-real-ip", "x-secret", "connection"] {
        assert!(headers[gone].is_null(), "{gone}");
    }
}

#[tokio::test]
async fn forwarding_headers_of_trusted_proxies_are_continued() {
    let backend = Backend::echo("one").await;
    let head = HEAD.replace("[server]", "[server]\ntrusted_proxies = [\"127.0.0.0/8\"]");
    let gateway = Gateway::start_with(&head, &all_to(&[backend.address], ""));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = client()
        .get(gateway.url("/"))
        .header("x-forwarded-for", "203.0.113.7")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "shop.test")
        .header("x-request-id", "theirs")
        .header("via", "1.0 front")
        .header("traceparent", trace);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "theirs");
    let seen: serde_json::Value = answer.json().await.unwrap();
    let headers = &seen["headers"];
    assert_eq!(headers["x-forwarded-for"][0], "203.0.113.7, 127.0.0.1");
    assert_eq!(headers["x-forwarded-proto"][0], "https");
    assert_eq!(headers["x-forwarded-host"][0], "shop.test");
    assert_eq!(headers["x-request-id"][0], "theirs");
    assert_eq!(headers["traceparent"][0], trace);
    assert_eq!(headers["via"], serde_json::json!(["1.0 front", "1.1 tollgate"]));
}

#[tokio::test]
async fn hop_by_hop_headers_of_a_response_stay_here() {
    let backend = Scripted::saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nkeep-alive: timeout=5\r\nproxy-authenticate: Basic\r\n\
         connection: keep-alive, x-hop\r\nx-hop: 1\r\nx-end: 2\r\n\r\nhi",
    )
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let answer = Wire::ask(gateway.address(), "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!((answer.status(), answer.body.as_slice()), (200, b"hi".as_slice()));
    assert_eq!(answer.header("x-end"), Some("2"));
    for gone in ["keep-alive", "proxy-authenticate", "x-hop"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
}

#[tokio::test]
async fn a_refused_token_leaves_the_connection_open() {
    let backend = Backend::echo("one").await;
    let jwt = r#"
        [jwt.idp]
        issuer = "https://idp.test/"
        audience = "orders"
        keys = { file = "jwks.json" }
    "#;
    let keys = r#"{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"a","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
    let config = format!("{jwt}{}jwt = \"idp\"\n", all_to(&[backend.address], ""));
    let gateway = Gateway::start_with_files(&[("jwks.json", keys)], &config);
    let mut wire = Wire::connect(gateway.address()).await;
    for _ in 0..3 {
        wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), &answer.json()["code"]), (401, &"unauthorized".into()));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"tollgate\""));
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_body_with_two_lengths_smuggles_nothing() {
    let (gateway, backend) = gateway().await;
    let inner = "GET /inner HTTP/1.1\r\nhost: a\r\n\r\n";
    for headers in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", inner.len() + 5),
        "content-length: 3\r\ncontent-length: 4".to_owned(),
        "transfer-encoding: xchunked".to_owned(),
        "transfer-encoding: chunked, identity".to_owned(),
        "content-length: +3".to_owned(),
    ] {
        let mut wire = Wire::connect(gateway.address()).await;
        wire.send(format!("POST /outer HTTP/1.1\r\nhost: a\r\n{headers}\r\n\r\n0\r\n\r\n{inner}"))
            .await;
        let all = String::from_utf8(wire.rest().await).unwrap();
        assert_eq!(all.matches("HTTP/1.1 ").count(), 1, "{headers}: {all}");
        assert!(!all.contains("/inner"), "{headers}: {all}");
    }
    assert!(backend.served() <= 1);
}

#[tokio::test]
async fn an_expectation_to_continue_is_answered() {
    let (gateway, _backend) = gateway().await;
    let mut wire = Wire::connect(gateway.address()).await;
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n";
    wire.send(head).await;
    assert_eq!(wire.head().await.status(), 100);
    wire.send("hi").await;
    assert_eq!(wire.response().await.json()["body"], "hi");
    // An answer of our own comes at once, and the body that was never sent is not waited for.
    let gateway = Gateway::start("");
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send(head).await;
    let answer = wire.response().await;
    assert_eq!((answer.status(), answer.header("connection")), (404, Some("close")));
}

#[tokio::test]
async fn connect_and_upgrades_to_other_protocols_open_no_tunnel() {
    let (gateway, _backend) = gateway().await;
    let connect = "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n";
    assert_eq!(Wire::ask(gateway.address(), connect).await.status(), 405);
    let h2c = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\n";
    let answer = Wire::ask(gateway.address(), h2c).await;
    assert_eq!(answer.status(), 200);
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert!(answer.json()["headers"][gone].is_null(), "{gone}");
    }
}
