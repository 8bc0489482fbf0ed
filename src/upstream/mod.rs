//! Which instance: upstreams, their instances, and who of them may be called.
//!
//! Views come in from `registry`, tries from `gateway`. A pick never waits and never asks a registry: it reads the table
//! built from the last view.

mod balancer;
mod circuit_breaker;
mod ejection;
mod instance;
mod outcome;
mod peer;
mod retry;
mod sync;
mod targets;

pub use balancer::{Balancer, Weight};
pub use circuit_breaker::{CircuitBreaker, Open, Permit, State, Transitions};
pub use instance::{InFlight, Instance, Readiness, Tried};
pub use outcome::{Ending, Outcome};
pub use peer::PeerError;
pub use retry::{LiveRequest, Retry, RetryBudget};
pub use targets::Targets;
