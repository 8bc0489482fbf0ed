//! A token bucket for each caller of a route (GCRA, by governor, over a table of our own).
//!
//! `decision` takes from it, `explain` peeks. It reads no clock, and never refuses or admits by more than the bucket
//! says: what it cannot keep apart it counts together.

mod buckets;
mod key;

pub use self::key::Key;
