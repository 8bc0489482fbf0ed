//! `[jwt.NAME]`: who signs tokens, and with which keys.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{At, OneOrMany, Secret, units::Interval};

/// An issuer of tokens and its keys: `secret`, or `keys`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must contain one of.
    #[serde(default)]
    pub audience: OneOrMany<String>,
    /// A shared secret, for the HS algorithms.
    pub secret: Option<Secret>,
    /// Public keys: `{ file = "keys.json" }` (JWK set), `{ file = "key.pem" }`, or a list of JWKs.
    pub keys: Option<At<KeySource>>,
    /// The algorithm of a `secret` or a PEM key, where the key alone does not say. A JWK's `alg` wins.
    pub algorithm: Option<Algorithm>,
    /// How far clocks may differ when `exp` and `nbf` are judged; at most a minute.
    #[serde(default = "leeway")]
    pub leeway: Interval,
    /// Claims that a token must carry besides `exp`.
    #[serde(default)]
    pub required_claims: Vec<String>,
}

/// Where public keys come from.
#[derive(Clone, Debug, PartialEq)]
pub enum KeySource {
    /// A JWK set (JSON) or a public key (PEM).
    File(PathBuf),
    /// JWKs written in the file, RFC 7517.
    Inline(Vec<serde_json::Map<String, serde_json::Value>>),
}

/// Signature algorithms, RFC 7518 and RFC 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
pub enum Algorithm {
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "HS256")]
    Hs256,
    #[serde(rename = "HS384")]
    Hs384,
    #[serde(rename = "HS512")]
    Hs512,
    #[serde(rename = "PS256")]
    Ps256,
    #[serde(rename = "PS384")]
    Ps384,
    #[serde(rename = "PS512")]
    Ps512,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "RS384")]
    Rs384,
    #[serde(rename = "RS512")]
    Rs512,
}

const fn leeway() -> Interval {
    Interval::secs(30)
}

// === impl KeySource ===

impl<'de> Deserialize<'de> for KeySource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeySourceVisitor)
    }
}

/// The table form of a key source.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    file: PathBuf,
}

struct KeySourceVisitor;

impl<'de> serde::de::Visitor<'de> for KeySourceVisitor {
    type Value = KeySource;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("{ file = \"keys.json\" } or a list of JWKs")
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, list: A) -> Result<KeySource, A::Error> {
        Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(KeySource::Inline)
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<KeySource, A::Error> {
        let table = KeyFile::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(KeySource::File(table.file))
    }
}

impl JsonSchema for KeySource {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "KeySource".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let file = generator.subschema_for::<KeyFile>();
        schemars::json_schema!({ "anyOf": [file, { "type": "array", "items": { "type": "object" } }] })
    }
}
