//! Which requests a route lets pass.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::config::Mode;

fn policy(edit: impl FnOnce(&mut config::JwtPolicy)) -> JwtPolicy {
    let mut config = config::JwtPolicy::named("idp");
    edit(&mut config);
    JwtPolicy::new(&config, Arc::new(issuer(&config_for(Algorithm::Hs256)))).unwrap()
}

fn request(authorization: &[&[u8]]) -> HeaderMap {
    let values = authorization.iter().map(|value| HeaderValue::from_bytes(value).unwrap());
    values.map(|value| (header::AUTHORIZATION, value)).collect()
}

fn bearer(claims: &Value) -> HeaderMap {
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &claims.to_string());
    request(&[format!("Bearer {token}").as_bytes()])
}

/// The headers that go upstream for a claim that is called `claim`.
fn identity(claim: &Value) -> Option<Vec<u8>> {
    let policy = policy(|config| {
        config.headers.insert("X-Claim".into(), "claim".into());
    });
    let claims = json!({ "exp": NOW, "claim": claim });
    let claims = policy.check(&bearer(&claims), NOW).unwrap();
    let headers: Vec<_> = policy.identity_headers(&claims).collect();
    assert!(headers.iter().all(|(name, _)| *name == "x-claim"));
    headers.first().map(|(_, value)| value.as_bytes().into())
}

#[test]
fn a_token_comes_from_one_bearer_header() {
    let token = token(Algorithm::Hs256);
    for (scheme, passes) in [
        ("Bearer ", true),
        ("bearer ", true),
        ("BEARER   ", true),
        ("Bearer\t", false),
        ("Bearer", false),
        ("", false),
        (" Bearer ", false),
        ("Bearer: ", false),
        ("Bearer \t", false),
    ] {
        let headers = request(&[format!("{scheme}{token}").as_bytes()]);
        assert_eq!(policy(|_| {}).check(&headers, NOW).is_ok(), passes, "{scheme:?}");
    }
}

#[test]
fn no_bearer_token_is_another_thing_than_a_bad_one() {
    let bearer = format!("Bearer {}", token(Algorithm::Hs256));
    let bearer = bearer.as_bytes();
    let two = [bearer, b" x"].concat();
    for (headers, refusal) in [
        (request(&[]), Refusal::Missing),
        (request(&[b""]), Refusal::Missing),
        (request(&[b"Basic YTpi"]), Refusal::Missing),
        (request(&[b"Bearers x"]), Refusal::Missing),
        (request(&[b"Bea"]), Refusal::Missing),
        (request(&[b"Bearer"]), Refusal::Ambiguous),
        (request(&[b"Bearer   "]), Refusal::Ambiguous),
        (request(&[b"Bearer\tx"]), Refusal::Ambiguous),
        (request(&[bearer, bearer]), Refusal::Ambiguous),
        (request(&[bearer, b"Basic YTpi"]), Refusal::Ambiguous),
        (request(&[&two]), Refusal::Ambiguous),
        (request(&[b"Bearer a,Bearer b"]), Refusal::Ambiguous),
        (request(&[b"Bearer x"]), Refusal::Invalid(Reason::Malformed)),
        (request(&[b"Bearer \xff\xfe.a.b"]), Refusal::Invalid(Reason::Malformed)),
    ] {
        assert_eq!(policy(|_| {}).check(&headers, NOW).err(), Some(refusal), "{headers:?}");
    }
}

#[test]
fn a_token_elsewhere_is_not_looked_at() {
    let mut headers = HeaderMap::new();
    let cookie = format!("access_token={}", token(Algorithm::Hs256));
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    assert_eq!(policy(|_| {}).check(&headers, NOW).err(), Some(Refusal::Missing));
}

#[test]
fn all_scopes_of_a_route_are_needed_and_told() {
    let policy = policy(|config| config.scopes = OneOrMany(vec!["read".into(), "write".into()]));
    let check = |scope: &str| policy.check(&bearer(&json!({ "exp": NOW, "scope": scope })), NOW);
    assert!(check("write other read").is_ok());
    for scope in ["read", "readwrite", ""] {
        let refusal = Refusal::Forbidden("read write".into());
        assert_eq!(check(scope).err(), Some(refusal), "{scope}");
    }
}

#[test]
fn a_claim_has_one_of_its_values() {
    let policy = policy(|config| {
        let values = ["admin", "7", "true"].map(String::from);
        config.claims.insert("role".into(), OneOrMany(values.into()));
    });
    for (role, passes) in [
        (json!("admin"), true),
        (json!(["user", "admin"]), true),
        (json!("7"), true),
        (json!(7), true),
        (json!(true), true),
        (json!("Admin"), false),
        (json!(["user"]), false),
        (json!([["admin"]]), false),
        (json!({ "admin": true }), false),
        (json!(7.5), false),
        (json!(false), false),
        (json!(null), false),
    ] {
        let verdict = policy.check(&bearer(&json!({ "exp": NOW, "role": role })), NOW);
        assert_eq!(verdict.is_ok(), passes, "{role}");
    }
    let without = policy.check(&bearer(&json!({ "exp": NOW })), NOW);
    assert_eq!(without.err(), Some(Refusal::Forbidden("".into())));
}

#[test]
fn a_claim_goes_upstream_exactly_or_not_at_all() {
    for (claim, value) in [
        (json!("ann"), Some("ann")),
        (json!("Zoë"), Some("Zoë")),
        (json!(42), Some("42")),
        (json!(true), Some("true")),
        (json!(["a", "b"]), Some("a,b")),
        (json!(""), None),
        (json!(" admin"), None),
        (json!("admin\u{a0}"), None),
        (json!("a\r\nX-Admin: 1"), None),
        (json!("a\0"), None),
        (json!(["a,admin"]), None),
        (json!(["a", " admin"]), None),
        (json!(["a", 7]), None),
        (json!([]), None),
        (json!({ "a": 1 }), None),
        (json!(null), None),
    ] {
        let sent = identity(&claim);
        assert_eq!(sent.as_deref(), value.map(str::as_bytes), "{claim}");
    }
}

#[test]
fn headers_from_claims_are_stripped_from_clients_in_any_case() {
    let policy = policy(|config| {
        config.headers.insert("X-User".into(), "sub".into());
        config.headers.insert("X-Tenant".into(), "absent".into());
        config.forward_token = false;
        config.mode = Mode::Shadow;
    });
    assert_eq!(policy.header_names(), ["x-tenant", "x-user"]);
    assert!(!policy.forwards_token());
    assert_eq!(policy.mode(), Mode::Shadow);
    let claims = policy.check(&bearer(&json!({ "exp": NOW, "sub": "ann" })), NOW).unwrap();
    let headers: Vec<_> = policy.identity_headers(&claims).collect();
    assert_eq!(headers.len(), 1);
    assert_eq!((headers[0].0.as_str(), headers[0].1.as_bytes()), ("x-user", &b"ann"[..]));
}

#[test]
fn what_cannot_work_is_refused_when_built() {
    let issuer = Arc::new(issuer(&config_for(Algorithm::Hs256)));
    let build = |edit: fn(&mut config::JwtPolicy)| {
        let mut config = config::JwtPolicy::named("idp");
        edit(&mut config);
        JwtPolicy::new(&config, Arc::clone(&issuer)).err().map(|error| error.to_string())
    };
    let header = build(|config| {
        config.headers.insert("x user".into(), "sub".into());
    });
    assert_eq!(header.unwrap(), "\"x user\" is not a header name");
    let host = build(|config| {
        config.headers.insert("Host".into(), "sub".into());
    });
    assert!(host.unwrap().starts_with("the header \"Host\" cannot be set from a claim"));
    let scope = build(|config| config.scopes = OneOrMany(vec!["a b".into()]));
    assert!(scope.unwrap().starts_with("\"a b\" is not a scope"));
    assert_eq!(build(|_| {}), None);
}
