//! tollgate: an API gateway on pingora.
#![forbid(unsafe_code)]

pub mod cli;
pub mod server;
pub mod admin;
pub mod gateway;
pub mod reload;
pub mod decision;
pub mod snapshot;
pub mod forward;
pub mod answer;
pub mod route;
pub mod policy;
pub mod upstream;
pub mod registry;
pub mod config;
pub mod telemetry;
pub mod crypto;
