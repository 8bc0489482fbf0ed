//! Hands out keepers: one for each registry, as long as anyone has it.
//!
//! Held by `server` for the life of the process, asked by `snapshot` whenever a config is built. It never restarts a
//! keeper whose registry is configured as before.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    DiskCopy, Keeper, Registry,
    file::File,
    fixed::Fixed,
    keeper::fingerprint,
    nacos::{self, Nacos},
};
use crate::config::{
    self, FixedInstance, Graces, RegistryKind,
    units::{Interval, Percent},
};

/// A host name that is gone may be back in a moment: servers answer so while a zone is reloaded.
const FIXED_GRACES: Graces = Graces {
    empty_grace: Interval::secs(30),
    reconnect_grace: Interval::secs(0),
    shrink_threshold: Percent(0.7),
};

/// All keepers of the process.
pub struct Keepers {
    handle: Handle,
    embedded: BTreeMap<String, Arc<dyn Registry>>,
    disk: Option<PathBuf>,
    open: Mutex<Vec<Open>>,
}

/// Where the instances of a registry come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// A `[registry.NAME]` of the config.
    Configured(config::Registry),
    /// Instances that upstreams name themselves, by the upstream's name.
    Fixed(BTreeMap<String, Vec<FixedInstance>>),
}

/// Why there is no keeper.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OpenError {
    /// Its listener was not bound when the process started.
    #[error("registry `{0}` is embedded and was not there at the start: restart needed")]
    Restart(String),
    #[error("registry `{0}`: {1}")]
    Address(String, nacos::AddressError),
}

/// A keeper that was handed out, and for what.
struct Open {
    name: String,
    source: Source,
    keeper: Weak<Keeper>,
}

// === impl Keepers ===

impl Keepers {
    /// Keepers run on `handle`. `embedded` are the registries whose listeners are bound; `disk` is the directory of the
    /// disk copies, without which none are kept.
    pub fn new(
        handle: Handle,
        embedded: BTreeMap<String, Arc<dyn Registry>>,
        disk: Option<PathBuf>,
    ) -> Self {
        Self { handle, embedded, disk, open: Mutex::default() }
    }

    /// The keeper of `name`: the one that runs, if it has the same source, and a new one otherwise.
    pub fn keeper(&self, name: &str, source: &Source) -> Result<Arc<Keeper>, OpenError> {
        let mut open = self.open.lock();
        open.retain(|open| open.keeper.strong_count() > 0);
        let same = |open: &&Open| open.name == name && open.source == *source;
        if let Some(keeper) = open.iter().find(same).and_then(|open| open.keeper.upgrade()) {
            return Ok(keeper);
        }
        let kind = self.kind(name, source)?;
        let disk = self.disk.as_ref().map(|disk| DiskCopy::new(disk, name, &source.fingerprint()));
        let keeper = Keeper::start(&self.handle, name.into(), kind, source.graces(), disk);
        let (name, source) = (name.into(), source.clone());
        open.push(Open { name, source, keeper: Arc::downgrade(&keeper) });
        Ok(keeper)
    }

    fn kind(&self, name: &str, source: &Source) -> Result<Arc<dyn Registry>, OpenError> {
        let registry = match source {
            Source::Fixed(services) => return Ok(Arc::new(Fixed::new(services.clone()))),
            Source::Configured(registry) => registry,
        };
        match &registry.kind {
            RegistryKind::Embedded(_) => {
                let embedded = self.embedded.get(name).cloned();
                embedded.ok_or_else(|| OpenError::Restart(name.into()))
            }
            RegistryKind::File(file) => Ok(Arc::new(File::new(file))),
            RegistryKind::Nacos(nacos) => {
                // Not all gateways of a fleet should begin with the same server.
                let kind = Nacos::new(nacos, fastrand::u64(..))
                    .map_err(|e| OpenError::Address(name.into(), e))?;
                Ok(Arc::new(kind))
            }
        }
    }
}

// === impl Source ===

impl Source {
    fn graces(&self) -> Graces {
        match self {
            Self::Configured(registry) => registry.graces,
            Self::Fixed(_) => FIXED_GRACES,
        }
    }

    /// Which registry this is, so that the copy of one is not taken for another's. Secrets print as `***`.
    fn fingerprint(&self) -> String {
        match self {
            Self::Configured(registry) => fingerprint(&format!("{:?}", registry.kind)),
            Self::Fixed(services) => fingerprint(&format!("{services:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FileRegistry;

    fn keepers() -> Keepers {
        Keepers::new(Handle::current(), BTreeMap::new(), None)
    }

    fn file(path: &str, empty_grace: u64) -> Source {
        let kind = RegistryKind::File(FileRegistry {
            path: PathBuf::from(path).into(),
            poll: Interval::secs(2),
        });
        let graces = Graces { empty_grace: Interval::secs(empty_grace), ..kind.default_graces() };
        Source::Configured(config::Registry { kind, graces })
    }

    #[tokio::test]
    async fn a_keeper_is_shared_as_long_as_nothing_of_its_registry_changes() {
        let keepers = keepers();
        let first = keepers.keeper("main", &file("/a.json", 15)).unwrap();
        let again = keepers.keeper("main", &file("/a.json", 15)).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for (name, source) in [
            ("other", file("/a.json", 15)),
            ("main", file("/b.json", 15)),
            ("main", file("/a.json", 16)),
            ("main", Source::Fixed(BTreeMap::new())),
        ] {
            let other = keepers.keeper(name, &source).unwrap();
            assert!(!Arc::ptr_eq(&first, &other), "{name} {source:?}");
        }
        let back = keepers.keeper("main", &file("/a.json", 15)).unwrap();
        assert!(Arc::ptr_eq(&first, &back), "it still ran");
    }

    #[tokio::test]
    async fn a_keeper_that_nobody_has_is_gone() {
        let keepers = keepers();
        let first = keepers.keeper("main", &file("/a.json", 15)).unwrap();
        let weak = Arc::downgrade(&first);
        let subscription = first.subscribe("orders", |_| {});
        drop(first);
        assert!(weak.upgrade().is_some(), "its subscription keeps it");
        drop(subscription);
        assert!(weak.upgrade().is_none());
        keepers.keeper("main", &file("/a.json", 15)).unwrap();
        keepers.keeper("main", &file("/b.json", 15)).unwrap();
        assert_eq!(keepers.open.lock().len(), 1, "what is gone is forgotten");
    }

    #[tokio::test]
    async fn an_embedded_registry_has_to_be_there_at_the_start() {
        let kind = RegistryKind::Embedded(config::EmbeddedRegistry::default());
        let graces = kind.default_graces();
        let source = Source::Configured(config::Registry { kind, graces });
        let error = keepers().keeper("main", &source).err();
        assert_eq!(error, Some(OpenError::Restart("main".into())));
        let embedded: Arc<dyn Registry> = Arc::new(Fixed::new(BTreeMap::new()));
        let bound = [("main".to_owned(), embedded)].into();
        assert!(Keepers::new(Handle::current(), bound, None).keeper("main", &source).is_ok());
    }

    #[tokio::test]
    async fn a_nacos_registry_is_connected_to_in_the_background() {
        let nacos = |address: &str| {
            let table = format!("address = \"{address}\"");
            let kind = RegistryKind::Nacos(toml::from_str(&table).unwrap());
            let graces = kind.default_graces();
            Source::Configured(config::Registry { kind, graces })
        };
        assert!(keepers().keeper("main", &nacos("127.0.0.1:8848")).is_ok());
        let error = keepers().keeper("main", &nacos("no address")).err();
        assert!(matches!(error, Some(OpenError::Address(name, _)) if name == "main"));
    }

    #[tokio::test]
    async fn fixed_instances_are_kept_like_any_others() {
        let address = "127.0.0.1:9001".parse().unwrap();
        let instance = FixedInstance { address, weight: 3.0, metadata: BTreeMap::new() };
        let source = Source::Fixed([("legacy".to_owned(), vec![instance])].into());
        let keeper = keepers().keeper("fixed", &source).unwrap();
        let (sender, mut views) = tokio::sync::mpsc::unbounded_channel();
        let _subscription = keeper.subscribe("legacy", move |view| {
            let _ =
                sender.send(view.iter().map(|i| (i.address.port(), i.weight)).collect::<Vec<_>>());
        });
        let wait = std::time::Duration::from_secs(10);
        let view = tokio::time::timeout(wait, views.recv()).await.unwrap();
        assert_eq!(view, Some(vec![(9001, 3.0)]));
    }
}
