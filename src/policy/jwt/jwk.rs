//! Reads a JSON Web Key (RFC 7517, RFC 7518 section 6, RFC 8037).

use serde_json::{Map, Value};

use super::{
    KeyProblem,
    key::{Key, Material},
    token::{self, MAX_KID},
};
use crate::config::Algorithm;

/// A key of a set, with the `kid` that tokens name it by.
pub(super) struct NamedKey {
    pub(super) kid: Option<String>,
    pub(super) key: Key,
}

impl NamedKey {
    /// Reads a JWK, and `None` where it is sound but not for checking signatures, or of a kind that is not known:
    /// a set may hold such keys, and they are passed over (RFC 7517, 5).
    pub(super) fn read(
        jwk: &Map<String, Value>,
        algorithm: Option<Algorithm>,
    ) -> Result<Option<Self>, KeyProblem> {
        if !may_verify(jwk)? {
            return Ok(None);
        }
        let own = text(jwk, "alg")?.map(Algorithm::named);
        if own == Some(None) {
            return Ok(None);
        }
        let Some(material) = material(jwk)? else { return Ok(None) };
        // A set may hold several kinds of keys, and the issuer's algorithm is for those that it fits.
        let algorithm = own.flatten().or(algorithm.filter(|chosen| material.fits(*chosen)));
        let kid = text(jwk, "kid")?;
        if kid.is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(KeyProblem::KidTooLong);
        }
        let key = Key::new(&material, algorithm)?;
        Ok(Some(Self { kid: kid.map(String::from), key }))
    }
}

/// Whether `use` and `key_ops` allow it (RFC 7517, 4.2 and 4.3).
fn may_verify(jwk: &Map<String, Value>) -> Result<bool, KeyProblem> {
    if text(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return Ok(false);
    }
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|name| name == "verify")),
        Some(_) => Err(KeyProblem::Member("key_ops", "a list")),
    }
}

fn material(jwk: &Map<String, Value>) -> Result<Option<Material>, KeyProblem> {
    let kind = text(jwk, "kty")?.ok_or(KeyProblem::Member("kty", "there"))?;
    if kind != "oct" && jwk.contains_key("d") {
        return Err(KeyProblem::Private);
    }
    match kind {
        "EC" => point(jwk),
        "OKP" if text(jwk, "crv")? == Some("Ed25519") => {
            bytes(jwk, "x").map(Material::Ed25519).map(Some)
        }
        "RSA" => Ok(Some(Material::rsa(&bytes(jwk, "n")?, &bytes(jwk, "e")?))),
        "oct" => bytes(jwk, "k").map(Material::Secret).map(Some),
        _ => Ok(None),
    }
}

fn point(jwk: &Map<String, Value>) -> Result<Option<Material>, KeyProblem> {
    let (length, material): (usize, fn(Vec<u8>) -> Material) = match text(jwk, "crv")? {
        Some("P-256") => (32, Material::P256),
        Some("P-384") => (48, Material::P384),
        _ => return Ok(None),
    };
    let mut point = vec![4];
    for member in ["x", "y"] {
        let coordinate = bytes(jwk, member)?;
        if coordinate.len() != length {
            return Err(KeyProblem::Member(member, "as long as the curve's coordinates"));
        }
        point.extend(coordinate);
    }
    Ok(Some(material(point)))
}

fn text<'a>(
    jwk: &'a Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'a str>, KeyProblem> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(KeyProblem::Member(name, "a string")),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, KeyProblem> {
    let text = text(jwk, name)?.ok_or(KeyProblem::Base64(name))?;
    token::decode(text.as_bytes()).map_err(|_| KeyProblem::Base64(name))
}
