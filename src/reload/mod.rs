//! From a changed file to a swapped snapshot: parse, check, build, wait for first views, swap.
//!
//! Called at the start, by the file watch, by SIGHUP and by the admin API. A config that is refused at any step changes
//! nothing, and says why on the log, in a metric and on the status API.

mod aside;
mod change;
mod pinned;
mod retired;
mod source;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;

use crate::{
    config::Diagnostics,
    registry::{Keepers, RegistryStatus},
    snapshot::{BuildError, Pins, Snapshot, Wiring},
    telemetry::metrics::Metrics,
};

pub use aside::{AsideError, aside};
pub use change::Change;
pub use source::{Loaded, Source};
pub use watch::{ContentHash, Watch};

use retired::Retired;

/// The name of the thread that reads and builds.
const THREAD: &str = "tollgate-reload";

/// Swaps snapshots. There is one for each gateway, and one reload at a time.
pub struct Reloader {
    source: Source,
    snapshots: Arc<Pins>,
    keepers: Keepers,
    metrics: Metrics,
    /// Held by the one reload that runs.
    reloading: Arc<tokio::sync::Mutex<()>>,
    /// Never held over a wait: a scrape must not stand behind a reload.
    wiring: Mutex<Arc<Wiring>>,
    last: Mutex<Last>,
    retired: Retired,
}

/// A snapshot that is ready to be swapped in.
struct Prepared {
    snapshot: Arc<Snapshot>,
    wiring: Wiring,
    change: Change,
    boot_timeout: Duration,
}

/// How the last reload went.
#[derive(Clone)]
struct Last {
    applied_at: SystemTime,
    /// Why the file that is there now was refused, if it was.
    refused: Option<Arc<Diagnostics>>,
}

/// What the status API says of the config.
#[derive(Debug, serde::Serialize)]
pub struct ConfigStatus {
    pub path: Option<PathBuf>,
    /// The first digits of the hash of the text that runs.
    pub version: String,
    /// Seconds since it was swapped in.
    pub age_seconds: u64,
    pub last_reload_successful: bool,
    /// Each problem of the file that was refused, as `file:line:column: message`.
    pub problems: Vec<String>,
}

impl Reloader {
    /// Builds the first snapshot and starts its keepers. Has to be called within the background runtime.
    pub fn start(
        source: Source,
        loaded: &Loaded,
        keepers: Keepers,
        metrics: Metrics,
    ) -> Result<Self, Diagnostics> {
        let version = loaded.hash.short();
        let refused = |error: BuildError| loaded.refuse("cannot-build", error.message, error.span);
        let snapshot = Snapshot::build(loaded.config.clone(), version.clone(), &metrics, None)
            .map_err(refused)?;
        let wiring = Wiring::connect(&snapshot, &keepers).map_err(refused)?;
        metrics.config_started(&version, SystemTime::now());
        Ok(Self {
            source,
            snapshots: Arc::new(Pins::new(&Arc::new(snapshot))),
            keepers,
            metrics,
            reloading: Arc::default(),
            retired: Retired::default(),
            wiring: Mutex::new(Arc::new(wiring)),
            last: Mutex::new(Last { applied_at: SystemTime::now(), refused: None }),
        })
    }

    /// Where the current snapshot is always found.
    pub fn snapshots(&self) -> Arc<Pins> {
        self.snapshots.clone()
    }

    /// Waits for the first view of every service, at most for the boot time-out. True when all came.
    pub async fn first_views(&self) -> bool {
        // A reload meanwhile would leave two wirings to feed the same upstreams.
        let _reloading = self.reloading.lock().await;
        let bound = self.boot_timeout();
        let wiring = self.wiring.lock().clone();
        wiring.first_views(bound).await
    }

    fn boot_timeout(&self) -> Duration {
        self.snapshots.load().config().server.boot_timeout.0
    }

    /// Reads the file again and swaps what it says in, or changes nothing.
    pub async fn reload(self: &Arc<Self>) -> Result<Change, Arc<Diagnostics>> {
        // Two reloads at once could overtake each other.
        let reloading = self.reloading.clone().lock_owned().await;
        let began = Instant::now();
        let this = self.clone();
        let prepared = match aside(THREAD, move || this.prepare()).await {
            Ok(prepared) => prepared.map_err(|problems| self.refuse(problems))?,
            Err(error) => return Err(self.refuse(self.source.refuse(&error))),
        };
        if !prepared.wiring.first_views(prepared.boot_timeout).await {
            tracing::warn!(
                "Some services were not heard of in time; their routes answer 503 until they are"
            );
        }
        let change = prepared.change.clone();
        let before = self.swap(&prepared, began);
        let this = self.clone();
        let settled = aside(THREAD, move || {
            this.settle(prepared, before);
            drop(reloading);
        });
        if let Err(error) = settled.await {
            tracing::error!(%error, "The registries of the new config may be heard of late");
        }
        Ok(change)
    }

    /// All that a swap needs but the first views. Takes its time, on a thread of its own.
    fn prepare(&self) -> Result<Prepared, Diagnostics> {
        let before = self.snapshots.load();
        let loaded = self.source.load()?;
        if loaded.is_empty() {
            let why = "the file is empty, as one is that is still being written";
            return Err(loaded.refuse("empty-file", why.into(), Some(0..0)));
        }
        let boot_timeout = loaded.config.server.boot_timeout.0;
        let refused = |error: BuildError| loaded.refuse("cannot-build", error.message, error.span);
        if let Err(change) = pinned::refuse_changes(before.config(), &loaded.config) {
            return Err(loaded.refuse("restart-needed", change.to_string(), change.span));
        }
        let snapshot = Snapshot::build(
            loaded.config.clone(),
            loaded.hash.short(),
            &self.metrics,
            Some(&before),
        )
        .map_err(refused)?;
        let wiring = Wiring::connect(&snapshot, &self.keepers).map_err(refused)?;
        let change = Change::between(before.config(), snapshot.config());
        Ok(Prepared { snapshot: Arc::new(snapshot), wiring, change, boot_timeout })
    }

    /// Puts what was prepared in the place of what runs, which it gives back.
    fn swap(&self, prepared: &Prepared, began: Instant) -> Arc<Snapshot> {
        let before = self.snapshots.load();
        self.snapshots.store(&prepared.snapshot);
        let took = began.elapsed();
        let version = prepared.snapshot.version();
        self.metrics.config_reloaded(version, SystemTime::now(), took);
        *self.last.lock() = Last { applied_at: SystemTime::now(), refused: None };
        let (took, change) = (took.as_secs_f64() * 1000.0, &prepared.change);
        tracing::info!("Config {} -> {version} in {took:.1} ms: {change}", before.version());
        before
    }

    /// What has time until after a swap.
    fn settle(&self, prepared: Prepared, before: Arc<Snapshot>) {
        let Prepared { snapshot, wiring, .. } = prepared;
        let replaced = std::mem::replace(&mut *self.wiring.lock(), Arc::new(wiring));
        // While an edited registry's old keeper was there too, that may have had the last word on an instance list. To
        // subscribe anew has the new one say again what it knows.
        if let Ok(settled) = Wiring::connect(&snapshot, &self.keepers) {
            let prepared = std::mem::replace(&mut *self.wiring.lock(), Arc::new(settled));
            drop(prepared);
        }
        drop(replaced);
        self.retired.keep(before);
    }

    /// Lets go of snapshots that no request sees any more. Called now and then, on any thread but a request's.
    pub fn forget_retired(&self) {
        self.retired.forget();
    }

    fn refuse(&self, problems: Diagnostics) -> Arc<Diagnostics> {
        let problems = Arc::new(problems);
        self.metrics.config_refused();
        self.last.lock().refused = Some(problems.clone());
        tracing::error!("The new config is refused and the old one stays: {problems}");
        problems
    }

    /// Reloads whenever the file has other content. Never returns.
    pub async fn follow_file(self: &Arc<Self>, seen: ContentHash) {
        let Some(path) = self.source.path() else { return std::future::pending().await };
        let mut watch = Watch::start(path, seen);
        loop {
            watch.changed().await;
            // Both outcomes are logged and kept where they happen.
            let _ = self.reload().await;
        }
    }

    pub fn config_status(&self) -> ConfigStatus {
        let last = self.last.lock().clone();
        ConfigStatus {
            path: self.source.path().map(Path::to_owned),
            version: self.snapshots.load().version().to_owned(),
            age_seconds: last.applied_at.elapsed().map_or(0, |age| age.as_secs()),
            last_reload_successful: last.refused.is_none(),
            problems: last.refused.map_or_else(Vec::new, |refused| refused.lines().collect()),
        }
    }

    /// The state of every registry that the current snapshot uses.
    pub fn registry_status(&self) -> Vec<RegistryStatus> {
        let wiring = self.wiring.lock().clone();
        wiring.keepers().map(|keeper| keeper.status()).collect()
    }
}
