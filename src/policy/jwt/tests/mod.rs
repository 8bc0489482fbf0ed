//! Tokens, keys and requests as they come from outside. Keys are in `tests/data/keys`.

mod keys;
mod policy;
mod tokens;
mod vectors;

use std::path::Path;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};

use super::*;
use crate::config::{self, Algorithm, KeySource, OneOrMany, Secret, units::Interval};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret of sixty-four bytes, which is enough for each of the three";

const ALGORITHMS: [Algorithm; 12] = [
    Algorithm::EdDsa,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::Hs256,
    Algorithm::Hs384,
    Algorithm::Hs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
];

fn key_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/keys").join(name)
}

/// An issuer without keys, which asks for nothing but a valid token.
fn config() -> config::Jwt {
    config::Jwt {
        issuer: None,
        audience: OneOrMany(Vec::new()),
        secret: None,
        keys: None,
        algorithm: None,
        leeway: Interval::secs(30),
        required_claims: Vec::new(),
    }
}

fn with_file(name: &str, algorithm: Option<Algorithm>) -> config::Jwt {
    let keys = Some(KeySource::File(key_file(name)).into());
    config::Jwt { keys, algorithm, ..config() }
}

fn with_jwks(jwks: Value) -> config::Jwt {
    let jwks = serde_json::from_value(jwks).unwrap();
    config::Jwt { keys: Some(KeySource::Inline(jwks).into()), ..config() }
}

/// An issuer whose only key is the test key of an algorithm.
fn config_for(algorithm: Algorithm) -> config::Jwt {
    match stem(algorithm) {
        None => config::Jwt {
            secret: Some(Secret::new(SECRET)),
            algorithm: Some(algorithm),
            ..config()
        },
        Some(stem) => with_file(&format!("{stem}.pub.pem"), Some(algorithm)),
    }
}

fn issuer(config: &config::Jwt) -> Issuer {
    Issuer::new(config).unwrap_or_else(|error| panic!("{error}"))
}

fn stem(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::EdDsa => Some("ed25519"),
        Algorithm::Es256 => Some("p256"),
        Algorithm::Es384 => Some("p384"),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => None,
        _ => Some("rsa-2048"),
    }
}

fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Signs exactly these bytes as header and claims, whatever they say.
fn sign(algorithm: Algorithm, header: &str, claims: &str) -> String {
    let key = match stem(algorithm) {
        None => EncodingKey::from_secret(SECRET.as_bytes()),
        Some(stem) => {
            let pem = std::fs::read(key_file(&format!("{stem}.pem"))).unwrap();
            match algorithm {
                Algorithm::EdDsa => EncodingKey::from_ed_pem(&pem).unwrap(),
                Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(&pem).unwrap(),
                _ => EncodingKey::from_rsa_pem(&pem).unwrap(),
            }
        }
    };
    sign_with(&key, algorithm, header, claims)
}

fn sign_with(key: &EncodingKey, algorithm: Algorithm, header: &str, claims: &str) -> String {
    crate::crypto::install_crypto_provider();
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm.jsonwebtoken()).unwrap();
    format!("{message}.{signature}")
}

/// A token of the key of `config_for`, valid for a minute.
fn token(algorithm: Algorithm) -> String {
    let claims = json!({ "sub": "ann", "exp": NOW + 60 });
    sign(algorithm, &json!({ "alg": algorithm.name() }).to_string(), &claims.to_string())
}

/// What the HS256 issuer says of claims.
fn judge(config: &config::Jwt, claims: &Value) -> Result<(), Reason> {
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &claims.to_string());
    issuer(config).verify(token.as_bytes(), NOW).map(drop)
}

/// The public half of a test key as a JWK, without `alg` or `kid`.
fn jwk(stem: &str) -> Value {
    let pem = std::fs::read(key_file(&format!("{stem}.pub.pem"))).unwrap();
    let (algorithm, key) = match stem {
        "rsa-2048" => (Algorithm::Rs256, jsonwebtoken::DecodingKey::from_rsa_pem(&pem)),
        "p256" => (Algorithm::Es256, jsonwebtoken::DecodingKey::from_ec_pem(&pem)),
        "p384" => (Algorithm::Es384, jsonwebtoken::DecodingKey::from_ec_pem(&pem)),
        _ => (Algorithm::EdDsa, jsonwebtoken::DecodingKey::from_ed_pem(&pem)),
    };
    crate::crypto::install_crypto_provider();
    let algorithm = Some(algorithm.jsonwebtoken());
    let jwk = jsonwebtoken::jwk::Jwk::from_decoding_key(&key.unwrap(), algorithm).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk.as_object_mut().unwrap().remove("alg");
    jwk
}

fn with(mut jwk: Value, member: &str, value: impl Into<Value>) -> Value {
    jwk.as_object_mut().unwrap().insert(member.into(), value.into());
    jwk
}
