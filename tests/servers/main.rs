//! Tests against real servers, which `tests/servers/fetch.sh` gets: `make test-real` runs them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test reports by panicking, and says which server it ran on"
)]

mod api;
mod drills;
mod drive;
mod nacos;
mod server;
#[path = "../it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what the other themes need is not all needed here")]
mod support;
