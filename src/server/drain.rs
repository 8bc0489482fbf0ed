//! How a gateway ends without losing a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::Server;
use crate::{admin::Readiness, telemetry::metrics::Metrics};

/// How often it is looked whether requests are still in flight.
const LOOK: Duration = Duration::from_millis(10);
/// How long the access log may take to write its last lines.
const FLUSH: Duration = Duration::from_secs(2);
/// Connections that were accepted just before the listeners closed get this long to show their request.
const SETTLE: Duration = Duration::from_millis(50);

/// The signals from the process to its parts.
pub(super) struct Lifecycle {
    readiness: Arc<Readiness>,
    metrics: Metrics,
    draining: Arc<AtomicBool>,
    stopped: watch::Sender<bool>,
}

// === impl Lifecycle ===

impl Lifecycle {
    pub(super) fn new(metrics: Metrics) -> Self {
        let stopped = watch::Sender::new(false);
        Self { readiness: Arc::default(), metrics, draining: Arc::default(), stopped }
    }

    pub(super) fn readiness(&self) -> Arc<Readiness> {
        self.readiness.clone()
    }

    /// Turns true when connections are no longer to be kept open.
    pub(super) fn draining(&self) -> Arc<AtomicBool> {
        self.draining.clone()
    }

    /// Turns true when listeners are to close.
    pub(super) fn stopped(&self) -> watch::Receiver<bool> {
        self.stopped.subscribe()
    }

    fn drain(&self) {
        self.readiness.drain();
        self.draining.store(true, Relaxed);
    }

    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Returns once no request is in flight.
    async fn idle(&self) {
        sleep(SETTLE).await;
        while self.metrics.in_flight() > 0 {
            sleep(LOOK).await;
        }
    }
}

// === impl Server ===

impl Server {
    /// Ends it: not ready at once, still accepting for the drain delay, then as soon as what is in flight is done.
    pub async fn drain(mut self) {
        self.finish().await;
        self.close();
    }

    /// The part of a drain that waits; [`Server::close`] has to follow even where this is cut short.
    pub(super) async fn finish(&mut self) {
        let server = self.reloader.snapshots().load().config().server.clone();
        let began = Instant::now();
        tracing::info!("Draining: not ready, accepting for another {}", server.drain_delay);
        self.lifecycle.drain();
        sleep(server.drain_delay.0).await;
        self.lifecycle.stop();
        let _ = (&mut self.accepting).await;
        if timeout(server.drain_timeout.0, self.lifecycle.idle()).await.is_err() {
            tracing::warn!(
                "{} requests are still in flight after {}; they are cut",
                self.lifecycle.metrics.in_flight(),
                server.drain_timeout
            );
        }
        tracing::info!("Drained in {:.1} s", began.elapsed().as_secs_f64());
    }

    /// Ends it now. What is queued for the access log is still written.
    pub fn close(self) {
        self.lifecycle.drain();
        self.lifecycle.stop();
        if let Some(log) = &self.access_log
            && !log.close(FLUSH)
        {
            tracing::warn!("The access log's output is stuck; its last lines are lost");
        }
    }
}
