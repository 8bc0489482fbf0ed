//! Buckets: how many requests pass, for whom, and what callers are told.

use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Gateway, client, code, header};

/// A route at `/` that answers by itself, limited so.
fn limited(limit: &str) -> Gateway {
    Gateway::start(&route("limited", "/**", limit))
}

fn route(name: &str, path: &str, limit: &str) -> String {
    format!(
        "[[route]]\nname = '{name}'\npath = '{path}'\nrate_limit = {limit}\n\
         answer = {{ body = 'passed' }}\n"
    )
}

async fn status(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> u16 {
    let mut asked = client().get(gateway.url(path));
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    asked.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn of_64_clients_at_once_exactly_the_burst_passes() {
    let gateway = limited("{ rate = '1/h', burst = 20 }");
    let (client, url) = (client(), gateway.url("/"));
    for round in [20, 0] {
        let ask = |_| async { client.get(&url).send().await.unwrap().status().as_u16() };
        let statuses = join_all((0..64).map(ask)).await;
        let passed = statuses.iter().filter(|status| **status == 200).count();
        let refused = statuses.iter().filter(|status| **status == 429).count();
        assert_eq!((passed, refused), (round, 64 - round));
    }
    let decisions = |word| {
        format!(r#"tollgate_rate_limit_decisions_total{{route="limited",decision="{word}"}}"#)
    };
    assert_eq!(gateway.metric(&decisions("allow")).await, Some(20.0));
    assert_eq!(gateway.metric(&decisions("deny")).await, Some(108.0));
    assert_eq!(gateway.metric(&decisions("shadow_deny")).await, Some(0.0));
    assert_eq!(gateway.metric(r#"tollgate_rate_limit_keys{route="limited"}"#).await, Some(1.0));
}

#[tokio::test]
async fn callers_are_told_what_is_left_and_when_to_come_back() {
    let gateway = limited("{ rate = '1/h', burst = 2 }");
    let ask = async || client().get(gateway.url("/")).send().await.unwrap();
    for state in [r#""limited";r=1;t=3600"#, r#""limited";r=0;t=3600"#] {
        let answer = ask().await;
        assert_eq!((answer.status().as_u16(), header(&answer, "ratelimit")), (200, state));
        assert_eq!(header(&answer, "ratelimit-policy"), r#""limited";q=2;w=7200"#);
        assert_eq!(header(&answer, "retry-after"), "");
    }
    let refused = ask().await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "ratelimit-policy"), r#""limited";q=2;w=7200"#);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(header(&refused, "ratelimit"), format!(r#""limited";r=0;t={wait}"#));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!(problem["code"], "rate_limited");
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
}

#[tokio::test]
async fn a_bucket_fills_again_at_its_rate() {
    let gateway = limited("{ rate = '1/s', burst = 1 }");
    assert_eq!(status(&gateway, "/", &[]).await, 200);
    // A slow machine may need longer for two requests than the bucket for one.
    crate::support::eventually("refused", async || status(&gateway, "/", &[]).await == 429).await;
    crate::support::eventually("passed", async || status(&gateway, "/", &[]).await == 200).await;
}

#[tokio::test]
async fn each_value_of_a_header_has_a_bucket_and_so_have_those_without_it() {
    let gateway = limited("{ rate = '1/h', burst = 1, per = 'header.x-tenant' }");
    for tenant in [&[("x-tenant", "a")][..], &[("x-tenant", "b")], &[]] {
        assert_eq!(status(&gateway, "/", tenant).await, 200, "{tenant:?}");
        assert_eq!(status(&gateway, "/", tenant).await, 429, "{tenant:?}");
    }
}

#[tokio::test]
async fn each_client_has_a_bucket_and_ipv6_clients_one_for_their_network() {
    let head = "[server]\ndrain_delay = '0'\nthreads = 2\ntrusted_proxies = ['127.0.0.1']\n\
        [listener.http]\naddress = '127.0.0.1:0'\n[admin]\naddress = '127.0.0.1:0'\n\
        [access_log]\noutput = 'off'\n";
    let gateway =
        Gateway::start_with(head, &route("limited", "/**", "{ rate = '1/h', burst = 1 }"));
    for (client, expected) in [
        ("192.0.2.1", 200),
        ("192.0.2.2", 200),
        ("192.0.2.1", 429),
        ("::ffff:192.0.2.2", 429),
        ("2001:db8::1", 200),
        ("2001:db8::ffff:1", 429),
        ("2001:db8:0:1::1", 200),
        // What a client says of itself before the proxy's own word changes nothing.
        ("198.51.100.9, 192.0.2.1", 429),
    ] {
        assert_eq!(
            status(&gateway, "/", &[("x-forwarded-for", client)]).await,
            expected,
            "{client}"
        );
    }
}

#[tokio::test]
async fn callers_may_be_told_apart_by_several_things_together() {
    let gateway = limited("{ rate = '1/h', burst = 1, per = ['header.x-a', 'header.x-b'] }");
    for (a, b, expected) in
        [("1", "1", 200), ("1", "2", 200), ("2", "1", 200), ("1", "1", 429), ("11", "", 200)]
    {
        let headers = [("x-a", a), ("x-b", b)];
        assert_eq!(status(&gateway, "/", &headers).await, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn a_route_has_one_bucket_for_all_and_shares_it_with_no_other() {
    let limit = "{ rate = '1/h', burst = 1, per = 'route' }";
    let gateway = Gateway::start(&(route("a", "/a", limit) + &route("b", "/b", limit)));
    assert_eq!(status(&gateway, "/a", &[("x-tenant", "a")]).await, 200);
    assert_eq!(status(&gateway, "/a", &[("x-tenant", "b")]).await, 429);
    assert_eq!(status(&gateway, "/b", &[]).await, 200);
}

#[tokio::test]
async fn each_user_has_a_bucket_whatever_token_they_show() {
    let limit = "{ rate = '1/h', burst = 2, per = 'jwt.sub' }";
    let secret = "a secret of sixty-four bytes, which is enough for each of the three";
    let gateway = Gateway::start_with_files(
        &[("secret", secret)],
        &format!(
            "[jwt.idp]\nsecret = {{ file = 'secret' }}\nalgorithm = 'HS256'\n{}jwt = 'idp'\n",
            route("limited", "/**", limit)
        ),
    );
    let token = |user: &str, id: u32| {
        tollgate::crypto::install_crypto_provider();
        let claims = json!({ "sub": user, "jti": id, "exp": 4_000_000_000_u64 });
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let ask = async |user, id| {
        let asked = client().get(gateway.url("/")).bearer_auth(token(user, id));
        asked.send().await.unwrap()
    };
    assert_eq!(ask("ann", 1).await.status(), 200);
    assert_eq!(ask("ann", 2).await.status(), 200);
    assert_eq!(code(ask("ann", 3).await).await, "rate_limited");
    assert_eq!(ask("bob", 4).await.status(), 200);
    // One that is refused for its token takes from nobody's bucket.
    let anonymous = client().get(gateway.url("/")).send().await.unwrap();
    assert_eq!((anonymous.status().as_u16(), header(&anonymous, "ratelimit")), (401, ""));
    assert_eq!(ask("bob", 5).await.status(), 200);
}

#[tokio::test]
async fn a_reload_keeps_buckets_whose_limit_did_not_change() {
    let limit = "{ rate = '1/h', burst = 1, per = 'route' }";
    let gateway = limited(limit);
    assert_eq!(status(&gateway, "/", &[]).await, 200);
    gateway.write(&(route("limited", "/**", limit) + &route("other", "/other", limit)));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(status(&gateway, "/other", &[]).await, 200);
    assert_eq!(status(&gateway, "/", &[]).await, 429);
    gateway.write(&route("limited", "/**", "{ rate = '1/h', burst = 2, per = 'route' }"));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(status(&gateway, "/", &[]).await, 200);
}
