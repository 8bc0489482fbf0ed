//! The upstreams of one config: those that the file declares, and those that routes name without declaring them.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use super::{BuildError, Served, Snapshot};
use crate::{
    config::{self, Config},
    registry,
    upstream::{InstanceStatus, Upstream},
};

/// Where the instances of an upstream come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// The file itself.
    Fixed,
    /// A service of a registry.
    Registry { registry: String, service: String },
}

/// Builds every upstream that a route names. One whose table and origin are as before is carried over.
pub(super) fn build(
    config: &Config,
    before: Option<&Snapshot>,
) -> Result<BTreeMap<Arc<str>, Served>, BuildError> {
    let mut built = BTreeMap::new();
    let undeclared = config::Upstream::default();
    for name in named_by_routes(config) {
        let declared = config.upstream.get(name).unwrap_or(&undeclared);
        let origin = origin(name, declared, config);
        let upstream = match before.and_then(|before| carried_over(before, name, declared, &origin))
        {
            Some(upstream) => upstream,
            None => create(
                name,
                declared,
                before.and_then(|before| before.upstreams.get(name)),
                &origin,
            )?,
        };
        built.insert(Arc::from(name), Served { upstream, origin });
    }
    Ok(built)
}

fn named_by_routes(config: &Config) -> impl Iterator<Item = &str> {
    let targets = config.route.iter().filter_map(|route| route.to.as_ref()).flat_map(|to| &to.0);
    targets.map(|target| target.upstream.as_str())
}

/// The check of the config has made sure that the registry is there.
fn origin(name: &str, declared: &config::Upstream, config: &Config) -> Origin {
    if declared.instances.is_some() {
        return Origin::Fixed;
    }
    let only = || config.registry.keys().next().cloned().unwrap_or_default();
    let registry = declared.registry.as_ref().map_or_else(only, |registry| registry.to_string());
    let service =
        declared.service.as_ref().map_or_else(|| name.to_owned(), |service| service.to_string());
    Origin::Registry { registry, service }
}

fn carried_over(
    before: &Snapshot,
    name: &str,
    declared: &config::Upstream,
    origin: &Origin,
) -> Option<Arc<Upstream>> {
    let served = before.upstreams.get(name)?;
    let undeclared = config::Upstream::default();
    let was = before.config.upstream.get(name).unwrap_or(&undeclared);
    (was == declared && served.origin == *origin).then(|| served.upstream.clone())
}

/// A new upstream. One that was edited still knows which of its instances failed, where its ejection is as it was; and
/// has those that it had until it is told others: its registry may be out of reach, or have been edited as well.
fn create(
    name: &str,
    declared: &config::Upstream,
    older: Option<&Served>,
    origin: &Origin,
) -> Result<Arc<Upstream>, BuildError> {
    let now = Instant::now();
    let failed = |error| BuildError { span: None, message: format!("[upstream.{name}]: {error}") };
    let upstream = Upstream::new(Arc::new(declared.clone()), now).map_err(failed)?;
    if let Some(older) = older {
        if older.upstream.config().ejection == declared.ejection {
            upstream.inherit(&older.upstream, now);
        }
        if older.origin == *origin && *origin != Origin::Fixed {
            upstream.apply(&view(&older.upstream, now), now);
        }
    }
    Ok(Arc::new(upstream))
}

/// What the registry told of it last.
fn view(upstream: &Upstream, now: Instant) -> Vec<registry::Instance> {
    let told = |status: InstanceStatus| registry::Instance {
        address: status.instance.address,
        weight: status.instance.weight.get(),
        healthy: status.instance.healthy,
        enabled: status.instance.enabled,
        metadata: status.instance.metadata.clone(),
    };
    upstream.status(now).instances.into_iter().map(told).collect()
}
