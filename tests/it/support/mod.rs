//! What every theme needs: a gateway, upstream servers, and patience with a deadline.

mod backend;
mod gateway;
mod h2;
mod raw;
mod short;
mod wire;
mod keep_alive;
mod process;

use std::{
    future::Future,
    time::{Duration, Instant},
};

pub(crate) use backend::{Backend, echo};
pub(crate) use gateway::{Gateway, HEAD};
pub(crate) use h2::H2Backend;
pub(crate) use keep_alive::KeepAlive;
pub(crate) use process::{Process, outcome, run, tollgate};
pub(crate) use raw::{RawAnswer, raw, raw_bytes};
pub(crate) use short::{code, header, upstream};
pub(crate) use wire::{Message, Scripted, Wire, closed_port};

/// The longest that anything may take to become true.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until `probe` says yes; fails the test with `what` where it never does.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut probe: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !probe().await {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A client that follows no redirect and keeps its connections.
pub(crate) fn client() -> reqwest::Client {
    tollgate::crypto::install_crypto_provider();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// A route for everything to an upstream of these instances; `more` stands in the upstream's table.
pub(crate) fn all_to(instances: &[std::net::SocketAddr], more: &str) -> String {
    let instances: Vec<String> = instances.iter().map(|address| format!("\"{address}\"")).collect();
    format!(
        r#"
[upstream.service]
instances = [{}]
{more}
[[route]]
name = "all"
path = "/**"
to = "service"
"#,
        instances.join(", ")
    )
}
