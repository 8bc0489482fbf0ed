//! A key of the demo's own, made at each start: the shipped config holds none that anybody could sign with.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use crate::config::{Config, KeySource};

/// The `[jwt.NAME]` that the demo signs for.
const ISSUER_TABLE: &str = "demo";
const KEY_ID: &str = "demo";
/// Seconds that a token is good for.
const TOKEN_LIFE: u64 = 3600;

/// Signs tokens that the running demo takes.
pub(super) struct Identity {
    private: Vec<u8>,
    public: Vec<u8>,
}

impl Identity {
    pub(super) fn new() -> Result<Self, String> {
        let failed = |error| format!("no key can be made: {error}");
        let private = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
        let pair = Ed25519KeyPair::from_pkcs8(private.as_ref())
            .map_err(|error| format!("no key can be made: {error}"))?;
        Ok(Self { private: private.as_ref().to_vec(), public: pair.public_key().as_ref().to_vec() })
    }

    /// Puts the public key in the place of the shipped one.
    pub(super) fn become_issuer(&self, config: &mut Config) {
        let Some(issuer) = config.jwt.get_mut(ISSUER_TABLE) else { return };
        let key = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(&self.public),
        });
        if let serde_json::Value::Object(key) = key {
            issuer.keys = Some(KeySource::Inline(vec![key]).into());
        }
    }

    /// A token for a user, as the demo's issuer would give it.
    pub(super) fn token(&self, config: &Config, user: &str) -> Result<String, String> {
        let Some(issuer) = config.jwt.get(ISSUER_TABLE) else {
            return Err("the config has no [jwt.demo]".into());
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({ "iss": issuer.issuer, "aud": issuer.audience.to_vec(), "sub": user, "iat": now, "exp": now + TOKEN_LIFE });
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(&self.private))
            .map_err(|error| error.to_string())
    }
}
