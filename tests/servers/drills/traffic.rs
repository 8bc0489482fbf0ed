//! A steady stream of requests, each of which is counted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::MissedTickBehavior};

use crate::support::client;

/// Between two requests: 200 in a second.
const PACE: Duration = Duration::from_millis(5);

/// Failures that are kept word for word; the rest are counted.
const KEPT: usize = 5;

/// About 200 requests a second to one address, until it is dropped.
pub(super) struct Traffic {
    lap: Arc<Mutex<Lap>>,
    task: JoinHandle<()>,
}

/// What became of the requests since the last one was taken.
#[derive(Debug, Default)]
pub(super) struct Lap {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// The first failures, as status and code, or as why there was no answer.
    pub(super) failures: Vec<String>,
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn start(url: String) -> Self {
        let lap = Arc::<Mutex<Lap>>::default();
        let counted = lap.clone();
        let task = tokio::spawn(async move {
            let client = client();
            let mut pace = tokio::time::interval(PACE);
            pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                pace.tick().await;
                let request = client.get(&url).timeout(Duration::from_secs(10));
                let lap = counted.clone();
                tokio::spawn(async move {
                    let failure = failure(request).await;
                    lap.lock().unwrap().count(failure);
                });
            }
        });
        Self { lap, task }
    }

    /// What has been answered so far; counting begins anew.
    pub(super) fn lap(&self) -> Lap {
        std::mem::take(&mut *self.lap.lock().unwrap())
    }

    pub(super) fn requests(&self) -> u64 {
        self.lap.lock().unwrap().requests
    }

    pub(super) fn failed(&self) -> u64 {
        self.lap.lock().unwrap().failed
    }

    /// Waits until so many more have been answered.
    pub(super) async fn more(&self, requests: u64) {
        let enough = self.requests() + requests;
        while self.requests() < enough {
            tokio::time::sleep(PACE).await;
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Lap ===

impl Lap {
    fn count(&mut self, failure: Option<String>) {
        self.requests += 1;
        let Some(failure) = failure else { return };
        self.failed += 1;
        if self.failures.len() < KEPT {
            self.failures.push(failure);
        }
    }
}

async fn failure(request: reqwest::RequestBuilder) -> Option<String> {
    let answer = match request.send().await {
        Ok(answer) if answer.status() == 200 => return None,
        Ok(answer) => answer,
        Err(error) => return Some(format!("{error:?}")),
    };
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap_or_default();
    Some(format!("{status} {}", problem["code"].as_str().unwrap_or_default()))
}
