//! Where the current snapshot is found, and how a request holds on to it.
//!
//! Called by `gateway` once a request, by `reload` to swap. Never lets requests of two threads count on the same place
//! that they hold the snapshot: that one count would be the one thing that all requests write to.

use std::{ops::Deref, sync::Arc};

use arc_swap::ArcSwap;

use super::Snapshot;
use crate::telemetry::{SHARDS, own_shard};

/// The current snapshot, once for each thread.
pub struct Pins(Box<[Apart]>);

/// A snapshot that stays for as long as this is held.
#[derive(Clone)]
pub struct Pin(Arc<Held>);

/// Two cache lines, since processors fetch them in pairs.
#[repr(align(128))]
struct Apart(ArcSwap<Held>);

/// What the requests of one thread count their holds on.
#[repr(align(128))]
struct Held(Arc<Snapshot>);

// === impl Pins ===

impl Pins {
    pub fn new(snapshot: &Arc<Snapshot>) -> Self {
        let apart = || Apart(ArcSwap::from_pointee(Held(snapshot.clone())));
        Self((0..SHARDS).map(|_| apart()).collect())
    }

    /// Pins the current snapshot for one request.
    pub fn pin(&self) -> Pin {
        #[expect(clippy::indexing_slicing, reason = "there are as many as there are shards")]
        let own = &self.0[own_shard()];
        Pin(own.0.load_full())
    }

    /// The current snapshot, for whoever is no request.
    pub fn load(&self) -> Arc<Snapshot> {
        self.pin().0.0.clone()
    }

    /// Puts another one in its place. What is pinned stays until it is let go.
    pub fn store(&self, snapshot: &Arc<Snapshot>) {
        for apart in &self.0 {
            apart.0.store(Arc::new(Held(snapshot.clone())));
        }
    }
}

// === impl Pin ===

impl Deref for Pin {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.0.0
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::{
        config::Config,
        telemetry::metrics::{BuildInfo, Metrics},
    };

    fn snapshot(version: &str) -> Arc<Snapshot> {
        let metrics = Metrics::new(BuildInfo { version: "1", revision: "", rustc: "" });
        Arc::new(Snapshot::build(Config::default(), version.into(), &metrics, None).unwrap())
    }

    #[test]
    fn a_pin_holds_what_was_current_and_lets_it_go() {
        let (old, new) = (snapshot("old"), snapshot("new"));
        let pins = Pins::new(&old);
        let pin = pins.pin();
        pins.store(&new);
        assert_eq!((pin.version(), pins.pin().version()), ("old", "new"));
        assert_eq!(Arc::strong_count(&old), 2);
        drop(pin);
        assert_eq!(Arc::strong_count(&old), 1, "no thread keeps what is not current");
    }

    #[test]
    fn requests_write_to_no_count_of_the_snapshot_itself() {
        let snapshot = snapshot("one");
        let pins = Pins::new(&snapshot);
        let count = Arc::strong_count(&snapshot);
        let held: Vec<_> = (0..100).map(|_| pins.pin()).collect();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(pins.pin().version(), "one"));
        });
        assert_eq!((Arc::strong_count(&snapshot), held.len()), (count, 100));
    }
}
