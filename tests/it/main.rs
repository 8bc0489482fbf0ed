//! Behaviour, by theme: a real gateway on port 0, real clients, real upstream servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reports by panicking"
)]

mod support;

mod balancing;
mod circuit_breaker;
mod contention;
mod cors_and_filters;
mod edge;
mod embedded;
mod first_request;
mod grpc;
mod jwt;
mod rate_limit;
mod retries;
mod routing;
mod seen;
mod shadow;
mod streams;
mod timeouts;
mod tls;
mod bad_config;
mod cli;
mod demo;
mod image;
mod process;
mod reload;
mod reload_state;
mod secrets;
mod websocket;
