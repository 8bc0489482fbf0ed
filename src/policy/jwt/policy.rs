//! What one route asks of a token: the run-time form of its `jwt`.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

use super::{Claims, Issuer, Refusal};
use crate::config::{self, Mode};

/// The JWT policy of a route.
pub struct JwtPolicy {
    issuer: Arc<Issuer>,
    scopes: Vec<String>,
    /// The same, separated by spaces, for the refusal.
    scope_text: Arc<str>,
    claims: Vec<(String, Vec<Expected>)>,
    /// Headers in the order of `claim_names`, which names the claim of each.
    headers: Vec<HeaderName>,
    claim_names: Vec<String>,
    forwards_token: bool,
    mode: Mode,
}

/// Why a route's `jwt` cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(
        "the header {0:?} cannot be set from a claim: it belongs to the connection or the message"
    )]
    HeaderForbidden(String),
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    #[error(
        "{0:?} is not a scope: one has no spaces, quotes or control characters (RFC 6749, 3.3)"
    )]
    Scope(String),
}

/// A value that a claim may have.
struct Expected {
    text: String,
    /// The number or boolean that the text also stands for.
    value: Option<Value>,
}

// === impl JwtPolicy ===

impl JwtPolicy {
    pub fn new(config: &config::JwtPolicy, issuer: Arc<Issuer>) -> Result<Self, PolicyError> {
        if let Some(scope) = config.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(PolicyError::Scope(scope.clone()));
        }
        let headers = config.headers.keys().map(|name| identity_header(name));
        let expected = |values: &config::OneOrMany<String>| {
            values.iter().map(|text| Expected::new(text)).collect()
        };
        Ok(Self {
            issuer,
            scopes: config.scopes.to_vec(),
            scope_text: config.scopes.join(" ").into(),
            claims: config.claims.iter().map(|(name, of)| (name.clone(), expected(of))).collect(),
            headers: headers.collect::<Result<_, _>>()?,
            claim_names: config.headers.values().cloned().collect(),
            forwards_token: config.forward_token,
            mode: config.mode,
        })
    }

    /// Whether the request may pass at `now`, in seconds since 1970. The token is taken from the one `Authorization`
    /// header and from nowhere else: in a URL it would stand in every log (RFC 6750, 5.3).
    pub fn check(&self, headers: &HeaderMap, now: u64) -> Result<Arc<Claims>, Refusal> {
        let token = bearer(headers)?;
        let claims = self.issuer.verify(token, now).map_err(|reason| {
            // Looked for only here, since no valid token has one of these.
            let several = token.iter().any(|byte| matches!(byte, b' ' | b'\t' | b','));
            if several { Refusal::Ambiguous } else { reason.into() }
        })?;
        if self.allows(&claims) {
            return Ok(claims);
        }
        Err(Refusal::Forbidden(Arc::clone(&self.scope_text)))
    }

    /// Headers that only the gateway sets: a client's own must be removed, whether or not the token has the claim.
    pub fn header_names(&self) -> &[HeaderName] {
        &self.headers
    }

    /// What goes upstream of the claims. A claim that a header cannot carry unchanged is left out.
    pub fn identity_headers<'a>(
        &'a self,
        claims: &'a Claims,
    ) -> impl Iterator<Item = (&'a HeaderName, HeaderValue)> {
        let named = self.headers.iter().zip(&self.claim_names);
        named.filter_map(|(header, claim)| Some((header, header_value(claims.get(claim)?)?)))
    }

    /// Whether `Authorization` goes on to the upstream.
    pub fn forwards_token(&self) -> bool {
        self.forwards_token
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    fn allows(&self, claims: &Claims) -> bool {
        self.scopes.iter().all(|scope| claims.has_scope(scope))
            && self.claims.iter().all(|(name, expected)| {
                claims.get(name).is_some_and(|claim| expected.iter().any(|one| one.is_in(claim)))
            })
    }
}

// === impl Expected ===

impl Expected {
    fn new(text: &str) -> Self {
        let value = serde_json::from_str(text).ok();
        let value = value.filter(|value: &Value| value.is_boolean() || value.is_number());
        Self { text: text.into(), value }
    }

    /// Whether a claim is this value, or a list with it.
    fn is_in(&self, claim: &Value) -> bool {
        match claim {
            Value::String(text) => *text == self.text,
            Value::Array(list) => list.iter().any(|one| !one.is_array() && self.is_in(one)),
            Value::Bool(_) | Value::Number(_) => self.value.as_ref() == Some(claim),
            Value::Null | Value::Object(_) => false,
        }
    }
}

/// What follows the scheme `Bearer`, in any case (RFC 9110, 11.1). Another scheme is no credential for us.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Refusal> {
    const SCHEME: usize = "Bearer".len();
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Ambiguous);
    }
    let (scheme, rest) = value.as_bytes().split_at_checked(SCHEME).ok_or(Refusal::Missing)?;
    if !scheme.eq_ignore_ascii_case(b"Bearer") {
        return Err(Refusal::Missing);
    }
    let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
    match rest.split_at(blanks) {
        // Nothing, or a tab, is a bad form of our scheme; another character makes it another scheme.
        (_, []) | ([], [b'\t' | b',', ..]) => Err(Refusal::Ambiguous),
        ([], _) => Err(Refusal::Missing),
        (_, token) => Ok(token),
    }
}

fn is_scope(scope: &str) -> bool {
    let fits = |byte| matches!(byte, b'!' | b'#'..=b'[' | b']'..=b'~');
    !scope.is_empty() && scope.bytes().all(fits)
}

fn identity_header(name: &str) -> Result<HeaderName, PolicyError> {
    const FORBIDDEN: [&str; 12] = [
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let header: HeaderName = name.parse().map_err(|_| PolicyError::HeaderName(name.into()))?;
    if FORBIDDEN.contains(&header.as_str()) {
        return Err(PolicyError::HeaderForbidden(name.into()));
    }
    Ok(header)
}

/// A claim as a header's value, where the upstream will read exactly what the claim says.
fn header_value(claim: &Value) -> Option<HeaderValue> {
    match claim {
        Value::String(text) => exact(text),
        Value::Bool(true) => Some(HeaderValue::from_static("true")),
        Value::Bool(false) => Some(HeaderValue::from_static("false")),
        Value::Number(number) => number.to_string().parse().ok(),
        Value::Array(list) => {
            let names: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
            // A name with a comma in it would read as two, and the second could be anybody's.
            let names = names.filter(|names| {
                names.iter().all(|name| !name.contains(',') && name.trim() == *name)
            })?;
            exact(&names.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// Whatever reads a header takes the blanks around its value away, and then `" admin"` would be `"admin"`.
fn exact(text: &str) -> Option<HeaderValue> {
    if text.is_empty() || text.trim() != text {
        return None;
    }
    HeaderValue::from_bytes(text.as_bytes()).ok()
}
