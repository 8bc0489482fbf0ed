//! What the operator wrote: plain data, one type for each table of `routes.toml`.
//!
//! Everything here is what was written and nothing more; the modules above build themselves from it. It imports
//! nothing of tollgate, and a `Config` that exists has been checked: every name in it refers to something.

mod at;
mod blank;
mod check;
mod conform;
mod diagnostics;
mod expand;
mod jwt;
mod later;
mod load;
mod max_body;
mod place;
mod policy;
mod registry;
mod route;
mod schema;
mod secret;
mod server;
mod shown;
mod syntax;
mod typed;
#[cfg(test)]
mod tests;
pub mod units;
mod upstream;

use std::collections::BTreeMap;

use schemars::JsonSchema;

pub use at::{At, OneOrMany};
pub use diagnostics::{Diagnostic, Diagnostics, Severity};
pub use jwt::{Algorithm, Jwt, KeySource};
pub use load::{Checked, LARGEST_FILE, Loaded, load, parse};
pub use max_body::MaxBody;
pub use policy::{
    BreakerWindow, CircuitBreaker, Cors, IpFilter, JwtPolicy, LimitKey, Mode, Network, RateLimit,
    UseJwt,
};
pub use registry::{EmbeddedRegistry, FileRegistry, Graces, NacosRegistry, Registry, RegistryKind};
pub use route::{
    Answer, HeaderEdits, HostPattern, PathPattern, Redirect, Rewrite, Route, Segment, Targets,
    ValueMatch, WeightedTarget, WrittenRoute,
};
pub use schema::schema;
pub use secret::Secret;
pub use server::{AccessLog, Admin, Listener, ListenerTls, LogOutput, Server};
pub use upstream::{
    Ejection, FixedInstance, InstanceAddress, Protocol, Retries, Timeouts, Upstream, UpstreamTls,
};

/// One `routes.toml`, whole.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Config {
    /// The process: threads, trusted proxies, how it starts and drains.
    pub server: Server,
    /// Addresses that requests come in on. Without any, one named `http` on `0.0.0.0:8080`.
    pub listener: BTreeMap<String, Listener>,
    /// Health, metrics and the status API.
    pub admin: Admin,
    /// One line for each request.
    pub access_log: AccessLog,
    /// Where instances come from.
    pub registry: BTreeMap<String, Registry>,
    /// Who signs tokens, and with which keys.
    pub jwt: BTreeMap<String, Jwt>,
    /// Services that need more than a name: fixed instances, time-outs, TLS.
    pub upstream: BTreeMap<String, Upstream>,
    /// What is asked for, what it must show, and where it goes. Order breaks ties only.
    pub route: Vec<Route>,
}
