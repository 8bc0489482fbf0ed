//! tollgate: an API gateway on pingora.

pub mod registry;
pub mod config;
pub mod telemetry;
