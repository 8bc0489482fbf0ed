//! `[upstream.NAME]`: a service that routes forward to.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    At,
    units::{Interval, Percent},
};

/// A service: where its instances come from, and how they are called.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// Fixed instances, instead of a registry. Host names are resolved in the background.
    pub instances: Option<Vec<At<FixedInstance>>>,
    /// The service's name in its registry. Default: the upstream's name.
    pub service: Option<At<String>>,
    /// Which registry knows it. Default: the only one.
    pub registry: Option<At<String>>,
    /// What its instances speak.
    pub protocol: Protocol,
    /// Call the instances over TLS.
    pub tls: Option<UpstreamTls>,
    /// Every wait that a call may take; all are set by default.
    pub timeouts: Timeouts,
    /// When a failed try is made again on another instance.
    pub retries: Retries,
    /// When an instance that fails is left out for a while.
    pub ejection: Ejection,
}

/// One address of an upstream that is written in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedInstance {
    pub address: InstanceAddress,
    /// Its share of the traffic, relative to the others; 0 drains it.
    pub weight: f64,
    pub metadata: BTreeMap<String, String>,
}

/// `IP:PORT`, or `HOST:PORT` to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum InstanceAddress {
    Host { name: String, port: u16 },
    Socket(SocketAddr),
}

/// What the instances of an upstream speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1. WebSocket needs it.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge without TLS (h2c), by ALPN with it. gRPC needs it.
    Http2,
}

/// TLS to the instances.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTls {
    /// The name that the certificate must carry, sent as SNI.
    pub sni: String,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// The waits of one call. `"0"` is not allowed: an unbounded wait is how a gateway dies.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect, TLS handshake included.
    pub connect: Interval,
    /// Between two reads of a response; never more than what is left of `total` when the try begins.
    pub read: Interval,
    /// Between two writes of a request.
    pub write: Interval,
    /// How long an unused connection is kept. Keep it below the instances' own keep-alive.
    pub idle: Interval,
    /// From the arrival of the request to the head of the response, all tries together.
    pub total: Interval,
}

/// Tries on other instances: after a failed connect always, after a dead reused connection for idempotent methods.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retries {
    /// Tries in all, the first included; 1 switches retries off.
    pub tries: std::num::NonZeroU8,
    /// Retries that may run at once, as a share of the requests that do.
    pub budget: Percent,
    /// Retries that may run whatever the share says.
    pub floor: u32,
}

/// Leaving out an instance that fails (outlier detection).
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Ejection {
    /// Failed calls in a row that eject an instance; 0 switches ejection off.
    pub consecutive_failures: u32,
    /// How long the first ejection lasts; each further one is longer by as much.
    pub base_time: Interval,
    /// The longest ejection.
    pub max_time: Interval,
    /// At most this share of an upstream's instances is ejected at once, though one always may be where there are two.
    pub max_share: Percent,
    /// With fewer than this share of instances usable, all that are not disabled are used: better a bad one than none.
    pub panic_threshold: Percent,
}

// === impl FixedInstance ===

impl<'de> Deserialize<'de> for FixedInstance {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FixedInstanceVisitor)
    }
}

/// The table form of an instance.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FixedInstanceTable {
    address: InstanceAddress,
    #[serde(default = "one")]
    #[schemars(range(min = 0.0, max = 10_000.0))]
    weight: f64,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

struct FixedInstanceVisitor;

impl<'de> serde::de::Visitor<'de> for FixedInstanceVisitor {
    type Value = FixedInstance;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an address such as \"10.0.0.1:8080\", or a table with `address` and `weight`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FixedInstance, E> {
        let address = text.parse().map_err(E::custom)?;
        Ok(FixedInstance { address, weight: 1.0, metadata: BTreeMap::new() })
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<FixedInstance, A::Error> {
        let table =
            FixedInstanceTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        if !table.weight.is_finite() || !(0.0..=10_000.0).contains(&table.weight) {
            return Err(serde::de::Error::custom("a weight is a number from 0 to 10000"));
        }
        Ok(FixedInstance { address: table.address, weight: table.weight, metadata: table.metadata })
    }
}

fn one() -> f64 {
    1.0
}

impl JsonSchema for FixedInstance {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FixedInstance".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let table = generator.subschema_for::<FixedInstanceTable>();
        schemars::json_schema!({ "anyOf": [{ "type": "string" }, table] })
    }
}

// === impl InstanceAddress ===

impl std::str::FromStr for InstanceAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return if address.port() == 0 {
                Err(format!("`{text}` has port 0"))
            } else {
                Ok(Self::Socket(address))
            };
        }
        let wrong = || {
            format!(
                "`{text}` is not an address: write \"10.0.0.1:8080\", \"[::1]:8080\" or \"host.example:8080\""
            )
        };
        let (name, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let label = |l: &str| {
            !l.is_empty()
                && l.len() < 64
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let bare = name.strip_suffix('.').unwrap_or(name);
        // All digits and dots would be a mistyped IP address and not a name.
        let numeric = bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if numeric || bare.len() > 253 || !bare.split('.').all(label) {
            return Err(wrong());
        }
        Ok(Self::Host { name: name.to_ascii_lowercase(), port })
    }
}

impl std::fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Socket(address) => address.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for InstanceAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::at::from_text(deserializer, "an address")
    }
}

impl JsonSchema for InstanceAddress {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "InstanceAddress".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

// === impl Timeouts, Retries, Ejection ===

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Interval::secs(3),
            read: Interval::secs(30),
            write: Interval::secs(30),
            idle: Interval::secs(30),
            total: Interval::secs(60),
        }
    }
}

impl Default for Retries {
    fn default() -> Self {
        let tries = std::num::NonZeroU8::new(2).unwrap_or(std::num::NonZeroU8::MIN);
        Self { tries, budget: Percent(0.2), floor: 3 }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            consecutive_failures: 5,
            base_time: Interval::secs(30),
            max_time: Interval::secs(300),
            max_share: Percent(0.5),
            panic_threshold: Percent(0.5),
        }
    }
}
