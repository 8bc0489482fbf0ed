//! Instances that keep themselves registered, as clients of a registry do.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinHandle,
};

use crate::api::{Api, Record};

const EVERY: Duration = Duration::from_secs(1);

/// Beats for each record, every second, until it is dropped.
pub(super) struct Beats {
    alive: Arc<Mutex<Alive>>,
    task: JoinHandle<()>,
}

/// The instances that beat. While it is held no beat is on its way.
pub(super) struct Alive {
    /// A server that was started anew wants a new token.
    pub(super) api: Api,
    pub(super) records: Vec<Record>,
    pub(super) paused: bool,
}

// === impl Beats ===

impl Beats {
    pub(super) fn start(api: Api) -> Self {
        let alive = Arc::new(Mutex::new(Alive { api, records: Vec::new(), paused: false }));
        let beating = alive.clone();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                beating.lock().await.beat().await;
            }
        });
        Self { alive, task }
    }

    pub(super) async fn hold(&self) -> MutexGuard<'_, Alive> {
        self.alive.lock().await
    }
}

impl Drop for Beats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Alive ===

impl Alive {
    async fn beat(&self) {
        for record in self.records.iter().filter(|_| !self.paused) {
            if !self.api.beat(record).await {
                return;
            }
        }
    }
}
