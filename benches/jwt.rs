//! What a token costs: from the cache, and verified anew.

#![allow(clippy::unwrap_used, reason = "a bench reports by panicking")]

use std::{hint::black_box, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, header};
use jsonwebtoken::EncodingKey;
use tollgate::{
    config::{self, KeySource, OneOrMany, units::Interval},
    policy::jwt::{Issuer, JwtPolicy},
};

const NOW: u64 = 1_800_000_000;

criterion_group!(benches, cached, cold);
criterion_main!(benches);

fn cached(c: &mut Criterion) {
    let issuer = Arc::new(issuer("rsa-2048"));
    let token = token("rsa-2048", "RS256", 0);
    assert!((750..850).contains(&token.len()), "{}", token.len());
    c.bench_function("jwt/cached/verify", |b| {
        b.iter(|| issuer.verify(black_box(token.as_bytes()), NOW).unwrap());
    });
    let policy = JwtPolicy::new(&config::JwtPolicy::named("idp"), issuer).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, "api.example.com".parse().unwrap());
    headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    c.bench_function("jwt/cached/check", |b| {
        b.iter(|| policy.check(black_box(&headers), NOW).unwrap());
    });
}

/// Each token once, so that none comes from the cache.
fn cold(c: &mut Criterion) {
    for (stem, algorithm) in [("rsa-2048", "RS256"), ("p256", "ES256"), ("ed25519", "EdDSA")] {
        let issuer = issuer(stem);
        // More than the cache holds, so that the first is gone when its turn comes again.
        let tokens: Vec<String> = (0..8_192).map(|id| token(stem, algorithm, id)).collect();
        let mut next = tokens.iter().cycle();
        c.bench_function(&format!("jwt/cold/{algorithm}"), |b| {
            b.iter(|| issuer.verify(next.next().unwrap().as_bytes(), NOW).unwrap());
        });
    }
}

fn issuer(stem: &str) -> Issuer {
    tollgate::crypto::install_crypto_provider();
    let file = format!("{}/tests/data/keys/{stem}.pub.pem", env!("CARGO_MANIFEST_DIR"));
    Issuer::new(&config::Jwt {
        issuer: Some("https://idp.example.com/".into()),
        audience: OneOrMany(vec!["orders-api".into()]),
        secret: None,
        keys: Some(KeySource::File(file.into()).into()),
        algorithm: None,
        leeway: Interval::secs(30),
        required_claims: vec!["sub".into()],
    })
    .unwrap()
}

fn token(stem: &str, algorithm: &str, id: usize) -> String {
    let file = format!("tests/data/keys/{stem}.pem");
    let pem = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let key = match algorithm {
        "ES256" => EncodingKey::from_ec_pem(&pem),
        "EdDSA" => EncodingKey::from_ed_pem(&pem),
        _ => EncodingKey::from_rsa_pem(&pem),
    };
    let claims = format!(
        r#"{{"iss":"https://idp.example.com/","aud":["orders-api","stock-api"],"sub":"user-{id:06}","iat":1799999000,"exp":1800003600,"scope":"orders:read orders:write stock:read","name":"Ann Example","email":"ann@example.com","roles":["clerk","buyer"],"tenant":"north","department":"orders and stock"}}"#
    );
    let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"2027-01"}}"#);
    let message = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let algorithm = algorithm.parse().unwrap();
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key.unwrap(), algorithm).unwrap();
    format!("{message}.{signature}")
}
