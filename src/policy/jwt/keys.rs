//! The keys of one issuer, and which of them a token means.
//!
//! Read once when the config is loaded; bounded in bytes and in number, since the file may come from elsewhere.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io::Read,
    path::Path,
};

use serde_json::{Map, Value};

use super::{
    KeyError, KeyProblem, Reason, json,
    jwk::NamedKey,
    key::{Key, Material},
    token::Header,
};
use crate::config::{self, Algorithm, KeySource};

/// Bytes of the largest key file.
const MAX_FILE: u64 = 256 * 1024;

/// The most keys of an issuer.
const MAX_KEYS: usize = 100;

/// At least one key, all secrets or all public, none twice by name.
#[derive(PartialEq)]
pub(super) struct Keys {
    named: BTreeMap<String, Key>,
    unnamed: Vec<Key>,
}

// === impl Keys ===

impl Keys {
    pub(super) fn load(config: &config::Jwt) -> Result<Self, KeyError> {
        match (&config.secret, config.keys.as_deref()) {
            (Some(secret), None) => {
                let secret = Material::Secret(secret.reveal().as_bytes().into());
                Self::single(&secret, config.algorithm).map_err(|problem| at("secret", problem))
            }
            (None, Some(KeySource::File(path))) => Self::read(path, config.algorithm),
            (None, Some(KeySource::Inline(jwks))) => {
                Self::from_jwks(jwks.iter(), "keys", config.algorithm)
            }
            (Some(_), Some(_)) => Err(at("keys", KeyProblem::TwoSources)),
            (None, None) => Err(at("keys", KeyProblem::NoSource)),
        }
    }

    /// The key that a token means: the one of its `kid`, or the only one of its algorithm. A key without a `kid` serves
    /// whatever a token calls it.
    pub(super) fn find(&self, header: &Header) -> Result<&Key, Reason> {
        let algorithm = header.algorithm;
        let found = match &header.kid {
            Some(kid) => match self.named.get(kid) {
                Some(key) if key.algorithm() == algorithm => Some(key),
                Some(_) => return Err(Reason::WrongAlgorithm),
                None => only(self.unnamed.iter(), algorithm),
            },
            None => only(self.all(), algorithm),
        };
        let known = || self.all().any(|key| key.algorithm() == algorithm);
        found.ok_or_else(|| if known() { Reason::UnknownKey } else { Reason::WrongAlgorithm })
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        self.named.values().chain(&self.unnamed)
    }

    fn read(path: &Path, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let file = path.display().to_string();
        let bytes = read_bounded(path).map_err(|problem| at("keys", problem))?;
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Self::from_set(&bytes, &file, algorithm);
        }
        if !bytes.windows(11).any(|at| at == b"-----BEGIN ") {
            return Err(at(&file, KeyProblem::Format));
        }
        Material::from_pem(&bytes)
            .and_then(|material| Self::single(&material, algorithm))
            .map_err(|problem| at(&file, problem))
    }

    fn from_set(set: &[u8], file: &str, algorithm: Option<Algorithm>) -> Result<Self, KeyError> {
        let set = json::object(set).ok_or_else(|| at(file, KeyProblem::Json))?;
        let not_a_list = || at(file, KeyProblem::Member("keys", "a list of JWKs"));
        let jwks = set.get("keys").and_then(Value::as_array).ok_or_else(not_a_list)?;
        let jwks: Option<Vec<_>> = jwks.iter().map(Value::as_object).collect();
        Self::from_jwks(jwks.ok_or_else(not_a_list)?.into_iter(), file, algorithm)
    }

    fn from_jwks<'a>(
        jwks: impl ExactSizeIterator<Item = &'a Map<String, Value>>,
        source: &str,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, KeyError> {
        let count = jwks.len();
        if count > MAX_KEYS {
            return Err(at(source, KeyProblem::TooMany(MAX_KEYS)));
        }
        let mut keys = Self { named: BTreeMap::new(), unnamed: Vec::new() };
        for (index, jwk) in jwks.enumerate() {
            NamedKey::read(jwk, algorithm)
                .and_then(|key| key.map_or(Ok(()), |key| keys.add(key)))
                .map_err(|problem| at_jwk(source, index, jwk, problem))?;
        }
        if keys.all().next().is_none() {
            return Err(at(source, KeyProblem::NoUsableKey(count)));
        }
        Ok(keys)
    }

    fn single(material: &Material, algorithm: Option<Algorithm>) -> Result<Self, KeyProblem> {
        let key = Key::new(material, algorithm)?;
        Ok(Self { named: BTreeMap::new(), unnamed: vec![key] })
    }

    fn add(&mut self, NamedKey { kid, key }: NamedKey) -> Result<(), KeyProblem> {
        if self.all().any(|other| other.is_secret() != key.is_secret()) {
            return Err(KeyProblem::Mixed);
        }
        let Some(kid) = kid else {
            if self.unnamed.iter().any(|other| other.algorithm() == key.algorithm()) {
                return Err(KeyProblem::SecondUnnamed(key.algorithm().name()));
            }
            self.unnamed.push(key);
            return Ok(());
        };
        match self.named.entry(kid) {
            Entry::Occupied(_) => Err(KeyProblem::DuplicateKid),
            Entry::Vacant(place) => {
                place.insert(key);
                Ok(())
            }
        }
    }
}

/// The key of an algorithm, where there is exactly one.
fn only<'a>(keys: impl Iterator<Item = &'a Key>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut keys = keys.filter(|key| key.algorithm() == algorithm);
    keys.next().filter(|_| keys.next().is_none())
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, KeyProblem> {
    let unreadable = |error| KeyProblem::Unreadable { path: path.into(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE { Err(KeyProblem::TooLarge(MAX_FILE)) } else { Ok(bytes) }
}

fn at(place: &str, problem: KeyProblem) -> KeyError {
    KeyError { key: place.into(), problem }
}

fn at_jwk(source: &str, index: usize, jwk: &Map<String, Value>, problem: KeyProblem) -> KeyError {
    let number = index + 1;
    let key = match jwk.get("kid").and_then(Value::as_str) {
        Some(kid) if kid.len() <= super::token::MAX_KID => {
            format!("{source}, key {number} (kid {kid:?})")
        }
        _ => format!("{source}, key {number}"),
    };
    KeyError { key, problem }
}
