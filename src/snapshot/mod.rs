//! Everything built from one version of the config: immutable, swapped whole.
//!
//! `reload` builds it, and each request pins one from beginning to end. What did not change is carried over from the
//! snapshot before by identity, with its state: buckets, breakers, ejections, connections.

mod pin;
mod route;
mod upstreams;
mod wiring;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use http::HeaderName;

use crate::{
    config::{self, At, Config},
    policy::{client::TrustedProxies, jwt::Issuer},
    route::{BadRoute, Table},
    telemetry::metrics::{Metrics, RouteMetrics},
    upstream::Upstream,
};

pub use pin::{Pin, Pins};
pub use route::{Action, Destination, Guarded, Limit, Route, Target};
pub use upstreams::Origin;
pub use wiring::Wiring;

/// One config, ready to decide on requests.
pub struct Snapshot {
    config: Config,
    version: String,
    table: Table,
    routes: Vec<Arc<Route>>,
    by_name: BTreeMap<Arc<str>, usize>,
    unmatched: Arc<RouteMetrics>,
    upstreams: BTreeMap<Arc<str>, Served>,
    issuers: BTreeMap<String, Arc<Issuer>>,
    trusted_proxies: TrustedProxies,
    identity_headers: Vec<HeaderName>,
}

/// An upstream, and where its instances come from.
pub struct Served {
    pub upstream: Arc<Upstream>,
    pub origin: Origin,
}

/// Something that the config asks for and that cannot be built: a key, a certificate authority, a header.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct BuildError {
    /// Bytes of the config file.
    pub span: Option<Range<usize>>,
    pub message: String,
}

impl Snapshot {
    /// Builds a checked config. `version` names it in logs and on the status page; `before` is what runs now.
    ///
    /// A route that nothing has changed about is the one that runs, so that a swap costs what it changes.
    pub fn build(
        mut config: Config,
        version: String,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let issuers = build_issuers(&config, before)?;
        let upstreams = upstreams::build(&config, before)?;
        let parts = route::Parts { upstreams: &upstreams, issuers: &issuers, metrics, before };
        let mut routes = Vec::with_capacity(config.route.len());
        for written in &mut config.route {
            let route = match unchanged(written, &parts) {
                Some(running) => {
                    // Equal but for where it stands in the file; one of the two is enough.
                    *written = running.config().clone();
                    running
                }
                None => Arc::new(Route::build(written, &parts)?),
            };
            routes.push(route);
        }
        let mut identity_headers: Vec<_> =
            routes.iter().flat_map(|route| route.identity_headers()).cloned().collect();
        identity_headers.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        identity_headers.dedup();
        Ok(Self {
            table: Table::new(&config.route).map_err(|bad| bad_route(&config, &bad))?,
            by_name: routes
                .iter()
                .enumerate()
                .map(|(index, route)| (route.name.clone(), index))
                .collect(),
            routes,
            unmatched: metrics.unmatched().clone(),
            upstreams,
            issuers,
            trusted_proxies: TrustedProxies::new(&config.server.trusted_proxies),
            identity_headers,
            version,
            config,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The first digits of the hash of the file that it was built from.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// The route at a place of the file, as [`Table`] counts them.
    pub fn route(&self, index: usize) -> Option<&Arc<Route>> {
        self.routes.get(index)
    }

    fn route_named(&self, name: &str) -> Option<&Arc<Route>> {
        self.by_name.get(name).and_then(|index| self.routes.get(*index))
    }

    pub fn upstreams(&self) -> &BTreeMap<Arc<str>, Served> {
        &self.upstreams
    }

    /// Lets go of verified tokens that have ended by `now`, in seconds since 1970.
    pub fn forget_ended_tokens(&self, now: u64) {
        for issuer in self.issuers.values() {
            issuer.forget_ended(now);
        }
    }

    /// Where requests are counted that no route takes.
    pub fn unmatched(&self) -> &RouteMetrics {
        &self.unmatched
    }

    pub fn trusted_proxies(&self) -> &TrustedProxies {
        &self.trusted_proxies
    }

    /// Headers that some route sets from claims; a client's own are removed on every route.
    pub fn identity_headers(&self) -> &[HeaderName] {
        &self.identity_headers
    }
}

/// The route that runs, where it and all that it was built from are as before.
fn unchanged(written: &config::Route, parts: &route::Parts<'_>) -> Option<Arc<Route>> {
    let before = parts.before?;
    let running = before.route_named(&written.name)?;
    if running.config() != written {
        return None;
    }
    let same_upstream = |target: &Target| {
        let served = parts.upstreams.get(&target.name);
        served.is_some_and(|served| Arc::ptr_eq(&served.upstream, &target.upstream))
    };
    let same_issuer = |config::UseJwt(jwt): &config::UseJwt| {
        let name = jwt.issuer.as_str();
        let issuers = parts.issuers.get(name).zip(before.issuers.get(name));
        issuers.is_some_and(|(now, before)| Arc::ptr_eq(now, before))
    };
    let same = running.targets().iter().all(same_upstream) && written.jwt.iter().all(same_issuer);
    same.then(|| running.clone())
}

/// Keys are read anew each time, since they may stand in files; an issuer with the same keys keeps its cache.
fn build_issuers(
    config: &Config,
    before: Option<&Snapshot>,
) -> Result<BTreeMap<String, Arc<Issuer>>, BuildError> {
    let build = |(name, jwt): (&String, &config::Jwt)| match Issuer::new(jwt) {
        Ok(issuer) => {
            let running = before.and_then(|before| before.issuers.get(name));
            let kept = running.filter(|running| running.takes_the_same(&issuer)).cloned();
            Ok((name.clone(), kept.unwrap_or_else(|| Arc::new(issuer))))
        }
        Err(error) => {
            let span = jwt.keys.as_ref().and_then(At::span);
            Err(BuildError {
                span,
                message: format!("the keys of [jwt.{name}] cannot be used: {error}"),
            })
        }
    };
    config.jwt.iter().map(build).collect()
}

fn bad_route(config: &Config, bad: &BadRoute) -> BuildError {
    let (BadRoute::Pattern(index, _) | BadRoute::Predicate(index, _)) = bad;
    BuildError {
        span: config.route.get(*index).and_then(|route| route.path.span()),
        message: bad.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::BuildInfo;

    const TEXT: &str = "[upstream.one]\ninstances = [\"127.0.0.1:9001\"]\n\
         [upstream.two]\ninstances = [\"127.0.0.1:9002\"]\n\
         [[route]]\nname = \"a\"\npath = \"/a\"\nto = \"one\"\n\
         [[route]]\nname = \"b\"\npath = \"/b\"\nto = { one = 1, two = 1 }\n\
         [[route]]\nname = \"c\"\npath = \"/c\"\nanswer = {}\n";

    fn build(text: &str, metrics: &Metrics, before: Option<&Snapshot>) -> Snapshot {
        let checked =
            config::parse("routes.toml", text, std::path::Path::new(""), &|_| None).unwrap();
        Snapshot::build(checked.config, "1".into(), metrics, before).unwrap()
    }

    /// Which routes of the second text are those of the first, by name.
    fn kept(text: &str) -> Vec<String> {
        let metrics = Metrics::new(BuildInfo { version: "", revision: "", rustc: "" });
        let first = build(TEXT, &metrics, None);
        let second = build(text, &metrics, Some(&first));
        let kept = second.routes.iter().filter(|route| {
            first.route_named(&route.name).is_some_and(|before| Arc::ptr_eq(before, route))
        });
        kept.map(|route| route.name.to_string()).collect()
    }

    #[test]
    fn what_did_not_change_is_the_same_route() {
        assert_eq!(kept(TEXT), ["a", "b", "c"]);
        assert_eq!(kept(&format!("# moved\n\n{TEXT}")), ["a", "b", "c"]);
        assert_eq!(kept(&TEXT.replace("path = \"/a\"", "path = \"/A\"")), ["b", "c"]);
    }

    #[test]
    fn a_route_is_built_anew_with_what_it_forwards_to() {
        assert_eq!(
            kept(&TEXT.replace("[upstream.two]", "[upstream.two]\nretries = { tries = 1 }")),
            ["a", "c"]
        );
        assert_eq!(kept(&TEXT.replace("9001", "9003")), ["c"]);
    }
}
