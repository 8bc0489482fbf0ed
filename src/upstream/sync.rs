//! The concurrency primitives of the circuit breaker, under one name.
//!
//! A model checker brings its own of each; it is put in here and nowhere else.

pub(super) use std::sync::{
    Arc,
    atomic::{
        AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

pub(super) use parking_lot::Mutex;
