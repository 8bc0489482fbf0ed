//! What a route asks of a request beyond its host and path: method, headers, query parameters, cookies.
//!
//! Called by the table for each candidate. Never allocates, unless a regular expression is asked about an encoded
//! query parameter.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
};

use http::{HeaderMap, HeaderName, Method, header};

use super::{Mismatch, Request, path::escape};
use crate::{
    config::{self, Mode, ValueMatch},
    policy::cors::preflighted,
};

/// The predicates of one route, with names parsed and methods written out.
#[derive(PartialEq)]
pub(super) struct Predicates {
    /// Empty takes any. `HEAD` stands beside `GET`.
    methods: Box<[Method]>,
    /// Whether CORS answers preflights here: they are then found by the method that they ask leave for, since an
    /// operator who names `GET` and allows other origins to call it means them too.
    preflights: bool,
    headers: Box<[(HeaderName, ValueMatch)]>,
    query: Box<[(Box<str>, ValueMatch)]>,
    cookies: Box<[(Box<str>, ValueMatch)]>,
}

/// A predicate that no request could meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPredicate {
    #[error("`{0}` is no header name")]
    Header(String),
    #[error("`{0}` is no method")]
    Method(String),
}

/// The bytes of a query name or value, decoded: `%XX`, and `+` for a space. A stray `%` stands for itself.
struct Decoded<'a>(&'a [u8]);

// === impl Predicates ===

impl Predicates {
    /// `names` holds one copy of each header name for all routes, which is in the cache when it is looked for.
    pub(super) fn new(
        route: &config::Route,
        names: &mut HashSet<HeaderName>,
    ) -> Result<Self, BadPredicate> {
        let headers = route.headers.iter().map(|(name, value)| {
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let parsed = parsed.map_err(|_| BadPredicate::Header(name.clone()))?;
            let shared = names.get(&parsed).cloned().unwrap_or(parsed);
            names.insert(shared.clone());
            Ok((shared, value.clone()))
        });
        Ok(Self {
            methods: methods(route)?,
            preflights: route.cors.as_ref().is_some_and(|cors| cors.mode == Mode::Enforce),
            headers: headers.collect::<Result<_, _>>()?,
            query: named(&route.query),
            cookies: named(&route.cookies),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.cookies.is_empty()
    }

    /// Orders routes of the same host and path: those that ask for more come first.
    pub(super) fn rank(&self) -> impl Ord + use<> {
        use std::cmp::Reverse;
        let headers = self.headers.len() + self.cookies.len();
        (self.methods.is_empty(), Reverse(headers), Reverse(self.query.len()))
    }

    /// The first predicate that the request fails.
    pub(super) fn mismatch(&self, request: &Request<'_>) -> Option<Mismatch<'_>> {
        if !self.methods.is_empty() && !self.takes_method(request) {
            return Some(Mismatch::Method);
        }
        self.mismatch_beside_method(request)
    }

    fn takes_method(&self, request: &Request<'_>) -> bool {
        if self.methods.contains(request.method) {
            return true;
        }
        let wanted = || preflighted(request.method, request.headers);
        self.preflights
            && wanted().is_some_and(|wanted| self.methods.iter().any(|m| m.as_str() == wanted))
    }

    pub(super) fn mismatch_beside_method(&self, request: &Request<'_>) -> Option<Mismatch<'_>> {
        let header =
            |(name, value): &&(HeaderName, _)| !header_matches(request.headers, name, value);
        let query = |(name, value): &&(Box<str>, _)| !query_matches(request.query, name, value);
        let cookie = |(name, value): &&(Box<str>, _)| !cookie_matches(request.headers, name, value);
        let header = self.headers.iter().find(header).map(|(name, _)| Mismatch::Header(name));
        header
            .or_else(|| self.query.iter().find(query).map(|(name, _)| Mismatch::Query(name)))
            .or_else(|| self.cookies.iter().find(cookie).map(|(name, _)| Mismatch::Cookie(name)))
    }

    pub(super) fn methods(&self) -> &[Method] {
        &self.methods
    }
}

// What is equal has equal regular expressions by their text.
impl Eq for Predicates {}

impl Hash for Predicates {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (&self.methods, self.preflights).hash(hasher);
        for (name, value) in &self.headers {
            (name, text(value)).hash(hasher);
        }
        for (name, value) in self.query.iter().chain(&self.cookies) {
            (name, text(value)).hash(hasher);
        }
    }
}

fn text(value: &ValueMatch) -> &str {
    match value {
        ValueMatch::Any => "",
        ValueMatch::Exact(text) => text,
        ValueMatch::Regex(regex) => regex.as_str(),
    }
}

fn methods(route: &config::Route) -> Result<Box<[Method]>, BadPredicate> {
    let mut methods = Vec::new();
    for name in route.methods.iter() {
        let method = Method::from_bytes(name.as_bytes())
            .map_err(|_| BadPredicate::Method(String::clone(name)))?;
        let head = (method == Method::GET).then_some(Method::HEAD);
        for method in std::iter::once(method).chain(head) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
    }
    Ok(methods.into())
}

fn named(values: &BTreeMap<String, ValueMatch>) -> Box<[(Box<str>, ValueMatch)]> {
    values.iter().map(|(name, value)| (name.as_str().into(), value.clone())).collect()
}

/// The header has to be there, and each of its lines has to match: whichever the upstream reads was looked at.
fn header_matches(headers: &HeaderMap, name: &HeaderName, expected: &ValueMatch) -> bool {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek().is_some() && lines.all(|line| value_matches(line.as_bytes(), expected))
}

/// The first parameter of that name has to match; names and values are compared decoded.
fn query_matches(query: Option<&str>, name: &str, expected: &ValueMatch) -> bool {
    let mut pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let value = pairs.find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Decoded(key.as_bytes()).eq(name.bytes()).then_some(value)
    });
    value.is_some_and(|value| match expected {
        ValueMatch::Any => true,
        ValueMatch::Exact(text) => Decoded(value.as_bytes()).eq(text.bytes()),
        ValueMatch::Regex(_) => value_matches(&decode(value), expected),
    })
}

/// The first cookie of that name has to match, whichever `Cookie` line it stands in (RFC 6265 5.4, RFC 9113 8.2.3).
fn cookie_matches(headers: &HeaderMap, name: &str, expected: &ValueMatch) -> bool {
    let lines = headers.get_all(header::COOKIE).iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.trim_ascii_start();
        value.strip_prefix(b"=").map(<[u8]>::trim_ascii_start)
    });
    value.is_some_and(|value| value_matches(value, expected))
}

fn value_matches(value: &[u8], expected: &ValueMatch) -> bool {
    match expected {
        ValueMatch::Any => true,
        ValueMatch::Exact(text) => value == text.as_bytes(),
        ValueMatch::Regex(regex) => std::str::from_utf8(value).is_ok_and(|v| regex.is_match(v)),
    }
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if text.contains(['%', '+']) {
        Decoded(text.as_bytes()).collect::<Vec<_>>().into()
    } else {
        text.as_bytes().into()
    }
}

// === impl Decoded ===

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match (escape(self.0), self.0) {
            (Some(byte), [_, _, _, rest @ ..]) => (byte, rest),
            (_, [b'+', rest @ ..]) => (b' ', rest),
            (_, [byte, rest @ ..]) => (*byte, rest),
            (_, []) => return None,
        };
        self.0 = rest;
        Some(byte)
    }
}
