//! Which route takes a request, what of it goes on, and what routes answer by themselves.

use http::Method;
use serde_json::Value;

use crate::support::{Backend, Gateway, client, code, header, raw, upstream};

/// Method, target and headers.
type Asked<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// Routes that answer with their own names.
fn named(routes: &[(&str, &str)]) -> Gateway {
    let route = |(name, keys): &(&str, &str)| {
        format!("[[route]]\nname = \"{name}\"\n{keys}\nanswer = {{ body = \"{name}\" }}\n")
    };
    Gateway::start(&routes.iter().map(route).collect::<String>())
}

/// Which route of [`named`] takes a request, or the code of the refusal.
async fn taker(gateway: &Gateway, request: Asked<'_>) -> String {
    let (method, target, headers) = request;
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut asked = client().request(method, gateway.url(target));
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    let answer = asked.send().await.unwrap();
    if answer.status() == 200 { answer.text().await.unwrap() } else { code(answer).await }
}

async fn check(gateway: &Gateway, cases: &[(Asked<'_>, &str)]) {
    for (request, expected) in cases {
        assert_eq!(taker(gateway, *request).await, *expected, "{request:?}");
    }
}

#[tokio::test]
async fn hosts_match_exactly_then_by_longest_wildcard_then_any() {
    let gateway = named(&[
        ("any", "path = '/h'"),
        ("wide", "host = '*.example.com'\npath = '/h'"),
        ("narrow", "host = '*.eu.example.com'\npath = '/h'"),
        ("exact", "host = ['api.example.com', 'www.example.com']\npath = '/h'"),
    ]);
    check(
        &gateway,
        &[
            (("GET", "/h", &[("host", "api.example.com")]), "exact"),
            (("GET", "/h", &[("host", "WWW.Example.COM:8080")]), "exact"),
            (("GET", "/h", &[("host", "api.example.com.")]), "exact"),
            (("GET", "/h", &[("host", "other.example.com")]), "wide"),
            (("GET", "/h", &[("host", "a.b.example.com")]), "wide"),
            (("GET", "/h", &[("host", "a.eu.example.com")]), "narrow"),
            (("GET", "/h", &[("host", "eu.example.com")]), "wide"),
            (("GET", "/h", &[("host", "example.com")]), "any"),
            (("GET", "/h", &[("host", "127.0.0.1")]), "any"),
            (("GET", "/i", &[("host", "api.example.com")]), "no_route"),
        ],
    )
    .await;
}

#[tokio::test]
async fn paths_match_exactly_then_by_template_then_longest_prefix_then_regex() {
    let gateway = named(&[
        ("regex", "path = { regex = '/(p|r)/[0-9]+' }"),
        ("prefix", "path = '/p/**'"),
        ("longer", "path = '/p/deep/**'"),
        ("template", "path = '/p/{id}'"),
        ("exact", "path = '/p/a'"),
    ]);
    check(
        &gateway,
        &[
            (("GET", "/p/a", &[]), "exact"),
            (("GET", "/p/7", &[]), "template"),
            (("GET", "/p/a/b", &[]), "prefix"),
            (("GET", "/p", &[]), "prefix"),
            (("GET", "/p/", &[]), "prefix"),
            (("GET", "/p/deep/b", &[]), "longer"),
            (("GET", "/p/deeper/b", &[]), "prefix"),
            (("GET", "/r/42", &[]), "regex"),
            (("GET", "/r/42/x", &[]), "no_route"),
            (("GET", "/pp", &[]), "no_route"),
        ],
    )
    .await;
}

#[tokio::test]
async fn headers_query_and_cookies_match_by_value_presence_and_regex() {
    let gateway = named(&[
        ("plain", "path = '/m'"),
        ("exact", "path = '/m'\nheaders = { x-a = 'one' }"),
        ("present", "path = '/m'\nheaders = { x-b = '*' }"),
        ("regex", "path = '/m'\nheaders = { x-c = { regex = '[0-9]+' } }"),
        ("query", "path = '/m'\nquery = { v = 'a b' }"),
        ("query-regex", "path = '/m'\nquery = { w = { regex = '[a-z]{2}' } }"),
        ("cookie", "path = '/m'\ncookies = { beta = 'yes' }"),
    ]);
    check(
        &gateway,
        &[
            (("GET", "/m", &[]), "plain"),
            (("GET", "/m", &[("x-a", "one")]), "exact"),
            (("GET", "/m", &[("x-a", "two")]), "plain"),
            (("GET", "/m", &[("x-b", "")]), "present"),
            (("GET", "/m", &[("x-c", "123")]), "regex"),
            (("GET", "/m", &[("x-c", "123a")]), "plain"),
            (("GET", "/m?v=a+b", &[]), "query"),
            (("GET", "/m?u&v=a%20b", &[]), "query"),
            (("GET", "/m?v=a", &[]), "plain"),
            (("GET", "/m?w=de", &[]), "query-regex"),
            (("GET", "/m?w=dex", &[]), "plain"),
            (("GET", "/m", &[("cookie", "x=1; beta=yes")]), "cookie"),
            (("GET", "/m", &[("cookie", "alphabeta=yes")]), "plain"),
        ],
    )
    .await;
}

#[tokio::test]
async fn more_predicates_win_then_order_in_the_file() {
    let gateway = named(&[
        ("first", "path = '/o'"),
        ("second", "path = '/o'\nhost = []"),
        ("query", "path = '/o'\nquery = { q = '*' }"),
        ("two-queries", "path = '/o'\nquery = { q = '*', r = '*' }"),
        ("header", "path = '/o'\nheaders = { x-a = '*' }"),
        ("two-headers", "path = '/o'\nheaders = { x-a = '*', x-b = '*' }"),
        ("method", "path = '/o'\nmethods = 'PUT'"),
    ]);
    check(
        &gateway,
        &[
            (("GET", "/o", &[]), "first"),
            (("GET", "/o?q=1", &[]), "query"),
            (("GET", "/o?q=1&r=1", &[]), "two-queries"),
            (("GET", "/o?q=1&r=1", &[("x-a", "1")]), "header"),
            (("GET", "/o", &[("x-a", "1"), ("x-b", "1")]), "two-headers"),
            (("PUT", "/o?q=1", &[("x-a", "1"), ("x-b", "1")]), "method"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_predicate_that_fails_falls_through_to_less_specific_paths_and_hosts() {
    let gateway = named(&[
        ("anywhere", "path = '/**'\nheaders = { x-any = '*' }"),
        ("prefix", "host = 'a.test'\npath = '/f/**'\nquery = { p = '*' }"),
        ("exact", "host = 'a.test'\npath = '/f/x'\nheaders = { x-only = '*' }"),
        ("wild", "host = '*.test'\npath = '/f/x'\ncookies = { c = '*' }"),
    ]);
    let host = ("host", "a.test");
    check(
        &gateway,
        &[
            (("GET", "/f/x?p", &[host, ("x-only", "1"), ("x-any", "1")]), "exact"),
            (("GET", "/f/x?p", &[host, ("cookie", "c=1"), ("x-any", "1")]), "prefix"),
            (("GET", "/f/x", &[host, ("cookie", "c=1"), ("x-any", "1")]), "wild"),
            (("GET", "/f/x", &[host, ("x-any", "1")]), "anywhere"),
            (("GET", "/f/x", &[host]), "no_route"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_method_without_a_route_is_405_and_names_those_with_one() {
    let gateway = named(&[
        ("read", "path = '/m'\nmethods = 'GET'"),
        ("write", "path = '/m'\nmethods = ['PUT', 'PATCH']"),
        ("hidden", "path = '/m'\nmethods = 'DELETE'\nheaders = { x-admin = '*' }"),
    ]);
    check(
        &gateway,
        &[
            (("GET", "/m", &[]), "read"),
            (("PATCH", "/m", &[]), "write"),
            (("DELETE", "/m", &[("x-admin", "1")]), "hidden"),
            (("POST", "/m", &[]), "method_not_allowed"),
            (("DELETE", "/m", &[]), "method_not_allowed"),
        ],
    )
    .await;
    let head = client().head(gateway.url("/m")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "4"));
    let refused = client().post(gateway.url("/m")).send().await.unwrap();
    assert_eq!(refused.status(), 405);
    let mut allowed: Vec<_> = header(&refused, "allow").split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "PATCH", "PUT"]);
}

#[tokio::test]
async fn a_path_is_matched_and_forwarded_in_its_one_normal_form() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        "{}[[route]]\nname = 'all'\nto = 'service'\n\
         [[route]]\nname = 'admin'\npath = '/admin/**'\nanswer = {{ status = 403 }}\n",
        upstream("service", &[&backend])
    ));
    for (sent, seen) in [
        ("/a//b", "/a/b"),
        ("//", "/"),
        ("/a/./b/../c", "/a/c"),
        ("/a/%2e%2E/b/", "/b/"),
        ("/%61%7e?x=//y/../%2f", "/a~?x=//y/../%2f"),
        ("/a%3a%c3%a9", "/a%3A%C3%A9"),
    ] {
        let answer = raw(gateway.address(), &format!("GET {sent}"), &[]).await;
        assert_eq!(answer.status, 200, "{sent}: {}", answer.head);
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(echo["target"], *seen, "{sent}");
    }
    for sent in ["/x/../admin/users", "//admin", "/%61dmin/x", "/./admin/../admin"] {
        let answer = raw(gateway.address(), &format!("GET {sent}"), &[]).await;
        assert_eq!(answer.status, 403, "{sent}");
    }
    assert_eq!(backend.served(), 6);
}

#[tokio::test]
async fn a_path_that_servers_read_differently_is_400() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        "{}[[route]]\nname = 'all'\nto = 'service'\n",
        upstream("service", &[&backend])
    ));
    for sent in [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%00",
        "/a\\b",
        "/..",
        "/a/../../b",
        "/%2e%2e/b",
        "/a%zz",
        "/a%2",
        "/a/..;/b",
        "/;/b",
        "*",
    ] {
        let answer = raw(gateway.address(), &format!("GET {sent}"), &[]).await;
        assert_eq!(answer.status, 400, "{sent}");
        assert!(answer.body.contains("\"code\":\"bad_request\""), "{sent}: {}", answer.body);
    }
    for host in ["a b", "a/b", "a@b", ""] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = crate::support::raw_bytes(gateway.address(), &text).await;
        assert_eq!(answer.status, 400, "{host}");
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_request_has_one_host_whatever_form_it_comes_in() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        "{}[[route]]\nname = 'private'\nhost = 'private.test'\nanswer = {{ status = 403 }}\n\
         [[route]]\nname = 'all'\nto = 'service'\n",
        upstream("service", &[&backend])
    ));
    let send = async |head: &str| {
        let text = format!("{head}\r\nConnection: close\r\n\r\n");
        crate::support::raw_bytes(gateway.address(), &text).await
    };
    let inside = send("GET http://private.test/a HTTP/1.1\r\nHost: private.test").await;
    assert_eq!(inside.status, 403);
    let outside = send("GET http://public.test/a?b HTTP/1.1\r\nHost: public.test").await;
    let echo: Value = serde_json::from_str(&outside.body).unwrap();
    assert_eq!(echo["target"], "/a?b");
    assert_eq!(echo["headers"]["host"], serde_json::json!(["public.test"]));
    assert_eq!(backend.served(), 1);
    for head in [
        "GET http://private.test/ HTTP/1.1\r\nHost: public.test",
        "GET http://public.test/ HTTP/1.1\r\nHost: private.test",
        "GET / HTTP/1.1\r\nHost: public.test\r\nHost: private.test",
        "GET / HTTP/1.1\r\nHost: public.test, private.test",
        "GET / HTTP/1.1",
    ] {
        assert_eq!(send(head).await.status, 400, "{head}");
    }
    assert_eq!(backend.served(), 1);
}

#[tokio::test]
async fn rewrites_change_what_the_upstream_is_asked_for() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        "{}\
         [[route]]\nname = 'strip'\npath = '/strip/**'\nto = 'service'\nrewrite = {{ prefix = '/' }}\n\
         [[route]]\nname = 'swap'\npath = '/old/**'\nto = 'service'\nrewrite = {{ prefix = '/v2/new' }}\n\
         [[route]]\nname = 'whole'\npath = '/u/{{id}}/{{part}}'\nto = 'service'\n\
         rewrite = {{ path = '/users/{{part}}/{{id}}', host = 'users.internal' }}\n\
         [[route]]\nname = 'same'\npath = '/same'\nto = 'service'\n",
        upstream("service", &[&backend])
    ));
    for (sent, target, host) in [
        ("/strip/a/b?c=1", "/a/b?c=1", "test"),
        ("/strip", "/", "test"),
        ("/strip/", "/", "test"),
        ("/old/x", "/v2/new/x", "test"),
        ("/old", "/v2/new", "test"),
        ("/u/7/q%20r?z", "/users/q%20r/7?z", "users.internal"),
        ("/same", "/same", "test"),
    ] {
        let answer = raw(gateway.address(), &format!("GET {sent}"), &[]).await;
        let echo: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((&echo["target"], &echo["headers"]["host"][0]), (&target.into(), &host.into()));
        assert_eq!(echo["headers"]["x-forwarded-host"][0], "test", "{sent}");
    }
}

#[tokio::test]
async fn header_edits_remove_then_set_then_add_on_both_ways() {
    let backend = Backend::answering(async |request: axum::extract::Request| {
        let seen = |name: &str| {
            let values = request.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
        };
        let body = ["x-gone", "x-set", "x-add"].map(seen).join(";");
        http::Response::builder()
            .header("x-gone", "1")
            .header("x-set", "upstream")
            .header("x-add", "upstream")
            .body(body.into())
            .unwrap()
    })
    .await;
    let edits = "{ remove = ['x-gone'], set = { x-set = 'gate' }, add = { x-add = 'gate' } }";
    let gateway = Gateway::start(&format!(
        "{}[[route]]\nname = 'all'\nto = 'service'\nrequest_headers = {edits}\nresponse_headers = {edits}\n",
        upstream("service", &[&backend])
    ));
    let asked = client().get(gateway.url("/")).header("x-gone", "1").header("x-set", "client");
    let answer = asked.header("x-add", "client").send().await.unwrap();
    let all = |name| {
        let values = answer.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("|")
    };
    assert_eq!((all("x-gone"), all("x-set")), (String::new(), "gate".into()));
    assert_eq!(all("x-add"), "upstream|gate");
    assert_eq!(answer.text().await.unwrap(), ";gate;client|gate");
}

#[tokio::test]
async fn header_edits_are_made_on_our_own_answers_too() {
    let edits = "response_headers = { remove = ['x-gone'], set = { x-set = 'gate' }, add = { x-add = 'gate' } }";
    let gateway = Gateway::start(&format!(
        "[[route]]\nname = 'answer'\npath = '/answer'\n\
         answer = {{ headers = {{ x-gone = '1', x-set = 'own', x-add = 'own' }} }}\n{edits}\n\
         [[route]]\nname = 'redirect'\npath = '/redirect'\nredirect = {{ path = '/' }}\n{edits}\n\
         [[route]]\nname = 'refused'\npath = '/refused'\nanswer = {{}}\n{edits}\n\
         ip_filter = {{ deny = ['127.0.0.1'] }}\n"
    ));
    for (sent, status, added) in
        [("/answer", 200, "own|gate"), ("/redirect", 302, "gate"), ("/refused", 403, "gate")]
    {
        let answer = client().get(gateway.url(sent)).send().await.unwrap();
        assert_eq!(answer.status(), status, "{sent}");
        assert_eq!((header(&answer, "x-gone"), header(&answer, "x-set")), ("", "gate"), "{sent}");
        let values = answer.headers().get_all("x-add").iter();
        let values: Vec<_> = values.map(|value| value.to_str().unwrap()).collect();
        assert_eq!(values.join("|"), added, "{sent}");
        assert_ne!(header(&answer, "x-request-id"), "");
    }
}

#[tokio::test]
async fn redirects_and_answers_need_no_upstream() {
    let gateway = Gateway::start(
        "[[route]]\nname = 'tls'\npath = '/tls/**'\nredirect = { scheme = 'https', status = 308 }\n\
         [[route]]\nname = 'moved'\npath = '/old/**'\nredirect = { host = 'new.test:8443', path = '/new' }\n\
         [[route]]\nname = 'one'\npath = '/one'\nredirect = { path = '/two', status = 301 }\n\
         [[route]]\nname = 'tea'\npath = '/tea'\n\
         answer = { status = 418, body = 'short', headers = { x-pot = 'stout' } }\n",
    );
    for (sent, status, location) in [
        ("/tls/a?b=c", 308, "https://here.test/tls/a?b=c"),
        ("/old/a/b?c", 302, "http://new.test:8443/new/a/b?c"),
        ("/one", 301, "http://here.test/two"),
    ] {
        let asked = client().get(gateway.url(sent)).header("host", "here.test");
        let answer = asked.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "location")), (status, location));
    }
    let tea = client().get(gateway.url("/tea")).send().await.unwrap();
    assert_eq!((tea.status().as_u16(), header(&tea, "x-pot")), (418, "stout"));
    assert_eq!(header(&tea, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(tea.text().await.unwrap(), "short");
}
