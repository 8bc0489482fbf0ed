//! What is counted once for the whole process.
//!
//! Called at start, at each reload, and at each scrape.

use std::{
    iter,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;

use super::{
    histogram::{Histogram, OVERHEAD, REQUEST, Total},
    names,
    page::Page,
    route::Overhead,
};

/// The `route` of a request that no route matched.
pub const NO_ROUTE: &str = "(none)";

/// What was built: the labels of `tollgate_build_info`.
#[derive(Clone, Copy, Debug)]
pub struct BuildInfo {
    pub version: &'static str,
    pub revision: &'static str,
    pub rustc: &'static str,
}

pub(super) struct Process {
    build: BuildInfo,
    pub(super) overhead: Arc<Overhead>,
    reloads_applied: AtomicU64,
    reloads_refused: AtomicU64,
    reload_duration: Histogram<16>,
    config: Mutex<ConfigState>,
}

struct ConfigState {
    /// None before the first.
    in_use: Option<ConfigInUse>,
    last_reload_successful: bool,
}

struct ConfigInUse {
    hash: String,
    since: SystemTime,
}

// === impl Process ===

impl Process {
    pub(super) fn new(build: BuildInfo) -> Self {
        Self {
            build,
            overhead: Arc::default(),
            reloads_applied: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            reload_duration: Histogram::default(),
            config: Mutex::new(ConfigState { in_use: None, last_reload_successful: true }),
        }
    }

    pub(super) fn config_in_use(&self, hash: &str, since: SystemTime) {
        *self.config.lock() = ConfigState {
            in_use: Some(ConfigInUse { hash: hash.into(), since }),
            last_reload_successful: true,
        };
    }

    pub(super) fn reload_applied(&self, took: Duration) {
        self.reloads_applied.fetch_add(1, Relaxed);
        self.reload_duration.observe(&REQUEST, took);
    }

    pub(super) fn reload_refused(&self) {
        self.reloads_refused.fetch_add(1, Relaxed);
        self.config.lock().last_reload_successful = false;
    }

    pub(super) fn collect(&self, page: &mut Page) {
        let overhead = Total::of(self.overhead.iter());
        page.histogram(&names::HTTP_OVERHEAD_DURATION).sample(&[], &OVERHEAD, &overhead);
        let BuildInfo { version, revision, rustc } = self.build;
        page.gauge(&names::BUILD_INFO)
            .sample(&[("version", version), ("revision", revision), ("rustc", rustc)], 1.0);
        page.counter(&names::CONFIG_RELOADS)
            .sample(&[("result", "applied")], self.reloads_applied.load(Relaxed))
            .sample(&[("result", "refused")], self.reloads_refused.load(Relaxed));
        let durations = Total::of(iter::once(&self.reload_duration));
        page.histogram(&names::CONFIG_RELOAD_DURATION).sample(&[], &REQUEST, &durations);
        let config = self.config.lock();
        page.gauge(&names::CONFIG_LAST_RELOAD_SUCCESSFUL)
            .sample(&[], f64::from(u8::from(config.last_reload_successful)));
        if let Some(ConfigInUse { hash, since }) = &config.in_use {
            page.gauge(&names::CONFIG_INFO).sample(&[("hash", hash)], 1.0);
            page.gauge(&names::CONFIG_LAST_RELOAD_SUCCESS).sample(&[], unix_seconds(*since));
        }
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
