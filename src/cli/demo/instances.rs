//! Three small services that register with the embedded registry and beat, as any Nacos client would.

use std::{
    io,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, header::HOST},
};
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime, time::interval};

use crate::server::{Addresses, Server};

/// The service that the shipped routes forward to.
const SERVICE: &str = "hello";
/// The instances, each with its weight.
const INSTANCES: [(&str, f64); 3] = [("a", 5.0), ("b", 3.0), ("c", 2.0)];
const BEAT: Duration = Duration::from_secs(5);
/// How long the tour waits for them, and how often it looks.
const PATIENCE: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(10);

/// Starts them on a thread of their own; they end with the process.
pub(super) fn start(addresses: &Addresses) -> io::Result<()> {
    let Some(registry) = addresses.embedded.values().next().copied() else {
        return Err(io::Error::other("the config has no embedded registry"));
    };
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let sockets =
        INSTANCES.map(|(name, weight)| (name, weight, std::net::TcpListener::bind("127.0.0.1:0")));
    for (name, weight, socket) in sockets {
        let socket = socket?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        runtime.spawn(async move {
            if let Ok(listener) = TcpListener::from_std(socket) {
                let _ = axum::serve(listener, service(name)).await;
            }
        });
        runtime.spawn(stay_registered(registry, address, weight));
    }
    thread::Builder::new()
        .name("demo-instances".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(())
}

/// Waits until the gateway has heard of them all, so that what the tour prints works at once.
pub(super) fn wait(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    let heard_of_all = || {
        let snapshot = server.reloader().snapshots().load();
        let served = snapshot.upstreams().get(SERVICE);
        served.is_none_or(|served| {
            served.upstream.status(Instant::now()).instances.len() >= INSTANCES.len()
        })
    };
    while !heard_of_all() && Instant::now() < deadline {
        thread::sleep(LOOK);
    }
}

/// Says who answered and what it was shown; fails on everything below /flaky.
fn service(name: &'static str) -> Router {
    Router::new().fallback(async move |request: Request| {
        let header = |header: &str| {
            request.headers().get(header).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        let status = if request.uri().path().starts_with("/flaky") {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        };
        let answer = json!({
            "instance": name,
            "path": request.uri().path(),
            "host": header(HOST.as_str()),
            "x-user-id": header("x-user-id"),
            "x-forwarded-for": header("x-forwarded-for"),
            "x-request-id": header("x-request-id"),
        });
        (status, Json::<Value>(answer))
    })
}

/// Registers, then beats. A full beat registers again should the registry have forgotten the instance.
async fn stay_registered(registry: SocketAddr, address: SocketAddr, weight: f64) {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let (ip, port) = (address.ip(), address.port());
    let register = format!(
        "instance?serviceName={SERVICE}&ip={ip}&port={port}&weight={weight}&ephemeral=true"
    );
    send(&client, http::Method::POST, registry, &register).await;
    let beat =
        format!(r#"{{"serviceName":"{SERVICE}","ip":"{ip}","port":{port},"weight":{weight}}}"#);
    let beat: String = beat.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut ticks = interval(BEAT);
    loop {
        ticks.tick().await;
        send(
            &client,
            http::Method::PUT,
            registry,
            &format!("instance/beat?serviceName={SERVICE}&beat={beat}"),
        )
        .await;
    }
}

async fn send(
    client: &Client<HttpConnector, Empty<Bytes>>,
    method: http::Method,
    registry: SocketAddr,
    call: &str,
) {
    let request = http::Request::builder()
        .method(method)
        .uri(format!("http://{registry}/nacos/v1/ns/{call}"));
    let sent = match request.body(Empty::new()) {
        Ok(request) => client.request(request).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match sent {
        Ok(response) if response.status().is_success() => {}
        Ok(response) => tracing::warn!("The embedded registry answers {}", response.status()),
        Err(error) => tracing::warn!(error, "The embedded registry does not answer"),
    }
}
