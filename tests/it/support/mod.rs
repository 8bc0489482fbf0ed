//! What every theme needs: a gateway, upstream servers, and patience with a deadline.

mod backend;
mod gateway;
mod raw;
mod short;

use std::{
    future::Future,
    time::{Duration, Instant},
};

pub use backend::Backend;
pub use gateway::Gateway;
pub(crate) use raw::{RawAnswer, raw, raw_bytes};
pub(crate) use short::{code, header, upstream};

/// The longest that anything may take to become true.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `probe` says yes; fails the test with `what` where it never does.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client that follows no redirect and keeps its connections.
pub fn client() -> reqwest::Client {
    tollgate::crypto::install_crypto_provider();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}
