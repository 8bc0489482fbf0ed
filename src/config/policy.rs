//! The policies of a route, each one key of `[[route]]`.

use std::{borrow::Cow, collections::BTreeMap};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::{
    At, OneOrMany,
    units::{Interval, Percent, Rate},
};

/// Whether a policy's "no" refuses the request, or is only counted and logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    #[default]
    Enforce,
    Shadow,
}

/// `jwt = "idp"`, or a table with what the token must show beyond being valid.
#[derive(Clone, Debug, PartialEq)]
pub struct UseJwt(pub Box<JwtPolicy>);

/// Asks for a token of one issuer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtPolicy {
    /// The `[jwt.NAME]` whose tokens are taken.
    pub issuer: At<String>,
    /// Scopes that must all be in `scope` or `scp`.
    #[serde(default)]
    pub scopes: OneOrMany<String>,
    /// Claims that must have one of these values.
    #[serde(default)]
    pub claims: BTreeMap<String, OneOrMany<String>>,
    /// Headers that are set upstream from claims. A client's own are removed.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Whether the token goes on to the upstream.
    #[serde(default = "yes")]
    pub forward_token: bool,
    #[serde(default)]
    pub mode: Mode,
}

/// A token bucket for each key (GCRA).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How fast a bucket fills.
    pub rate: Rate,
    /// How many requests a full bucket holds. Default: the events of `rate`.
    pub burst: Option<std::num::NonZeroU32>,
    /// Who shares a bucket: one of these, or a list that is taken together.
    #[serde(default = "per_client")]
    pub per: OneOrMany<LimitKey>,
    /// The most buckets that are kept. Only full ones make room for others.
    #[serde(default = "max_keys")]
    pub max_keys: std::num::NonZeroU32,
    #[serde(default)]
    pub mode: Mode,
}

/// What tells the callers of a route apart: `"client"`, `"route"`, `"header.NAME"` or `"jwt.CLAIM"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// A claim of the verified token.
    Claim(String),
    /// The client's address; IPv6 by its /64.
    Client,
    Header(http::HeaderName),
    /// Everybody on the route together.
    Route,
}

/// Stops calls of this route to an upstream that fails (Resilience4j semantics).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// Opens at this share of failed calls.
    pub failure_rate: Percent,
    /// Opens at this share of slow calls. Default: never.
    pub slow_call_rate: Option<Percent>,
    /// From when on a call is slow.
    pub slow_call: Interval,
    /// No rate is judged on fewer calls.
    pub minimum_calls: std::num::NonZeroU32,
    /// What the rates are taken over: a number of calls (`100`) or a time (`"10s"`).
    pub window: BreakerWindow,
    /// How long it stays open before it lets calls try.
    pub open_for: Interval,
    /// How many calls may try when half open.
    pub half_open_calls: std::num::NonZeroU32,
    pub mode: Mode,
}

/// The window of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BreakerWindow {
    Calls(std::num::NonZeroU32),
    Time(Interval),
}

/// Who may call, by client address. `deny` wins; with `allow`, all others are refused.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IpFilter {
    /// Addresses and networks (CIDR).
    pub allow: Vec<Network>,
    /// Addresses and networks (CIDR).
    pub deny: Vec<Network>,
    pub mode: Mode,
}

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub IpNet);

/// Which other origins a browser may call from (the Fetch standard's CORS protocol).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// Origins: `"https://app.example.com"`, `"https://*.example.com"`, or `"*"`.
    pub origins: OneOrMany<At<String>>,
    /// Methods that a preflight allows.
    #[serde(default = "cors_methods")]
    pub methods: Vec<String>,
    /// Request headers that a preflight allows; `"*"` for any.
    #[serde(default)]
    pub headers: Vec<String>,
    /// Response headers that a page may read.
    #[serde(default)]
    pub expose: Vec<String>,
    /// Whether cookies and credentials are allowed. Not with origin `"*"`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may keep a preflight's answer.
    #[serde(default = "cors_max_age")]
    pub max_age: Interval,
    #[serde(default)]
    pub mode: Mode,
}

const fn yes() -> bool {
    true
}

fn per_client() -> OneOrMany<LimitKey> {
    OneOrMany(vec![LimitKey::Client])
}

fn max_keys() -> std::num::NonZeroU32 {
    std::num::NonZeroU32::new(65_536).unwrap_or(std::num::NonZeroU32::MIN)
}

fn cors_methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(String::from).into()
}

const fn cors_max_age() -> Interval {
    Interval::secs(600)
}

// === impl UseJwt ===

impl<'de> Deserialize<'de> for UseJwt {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UseJwtVisitor)
    }
}

struct UseJwtVisitor;

impl<'de> serde::de::Visitor<'de> for UseJwtVisitor {
    type Value = UseJwt;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a [jwt.NAME] table, or a table with `issuer`")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<UseJwt, E> {
        Ok(UseJwt(Box::new(JwtPolicy::named(name))))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<UseJwt, A::Error> {
        Box::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(UseJwt)
    }
}

impl JsonSchema for UseJwt {
    fn schema_name() -> Cow<'static, str> {
        "UseJwt".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<JwtPolicy>();
        json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

impl JwtPolicy {
    /// What `jwt = "NAME"` means: a valid token and nothing more.
    pub fn named(issuer: &str) -> Self {
        Self {
            issuer: String::from(issuer).into(),
            scopes: OneOrMany::default(),
            claims: BTreeMap::new(),
            headers: BTreeMap::new(),
            forward_token: true,
            mode: Mode::Enforce,
        }
    }
}

// === impl LimitKey ===

impl std::str::FromStr for LimitKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let key = match text.split_once('.') {
            None if text == "client" => Some(Self::Client),
            None if text == "route" => Some(Self::Route),
            Some(("header", name)) => name.parse().ok().map(Self::Header),
            Some(("jwt", claim)) if !claim.is_empty() => Some(Self::Claim(claim.into())),
            _ => None,
        };
        key.ok_or_else(|| {
            format!(
                "`{text}` is no key: write \"client\", \"route\", \"header.NAME\" or \"jwt.CLAIM\""
            )
        })
    }
}

impl<'de> Deserialize<'de> for LimitKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::at::from_text(deserializer, "what tells callers apart, such as \"client\"")
    }
}

impl JsonSchema for LimitKey {
    fn schema_name() -> Cow<'static, str> {
        "LimitKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^(client|route|header\..+|jwt\..+)$" })
    }
}

// === impl CircuitBreaker ===

impl Default for CircuitBreaker {
    fn default() -> Self {
        let count = |n| std::num::NonZeroU32::new(n).unwrap_or(std::num::NonZeroU32::MIN);
        Self {
            failure_rate: Percent(0.5),
            slow_call_rate: None,
            slow_call: Interval::secs(60),
            minimum_calls: count(100),
            window: BreakerWindow::Calls(count(100)),
            open_for: Interval::secs(60),
            half_open_calls: count(10),
            mode: Mode::Enforce,
        }
    }
}

// === impl BreakerWindow ===

impl<'de> Deserialize<'de> for BreakerWindow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BreakerWindowVisitor)
    }
}

struct BreakerWindowVisitor;

impl serde::de::Visitor<'_> for BreakerWindowVisitor {
    type Value = BreakerWindow;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a number of calls such as 100, or a time such as \"10s\"")
    }

    fn visit_i64<E: serde::de::Error>(self, calls: i64) -> Result<BreakerWindow, E> {
        let calls = u32::try_from(calls).ok().and_then(std::num::NonZeroU32::new);
        calls
            .map(BreakerWindow::Calls)
            .ok_or_else(|| E::custom("a window of calls holds at least 1"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<BreakerWindow, E> {
        let time: Interval = text.parse().map_err(E::custom)?;
        if time.0 < std::time::Duration::from_secs(1) {
            return Err(E::custom("a window of time is at least 1s"));
        }
        Ok(BreakerWindow::Time(time))
    }
}

impl JsonSchema for BreakerWindow {
    fn schema_name() -> Cow<'static, str> {
        "BreakerWindow".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = generator.subschema_for::<Interval>();
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 1 }, time] })
    }
}

// === impl Network ===

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse().ok().map(|ip: std::net::IpAddr| ip.into()));
        net.map(Self).ok_or_else(|| {
            format!("`{text}` is no address or network: write \"10.0.0.1\" or \"10.0.0.0/8\"")
        })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::at::from_text(deserializer, "an address or a network")
    }
}

impl JsonSchema for Network {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
