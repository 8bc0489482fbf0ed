//! Tokens: which are taken, how others are refused, and what an upstream learns of them.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::{Backend, Gateway, RawAnswer, client, header, raw, upstream};

const SECRET: &str = "a secret of sixty-four bytes, which is enough for each of the three";
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keys");

const ALGORITHMS: [(Algorithm, &str); 12] = [
    (Algorithm::EdDSA, "ed25519"),
    (Algorithm::ES256, "p256"),
    (Algorithm::ES384, "p384"),
    (Algorithm::HS256, ""),
    (Algorithm::HS384, ""),
    (Algorithm::HS512, ""),
    (Algorithm::PS256, "rsa-2048"),
    (Algorithm::PS384, "rsa-2048"),
    (Algorithm::PS512, "rsa-2048"),
    (Algorithm::RS256, "rsa-2048"),
    (Algorithm::RS384, "rsa-2048"),
    (Algorithm::RS512, "rsa-2048"),
];

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn sign(algorithm: Algorithm, stem: &str, claims: &Value) -> String {
    tollgate::crypto::install_crypto_provider();
    let pem = || std::fs::read(format!("{KEYS}/{stem}.pem")).unwrap();
    let key = match stem {
        "" => EncodingKey::from_secret(SECRET.as_bytes()),
        "ed25519" => EncodingKey::from_ed_pem(&pem()).unwrap(),
        "rsa-2048" => EncodingKey::from_rsa_pem(&pem()).unwrap(),
        _ => EncodingKey::from_ec_pem(&pem()).unwrap(),
    };
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

/// A token of the secret, valid for five minutes, with more claims.
fn token(more: &Value) -> String {
    let mut claims = json!({ "iss": "https://idp.test/", "aud": "orders", "exp": now() + 300 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    sign(Algorithm::HS256, "", &claims)
}

/// A gateway before `backend` with the issuer `idp` and a route at `/` that uses it so.
fn gateway(backend: &Backend, jwt: &str) -> Gateway {
    Gateway::start_with_files(
        &[("secret", SECRET)],
        &format!(
            "{}[jwt.idp]\nissuer = 'https://idp.test/'\naudience = 'orders'\n\
             secret = {{ file = 'secret' }}\nalgorithm = 'HS256'\n\
             [[route]]\nname = 'open'\npath = '/open'\nto = 'service'\n\
             [[route]]\nname = 'all'\nto = 'service'\njwt = {jwt}\n",
            upstream("service", &[backend])
        ),
    )
}

async fn ask(gateway: &Gateway, token: &str) -> reqwest::Response {
    client().get(gateway.url("/")).bearer_auth(token).send().await.unwrap()
}

fn echo(answer: &RawAnswer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[tokio::test]
async fn a_valid_token_of_each_algorithm_passes_and_one_of_another_does_not() {
    let mut config = String::new();
    for (algorithm, stem) in ALGORITHMS {
        let key = match stem {
            "" => "secret = { file = 'secret' }".to_owned(),
            stem => format!("keys = {{ file = '{KEYS}/{stem}.pub.pem' }}"),
        };
        config.push_str(&format!(
            "[jwt.{algorithm:?}]\n{key}\nalgorithm = '{algorithm:?}'\n\
             [[route]]\nname = '{algorithm:?}'\npath = '/{algorithm:?}'\njwt = '{algorithm:?}'\n\
             answer = {{ body = '{algorithm:?}' }}\n"
        ));
    }
    let gateway = Gateway::start_with_files(&[("secret", SECRET)], &config);
    for (algorithm, stem) in ALGORITHMS {
        let token = sign(algorithm, stem, &json!({ "exp": now() + 300 }));
        for (other, _) in ALGORITHMS {
            let url = gateway.url(&format!("/{other:?}"));
            let answer = client().get(url).bearer_auth(&token).send().await.unwrap();
            let expected = if other == algorithm { 200 } else { 401 };
            assert_eq!(answer.status(), expected, "{algorithm:?} where {other:?} is asked for");
        }
    }
}

#[tokio::test]
async fn a_missing_token_is_401_without_an_error_code() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "'idp'");
    for authorization in [None, Some("Basic dTpw"), Some("Bearerx y")] {
        let mut asked = client().get(gateway.url("/"));
        if let Some(value) = authorization {
            asked = asked.header("authorization", value);
        }
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.status(), 401, "{authorization:?}");
        assert_eq!(header(&answer, "www-authenticate"), r#"Bearer realm="tollgate""#);
        assert_eq!(header(&answer, "cache-control"), "no-store");
        assert_eq!(crate::support::code(answer).await, "unauthorized");
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn an_invalid_token_is_401_and_says_what_is_wrong_with_it() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "'idp'");
    let forged = sign(Algorithm::HS256, "", &json!({ "exp": now() + 300 }));
    let (signed, _) = forged.rsplit_once('.').unwrap();
    for (token, reason) in [
        (token(&json!({ "exp": now() - 3600 })), "expired"),
        (token(&json!({ "nbf": now() + 3600 })), "not_yet_valid"),
        (token(&json!({ "iss": "https://other.test/" })), "wrong_issuer"),
        (token(&json!({ "aud": ["invoices"] })), "wrong_audience"),
        (sign(Algorithm::HS256, "", &json!({ "iss": "https://idp.test/" })), "missing_claim"),
        (format!("{signed}.AAAA"), "bad_signature"),
        (sign(Algorithm::HS512, "", &json!({ "exp": now() + 300 })), "wrong_algorithm"),
        ("eyJhbGciOiJub25lIn0.e30.".into(), "wrong_algorithm"),
        ("nonsense".into(), "malformed"),
    ] {
        let answer = ask(&gateway, &token).await;
        assert_eq!(answer.status(), 401, "{reason}");
        assert_eq!(
            header(&answer, "www-authenticate"),
            format!(
                r#"Bearer realm="tollgate", error="invalid_token", error_description="{reason}""#
            )
        );
        assert_eq!(crate::support::code(answer).await, "unauthorized");
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn two_credentials_or_a_malformed_one_are_400() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "'idp'");
    let token = token(&json!({}));
    let valid = format!("Authorization: Bearer {token}");
    for headers in [
        [valid.as_str(), valid.as_str()],
        [valid.as_str(), "Authorization: Basic dTpw"],
        ["Authorization: Bearer", "X-Other: 1"],
        [&format!("{valid}, Bearer {token}"), "X-Other: 1"],
    ] {
        let answer = raw(gateway.address(), "GET /", &headers).await;
        assert_eq!(answer.status, 400, "{headers:?}");
        let challenge = r#"www-authenticate: bearer realm="tollgate", error="invalid_request""#;
        assert!(answer.head.to_lowercase().contains(challenge), "{}", answer.head);
        assert!(answer.body.contains(r#""code":"bad_request""#), "{}", answer.body);
    }
    assert_eq!(backend.served(), 0);
}

#[tokio::test]
async fn a_token_that_does_not_show_enough_is_403() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(
        &backend,
        "{ issuer = 'idp', scopes = ['read', 'write'], claims = { tenant = ['a', 'b'] } }",
    );
    let full = json!({ "scope": "write read more", "tenant": "b" });
    for (claims, status) in [
        (full, 200),
        (json!({ "scp": ["read", "write"], "tenant": ["z", "a"] }), 200),
        (json!({ "scope": "read", "tenant": "a" }), 403),
        (json!({ "scope": "read write", "tenant": "c" }), 403),
        (json!({ "scope": "read write" }), 403),
        (json!({ "tenant": "a" }), 403),
    ] {
        let answer = ask(&gateway, &token(&claims)).await;
        assert_eq!(answer.status(), status, "{claims}");
        if status == 403 {
            assert_eq!(
                header(&answer, "www-authenticate"),
                r#"Bearer realm="tollgate", error="insufficient_scope", scope="read write""#
            );
            assert_eq!(crate::support::code(answer).await, "forbidden");
        }
    }
    assert_eq!(backend.served(), 2);
}

#[tokio::test]
async fn an_identity_header_comes_from_the_token_alone() {
    let backend = Backend::echo("one").await;
    let policy = "{ issuer = 'idp', headers = { x-user-id = 'sub', x-roles = 'roles' } }";
    let gateway = gateway(&backend, policy);
    let valid = |claims| format!("Authorization: Bearer {}", token(&claims));
    let ann = valid(json!({ "sub": "ann", "roles": ["x", "y"] }));
    for forged in [
        &["X-User-Id: root"][..],
        &["X-User-Id: root", "x-user-id: root"],
        &["Connection: x-user-id"],
        &["X-User-Id: root", "Connection: x-user-id, x-roles"],
        &["Connection: keep-alive, X-USER-ID", "X-Roles: admin"],
    ] {
        let headers: Vec<&str> = forged.iter().copied().chain([ann.as_str()]).collect();
        let seen = echo(&raw(gateway.address(), "GET /", &headers).await);
        assert_eq!(seen["headers"]["x-user-id"], json!(["ann"]), "{forged:?}");
        assert_eq!(seen["headers"]["x-roles"], json!(["x,y"]), "{forged:?}");
    }
    // A look-alike is refused whole: many servers read an underscore as a hyphen.
    let look_alike = raw(gateway.address(), "GET /", &["X_User_Id: root", &ann]).await;
    assert_eq!(look_alike.status, 400);
    // A token without the claim, and a route without a token: the header is gone, not the client's.
    let nobody = valid(json!({}));
    let seen = echo(&raw(gateway.address(), "GET /", &["X-User-Id: root", &nobody]).await);
    assert_eq!(seen["headers"]["x-user-id"], Value::Null);
    let seen = echo(&raw(gateway.address(), "GET /open", &["X-User-Id: root"]).await);
    assert_eq!(seen["headers"]["x-user-id"], Value::Null);
}

#[tokio::test]
async fn a_reload_with_other_keys_takes_no_token_of_the_old_ones() {
    let backend = Backend::echo("one").await;
    let gateway = gateway(&backend, "'idp'");
    let token = token(&json!({ "sub": "ann" }));
    // Twice, so that it is remembered.
    assert_eq!(ask(&gateway, &token).await.status(), 200);
    assert_eq!(ask(&gateway, &token).await.status(), 200);
    let secret = gateway.file().with_file_name("secret");
    std::fs::write(&secret, SECRET.replace('a', "e")).unwrap();
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(ask(&gateway, &token).await.status(), 401);
    // A key that cannot be read refuses the reload, and what runs goes on.
    std::fs::write(&secret, "short").unwrap();
    assert_eq!(gateway.reload().await.0, 422);
    std::fs::write(&secret, SECRET).unwrap();
    assert_eq!(ask(&gateway, &token).await.status(), 401);
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(ask(&gateway, &token).await.status(), 200);
}

#[tokio::test]
async fn a_token_goes_on_unless_the_route_keeps_it() {
    let backend = Backend::echo("one").await;
    let bearer = format!("Bearer {}", token(&json!({})));
    let line = format!("Authorization: {bearer}");
    for (policy, seen) in
        [("'idp'", json!([bearer])), ("{ issuer = 'idp', forward_token = false }", Value::Null)]
    {
        let gateway = gateway(&backend, policy);
        let answer = raw(gateway.address(), "GET /", &[&line]).await;
        assert_eq!(echo(&answer)["headers"]["authorization"], seen, "{policy}");
    }
}
