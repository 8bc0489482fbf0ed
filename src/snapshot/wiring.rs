//! Ties the upstreams of a snapshot to the keepers of their registries.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{BuildError, Origin, Snapshot};
use crate::registry::{Keeper, Keepers, Source, Subscription};

/// The name under which fixed instances are kept.
const FIXED: &str = "fixed";

/// The keepers that feed one snapshot. Dropping it ends the subscriptions, and the keepers that nobody else uses.
///
/// It belongs to the snapshot that is current, not to the snapshot: a request may pin an old one for hours, and no
/// registry is to be watched for that.
pub struct Wiring {
    keepers: BTreeMap<String, Arc<Keeper>>,
    subscriptions: Vec<Subscription>,
}

impl Wiring {
    /// Starts or finds the keepers that the snapshot needs, and subscribes its upstreams.
    pub fn connect(snapshot: &Snapshot, keepers: &Keepers) -> Result<Self, BuildError> {
        let mut wiring = Self { keepers: BTreeMap::new(), subscriptions: Vec::new() };
        // One that no route uses yet is kept too: instances register with an embedded registry before routes name them.
        for name in snapshot.config.registry.keys() {
            let origin = Origin::Registry { registry: name.clone(), service: String::new() };
            wiring.keeper(name, &origin, snapshot, keepers)?;
        }
        for (name, served) in &snapshot.upstreams {
            let (registry, service) = match &served.origin {
                Origin::Fixed => (FIXED, &**name),
                Origin::Registry { registry, service } => (registry.as_str(), service.as_str()),
            };
            let keeper = wiring.keeper(registry, &served.origin, snapshot, keepers)?;
            let upstream = served.upstream.clone();
            let subscription = keeper.subscribe(service, move |view| {
                let applied = upstream.apply(view, Instant::now());
                tracing::debug!(?applied, "A view was applied");
            });
            wiring.subscriptions.push(subscription);
        }
        Ok(wiring)
    }

    fn keeper(
        &mut self,
        name: &str,
        origin: &Origin,
        snapshot: &Snapshot,
        keepers: &Keepers,
    ) -> Result<Arc<Keeper>, BuildError> {
        // A `[registry.fixed]` is another thing than the instances of the file.
        let key = if *origin == Origin::Fixed { String::new() } else { name.to_owned() };
        if let Some(keeper) = self.keepers.get(&key) {
            return Ok(keeper.clone());
        }
        let source = match (origin, snapshot.config.registry.get(name)) {
            (Origin::Fixed, _) => Source::Fixed(fixed_instances(snapshot)),
            (Origin::Registry { .. }, Some(registry)) => Source::Configured(registry.clone()),
            (Origin::Registry { .. }, None) => {
                return Err(BuildError {
                    span: None,
                    message: format!("there is no [registry.{name}]"),
                });
            }
        };
        let failed =
            |error| BuildError { span: None, message: format!("[registry.{name}]: {error}") };
        let keeper = keepers.keeper(name, &source).map_err(failed)?;
        self.keepers.insert(key, keeper.clone());
        Ok(keeper)
    }

    /// The keepers that run, by the name of their registry.
    pub fn keepers(&self) -> impl Iterator<Item = &Arc<Keeper>> {
        self.keepers.values()
    }

    /// Waits until every service was heard of once, at most for `bound`. True when all were.
    pub async fn first_views(&self, bound: Duration) -> bool {
        let all = join_all(self.subscriptions.iter().map(Subscription::first_view));
        tokio::time::timeout(bound, all).await.is_ok()
    }
}

fn fixed_instances(snapshot: &Snapshot) -> BTreeMap<String, Vec<crate::config::FixedInstance>> {
    let fixed = snapshot
        .config
        .upstream
        .iter()
        .filter_map(|(name, upstream)| Some((name, upstream.instances.as_ref()?)));
    fixed
        .map(|(name, instances)| {
            (name.clone(), instances.iter().map(|instance| (**instance).clone()).collect())
        })
        .collect()
}
