//! Who signs tokens: the run-time form of a `[jwt.NAME]` table.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Claims, KeyError, Reason,
    cache::Cache,
    keys::Keys,
    token::{MAX_TOKEN, Token},
};
use crate::config;

/// Bytes of verified tokens and their claims that an issuer keeps.
const TOKEN_CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Seconds of leeway at most.
const MAX_LEEWAY: u64 = 60;

/// An issuer with its keys, and the tokens of it that were lately verified.
pub struct Issuer {
    keys: Keys,
    rules: Rules,
    verified: Cache,
}

/// What a token must say. An issuer or audience that the config does not name is not looked at.
#[derive(PartialEq)]
struct Rules {
    issuer: Option<String>,
    audience: Vec<String>,
    required: Vec<String>,
    /// In seconds.
    leeway: u64,
}

// === impl Issuer ===

impl Issuer {
    /// Reads the keys, from the disk where the config says so. A key that is weak, broken or ambiguous is an error.
    pub fn new(config: &config::Jwt) -> Result<Self, KeyError> {
        let keys = Keys::load(config)?;
        Ok(Self { keys, rules: Rules::new(config), verified: Cache::new(TOKEN_CACHE_BYTES) })
    }

    /// The claims of a token that is valid at `now`, in seconds since 1970.
    pub fn verify(&self, token: &[u8], now: u64) -> Result<Arc<Claims>, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLarge);
        }
        let hash = self.verified.hash(token);
        // Everything but the time was judged when it was put in.
        if let Some(claims) = self.verified.find(token, hash) {
            return match claims.judge_time(now, self.rules.leeway) {
                Ok(()) => Ok(claims),
                Err(reason) => {
                    self.verified.remove(token, hash);
                    Err(reason)
                }
            };
        }
        let claims = Arc::new(self.read(token)?);
        claims.judge_time(now, self.rules.leeway)?;
        self.verified.insert(token, hash, Arc::clone(&claims));
        Ok(claims)
    }

    /// Drops what is kept of tokens that have ended. Nothing accepts those any more; this is only so that they do not
    /// stay in memory until others need the room.
    pub fn forget_ended(&self, now: u64) {
        self.verified
            .remove_all(|claims| claims.judge_time(now, self.rules.leeway) == Err(Reason::Expired));
    }

    /// Whether the other takes exactly the same tokens, so that a reload may keep the one that runs with its cache.
    /// The config alone cannot tell, since keys may stand in a file of their own.
    pub fn takes_the_same(&self, other: &Self) -> bool {
        self.keys == other.keys && self.rules == other.rules
    }

    fn read(&self, token: &[u8]) -> Result<Claims, Reason> {
        let token = Token::parse(token)?;
        if !self.keys.find(&token.header)?.verifies(token.signed, &token.signature) {
            return Err(Reason::BadSignature);
        }
        let claims = Claims::parse(&token.payload()?)?;
        self.rules.judge(&claims)?;
        Ok(claims)
    }
}

// === impl Rules ===

impl Rules {
    fn new(config: &config::Jwt) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.to_vec(),
            required: config.required_claims.clone(),
            leeway: config.leeway.0.as_secs().min(MAX_LEEWAY),
        }
    }

    fn judge(&self, claims: &Claims) -> Result<(), Reason> {
        self.judge_issuer(claims.get("iss"))?;
        self.judge_audience(claims.get("aud"))?;
        let carries = |name: &String| claims.get(name).is_some_and(|value| !value.is_null());
        if self.required.iter().all(carries) { Ok(()) } else { Err(Reason::MissingClaim) }
    }

    fn judge_issuer(&self, iss: Option<&Value>) -> Result<(), Reason> {
        let iss = iss.map(|iss| iss.as_str().ok_or(Reason::Malformed)).transpose()?;
        match &self.issuer {
            Some(issuer) if iss != Some(issuer) => Err(Reason::WrongIssuer),
            _ => Ok(()),
        }
    }

    fn judge_audience(&self, aud: Option<&Value>) -> Result<(), Reason> {
        let named: Vec<&str> = match aud {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(list)) => {
                list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Reason::Malformed)?
            }
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) => {
                return Err(Reason::Malformed);
            }
        };
        let ours = self.audience.iter().any(|audience| named.contains(&audience.as_str()));
        if ours || self.audience.is_empty() { Ok(()) } else { Err(Reason::WrongAudience) }
    }
}
