//! The keeper: one registry's sessions, what to believe of them, and who is told.
//!
//! It never lets the loss of its registry change an endpoint, and no request ever waits for it.

mod backoff;
mod disk;
mod instances;
mod outbox;
mod service;
mod status;
#[cfg(test)]
mod tests;

pub use disk::DiskCopy;
pub use status::{LinkState, Origin, RegistryStatus, ServiceStatus, ViewCounts, ViewState};
