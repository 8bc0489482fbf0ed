//! What is seen of tollgate from outside: metrics, the access log, and the log of the process.
//!
//! Called by every layer above. It imports nothing of tollgate, and no request ever waits for it.

pub mod access_log;
pub mod json;
pub mod log;
pub mod metrics;
mod shards;
mod words;

pub(crate) use shards::{SHARDS, Shard, Shards, own_shard};
pub use words::{LimitDecision, Outcome, Policies, Policy, RetryReason, TokenResult};
