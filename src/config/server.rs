//! `[server]`, `[listener.NAME]`, `[admin]` and `[access_log]`: the process and its doors.

use std::{net::SocketAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    At, Network, Secret,
    units::{Interval, Size},
};

/// The process.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Threads that carry requests. Default: one for each core.
    pub threads: Option<std::num::NonZeroUsize>,
    /// Proxies in front of tollgate. Only from them are `X-Forwarded-*`, `X-Request-Id` and `traceparent` believed.
    pub trusted_proxies: Vec<Network>,
    /// How long a start or a reload waits for the first view of new services before it goes on without them.
    pub boot_timeout: Interval,
    /// After SIGTERM: how long new connections are still accepted while readiness already fails.
    pub drain_delay: Interval,
    /// After the drain delay: how long requests in flight may take to finish.
    pub drain_timeout: Interval,
    /// Where copies of registry views are kept, so that a start does not need its registry. None: no copies.
    pub state_dir: Option<PathBuf>,
}

/// An address that requests come in on.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port; port 0 lets the system choose.
    #[schemars(with = "String")]
    pub address: At<SocketAddr>,
    /// One certificate and its key: makes this an HTTPS listener with HTTP/1.1 and HTTP/2 by ALPN.
    pub tls: Option<ListenerTls>,
    /// How long an idle connection is kept open.
    #[serde(default = "keep_alive")]
    pub keep_alive: Interval,
    /// Request line and headers together; more is answered with 431.
    #[serde(default = "max_head")]
    pub max_head: Size,
    /// How long a client may be silent while it sends its request.
    #[serde(default = "read_timeout")]
    pub read_timeout: Interval,
    /// How long a client may leave what is sent to it unread.
    #[serde(default = "write_timeout")]
    pub write_timeout: Interval,
}

/// A certificate chain and its private key, both PEM files.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    #[schemars(with = "PathBuf")]
    pub certificate: At<PathBuf>,
    #[schemars(with = "PathBuf")]
    pub key: At<PathBuf>,
}

/// Health, metrics and the status API, on a listener of its own.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Address and port. Other than loopback only with a token.
    #[schemars(with = "String")]
    pub address: At<SocketAddr>,
    /// Asked for as `Authorization: Bearer` on everything but `/livez` and `/readyz`.
    pub token: Option<Secret>,
}

/// One JSON line for each request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AccessLog {
    /// `"stdout"`, `"off"`, or the path of a file that is appended to.
    pub output: LogOutput,
}

/// Where access-log lines go.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum LogOutput {
    File(PathBuf),
    Off,
    #[default]
    Stdout,
}

// === impl Server ===

impl Default for Server {
    fn default() -> Self {
        Self {
            threads: None,
            trusted_proxies: Vec::new(),
            boot_timeout: Interval::secs(10),
            drain_delay: Interval::secs(5),
            drain_timeout: Interval::secs(30),
            state_dir: None,
        }
    }
}

// === impl Listener ===

impl Default for Listener {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 8080)).into(),
            tls: None,
            keep_alive: keep_alive(),
            max_head: max_head(),
            read_timeout: read_timeout(),
            write_timeout: write_timeout(),
        }
    }
}

const fn keep_alive() -> Interval {
    Interval::secs(60)
}

const fn max_head() -> Size {
    Size::kib(32)
}

const fn read_timeout() -> Interval {
    Interval::secs(15)
}

const fn write_timeout() -> Interval {
    Interval::secs(30)
}

// === impl Admin ===

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9180)).into(), token: None }
    }
}

// === impl LogOutput ===

impl<'de> Deserialize<'de> for LogOutput {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

impl JsonSchema for LogOutput {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LogOutput".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}
