//! What `/readyz` answers.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

/// Whether the first views came, and whether the end has begun.
#[derive(Default)]
pub struct Readiness {
    started: AtomicBool,
    draining: AtomicBool,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.started.load(Acquire) && !self.is_draining()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Acquire)
    }

    /// Every service was heard of, or the boot time-out has passed.
    pub fn start(&self) {
        self.started.store(true, Release);
    }

    /// The process is going to end; it stays unready.
    pub fn drain(&self) {
        self.draining.store(true, Release);
    }
}
