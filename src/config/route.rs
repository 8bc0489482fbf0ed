//! `[[route]]`: what is asked for, what it must show, and where it goes.

use std::{borrow::Cow, collections::BTreeMap, ops::Deref, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{At, CircuitBreaker, Cors, IpFilter, MaxBody, OneOrMany, RateLimit, UseJwt};

/// A route as it is written. Clones are the same one: the config, what is built from it and what runs next share it.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Route(Arc<WrittenRoute>);

/// A route: matchers, policies, and `to`, `redirect` or `answer`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[schemars(rename = "Route")]
#[serde(deny_unknown_fields)]
pub struct WrittenRoute {
    /// Its name in logs, metrics and messages. No two are alike.
    pub name: At<String>,

    /// Hosts, without port: exact, or `*.example.com` for every name below. Default: any host.
    #[serde(default)]
    pub host: OneOrMany<At<HostPattern>>,
    /// `"/a"` exact, `"/a/**"` it and all below, `"/a/{id}"` template, `{ regex = "..." }`.
    #[serde(default = "everything")]
    pub path: At<PathPattern>,
    /// Methods. Default: any. `GET` takes `HEAD` too.
    #[serde(default)]
    pub methods: OneOrMany<At<String>>,
    /// Headers that must be there, each with its value: exact, `"*"` for any, or `{ regex = "..." }`.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueMatch>,
    /// Query parameters that must be there, in the same way.
    #[serde(default)]
    pub query: BTreeMap<String, ValueMatch>,
    /// Cookies that must be there, in the same way.
    #[serde(default)]
    pub cookies: BTreeMap<String, ValueMatch>,

    /// The upstream, or several with weights: `"orders"`, `{ orders = 90, orders-v2 = 10 }`.
    pub to: Option<At<Targets>>,
    /// Send the client elsewhere.
    pub redirect: Option<Box<Redirect>>,
    /// Answer here, without an upstream.
    pub answer: Option<Box<Answer>>,

    /// What the upstream sees instead of the path and the host that were asked for.
    #[serde(default)]
    pub rewrite: Rewrite,
    /// Changes to the headers that go to the upstream.
    #[serde(default)]
    pub request_headers: HeaderEdits,
    /// Changes to the headers that go back to the client.
    #[serde(default)]
    pub response_headers: HeaderEdits,

    // Boxed where most routes have none: there may be ten thousand routes.
    pub ip_filter: Option<Box<IpFilter>>,
    pub cors: Option<Box<Cors>>,
    pub jwt: Option<UseJwt>,
    pub rate_limit: Option<Box<RateLimit>>,
    /// The largest request body; more is answered with 413. Default: no limit.
    pub max_body: Option<MaxBody>,
    pub circuit_breaker: Option<CircuitBreaker>,
}

/// A host, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Lower case, without port.
    Exact(String),
    /// `*.example.com` as `example.com`: one label or more in front.
    Wildcard(String),
}

/// A pattern over the normalised path.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// `/a`, and that alone.
    Exact(String),
    /// `/a/**`: `/a`, `/a/` and all below, by whole segments. `/**` is everything. Segments may be `{name}`.
    Prefix(Vec<Segment>),
    /// A regular expression that the whole path must match.
    Regex(regex::Regex),
    /// `/a/{id}`: each `{name}` is one segment that is not empty.
    Template(Vec<Segment>),
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    Literal(String),
    Parameter(String),
}

/// What a header, a query parameter or a cookie must be.
#[derive(Clone, Debug)]
pub enum ValueMatch {
    Any,
    Exact(String),
    /// The whole value must match.
    Regex(regex::Regex),
}

/// Where a route forwards to: at least one upstream, weights above zero in sum.
#[derive(Clone, Debug, PartialEq)]
pub struct Targets(pub Vec<WeightedTarget>);

/// One upstream of a route and its share.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTarget {
    pub upstream: At<String>,
    pub weight: f64,
}

/// Sends the client elsewhere.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `https`, where only the scheme changes.
    pub scheme: Option<String>,
    /// Another host, with port where it needs one.
    pub host: Option<String>,
    /// Another path. Default: the same; a prefix route keeps what follows its prefix.
    pub path: Option<String>,
    /// 301, 302, 303, 307 or 308.
    #[serde(default = "found")]
    pub status: u16,
}

/// An answer without an upstream.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    #[serde(default = "ok")]
    pub status: u16,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What the upstream sees instead.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the matched prefix of a `/a/**` route: `"/"` strips it, `"/v2"` puts another in its place.
    pub prefix: Option<String>,
    /// Replaces the whole path; `{name}` is what the template's parameter matched.
    pub path: Option<String>,
    /// The Host that the upstream sees. Default: the client's.
    pub host: Option<String>,
}

/// Headers that are set (replaced), added or removed. Removed first, then set, then added.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderEdits {
    pub set: BTreeMap<String, String>,
    pub add: BTreeMap<String, String>,
    pub remove: Vec<String>,
}

fn everything() -> At<PathPattern> {
    PathPattern::Prefix(Vec::new()).into()
}

const fn found() -> u16 {
    302
}

const fn ok() -> u16 {
    200
}

// === impl Route ===

impl Deref for Route {
    type Target = WrittenRoute;

    fn deref(&self) -> &WrittenRoute {
        &self.0
    }
}

impl From<WrittenRoute> for Route {
    fn from(written: WrittenRoute) -> Self {
        Self(Arc::new(written))
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl JsonSchema for Route {
    fn schema_name() -> Cow<'static, str> {
        WrittenRoute::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        WrittenRoute::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        WrittenRoute::json_schema(generator)
    }
}

// === impl HostPattern ===

impl std::str::FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (wildcard, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        let label = |l: &str| {
            !l.is_empty()
                && l.len() < 64
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let ipv6 = || {
            name.strip_prefix('[')
                .and_then(|n| n.strip_suffix(']'))
                .is_some_and(|n| n.parse::<std::net::Ipv6Addr>().is_ok())
        };
        if name.len() > 253 || !(name.split('.').all(label) || !wildcard && ipv6()) {
            return Err(format!(
                "`{text}` is no host: write \"api.example.com\" or \"*.example.com\", without port"
            ));
        }
        let name = name.to_ascii_lowercase();
        Ok(if wildcard { Self::Wildcard(name) } else { Self::Exact(name) })
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::at::from_text(deserializer, "a host")
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

// === impl PathPattern ===

impl std::str::FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(format!("`{text}` is no path: it has to start with `/`"));
        };
        let (rest, prefix) = match rest.strip_suffix("**") {
            Some("") => return Ok(Self::Prefix(Vec::new())),
            Some(rest) => (
                rest.strip_suffix('/')
                    .ok_or_else(|| format!("in `{text}`, `**` has to follow a `/`"))?,
                true,
            ),
            None => (rest, false),
        };
        let segments =
            rest.split('/').map(|s| Segment::parse(s, text)).collect::<Result<Vec<_>, _>>()?;
        let literal = segments.iter().all(|s| matches!(s, Segment::Literal(_)));
        Ok(match (prefix, literal) {
            (true, _) => Self::Prefix(segments),
            (false, true) => Self::Exact(text.into()),
            (false, false) => Self::Template(segments),
        })
    }
}

impl Segment {
    fn parse(text: &str, path: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            let sound = !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
            return if sound {
                Ok(Self::Parameter(name.into()))
            } else {
                Err(format!("in `{path}`, `{text}` has no usable name"))
            };
        }
        match text.find(['*', '{', '}', '?', '#', ' ']) {
            Some(_) if text.contains('*') => Err(format!(
                "in `{path}`, `*` may stand only as `/**` at the end; one segment is `{{name}}`"
            )),
            Some(_) => {
                Err(format!("in `{path}`, the segment `{text}` has a character that no path has"))
            }
            None => Ok(Self::Literal(text.into())),
        }
    }
}

impl<'de> Deserialize<'de> for PathPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = PathPattern;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a path such as \"/orders/**\", or { regex = \"...\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PathPattern, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<PathPattern, A::Error> {
                RegexTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(|t| PathPattern::Regex(t.regex.0))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Prefix(a), Self::Prefix(b)) | (Self::Template(a), Self::Template(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Exact(_) | Self::Prefix(_) | Self::Template(_) | Self::Regex(_), _) => false,
        }
    }
}

impl JsonSchema for PathPattern {
    fn schema_name() -> Cow<'static, str> {
        "PathPattern".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let regex = generator.subschema_for::<RegexTable>();
        json_schema!({ "anyOf": [{ "type": "string", "pattern": "^/" }, regex] })
    }
}

/// `{ regex = "..." }`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RegexTable {
    #[schemars(with = "String")]
    regex: WholeRegex,
}

/// A regular expression that is anchored at both ends.
struct WholeRegex(regex::Regex);

impl<'de> Deserialize<'de> for WholeRegex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // Checked bare first: wrapping could pair up parentheses that do not belong together.
        regex::Regex::new(&text)
            .and_then(|_| {
                regex::RegexBuilder::new(&format!("^(?:{text})$")).size_limit(1 << 20).build()
            })
            .map(Self)
            .map_err(|error| {
                // The library draws the expression over several lines; the reason is the last one.
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                serde::de::Error::custom(format!("this is no regular expression: {reason}"))
            })
    }
}

// === impl ValueMatch ===

impl<'de> Deserialize<'de> for ValueMatch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = ValueMatch;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value, \"*\" for any, or { regex = \"...\" }")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ValueMatch, E> {
                Ok(if text == "*" { ValueMatch::Any } else { ValueMatch::Exact(text.into()) })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<ValueMatch, A::Error> {
                RegexTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(|t| ValueMatch::Regex(t.regex.0))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl PartialEq for ValueMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Any | Self::Exact(_) | Self::Regex(_), _) => false,
        }
    }
}

impl JsonSchema for ValueMatch {
    fn schema_name() -> Cow<'static, str> {
        "ValueMatch".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let regex = generator.subschema_for::<RegexTable>();
        json_schema!({ "anyOf": [{ "type": "string" }, regex] })
    }
}

// === impl Targets ===

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TargetsVisitor)
    }
}

struct TargetsVisitor;

impl<'de> serde::de::Visitor<'de> for TargetsVisitor {
    type Value = Targets;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an upstream's name, or a table of names with weights")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Targets, E> {
        Ok(Targets(vec![WeightedTarget { upstream: String::from(name).into(), weight: 1.0 }]))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Targets, A::Error> {
        let mut targets = Vec::new();
        while let Some((upstream, weight)) = map.next_entry::<At<String>, f64>()? {
            if !weight.is_finite() || !(0.0..=1e6).contains(&weight) {
                return Err(serde::de::Error::custom(format!(
                    "the weight of `{}` has to be from 0 to 1000000",
                    *upstream
                )));
            }
            targets.push(WeightedTarget { upstream, weight });
        }
        if targets.iter().all(|target| target.weight == 0.0) {
            return Err(serde::de::Error::custom("at least one weight has to be above 0"));
        }
        Ok(Targets(targets))
    }
}

impl JsonSchema for Targets {
    fn schema_name() -> Cow<'static, str> {
        "Targets".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let weights = json_schema!({ "type": "object", "minProperties": 1, "additionalProperties": { "type": "number", "minimum": 0, "maximum": 1_000_000 } });
        json_schema!({ "anyOf": [{ "type": "string" }, weights] })
    }
}
