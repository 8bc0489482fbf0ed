//! The access log: one JSON line for each request, written by a thread of its own.
//!
//! Called by `gateway` when a request has ended. It never waits: a line that finds the queue full is dropped and
//! counted, and in the steady state no line allocates.

mod json;
mod record;
mod timestamp;

pub use record::Record;
