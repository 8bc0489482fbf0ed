//! Builds the process around the gateway: sockets, runtimes, background tasks, signals, drain.
//!
//! pingora's `Server` is not used: it ends only after its whole grace period, panics in a task where a port is taken, and
//! dies of a SIGHUP. Its listening service runs as well on runtimes of ours, in a test as in production.

mod drain;
mod signals;
mod sockets;
mod sweep;
pub mod tls;

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd,
    sync::Arc,
    thread::available_parallelism,
};

use parking_lot::Mutex;
use pingora::{
    apps::HttpServerOptions,
    listeners::{L4BufferSettings, ListenerConfig},
    protocols::http::v2::server::default_h2_options,
    proxy::{HttpProxy, http_proxy},
    server::{Fds, configuration::ServerConf},
    services::{Service as _, listening::Service},
};
use tokio::{
    runtime::{self, Runtime},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    admin::{Admin, Readiness},
    config::{Config, Diagnostics, Listener, LogOutput},
    gateway::Gateway,
    registry::{Embedded, Keepers, Registry},
    reload::{ContentHash, Loaded, Reloader, Source},
    telemetry::{
        access_log::{self, AccessLog},
        metrics::{BuildInfo, Metrics},
    },
};

use drain::Lifecycle;
pub use signals::run;
pub use sockets::{BindError, BoundListener, Sockets};
use tls::Certificates;

/// Idle connections to upstreams that are kept, for each thread.
const UPSTREAM_POOL: usize = 1024;
/// pingora's own bound on tries. Ours, by upstream, is lower.
const PINGORA_TRIES: usize = 16;
/// Requests that one connection may carry, so that load spreads over restarted instances of us.
const REQUESTS_PER_CONNECTION: u32 = 100_000;
/// Threads for registries, scrapes and the file watch.
const BACKGROUND_THREADS: usize = 2;
/// pingora keeps 64 KiB for each connection between the socket and what reads it, which has a buffer of its own for
/// heads, bodies and TLS records alike.
const UNBUFFERED: L4BufferSettings = L4BufferSettings { read: Some(0), write: None };
/// Body bytes that an HTTP/2 client may send ahead: on one stream, on one connection.
const H2_WINDOWS: (u32, u32) = (1 << 20, 4 << 20);

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the access log cannot be opened: {0}")]
    AccessLog(std::io::Error),
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The config reads well and still cannot run.
    #[error("{0}")]
    Refused(Diagnostics),
    #[error("threads cannot be started: {0}")]
    Runtime(std::io::Error),
}

/// A gateway that runs. Dropping it stops it at once; [`Server::drain`] stops it without losing a request.
pub struct Server {
    addresses: Addresses,
    reloader: Arc<Reloader>,
    lifecycle: Lifecycle,
    accepting: JoinHandle<()>,
    access_log: Option<Arc<AccessLog>>,
    runtimes: Option<Runtimes>,
}

/// Where a gateway really listens: differs from the config where that says port 0.
#[derive(Clone, Debug)]
pub struct Addresses {
    pub listeners: BTreeMap<String, SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub embedded: BTreeMap<String, SocketAddr>,
}

/// Two of them, so that a busy registry or a scrape never takes a thread from requests.
struct Runtimes {
    workers: Runtime,
    background: Runtime,
    threads: usize,
}

impl Server {
    /// Binds and starts everything. When it returns, listeners accept and the first views are being awaited.
    pub fn start(source: Source, loaded: &Loaded) -> Result<Self, StartError> {
        crate::crypto::install_crypto_provider();
        let certificates = tls::certificates(loaded).map_err(StartError::Refused)?;
        let sockets = Sockets::bind(&loaded.config)?;
        let access_log = access_log(&loaded.config.access_log.output)?;
        let runtimes = Runtimes::start(threads(&loaded.config))?;
        let metrics = Metrics::new(build_info());
        let addresses = Addresses::of(&sockets);
        let (hash, server) = (loaded.hash, loaded.config.server.clone());

        let background = runtimes.background.enter();
        let embedded = sockets
            .embedded
            .into_iter()
            .map(|(name, socket)| (name, Embedded::new(socket) as Arc<dyn Registry>));
        let keepers = Keepers::new(
            runtimes.background.handle().clone(),
            embedded.collect(),
            server.state_dir,
        );
        let reloader = match Reloader::start(source, loaded, keepers, metrics.clone()) {
            Ok(reloader) => Arc::new(reloader),
            Err(problems) => {
                drop(background);
                runtimes.end();
                return Err(StartError::Refused(problems));
            }
        };

        let lifecycle = Lifecycle::new(metrics.clone());
        let gateway = Gateway {
            snapshots: reloader.snapshots(),
            access_log: access_log.clone(),
            listeners: sockets
                .listeners
                .iter()
                .map(|listener| (listener.address.port(), listener.config.clone()))
                .collect(),
            fallback: Listener::default(),
            draining: lifecycle.draining(),
        };
        let service = service(gateway, &sockets.listeners, certificates, runtimes.threads);
        let accepting =
            runtimes.workers.spawn(accept(service, sockets.listeners, lifecycle.stopped()));

        let admin = Admin {
            reloader: reloader.clone(),
            metrics,
            readiness: lifecycle.readiness(),
            access_log: access_log.clone(),
        };
        runtimes.background.spawn(admin.serve(sockets.admin));
        runtimes.background.spawn(sweep::tokens(reloader.snapshots()));
        runtimes.background.spawn(sweep::memory(reloader.clone()));
        runtimes.background.spawn(follow(reloader.clone(), lifecycle.readiness(), hash));
        drop(background);
        Ok(Self { addresses, reloader, lifecycle, accepting, access_log, runtimes: Some(runtimes) })
    }

    /// Where it listens, by the names of listeners, `admin`, and the names of embedded registries.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    pub fn reloader(&self) -> &Arc<Reloader> {
        &self.reloader
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.lifecycle.stop();
        if let Some(runtimes) = self.runtimes.take() {
            runtimes.end();
        }
    }
}

/// Marks the gateway ready once its services were heard of, then follows the file.
async fn follow(reloader: Arc<Reloader>, readiness: Arc<Readiness>, seen: ContentHash) {
    if !reloader.first_views().await {
        tracing::warn!(
            "Some services were not heard of in time; their routes answer 503 until they are"
        );
    }
    readiness.start();
    reloader.follow_file(seen).await;
}

/// pingora's service on our sockets.
fn service(
    gateway: Gateway,
    listeners: &[BoundListener],
    mut certificates: Certificates,
    threads: usize,
) -> Service<HttpProxy<Gateway>> {
    let conf = ServerConf {
        threads,
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        max_retries: PINGORA_TRIES,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.keepalive_request_limit = Some(REQUESTS_PER_CONNECTION);
    options.h2_idle_timeout = Some(Listener::default().keep_alive.0);
    proxy.server_options = Some(options);
    let mut h2 = default_h2_options();
    h2.initial_window_size(H2_WINDOWS.0).initial_connection_window_size(H2_WINDOWS.1);
    proxy.h2_options = Some(h2);
    let mut service = Service::new("tollgate".to_owned(), proxy);
    for listener in listeners {
        let mut endpoint = ListenerConfig::tcp(listener.address.to_string()).l4_buffer(UNBUFFERED);
        if let Some(settings) = certificates.remove(&*listener.name) {
            endpoint = endpoint.tls(settings);
        }
        service.add_listener(endpoint);
    }
    service
}

/// Accepts until it is told to stop, then lets go of the sockets and of idle connections.
async fn accept(
    mut service: Service<HttpProxy<Gateway>>,
    listeners: Vec<BoundListener>,
    stopped: watch::Receiver<bool>,
) {
    let mut fds = Fds::new();
    for listener in listeners {
        // The key is the text that the service was given as address.
        fds.add(listener.address.to_string(), listener.socket.into_raw_fd());
    }
    service.start_service(Some(Arc::new(Mutex::new(fds))), stopped, 1).await;
}

/// The log that the config asks for, or none.
fn access_log(output: &LogOutput) -> Result<Option<Arc<AccessLog>>, StartError> {
    let output = match output {
        LogOutput::File(path) => access_log::Output::File(path.clone()),
        LogOutput::Off => return Ok(None),
        LogOutput::Stdout => access_log::Output::Stdout,
    };
    AccessLog::start(&output).map(|log| Some(Arc::new(log))).map_err(StartError::AccessLog)
}

fn threads(config: &Config) -> usize {
    let cores = || available_parallelism().map_or(1, usize::from);
    config.server.threads.map_or_else(cores, usize::from)
}

fn build_info() -> BuildInfo {
    BuildInfo { version: env!("CARGO_PKG_VERSION"), revision: "unknown", rustc: "unknown" }
}

// === impl Runtimes ===

impl Runtimes {
    fn start(threads: usize) -> Result<Self, StartError> {
        let runtime = |name: &str, threads| {
            let mut builder = runtime::Builder::new_multi_thread();
            builder
                .worker_threads(threads)
                .thread_name(name)
                .enable_all()
                .build()
                .map_err(StartError::Runtime)
        };
        let background = runtime("tollgate-background", BACKGROUND_THREADS)?;
        Ok(Self { workers: runtime("tollgate-worker", threads)?, background, threads })
    }

    /// Ends them without a wait: to drop a runtime waits for its tasks, and panics within another runtime.
    fn end(self) {
        self.workers.shutdown_background();
        self.background.shutdown_background();
    }
}

// === impl Addresses ===

impl Addresses {
    fn of(sockets: &Sockets) -> Self {
        let local = |socket: &TcpListener| socket.local_addr().ok();
        Self {
            listeners: sockets
                .listeners
                .iter()
                .map(|listener| (listener.name.to_string(), listener.address))
                .collect(),
            admin: local(&sockets.admin),
            embedded: sockets
                .embedded
                .iter()
                .filter_map(|(name, socket)| Some((name.clone(), local(socket)?)))
                .collect(),
        }
    }
}
